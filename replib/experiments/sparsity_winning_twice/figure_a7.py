"""Figure A7: standard accuracy while tickets are searched under three training regimes. The runs are those of Figure A8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from replib.experiments.exhibit import Exhibit
from replib.experiments.places import CIFAR100
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy
from replib.experiments.sparsity_winning_twice.figure_a8 import STEPPED, map_epochs, regimes
from replib.experiments.sparsity_winning_twice.runs import PAPER
from replib.experiments.sparsity_winning_twice.tables import REGIMES
from replib.spec import Job, task
from replib.store.evidence import Reader
from replib.training import Train

PRINTED_EPOCHS = 30
CONTROL = f"{STEPPED} tickets"


def compared(p: Profile) -> int:
    """Epochs that are drawn and averaged over, the same for all regimes: the paper's axis ends at 30.

    Departs: where runs are shortened, all epochs that the regimes share. The paper's share of the run, 30 of 200, would leave two.
    """
    return min(PRINTED_EPOCHS, map_epochs(p))


def runs(p: Profile) -> dict[str, Train]:
    """The three regimes by the names of Table A6, and Fast AT with the step decay of the other two."""
    made = regimes(p)
    return {name: made[regime] for name, regime in REGIMES.items()} | {CONTROL: made[STEPPED]}


def jobs(p: Profile) -> list[Job]:
    """The runs; their validation accuracy is in their metrics."""
    return list(runs(p).values())


def _curve(reader: Reader, p: Profile, run: Train, seed: int) -> pd.DataFrame:
    """epoch and val_sa (percent) of the compared epochs."""
    table = reader.table(task(run, seed))
    return table[table.epoch <= compared(p)][["epoch", "val_sa"]]


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Mean standard accuracy over the compared epochs, that of the first and the last of them, and whether Fast AT collapsed."""
    done = complete(reader, jobs(p), seeds)
    return tidy(PAPER, "figure_a7", CIFAR100, (line for seed in done for line in _lines(reader, p, seed)))


def _lines(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for name, run in runs(p).items():
        curve = _curve(reader, p, run, seed).val_sa
        line = {"setting": name, "sparsity_percent": None, "seed": seed}
        yield line | {"metric": "standard_accuracy_search_mean", "value": curve.mean()}
        yield line | {"metric": "standard_accuracy_search_first", "value": curve.iloc[0]}
        yield line | {"metric": "standard_accuracy_search_last", "value": curve.iloc[-1]}
        yield line | {"metric": "collapsed", "value": float(reader.results(task(run, seed))["collapsed"])}


def curves(r: Any) -> pd.DataFrame:
    """What Figure A7 draws: setting, seed, epoch, standard_accuracy in percent of the validation images."""
    parts = [
        _curve(r.evidence, r.profile, run, seed).rename(columns={"val_sa": "standard_accuracy"}).assign(setting=name, seed=seed)
        for name, run in runs(r.profile).items() for seed in r.seeds
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)[["setting", "seed", "epoch", "standard_accuracy"]]


EXHIBIT = Exhibit(f"{PAPER}/figure_a7", "Standard accuracy during ticket search under three training regimes", jobs, read)
