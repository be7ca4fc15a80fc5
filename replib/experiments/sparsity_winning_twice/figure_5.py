"""Figure 5: loss surfaces of dense and 90 % sparse networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from replib.analysis.curvature import Curvature
from replib.analysis.landscape import Flatness, Landscape
from replib.attacks import PGD
from replib.experiments.exhibit import Exhibit
from replib.experiments.places import CIFAR10
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy
from replib.experiments.sparsity_winning_twice.runs import PAPER, row
from replib.spec import Job, task
from replib.store.evidence import Reader
from replib.training import Train

SURFACES = ("Baseline", "Random Pruning", "SNIP", "Robust Bird", "Flying Bird", "Flying Bird+")
SPACES = {"weights": 1.0, "pixels": 2.0}
"""Half the side of each surface: in norms of each filter, and in multiples of ε."""
POINTS, DIRECTIONS = 21, 10
RECOMPUTED_POINTS = 7


def _few(p: Profile, many: int, few: int) -> int:
    """`few` where numbers mean nothing and only the machinery is tested."""
    return few if p.tiny else many


def surface_images(p: Profile) -> int:
    """Test images that losses are averaged over, the same ones for every network and point."""
    return 125 if p.scope == "stand-in" else 500


def runs(p: Profile) -> dict[str, Train]:
    """Dense and five sparse settings at 90 %, the runs of Table 1."""
    return {name: row(p, CIFAR10, name, 1.0 if name == "Baseline" else 0.1).run for name in SURFACES}


def flatness_attack(p: Profile) -> PGD:
    """PGD with at most ten steps: what is attacked anew at every point."""
    recipe = p.recipe(*CIFAR10)
    return recipe.test_attack() if recipe.test_steps <= 10 else replace(recipe.test_attack(), steps=10)


def surface(p: Profile, run: Train, space: str) -> Landscape:
    """The surface that is drawn. Over weights, images are attacked once, at the centre, as the table's attack does it."""
    attack = p.recipe(*CIFAR10).test_attack()
    return Landscape(run, attack, space, points=_few(p, POINTS, 7), radius=SPACES[space], images=surface_images(p))


def measures(p: Profile, run: Train) -> tuple[Flatness, Landscape]:
    """The numbers, with images attacked anew at every point: rise of the loss at three radii, and a coarse surface for its area."""
    attack = flatness_attack(p)
    images = surface_images(p)
    coarse = Landscape(run, attack, adversarial="recompute", points=_few(p, RECOMPUTED_POINTS, 5), images=images)
    return Flatness(run, attack, directions=_few(p, DIRECTIONS, 2), images=images), coarse


def curvature(p: Profile, run: Train) -> Curvature:
    """The other numbers of flatness: eigenvalue, width, gradient by the images."""
    few = {"directions": 2, "iterations": 3} if p.tiny else {"directions": DIRECTIONS}
    return Curvature(run, flatness_attack(p), images=surface_images(p), **few)


def jobs(p: Profile) -> list[Job]:
    """Two surfaces and three measurements of each network."""
    return [
        job for run in runs(p).values() for job in (*(surface(p, run, s) for s in SPACES), *measures(p, run), curvature(p, run))
    ]  # fmt: skip


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Rises in nats: of the adversarial and of the clean loss, mean over the radii and by radius; and areas in percent."""
    done = complete(reader, jobs(p), seeds)
    return tidy(PAPER, "figure_5", CIFAR10, (line for seed in done for line in _lines(reader, p, seed)))


def _lines(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for name, run in runs(p).items():
        line = {"setting": name, "sparsity_percent": 0.0 if name == "Baseline" else 90.0, "seed": seed}
        yield from (line | more for more in flatness_lines(reader, *measures(p, run), seed))
        yield from (line | more for more in curvature_lines(reader, curvature(p, run), seed))


def curvature_lines(reader: Reader, job: Curvature, seed: int) -> Iterator[dict[str, Any]]:
    """Metric and value of the numbers of :func:`curvature`: of both losses eigenvalue, width of the basin, gradient by the images."""
    found = reader.results(task(job, seed))
    for kind in ("adversarial", "clean"):
        for name, value in found[kind].items():
            yield {"metric": f"{kind}_{name}", "value": value}


def flatness_lines(reader: Reader, flat: Flatness, coarse: Landscape | None, seed: int) -> Iterator[dict[str, Any]]:
    """Metric and value of two measurements (see :func:`measures`); without `coarse` there is no area."""
    found = reader.results(task(flat, seed))
    for kind, metric in (("adversarial", "adversarial_loss"), ("clean", "loss")):
        rises = {k: v for k, v in found[kind].items() if k != "centre"}
        yield {"metric": f"{metric}_rise", "value": sum(rises.values()) / len(rises)}
        yield {"metric": f"{metric}_centre", "value": found[kind]["centre"]}
        for radius, value in rises.items():
            yield {"metric": f"{metric}_rise", "variant": f"radius={radius}", "value": value}
    if coarse is not None:
        yield {"metric": "basin_area_percent", "value": 100 * reader.results(task(coarse, seed))["basin_area"]}


def surfaces(r: Any, space: str, seed: int) -> pd.DataFrame:
    """What Figure 5 draws for one seed: setting, space, seed, a, b (coordinates), loss in nats."""
    return surface_rows(r, {name: surface(r.profile, run, space) for name, run in runs(r.profile).items()}, seed)


def surface_rows(r: Any, made: Mapping[str, Landscape], seed: int) -> pd.DataFrame:
    """The grids of one seed's surfaces by setting: setting, space, seed, a, b (coordinates), loss in nats."""
    parts = []
    for name, job in made.items():
        arrays = r.evidence.arrays(task(job, seed))
        a, b = np.meshgrid(arrays["axis"], arrays["axis"], indexing="ij")
        columns = {"setting": name, "space": job.space, "seed": seed, "a": a.ravel(), "b": b.ravel(), "loss": arrays["loss"].ravel()}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def rises(r: Any, metric: str = "adversarial_loss_rise", prefix: str = "") -> pd.DataFrame:
    """The rise of a loss by radius, every seed: setting, seed, radius, value; zero at radius zero. `prefix` begins the variant."""
    label = f"{prefix}radius="
    rows = r.frame[(r.frame.metric == metric) & r.frame.variant.str.startswith(label)]
    rows = rows.assign(radius=rows.variant.str.removeprefix(label).astype(float))[["setting", "seed", "radius", "value"]]
    start = rows.drop_duplicates(["setting", "seed"]).assign(radius=0.0, value=0.0)
    return pd.concat([rows, start]).sort_values(["seed", "radius"], kind="stable").reset_index(drop=True)


def directions(r: Any, flats: Mapping[str, Flatness] | None = None, kind: str = "adversarial") -> pd.DataFrame:
    """Rise of a loss at each radius, in nats: setting, radius, mean, low and high, the 95 % interval of the mean over random directions.

    It is the interval for the networks of these seeds: how much other networks would differ is the spread over seeds. `flats` are the
    measurements by setting, those of Figure 5 if none are given; `kind` is "adversarial" or "clean".
    """
    lines = []
    for name, flat in (flats or {n: measures(r.profile, run)[0] for n, run in runs(r.profile).items()}).items():
        found = np.stack([r.evidence.arrays(task(flat, seed))[kind] for seed in r.seeds])  # seeds, radii, directions
        lines += [{"setting": name, "radius": radius} | _interval(found[:, n]) for n, radius in enumerate(flat.radii)]
    return pd.DataFrame(lines)


def _interval(found: np.ndarray) -> dict[str, float]:
    """Mean, and its 95 % interval over random directions, of one number (seeds, directions)."""
    seeds, n = found.shape
    mean, half = found.mean(), stdtrit(seeds * (n - 1), 0.975) * np.sqrt(found.var(1, ddof=1).mean() / (n * seeds))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def widths(r: Any, made: Mapping[str, Curvature] | None = None) -> pd.DataFrame:
    """Width of the basin, in norms of each filter: setting, loss, mean, low and high, the 95 % interval of the mean over random directions
    for the networks of these seeds (see :func:`directions`). `made` are the measurements by setting, those of Figure 5 if none are given.
    """
    lines = []
    for name, job in (made or {n: curvature(r.profile, run) for n, run in runs(r.profile).items()}).items():
        for kind in ("adversarial", "clean"):
            found = np.stack([r.evidence.arrays(task(job, seed))[kind] for seed in r.seeds])  # seeds, directions
            lines.append({"setting": name, "loss": kind} | _interval(found))
    return pd.DataFrame(lines)


EXHIBIT = Exhibit(f"{PAPER}/figure_5", "Loss surfaces of dense and 90 % sparse networks", jobs, read)
