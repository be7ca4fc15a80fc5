"""The exhibits of *Sparsity Winning Twice* (ICLR 2022), in the paper's words: one module a figure, one for the tables."""

from __future__ import annotations

from replib.experiments.exhibit import Exhibit
from replib.experiments.sparsity_winning_twice import (
    attacks,
    figure_1,
    figure_2,
    figure_3,
    figure_4,
    figure_5,
    figure_6,
    figure_a7,
    figure_a8,
    figure_a9,
    figure_a10,
    figure_a11,
    tables,
)

EXHIBITS: tuple[Exhibit, ...] = (
    *tables.EXHIBITS,
    *attacks.EXHIBITS,
    figure_1.EXHIBIT,
    figure_2.EXHIBIT,
    figure_3.EXHIBIT,
    figure_4.EXHIBIT,
    figure_5.EXHIBIT,
    figure_6.EXHIBIT,
    figure_a7.EXHIBIT,
    figure_a8.EXHIBIT,
    figure_a9.EXHIBIT,
    figure_a10.EXHIBIT,
    figure_a11.EXHIBIT,
)
