"""The eighty claims of the four papers: what was declared, what the papers' own tables say, what our results say.

>>> from replib.claims import load_claims, printed_verdicts, verdicts
>>> records = verdicts([table_1, table_2], scope="stand-in")          # tidy frames
>>> [r["sentence"] for r in records if r["outcome"] == "supported"]

A record has: claim_id, paper, source, statement, kind_of_claim, exhibits, confirmatory, seeds_declared, margin; scope
and outcome; effect (signed distance of the deciding condition from its bound, positive where it holds, in the units
of its measure), interval (95 %, None for fewer than two seeds), n (seeds used), sentence; printed (true, false or
None: not in the text), printed_sentence; chance (probability if methods were exchangeable); fragility (smallest
change of one number that turns the verdict) and fragility_of; probability (share of bootstrap replicates in which the
whole claim holds), p_supported and p_contradicted (one-sided, after Holm for confirmatory claims), failing
(conditions that do not hold in the mean), rule (what is checked, in words). Nothing here imports torch.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from replib.claims.engine import judge_all, judge_printed
from replib.claims.predicates import PAPERS
from replib.claims.records import OUTCOMES, SCOPES, Claim, Verdict
from replib.claims.table import COLUMNS, Sample
from replib.spec import ReplibError

__all__ = [
    "OUTCOMES",
    "SCOPES",
    "Claim",
    "Verdict",
    "load_claims",
    "printed_frame",
    "printed_verdicts",
    "reported_dir",
    "verdicts",
]


def reported_dir() -> Path:
    """Folder of the papers' numbers. Raises :class:`ReplibError` outside a checkout."""
    folder = Path(__file__).resolve().parents[2] / "results" / "reported"
    if not (folder / "claims.csv").is_file():
        raise ReplibError(f"the papers' numbers are not at {folder}; install the package from its checkout with pip install -e .")
    return folder


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


@functools.cache
def load_claims() -> tuple[Claim, ...]:
    """All claims in the order of claims.csv, joined with what declared.csv says of their tests."""
    said = pd.read_csv(reported_dir() / "claims.csv", keep_default_na=False)
    declared = pd.read_csv(Path(__file__).with_name("declared.csv"), keep_default_na=False).set_index("claim_id")
    odd = set(said["claim_id"]) ^ set(declared.index)
    if odd:
        raise ReplibError(f"claims.csv and declared.csv disagree on {', '.join(sorted(odd))}; give each claim one row in both.")
    claims = []
    for row in said.itertuples():
        d = declared.loc[row.claim_id]
        claims.append(
            Claim(
                claim_id=row.claim_id,
                paper=row.paper,
                source=row.source,
                statement=row.statement,
                kind_of_claim=row.kind,
                datasets=tuple(name.removesuffix(" (source)") for name in _list(row.datasets)),
                how_to_check=row.how_to_check,
                exhibits=_list(d["exhibits"]),
                confirmatory=d["confirmatory"] == "yes",
                test=d["test"],
                seeds_declared=int(d["seeds"]),
                margin=float(d["margin"]),
                margin_gap=float(d["margin_gap"]),
                scopes=_list(d["scopes"]),
                why_not=d["why_not"],
                by_construction=_list(d["by_construction"]),
                why_by_construction=d["why_by_construction"],
                remark=d["remark"],
            )
        )
    return tuple(claims)


@functools.cache
def printed_frame() -> pd.DataFrame:
    """All numbers of the printed tables as one tidy frame (seed is missing)."""
    files = sorted(reported_dir().glob("*__*.csv"))
    frame = pd.concat([pd.read_csv(f) for f in files], ignore_index=True).rename(columns={"table": "exhibit"})
    return frame.assign(seed=np.nan)


@functools.cache
def _printed() -> dict[str, Verdict]:
    frame = printed_frame()
    samples = {paper: Sample(rows, PAPERS[paper].SETTINGS) for paper, rows in frame.groupby("paper", sort=False)}
    none = Sample(frame.iloc[:0], ())
    return {c.claim_id: judge_printed(c, samples.get(c.paper, none)) for c in load_claims()}


def printed_verdicts() -> list[dict[str, Any]]:
    """One record per claim with what the paper's own tables say of it, as plain arithmetic."""
    return [v.record() for v in _printed().values()]


def verdicts(
    frames: pd.DataFrame | Sequence[pd.DataFrame] | Mapping[str, pd.DataFrame] | None,
    images: Mapping[tuple, np.ndarray] | None = None,
    clusters: Mapping[str, np.ndarray] | None = None,
    scope: str = "stand-in",
    seeds: int | None = None,
) -> list[dict[str, Any]]:
    """One record per claim, printed verdict included.

    `frames`: tidy rows with the columns of :data:`replib.claims.table.COLUMNS`, one or many frames; a column
    ``scope`` overrides `scope` row by row, and a claim gets the weakest scope of the rows it reads. `images`:
    {(setting, sparsity, metric): (seeds, images) booleans}, the key optionally preceded by exhibit, data set,
    network and variant; clusters: {dataset: (images,) source of each image}; seeds: the most that were declared at this
    scale, where a claim would wait for more. Raises :class:`replib.spec.SpecError` for unknown papers, scopes and
    misspelt settings.
    """
    if frames is not None and not isinstance(frames, pd.DataFrame):
        parts = list(frames.values() if isinstance(frames, Mapping) else frames)
        frames = pd.concat(parts, ignore_index=True) if parts else None
    if frames is not None and len(frames):
        absent = [c for c in COLUMNS if c not in frames.columns]
        if absent:
            raise ReplibError(f"results lack the columns {', '.join(absent)}; give tidy frames with {', '.join(COLUMNS)}.")
    claims = [replace(c, seeds_declared=min(c.seeds_declared, seeds or c.seeds_declared)) for c in load_claims()]
    return [v.record() for v in judge_all(claims, frames, _printed(), images, clusters, scope)]
