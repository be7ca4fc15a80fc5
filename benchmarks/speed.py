"""How fast the training step is beside a plain implementation, and what caching, checkpoints and workers cost or gain.

    python benchmarks/speed.py [--quick] [--device cpu|cuda] [--out results/benchmarks.csv]

Everything is measured in one run on one thread, and competitors take turns round by round, so that other load on the
machine strikes both. A ratio is the time of the alternative over ours: above 1 ours is faster. `--quick` does a few
rounds of small cases and prints only, unless `--out` is given. The rows of another device that the file already holds
are kept.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from replib.attacks import PGD
from replib.attacks.pgd import perturb
from replib.data import Data
from replib.data.load import Images, Split, load
from replib.data.roles import role
from replib.experiments.profiles import LAPTOP, SMOKE, Recipe
from replib.experiments.runner import run
from replib.models import Net
from replib.models.build import prunable
from replib.sparsity.masks import Masks, global_random
from replib.spec import task
from replib.store import Store
from replib.store.environment import environment
from replib.training import Train
from replib.training.loop import SAVE_EVERY_SECONDS, _epoch, _validate, make_optimizer, train
from replib.training.losses import objective
from replib.training.networks import fresh, placed
from replib.training.state import State

CIFAR10 = ("CIFAR-10", "ResNet-18")
DENSITY = 0.1  # nine tenths of the weights are masked, so that projection is part of the step
Row = dict[str, Any]
Clock = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One net on one data set with one training attack; an epoch has `steps` steps of `batch` images."""

    name: str
    job: Train
    split: Split
    steps: int

    @property
    def attack(self) -> PGD:
        """The training attack."""
        return self.job.loss.attack


def laptop(attack_steps: int, steps: int, recipe: Recipe | None = None) -> Case:
    """The laptop recipe, or another one of embedded pictures, on whole batches of its training pictures."""
    recipe = recipe or LAPTOP.recipe(*CIFAR10)
    job = replace(recipe, train_steps=attack_steps, train_step=2.5 / attack_steps).pgd_at()
    split = load(job.data)
    n = min(steps * job.batch, len(split.train) // job.batch * job.batch)
    return Case("laptop net, 8x8 digits", job, _cut(split, n), n // job.batch)


def resnet18(attack_steps: int, batch: int, steps: int) -> Case:
    """PreAct-ResNet-18 on random pictures in the shapes of CIFAR-10; what they show does not change the cost."""
    kind = role("cifar10")
    rng = torch.Generator().manual_seed(0)
    n = steps * batch
    pixels = torch.randint(256, (n, *kind.shape), generator=rng, dtype=torch.uint8)
    images = Images(pixels, torch.randint(kind.classes, (n,), generator=rng))
    facts = (kind.classes, kind.mean, kind.std, kind.shape, torch.arange(n), kind.augmentation)
    split = Split(images, images, images, *facts)
    recipe = Recipe(Data("cifar10"), Net("preact_resnet18"), 8 / 255, epochs=1, batch=batch, weight_decay=5e-4)
    job = replace(recipe, train_steps=attack_steps, train_step=2.5 / attack_steps).pgd_at()
    return Case("ResNet-18, CIFAR-10 shapes", job, split, steps)


def _cut(split: Split, n: int) -> Split:
    return replace(split, train=Images(split.train.x[:n], split.train.y[:n]))


def _moved(split: Split, device: str) -> Split:
    parts = {part: getattr(split, part) for part in ("train", "val", "test")}
    return replace(split, **{part: Images(images.x.to(device), images.y.to(device)) for part, images in parts.items()})


def masks_of(net: nn.Module) -> Masks:
    """Random masks of a tenth of the weights, the same for every competitor."""
    return global_random({n: p.shape for n, p in prunable(net).items()}, DENSITY, torch.Generator().manual_seed(1))


def state_of(case: Case, device: str, *, compiled: bool = False) -> State:
    """A run of `case` as the package sets it up, before its first step."""
    net = placed(fresh(case.job, case.split, 0), device)
    state = State(
        task=task(case.job, 0),
        net=net,
        model=torch.compile(net, mode="reduce-overhead") if compiled else net,
        optimizer=make_optimizer(case.job.optim, net),
        steps_per_epoch=case.steps,
        epochs=case.job.epochs,
        device=device,
        masks={n: m.to(device) for n, m in masks_of(net).items()},
    )
    state.project()
    return state


# ---- competitors: each makes a function that trains one epoch
def ours(case: Case, device: str, *, precision: str = "fp32", compiled: bool = False) -> Clock:
    """The package's own epoch. `compiled`: the net through torch.compile with CUDA graphs."""
    state, split = state_of(case, device, compiled=compiled), _moved(case.split, device)
    job = replace(case.job, precision=precision)
    minimise = objective(job.loss, {})
    return lambda: _epoch(state, job, split, minimise)


class Pictures(torch.utils.data.Dataset):
    """uint8 pictures as PIL images with torchvision's transforms, one by one."""

    def __init__(self, images: Images, transform: Callable[[Any], Tensor]) -> None:
        from torchvision.transforms.functional import to_pil_image

        self.pictures, self.classes, self.transform = [to_pil_image(x) for x in images.x], images.y.tolist(), transform

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(self.pictures[i]), self.classes[i]


def plain(case: Case, device: str) -> Clock:
    """The same training as it is usually written.

    DataLoader, fp32 in NCHW, attack through ``loss.backward()`` with gradients of the parameters computed and thrown
    away, one parameter after another in optimizer and masks.
    """
    from torchvision import transforms

    rules, job, attack = case.split.augmentation, case.job, case.attack
    steps = [transforms.RandomCrop(case.split.shape[1:], padding=rules.pad)] * bool(rules.pad)
    steps += [transforms.RandomHorizontalFlip()] * rules.flip + [transforms.ToTensor()]
    loader = torch.utils.data.DataLoader(Pictures(case.split.train, transforms.Compose(steps)), job.batch, shuffle=True)
    net = fresh(job, case.split, 0).to(device).train()
    masks = {n: m.to(device).float() for n, m in masks_of(net).items()}
    sgd = job.optim
    optimizer = torch.optim.SGD(net.parameters(), sgd.lr, sgd.momentum, weight_decay=sgd.weight_decay, foreach=False)

    def epoch() -> None:
        total, correct = 0.0, 0
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            delta = torch.empty_like(x).uniform_(-attack.eps, attack.eps)
            delta.data = (x + delta).clamp(0, 1) - x
            delta.requires_grad_(True)
            for _ in range(attack.steps):
                F.cross_entropy(net(x + delta), y).backward()
                step = delta.data + attack.step * attack.eps * delta.grad.sign()
                delta.data = (x + step.clamp(-attack.eps, attack.eps)).clamp(0, 1) - x
                delta.grad.zero_()
            optimizer.zero_grad()
            logits = net((x + delta).detach())
            loss = F.cross_entropy(logits, y)
            loss.backward()
            optimizer.step()
            for name, p in net.named_parameters():
                if name in masks:
                    p.data.mul_(masks[name])
                    optimizer.state[p]["momentum_buffer"].mul_(masks[name])
            total += loss.item() * len(y)
            correct += (logits.argmax(1) == y).sum().item()

    return epoch


def foolbox(case: Case, device: str) -> Clock:
    """Our epoch with foolbox's LinfPGD in place of our attack."""
    import foolbox as fb

    state, split = state_of(case, device), _moved(case.split, device)
    size = case.attack.step * case.attack.eps
    attack = fb.attacks.LinfPGD(steps=case.attack.steps, abs_stepsize=size, random_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # foolbox warns that the net is in train(), which adversarial training wants
        wrapped = fb.PyTorchModel(state.net, bounds=(0, 1), device=device)

    def minimise(model: nn.Module, x: Tensor, y: Tensor, _: torch.Generator) -> tuple[Tensor, Tensor]:
        x = attack.run(wrapped, x, fb.criteria.Misclassification(y), epsilon=case.attack.eps)
        logits = model(x)
        return F.cross_entropy(logits, y), logits

    return lambda: _epoch(state, case.job, split, minimise)


# ---- measuring
def turns(clocks: Sequence[Clock], rounds: int, device: str = "cpu", warm: int = 1) -> np.ndarray:
    """Seconds (rounds, competitors), each round timing every competitor once; `warm` rounds before do not count."""
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    seconds = np.zeros((warm + rounds, len(clocks)))
    for r in range(warm + rounds):
        for c, clock in enumerate(clocks):
            wait()
            start = time.perf_counter()
            clock()
            wait()
            seconds[r, c] = time.perf_counter() - start
    return seconds[warm:]


def row(what: str, case: str, against: str, values: np.ndarray, unit: str = "ratio", **more: Any) -> Row:
    """Median, smallest and largest of `values`."""
    found = {"median": float(np.median(values)), "low": float(values.min()), "high": float(values.max())}
    return {"what": what, "case": case, "against": against, "unit": unit} | found | {"rounds": len(values)} | more


def steps(cases: Sequence[Case], device: str, rounds: int) -> list[Row]:
    """Training steps of `cases` against the plain implementation and against foolbox's attack."""
    rows = []
    for case in cases:
        name = f"{case.name}, batch {case.job.batch}"
        rivals = {"plain implementation": plain(case, device), "foolbox LinfPGD in our step": foolbox(case, device)}
        seconds = turns([ours(case, device), *rivals.values()], rounds, device)
        for k, rival in enumerate(rivals, 1):
            least = float(seconds[:, k].min() / seconds[:, 0].min())
            ratios = seconds[:, k] / seconds[:, 0]
            rows.append(row(f"training step, PGD-{case.attack.steps}", name, rival, ratios, ratio_of_fastest=least))
    return rows


def accelerated(case: Case, rounds: int) -> list[Row]:
    """On a GPU: fp32 channels-last, bf16, and bf16 compiled with CUDA graphs, against the plain implementation."""
    ways = {
        "fp32, channels-last": ours(case, "cuda"),
        "bf16, channels-last": ours(case, "cuda", precision="bf16"),
        "bf16, channels-last, torch.compile with CUDA graphs": ours(case, "cuda", precision="bf16", compiled=True),
    }
    seconds = turns([plain(case, "cuda"), *ways.values()], rounds, "cuda")
    rows = []
    for k, way in enumerate(ways, 1):
        least = float(seconds[:, 0].min() / seconds[:, k].min())
        what = f"training step, PGD-{case.attack.steps}, {way}"
        name = f"{case.name}, batch {case.job.batch}"
        rows.append(row(what, name, "plain implementation", seconds[:, 0] / seconds[:, k], ratio_of_fastest=least))
    return rows


def agreement(case: Case, device: str) -> list[Row]:
    """Input gradients in bf16 beside fp32, at the same points: cosine for each picture, and share of equal signs.

    The net has taken one epoch of training; the points are the starts of the attack.
    """
    state, split = state_of(case, device), _moved(case.split, device)
    _epoch(state, case.job, split, objective(case.job.loss, {}))
    net = state.net.eval().requires_grad_(False)
    y = split.train.y[: case.job.batch]
    rng = torch.Generator().manual_seed(2)
    x = perturb(net, split.train.x[: case.job.batch].float() / 255, y, replace(case.attack, steps=1), rng)

    def gradient(bf16: bool) -> Tensor:
        point = x.clone().requires_grad_(True)
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(net(point).float(), y, reduction="sum")
        return torch.autograd.grad(loss, point)[0].float().flatten(1).cpu()

    fine, coarse = gradient(False), gradient(True)
    name = f"{case.name}, batch {len(x)}"
    cosine, signs = F.cosine_similarity(fine, coarse).numpy(), (fine.sign() == coarse.sign()).float().mean(1).numpy()
    return [
        row("attack gradient in bf16, cosine", name, "fp32", cosine, "cosine"),
        row("attack gradient in bf16, equal signs", name, "fp32", 100 * signs, "%"),
    ]


def cached_read(folder: Path, reads: int) -> list[Row]:
    """Milliseconds to read the result of a done run, checksum of the summary compared."""
    store, wanted = Store(folder), task(SMOKE.recipe(*CIFAR10).pgd_at(), 0)
    report = run([wanted], store, show=False)
    if report.failed:
        raise SystemExit("\n".join(report.failed.values()))
    seconds = turns([lambda: store.results(wanted), lambda: store.table(wanted)], reads)
    return [
        row("cached result read", "results of a run", "", 1e3 * seconds[:, 0], "ms"),
        row("cached result read", "its table of epochs", "", 1e3 * seconds[:, 1], "ms"),
    ]


def checkpointing(folder: Path, epochs: int, rounds: int, recipe: Recipe | None = None) -> list[Row]:
    """Share of a laptop run that goes into its state on disk and the copy that a diverging epoch is undone with.

    A run of `epochs` epochs fills the state with everything that is kept; an epoch, a save and a copy are then timed in
    turns. At most one save in SAVE_EVERY_SECONDS is written, after an epoch.
    """
    recipe = recipe or LAPTOP.recipe(*CIFAR10)
    whole = recipe.pgd_at()
    job = replace(whole, epochs=epochs)
    split = load(job.data)
    net = fresh(job, split, 0)
    state = State(
        task=task(job, 0),
        net=net,
        model=net,
        optimizer=make_optimizer(job.optim, net),
        steps_per_epoch=math.ceil(len(split.train) / job.batch),
        epochs=epochs,
        device="cpu",
        masks=masks_of(net),
    )
    folder.mkdir(parents=True, exist_ok=True)
    train(state, split, {}, folder, lambda done, of: None)
    minimise = objective(job.loss, {})

    def epoch() -> None:
        _validate(state, job, split, _epoch(state, job, split, minimise))

    seconds = turns([epoch, lambda: state.save(folder / "state.pt"), state.mark], rounds)
    one, save, mark = seconds.T
    between = np.maximum(1, np.ceil(SAVE_EVERY_SECONDS / one))  # epochs from one save to the next
    share = 100 * (save / between + mark) / (one + save / between + mark)
    return [row("checkpoints", "laptop run", "", share, "% of the run")]


def workers(folder: Path, rounds: int, epochs: int, tasks: int, recipe: Recipe | None = None) -> list[Row]:
    """Time of `tasks` laptop runs with one worker over that with two, start of the worker processes included."""
    job = (recipe or LAPTOP.recipe(*CIFAR10)).pgd_at(epochs=epochs)

    def plan(n: int) -> Clock:
        def go() -> None:
            with tempfile.TemporaryDirectory(dir=folder) as new:
                report = run([task(job, s) for s in range(tasks)], Store(Path(new)), workers=n, show=False)
            if report.failed:
                raise SystemExit("\n".join(report.failed.values()))

        return go

    seconds = turns([plan(1), plan(2)], rounds, warm=0)
    case = f"{tasks} laptop runs of {epochs} epochs, worker start included"
    return [row("two workers", case, "one worker", seconds[:, 0] / seconds[:, 1])]


def measure(device: str, quick: bool) -> list[Row]:
    """All rows of `device`."""
    rounds = 3 if quick else 7
    if device != "cpu":
        large = resnet18(10, 128, 2 if quick else 10)
        rows = steps([laptop(5, 10), laptop(10, 10), large], device, rounds)
        return [*rows, *accelerated(large, rounds), *agreement(large, device)]
    rows = steps([laptop(5, 3 if quick else 6), laptop(10, 3 if quick else 6)], device, rounds)
    rows += steps([resnet18(2, 4, 1)] if quick else [resnet18(10, 4, 1)], device, 2 if quick else 4)
    with tempfile.TemporaryDirectory() as folder:
        rows += cached_read(Path(folder) / "read", 50 if quick else 200)
        rows += checkpointing(Path(folder) / "save", 3 if quick else 6, rounds)
        if not quick:
            rows += workers(Path(folder), 1, 10, 4)
    return rows


def write(rows: Sequence[Row], device: str, out: Path) -> pd.DataFrame:
    """The table of `rows` with where they were measured, put into `out` in place of the older rows of `device`."""
    here = environment(device)
    place = {"device": device, "machine": here["cpu"] if device == "cpu" else here["device"]}
    place |= {"threads": torch.get_num_threads(), "torch": torch.__version__, "commit": here["commit"]}
    table = pd.DataFrame([r | place for r in rows]).round(3)
    if out.exists():
        old = pd.read_csv(out)
        table = pd.concat([old[old["device"] != device], table], ignore_index=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(out, index=False)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no CUDA device here; run this on a machine that has one, or give --device cpu.")
    torch.set_num_threads(1)
    rows = measure(args.device, args.quick)
    shown = ["what", "case", "against", "median", "low", "high", "ratio_of_fastest", "unit", "rounds"]
    print(pd.DataFrame(rows, columns=shown).round(3).to_string(index=False, na_rep=""))
    out = args.out or (None if args.quick else Path("results/benchmarks.csv"))
    if out is not None:
        write(rows, args.device, out)
        print(f"written to {out}")


if __name__ == "__main__":
    main()
