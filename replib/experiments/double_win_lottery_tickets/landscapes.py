"""Figures 2, 6 and A9: loss surfaces, contours and training paths of transferred tickets at 73.79 %."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from replib.analysis.curvature import Curvature
from replib.analysis.landscape import Landscape
from replib.analysis.trajectory import Trajectory
from replib.attacks import PGD
from replib.experiments.double_win_lottery_tickets.curves import FRACTIONS
from replib.experiments.double_win_lottery_tickets.rows import stopped_early
from replib.experiments.double_win_lottery_tickets.runs import (
    IMP_ST,
    PAPER,
    PRE_TRAININGS,
    SHORT,
    Downstream,
    Kind,
    percent,
    pretrained,
    recipe,
    transferred,
)
from replib.experiments.exhibit import Exhibit
from replib.experiments.places import TO_CIFAR10
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy
from replib.experiments.sparsity_winning_twice import figure_5
from replib.spec import Job, task
from replib.store.evidence import Reader
from replib.training import Train

ROUNDS = 6
LEVEL = 2.0
"""Loss in nats below which a point of a surface belongs to the basin: a contour that the paper's text names."""
Which = tuple[Kind, str]
NETWORKS: tuple[Which, ...] = tuple((kind, fraction) for fraction in FRACTIONS for kind in PRE_TRAININGS)
"""Pre-training and part of the data, in the order of the panels: a row for each part."""
RAISED: tuple[Which, ...] = tuple(n for n in NETWORKS if n[1] != "1%")
"""Those of Figure 2."""
CLEAN = PGD(eps=0.0, steps=1)


def name(p: Profile, which: Which) -> str:
    """How a panel is called: "FAT, 10%" and, where the scale takes another share, what that is."""
    return f"{SHORT[which[0]]}, {p.transfer.called(TO_CIFAR10, which[1])}"


def network(p: Profile, which: Which) -> Train:
    """A ticket of 73.79 % after adversarial training; every epoch's weights are kept."""
    kind, fraction = which
    return replace(transferred(p, Downstream(TO_CIFAR10, "adversarial", fraction), kind, IMP_ST, ROUNDS), retain=("weights",))


def _size(p: Profile) -> dict[str, int]:
    if p.tiny:
        return {"points": 5, "images": 20}
    return {"points": 11, "images": 100} if p.scope == "stand-in" else {"points": 21, "images": 500}


def attack(p: Profile) -> PGD:
    """The attack of the tables, with which images are made once, at the final network."""
    return recipe(p, Downstream(TO_CIFAR10)).test_attack()


def surface(p: Profile, which: Which, *, attacked: bool) -> Landscape:
    """The loss over two random directions on clean or attacked test images."""
    return Landscape(network(p, which), attack(p) if attacked else CLEAN, **_size(p))


def recomputed(p: Profile, which: Which) -> Landscape:
    """A coarse surface over the same directions whose images are attacked anew at every point."""
    size = _size(p) | {"points": 5 if p.tiny else figure_5.RECOMPUTED_POINTS}
    return Landscape(network(p, which), attack(p), adversarial="recompute", **size)


def path(p: Profile, which: Which) -> Trajectory:
    """The path of training in the plane in which it moved most, and the loss over it."""
    return Trajectory(network(p, which), attack(p), **_size(p))


def curvature(p: Profile, which: Which) -> Curvature:
    """Width of the basin, largest eigenvalue and gradient by the images, of the clean and of the attacked loss."""
    few = {"directions": 2, "iterations": 3} if p.tiny else {}
    return Curvature(network(p, which), attack(p), images=_size(p)["images"], **few)


def widths(r: Any, kind: str) -> pd.DataFrame:
    """Width of the basin of one loss ("clean" or "adversarial") by network, with its interval over random directions."""
    found = figure_5.widths(r, {name(r.profile, n): curvature(r.profile, n) for n in NETWORKS})
    return found[found.loss == kind].drop(columns="loss")


def basin_area(loss: np.ndarray, level: float = LEVEL) -> float:
    """Percent of a surface's square in which the loss is below `level`, of losses (n, n) on a grid that reaches its edges.

    A point stands for the part of the square that is nearest to it: half a cell on an edge, a quarter in a corner. Otherwise coarse grids,
    whose edges are more of their points, would have smaller basins.
    """
    weight = np.ones(len(loss))
    weight[[0, -1]] = 0.5
    return 100 * float(np.average(loss < level, weights=np.outer(weight, weight)))


def contours(exhibit: str, title: str, *, attacked: bool) -> Exhibit:
    """Figure 6 or A9: paths of nine networks, and the area of their basins over random directions.

    Departs: the paper looks at the size of contours in planes that training itself chose and that differ from network to network. The area
    is that of a square in two random directions, the same for all networks but for their masks, in units of each filter's norm.
    """

    def jobs(p: Profile) -> list[Job]:
        coarse = [recomputed(p, n) for n in NETWORKS if attacked]
        return [job for n in NETWORKS for job in (path(p, n), surface(p, n, attacked=attacked), curvature(p, n))] + coarse

    def lines(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
        for n in NETWORKS:
            found = reader.results(task(path(p, n), seed))
            for i, share in enumerate(found["explained"], start=1):
                yield _line(n, seed, f"explained_variance_{i}_percent", 100 * share)
            yield _line(n, seed, "path_loss_end", found["centre"]["adversarial" if attacked else "clean"])
            yield _line(n, seed, "stopped_early", stopped_early(reader, pretrained(p, n[0]), seed))
            yield from _areas(reader, p, n, seed, attacked)
            for metric, value in reader.results(task(curvature(p, n), seed))["adversarial" if attacked else "clean"].items():
                yield _line(n, seed, metric, value)
            if attacked:
                yield _line(n, seed, "basin_area_recomputed", basin_area(reader.arrays(task(recomputed(p, n), seed))["loss"]))

    def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
        done = complete(reader, jobs(p), seeds)
        return tidy(PAPER, exhibit, TO_CIFAR10, (line for seed in done for line in lines(reader, p, seed)))

    return Exhibit(f"{PAPER}/{exhibit}", title, jobs, read)


def _line(which: Which, seed: int, metric: str, value: float) -> dict[str, Any]:
    variant = f"pre_training={which[0]}; data_fraction={which[1]}"
    return {"setting": IMP_ST, "sparsity_percent": percent(ROUNDS), "variant": variant, "seed": seed, "metric": metric, "value": value}


def _areas(reader: Reader, p: Profile, which: Which, seed: int, attacked: bool) -> Iterator[dict[str, Any]]:
    t = task(surface(p, which, attacked=attacked), seed)
    loss, centre = reader.arrays(t)["loss"], reader.results(t)["centre"]
    yield _line(which, seed, "basin_area", basin_area(loss))
    yield _line(which, seed, "basin_area_above_centre", basin_area(loss, centre + 1))
    yield _line(which, seed, "loss_centre", centre)


def jobs_2(p: Profile) -> list[Job]:
    """Six surfaces."""
    return [surface(p, n, attacked=True) for n in RAISED]


def read_2(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Areas of basins and losses at the centre."""
    done = complete(reader, jobs_2(p), seeds)
    return tidy(PAPER, "figure_2", TO_CIFAR10, (line for s in done for n in RAISED for line in _areas(reader, p, n, s, True)))


def surfaces(r: Any, seed: int) -> pd.DataFrame:
    """What Figure 2 draws for one seed: setting, space, seed, a, b (coordinates), loss in nats."""
    parts = []
    for n in RAISED:
        arrays = r.evidence.arrays(task(surface(r.profile, n, attacked=True), seed))
        a, b = np.meshgrid(arrays["axis"], arrays["axis"], indexing="ij")
        at = {"a": a.ravel(), "b": b.ravel(), "loss": arrays["loss"].ravel()}
        parts.append(pd.DataFrame({"setting": name(r.profile, n), "space": "weights", "seed": seed, **at}))
    return pd.concat(parts, ignore_index=True)


def planes(r: Any, seed: int, kind: str) -> pd.DataFrame:
    """The loss ("clean" or "adversarial") over each network's plane: setting, seed, a, b (norms of the weights), loss in nats."""
    parts = []
    for n in NETWORKS:
        arrays = r.evidence.arrays(task(path(r.profile, n), seed))
        a, b = np.meshgrid(arrays["first"], arrays["second"], indexing="ij")
        at = {"a": a.ravel(), "b": b.ravel(), "loss": arrays[kind].ravel()}
        parts.append(pd.DataFrame({"setting": name(r.profile, n), "seed": seed, **at}))
    return pd.concat(parts, ignore_index=True)


def paths(r: Any, seed: int) -> pd.DataFrame:
    """Each network's path by epoch from 0: setting, epoch, a, b, drop (the learning rate is lower from here on), explained_1 and _2."""
    parts = []
    for n in NETWORKS:
        t = task(path(r.profile, n), seed)
        arrays, explained = r.evidence.arrays(t), r.evidence.results(t)["explained"]
        where, lr = arrays["coordinates"], arrays["lr"]
        columns = {
            "setting": name(r.profile, n), "seed": seed, "epoch": range(len(where)), "a": where[:, 0], "b": where[:, 1],
            "drop": [False, *(lr[1:] < lr[:-1]), False], "explained_1": 100 * explained[0], "explained_2": 100 * explained[1],
        }  # fmt: skip
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


EXHIBITS: tuple[Exhibit, ...] = (
    Exhibit(f"{PAPER}/figure_2", "Loss surfaces of transferred tickets", jobs_2, read_2),
    contours("figure_6", "Loss contours and training paths on clean images", attacked=False),
    contours("figure_a9", "Loss contours and training paths on attacked images", attacked=True),
)
