"""The one training loop. Every method, loss and schedule goes through it; methods add hooks, never copies."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from replib.attacks import PGD
from replib.attacks.evaluate import evaluate
from replib.data.augment import augment
from replib.data.load import Images, Split
from replib.data.released import released
from replib.sparsity.masks import density, global_top, pack
from replib.spec import ReplibError, stream_seed
from replib.store.folder import Output
from replib.training.losses import objective, replays
from replib.training.schedule import plateau_start, plateau_update, rate
from replib.training.spec import SGD, FastAT, Plateau, Released, Train
from replib.training.state import State

Progress = Callable[[int, int], None]
"""Called with (epochs done, epochs in all)."""

SAVE_EVERY_SECONDS = 10.0
CHECKED, TOLERATED = 1000, 5.0
"""Test images that released weights are checked on, and points by which they may differ: three standard errors of a half."""
WATCHED = 128
"""Training images by which fast adversarial training is watched."""
SELECTION = {  # name -> what its epoch maximises; the first of equals, as in A
    "best_ra": lambda row: row["val_ra"],
    "best_sa": lambda row: row["val_sa"],
    "best_sum": lambda row: row["val_ra"] + row["val_sa"],
}


class Diverged(ReplibError):
    """The loss became NaN or infinite."""


def make_optimizer(spec: Any, net: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a spec over all parameters, one multi-tensor update a step."""
    if isinstance(spec, SGD):
        return torch.optim.SGD(net.parameters(), spec.lr, spec.momentum, weight_decay=spec.weight_decay, foreach=True)
    return torch.optim.Adam(net.parameters(), spec.lr, weight_decay=spec.weight_decay, foreach=True)


def train(state: State, split: Split, teachers: Mapping[str, nn.Module], folder: Path, progress: Progress) -> Output:
    """Train until the schedule, the method or a collapse ends the run, and hand over everything that is kept.

    A state saved in `folder` is resumed; the result has the same bits as if the run had never been interrupted (one CPU thread).
    Raises :class:`Diverged` when the loss is not finite, with the last good epoch still saved.
    """
    job: Train = state.task.job
    saved = folder / "state.pt"
    if saved.exists() and state.restore(saved):
        state.spent["restarts"] = state.spent.get("restarts", 0) + 1
        earlier = dict(state.spent)
    else:
        earlier = {}
        state.plateau = plateau_start()
        if job.masking == "projected":
            state.project()
        state.note_masks()
        job.method.start(state)
        _keep(state, "initial")
        if not job.epochs:  # weights that were trained elsewhere are handed on as they are
            for name in SELECTION:
                _keep(state, name)
            _as_published(state, job, split)
    minimise = objective(job.loss, teachers, state.loss)
    written = time.monotonic()
    wall, cpu = time.perf_counter(), time.process_time()
    while state.epoch < job.epochs and not state.stopped:
        before = state.mark()
        try:
            row = _epoch(state, job, split, minimise)
        except Diverged:
            state.rewind(before)
            _save(state, saved)
            raise
        _validate(state, job, split, row)
        _after_epoch(state, job, split, row)
        if "weights" in job.retain:
            state.spill(folder)
        state.epoch += 1
        state.history.append(row)
        state.spent["wall_seconds"] = earlier.get("wall_seconds", 0.0) + time.perf_counter() - wall
        state.spent["cpu_seconds"] = earlier.get("cpu_seconds", 0.0) + time.process_time() - cpu
        progress(state.epoch, job.epochs)
        if time.monotonic() - written >= SAVE_EVERY_SECONDS and state.epoch < job.epochs and not state.stopped:
            _save(state, saved)
            written = time.monotonic()
    _keep(state, "final", state.epoch - (state.stopped == "collapse"))
    return dataclasses.replace(_output(state, job), spent=earlier)


def _save(state: State, path: Path) -> None:
    if state.world.leads:  # the others hold the same state, and read this file when the run goes on
        state.save(path)


def _autocast(job: Train, device: str) -> Any:
    # Attack gradients run in bf16 too; their agreement with fp32 is what benchmarks/ reports for a GPU.
    return torch.autocast(device.split(":")[0], torch.bfloat16) if job.precision == "bf16" else nullcontext()


def _epoch(state: State, job: Train, split: Split, minimise: Any) -> dict[str, Any]:
    """One pass over the training images; returns the first columns of the epoch's row."""
    state.model.train()
    epoch, device, world = state.epoch, state.device, state.world
    order = torch.randperm(len(split.train), generator=state.random(f"batches/{epoch}")).to(device)
    on_device = torch.Generator(device).manual_seed(stream_seed(state.task.seed, state.stream(world.purpose(f"augment/{epoch}"))))
    attack_rng = state.random(world.purpose(f"attack/{epoch}"))
    total, correct = torch.zeros((), device=device), torch.zeros((), device=device)
    lr, decay, again = job.optim.lr, [], replays(job.loss)
    for whole in order.split(job.batch):
        index = whole[world.part(len(whole))]
        x, y = augment(split.train.x[index].to(device), split.augmentation, on_device), split.train.y[index]
        for _ in range(again):
            lr = job.optim.lr * rate(
                job.schedule, step=state.step, steps_per_epoch=state.steps_per_epoch, epochs=job.epochs, plateau=state.plateau
            )
            for group in state.optimizer.param_groups:
                group["lr"] = lr
            decay.append(lr * job.optim.weight_decay)
            state.optimizer.zero_grad(set_to_none=True)
            for xs, ys in zip(x.tensor_split(job.accumulate), y.tensor_split(job.accumulate), strict=True):
                with _autocast(job, device):
                    loss, logits = minimise(state.model, xs, ys, attack_rng)
                (loss * (len(ys) / len(whole))).backward()
                total += loss.detach() * len(ys)
                correct += (logits.detach().argmax(1) == ys).sum()
            # Not DistributedDataParallel: it reduces in hooks of every backward pass, and those of attacks have no gradients to reduce.
            world.sum_([p.grad for p in state.net.parameters() if p.grad is not None])
            state.optimizer.step()
            if job.masking == "projected":
                state.project()
            state.step += 1
            job.method.after_step(state)
    world.sum_([total, correct])
    n = again * len(split.train)
    mean = (total / n).item()
    if not math.isfinite(mean):
        raise Diverged(
            f"The loss of {state.task} became {mean} in epoch {epoch + 1} of {job.epochs} (learning rate {lr:g}). The last good epoch "
            f"is kept, and the same command starts again from it; a smaller learning rate or ε in the spec is the usual cure."
        )
    # Sum over steps of lr x weight decay: how far weight decay alone shrinks a weight. Without it a short run's magnitudes show the
    # initialization, and claims about magnitudes measure that.
    decayed = (state.history[-1]["lr_times_decay"] if state.history else 0.0) + math.fsum(decay)
    row = {"epoch": epoch + 1, "lr": lr, "train_loss": mean, "train_ra": 100 * (correct / n).item()}
    return row | {"lr_times_decay": decayed}


def _as_published(state: State, job: Train, split: Split) -> None:
    """Refuse released weights that are not as accurate here as their publisher says: wrong pixels or names would make all that follows
    meaningless, and nothing else would show it."""
    assert isinstance(job.init, Released)
    published = released(job.init.name).accuracy
    if published is None or not job.init.head:
        return
    test = split.test
    every = slice(None, None, max(1, len(test) // CHECKED))  # files are listed by class
    found = evaluate(state.model, test.x[every], test.y[every], device=state.device)
    if abs(found.accuracy - published) > TOLERATED:
        raise ReplibError(
            f"The released weights {job.init.name!r} get {found.accuracy:.1f} % of {len(found.correct)} test images of {job.data.name!r} "
            f"right, and their publisher says {published} %. Check that the file, the pictures and the order of the classes are those that "
            "were published."
        )


def _validate(state: State, job: Train, split: Split, row: dict[str, Any]) -> None:
    """Clean and robust accuracy and loss on the validation images, always in eval mode."""
    state.model.eval()
    seed = stream_seed(state.task.seed, state.world.purpose(f"validate/{state.epoch}"))
    (clean, loss), (robust, robust_loss) = (_measured(state, split.val, attack, seed) for attack in (None, job.validate))
    row |= {"val_sa": clean, "val_ra": robust, "val_loss": loss, "val_robust_loss": robust_loss}
    row["density"] = density(state.masks) if state.masks else 1.0  # of the weights that the ticket speaks about
    row["lr_times_decay"] = row.pop("lr_times_decay")  # the last column of every run's metrics


def _measured(state: State, images: Images, attack: PGD | None, seed: int) -> tuple[float, float]:
    """Accuracy in percent and mean loss on `images`, of which every process takes its part."""
    mine = state.world.part(len(images))
    found = evaluate(state.model, images.x[mine], images.y[mine], attack, seed=seed, device=state.device)
    if state.world.size == 1:
        return found.accuracy, found.loss
    n = len(found.correct)
    sums = torch.tensor([100.0 * int(found.correct.sum()), n * found.loss, n], dtype=torch.float64, device=state.device)
    state.world.sum_([sums])
    return (sums[0] / sums[2]).item(), (sums[1] / sums[2]).item()


def _after_epoch(state: State, job: Train, split: Split, row: dict[str, Any]) -> None:
    """Checkpoints, averaging, retention, and whatever may end the run."""
    done = state.epoch + 1
    if isinstance(job.loss, FastAT) and _collapsed(state, job, split, row):
        state.events.append({"epoch": done, "step": state.step, "event": "collapse"})
        if job.loss.guard:  # nothing of this epoch is kept: its clean accuracy may well be the best so far
            state.stopped = "collapse"
            state.net.load_state_dict(state.loss["before"])
            return
    for name, score in SELECTION.items():
        if name not in state.best or score(row) > state.best[name]["value"]:
            _keep(state, name, done, score(row))
    if job.average and done > job.average.start * job.epochs + 1e-9:
        _average(state, job, split, row, done)
    if "weights" in job.retain:
        state.kept[f"epoch_{done}"] = state.snapshot()
    _retain_masks(state, job, done)
    if isinstance(job.schedule, Plateau) and plateau_update(job.schedule, state.plateau, row[job.schedule.on], job.epochs):
        state.stopped = state.stopped or "plateau"
    if job.method.after_epoch(state, row):
        state.stopped = state.stopped or "method"


def _keep(state: State, name: str, epoch: int = 0, value: float = 0.0) -> None:
    """Point checkpoint `name` at this epoch's weights; epochs that nothing points at any more are dropped."""
    state.best[name] = {"value": value, "epoch": epoch}
    if f"epoch_{epoch}" not in {*state.kept, *state.written}:
        state.kept[f"epoch_{epoch}"] = state.snapshot()
    if "weights" not in state.task.job.retain:
        wanted = {f"epoch_{b['epoch']}" for b in state.best.values()}
        state.kept = {k: v for k, v in state.kept.items() if k in wanted or not k.startswith("epoch_")}


def _retain_masks(state: State, job: Train, done: int) -> None:
    """The masks that magnitude would give after this epoch, bit-packed: what mask similarity is computed from."""
    for kept in job.retain:
        if kept.startswith("masks@"):
            packed = pack(global_top({n: w.detach().abs() for n, w in state.weights.items()}, float(kept.removeprefix("masks@"))))
            flat = torch.cat([torch.as_tensor(p).flatten() for p in packed.values()])
            state.method.setdefault(f"retained/{kept}", []).append(flat)


def _collapsed(state: State, job: Train, split: Split, row: dict[str, Any]) -> bool:
    """PGD-5 on fixed training images; True when it lost more than 20 points in an epoch (Wong et al., 2020, Section 5).

    Departs: 128 images, a batch of theirs, whatever the batch of the run: of 25 a few say nothing.
    """
    n = min(WATCHED, len(split.train))
    attack = PGD(eps=job.loss.attack.eps, steps=5, step=0.5)
    row["fixed_batch_ra"], _ = _measured(state, Images(split.train.x[:n], split.train.y[:n]), attack, 0)
    fell = bool(state.history) and row["fixed_batch_ra"] < state.history[-1]["fixed_batch_ra"] - 20 - 1e-6  # of rounding
    if job.loss.guard and not fell:
        state.loss["before"] = {k: v.detach().clone() for k, v in state.net.state_dict().items()}
    return fell


def _average(state: State, job: Train, split: Split, row: dict[str, Any], done: int) -> None:
    """Fold this epoch into the weight average, refresh its batch-normalisation statistics and validate it."""
    names = [n for n, _ in state.net.named_parameters()]
    now = state.snapshot()
    count = state.average.get("count", 0)
    mean = state.average.get("mean") or {n: now[n] for n in names}
    mean = {n: (count * mean[n] + now[n]) / (count + 1) for n in names}
    state.average = {"best": -1.0} | state.average | {"count": count + 1, "mean": mean}
    live = {k: v.detach().clone() for k, v in state.net.state_dict().items()}
    # Averages over changing masks have the union as support; computing with the current mask keeps the network as sparse as it is.
    state.net.load_state_dict({k: mean[k] * state.masks[k] if k in state.masks else mean.get(k, v) for k, v in now.items()})
    refresh_statistics(state.net, split, job.batch, state.random(f"average/{state.epoch}"))
    state.model.eval()
    seed = stream_seed(state.task.seed, f"validate/{state.epoch}")
    row["average_val_sa"] = evaluate(state.model, split.val.x, split.val.y, device=state.device).accuracy
    row["average_val_ra"] = evaluate(state.model, split.val.x, split.val.y, job.validate, seed=seed, device=state.device).accuracy
    averaged = state.snapshot()
    state.net.load_state_dict(live)
    state.kept["average_final"] = averaged
    if row["average_val_ra"] > state.average["best"]:
        state.average |= {"best": row["average_val_ra"], "epoch": done}
        state.kept["average_best_ra"] = averaged


@torch.no_grad()
def refresh_statistics(net: nn.Module, split: Split, batch: int, rng: torch.Generator) -> None:
    """Re-estimate running statistics by one pass over clean augmented training images, cumulative, whatever the momentum is."""
    layers = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)]
    momenta = [m.momentum for m in layers]
    for m in layers:
        m.reset_running_stats()
        m.momentum = None
    net.train()
    device = split.train.x.device
    local = rng if device.type == "cpu" else torch.Generator(device).manual_seed(rng.initial_seed())
    for x in split.train.x.split(batch):
        net(augment(x, split.augmentation, local))
    for m, momentum in zip(layers, momenta, strict=True):
        m.momentum = momentum


def _output(state: State, job: Train) -> Output:
    """What the store keeps of a finished run."""
    arrays: dict[str, np.ndarray] = {}
    if state.masks:
        arrays |= {f"mask/{n}": v for n, v in pack(state.masks).items()}
        arrays["counts"] = np.array([list(c.values()) for c in state.counts], dtype=np.int64)
    for name, rows in state.method.items():
        if name.startswith("retained/"):
            arrays[name] = torch.stack(rows).cpu().numpy()
    arrays |= {n.removeprefix("output/"): v.cpu().numpy() for n, v in state.method.items() if n.startswith("output/")}
    last = state.history[-1] if state.history else {"density": density(state.masks) if state.masks else 1.0, "lr_times_decay": 0.0}
    checkpoints = {n: {"epoch": b["epoch"], "value": b["value"]} for n, b in state.best.items()}
    if state.average:
        checkpoints["average_best_ra"] = {"epoch": state.average["epoch"], "value": state.average["best"]}
    return Output(
        results={
            "epochs": state.epoch,
            "steps": state.step,
            "stopped": state.stopped,
            "checkpoints": checkpoints,
            "density": last["density"],
            "lr_times_decay": last["lr_times_decay"],
            "retained": list(job.retain),
            "collapsed": any(e.get("event") == "collapse" for e in state.events),
            "layers": {n: w.numel() for n, w in state.weights.items()},
            "method": {n.removeprefix("result/"): v for n, v in state.method.items() if n.startswith("result/")},
        },
        metrics=state.history,
        events=state.events,
        arrays=arrays,
        weights=state.kept,
        written=list(state.written),
    )
