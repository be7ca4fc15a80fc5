"""What a claim declares and what a verdict says, as records."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from replib.claims.predicates import Predicate, predicate
from replib.spec import choose

SCOPES = ("stand-in", "same data reduced", "paper scale", "exact")  # weakest first
OUTCOMES = (
    "supported",
    "contradicted",
    "equivalent",
    "inconclusive",
    "interim",
    "by construction",
    "not testable here",
    "no results yet",
)
STAND_IN_WORDS = {"supported": "consistent with", "contradicted": "contrary to"}
"""A verdict reached on stand-in data is a statement about the stand-in, and must not read like one about the paper."""


def verdict_words(scope: str, outcome: str) -> str:
    """The words shown for a verdict; on stand-in data a claim is never "supported", only "consistent with"."""
    choose("scope", scope, (*SCOPES, "none"))
    return STAND_IN_WORDS.get(outcome, outcome) if scope == "stand-in" else outcome


@dataclass(frozen=True)
class Claim:
    """A statement of a paper and what was declared about its test before any result was made."""

    claim_id: str
    paper: str
    source: str
    statement: str
    kind_of_claim: str
    datasets: tuple[str, ...]
    how_to_check: str
    exhibits: tuple[str, ...]
    confirmatory: bool
    test: str
    seeds_declared: int
    margin: float
    margin_gap: float
    scopes: tuple[str, ...]
    why_not: str
    by_construction: tuple[str, ...]
    why_by_construction: str
    remark: str

    @property
    def predicate(self) -> Predicate:
        """Table -> conditions."""
        return predicate(self.paper, self.claim_id)

    @property
    def rule(self) -> str:
        """What the predicate checks, in words: its own description, so that what readers see is what stands beside the code."""
        return " ".join((self.predicate.__doc__ or "").split())


@dataclass(frozen=True)
class Verdict:
    """What the results (or the printed tables) say of a claim. See :func:`replib.claims.verdicts` for the fields."""

    claim_id: str
    paper: str
    source: str
    statement: str
    kind_of_claim: str
    exhibits: tuple[str, ...]
    confirmatory: bool
    seeds_declared: int
    margin: float
    scope: str
    outcome: str
    effect: float | None
    interval: tuple[float, float] | None
    n: int
    sentence: str
    printed: bool | None
    printed_sentence: str
    chance: float | None
    fragility: float | None
    fragility_of: str = ""
    probability: float | None = None
    p_supported: float | None = None
    p_contradicted: float | None = None
    failing: tuple[str, ...] = ()
    rule: str = ""

    def record(self) -> dict[str, Any]:
        """The verdict as plain JSON data."""
        body = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in body.items()}


def unjudged(claim: Claim) -> Verdict:
    """The verdict on a claim of which nothing is known yet."""
    return Verdict(
        claim.claim_id, claim.paper, claim.source, claim.statement, claim.kind_of_claim, claim.exhibits,
        claim.confirmatory, claim.seeds_declared, claim.margin, "none", "no results yet", None, None, 0,
        "No results yet.", None, "", None, None, rule=claim.rule,
    )  # fmt: skip
