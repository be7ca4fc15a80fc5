"""The parts of D's pages: pages that differ only in data, network and densities differ only in their words."""

from __future__ import annotations

from typing import Any

from replib.experiments.adversarial_winning_tickets import rows
from replib.experiments.adversarial_winning_tickets.tables import INITIAL
from replib.experiments.registry import Results
from replib.plots import densities, facts, ladders, save, tables
from replib.plots.card import card

SHARES = (
    "Natural and adversarial accuracy over epochs of training: one line a density and method, random structures dashed, the dense network "
    "as a black dash-dotted line."
)
SEARCHES = (
    "Kernel distance and target distance over steps of the mask search on a logarithmic scale, then adversarial accuracy on training and "
    "on validation images over epochs; one line a density, the dense network as a black dash-dotted line."
)
SURGERY = "Accuracies, kernel distance and target distance over steps of the search, then accuracy over epochs of tuning; a line a method."
PANELS = {"natural_test_accuracy": "natural accuracy (%)", "adversarial_test_accuracy": "adversarial accuracy (%)"}
PATHS = {"effective_percent": "kept weights on a path (%)"}
NUMBERS = (*tables.SUBNETWORK, "curve_distance")
MILESTONES = tuple(f"{metric}_{when}" for metric in rows.DISTANCES for when in ("start", "half", "end"))


def accuracies(r: Results) -> tuple[Any, ...]:
    """Learning curves of every row that the paper draws, and the data of these and of our own."""
    curves = rows.curves(r)
    figure = densities.accuracies(curves[curves.setting != INITIAL])
    links = save(r, figure=figure, table=curves)
    return card(figure, SHARES, f"{densities.CAPTION} {facts.seeds(r)}"), links


def search_and_training(r: Results) -> tuple[Any, ...]:
    """Distances of every search and adversarial accuracies of every training, and the data of both."""
    searches, curves = rows.searches(r), rows.curves(r)
    figure = densities.search_and_training(searches, curves)
    links = save(r, figure=figure, table=searches), save(r, table=curves, name="curves")
    return card(figure, SEARCHES, f"{densities.CAPTION} {facts.seeds(r)}"), *links


def transfer_and_surgery(r: Results) -> tuple[Any, ...]:
    """What the searches of Figure 1 did and how the networks that they found train, and the data of both."""
    searches, curves = rows.searches(r), rows.curves(r)
    figure = densities.transfer_and_surgery(searches, curves)
    links = save(r, figure=figure, table=searches), save(r, table=curves, name="curves")
    return card(figure, SURGERY, f"Thin lines are seeds, thick ones means over seeds. {facts.seeds(r)}"), *links


def ladder(r: Results) -> tuple[Any, ...]:
    """Both accuracies over sparsity, a line a method, and the data; beside them how many kept weights are of use, where counted."""
    counted = {name: words for name, words in PATHS.items() if (r.frame.metric == name).any()}
    figure = ladders.ladder(r.frame, PANELS | counted, stretched=True)
    links = save(r, figure=figure, table=r.frame, name="ladder")
    beside = " On the right the share of kept weights that lie on a path." if counted else ""
    return card(figure, ladders.ALT + beside, f"{ladders.CAPTION} {facts.seeds(r)}"), links


def numbers(r: Results, metrics: tuple[str, ...] = NUMBERS) -> tuple[Any, ...]:
    """Means over seeds ± standard deviation of `metrics`, one line a row, and the data."""
    shown = r.frame[r.frame.metric.isin(metrics)]
    table = facts.spread(shown.assign(attack=shown.variant.map(densities.norm_of)), ["attack", "sparsity_percent", "setting", "metric"])
    return facts.wide(tables.by_density(table)), save(r, table=table, name="numbers"), facts.far_behind(r)
