"""The parts of a page that shows a table of accuracies. Pages that differ only in data, network and sparsity differ only in their words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from replib.experiments.registry import Results, reported
from replib.plots import facts, ladders, points, save, tables
from replib.plots import pareto as against_size
from replib.plots.card import card
from replib.spec import task


def table(r: Results, metrics: tuple[str, ...] = tables.ACCURACY, *, density: bool = False) -> tuple[Any, ...]:
    """The table as the paper lays it out beside the printed numbers, its data, the runs behind it, and the errata of the printed one."""
    paper, _, name = r.exhibit.id.partition("/")
    printed = reported(f"{paper}/{r.exhibit.part_of or name}")
    if not printed.empty:  # of a table that is spread over pages, the part that is on this one
        printed = printed.merge(r.frame[["dataset", "architecture"]].drop_duplicates())
    numbers = tables.beside(r.frame, printed, metrics)
    remarks = facts.collapses(r), facts.far_behind(r)
    shown = tables.wide(numbers, metrics, density=density)
    return shown, *remarks, save(r, table=numbers), tables.runs(r, density), facts.errata(r.exhibit.id)


def seeds(r: Results, dataset: str | None = None) -> tuple[Any, ...]:
    """Every seed of every row as a point, and the data; of one data set where a page has too many panels for one figure."""
    frame = r.frame if dataset is None else r.frame[r.frame.dataset == dataset]
    name = "seeds" if dataset is None else f"seeds_{dataset.lower().replace('-', '')}"
    figure = points.settings(frame)
    links = save(r, figure=figure, table=frame, name=name)
    return card(figure, points.ALT, f"{points.CAPTION} {facts.seeds(r)}"), links


def ladder(r: Results) -> tuple[Any, ...]:
    """Clean and adversarial accuracy over sparsity, a line a method, every seed a point, and the data."""
    figure = ladders.ladder(r.frame)
    links = save(r, figure=figure, table=r.frame, name="ladder")
    return card(figure, ladders.ALT, f"{ladders.CAPTION} {facts.seeds(r)}"), links


def pareto(r: Results) -> tuple[Any, ...]:
    """Adversarial accuracy against the number of parameters, and the data."""
    figure = against_size.pareto(r.frame)
    links = save(r, figure=figure, table=against_size.means(r.frame), name="pareto")
    return card(figure, against_size.ALT, f"{against_size.CAPTION} {facts.seeds(r)}"), links


def costs(r: Results) -> tuple[Any, ...]:
    """Operations of every row as a share of the dense one's, by both accountings, and the data."""
    printed = reported(r.exhibit.id)
    table = tables.costs(r.frame, printed)
    return tables.costs_html(table), save(r, table=table, name="costs")


def training_costs(r: Results) -> tuple[Any, ...]:
    """Training operations of every row, searches included, as a share of the dense one's of the same place, and the data."""
    table = tables.training_costs(r.frame)
    return tables.costs_html(table), save(r, table=table, name="costs")


def unseen(r: Results) -> tuple[Any, ...]:
    """Accuracy on clean validation images of the models that Table A7 transfers attacks from and on, at their last epoch, and the data."""
    models = {
        (row.dataset, row.variant.rpartition(" from ")[2]): row.surrogate for row in r.exhibit.rows(r.profile) if " from " in row.variant
    }
    lines = [
        {"dataset": dataset, "model": name, "metric": "clean accuracy, %", "value": r.evidence.table(task(model, seed)).val_sa.iloc[-1]}
        for (dataset, name), model in models.items()
        for seed in r.seeds
    ]
    table = facts.spread(pd.DataFrame(lines), ["dataset", "model", "metric"])
    return facts.wide(table, 1), save(r, table=table, name="unseen")


def against_cost(r: Results) -> tuple[Any, ...]:
    """Final robust accuracy of every row against counted operations and against measured time, and the data."""
    figure = points.against_cost(r.frame)
    links = save(r, figure=figure, table=points.cost_points(r.frame), name="against_cost")
    alt = (
        "Two scatter plots: final robust accuracy against training operations and against processor seconds, one point a seed, by setting."
    )
    caption = (
        "Cost of training, with that of the search or of the dense network that a method needs. Small points are seeds, large ones means; "
        "costs are on a logarithmic scale."
    )
    return card(figure, alt, f"{caption} {facts.seeds(r)}"), links
