"""The exhibits of *Achieving Adversarial Robustness via Sparsity* (2020), in the paper's words."""

from __future__ import annotations

from replib.experiments.achieving_robustness_via_sparsity import figures, tables, theorem_2
from replib.experiments.exhibit import Exhibit

EXHIBITS: tuple[Exhibit, ...] = (*tables.EXHIBITS, *figures.EXHIBITS, theorem_2.EXHIBIT)
