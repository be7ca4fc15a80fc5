"""Tables: our numbers beside the printed ones, with seeds and spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from IPython.display import HTML

from replib.claims.table import NEUTRAL, parse_variant
from replib.root import project_root
from replib.spec import task

ACCURACY = (
    "robust_accuracy_best", "robust_accuracy_final", "robust_accuracy_diff", "standard_accuracy_best", "standard_accuracy_final",
    "standard_accuracy_diff", "robust_generalization_gap", "robust_generalization_gap_reduction",
)  # fmt: skip
COMPARED = ("robust_accuracy_best", "robust_accuracy_final", "robust_generalization_gap")
NETWORK = ("clean_accuracy", "adversarial_accuracy", "distortion_bound", "distortion_censored_share")
SUBNETWORK = ("natural_test_accuracy", "adversarial_test_accuracy")
SHORT = {
    "natural_test_accuracy": "natural accuracy",
    "adversarial_test_accuracy": "adversarial accuracy",
    "clean_accuracy": "clean accuracy",
    "adversarial_accuracy": "adversarial accuracy",
    "distortion_bound": "distortion bound",
    "distortion_censored_share": "never broken (share)",
    "sparsity_percent": "sparsity",
    "density_percent": "density",
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
    "clean_accuracy_fraction": "accuracy",
    "angle": "angle",
    "cosine": "cosine",
    "adversarial_accuracy_fraction": "robust accuracy, as the paper counts",
    "robust_accuracy_fraction": "robust accuracy",
    "sample_accuracy_fraction": "accuracy on the sample",
    "keeps_signal_share": "keeps coordinate 1 (share)",
}
ROW = ["sparsity_percent", "setting"]
PLACE = ["dataset", "architecture", "variant"]
NAMES = {"Baseline": "Baseline (dense)", "full model": "full model (dense)"}  # where a row's printed name does not say what it is


def number(value: float, decimals: int = 1, sign: str = "") -> str:
    """`value` rounded, with a true minus and no negative zero; blank if it is missing."""
    return "" if pd.isna(value) else f"{round(value, decimals) + 0.0:{sign}.{decimals}f}".replace("-", "−")


def word(name: object) -> str:
    """The name of a field or metric as people write it."""
    return SHORT.get(str(name), str(name).replace("_", " "))


def in_words(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with headers and names as people write them. Files of data keep the names of the fields."""
    shown: dict[str, Callable[[Any], str]] = {
        "sparsity_percent": "{:g} %".format,
        "density_percent": "{:g} %".format,
        "metric": word,
        "variant": lambda variant: ": ".join(filter(None, variant_words(variant))),
    }
    told = frame.assign(**{name: frame[name].map(f, na_action="ignore") for name, f in shown.items() if name in frame})
    return told.rename_axis(columns=None).rename(columns=word)


def by_density(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with density in place of sparsity, which is what D counts by."""
    return frame.assign(sparsity_percent=(100 - frame.sparsity_percent).round(4)).rename(columns={"sparsity_percent": "density_percent"})


def boxed(text: str, frame: pd.DataFrame, kind: str = "") -> str:
    """The HTML of a frame in a box of its own, in which it scrolls when the page is narrow.

    A table of many columns reaches into the margin, and the theme hides the list of sections while it is on the screen.
    """
    reach = "full-width" if len(frame.columns) > 8 else ""
    return f"<div class='{' '.join(filter(None, ('replib-table', kind, reach)))}' style='overflow-x:auto'>{text}</div>"


def row_columns(frame: pd.DataFrame) -> list[str]:
    """What tells the rows of a table apart: sparsity and setting, before them data set, network and variant where these differ."""
    return [c for c in PLACE if c in frame and frame[c].nunique() > 1] + ROW


def variant_words(variant: str) -> tuple[str, str]:
    """Name and value of a variant for people: "attack=CW-Attack" is ("attack", "CW-Attack"); what else it says stands with the value."""
    (name, value), *rest = parse_variant(variant) or [("", "")]
    return name.replace("_", " "), "; ".join([value, *(f"{more.replace('_', ' ')}: {is_}" for more, is_ in rest)])


def _ordered(ours: pd.MultiIndex, theirs: pd.MultiIndex) -> pd.MultiIndex:
    """Our order, unless the paper has rows that we have not: then the paper's, with what is ours alone at the end."""
    return ours if theirs.isin(ours).all() else theirs.append(ours[~ours.isin(theirs)])


def beside(ours: pd.DataFrame, printed: pd.DataFrame, metrics: tuple[str, ...] = ACCURACY) -> pd.DataFrame:
    """One line a row and metric: our mean, standard deviation (n - 1) and number of seeds, the printed number, and the difference.

    A row that only one side has keeps blanks on the other. Columns: what tells rows apart (see :func:`row_columns`), metric, ours, sd, n,
    printed, difference.
    """
    if not printed.empty:
        printed = printed.assign(variant=printed.variant.fillna(""))
    rows = row_columns(pd.concat([ours, printed]))
    stats = ours[ours.metric.isin(metrics)].groupby([*rows, "metric"], sort=False).value.agg(ours="mean", sd="std", n="count")
    if printed.empty:
        return stats.reset_index().assign(printed=float("nan"), difference=float("nan"))
    theirs = printed[printed.metric.isin(metrics)].set_index([*rows, "metric"]).value.rename("printed")
    table = stats.join(theirs, how="outer", validate="1:1").reindex(_ordered(stats.index, theirs.index)).reset_index()
    return table.assign(difference=table.ours - table.printed)


def told_apart(variant: str) -> str:
    """A variant without the parts that describe a row and never tell two rows apart."""
    return "; ".join(f"{name}={value}" for name, value in parse_variant(variant) if name not in NEUTRAL)


def blocks(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The parts that a long table is shown in: one a data set, network and attack, each with its name; one without a name if that is all.

    Where the rows are the variants of one setting, as in the ablations, or differ in more than one thing, these are no parts of their own.
    """
    one = table.setting.nunique() == 1
    if "variant" in table and not one:  # how a row came about makes no part of its own
        table = table.assign(variant=table.variant.map(told_apart))
        one = len({variant_words(v)[0] for v in table.variant} - {""}) > 1
    by = [c for c in row_columns(table) if c not in ROW and not (c == "variant" and one)]
    if not by:
        return [("", table)]
    parts = []
    for values, part in table.groupby(by, sort=False):
        words = [": ".join(variant_words(v)) if c == "variant" and v else v for c, v in zip(by, values, strict=True)]
        parts.append((", ".join(filter(None, words)), part.drop(columns=by)))
    return parts


def _shown(grid: pd.DataFrame, density: bool = False) -> pd.DataFrame:
    """Index columns for people: sparsity or density in percent, "Baseline (dense)", the variant under its own name."""
    grid = by_density(grid.reset_index()) if density else grid.reset_index()
    grid.columns.name = None
    if "variant" in grid:
        words = grid.variant.map(variant_words)
        names = set(words.str[0]) - {""}
        if len(names) == 1:
            grid = grid.assign(variant=words.str[1]).rename(columns={"variant": names.pop()})
        else:
            grid.insert(2, "variant", grid.pop("variant").map(lambda v: ": ".join(filter(None, variant_words(v)))))
    grid["setting"] = grid.setting.replace(NAMES)
    size = "density_percent" if density else "sparsity_percent"
    return grid.assign(**{size: grid[size].map("{:g} %".format)}).rename(columns={size: word(size)})


def _by_setting(parts: list[tuple[str, pd.DataFrame]], decimals: int = 1) -> HTML:
    """Tables of the site one below the other, each under its name; their first two columns stay in view."""
    found = []
    for name, grid in parts:
        title = f"<p><strong>{name}</strong></p>" if name else ""
        text = grid.to_html(index=False, escape=False, border=0, na_rep="", float_format=lambda v: number(v, decimals))
        found.append(f"{title}{boxed(text, grid, 'by-setting')}")
    return HTML("".join(found))


def wide(table: pd.DataFrame, metrics: tuple[str, ...] = ACCURACY, decimals: int = 1, density: bool = False) -> HTML:
    """`beside` as the paper lays it out: one line a setting, one column a metric, "ours ± sd" above the printed number.

    A stand-in's numbers are not on the scale of the printed ones; what can be compared is order and sign. Rows have their sparsity or,
    of a paper that counts by it, their density.
    """

    def cell(row: pd.Series) -> str:
        sd = "" if pd.isna(row.sd) else f" <small>± {row.sd:.{decimals}f}</small>"
        printed = "" if pd.isna(row.printed) else f"<br><span class='printed'>{number(row.printed, max(2, decimals))}</span>"
        return f"{number(row.ours, decimals) or '–'}{sd}{printed}"

    def laid_out(part: pd.DataFrame) -> pd.DataFrame:
        rows = [c for c in row_columns(part) if c in part]
        cells = part.assign(cell=part.apply(cell, axis=1))
        order = pd.MultiIndex.from_frame(cells[rows].drop_duplicates())
        grid = cells.pivot(index=rows, columns="metric", values="cell").reindex(order).fillna("")
        return _shown(grid[[m for m in metrics if m in grid]].rename(columns=word), density)

    return _by_setting([(name, laid_out(part)) for name, part in blocks(table)])


def costs(frame: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    """FLOPs of each row as a share of the dense row's, by both accountings, beside the share that the printed numbers give.

    Columns: what tells rows apart, and for training and inference: exact %, as the paper counts %, printed %; own weights left, %.
    """
    rows = row_columns(frame)
    place = [c for c in rows if c not in (*ROW, "variant")]
    values = frame.groupby([*rows, "metric"], sort=False).value
    mean, median = values.mean().unstack("metric"), values.median().unstack("metric")["train_seconds"]
    out = pd.DataFrame(index=mean.index)
    for what, unit in (("training", "e17"), ("inference", "e9")):
        out[f"{what}, exact %"] = _share(mean[f"{what}_flops_exact_{unit}"], place)
        out[f"{what}, paper's count %"] = _share(mean[f"{what}_flops_{unit}"], place)
        theirs = printed[printed.metric == f"{what}_flops_{unit}"] if not printed.empty else printed
        if not theirs.empty:
            known = theirs.assign(variant=theirs.variant.fillna("")).set_index(rows).value
            out[f"{what}, printed %"] = _share(known, place).reindex(mean.index)
    out["own weights left, %"] = mean["final_density_percent"]
    out["peak memory, MiB"] = mean["peak_memory_mib"]
    out["seconds a run"] = median  # of one run that was suspended the time went on
    order = frame[rows].drop_duplicates()
    return out.reindex(pd.MultiIndex.from_frame(order)).reset_index()


def training_costs(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a row: operations of training, counted exactly, as a percentage of the dense row's of its place."""
    rows = ["dataset", "architecture", "sparsity_percent", "setting", "variant"]
    mean = frame.groupby([*rows, "metric"], sort=False).value.mean().unstack("metric")
    place = ["dataset", "architecture"]
    cost = _share(mean["training_flops_exact_e17"], place).rename("training operations, %").reset_index()
    shown = [c for c in rows if frame[c].nunique() > 1]
    return cost[[*shown, "training operations, %"]]


def _share(values: pd.Series, place: list[str]) -> pd.Series:
    """Percent of the dense row's value at the same place (data set, network)."""
    dense = values.xs("Baseline", level="setting").groupby(level=place).first() if place else values.xs("Baseline", level="setting").iloc[0]
    if not place:
        return 100 * values / dense
    at = values.index.droplevel([n for n in values.index.names if n not in place])
    return 100 * values / dense.reindex(at).to_numpy()


def html(table: pd.DataFrame, decimals: int = 1, kind: str = "") -> HTML:
    """A data frame as a table of the site: scrolls when wide, numbers with `decimals`, blanks for missing values.

    `kind` "by-setting" keeps the first two columns, sparsity and setting, in view.
    """
    body = in_words(table).to_html(index=False, border=0, float_format=lambda v: number(v, decimals), na_rep="", escape=True)
    return HTML(boxed(body, table, kind))


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


def costs_html(table: pd.DataFrame) -> HTML:
    """`costs` or `training_costs` of an exhibit as tables of the site, one a data set and network."""
    return _by_setting([(name, _shown(part.set_index(row_columns(part)))) for name, part in blocks(table)])


def runs(result: object, density: bool = False) -> HTML:
    """Where each row's runs are: the job's folder with its spec, per-epoch metrics and summaries of all seeds, as links on the site."""
    lines = []
    for row in result.exhibit.rows(result.profile):
        name = task(row.run, result.seeds[0]).name
        base = f"../../results/{result.profile.name}/{name}"
        links = " · ".join(f"<a href='{base}/{file}'>{file}</a>" for file in ("spec.json", "metrics.csv", "summaries.jsonl"))
        published = (project_root() / "results" / result.profile.name / name).is_dir()
        what = {"run": f"<code>{name}</code>", "files": links if published else "in the working store only"}
        lines.append(row.labels() | what)
    table = pd.DataFrame(lines).drop_duplicates("run" if len({line["variant"] for line in lines}) == 1 else None)
    body = _shown(table.set_index(row_columns(table))[["run", "files"]], density).to_html(index=False, border=0, escape=False)
    return HTML(f"<details><summary>The run behind each row</summary><div class='replib-table'>{body}</div></details>")
