"""The parts of C's pages: curves over sparsity, decisions and extreme sparsities beside the printed ones, landscapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pandas as pd
from IPython.display import HTML

from replib.experiments.double_win_lottery_tickets import double_win, landscapes
from replib.experiments.double_win_lottery_tickets.runs import IMP_ST, PAPER, SHORT
from replib.experiments.registry import Results, reported
from replib.plots import facts, save, trajectories, transfers
from replib.plots.card import card

MARGIN = 2.0
"""Points of the rule that does not depend on the spread over seeds: the margin that claims have."""


def curves(frame: pd.DataFrame, by: Literal["pre_training", "setting"]) -> pd.DataFrame:
    """Accuracies as curves (see :func:`double_win.series`), each with the name that it is drawn under."""
    found = double_win.series(frame)
    names = found.setting if by == "setting" else found.pre_training.map(SHORT).where(found.setting == IMP_ST, found.setting)
    return found.assign(series=names)


def drawn(r: Results, data: pd.DataFrame, columns: str, name: str = "", words: Callable[[str], str] = str) -> tuple[Any, ...]:
    """The curves as a grid of panels, and the data."""
    figure = transfers.grid(data, columns, words)
    links = save(r, figure=figure, table=data, name=name)
    return card(figure, transfers.ALT, f"{transfers.CAPTION} {facts.seeds(r)}"), links


def shares(r: Results) -> str:
    """A sentence on the parts of each data set's images that a page names otherwise than they are; nothing if there are none."""
    lines = []
    for dataset in r.frame.dataset.unique():
        other = [called(r, dataset, part) for part in r.profile.transfer.parts]
        lines += [f"{dataset}: {', '.join(other)}"] if any(" " in words for words in other) else []
    return f"Parts of the training images, by the paper's names: {'; '.join(lines)}." if lines else ""


def called(r: Results, dataset: str, part: str) -> str:
    """A part of a data set's training images by the paper's name and, where it is another, by its share."""
    return r.profile.transfer.called((dataset, "ResNet-50"), part)


def extremes(r: Results, frame: pd.DataFrame, section: str) -> tuple[Any, ...]:
    """Extreme sparsities by several rules beside the printed ones of a section, and the data."""
    printed = reported(f"{PAPER}/extreme_sparsity")
    printed = printed[printed.table == section]
    pre = printed.variant.map(lambda v: double_win.parts(v)["pre_training"])
    theirs = printed.assign(pre_training=pre, printed=printed.value)[["dataset", "setting", "pre_training", "printed"]]
    table = double_win.extremes(frame, MARGIN).merge(theirs, how="left")
    return facts.table(table), save(r, table=table, name="extreme_sparsity")


def decisions(r: Results, frame: pd.DataFrame) -> tuple[Any, ...]:
    """Every ticket's distance from the whole network and the decision, and the data."""
    table = double_win.decisions(frame, MARGIN)
    words = table.replace({True: "yes", False: "no"})
    return facts.table(words, 1), save(r, table=table, name="decisions")


def contours(r: Results, kind: Literal["clean", "adversarial"]) -> tuple[Any, ...]:
    """Nine paths over the loss in their planes, first seed, and the data."""
    planes, paths = landscapes.planes(r, r.seeds[0], kind), landscapes.paths(r, r.seeds[0])
    figure = trajectories.panels(planes, paths, 3, f"{kind} loss (nats)")
    links = save(r, figure=figure, table=planes, name="planes"), save(r, table=paths, name="paths")
    alt = (
        f"Nine contour maps of the {kind} loss in the plane of the first two principal components of a training run, with its path: "
        "standard, fast adversarial and adversarial pre-training in columns, parts of the training images in rows."
    )
    return card(figure, alt, f"The {kind} loss in the plane in which each run moved most, and its path there. Axes differ."), *links


def numbers(r: Results) -> HTML:
    """Every number of a page, mean ± standard deviation over seeds, one column a metric; one table for each kind of variant."""
    made = []
    for names, rows in r.frame.groupby(r.frame.variant.map(lambda v: tuple(double_win.parts(v))), sort=False):
        told = rows.assign(**{name: rows.variant.map(lambda v, name=name: double_win.parts(v)[name]) for name in names})
        if "data_fraction" in told:
            told.data_fraction = [called(r, *place) for place in zip(told.dataset, told.data_fraction, strict=True)]
        made.append(facts.wide(facts.spread(told, ["dataset", "sparsity_percent", "setting", *names, "metric"])).data)
    return HTML("".join(made))


def overlaps(r: Results) -> tuple[Any, ...]:
    """Figure A8: shares and zero kernels over sparsity with chance, and the data."""
    frame = r.frame
    pairs = frame[frame.setting.str.contains("/")].assign(series=frame.setting)
    masks = frame[frame.setting == IMP_ST]
    masks = masks.assign(series=masks.variant.map(lambda v: SHORT[double_win.parts(v)["pre_training"]]))
    tables = [
        _with_chance(pairs, "mask_iou", chance="mask_iou_chance", layered="mask_iou_chance_layers"),
        _with_chance(masks, "zero_kernels", chance="zero_kernels_chance"),
    ]
    figure = transfers.masks(*tables)
    alt = "Two line plots over sparsity: intersection over union of pairs of masks, and numbers of zero kernels, each with chance."
    links = save(r, figure=figure, table=pd.concat(tables, keys=["overlap", "zero kernels"], names=["what"]).reset_index(level=0))
    said = f"Masks of three pre-trainings; dotted: random masks of the density; dashed: random masks with the same layers. {facts.seeds(r)}"
    return card(figure, alt, said), links


def _with_chance(frame: pd.DataFrame, metric: str, **expected: str) -> pd.DataFrame:
    """The values of a metric, and beside them those of the metrics `expected`, by column."""
    by = ["series", "sparsity_percent", "seed"]
    found = {column: frame[frame.metric == m].set_index(by).value for column, m in {"value": metric, **expected}.items()}
    return pd.DataFrame(found).reset_index()


def tasks(frame: pd.DataFrame) -> pd.DataFrame:
    """The measure of further tasks (Figure A10) as curves."""
    mine = frame[frame.metric == "task_measure"]
    return mine.assign(series=mine.variant.map(lambda v: SHORT[double_win.parts(v)["pre_training"]]), measure="task")
