"""Generated pages of the book: pure functions from plain records to MyST Markdown.

A *claim* is a dict with at least ``claim_id``, ``paper``, ``source``, ``statement``, ``exhibits``, ``scope`` and
``outcome``; the remaining fields (``effect``, ``interval``, ``n``, ``sentence``, ``printed``, ``printed_sentence``,
``chance``, ``fragility``, ``confirmatory``, ``seeds_declared``, ``margin``) may be missing or None; ``threats`` holds
title and label of the threats to its verdict, ``elsewhere`` what the evidence of other profiles says, as dicts with
``profile``, ``scope``, ``outcome`` and ``sentence``. An *exhibit* is a row of ``results/reported/exhibits.csv`` with
its ``id``. Nothing here reads a file or imports torch.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replib.root import TOGETHER, our_exhibits
from replib.spec import ReplibError

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Paper:
    """A paper as the book names it: folder name, title, and a shorter title for table heads."""

    name: str
    title: str
    short: str


PAPERS = (
    Paper("sparsity_winning_twice", "Sparsity Winning Twice", "Sparsity Winning Twice"),
    Paper("achieving_robustness_via_sparsity", "Achieving Adversarial Robustness via Sparsity", "Robustness via Sparsity"),
    Paper("double_win_lottery_tickets", "Data-Efficient Double-Win Lottery Tickets", "Double-Win Tickets"),
    Paper(
        "adversarial_winning_tickets",
        "Finding Dynamics Preserving Adversarial Winning Tickets",
        "Adversarial Winning Tickets",
    ),
)

# (outcome, sign, what the word means). The sign repeats what the colour says, for readers who cannot tell the colours
# apart.
OUTCOMES = (
    ("supported", "✓", "the interval lies on the claim's side of its margin"),
    ("contradicted", "✗", "the interval lies on the other side, and of accuracies and gaps not within the margin"),
    ("equivalent", "≈", "the difference lies within the declared margin, where the claim says there is one"),
    (
        "inconclusive",
        "?",
        "corrected for the number of conditions and claims both readings are left, or a part of the claim has no results",
    ),
    ("interim", "◔", "fewer seeds are made than were declared, and nothing is judged before"),
    ("by construction", "=", "the set-up was chosen so that this holds; it is not a finding"),
    ("not testable here", "–", "this profile cannot speak to the claim"),
    ("no results yet", "…", "no evidence has been published for it"),
)
SCOPES = (
    ("exact", "the claim is arithmetic or a theorem and was checked as such"),
    ("paper scale", "same data, network and schedule as in the paper"),
    ("same data, reduced", "same data set, shorter schedule or fewer images"),
    ("stand-in", "another, smaller data set plays the part of the paper's"),
    ("none", "nothing was run"),
)
# A verdict reached on stand-in data is a statement about the stand-in, and must not read like one about the paper.
STAND_IN_WORDS = {"supported": "consistent with", "contradicted": "contrary to"}


def escape(text: object) -> str:
    """`text` as one line of Markdown that shows exactly these characters, also inside a table cell. None becomes a
    dash.
    """
    if text is None or text == "":
        return "–"
    line = re.sub(r"\s+", " ", str(text)).strip()
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#|$~^])", r"\\\1", line)


def prose(text: str) -> str:
    """A sentence of a docstring or comment as Markdown: code spans and roles become code, the rest is escaped."""
    pieces = re.split(r"(?::[a-z:]+:)?(`{1,2})~?([^`]+)\1", text)
    # Every third piece is text, and the last of each three is the content of a code span.
    return "".join(f"`{piece}`" if k % 3 == 2 else "" if k % 3 == 1 or not piece else _spaced(piece) for k, piece in enumerate(pieces))


def _spaced(piece: str) -> str:
    """`escape` that keeps blanks at the ends and the emphasis of a ``*word*``."""
    if not piece.strip():
        return " "
    shown = re.sub(r"(?<!\w)\\\*(\w[^*\\]*)\\\*(?!\w)", r"*\1*", escape(piece))
    return " " * piece[0].isspace() + shown + " " * piece[-1].isspace()


def slug(text: str) -> str:
    """`text` in lower case with single hyphens between letters and digits: the form of a CSS class."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def exhibit_name(exhibit: str) -> str:
    """ "Figure A8" from ``sparsity_winning_twice/figure_a8`` (or from ``figure_a8``)."""
    if exhibit in our_exhibits():
        return our_exhibits()[exhibit]["exhibit"]
    return " ".join(w.upper() if re.fullmatch(r"a?\d+", w) else w.capitalize() for w in exhibit.split("/")[-1].split("_"))


def exhibit_label(exhibit: str) -> str:
    """The book-wide label of an exhibit: ``exhibit-sparsity_winning_twice-table_1``."""
    return f"exhibit-{exhibit.replace('/', '-')}"


def claim_label(claim_id: str) -> str:
    """The book-wide label of a claim: ``claim-swt_dense_overfits``."""
    return f"claim-{claim_id}"


# ---------------------------------------------------------------- verdicts


def verdict_words(scope: str, outcome: str) -> str:
    """The words shown for a verdict; on stand-in data a claim is never "supported", only "consistent with"."""
    if slug(scope) not in {slug(s) for s, _ in SCOPES}:
        raise ReplibError(f"The scope {scope!r} is not known to the book; use one of {', '.join(s for s, _ in SCOPES)}.")
    return STAND_IN_WORDS.get(outcome, outcome) if scope == "stand-in" else outcome


def badge(scope: str, outcome: str, *, with_scope: bool = True) -> str:
    """HTML of a verdict badge: sign, words and scope. Colour only repeats them."""
    signs = {name: sign for name, sign, _ in OUTCOMES}
    if outcome not in signs:
        raise ReplibError(f"The outcome {outcome!r} is not known to the book; use one of {', '.join(signs)}.")
    kind = f"verdict outcome-{slug(outcome)} scope-{slug(scope)}"
    where = "" if scope == "none" or not with_scope else f'<span class="scope">{html.escape(scope)}</span>'
    words = html.escape(verdict_words(scope, outcome))
    return f'<span class="{kind}"><span class="sign" aria-hidden="true">{signs[outcome]}</span> {words}{where}</span>'


def at_a_glance(claims: Sequence[Record]) -> str:
    """The table of the landing page: number of claims by verdict and paper; each number opens the scoreboard filtered
    to it.
    """
    heads = "".join(f'<th scope="col"><a href="papers/{p.name}.html">{html.escape(p.short)}</a></th>' for p in PAPERS)
    lines = [
        '<div class="scroll"><table class="glance">',
        f'<thead><tr><td></td>{heads}<th scope="col">All</th></tr></thead>',
    ]
    for words, _, sign_badge in verdicts_present(claims):
        lines.append(f'<tr><th scope="row">{sign_badge}</th>{_counts(claims, words)}</tr>')
    return "\n".join([*lines, f'<tr class="all"><th scope="row">all claims</th>{_counts(claims, None)}</tr>', "</table></div>\n"])


def _counts(claims: Sequence[Record], words: str | None) -> str:
    """The cells of one verdict (all verdicts if None): a number for each paper, and one for all of them."""
    cells = []
    for paper in (*(p.name for p in PAPERS), None):
        mine = (c for c in claims if paper in (None, c["paper"]))
        n = sum(words in (None, verdict_words(c["scope"], c["outcome"])) for c in mine)
        query = "&amp;".join(f"{key}={slug(value)}" for key, value in (("paper", paper), ("verdict", words)) if value)
        cells.append(f'<td><a href="scoreboard.html?{query}">{n}</a></td>' if n else '<td class="nothing">0</td>')
    return "".join(cells)


def verdicts_present(claims: Sequence[Record]) -> list[tuple[str, str, str]]:
    """(words, outcome, badge without scope) of every verdict that occurs in `claims`, in the order of the legend."""
    found = []
    for outcome, _, _ in OUTCOMES:
        for scope in ("none", "stand-in"):
            words = verdict_words(scope, outcome)
            here = any(c["outcome"] == outcome and verdict_words(c["scope"], outcome) == words for c in claims)
            if here and words not in [w for w, _, _ in found]:
                found.append((words, outcome, badge(scope, outcome, with_scope=False)))
    return found


def _choices(name: str, label: str, options: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f'<option value="{value}">{html.escape(text)}</option>' for value, text in options)
    return f'<label>{label} <select name="{name}"><option value="">all</option>{rows}</select></label>'


def scoreboard(claims: Sequence[Record], profile: str, built: Collection[str]) -> str:
    """The page of all claims. Each is a block with an anchor, its verdict, its numbers and links to its exhibits.

    The filters are a few lines of script; without them every claim is simply visible. `built` holds the ids of exhibits
    with a page.
    """
    papers = [(slug(p.name), p.title) for p in PAPERS]
    scopes = [(slug(s), s) for s, _ in SCOPES if any(slug(c["scope"]) == slug(s) for c in claims)]
    verdicts = [(slug(words), words) for words, _, _ in verdicts_present(claims)]
    controls = [
        _choices("paper", "Paper", papers),
        _choices("scope", "Scope", scopes),
        _choices("verdict", "Verdict", verdicts),
    ]
    legend = [f"{sign} **{name}**\n: {text}." for name, sign, text in OUTCOMES]
    scope_legend = [f"**{name}**\n: {text}." for name, text in SCOPES]
    parts = [
        "(scoreboard)=",
        "# Scoreboard",
        "",
        f"Every claim that the four papers make about these exhibits, {len(claims)} in all, with what the evidence of "
        f"profile `{profile}` says about it. What is checked, the margin and the number of seeds of each were written down before "
        "its seeds were run; what was mended since is told among the [threats](threats.md).",
        "",
        f'<form class="filters" id="filters" hidden aria-label="Filter the claims">{"".join(controls)}'
        f'<button type="reset">show all</button><output id="shown" aria-live="polite"></output></form>',
        "",
        "````{dropdown} What the words mean",
        "Outcome:",
        "",
        *[f"{line}\n" for line in legend],
        "Scope:",
        "",
        *[f"{line}\n" for line in scope_legend],
        "On stand-in data the outcomes *supported* and *contradicted* are written *consistent with* and *contrary to*; "
        "such a verdict is about the stand-in. *Printed numbers* says whether the paper's own table bears the "
        "statement out, as plain arithmetic. *Chance* is the probability that the statement would hold if the methods "
        "were exchangeable; *probability* that it holds when seeds and test images are drawn anew. *Effect* is the distance of "
        "the deciding condition from its bound, positive on the claim's side, with a 95 % interval where there is more than one seed, "
        "widened where seeds are few, as the probability is not; *margin* is the difference of accuracies that was declared to matter, "
        "in points. *p for* and *p against* decide: one-sided, corrected for conditions and claims, at most 0.025. "
        "Claims are *confirmatory* (corrected for their number) or "
        "*descriptive*. *Fragility* is the smallest change of one number that flips the verdict (of the printed "
        "numbers where there are no results).",
        "````",
        "",
    ]
    for paper in PAPERS:
        mine = [c for c in claims if c["paper"] == paper.name]
        parts += [f"## {paper.title}", "", *(_claim_block(c, built) for c in mine)]
    parts += ['<script src="_static/scoreboard.js" defer></script>', ""]
    return "\n".join(parts)


def _claim_block(claim: Record, built: Collection[str]) -> str:
    """One claim of the scoreboard. Its classes carry what the filters read."""
    kinds = {key: claim[key] for key in ("paper", "scope", "outcome")}
    kinds["verdict"] = verdict_words(claim["scope"], claim["outcome"])
    classes = " ".join(["claim", *(f"{key}-{slug(value)}" for key, value in kinds.items())])
    lines = [
        f"({claim_label(claim['claim_id'])})=",
        f":::{{div}} {classes}",
        f'{badge(claim["scope"], claim["outcome"])} <code class="claim-id">{html.escape(claim["claim_id"])}</code>',
        "",
        f"{escape(claim['statement'])}",
        "",
    ]
    if claim.get("rule"):
        code = f"{{py:func}}`code <replib.claims.predicates.{claim['paper']}.{claim['claim_id']}>`"
        lines += [f"**Checked:** {escape(claim['rule'])} ({code})", ""]
    if claim.get("sentence") and claim["outcome"] != "no results yet":
        lines += [f"**Found:** {escape(claim['sentence'])}", ""]
    for other in claim.get("elsewhere", ()):  # what another profile's evidence says
        words = verdict_words(other["scope"], other["outcome"])
        lines += [f"**In the profile `{other['profile']}`** ({escape(words)}): {escape(other['sentence'])}", ""]
    if claim.get("printed") is not None:
        said = claim.get("printed_sentence") or ("They bear it out." if claim["printed"] else "They do not bear it out.")
        lines += [f"**Printed numbers:** {'true' if claim['printed'] else 'false'}. {escape(said)}", ""]
    if claim.get("threats"):
        lines += [f"**Read with:** {', '.join(f'[{title}](#{label})' for title, label in claim['threats'])}", ""]
    facts = claim_facts(claim)
    if facts:
        lines += [" · ".join(facts), ""]
    lines += [f"*Where:* {claim_links(claim, built)} ({escape(claim['source'])})", ":::", ""]
    return "\n".join(lines)


def claim_facts(claim: Record) -> list[str]:
    """The numbers of a claim record that are there, each as a short phrase."""
    facts = []
    if claim.get("effect") is not None:
        interval = claim.get("interval")
        span = f" \\[{number(interval[0])}, {number(interval[1])}\\]" if interval else ""
        facts.append(f"effect {number(claim['effect'])}{span}")
    if claim.get("n"):
        facts.append(f"n = {claim['n']}")
    if claim.get("seeds_declared") is not None:
        facts.append(f"{claim['seeds_declared']} seeds declared")
    if claim.get("margin") is not None:
        facts.append(f"margin {number(claim['margin'])} points")
    for side, name in (("p_supported", "p for"), ("p_contradicted", "p against")):
        if claim.get(side) is not None and claim["outcome"] in ("supported", "contradicted", "equivalent", "inconclusive"):
            facts.append(f"{name} {number(claim[side])}")
    if claim.get("confirmatory") is not None:
        facts.append("confirmatory" if claim["confirmatory"] else "descriptive")
    facts += [f"{field} {number(claim[field])}" for field in ("probability", "chance", "fragility") if claim.get(field) is not None]
    if claim.get("fragility") is not None and claim.get("fragility_of"):
        where = re.sub(r"flops( exact)? e\d+", r"FLOPs\1", claim["fragility_of"])
        facts[-1] += f" ({escape(where)})"
    return facts


def number(value: object) -> str:
    """`value` with three significant digits and a true minus sign; words are left as they are, escaped."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return escape(value)
    text = f"{value + 0.0:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return text.replace("-", "−")


def claim_links(claim: Record, built: Collection[str]) -> str:
    """Links from a claim to the pages of its exhibits, or to the paper's list where an exhibit has no page yet."""
    links = []
    for exhibit in claim.get("exhibits") or ():
        text = exhibit_name(exhibit) + ("" if exhibit in built else " (no page yet)")
        links.append(f"[{text}](#{exhibit_label(exhibit)})")
    return ", ".join(links) or f"[the paper's page](#paper-{claim['paper']})"


def claims_list(claims: Sequence[Record]) -> str:
    """The list of a paper's claims for its index page: verdict, statement, link to the scoreboard."""
    lines = []
    for claim in claims:
        label = claim_label(claim["claim_id"])
        lines.append(f"- {badge(claim['scope'], claim['outcome'])} {escape(claim['statement'])} [details](#{label})")
    return "\n".join([*lines, ""])


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


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, classes: str = "wide") -> str:
    """A Markdown table (cells are Markdown already) in a block that scrolls sideways, under its caption."""
    body = ["| " + " | ".join(cells) + " |" for cells in rows]
    lines = [
        f":::{{div}} {classes}",
        f"*{caption}*",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *body,
        "",
        ":::",
        "",
    ]
    return "\n".join(lines)


def register(rows: Sequence[Record]) -> str:
    """The paper-versus-code register. `rows` are those of ``book/register.csv``; ``where`` names the code that
    implements a row.
    """
    names = {"A": PAPERS[0], "B": PAPERS[1], "C": PAPERS[2], "D": PAPERS[3]}
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
    results: list[dict[str, Any]] = [{"file": name} for name in ("scoreboard", TOGETHER, "threats", "benchmarks", "status")]
    results[1] |= _sections(TOGETHER, built)
    parts.append({"caption": "Results", "chapters": results})
    parts.append({"caption": "Methods", "chapters": [{"file": f"methods/{m}"} for m in methods]})
    said = ["register", "departures", "errata", "data_and_nets"]
    parts.append({"caption": "What is not as in the papers", "chapters": [{"file": s} for s in said]})
    parts.append({"caption": "How to", "chapters": [{"file": f"howto/{h}"} for h in howto]})
    sections = [{"file": f"api/{a}"} for a in api]
    reference = [{"file": "glossary"}, {"file": "bibliography"}, {"file": "api/index", "sections": sections}]
    parts.append({"caption": "Reference", "chapters": reference})
    return {"format": "jb-book", "root": "intro", "parts": parts}
