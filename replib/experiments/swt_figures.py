"""The figures of *Sparsity Winning Twice*: the jobs behind each, its numbers for the claims, and the data that is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from replib.analysis.evaluation import Evaluate
from replib.analysis.landscape import Flatness, Landscape
from replib.analysis.similarity import Similarity
from replib.attacks import PGD
from replib.data import Data
from replib.experiments.profiles import Profile
from replib.experiments.rows import COLUMNS, Row, frame
from replib.experiments.sparsity_winning_twice import CIFAR10, settings, ticket
from replib.methods import SNIP, FlyingBirdPlus, GraSP, Quota, SynFlow, Ticket
from replib.models import Net
from replib.models.spec import weight_shapes
from replib.sparsity.quotas import quotas
from replib.spec import Job, task
from replib.store import Missing
from replib.store.evidence import Reader
from replib.training import Steps, Train

PAPER = "sparsity_winning_twice"


def tidy(exhibit: str, rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Rows with setting, metric, seed and value (and what else differs) as a frame with the columns of all results."""
    base = {"paper": PAPER, "exhibit": exhibit, "dataset": CIFAR10[0], "architecture": CIFAR10[1], "variant": ""}
    return pd.DataFrame([base | row for row in rows], columns=list(COLUMNS))


def complete(reader: Reader, jobs: Sequence[Job], seeds: Sequence[int]) -> list[int]:
    """The seeds of which all `jobs` are done; raises :class:`Missing` for the first one wanting if there is none."""
    missing: Missing | None = None
    found = []
    for seed in seeds:
        try:
            for job in jobs:
                reader.summary(task(job, seed))
            found.append(seed)
        except Missing as e:
            missing = missing or e
    if not found and missing:
        raise missing
    return found


# ---- Figure 1: robust accuracy over epochs -------------------------------------------------------------------------------------------
LEVELS = (0.6, 0.4, 0.2, 0.1)
"""Densities of Flying Bird+ in Figure 1: with dense, the sparsities that the paper's Tables 1, A9 and A13 have."""
CURVE_POINTS = 8
FIGURE_1_METRICS = (
    "robust_accuracy_best", "robust_accuracy_final", "robust_accuracy_diff", "robust_generalization_gap", "final_density_percent",
)  # fmt: skip


def curve_epochs(epochs: int, points: int = CURVE_POINTS) -> list[int]:
    """At most `points` + 1 epochs of a run, first and last included, as even as whole numbers allow."""
    return sorted({max(1, round(epochs * i / points)) for i in range(points + 1)})


def figure_1_rows(p: Profile) -> list[Row]:
    """Dense, and Flying Bird+ by its initial sparsity. The runs at 80 and 90 % are those of Table 1; all keep every epoch's weights."""
    recipe = p.recipe(*CIFAR10)
    base = recipe.pgd_at(retain=("weights",), name="Baseline")
    rows = [Row(*CIFAR10, 0.0, "Baseline", base, recipe.test_attack())]
    for density in LEVELS:
        run = replace(base, ticket=ticket(recipe, density, Quota("igq")), method=FlyingBirdPlus(), name="Flying Bird+")
        rows.append(Row(*CIFAR10, round(100 * (1 - density), 6), "Flying Bird+", run, recipe.test_attack()))
    return rows


def curve(row: Row) -> Evaluate:
    """Robust accuracy of about nine epochs on training images (without augmentation, in eval mode) and test images."""
    places = [f"epoch_{n}/{part}" for n in curve_epochs(row.run.epochs) for part in ("train", "test")]
    return Evaluate(row.run, row.attack, tuple(places))


def figure_1_jobs(p: Profile) -> list[Job]:
    """Runs, their evaluations at the best and final epochs, and the curves."""
    return [job for row in figure_1_rows(p) for job in (*row.jobs(), curve(row))]


def figure_1_read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Gap, drop and accuracies of each row."""
    done = complete(reader, figure_1_jobs(p), seeds)
    return frame(reader, figure_1_rows(p), done, paper=PAPER, exhibit="figure_1")


def curves(r: Any) -> pd.DataFrame:
    """What Figure 1 draws: sparsity_percent, setting, seed, split ("train" or "test"), epoch, robust_accuracy in percent."""
    return pd.DataFrame(_curve_points(r.evidence, r.profile, r.seeds))


def _curve_points(reader: Reader, p: Profile, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    for row in figure_1_rows(p):
        for seed in seeds:
            for place, found in reader.results(task(curve(row), seed)).items():
                epoch, _, split = place.removeprefix("epoch_").partition("/")
                yield {
                    "sparsity_percent": row.sparsity_percent, "setting": row.setting, "seed": seed, "split": split, "epoch": int(epoch),
                    "robust_accuracy": found["accuracy"],
                }  # fmt: skip


# ---- Figure 5: loss surfaces ---------------------------------------------------------------------------------------------------------
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


def figure_5_runs(p: Profile) -> dict[str, Train]:
    """Dense and five sparse settings at 90 %, the runs of Table 1."""
    recipe = p.recipe(*CIFAR10)
    made = settings(recipe, 0.1)
    return {"Baseline": recipe.pgd_at(name="Baseline")} | {name: made[name][0] for name in SURFACES[1:]}


def flatness_attack(p: Profile) -> PGD:
    """PGD with at most ten steps: what is attacked anew at every point."""
    recipe = p.recipe(*CIFAR10)
    return recipe.test_attack() if recipe.test_steps <= 10 else replace(recipe.test_attack(), steps=10)


def surface(p: Profile, run: Train, space: str) -> Landscape:
    """The surface that is drawn. Over weights, images are attacked once, at the centre, as the table's attack does it."""
    attack = p.recipe(*CIFAR10).test_attack()
    return Landscape(run, attack, space, points=_few(p, POINTS, 7), radius=SPACES[space], images=surface_images(p))


def figure_5_measures(p: Profile, run: Train) -> tuple[Flatness, Landscape]:
    """The numbers, with images attacked anew at every point: rise of the loss at three radii, and a coarse surface for its area."""
    attack = flatness_attack(p)
    images = surface_images(p)
    coarse = Landscape(run, attack, adversarial="recompute", points=_few(p, RECOMPUTED_POINTS, 5), images=images)
    return Flatness(run, attack, directions=_few(p, DIRECTIONS, 2), images=images), coarse


def figure_5_jobs(p: Profile) -> list[Job]:
    """Two surfaces and two measurements of each network."""
    return [
        job for run in figure_5_runs(p).values() for job in (*(surface(p, run, s) for s in SPACES), *figure_5_measures(p, run))
    ]  # fmt: skip


def figure_5_read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Rises in nats: of the adversarial and of the clean loss, mean over the radii and by radius; and areas in percent."""
    done = complete(reader, figure_5_jobs(p), seeds)
    return tidy("figure_5", (row for seed in done for row in _flatness_rows(reader, p, seed)))


def _flatness_rows(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for name, run in figure_5_runs(p).items():
        row = {"setting": name, "sparsity_percent": 0.0 if name == "Baseline" else 90.0, "seed": seed}
        flat, coarse = figure_5_measures(p, run)
        found = reader.results(task(flat, seed))
        for kind, metric in (("adversarial", "adversarial_loss"), ("clean", "loss")):
            rises = {k: v for k, v in found[kind].items() if k != "centre"}
            yield row | {"metric": f"{metric}_rise", "value": sum(rises.values()) / len(rises)}
            yield row | {"metric": f"{metric}_centre", "value": found[kind]["centre"]}
            for radius, value in rises.items():
                yield row | {"metric": f"{metric}_rise", "variant": f"radius={radius}", "value": value}
        yield row | {"metric": "basin_area_percent", "value": 100 * reader.results(task(coarse, seed))["basin_area"]}


def surfaces(r: Any, space: str, seed: int) -> pd.DataFrame:
    """What Figure 5 draws for one seed: setting, a, b (coordinates), loss in nats."""
    parts = []
    for name, run in figure_5_runs(r.profile).items():
        arrays = r.evidence.arrays(task(surface(r.profile, run, space), seed))
        a, b = np.meshgrid(arrays["axis"], arrays["axis"], indexing="ij")
        columns = {"setting": name, "space": space, "seed": seed, "a": a.ravel(), "b": b.ravel(), "loss": arrays["loss"].ravel()}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def rises(r: Any) -> pd.DataFrame:
    """The rise of the adversarial loss by radius, every seed: setting, seed, radius, value; zero at radius zero."""
    rows = r.frame[(r.frame.metric == "adversarial_loss_rise") & r.frame.variant.str.startswith("radius=")]
    rows = rows.assign(radius=rows.variant.str.removeprefix("radius=").astype(float))[["setting", "seed", "radius", "value"]]
    start = rows.drop_duplicates(["setting", "seed"]).assign(radius=0.0, value=0.0)
    return pd.concat([rows, start]).sort_values(["seed", "radius"], kind="stable").reset_index(drop=True)


# ---- Figure A8: similarity of masks --------------------------------------------------------------------------------------------------
MASK_DENSITIES = (0.2, 0.5)
"""80 % sparsity, that of Table 1, and 50 %: the paper names none, but only at 50 % is chance the 0.50 at which its colour bar begins."""
PAIRS = (("SGD", "PGD-10"), ("SGD", "Fast AT"), ("PGD-10", "Fast AT"))
STEPPED = "Fast AT (step decay)"
STEPPED_PAIRS = (("SGD", STEPPED), ("PGD-10", STEPPED), ("Fast AT", STEPPED))
SEARCH_DROP = 0.25  # first drop of the search's learning rate: epoch 50 of 200; the second, at 150, lies beyond what is looked at


def map_epochs(p: Profile) -> int:
    """Epochs that are compared: the first 100 of 200 in A."""
    return max(2, round(p.map_epochs * p.recipe(*CIFAR10).epochs))


def regimes(p: Profile) -> dict[str, Train]:
    """The three regimes of A, and Fast AT with the others' learning rate and schedule.

    Schedules are those of full-length searches. Regimes with step decay end with the last epoch that is compared; the cyclic schedule of
    Fast AT depends on the length of the run, which is therefore trained to its end.
    """
    recipe, epochs = p.recipe(*CIFAR10), map_epochs(p)
    kept = tuple(f"masks@{d:g}" for d in MASK_DENSITIES)
    half = {"epochs": epochs, "schedule": Steps((SEARCH_DROP * recipe.epochs / epochs,)), "retain": kept}
    return {
        "SGD": recipe.standard(name="SGD", **half),
        "PGD-10": recipe.pgd_at(name="PGD-10", **half),
        "Fast AT": recipe.fast_at(name="Fast AT", retain=kept),
        STEPPED: recipe.fast_at(name=STEPPED, optim=recipe.pgd_at().optim, **half),
    }


def similarity(p: Profile, pair: tuple[str, str], density: float) -> Similarity:
    """Two regimes' masks compared."""
    made = regimes(p)
    return Similarity(made[pair[0]], made[pair[1]], density, map_epochs(p))


def figure_a8_jobs(p: Profile) -> list[Job]:
    """All pairs at both densities."""
    return [similarity(p, pair, density) for density in MASK_DENSITIES for pair in (*PAIRS, *STEPPED_PAIRS)]


def figure_a8_read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Mean similarity at equal epochs, at the first and at the last one, and that of independent masks. Fast AT's collapses are told."""
    done = complete(reader, figure_a8_jobs(p), seeds)
    return tidy("figure_a8", (row for seed in done for row in _similarity_rows(reader, p, seed)))


def _similarity_rows(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for density in MASK_DENSITIES:
        for pair in (*PAIRS, *STEPPED_PAIRS):
            found = reader.results(task(similarity(p, pair, density), seed))
            row = {"setting": "/".join(pair), "sparsity_percent": round(100 * (1 - density), 6), "seed": seed}
            yield row | {"metric": "mask_similarity", "value": found["equal_epochs"]}
            yield row | {"metric": "mask_similarity_first", "value": found["first"]}
            yield row | {"metric": "mask_similarity_last", "value": found["last"]}
            yield row | {"metric": "mask_similarity_chance", "value": found["chance"]}
    for name, run in regimes(p).items():
        found = reader.results(task(run, seed))
        row = {"setting": name, "sparsity_percent": None, "seed": seed}
        yield row | {"metric": "collapsed", "value": float(found["collapsed"])}
        yield row | {"metric": "lr_times_decay", "value": found["lr_times_decay"]}


def matrices(r: Any, density: float, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """What Figure A8 draws, mean over seeds: first, second (regimes), epoch_first, epoch_second, similarity, chance."""
    parts = []
    for pair in pairs:
        tasks = [task(similarity(r.profile, pair, density), seed) for seed in r.seeds]
        mean = np.mean([r.evidence.arrays(t)["similarity"] for t in tasks], axis=0)
        i, j = np.indices(mean.shape)
        columns = {"first": pair[0], "second": pair[1], "epoch_first": i.ravel() + 1, "epoch_second": j.ravel() + 1}
        chance = r.evidence.results(tasks[0])["chance"]
        parts.append(pd.DataFrame(columns | {"similarity": mean.ravel(), "chance": chance}))
    return pd.concat(parts, ignore_index=True)


# ---- Figure A10: layer-wise sparsity -------------------------------------------------------------------------------------------------
A10_DENSITY = 0.2
A10_NET = Net("preact_resnet18")
A10_SHAPE, A10_CLASSES = (3, 32, 32), 10
A10_QUOTAS = {"Uniform": "uniform", "ERK": "erk", "IGQ": "igq"}
A10_SCORES = {"SNIP": SNIP(), "GraSP": GraSP(), "SynFlow": SynFlow()}
INITIALIZATIONS = ("Uniform", "GraSP", "SNIP", "SynFlow", "IGQ", "ERK")


def figure_a10_net(p: Profile) -> Net:
    """The paper's own network at every scale but the one that only tests the machinery."""
    return p.recipe(*CIFAR10).net if p.tiny else A10_NET


def figure_a10_tickets(p: Profile) -> dict[str, Ticket]:
    """The masks that depend on initial weights, on the recipe's images brought to the paper's 32 rows."""
    data = p.recipe(*CIFAR10).data
    if not p.tiny and data.shape[1] != A10_SHAPE[1]:
        data = Data(data.name, height=A10_SHAPE[1])
    return {name: Ticket(data, figure_a10_net(p), A10_DENSITY, rule) for name, rule in A10_SCORES.items()}


def figure_a10_jobs(p: Profile) -> list[Job]:
    """Three tickets; the quotas are arithmetic."""
    return list(figure_a10_tickets(p).values())


def figure_a10_read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Sparsity of every layer in percent (variant: initialization and layer), and density of the last stage and classifier."""
    done = complete(reader, figure_a10_jobs(p), seeds)
    return tidy("figure_a10", (row for seed in done for row in _layer_rows(reader, p, seed)))


def layer_counts(reader: Reader, p: Profile, seed: int) -> dict[str, tuple[dict[str, int], dict[str, int]]]:
    """(kept, all) weights by layer in forward order for each initialization. Quotas are of the paper's network for 3×32×32 images."""
    shape = p.recipe(*CIFAR10).data.shape if p.tiny else A10_SHAPE
    shapes = weight_shapes(figure_a10_net(p), A10_CLASSES, shape)
    sizes = {name: math.prod(s) for name, s in shapes.items()}
    counts = {name: (quotas(rule, shapes, A10_DENSITY), sizes) for name, rule in A10_QUOTAS.items()}
    for name, job in figure_a10_tickets(p).items():
        found = reader.results(task(job, seed))
        counts[name] = ({n: found["kept"][n] for n in sizes}, {n: found["sizes"][n] for n in sizes})
    return {name: counts[name] for name in INITIALIZATIONS}


def _layer_rows(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for name, (kept, sizes) in layer_counts(reader, p, seed).items():
        row = {"setting": "Flying Bird+", "sparsity_percent": round(100 * (1 - A10_DENSITY), 6), "seed": seed}
        last = max(n.split(".")[1] for n in sizes if n.startswith("stages."))
        top = [n for n in sizes if n.startswith((f"stages.{last}.", "fc."))]
        density = sum(kept[n] for n in top) / sum(sizes[n] for n in top)
        yield row | {"metric": "top_layer_density", "variant": f"sparse_initialization={name}", "value": density}
        for layer in sizes:
            variant = f"sparse_initialization={name}; layer={layer.removesuffix('.weight')}"
            yield row | {"metric": "layer_sparsity_percent", "variant": variant, "value": 100 * (1 - kept[layer] / sizes[layer])}


def layers(r: Any) -> pd.DataFrame:
    """What Figure A10 draws: initialization, layer (in forward order), seed, sparsity in percent, kept and all weights."""
    rows = []
    for seed in r.seeds:
        for name, (kept, sizes) in layer_counts(r.evidence, r.profile, seed).items():
            for layer, n in sizes.items():
                short = layer.removesuffix(".weight").removeprefix("stages.")
                share = {"sparsity": 100 * (1 - kept[layer] / n), "kept": kept[layer], "weights": n}
                rows.append({"initialization": name, "layer": short, "seed": seed} | share)
    return pd.DataFrame(rows)
