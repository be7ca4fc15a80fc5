"""Figure 4: knowledge distillation and weight averaging, each alone and combined with Flying Bird+."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from replib.experiments.exhibit import Exhibit, rows_exhibit
from replib.experiments.places import CIFAR10
from replib.experiments.profiles import Profile, Recipe
from replib.experiments.rows import Row
from replib.experiments.sparsity_winning_twice.runs import PAPER, baseline, percent, sparse
from replib.methods import FlyingBirdPlus
from replib.spec import Job
from replib.training import Average, Distill, Train

DENSITY = 0.2
"""Flying Bird+ begins at 80 % sparsity, as in the paper's main tables; the figure's caption names none."""
REGULARIZERS = ("none", "KD", "SWA")
SETTINGS = ("Baseline", "Flying Bird+")
CONTROL = "Baseline, late average"
METRICS = ("robust_accuracy_best", "robust_accuracy_final", "robust_accuracy_diff", "robust_generalization_gap", "standard_accuracy_best")
"""What the page tabulates."""


def teachers(recipe: Recipe) -> dict[str, Train]:
    """The two dense networks that distillation learns from: one trained in the ordinary way, and the baseline."""
    return {"standard teacher": recipe.standard(name="Standard teacher"), "robust teacher": baseline(recipe)}


def average(method: object) -> Average:
    """Averaging from epoch 55 of 200 on, or from the epoch in which Flying Bird+'s controller wakes up, if that is later.

    Departs: in the work that the paper cites the learning rate first drops at epoch 50, just before averaging starts. Here it drops in
    the middle of the run, so the dense average takes in 45 of 200 epochs at the first rate. The control averages from the middle on.
    """
    start = Average().start
    return Average(max(start, method.t_start) if isinstance(method, FlyingBirdPlus) else start)


def regularized(recipe: Recipe, run: Train, regularizer: str) -> tuple[Train, dict[str, Job], tuple[str, str]]:
    """`run` with a regularizer, the jobs whose cost it adds, and the names of its best and final checkpoints.

    An average is a network of its own, with its own best epoch by validation accuracy; that is what is reported.
    """
    plain = ("best_ra", "final")
    if regularizer == "none":
        return run, {}, plain
    if regularizer == "KD":
        standard, robust = teachers(recipe).values()
        return replace(run, loss=Distill(recipe.attack(), standard, robust), name=f"{run.name}, KD"), teachers(recipe), plain
    return replace(run, average=average(run.method), name=f"{run.name}, SWA"), {}, ("average_best_ra", "average_final")


def rows(p: Profile) -> list[Row]:
    """Dense and Flying Bird+ with each regularizer, and dense averaged over the epochs that Flying Bird+ averages over."""
    recipe = p.recipe(*CIFAR10)
    plain = {"Baseline": baseline(recipe), "Flying Bird+": sparse(recipe, "Flying Bird+", DENSITY)[0]}
    made = []
    for setting, run in plain.items():
        for name in REGULARIZERS:
            trained, costs, checkpoints = regularized(recipe, run, name)
            level = percent(1.0 if setting == "Baseline" else DENSITY)
            labels = {"variant": f"regularizer={name}", "checkpoints": checkpoints}
            made.append(Row(*CIFAR10, level, setting, trained, recipe.test_attack(), costs, **labels))
    late = replace(plain["Baseline"], average=average(plain["Flying Bird+"].method), name="Baseline, SWA from the middle")
    control = {"variant": "regularizer=SWA", "checkpoints": ("average_best_ra", "average_final")}
    return [*made, Row(*CIFAR10, 0.0, CONTROL, late, recipe.test_attack(), **control)]


def bars(r: Any) -> pd.DataFrame:
    """What Figure 4 draws and tabulates: the frame with a column `regularizer`."""
    return r.frame.assign(regularizer=r.frame.variant.str.removeprefix("regularizer="))


EXHIBIT: Exhibit = rows_exhibit(f"{PAPER}/figure_4", "Distillation and weight averaging with and without Flying Bird+", rows)
