"""Figures 7 and A8: what the masks of three pre-trainings share, and where they leave no weight of a kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations
from typing import Any

import numpy as np
import pandas as pd

from replib.analysis.kernels import Kernels
from replib.data import Data
from replib.experiments.double_win_lottery_tickets.runs import IMP_ST, OMP, PAPER, PRE_TRAININGS, RP, SHORT, kept, ladder, percent
from replib.experiments.exhibit import Exhibit
from replib.experiments.places import SOURCE
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy
from replib.methods import Magnitude, Random, Ticket
from replib.models import Net
from replib.sparsity.masks import layered_chance_iou
from replib.spec import Job, task
from replib.store.evidence import Reader

DRAWN = 16
"""Rounds of the masks that Figure 7 draws: 97.19 %."""
COLUMNS = 64
PAIRS = tuple(combinations(range(len(PRE_TRAININGS)), 2))


def kernels(p: Profile, rounds: int) -> Kernels:
    """The masks of the three pre-trainings after so many rounds."""
    return Kernels(tuple(ladder(p, kind)[rounds] for kind in PRE_TRAININGS), heatmap=COLUMNS if rounds == DRAWN else 0)


def figure_a8(p: Profile) -> list[Job]:
    """All masks of the ladder."""
    return [kernels(p, rounds) for rounds in p.transfer.rounds]


REAL = "ResNet-50, initial weights"
LARGE = 6
"""Rounds whose sparsity the masks of the whole ResNet-50 have: at 97.19 % one-shot pruning of initial weights leaves no kernel of 3x3."""
_PICTURES = Data("mnist_source", augment="none", n_train=60, n_val=20, n_test=20, height=64)  # a mask at initialization does not see them


def real_size(p: Profile) -> Kernels | None:
    """One-shot magnitude and random masks of the whole ResNet-50 at its initial weights, where the profile's own network is smaller.

    They check the counting and the drawing at the paper's size. None where the figure has that size anyway, or only the machinery runs.
    """
    net = Net("resnet50")
    if p.tiny or p.transfer.source.net == net:
        return None
    rules = (Magnitude(None), Random())
    return Kernels(tuple(Ticket(_PICTURES, net, kept(LARGE), rule, "conv") for rule in rules), heatmap=COLUMNS)


def figure_7(p: Profile) -> list[Job]:
    """The masks that are drawn."""
    large = real_size(p)
    return [kernels(p, DRAWN), *([large] if large else [])]


def read_a8(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Intersection over union of each pair with that of independent masks, of the same density and of the same layers, and the numbers of
    zero kernels, by sparsity."""
    done = complete(reader, figure_a8(p), seeds)
    lines = (line for seed in done for rounds in p.transfer.rounds for line in _overlaps(reader, p, rounds, seed))
    return tidy(PAPER, "figure_a8", SOURCE, lines)


def _overlaps(reader: Reader, p: Profile, rounds: int, seed: int) -> Iterator[dict[str, Any]]:
    found = reader.results(task(kernels(p, rounds), seed))
    drawn = [reader.results(task(ladder(p, kind)[rounds], seed)) for kind in PRE_TRAININGS]
    line = {"sparsity_percent": percent(rounds), "seed": seed}
    for i, j in PAIRS:
        pair = line | {"setting": "/".join(SHORT[PRE_TRAININGS[k]] for k in (i, j))}
        yield pair | {"metric": "mask_iou", "value": found["iou"][i][j]}
        yield pair | {"metric": "mask_iou_chance", "value": found["chance_iou"][i][j]}
        layered = layered_chance_iou(drawn[i]["kept"], drawn[j]["kept"], drawn[i]["sizes"])
        yield pair | {"metric": "mask_iou_chance_layers", "value": layered}
    yield from _zeros(found, line)


NUMBERS = {
    "zero_kernels": "zero", "zero_kernels_chance": "chance", "zero_kernels_all": "zero_all", "zero_kernels_all_chance": "chance_all",
    "dead_filters": "dead_filters", "dead_inputs": "dead_inputs",
}  # fmt: skip
"""Numbers of a mask by the names that claims know; zero kernels are those larger than 1x1, "all" counts every one."""


def _zeros(found: dict[str, Any], line: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for kind, mask in zip(PRE_TRAININGS, found["tickets"], strict=True):
        mine = line | {"setting": IMP_ST, "variant": f"pre_training={kind}"}
        for metric, own in NUMBERS.items():
            yield mine | {"metric": metric, "value": float(mask[own])}
        yield mine | {"metric": "effective_sparsity_percent", "value": 100 * (1 - mask["effective_density"])}
        for block, numbers in mask["stages"].items():
            if block != "stem":
                share = 100 * numbers["zero"] / numbers["kernels"]
                yield mine | {"metric": "zero_kernel_share", "variant": f"pre_training={kind}; block={block}", "value": share}
        if (mean := block_index(mask["stages"])) is not None:
            yield mine | {"metric": "zero_kernel_block_index", "value": mean}


def block_index(stages: dict[str, dict[str, float]]) -> float | None:
    """Mean block, from 1 to 4, over the zero kernels of a mask; None if it has none.

    Departs: the share of a block's kernels that are zero is the weight of the block, not their number: the last block of ResNet-50 has 64
    times the kernels of the first, so that the mean over kernels says little of where a mask has more zeros than elsewhere.
    """
    shares = {int(name[1:]): s["zero"] / s["kernels"] for name, s in stages.items() if name != "stem"}
    total = sum(shares.values())
    return sum(block * share for block, share in shares.items()) / total if total else None


def read_7(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Zero kernels at 97.19 %, and where they are."""
    done = complete(reader, figure_7(p), seeds)
    drawn, large = {"sparsity_percent": percent(DRAWN)}, real_size(p)
    lines = (found for s in done for found in _zeros(reader.results(task(kernels(p, DRAWN), s)), drawn | {"seed": s}))
    line = {"sparsity_percent": percent(LARGE)}
    whole = (found for s in done if large for found in _whole(reader.results(task(large, s)), line | {"seed": s}))
    return tidy(PAPER, "figure_7", SOURCE, chain(lines, whole))


def _whole(found: dict[str, Any], line: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for setting, mask in zip((OMP, RP), found["tickets"], strict=True):
        mine = line | {"setting": setting, "variant": f"network={REAL}"}
        for metric, own in NUMBERS.items():
            yield mine | {"metric": metric, "value": float(mask[own])}
        yield mine | {"metric": "effective_sparsity_percent", "value": 100 * (1 - mask["effective_density"])}


def bands(r: Any, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Share of zero kernels, uint8 (rows, columns), 255 where all are zero: by pre-training and block."""
    return _bands(r, kernels(r.profile, DRAWN), [SHORT[kind] for kind in PRE_TRAININGS], seed)


def large_bands(r: Any, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """The same of :func:`real_size`, by rule; empty where there is none."""
    large = real_size(r.profile)
    return _bands(r, large, [OMP, RP], seed) if large else {}


def _bands(r: Any, job: Kernels, names: Sequence[str], seed: int) -> dict[str, dict[str, np.ndarray]]:
    arrays = r.evidence.arrays(task(job, seed))
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
    for name in sorted(arrays):
        _, n, block = name.split("/")
        found[names[int(n)]][block] = arrays[name]
    return found


EXHIBITS: tuple[Exhibit, ...] = (
    Exhibit(f"{PAPER}/figure_7", "Zero kernels in masks of three pre-trainings", figure_7, read_7),
    Exhibit(f"{PAPER}/figure_a8", "Similarity and zero kernels of masks of three pre-trainings", figure_a8, read_a8),
)
