"""From results to verdicts: scope, outcome, effect with interval, chance and fragility, and one sentence.

The unit is the seed. A claim is a conjunction of conditions (intersection-union): it is supported when every one of
them is, and contradicted when one of them fails beyond doubt and is not shown to fail within its margin, with
Bonferroni's correction for having looked for the one. Confirmatory claims of a paper are corrected together by Holm's procedure,
over the number that was declared, whether or not they have been run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from tqdm import tqdm

from replib.claims import resample
from replib.claims.columns import chance, fragility, rng, table
from replib.claims.conclusion import LEVEL, Evidence, conclude, counted, deciding, harmless, needed, with_remark, written
from replib.claims.conditions import all_hold
from replib.claims.predicates import PAPERS
from replib.claims.records import SCOPES, Claim, Verdict, unjudged
from replib.claims.table import Cell, MissingResult, NotTestable, Sample, parse_variant
from replib.spec import SpecError, choose

REPLICATES = 2000


def judge_printed(claim: Claim, sample: Sample) -> Verdict:
    """Plain arithmetic on the paper's own tables: ``printed`` is True, False, or None where the numbers are not in
    the text."""
    fetch = resample.means(sample)
    t = table(claim, sample, fetch)
    blank = unjudged(claim)
    try:
        conditions = claim.predicate(t)
    except MissingResult:
        return replace(
            blank,
            printed_sentence=with_remark("Not in the text: the printed tables do not hold the numbers that this claim needs.", claim),
        )
    cells = list(t.read)
    holds = [bool(c.holds()[0]) for c in conditions]
    failing = tuple(c.name for c, ok in zip(conditions, holds, strict=True) if not ok)
    tight = deciding(conditions)
    if failing:
        words = (
            f"{len(failing)} of {counted(conditions)} {'fails' if len(failing) == 1 else 'fail'} in the printed tables: "
            + "; ".join(
                f"{c.name}: {written(float(np.ravel(c.value)[0]))}{needed(c)}" for c, ok in zip(conditions, holds, strict=True) if not ok
            )
            + "."
        )
    else:
        value = written(float(tight.value[0]))
        words = f"The printed tables bear it out ({counted(conditions)}); the tightest is {tight.name}: "
        words += f"{value}{needed(tight)}."
    small, cell = fragility(lambda f: all_hold(claim.predicate(table(claim, sample, f))), cells, {c: float(fetch(c)[0]) for c in cells})
    return replace(
        blank,
        printed=not failing,
        printed_sentence=with_remark(words, claim),
        effect=float(tight.slack[0]),
        chance=chance(claim, sample, cells, [0], "none"),
        fragility=small,
        fragility_of=cell.words() if cell else "",
        failing=failing,
    )


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
    seen = table(claim, sample, point_fetch, scope, spread)
    point = claim.predicate(seen)
    slacks, p_s, p_c, probability = np.empty((len(point), 0)), 1.0, 1.0, None
    if deterministic:
        ok = bool(all_hold(point)[0])
        p_s, p_c, probability = float(not ok), float(ok), float(ok)
    elif n >= 2:
        fetch = resample.bootstrap(sample, seeds, rng(claim, "bootstrap"), REPLICATES, images, clusters)
        drawn = claim.predicate(table(claim, sample, fetch, scope, spread))
        centre = np.array([float(c.slack[0]) for c in point])
        raw = np.stack([np.broadcast_to(c.slack, (REPLICATES,)) for c in drawn])
        slacks = centre[:, None] + resample.widening(n, LEVEL) * (raw - centre[:, None])
        judged = list(zip(point, centre, slacks, strict=True))
        p_s = max(c.choices_for * resample.one_sided(x, r, n, strict=c.strict) for c, x, r in judged)
        looks = sum(c.choices_against for c in point)
        p_c = looks * min((resample.one_sided(-x, -r, n) for c, x, r in judged if not harmless(claim, c, r)), default=1.0)
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
        left_out=tuple(seen.left_out),
    )


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
    for claim in tqdm(claims, desc="judging", unit="claim", leave=False, disable=None if samples else True):  # None: in a terminal only
        blank = unjudged(claim)
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
