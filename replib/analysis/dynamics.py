"""Theorem 2 of D made executable: a dense and a sparse network under adversarial training, and how far apart their outputs drift.

With f and f_s trained by gradient descent on the squared loss of their own adversarial images, the theorem says that the distance of
outputs stays below 2 (alpha + 4 C eps) for a total training time of at most :func:`horizon`. alpha² is the value of the objective (13) at
initialization, C bounds the first (and eps times the second) derivative by the images, eps is the radius of the attack.

Networks are perceptrons of equal width without biases, in the parametrization of Jacot et al. (2018), in which kernels have a limit as
the width n grows and move by O(1 / sqrt(n)) in training (Lee et al., 2019, Theorem 2.1, which the proof rests on).

Departs: the theorem's constant C has a second derivative in it, which a ReLU network has not: it is 0 wherever it exists. What Lemma 1 is
used for, |f(x̃) - f(x)| <= 2 C eps, then holds with any Lipschitz constant C, of which the product of the layers' norms is one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from replib.analysis.bounds import induced
from replib.attacks import PGD
from replib.attacks.pgd import perturb
from replib.data import Data
from replib.data.augment import to_float
from replib.data.load import load
from replib.models.tangent import tangent_kernel
from replib.sparsity.masks import layerwise_top, random_masks
from replib.sparsity.quotas import quotas
from replib.spec import Job, SpecError, within
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.state import Masked, generator

Structure = Literal["magnitude", "random", "searched", "transferred"]
ATTACK = PGD(eps=0.5, steps=5, norm="l2", start="zero")
RATE, REFRESH = 0.01, 20
"""Of the search: Adam's learning rate, and steps between new masks; the last one stays for at least as many."""


class Perceptron(nn.Module):
    """Two hidden layers of `width` with ReLU; weights are standard normal and every layer divides by the root of its inputs over 2."""

    def __init__(self, inputs: int, width: int, outputs: int, rng: torch.Generator) -> None:
        super().__init__()
        sizes = (inputs, width, width, outputs)
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(sizes))
        self.scales = tuple(math.sqrt(2 / a) for a in sizes[:-1])
        with torch.no_grad():
            for layer in self.layers:
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=rng))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer, scale in zip(self.layers[:-1], self.scales[:-1], strict=True):
            x = F.relu(layer(scale * x))
        return self.layers[-1](self.scales[-1] * x)


def lemma_1(eps: float, first: float, second: float = 0.0) -> float:
    """Bound of Lemma 1 on |f(x̃) - f(x)| from bounds on the first and second derivative by x: 2 eps C_1 + 2 eps² C_2."""
    return 2 * eps * first + 2 * eps**2 * second


def horizon(eps: float, residual: float, gamma: float, first: float, second: float = 0.0) -> float:
    """The longest total training time, learning rate times steps, that the proof allows (A.22). `residual` is the largest |f(x) - y|."""
    whole = first + eps * second
    return min(1 / (2 + residual / gamma), 4 * whole * eps / (2 * residual * first * second + 8 * whole))


def bound(alpha: float, eps: float, first: float, second: float = 0.0) -> float:
    """The theorem's bound on the root mean square distance of outputs: 2 (alpha + 4 C eps), equation 14."""
    return 2 * (alpha + 2 * lemma_1(eps, first, second))


def effective(model: Masked, *, learned: bool = False) -> dict[str, Tensor]:
    """Mask times weight of every parameter; differentiable where they are to be `learned`."""
    weights = {n: p * model.masks[n] if n in model.masks else p for n, p in model.inner.named_parameters()}
    return weights if learned else {n: w.detach() for n, w in weights.items()}


def kernel(model: Masked, x: Tensor, y: Tensor, *, learned: bool = False) -> Tensor:
    """Mixed tangent kernel of the masked network as a matrix (N K, M K); pruned coordinates have no part in it."""
    found = tangent_kernel(model.inner, x, y, parameters=effective(model, learned=learned), masks=model.masks)
    return found.reshape(found.shape[0] * found.shape[1], -1)


def lipschitz(model: Masked) -> float:
    """Product of the spectral norms of the layers: no derivative by the image is larger."""
    return math.prod(
        scale * induced(w, "l2") for w, scale in zip(effective(model).values(), model.inner.scales, strict=True)
    )  # fmt: skip


def slope(model: Masked, x: Tensor) -> float:
    """Largest spectral norm of the derivative by the image among the images `x`."""
    weights = effective(model)
    jacobians = vmap(jacrev(lambda z: functional_call(model.inner, weights, (z[None],))[0]))(x)
    return float(torch.linalg.matrix_norm(jacobians.flatten(2), 2).max())


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared distance, summed over the batch: what attacks raise and, over N, training lowers."""
    return (outputs - targets).square().sum() / 2


def attacked(model: Masked, x: Tensor, targets: Tensor, attack: PGD) -> Tensor:
    """Images that raise the squared loss."""
    return perturb(model, x, targets, attack, loss=squared)


def descend(model: Masked, images: Tensor, targets: Tensor, rate: float) -> None:
    """One step of gradient descent on all images, in place (equation 3)."""
    loss = squared(model(images), targets) / len(images)
    gradients = torch.autograd.grad(loss, list(model.inner.parameters()))
    with torch.no_grad():
        for p, g in zip(model.inner.parameters(), gradients, strict=True):
            p -= rate * g


@dataclass(frozen=True)
class Dynamics(Job):
    """A dense and a sparse perceptron of `width`, from the same weights, trained side by side on the first `images` training images for
    `steps` steps of `rate`; distances are logged at `logged` times, evenly spaced in their logarithm.

    `structure` is that of the largest weights, a random one, or one that is searched on these images for the objective that the theorem
    speaks of, in `searching` steps of Adam; "transferred" starts from the weights that the search ended with instead of the initial ones.
    """

    kind: ClassVar[str] = "dynamics"

    data: Data
    width: int
    structure: Structure = "magnitude"
    density: float = 0.2
    attack: PGD = ATTACK
    gamma_squared: float = 1e-3
    images: int = 32
    rate: float = 0.5
    steps: int = 100
    logged: int = 8
    searching: int = 200

    def check(self) -> None:
        within("Dynamics.density", self.density, 0, 1, low_open=True)
        within("Dynamics.rate", self.rate, 0, low_open=True)
        within("Dynamics.gamma_squared", self.gamma_squared, 0, low_open=True)
        if self.structure in ("searched", "transferred") and self.searching <= 2 * REFRESH:
            raise SpecError(
                f"A search of {self.searching} steps never renews its mask: it may after every {REFRESH} but the last. "
                f"Give Dynamics.searching above {2 * REFRESH}."
            )
        for name, least in (("width", 1), ("images", 1), ("steps", 2), ("logged", 2), ("searching", 1)):
            within(f"Dynamics.{name}", getattr(self, name), least)

    def label(self) -> str:
        return f"dynamics of perceptrons of width {self.width}, {self.structure} structure"

    def times(self) -> list[int]:
        """Steps after which distances are logged, 0 and the last among them."""
        return sorted({0, *(round(self.steps ** (i / (self.logged - 1))) for i in range(self.logged))})


def structure(job: Dynamics, net: Perceptron, x: Tensor, targets: Tensor, seed: int) -> Masked:
    """The sparse network: the weights of `net` under a mask with one density in all layers, or what the search made of them."""
    weights = {n: p.detach() for n, p in net.named_parameters()}
    kept = quotas("uniform", {n: tuple(w.shape) for n, w in weights.items()}, job.density)
    if job.structure == "random":
        drawn = random_masks({n: w.shape for n, w in weights.items()}, kept, generator(seed, "dynamics/structure"))
        return Masked(deepcopy(net), {n: m.to(x.device) for n, m in drawn.items()}, False)
    sparse = Masked(deepcopy(net), layerwise_top({n: w.abs() for n, w in weights.items()}, kept), False)
    if job.structure == "magnitude":
        return sparse
    search(job, net, sparse, kept, x, targets)
    return sparse if job.structure == "transferred" else Masked(deepcopy(net), sparse.masks, False)


def search(job: Dynamics, net: Perceptron, sparse: Masked, kept: Mapping[str, int], x: Tensor, targets: Tensor) -> None:
    """Algorithm 1 in place, for equation 13 as it is printed: |Δf|² over N and gamma² |ΔΘ|² over N².

    Departs: active weights do not decay (β, which has no printed value, is 0), all images are in every step, and the learning rate is one
    for weights of size 1.
    """
    n, dense = len(x), Masked(net, {}, False)
    images = attacked(dense, x, targets, job.attack)
    wanted, outputs = kernel(dense, x, images), dense(images).detach()
    optimizer = torch.optim.Adam(sparse.inner.parameters(), lr=RATE)
    for step in range(1, job.searching + 1):
        own = attacked(sparse, x, targets, job.attack)
        found = kernel(sparse, x, own, learned=True)
        loss = (sparse(own) - outputs).square().sum() / n + job.gamma_squared * (found - wanted).square().sum() / n**2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % REFRESH == 0 and step < job.searching - REFRESH:
            sparse.masks.update(layerwise_top({k: p.detach().abs() for k, p in sparse.inner.named_parameters()}, kept))


def compared(models: Mapping[str, Masked], x: Tensor, adversarial: Mapping[str, Tensor], targets: Tensor) -> dict[str, Any]:
    """Everything that the proof speaks about at one time: distances of outputs (root mean squares over images), of mixed kernels (over N),
    derivatives, and what the attack changes (largest over images and networks)."""
    n = len(x)
    with torch.no_grad():
        clean = {k: m(x) for k, m in models.items()}
        moved = {k: m(adversarial[k]) for k, m in models.items()}
    mixed = [kernel(m, x, adversarial[k]) for k, m in models.items()]
    return {
        "output_distance": _rms(clean["dense"] - clean["sparse"]),
        "target_distance": _rms(moved["dense"] - moved["sparse"]),
        "kernel_distance": float((mixed[0] - mixed[1]).norm()) / n,
        "slope": max(slope(m, images) for k, m in models.items() for images in (x, adversarial[k])),
        "lipschitz": max(map(lipschitz, models.values())),
        "attack_change": max(float((moved[k] - clean[k]).norm(dim=1).max()) for k in models),
        "residual": max(float((moved[k] - targets).norm(dim=1).max()) for k in models),
        "dense_loss": float(squared(moved["dense"], targets)) / n,
        "sparse_loss": float(squared(moved["sparse"], targets)) / n,
    }


def _rms(difference: Tensor) -> float:
    return float(difference.square().sum(1).mean().sqrt())


def run_dynamics(job: Dynamics, context: Context) -> Output:
    """The table of :func:`compared` with how far either clean kernel has moved since the start, as a share of it; as results the terms of
    the bound, the time it speaks about, what is learned by then, and how the largest distance compares with it."""
    split = load(job.data, context.data_root, context.device)
    x = to_float(split.train.x[: job.images])
    targets = F.one_hot(split.train.y[: job.images], split.classes).float()
    net = Perceptron(x[0].numel(), job.width, split.classes, generator(context.task.seed, "init")).eval().to(context.device)
    models = {"dense": Masked(net, {}, False), "sparse": structure(job, net, x, targets, context.task.seed)}
    start = {k: kernel(m, x, x) for k, m in models.items()}
    times, rows = job.times(), []
    for t in range(job.steps + 1):
        adversarial = {k: attacked(m, x, targets, job.attack) for k, m in models.items()}
        if t in times:
            drift = {f"{k}_drift": float((kernel(m, x, x) - start[k]).norm() / start[k].norm()) for k, m in models.items()}
            rows.append({"time": job.rate * t} | compared(models, x, adversarial, targets) | drift)
            context.progress(t + 1, job.steps + 1)
        for k, m in models.items():
            descend(m, adversarial[k], targets, job.rate)
    return Output(results=summary(job, rows), metrics=rows)


def summary(job: Dynamics, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The theorem's terms from the table of a run; constants are the largest over the run."""
    first = rows[0]
    largest = {name: max(r[name] for r in rows) for name in ("slope", "lipschitz", "residual", "output_distance", "attack_change")}
    alpha = math.sqrt(first["target_distance"] ** 2 + job.gamma_squared * first["kernel_distance"] ** 2)
    until = horizon(job.attack.eps, largest["residual"], math.sqrt(job.gamma_squared), largest["lipschitz"])
    limit = bound(alpha, job.attack.eps, largest["slope"])
    beyond = [r["time"] for r in rows if r["output_distance"] > limit]
    return {
        "alpha": alpha,
        "attack_term": 2 * lemma_1(job.attack.eps, largest["slope"]),
        "bound": limit,
        "certified_bound": bound(alpha, job.attack.eps, largest["lipschitz"]),
        "largest": largest,
        "lemma_bound": lemma_1(job.attack.eps, largest["lipschitz"]),
        "horizon": until,
        "learned_by_horizon": 1 - _at(rows, "dense_loss", until) / first["dense_loss"],
        "distance_at_horizon": _at(rows, "output_distance", until),
        "learned": 1 - rows[-1]["dense_loss"] / first["dense_loss"],
        "beyond": beyond[0] if beyond else None,
    }


def _at(rows: list[dict[str, Any]], name: str, time: float) -> float:
    """A column at a time between rows, linearly."""
    for a, b in itertools.pairwise(rows):
        if time <= b["time"]:
            share = (time - a["time"]) / (b["time"] - a["time"])
            return a[name] + share * (b[name] - a[name])
    return rows[-1][name]
