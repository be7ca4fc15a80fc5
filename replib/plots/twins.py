"""What inherited weights are worth: each pruned network minus the same structure trained from new weights."""

from __future__ import annotations

from typing import Any

import pandas as pd

from replib.experiments.registry import Results
from replib.plots import facts, save
from replib.plots.tables import number

METRICS = {"clean_accuracy": "clean accuracy", "adversarial_accuracy": "adversarial accuracy"}


def differences(inherited: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """One line a pair, metric and seed: the network of `inherited` minus its "-rand" twin of `new`, on the seeds that both have."""
    rows = ["dataset", "architecture", "sparsity_percent", "setting", "variant", "metric", "seed"]
    twin = new.assign(setting=new.setting.str.removesuffix("-rand"))
    both = inherited.merge(twin[[*rows, "value"]], on=rows, suffixes=("", "_new"))
    both = both[both.metric.isin(METRICS)]
    return both.assign(value=both.value - both.value_new)[[*rows, "value"]]


def show(inherited: Results, new: Results) -> tuple[Any, ...]:
    """The differences as a table, mean ± standard error over seeds, and the data."""
    data = differences(inherited.frame, new.frame)
    rows = ["dataset", "architecture", "sparsity_percent", "setting"]
    stats = data.groupby([*rows, "metric"], sort=False).value.agg(["mean", "sem", "count"]).reset_index()
    stats["cell"] = [number(m, sign="+") + ("" if pd.isna(e) else f" ± {e:.1f}") for m, e in zip(stats["mean"], stats["sem"], strict=True)]
    order = pd.MultiIndex.from_frame(stats[rows].drop_duplicates())
    wide = stats.pivot(index=rows, columns="metric", values="cell").reindex(order)[list(METRICS)].rename(columns=METRICS).reset_index()
    wide = wide.assign(sparsity_percent=wide.sparsity_percent.map("{:g} %".format)).rename(columns={"sparsity_percent": "sparsity"})
    wide.columns.name = None
    return facts.table(wide), save(new, table=data, name="differences")


INHERITED = "Inverse Weights Inheritance"
COST = "training_flops_exact_e17"


def prices(frame: pd.DataFrame) -> pd.DataFrame:
    """What inverse inheritance gains and takes, one line a place and column of the table, mean over tickets and seeds: accuracies minus
    those of the base network under each stopping rule, in points, and training operations as a share of its, in percent.
    """
    place = ["dataset", "architecture"]
    means = frame.groupby([*place, "setting", "variant", "metric"]).value.mean()
    made = frame[frame.setting == INHERITED]
    lines = []
    for (dataset, architecture, column), part in made.groupby([*place, made.variant.str.partition("table_column=")[2]], sort=False):
        here = part.groupby("metric").value.mean()
        bases = {"Stop-E": means[dataset, architecture, "Baseline", ""]}
        if (dataset, architecture, "Baseline", "base_stopping_criterion=Stop-C") in means:
            bases["Stop-C"] = means[dataset, architecture, "Baseline", "base_stopping_criterion=Stop-C"]
        line = {"data set": dataset, "network": architecture, "column": column}
        for metric, words in METRICS.items():
            line |= {f"{words} minus base ({rule})": here[metric] - base[metric] for rule, base in bases.items()}
        lines.append(line | {f"training operations, % of base ({rule})": 100 * here[COST] / base[COST] for rule, base in bases.items()})
    return pd.DataFrame(lines)


def bargain(r: Results) -> tuple[Any, ...]:
    """:func:`prices` as a table, and the data."""
    table = prices(r.frame)
    return facts.table(table, 1), save(r, table=table, name="prices")
