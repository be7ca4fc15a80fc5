"""The exhibits of *Finding Dynamics Preserving Adversarial Winning Tickets* (AISTATS 2022), in the paper's words."""

from __future__ import annotations

from replib.experiments.adversarial_winning_tickets import figure_9, figures, table_3, tables, theorem_2
from replib.experiments.exhibit import Exhibit

EXHIBITS: tuple[Exhibit, ...] = (
    *tables.EXHIBITS,
    table_3.EXHIBIT,
    *figures.EXHIBITS,
    figure_9.EXHIBIT,
    figures.OUTLINE,
    theorem_2.EXHIBIT,
)
