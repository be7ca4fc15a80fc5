"""The exhibits of *Finding Dynamics Preserving Adversarial Winning Tickets* (AISTATS 2022), in the paper's words."""

from __future__ import annotations

from replib.experiments.adversarial_winning_tickets import table_3, theorem_2
from replib.experiments.exhibit import Exhibit

EXHIBITS: tuple[Exhibit, ...] = (table_3.EXHIBIT, theorem_2.EXHIBIT)
