"""Tables: our numbers beside the printed ones, with seeds and spread."""

from __future__ import annotations

import pandas as pd
from IPython.display import HTML

from replib.root import project_root
from replib.spec import task

ACCURACY = (
    "robust_accuracy_best", "robust_accuracy_final", "robust_accuracy_diff", "standard_accuracy_best", "standard_accuracy_final",
    "standard_accuracy_diff", "robust_generalization_gap", "robust_generalization_gap_reduction",
)  # fmt: skip
COMPARED = ("robust_accuracy_best", "robust_accuracy_final", "robust_generalization_gap")
SHORT = {
    "robust_accuracy_best": "RA best",
    "robust_accuracy_final": "RA final",
    "robust_accuracy_diff": "RA drop",
    "standard_accuracy_best": "SA best",
    "standard_accuracy_final": "SA final",
    "standard_accuracy_diff": "SA drop",
    "robust_generalization_gap": "gap",
    "robust_generalization_gap_reduction": "gap reduction",
    "training_flops_e17": "training FLOPs",
    "inference_flops_e9": "inference FLOPs",
    "final_density_percent": "own weights left, %",
}
ROW = ["sparsity_percent", "setting"]
NAMES = {"Baseline": "Baseline (dense)"}  # where a row's printed name does not say what it is


def number(value: float, decimals: int = 1, sign: str = "") -> str:
    """`value` rounded, with a true minus and no negative zero; blank if it is missing."""
    return "" if pd.isna(value) else f"{round(value, decimals) + 0.0:{sign}.{decimals}f}".replace("-", "−")


def beside(ours: pd.DataFrame, printed: pd.DataFrame, metrics: tuple[str, ...] = ACCURACY) -> pd.DataFrame:
    """One line a row and metric: our mean, standard deviation (n - 1) and number of seeds, the printed number, and the difference.

    Rows keep our order; a row that only one side has keeps blanks on the other. Columns: sparsity_percent, setting, metric, ours, sd, n,
    printed, difference.
    """
    chosen = ours[ours.metric.isin(metrics)]
    stats = chosen.groupby([*ROW, "metric"], sort=False).value.agg(ours="mean", sd="std", n="count").reset_index()
    if printed.empty:
        return stats.assign(printed=float("nan"), difference=float("nan"))
    theirs = printed[printed.metric.isin(metrics)].rename(columns={"value": "printed"})[[*ROW, "metric", "printed"]]
    table = stats.merge(theirs, on=[*ROW, "metric"], how="left", validate="1:1")
    return table.assign(difference=table.ours - table.printed)


def wide(table: pd.DataFrame, metrics: tuple[str, ...] = ACCURACY, decimals: int = 1) -> HTML:
    """`beside` as the paper lays it out: one line a setting, one column a metric, "ours ± sd" above the printed number.

    A stand-in's numbers are not on the scale of the printed ones; what can be compared is order and sign.
    """

    def cell(row: pd.Series) -> str:
        sd = "" if pd.isna(row.sd) else f" <small>± {row.sd:.{decimals}f}</small>"
        printed = "" if pd.isna(row.printed) else f"<br><span class='printed'>{number(row.printed, 2)}</span>"
        return f"{number(row.ours, decimals)}{sd}{printed}"

    cells = table.assign(cell=table.apply(cell, axis=1))
    order = cells[ROW].drop_duplicates()
    grid = cells.pivot(index=ROW, columns="metric", values="cell").reindex(pd.MultiIndex.from_frame(order)).fillna("")
    grid = grid[[m for m in metrics if m in grid]].rename(columns=SHORT).reset_index()
    grid.columns.name = None
    grid.insert(0, "sparsity", grid.pop("sparsity_percent").map(lambda s: f"{s:g} %"))
    grid["setting"] = grid.setting.replace(NAMES)
    return HTML(f"<div class='replib-table by-setting'>{grid.to_html(index=False, escape=False, border=0)}</div>")


def costs(frame: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    """FLOPs of each row as a share of dense, by both accountings, beside the share that the printed numbers give.

    Columns: sparsity_percent, setting, and for training and inference: exact %, as the paper counts %, printed %; own weights left, %.
    """
    mean = frame.groupby([*ROW, "metric"], sort=False).value.mean().unstack("metric")
    dense = mean.loc[(0.0, "Baseline")]
    out = pd.DataFrame(index=mean.index)
    for what, unit in (("training", "e17"), ("inference", "e9")):
        out[f"{what}, exact %"] = 100 * mean[f"{what}_flops_exact_{unit}"] / dense[f"{what}_flops_exact_{unit}"]
        out[f"{what}, paper's count %"] = 100 * mean[f"{what}_flops_{unit}"] / dense[f"{what}_flops_{unit}"]
        if not printed.empty:
            theirs = printed[printed.metric == f"{what}_flops_{unit}"].set_index(ROW).value
            out[f"{what}, printed %"] = 100 * theirs.reindex(mean.index) / theirs[(0.0, "Baseline")]
    out["own weights left, %"] = mean["final_density_percent"]
    out["peak memory, MiB"] = mean["peak_memory_mib"]
    out["seconds a run"] = mean["train_seconds"]
    order = frame[ROW].drop_duplicates()
    return out.reindex(pd.MultiIndex.from_frame(order)).reset_index()


def html(table: pd.DataFrame, decimals: int = 1, kind: str = "") -> HTML:
    """A data frame as a table of the site: scrolls when wide, numbers with `decimals`, blanks for missing values.

    `kind` "by-setting" keeps the first two columns, sparsity and setting, in view.
    """
    body = table.to_html(index=False, border=0, float_format=lambda v: number(v, decimals), na_rep="", escape=True)
    return HTML(f"<div class='replib-table {kind}'>{body}</div>")


def paired(controls: pd.DataFrame, full: pd.DataFrame, metrics: tuple[str, ...] = COMPARED) -> HTML:
    """Each method minus its shuffled twin on the seeds that both have: mean difference ± standard error, and the number of seeds."""
    lines = []
    for (sparsity, setting), twin in controls[controls.metric.isin(metrics)].groupby(ROW, sort=False):
        name = setting.removesuffix(" (shuffled)")
        mine = full[(full.setting == name) & (full.sparsity_percent == sparsity)]
        line = {"sparsity": f"{sparsity:g} %", "method minus its shuffled twin": name}
        for metric in metrics:
            a = mine[mine.metric == metric].set_index("seed").value
            difference = (a - twin[twin.metric == metric].set_index("seed").value).dropna()
            spread = difference.sem() if len(difference) > 1 else float("nan")
            line[SHORT[metric]] = number(difference.mean(), sign="+") + ("" if pd.isna(spread) else f" ± {spread:.1f}")
        lines.append(line | {"seeds": len(difference)})
    return html(pd.DataFrame(lines))


def costs_html(result: object, printed: pd.DataFrame) -> HTML:
    """`costs` of an exhibit as a table of the site."""
    table = costs(result.frame, printed)
    words = {"sparsity_percent": table.sparsity_percent.map("{:g} %".format), "setting": table.setting.replace(NAMES)}
    return html(table.assign(**words).rename(columns={"sparsity_percent": "sparsity"}), kind="by-setting")


def runs(result: object) -> HTML:
    """Where each row's runs are: the job's folder with its spec, per-epoch metrics and summaries of all seeds, as links on the site."""
    lines = []
    for row in result.exhibit.rows(result.profile):
        name = task(row.run, result.seeds[0]).name
        base = f"../../results/{result.profile.name}/{name}"
        links = " · ".join(f"<a href='{base}/{file}'>{file}</a>" for file in ("spec.json", "metrics.csv", "summaries.jsonl"))
        published = (project_root() / "results" / result.profile.name / name).is_dir()
        lines.append(
            {
                "sparsity": f"{row.sparsity_percent:g} %",
                "setting": row.setting,
                "run": f"<code>{name}</code>",
                "files": links if published else "in the working store only",
            }
        )
    body = pd.DataFrame(lines).to_html(index=False, border=0, escape=False)
    return HTML(f"<details><summary>The run behind each row</summary><div class='replib-table'>{body}</div></details>")
