"""Figure A10: layer-wise sparsity of six initializations, on the network of the paper itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from replib.data import Data
from replib.experiments.exhibit import Exhibit
from replib.experiments.places import CIFAR10
from replib.experiments.profiles import Profile
from replib.experiments.rows import complete, tidy, top_layer_density
from replib.experiments.sparsity_winning_twice.runs import PAPER, percent
from replib.methods import SNIP, GraSP, SynFlow, Ticket
from replib.models import Net
from replib.models.spec import weight_shapes
from replib.sparsity.quotas import quotas
from replib.spec import Job, task
from replib.store.evidence import Reader

DENSITY = 0.2
NET = Net("preact_resnet18")
SHAPE, CLASSES = (3, 32, 32), 10
QUOTAS = {"Uniform": "uniform", "ERK": "erk", "IGQ": "igq"}
SCORES = {"SNIP": SNIP(), "GraSP": GraSP(), "SynFlow": SynFlow()}
INITIALIZATIONS = ("Uniform", "GraSP", "SNIP", "SynFlow", "IGQ", "ERK")


def net_of(p: Profile) -> Net:
    """The paper's own network at every scale but the one that only tests the machinery."""
    return p.recipe(*CIFAR10).net if p.tiny else NET


def tickets(p: Profile) -> dict[str, Ticket]:
    """The masks that depend on initial weights, on the recipe's images brought to the paper's 32 rows."""
    data = p.recipe(*CIFAR10).data
    if not p.tiny and data.shape[1] != SHAPE[1]:
        data = Data(data.name, height=None if data.role.shape[1] == SHAPE[1] else SHAPE[1])
    return {name: Ticket(data, net_of(p), DENSITY, rule) for name, rule in SCORES.items()}


def jobs(p: Profile) -> list[Job]:
    """Three tickets; the quotas are arithmetic."""
    return list(tickets(p).values())


def read(reader: Reader, p: Profile, seeds: Sequence[int]) -> pd.DataFrame:
    """Sparsity of every layer in percent (variant: initialization and layer), and density of the last stage and classifier."""
    done = complete(reader, jobs(p), seeds)
    return tidy(PAPER, "figure_a10", CIFAR10, (line for seed in done for line in _lines(reader, p, seed)))


def layer_counts(reader: Reader, p: Profile, seed: int) -> dict[str, tuple[dict[str, int], dict[str, int]]]:
    """(kept, all) weights by layer in forward order for each initialization. Quotas are of the paper's network for 3×32×32 images."""
    shape = p.recipe(*CIFAR10).data.shape if p.tiny else SHAPE
    shapes = weight_shapes(net_of(p), CLASSES, shape)
    sizes = {name: math.prod(s) for name, s in shapes.items()}
    counts = {name: (quotas(rule, shapes, DENSITY), sizes) for name, rule in QUOTAS.items()}
    for name, job in tickets(p).items():
        found = reader.results(task(job, seed))
        counts[name] = ({n: found["kept"][n] for n in sizes}, {n: found["sizes"][n] for n in sizes})
    return {name: counts[name] for name in INITIALIZATIONS}


def _lines(reader: Reader, p: Profile, seed: int) -> Iterator[dict[str, Any]]:
    for name, (kept, sizes) in layer_counts(reader, p, seed).items():
        line = {"setting": "Flying Bird+", "sparsity_percent": percent(DENSITY), "seed": seed}
        yield line | {"metric": "top_layer_density", "variant": f"sparse_initialization={name}", "value": top_layer_density(kept, sizes)}
        for layer in sizes:
            variant = f"sparse_initialization={name}; layer={layer.removesuffix('.weight')}"
            yield line | {"metric": "layer_sparsity_percent", "variant": variant, "value": 100 * (1 - kept[layer] / sizes[layer])}


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


EXHIBIT = Exhibit(f"{PAPER}/figure_a10", "Layer-wise sparsity of six initializations", jobs, read)
