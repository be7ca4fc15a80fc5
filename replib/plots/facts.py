"""What every page says of itself: which evidence it shows, what was printed, what it cost."""

from __future__ import annotations

import math
import re
from html import escape
from typing import Any

import pandas as pd
from IPython.display import HTML

from replib.analysis.evaluation import Evaluate
from replib.analysis.landscape import Landscape
from replib.claims import load_claims
from replib.experiments.cost import human
from replib.experiments.registry import Results, reported
from replib.experiments.runner import closure
from replib.plots.tables import html, number, told_apart, variant_words
from replib.root import project_root
from replib.spec import Task


def seeds(r: Results) -> str:
    """'5 seeds (0 to 4) of 5 declared.' in words."""
    n, declared = len(r.seeds), r.exhibit.declared(r.profile)
    if not n:
        return "drawn from its settings, without runs."
    span = f"{r.seeds[0]} to {r.seeds[-1]}" if n > 1 else f"{r.seeds[0]}"
    return f"{n} seed{'s' * (n != 1)} ({span}) of {declared} declared."


def header(r: Results) -> str:
    """One line: profile, what the data are, seeds, and where fast adversarial training collapsed."""
    if r.frame.empty:
        return f"Profile {r.profile.label}: {seeds(r)}"
    data = ", ".join(dict.fromkeys(d.name.replace("_", " ") for d in r.data)) or "drawn at random"
    scope = r.frame.scope.iloc[0] if "scope" in r.frame else r.profile.scope  # of an exhibit that is the same in every profile: exact
    return f"Profile {r.profile.label} (data: {data}; scope: {scope}{attacked(r)}): {seeds(r)}{fell(r)}"


def fell(r: Results) -> str:
    """Sentences that name the seeds in which fast adversarial training collapsed or was stopped early; nothing if there are none."""
    found = ((what, r.frame[(r.frame.metric == metric) & (r.frame.value > 0)]) for metric, what in FELL.items())
    return "".join(f" {what} in seed {', '.join(map(str, sorted(rows.seed.unique())))}." for what, rows in found if len(rows))


FELL = {
    "collapsed": "Fast adversarial training collapsed",
    "stopped_early": "Early stopping took an earlier epoch than the last of fast adversarial pre-training",
}
"""What is said of a seed by the metric that is not zero there."""


def attacked(r: Results) -> str:
    """'; evaluated under PGD-10': the attacks that the exhibit's own evaluations and surfaces are made with; nothing if it has none."""
    jobs = (t.job for t in r.exhibit.tasks(r.profile, r.seeds[:1]))
    attacks = (j.attack for j in jobs if isinstance(j, Evaluate | Landscape))
    names = dict.fromkeys(a.label() for a in attacks if a and getattr(a, "eps", 1) > 0)  # a radius of 0 leaves images clean
    return f"; evaluated under {', '.join(names)}" if names else ""


def printed(r: Results, *tables: str) -> pd.DataFrame:
    """The papers' numbers in `tables` ("table_1", ...) for what `r` has rows of; the first table with a row has it."""
    paper = r.exhibit.id.partition("/")[0]
    rows = pd.concat([reported(f"{paper}/{name}") for name in tables], ignore_index=True)
    same = rows.merge(r.frame[["dataset", "architecture", "setting", "sparsity_percent"]].drop_duplicates())
    return same.drop_duplicates(["sparsity_percent", "setting", "metric"])


def errata(id: str) -> HTML:
    """What does not add up in the printed numbers of an exhibit or in sentences of its claims; nothing if nothing was found.

    From results/reported/errata.csv, whose places name tables, figures and claims.
    """
    paper, _, name = id.partition("/")
    found = pd.read_csv(project_root() / "results" / "reported" / "errata.csv")
    claims = [c.claim_id for c in load_claims() if id in c.exhibits]
    here = found["where"].map(lambda where: name in exhibits_named(where) or any(f"({c})" in where for c in claims))
    mine = found[(found.paper == paper) & here]
    if mine.empty:
        return HTML("")
    lines = (f"<li>{escape(e.where)}: printed is {escape(e.printed)}; {escape(e.recomputed_or_note)}.</li>" for e in mine.itertuples())
    return HTML(f"<div class='errata'><p><strong>In the printed numbers:</strong></p><ul>{''.join(lines)}</ul></div>")


def collapses(r: Results) -> HTML:
    """Which rows rest on a run of fast adversarial training with the sign of catastrophic overfitting; nothing if none does."""
    fell = r.frame[(r.frame.metric == "collapsed") & (r.frame.value > 0)]
    lines = [f"<li>{escape(e.setting)} at {e.sparsity_percent:g} %, seed {e.seed}</li>" for e in fell.itertuples()]
    words = (
        "<strong>Not to be relied on:</strong> in the training or the ticket search of these rows robust accuracy on a fixed batch fell by "
        "more than 20 points in one epoch, the sign of catastrophic overfitting"
    )
    return HTML(f"<div class='errata'><p>{words}</p><ul>{''.join(lines)}</ul></div>" if lines else "")


BEHIND = 20.0
"""Points of accuracy without an attack by which a network far behind lies below the best of its place."""


def far_behind(r: Results) -> HTML:
    """Which rows have an accuracy without an attack far below that of the best network of the same place; nothing if none has.

    Their robust accuracy and gap say how far training has come, or that it broke down, rather than what sparsity does.
    """
    clean = r.frame[r.frame.metric.isin(("standard_accuracy_final", "clean_accuracy", "natural_test_accuracy"))]
    clean = clean[~clean.variant.str.contains("retraining=none")]  # not trained yet, and not meant to be compared
    place, row = ["dataset", "architecture"], ["sparsity_percent", "setting"]
    mean = clean.groupby([*place, *row, "variant"], sort=False).value.mean().rename("accuracy").reset_index()
    several = mean.groupby([*place, *row]).accuracy.transform("nunique") > 1
    words = mean.variant.map(lambda v: ": ".join(filter(None, variant_words(told_apart(v))))).where(several, "")
    mean["name"] = mean.setting.str.cat(words, sep=", ").str.removesuffix(", ")
    weak = mean[mean.groupby(place).accuracy.transform("max") - mean.accuracy >= BEHIND].drop_duplicates([*place, *row, "name"])
    if weak.empty:
        return HTML("")
    lines = []
    for where, part in weak.groupby(place, sort=False):
        each = "; ".join(f"{e.name} at {e.sparsity_percent:g} % sparsity ({e.accuracy:.0f} % right)" for e in part.itertuples(index=False))
        lines.append(f"<li>{escape(', '.join(where))}: {escape(each)}</li>")
    said = (
        f"<strong>Far behind:</strong> without an attack, too, the mean accuracy of these rows lies {BEHIND:g} points or more below that "
        "of the best network of the same data set and architecture. Read their robust accuracies, drops and gaps as signs of training that "
        "has not finished or has broken down, rather than of sparsity (<a href='../../threats.html'>threats</a>)."
    )
    return HTML(f"<div class='errata'><p>{said}</p><ul>{''.join(lines)}</ul></div>")


def exhibits_named(text: str) -> set[str]:
    """The exhibits that a sentence names: "Tables 3 and A12, CIFAR-100" gives {"table_3", "table_a12"}."""
    found = re.findall(r"(Table|Figure)s? (A?\d+(?:(?:, | and )A?\d+\b)*)", text)
    return {f"{kind}_{n}".lower() for kind, names in found for n in re.split(", | and ", names)}


def tasks(r: Results) -> list[Task]:
    """Every task that the page rests on, ancestors included, of the seeds shown."""
    return closure(r.exhibit.tasks(r.profile, r.seeds))


def cost(r: Results) -> str:
    """What the runs of the page took: jobs, time of one processor (that of a run stands still while it is suspended), largest memory."""
    summaries = [r.evidence.summary(t) for t in tasks(r)]
    if not summaries:
        return "No jobs: this page costs nothing."
    spent = sum(s["cost"]["cpu_seconds"] for s in summaries)
    memory = max(s["cost"]["peak_memory_bytes"] for s in summaries) / 2**20
    return f"{len(summaries)} jobs took {human(spent)} of one processor's time; the largest used {memory:.0f} MiB."


def table(frame: pd.DataFrame, decimals: int = 2) -> HTML:
    """A frame as a table of the site with two decimals unless said otherwise."""
    return html(frame, decimals)


def spread(frame: pd.DataFrame, by: list[str], value: str = "value") -> pd.DataFrame:
    """Mean, standard deviation (n - 1; missing for one seed) and number of seeds of `value` in each group, in order of appearance."""
    stats: Any = frame.groupby(by, sort=False)[value]
    return stats.agg(mean="mean", sd="std", n="count").reset_index()


def wide(stats: pd.DataFrame, decimals: int = 2) -> HTML:
    """:func:`spread` with one column a metric, "mean ± sd" in each cell; what else identifies a row comes first.

    From a hundred on with one decimal at most, from a thousand on with none; a mean that would keep one digit or none has two.
    """
    names = [c for c in stats.columns if c not in ("metric", "mean", "sd", "n")]
    rows = [c for c in names if stats[c].nunique() > 1] or names[-1:]

    def cell(row: pd.Series) -> str:
        size = abs(row["mean"])
        small = 0 < size < 10 ** (1 - decimals)
        most = 0 if size >= 1000 else 1 if size >= 100 else decimals
        shown = 1 - math.floor(math.log10(size)) if small else min(decimals, most)
        return number(row["mean"], shown) + ("" if pd.isna(row.sd) else f" ± {row.sd:.{shown}f}")

    cells = stats.assign(cell=stats.apply(cell, axis=1))
    order = pd.MultiIndex.from_frame(cells[rows].drop_duplicates()) if len(rows) > 1 else cells[rows[0]].drop_duplicates()
    grid = cells.pivot(index=rows, columns="metric", values="cell").reindex(order)[list(dict.fromkeys(stats.metric))]
    shown = grid.fillna("").reset_index()
    for size in shown.columns.intersection(["sparsity_percent", "density_percent"]):
        shown.insert(0, size, shown.pop(size))
    return table(shown)


def runs(r: Results) -> HTML:
    """The jobs that the page rests on, one line each, with links to their published spec, per-epoch numbers and summaries."""
    published = project_root() / "results" / r.profile.name
    lines = []
    for name, label in {t.name: t.job.label() for t in tasks(r)}.items():
        here = [f for f in ("spec.json", "metrics.csv", "summaries.jsonl") if (published / name / f).exists()]
        links = " · ".join(f"<a href='../../results/{r.profile.name}/{name}/{f}'>{f}</a>" for f in here)
        lines.append({"job": f"<code>{name}</code>", "what": label, "files": links or "in the working store only"})
    if not lines:
        return HTML("")
    body = pd.DataFrame(lines).to_html(index=False, border=0, escape=False)
    return HTML(f"<details><summary>The {len(lines)} jobs behind this page</summary><div class='replib-table'>{body}</div></details>")
