"""From the evidence on a claim to its outcome and one sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from replib.claims import resample
from replib.claims.conditions import Condition
from replib.claims.records import Claim, Verdict, unjudged

LEVEL = 0.95
ALPHA = 0.025  # each side


@dataclass(frozen=True)
class Evidence:
    """What the resampling of one claim gave, before correction for multiplicity."""

    claim: Claim
    conditions: tuple[Condition, ...]  # on the means over the declared seeds
    slacks: np.ndarray  # (conditions, replicates), widened; empty for fewer than two seeds
    p_supported: float
    p_contradicted: float
    probability: float | None
    n: int
    deterministic: bool
    scope: str
    covered: tuple[str, ...]
    chance: float | None
    fragility: float | None
    fragility_of: str
    left_out: tuple[str, ...] = ()  # what the predicate could not compare, in words


def conclude(e: Evidence, p_supported: float, p_contradicted: float) -> Verdict:
    """Outcome and sentence from evidence and the probabilities after correction for multiplicity."""
    errors = [float(np.std(s)) if s.size else 0.0 for s in e.slacks]
    tight = deciding(e.conditions, errors)
    row = next(i for i, c in enumerate(e.conditions) if c is tight)
    effect = float(np.mean(tight.slack))
    span = resample.interval(e.slacks[row], LEVEL) if e.slacks.size else None
    if span and tight.measure == "correlation":  # widened for few seeds, it may reach beyond what a correlation can be
        span = (max(span[0], -1.0), min(span[1], 1.0))  # their bounds are 0
    outcome, opening = _outcome(e, p_supported, p_contradicted)
    if opening == "Inconclusive:" and span and not span[0] <= 0 <= span[1]:
        opening = "Inconclusive once corrected for how much was looked at:"
    if outcome == "contradicted" and -_margin(e.claim, tight) < effect:
        opening = f"{opening.removesuffix(':')} by less than the margin, though not shown to lie within it:"
    return replace(
        unjudged(e.claim),
        scope=e.scope,
        outcome=outcome,
        effect=effect,
        interval=span,
        n=e.n,
        sentence=f"{opening} {_numbers(e, tight, effect, span)}",
        chance=e.chance,
        fragility=e.fragility,
        fragility_of=e.fragility_of,
        probability=e.probability,
        p_supported=p_supported,
        p_contradicted=p_contradicted,
        failing=tuple(c.name for c in e.conditions if not c.holds()[0]),
    )


def _outcome(e: Evidence, p_supported: float, p_contradicted: float) -> tuple[str, str]:
    """The outcome and the words that open its sentence. The order of the tests is the order of precedence."""
    claim = e.claim
    toward, against = ("Consistent with", "Contrary to") if e.scope == "stand-in" else ("Supports", "Contradicts")
    absent = [d for d in claim.datasets if not any(c == d or c.startswith(f"{d} ") for c in e.covered)]
    if e.scope not in claim.scopes:
        return "not testable here", f"Not testable on {_article(e.scope)}: {claim.why_not}"
    if e.scope in claim.by_construction and all(c.holds()[0] for c in e.conditions):  # what fails all the same is a finding
        return "by construction", f"By construction: {claim.why_by_construction}"
    if not e.deterministic and e.n < claim.seeds_declared:
        return "interim", f"Not judged before all seeds are made (interim: {e.n} of {claim.seeds_declared} declared seeds)."
    if p_contradicted <= ALPHA:
        return "contradicted", f"{against} the claim ({e.scope}):"
    # A conjunction over data sets can fail on some of them, but hold only on all.
    absent = [d for d in absent if not any(re.search(rf"\b{re.escape(d)}\b", words) for words in e.left_out)]
    parts = [*e.left_out, *([f"no results yet for {', '.join(absent)}"] if absent else [])]
    if parts:
        return "inconclusive", f"Inconclusive (partial: {'; '.join(parts)})."
    if p_supported <= ALPHA:
        return "supported", f"{toward} the claim ({e.scope}):"
    if _equivalent(e):
        words = f"({claim.margin:g} points, {claim.margin_gap:g} of gap)"
        return (
            "equivalent",
            f"Equivalent: what does not hold beyond doubt lies within the margin {words} on both sides.",
        )
    return "inconclusive", "Inconclusive:"


def _numbers(e: Evidence, tight: Condition, effect: float, span: tuple[float, float] | None) -> str:
    held = sum(bool(c.holds()[0]) for c in e.conditions)
    value = written(float(np.mean(tight.value)))
    words = f"{held} of {counted(e.conditions)} {'holds' if 1 in (held, len(e.conditions)) else 'hold'} in the mean; "
    words += f"the deciding one, {tight.name}, is {value}{needed(tight)}, distance from the bound {signed(effect)}"
    if span is not None:
        words += f", 95 % interval {signed(span[0])} to {signed(span[1])}"
    if e.claim.test == "rank" and e.n > 1:
        words += f"; all ranks hold in {100 * (e.probability or 0):.0f} % of resamples"
    return words + ("." if e.deterministic else f"; {e.n} seed{'s' if e.n != 1 else ''}.")


def _equivalent(e: Evidence) -> bool:
    """Whether each condition either holds beyond doubt or lies within its margin on both sides (two one-sided tests). Where all hold, and
    only the correction for other claims is in the way, all have to lie there."""
    if not e.slacks.size:
        return False
    pairs = list(zip(e.conditions, e.slacks, strict=True))
    undecided = [(c, s) for c, s in pairs if resample.interval(s, LEVEL)[0] <= 0]
    return all(harmless(e.claim, c, s) for c, s in undecided or pairs)


def _margin(claim: Claim, c: Condition) -> float:
    return {"accuracy": claim.margin, "gap": claim.margin_gap}.get(c.measure, 0.0)


def harmless(claim: Claim, c: Condition, slack: np.ndarray) -> bool:
    """Whether a condition is shown to lie within its margin on both sides: if it is violated, then by nothing that matters."""
    margin = _margin(claim, c)
    low, high = resample.interval(slack, LEVEL)
    return -margin < low <= high < margin


def _article(scope: str) -> str:
    return "a stand-in" if scope == "stand-in" else f"results of scope {scope!r}"


def deciding(conditions: Sequence[Condition], errors: Sequence[float] | None = None) -> Condition:
    """The condition nearest to failing, or failing most: slack in units of its error, or of its own size where there
    is no error."""

    def relative(i: int) -> tuple[float, float]:
        c = conditions[i]
        slack = float(np.mean(c.slack))
        size = abs(float(np.mean(c.value))) + float(np.mean(np.abs(c.bound)))
        if errors is not None and errors[i] > 0:
            size = errors[i]
        ratio = slack / size if size > 0 and np.isfinite(size) else slack
        return round(ratio, 9), slack  # differences with bound zero all have the ratio 1 or -1

    return conditions[min(range(len(conditions)), key=relative)]


def with_remark(words: str, claim: Claim) -> str:
    return f"{words} {claim.remark}".strip()


def counted(conditions: Sequence[Condition]) -> str:
    return f"{len(conditions)} condition{'s' if len(conditions) != 1 else ''}"


def written(x: float) -> str:
    """`x` for sentences, with four digits and a true minus sign."""
    return (f"{x:.4g}" if abs(x) < 1000 else f"{x:,.0f}").replace("-", "−")


def signed(x: float) -> str:
    """`x` for sentences, with its sign and three digits."""
    return f"{x:+.3g}".replace("-", "−")


def needed(c: Condition) -> str:
    bound = float(np.mean(c.bound))
    sign = ("<" if c.upper else ">") + ("" if c.strict else "=")
    return f" (needed {sign} {written(bound)})"
