"""Figure A10: two more data sets. Instance segmentation, the paper's third, needs VOC and is not among the runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replib.experiments.double_win_lottery_tickets.rows import Moved, row
from replib.experiments.double_win_lottery_tickets.runs import IMP_ST, PAPER, PRE_TRAININGS, Downstream
from replib.experiments.exhibit import rows_exhibit
from replib.experiments.places import TO_CUB, TO_VISDA
from replib.experiments.profiles import Profile
from replib.store.evidence import Reader


@dataclass(frozen=True)
class Measured(Moved):
    """Accuracy as the measure of a task."""

    def values(self, reader: Reader, seed: int) -> dict[str, float]:
        return {"task_measure" if m == "standard_accuracy" else m: v for m, v in super().values(reader, seed).items()}

    def correct(self, reader: Reader, seed: int) -> dict[str, np.ndarray]:
        (found,) = super().correct(reader, seed).values()
        return {"task_measure": found}


def figure_a10(p: Profile) -> list[Moved]:
    """Tickets of three pre-trainings on two more data sets.

    Departs: the paper does not say how these networks are trained; here it is standard training.
    """
    made = []
    for where in (TO_CUB, TO_VISDA):
        for kind in PRE_TRAININGS:
            for rounds in (0, *p.transfer.moved):
                r = row(p, Downstream(where, "standard"), kind, IMP_ST, rounds)
                made.append(
                    Measured(*where, r.sparsity_percent, r.setting, r.run, r.attack, variant=f"pre_training={kind}", training="standard")
                )
    return made


EXHIBIT = rows_exhibit(f"{PAPER}/figure_a10", "Transfer to two more data sets", figure_a10)
