"""From results to verdicts: scope, outcome, effect with interval, chance and fragility, and one sentence.

The unit is the seed. A claim is a conjunction of conditions (intersection-union): it is supported when every one of
them is, and contradicted when one of them fails beyond doubt, with Bonferroni's correction for having looked for the
one. Confirmatory claims of a paper are corrected together by Holm's procedure, over the number that was declared,
whether or not they have been run.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from replib.claims import resample
from replib.claims.conditions import Condition, all_hold
from replib.claims.predicates import PAPERS, Predicate, predicate
from replib.claims.table import Cell, MissingResult, NotTestable, Sample, Table, parse_variant
from replib.spec import SpecError, choose

SCOPES = ("stand-in", "same data reduced", "paper scale", "exact")  # weakest first
OUTCOMES = (
    "supported",
    "contradicted",
    "equivalent",
    "inconclusive",
    "by construction",
    "not testable here",
    "no results yet",
)
REPLICATES = 2000
PERMUTATIONS = 1000
LEVEL = 0.95
ALPHA = 0.025  # each side


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

    def record(self) -> dict[str, Any]:
        """The verdict as plain JSON data."""
        body = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in body.items()}


def table(claim: Claim, sample: Sample, fetch: resample.Fetch, scope: str = "none", spread: Callable | None = None) -> Table:
    """The table that the claim's predicate sees."""
    return Table(sample, fetch, spread=spread, margin=claim.margin, scope=scope)


def _rng(claim: Claim, purpose: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"{claim.claim_id}/{purpose}".encode()))


def chance(
    claim: Claim, sample: Sample, cells: Sequence[Cell], seeds: Sequence[int], scope: str, permutations: int = PERMUTATIONS
) -> float | None:
    """Probability of the claim's conditions if the labels of the rows meant nothing; None where there is nothing to
    exchange."""
    if not _has_labels(cells):
        return None
    fetch = resample.permuted(sample, cells, seeds, _rng(claim, "chance"), permutations)
    return float(all_hold(claim.predicate(table(claim, sample, fetch, scope))).mean())


def _has_labels(cells: Sequence[Cell]) -> bool:
    """Whether some block has two rows to exchange. Printed differences of two rows are no rows of their own."""
    rows: dict[tuple, set] = {}
    for c in cells:
        rows.setdefault((c.dataset, c.architecture, c.metric), set()).add((c.sparsity, c.setting, c.variant))
    return any(len(r) > 1 for r in rows.values()) and not any(c.metric.endswith("_gain_max") for c in cells)


def fragility(
    judge: Callable[[resample.Fetch], np.ndarray], cells: Sequence[Cell], values: Mapping[Cell, float]
) -> tuple[float | None, Cell | None]:
    """Smallest change of one number that turns the verdict, and the number.

    `judge` maps a fetch function to (replicates,) booleans. Changes up to 100 are tried in units of the measure:
    points for what is in percent, one hundredth of the largest value read for the rest (FLOPs, fractions, angles);
    the least in these units wins and is returned in the measure's own units, to four digits. (None, None) if no such
    change turns it.
    """
    largest: dict[str, float] = {}
    for c in cells:
        largest[c.metric] = max(largest.get(c.metric, 0.0), abs(values[c]))
    unit = {c: 1.0 if _in_percent(c.metric) else (largest[c.metric] or 1.0) / 100 for c in cells}
    grid = np.geomspace(1e-3, 100, 61)
    moves = [(c, sign) for c in cells if np.isfinite(values[c]) for sign in (1.0, -1.0)]
    truth = bool(judge(lambda c: np.array([values[c]]))[0])

    def flips(batch: Sequence[tuple[Cell, float]], steps: np.ndarray) -> np.ndarray:
        """(moves, steps) booleans: does the verdict turn when one cell moves by `steps` (moves, steps) units?"""
        count, per = steps.shape
        rows: dict[Cell, list[int]] = {}
        for i, (c, _) in enumerate(batch):
            rows.setdefault(c, []).append(i)

        def fetch(cell: Cell) -> np.ndarray:
            if cell not in rows:
                return np.broadcast_to(values[cell], (count * per,))
            out = np.full((count, per), values[cell])
            for i in rows[cell]:
                out[i] += batch[i][1] * steps[i] * unit[cell]
            return out.ravel()

        with np.errstate(divide="ignore", invalid="ignore"):  # a number may pass through 0 on its way
            return (judge(fetch) != truth).reshape(count, per)

    chunk = max(1, int(3e6 / (max(1, len(cells)) * len(grid))))
    turned = []
    for i in range(0, len(moves), chunk):
        batch = moves[i : i + chunk]
        hit = flips(batch, np.broadcast_to(grid, (len(batch), len(grid))))
        turned += [(m, int(h.argmax())) for m, h in zip(batch, hit, strict=True) if h.any()]
    if not turned:
        return None, None
    first = min(k for _, k in turned)
    batch = [m for m, k in turned if k == first]
    low = np.full(len(batch), grid[first - 1] if first else 0.0)
    high = np.full(len(batch), grid[first])
    for _ in range(3):  # each round narrows the bracket by 32
        steps = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, 33)[1:]
        at = flips(batch, steps).argmax(axis=1)
        width = (high - low) / 32
        high = steps[np.arange(len(batch)), at]
        low = high - width
    best = int(high.argmin())
    cell = batch[best][0]
    size = high[best] if high[best] > 1e-6 else 0.0  # a number that sits on its bound
    return float(f"{size * unit[cell]:.4g}"), cell


def _in_percent(metric: str) -> bool:
    return not any(
        w in metric
        for w in (
            "flops",
            "fraction",
            "distance",
            "angle",
            "norm",
            "loss",
            "iou",
            "share",
            "entropy",
            "kernels",
            "cosine",
        )
    )


def judge_printed(claim: Claim, sample: Sample) -> Verdict:
    """Plain arithmetic on the paper's own tables: ``printed`` is True, False, or None where the numbers are not in
    the text."""
    fetch = resample.means(sample)
    t = table(claim, sample, fetch)
    blank = _blank(claim)
    try:
        conditions = claim.predicate(t)
    except MissingResult:
        return replace(
            blank,
            printed_sentence=_remark("Not in the text: the printed tables do not hold the numbers that this claim needs.", claim),
        )
    cells = list(t.read)
    holds = [bool(c.holds()[0]) for c in conditions]
    failing = tuple(c.name for c, ok in zip(conditions, holds, strict=True) if not ok)
    tight = _binding(conditions)
    if failing:
        words = (
            f"{len(failing)} of {_count(conditions)} {'fails' if len(failing) == 1 else 'fail'} in the printed tables: "
            + "; ".join(
                f"{c.name}: {_number(float(np.ravel(c.value)[0]))}{_bound(c)}" for c, ok in zip(conditions, holds, strict=True) if not ok
            )
            + "."
        )
    else:
        value = _number(float(tight.value[0]))
        words = f"The printed tables bear it out ({_count(conditions)}); the tightest is {tight.name}: "
        words += f"{value}{_bound(tight)}."
    small, cell = fragility(lambda f: all_hold(claim.predicate(table(claim, sample, f))), cells, {c: float(fetch(c)[0]) for c in cells})
    return replace(
        blank,
        printed=not failing,
        printed_sentence=_remark(words, claim),
        effect=float(tight.slack[0]),
        chance=chance(claim, sample, cells, [0], "none"),
        fragility=small,
        fragility_of=cell.words() if cell else "",
        failing=failing,
    )


def _remark(words: str, claim: Claim) -> str:
    return f"{words} {claim.remark}".strip()


def _blank(claim: Claim) -> Verdict:
    return Verdict(
        claim.claim_id, claim.paper, claim.source, claim.statement, claim.kind_of_claim, claim.exhibits,
        claim.confirmatory, claim.seeds_declared, claim.margin, "none", "no results yet", None, None, 0,
        "No results yet.", None, "", None, None,
    )  # fmt: skip


def _binding(conditions: Sequence[Condition], errors: Sequence[float] | None = None) -> Condition:
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


def _count(conditions: Sequence[Condition]) -> str:
    return f"{len(conditions)} condition{'s' if len(conditions) != 1 else ''}"


def _number(x: float) -> str:
    return f"{x:.4g}" if abs(x) < 1000 else f"{x:,.0f}"


def _bound(c: Condition) -> str:
    bound = float(np.mean(c.bound))
    sign = ("<" if c.upper else ">") + ("" if c.strict else "=")
    return f" (needed {sign} {_number(bound)})"


def match_images(sample: Sample, images: Mapping[tuple, np.ndarray] | None) -> dict[Cell, np.ndarray]:
    """Per-image results by cell. Keys are (setting, sparsity, metric), or (exhibit, data set, network, variant) before these three.

    Raises :class:`SpecError` for a key of another shape.
    """
    out: dict[Cell, np.ndarray] = {}
    for name, correct in (images or {}).items():
        if len(name) not in (3, 7):
            wanted = "use (setting, sparsity, metric), or put exhibit, data set, network and variant before these"
            raise SpecError(f"images has the key {name!r}; {wanted}.")
        setting, sparsity, metric = name[-3:]
        level = None if sparsity is None else round(float(sparsity), 2)
        where = (*name[:3], parse_variant(name[3])) if len(name) == 7 else None
        for cell in sample.index.get((setting, metric), ()):
            if cell.sparsity == level and where in (None, (cell.exhibit, cell.dataset, cell.architecture, cell.variant)):
                out[cell] = np.asarray(correct)
    return out


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


def gather(
    claim: Claim,
    sample: Sample,
    images: Mapping[Cell, np.ndarray],
    clusters: Mapping[str, np.ndarray] | None,
    scope: str,
) -> Evidence:
    """Resample one claim. Raises :class:`MissingResult` or :class:`NotTestable`."""
    probe = table(claim, sample, resample.means(sample), scope)
    claim.predicate(probe)
    cells = list(probe.read)
    own = [sample.scopes.get(c, scope) for c in cells]
    scope = min((choose("scope", s, SCOPES) for s in own), key=SCOPES.index)
    deterministic = all(c in sample.constants for c in cells)
    seeds = sample.common_seeds(cells)
    if not seeds:
        raise MissingResult("no seed has all rows that the claim compares; run the missing seeds.")
    seeds = seeds[:1] if deterministic else seeds[: claim.seeds_declared]
    n, spread = len(seeds), resample.spreads(sample, seeds)
    point_fetch = resample.means(sample, seeds)
    point = claim.predicate(table(claim, sample, point_fetch, scope, spread))
    slacks, p_s, p_c, probability = np.empty((len(point), 0)), 1.0, 1.0, None
    if deterministic:
        ok = bool(all_hold(point)[0])
        p_s, p_c, probability = float(not ok), float(ok), float(ok)
    elif n >= 2:
        fetch = resample.bootstrap(sample, seeds, _rng(claim, "bootstrap"), REPLICATES, images, clusters)
        drawn = claim.predicate(table(claim, sample, fetch, scope, spread))
        centre = np.array([float(c.slack[0]) for c in point])
        raw = np.stack([np.broadcast_to(c.slack, (REPLICATES,)) for c in drawn])
        slacks = centre[:, None] + resample.widening(n, LEVEL) * (raw - centre[:, None])
        p_s = max(c.choices_for * resample.one_sided(x, r, n) for c, x, r in zip(point, centre, slacks, strict=True))
        looks = sum(c.choices_against for c in point)
        p_c = looks * min(resample.one_sided(-x, -r, n) for x, r in zip(centre, slacks, strict=True))
        p_s, p_c = min(1.0, p_s), min(1.0, p_c)
        probability = float(all_hold(drawn).mean())
    values = {c: float(point_fetch(c)[0]) for c in cells}
    small, where = fragility(lambda f: all_hold(claim.predicate(table(claim, sample, f, scope, spread))), cells, values)
    return Evidence(
        claim=claim,
        conditions=tuple(point),
        slacks=slacks,
        p_supported=p_s,
        p_contradicted=p_c,
        probability=probability,
        n=n,
        deterministic=deterministic,
        scope=scope,
        covered=tuple(dict.fromkeys(c.dataset for c in cells)),
        chance=chance(claim, sample, cells, seeds, scope),
        fragility=small,
        fragility_of=where.words() if where else "",
    )


def conclude(e: Evidence, p_supported: float, p_contradicted: float) -> Verdict:
    """Outcome and sentence from evidence and the probabilities after correction for multiplicity."""
    errors = [float(np.std(s)) if s.size else 0.0 for s in e.slacks]
    tight = _binding(e.conditions, errors)
    row = next(i for i, c in enumerate(e.conditions) if c is tight)
    effect = float(np.mean(tight.slack))
    span = resample.interval(e.slacks[row], LEVEL) if e.slacks.size else None
    outcome, opening = _outcome(e, p_supported, p_contradicted)
    return replace(
        _blank(e.claim),
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
        return "inconclusive", f"Inconclusive (interim: {e.n} of {claim.seeds_declared} declared seeds)."
    if p_contradicted <= ALPHA and not _equivalent(e):  # a violation shown to lie within the margin is none that matters
        return "contradicted", f"{against} the claim ({e.scope}):"
    if absent:  # a conjunction over data sets can fail on some of them, but hold only on all
        return "inconclusive", f"Inconclusive (partial: no results yet for {', '.join(absent)})."
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
    value = _number(float(np.mean(tight.value)))
    words = f"{held} of {_count(e.conditions)} {'holds' if held == 1 else 'hold'} in the mean; "
    words += f"the deciding one, {tight.name}, is {value}{_bound(tight)}, distance from the bound {effect:+.3g}"
    if span is not None:
        words += f", 95 % interval {span[0]:+.3g} to {span[1]:+.3g}"
    if e.claim.test == "rank" and e.n > 1:
        words += f"; all ranks hold in {100 * (e.probability or 0):.0f} % of resamples"
    return words + ("." if e.deterministic else f"; {e.n} seed{'s' if e.n != 1 else ''}.")


def _equivalent(e: Evidence) -> bool:
    """Whether each condition either holds beyond doubt or lies within its margin on both sides (two one-sided
    tests)."""
    margins = {"accuracy": e.claim.margin, "gap": e.claim.margin_gap}
    for c, slack in zip(e.conditions, e.slacks, strict=True):
        low, high = resample.interval(slack, LEVEL)
        if low > 0:
            continue
        if c.measure not in margins or not -margins[c.measure] < low <= high < margins[c.measure]:
            return False
    return bool(e.slacks.size)


def _article(scope: str) -> str:
    return "a stand-in" if scope == "stand-in" else f"results of scope {scope!r}"


def judge_all(
    claims: Sequence[Claim],
    frame: pd.DataFrame | None,
    printed: Mapping[str, Verdict],
    images: Mapping[tuple, np.ndarray] | None = None,
    clusters: Mapping[str, np.ndarray] | None = None,
    scope: str = "stand-in",
) -> list[Verdict]:
    """Verdicts of all claims on a tidy frame; each carries the printed verdict of `printed` by claim id.

    Where there are no results, chance and fragility are those of the printed tables.
    """
    choose("scope", scope, SCOPES)
    samples = {}
    if frame is not None and len(frame):
        unknown = set(frame["paper"]) - set(PAPERS)
        if unknown:
            choose("paper", sorted(map(str, unknown))[0], PAPERS)
        samples = {paper: Sample(rows, PAPERS[paper].SETTINGS) for paper, rows in frame.groupby("paper", sort=False)}
    matched = {paper: match_images(sample, images) for paper, sample in samples.items()}
    found: dict[str, Evidence] = {}
    early: dict[str, Verdict] = {}
    for claim in claims:
        blank = _blank(claim)
        if claim.paper not in samples:
            early[claim.claim_id] = blank
            continue
        try:
            found[claim.claim_id] = gather(claim, samples[claim.paper], matched[claim.paper], clusters, scope)
        except MissingResult as error:
            early[claim.claim_id] = replace(blank, sentence=f"No results yet: {error}")
        except NotTestable as error:
            early[claim.claim_id] = replace(blank, scope=scope, outcome="not testable here", sentence=f"Not testable here: {error}")
    corrected = _corrected(claims, found)
    out = []
    for claim in claims:
        verdict = conclude(found[claim.claim_id], *corrected[claim.claim_id]) if claim.claim_id in found else early[claim.claim_id]
        known = printed[claim.claim_id]
        verdict = replace(verdict, printed=known.printed, printed_sentence=known.printed_sentence)
        if claim.claim_id not in found:
            verdict = replace(verdict, chance=known.chance, fragility=known.fragility, fragility_of=known.fragility_of)
        out.append(verdict)
    return out


def _corrected(claims: Sequence[Claim], found: Mapping[str, Evidence]) -> dict[str, tuple[float, float]]:
    """Holm within paper and scope over the declared confirmatory claims; those without results count with probability
    1."""
    out = {k: (e.p_supported, e.p_contradicted) for k, e in found.items()}
    families = {(e.claim.paper, e.scope) for e in found.values() if e.claim.confirmatory}
    for paper, scope in families:
        family = [c for c in claims if c.paper == paper and c.confirmatory and scope in c.scopes]
        members = [c.claim_id for c in family if c.claim_id in found and found[c.claim_id].scope == scope]
        rest = [1.0] * (len(family) - len(members))
        for side in (0, 1):
            adjusted = resample.holm([out[m][side] for m in members] + rest)
            for m, p in zip(members, adjusted, strict=False):
                pair = list(out[m])
                pair[side] = p
                out[m] = (pair[0], pair[1])
    return out
