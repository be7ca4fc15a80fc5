"""Generated pages of the book: pure functions from plain records to MyST Markdown.

An *exhibit* is a row of ``results/reported/exhibits.csv`` with its ``id``. Nothing here reads a file or imports torch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from statistics import mean, stdev
from typing import Any

from replib.root import PAPERS, TOGETHER
from replib.site.markup import Record, escape, exhibit_label, exhibit_name, number, prose, table


def exhibit_list(exhibits: Sequence[Record], claims: Sequence[Record], built: Collection[str]) -> str:
    """The table of a paper's exhibits: link where a page exists, otherwise the statement that it is still to come.

    The label of an exhibit stands on its page; while there is none it stands here, so that links to it always lead
    somewhere.
    """
    lines = []
    for row in exhibits:
        exhibit = row["id"]
        if exhibit not in built:
            lines.append(f"({exhibit_label(exhibit)})=")
        mine = [c for c in claims if exhibit in (c.get("exhibits") or ())]
        count = f" · {len(mine)} claim{'s' * (len(mine) != 1)}" if mine else ""
        name = f"[{exhibit_name(exhibit)}](#{exhibit_label(exhibit)})" if exhibit in built else exhibit_name(exhibit)
        state = "" if exhibit in built else ' · <span class="still">page still to come</span>'
        lines += [
            f":::{{div}} exhibit-row {'has-page' if exhibit in built else 'no-page'}",
            f"**{name}** · {escape(row.get('kind'))}{count}{state}<br>{escape(row.get('what_it_shows'))}",
            ":::",
            "",
        ]
    return "\n".join(lines)


# ---------------------------------------------------------------- tables


def register(rows: Sequence[Record]) -> str:
    """The paper-versus-code register. `rows` are those of ``book/register.csv``; ``where`` names the code that
    implements a row.
    """
    names = dict(zip("ABCDEFGH", PAPERS, strict=False))
    said = ("paper_says", "evidence", "default", "option")
    body = []
    for row in rows:
        paper = f"[{row['paper']}](#paper-{names[row['paper']].name})" if row["paper"] in names else escape(row["paper"])
        where = [f"{{py:obj}}`~{w}`" if "." in w else escape(w) for w in (row.get("where") or "").split()]
        body.append([row["number"], escape(row["topic"]), paper, *(escape(row[k]) for k in said), ", ".join(where) or "–"])
    head = [
        "#",
        "Topic",
        "Paper",
        "The paper says",
        "Code or other evidence",
        "Default here",
        "Option here",
        "Implemented in",
    ]
    return table(head, body, f"{len(body)} points on which a paper is silent, contradicts itself, or differs from its code.")


def departures(found: Sequence[Record]) -> str:
    """The list of departures that the source itself declares. `found` has ``module``, ``line``, ``inside`` and
    ``text``.
    """
    if not found:
        return "No module declares a departure yet.\n"
    lines = []
    for row in found:
        inside = f" in `{row['inside']}`" if row.get("inside") else ""
        lines.append(f"- {{py:mod}}`{row['module']}`{inside}, line {row['line']}: {prose(row['text'])}")
    return "\n".join([*lines, ""])


def status(rows: Sequence[Record]) -> str:
    """The table of exhibits with a page: runs, commit, machine and time. Missing fields show as a dash."""
    if not rows:
        return "No exhibit has been rendered in this profile yet.\n"
    body = []
    for row in rows:
        runs = escape(row.get("runs"))
        body.append(
            [
                f"[{exhibit_name(row['exhibit'])}](#{exhibit_label(row['exhibit'])})",
                _paper(row["exhibit"].split("/")[0]),
                runs,
            ]
            + [escape(row.get(k)) for k in ("commit", "machine", "time")]
        )
    head = ["Exhibit", "Paper", "Jobs", "Commit", "Machine", "Time"]
    caption = "Exhibits with a page, the jobs (runs, evaluations, measurements) that each reads, and the processor time that these took."
    return table(head, body, caption)


def _paper(name: str) -> str:
    """Link to a paper's page under its short title; any other name as it is."""
    return next((f"[{p.short}](#paper-{p.name})" for p in PAPERS if p.name == name), escape(name))


def state(exhibits: Sequence[Record], built: Collection[str]) -> str:
    """How much of the book is there, in one sentence."""
    if len(built) == len(exhibits):
        return f"All {len(built)} tables, figures and theorems have a page; all but drawings show runs of our own.\n"
    return (
        f"So far {len(built)} of the {len(exhibits)} tables, figures and theorems have a page. For the others the "
        "papers' printed numbers are in the book, and claims are checked against these by arithmetic.\n"
    )


BENCHMARK_HEADS = {
    "what": "measured", "case": "case", "against": "compared with", "median": "median", "low": "lowest", "high": "highest", "unit": "unit",
    "ratio_of_fastest": "ratio of the fastest rounds", "rounds": "rounds",
}  # fmt: skip


def benchmarks(rows: Sequence[Record]) -> str:
    """Two tables for each place of measurement, ratios and other units. `rows` are those of ``results/benchmarks.csv``."""
    places: dict[tuple[object, ...], list[Record]] = {}
    for row in rows:
        place = (*(row[k] for k in ("device", "machine", "threads", "torch", "commit")), row["unit"] == "ratio")
        places.setdefault(place, []).append(row)
    parts = []
    for (device, machine, threads, torch, commit, ratio), mine in places.items():
        where = f"{machine}, {threads} thread{'s' * (str(threads) != '1')}" if device == "cpu" else f"{machine} ({device})"
        what = "Ratios: time of the alternative over ours" if ratio else "Other measurements"
        keys = [k for k in BENCHMARK_HEADS if any(row.get(k) for row in mine) and not (ratio and k == "unit")]
        body = [[escape(row.get(k)) for k in keys] for row in mine]
        caption = escape(f"{what}. {where}; torch {torch}, commit {commit}.")
        parts.append(table([BENCHMARK_HEADS[k] for k in keys], body, caption))
    return "\n".join(parts) or "Nothing has been measured yet.\n"


KERNEL_HEADS = {
    "case": "network", "how": "computed by", "block": "images a side in one block", "seconds": "seconds", "seconds_ratio": "time, × layers",
    "peak_mib": "peak memory, MiB", "peak_mib_ratio": "memory, × layers",
}  # fmt: skip
KERNEL_WORDS = {"layers": "layers (ours)", "jacobian": "whole Jacobians", "products": "vector products"}


def kernels(rows: Sequence[Record]) -> str:
    """Time and memory of a tangent kernel, by how it is computed. `rows` are those of ``results/benchmarks_kernels.csv``."""
    if not rows:
        return "Nothing has been measured yet.\n"
    words = {"case": escape, "how": lambda v: escape(KERNEL_WORDS[v]), "block": escape}
    body = [[words.get(k, lambda v: number(float(v)))(row[k]) for k in KERNEL_HEADS] for row in rows]
    first = rows[0]
    caption = f"{first['images']} images of {first['side']} × {first['side']}. {first['machine']}, 1 thread; torch {first['torch']}, "
    return table(list(KERNEL_HEADS.values()), body, escape(f"{caption}commit {first['commit']}."))


def calibration(rows: Sequence[Record]) -> str:
    """The trials from which the small profile's settings were chosen. `rows` are those of ``results/calibration.csv``."""
    heads = {
        "role": "stands for", "setting": "setting", "net": "network", "lr_times_decay": "sum of learning rate × weight decay",
        "robust_best": "RA best, %", "robust_final": "RA final, %", "gap": "gap, points", "drop": "drop, points", "seconds": "seconds",
    }  # fmt: skip
    words = {"role": escape, "setting": escape, "net": escape, "lr_times_decay": lambda v: number(float(v))}
    body = [[words.get(k, lambda v: f"{round(float(v), 1) + 0.0:.1f}".replace("-", "−"))(row[k]) for k in heads] for row in rows]
    caption = f"{len(body)} trials with a reserved seed. RA is robust accuracy on test images."
    return table(list(heads.values()), body, caption) if body else ""


def elsewhere(results: Sequence[tuple[str, int, Sequence[Record]]]) -> str:
    """What is published of another profile: for each exhibit its id, how many seeds were declared, and its tidy rows, as one table.

    Shown are means over seeds ± standard deviations of accuracies and gaps, or of everything where there are none of these.
    """
    parts, titles = [], {p.name: p.short for p in PAPERS}
    for id, declared, rows in results:
        every = list(dict.fromkeys(row["metric"] for row in rows))
        chosen = [m for m in every if ("accuracy" in m or m.endswith("_gap")) and not m.endswith("_diff")] or every
        values: dict[tuple[str, ...], dict[str, list[float]]] = {}
        for row in rows:
            if row["metric"] in chosen:
                variant = "" if row["variant"].startswith("density=") or not row["variant"] else f" ({row['variant']})"
                place = (row["dataset"], row["architecture"], row["sparsity_percent"], row["setting"] + variant)
                values.setdefault(place, {}).setdefault(row["metric"], []).append(float(row["value"]))
        heads = ["data set", "network", "sparsity, %", "setting"]
        alone = all(len({place[n] for place in values}) == 1 for n in (0, 1))  # the caption then says which
        first = 2 * alone
        where = f", {', '.join(map(escape, next(iter(values))[:2]))}" if alone else ""
        body = [[*map(escape, place[first:]), *(_spread(found.get(m, ())) for m in chosen)] for place, found in values.items()]
        made = len({row["seed"] for row in rows})
        seeds = f"{made} of {declared} declared seeds" + "; mean ± standard deviation" * (made > 1)
        name = f"[{exhibit_name(id)}](#{exhibit_label(id)})"
        parts.append(
            f"## {titles.get(id.partition('/')[0], 'The papers together')}, {exhibit_name(id)}\n\n"
            + table([*heads[first:], *(escape(m.replace("_", " ")) for m in chosen)], body, f"{name}{where}: {seeds}")
        )
    return "\n".join(parts) or "There are no results of this kind.\n"


def _spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation (n - 1) with one decimal; the mean alone of one value, a dash of none."""
    if len(values) < 2:
        return f"{values[0]:.1f}" if values else "–"
    return f"{mean(values):.1f}\u00a0±\u00a0{stdev(values):.1f}".replace("-", "−")


def data_and_nets(roles: Sequence[Record], recipes: Sequence[Record]) -> str:
    """The tables of data sets and of how each is trained. Columns are the keys of the first row, with spaces for
    underscores.
    """
    return "\n".join(
        [
            _records(
                [{**row, "role": row["role"].replace("_", " ")} for row in roles],
                "What stands for what: where the images come from and how many there are, unless the next table takes fewer.",
            ),
            _records(recipes, "How each pair of data set and network of the papers is trained at this scale."),
        ]
    )


def _records(rows: Sequence[Record], caption: str) -> str:
    if not rows:
        return ""
    keys = list(rows[0])
    return table([escape(k.replace("_", " ")) for k in keys], [[escape(row.get(k)) for k in keys] for row in rows], caption)


def errata(rows: Sequence[Record]) -> str:
    """Places where a paper's printed numbers or sentences do not agree with each other. Columns are those of the
    file.
    """
    if not rows:
        return "No list of errata is part of this build.\n"
    titles = {p.name: p.title for p in PAPERS}
    rows = [{k: titles.get(v, v) for k, v in row.items()} for row in rows]
    return _records(rows, f"{len(rows)} places, each found by arithmetic on the papers' text.")


# ---------------------------------------------------------------- table of contents


def _sections(paper: str, built: Collection[str]) -> dict[str, Any]:
    """The pages of exhibits below a chapter, if there are any."""
    pages = [{"file": f"notebooks/{e}", "title": exhibit_name(e)} for e in built if e.split("/")[0] == paper]
    return {"sections": pages} if pages else {}


def contents(built: Collection[str], api: Sequence[str], howto: Sequence[str], methods: Sequence[str]) -> dict[str, Any]:
    """The table of contents in jupyter-book's format: parts in reading order; exhibits under their paper, in the
    paper's order.
    """
    parts: list[dict[str, Any]] = []
    for paper in PAPERS:
        chapter: dict[str, Any] = {"file": f"papers/{paper.name}", "title": "The paper and its claims"}
        parts.append({"caption": paper.title, "chapters": [chapter | _sections(paper.name, built)]})
    results: list[dict[str, Any]] = [
        {"file": name} for name in ("scoreboard", TOGETHER, "real_data", "threats", "changes", "benchmarks", "status")
    ]
    results[1] |= _sections(TOGETHER, built)
    parts.append({"caption": "Results", "chapters": results})
    parts.append({"caption": "Methods", "chapters": [{"file": f"methods/{m}"} for m in methods]})
    said = ["register", "departures", "errata", "data_and_nets"]
    parts.append({"caption": "What is not as in the papers", "chapters": [{"file": s} for s in said]})
    parts.append({"caption": "How to", "chapters": [{"file": f"howto/{h}"} for h in howto]})
    sections = [{"file": f"api/{a}"} for a in api]
    reference = [{"file": "glossary"}, {"file": "bibliography"}, {"file": "about"}, {"file": "api/index", "sections": sections}]
    parts.append({"caption": "Reference", "chapters": reference})
    return {"format": "jb-book", "root": "intro", "parts": parts}
