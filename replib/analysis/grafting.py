"""Network grafting (D, Section C.2, after Gu et al., 2020): the lower layers of one network under the upper layers of another.

Two networks trained from the same initial weights have corresponding channels, so that a graft needs no adapter: it is a network of the
same architecture whose first layers have one parent's weights and whose other layers the other's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from replib.attacks import PGD
from replib.attacks.evaluate import evaluate
from replib.data.load import load
from replib.models import weight_shapes
from replib.spec import Job, Pinned, SpecError, stream_seed, unpinned, within
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.networks import trained
from replib.training.spec import Train

FAMILIES = ("mlp", "cnn", "vgg")
"""Networks that a cut between two layers cuts in two: no shortcut leads around it."""


def layer_of(name: str, layers: Sequence[str]) -> int:
    """Index of the layer that a parameter or buffer belongs to. `layers` are modules with weights in forward order ("convs.0", ..., "fc").

    The batch normalisation of a VGG belongs to its convolution: after a cut statistics are those of the upper parent.
    """
    return layers.index(name.rpartition(".")[0].replace("bns.", "convs."))


def graft(lower: Mapping[str, Tensor], upper: Mapping[str, Tensor], cut: int, layers: Sequence[str]) -> dict[str, Tensor]:
    """State of the network whose first `cut` layers are those of `lower` and whose others are those of `upper`."""
    return {name: (lower if layer_of(name, layers) < cut else upper)[name] for name in upper}


def increase(error: float, lower: float, upper: float) -> dict[str, float]:
    """How much more often a graft errs than its upper parent, and than the better of its parents, in points."""
    return {"over_upper": error - upper, "over_better": error - min(lower, upper)}


@dataclass(frozen=True)
class Grafting(Job):
    """Every graft of a `dense` and a `sparse` run at some epochs (0: before training), both ways round: error on clean test images and
    under an attack on the graft itself, on the first `images` (None: all).

    Departs: D does not say how it grafts, nor what the increase is measured against; here against the network whose upper layers are
    used, and against the better of the two, both ways round.
    """

    kind: ClassVar[str] = "grafting"

    dense: Train | Pinned
    sparse: Train | Pinned
    attack: PGD
    epochs: tuple[int, ...]
    images: int | None = None

    def check(self) -> None:
        dense, sparse = unpinned(self.dense), unpinned(self.sparse)
        if (dense.net, dense.data, dense.init) != (sparse.net, sparse.data, sparse.init):
            raise SpecError(
                "Grafting.dense and Grafting.sparse differ in network, data or initial weights, so that their channels do not correspond; "
                "give two runs that differ in their ticket."
            )
        if dense.net.family not in FAMILIES:
            raise SpecError(f"Grafting cannot cut a {dense.net.arch} in two, for its shortcuts; give runs of an MLP, a CNN or a VGG.")
        if not self.epochs:
            raise SpecError("Grafting.epochs is empty; give the epochs to graft at, such as (1, 5, 10).")
        for name, run in (("dense", dense), ("sparse", sparse)):
            if "weights" not in run.retain:
                raise SpecError(f"Grafting.{name} keeps too few of its weights; give it retain=('weights',).")
            for epoch in self.epochs:
                within("Grafting.epochs", epoch, 0, run.epochs)
        if self.images is not None:
            within("Grafting.images", self.images, 1)

    def label(self) -> str:
        return f"grafts of {unpinned(self.dense).label()} and {unpinned(self.sparse).label()}"

    @property
    def run(self) -> Train | Pinned:
        """Whose network is evaluated, for estimates."""
        return self.dense

    def passes(self) -> int:
        """Forward passes of one image: every graft, clean and attacked."""
        run = unpinned(self.dense)
        layers = len(weight_shapes(run.net, run.data.role.classes, run.data.shape))
        images = min(self.images or 10**9, run.data.images("test"))
        return 2 * layers * len(self.epochs) * images * (2 + 2 * self.attack.steps * self.attack.restarts)


def run_grafting(job: Grafting, context: Context) -> Output:
    """Table of errors in percent by epoch, lower parent and cut, the parents themselves at cuts 0 and L; as results the mean increase over
    epochs, inner cuts and both ways round, by kind of error (see :func:`increase`)."""
    tasks = {"dense": context.parent(job.dense), "sparse": context.parent(job.sparse)}
    split = load(tasks["dense"].job.data, context.data_root, context.device)
    x, y = split.test.x[: job.images], split.test.y[: job.images]
    seed = stream_seed(context.task.seed, "grafting")
    rows = []
    for n, epoch in enumerate(job.epochs):
        nets = {name: trained(context, task, f"epoch_{epoch}", split) for name, task in tasks.items()}
        states = {name: {k: v.clone() for k, v in net.state_dict().items()} for name, net in nets.items()}
        net, layers = nets["dense"], list(_layers(tasks["dense"].job, split.classes))
        found: dict[tuple[str, int], dict[str, float]] = {}
        for lower, upper in (("dense", "sparse"), ("sparse", "dense")):
            for cut in range(len(layers) + 1):
                twin = (upper, len(layers) - cut)  # a network whole is the same from below and from above
                if cut in (0, len(layers)) and twin in found:
                    found[lower, cut] = found[twin]
                    continue
                net.load_state_dict(graft(states[lower], states[upper], cut, layers))
                clean = evaluate(net, x, y, device=context.device)
                robust = evaluate(net, x, y, job.attack, seed=seed, device=context.device)
                found[lower, cut] = {"natural_error": 100 - clean.accuracy, "adversarial_error": 100 - robust.accuracy}
        rows += [{"epoch": epoch, "lower": lower, "cut": cut} | errors for (lower, cut), errors in found.items()]
        context.progress(n + 1, len(job.epochs))
    return Output(results=_summary(rows, len(layers)) | {"layers": layers, "images": len(x)}, metrics=rows)


def _layers(run: Train, classes: int) -> list[str]:
    """Modules with weights, in forward order."""
    return [name.removesuffix(".weight") for name in weight_shapes(run.net, classes, run.data.shape)]


def _summary(rows: Sequence[Mapping[str, float | str]], depth: int) -> dict[str, dict[str, float]]:
    """Mean increases over all grafts that are of two networks."""
    errors = {(r["epoch"], r["lower"], r["cut"]): r for r in rows}
    out: dict[str, dict[str, float]] = {}
    for kind in ("natural", "adversarial"):
        found = []
        for (epoch, lower, cut), row in errors.items():
            if cut in (0, depth):
                continue
            parents = (errors[epoch, lower, at][f"{kind}_error"] for at in (depth, 0))
            found.append(increase(row[f"{kind}_error"], *parents))
        out[kind] = {name: float(np.mean([f[name] for f in found])) for name in found[0]}
    return out
