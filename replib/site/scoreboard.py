"""The page of all claims, and what other pages show of them: verdicts as badges, counts and lists.

A *claim* is a dict with at least ``claim_id``, ``paper``, ``source``, ``statement``, ``exhibits``, ``scope`` and
``outcome``; the remaining fields (``effect``, ``interval``, ``n``, ``sentence``, ``printed``, ``printed_sentence``,
``chance``, ``fragility``, ``confirmatory``, ``seeds_declared``, ``margin``) may be missing or None; ``threats`` holds
title and label of the threats to its verdict, ``elsewhere`` what the evidence of other profiles says, as dicts with
``profile``, ``scope``, ``outcome`` and ``sentence``. Nothing here reads a file or imports torch.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Sequence

from replib.claims.records import verdict_words
from replib.root import PAPERS
from replib.site.markup import Record, claim_label, escape, exhibit_label, exhibit_name, number, slug
from replib.spec import choose

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
    ("same data reduced", "same data set, shorter schedule or fewer images"),
    ("stand-in", "another, smaller data set plays the part of the paper's"),
    ("none", "nothing was run"),
)


def badge(scope: str, outcome: str, *, with_scope: bool = True) -> str:
    """HTML of a verdict badge: sign, words and scope. Colour only repeats them."""
    signs = {name: sign for name, sign, _ in OUTCOMES}
    choose("outcome", outcome, signs)
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
        "its seeds were run; what was mended since is [told](changes.md).",
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
    if len(claim.get("failing", ())) > 1 and claim["outcome"] != "no results yet":  # of one the sentence speaks
        lines += [
            f"```{{dropdown}} Conditions that do not hold in the mean: {len(claim['failing'])}",
            *(f"- {escape(c)}" for c in claim["failing"]),
            "```",
            "",
        ]
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
