"""The exhibits of *Data-Efficient Double-Win Lottery Tickets* (ICML 2022), in the paper's words."""

from __future__ import annotations

from replib.experiments.double_win_lottery_tickets import curves, further, landscapes, masks, outline
from replib.experiments.exhibit import Exhibit

EXHIBITS: tuple[Exhibit, ...] = (outline.EXHIBIT, *curves.EXHIBITS, *landscapes.EXHIBITS, *masks.EXHIBITS, further.EXHIBIT)
