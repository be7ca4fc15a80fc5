"""Networks of a run: freshly drawn, composed from parents, or as one of its checkpoints left them."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from replib.data.load import Split, load
from replib.data.released import locate
from replib.models import checkpoints
from replib.models.build import build, glorot_
from replib.sparsity.masks import Masks, unpack
from replib.spec import ReplibError, Task
from replib.store import Store
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.loop import make_optimizer, train
from replib.training.losses import replays
from replib.training.spec import Compose, Distill, FreeAT, Fresh, FromRun, Init, Loss, Released, Slimming, Train
from replib.training.state import Masked, State, generator


def placed(net: nn.Module, device: str) -> nn.Module:
    """`net` on `device`, in channels-last memory on a GPU.

    Not on a CPU, where it would save a fifth: PyTorch 2.15 corrupts the heap in the weight gradient of channels-last convolutions with
    two to six channels, and nothing promises that other shapes are safe.
    """
    return net.to(device) if device == "cpu" else net.to(device, memory_format=torch.channels_last)


def fresh(job: Train, split: Split, seed: int, init: Fresh = Fresh()) -> nn.Module:  # noqa: B008 - a frozen spec
    """The network of `job` with the initial weights of `seed`; the same for every method with that seed."""
    rng = generator(seed, "init" if init.draw == 0 else f"init/{init.draw}")
    net = build(job.net, classes=split.classes, shape=split.shape, mean=split.mean, std=split.std, generator=rng)
    return glorot_(net, rng) if init.scheme == "glorot" else net


def narrowed(store: Store, task: Task) -> Train:
    """The training job of `task`, with the channel counts that its parent decided written into its network."""
    job: Train = task.job
    if job.channels is None:
        return job
    decided = store.results(Context(store, task).parent(job.channels))["channels"]
    return replace(job, net=replace(job.net, channels=tuple(decided)), channels=None)


def checkpoint_name(store: Store, task: Task, checkpoint: str) -> str:
    """The weights file that a checkpoint of a run points at ("best_ra" -> "epoch_37")."""
    if checkpoint.startswith(("average_", "epoch_")) and f"{checkpoint}.safetensors" in store.summary(task)["files"]:
        return checkpoint
    known = store.results(task)["checkpoints"]
    if checkpoint not in known:
        raise ReplibError(f"{task} has no checkpoint {checkpoint!r}; it has {', '.join(known)}. Correct the name in the spec.")
    return f"epoch_{known[checkpoint]['epoch']}"


def trained(context: Context, task: Task, checkpoint: str, split: Split) -> nn.Module:
    """The network of a finished run as `checkpoint` left it, in eval mode on the context's device."""
    net = fresh(narrowed(context.store, task), split, task.seed)
    net.load_state_dict(context.store.weights(task, checkpoint_name(context.store, task, checkpoint)), strict=True)
    return placed(net, context.device).eval()


def ticket_masks(store: Store, task: Task, net: nn.Module) -> Masks:
    """The masks that a ticket job or a finished run left, shaped for `net`."""
    shapes = {n: tuple(p.shape) for n, p in net.named_parameters()}
    packed = {n.removeprefix("mask/"): a for n, a in store.arrays(task).items() if n.startswith("mask/")}
    wrong = [n for n in packed if n not in shapes]
    if wrong:
        raise ReplibError(
            f"{task} has masks for {', '.join(wrong)}, which the network does not have. Draw the ticket from the same architecture."
        )
    return unpack(packed, {n: shapes[n] for n in packed})


def initial(context: Context, job: Train, init: Init, split: Split) -> nn.Module:
    """The network that a run starts from (B Algorithm 2 for :class:`Compose`)."""
    if isinstance(init, Fresh):
        return fresh(job, split, context.task.seed, init)
    if isinstance(init, FromRun):
        net = fresh(job, split, context.task.seed)
        parent = context.parent(init.run)
        weights = context.store.weights(parent, checkpoint_name(context.store, parent, init.checkpoint))
        own = net.state_dict()
        if not init.head:
            weights = {n: w for n, w in weights.items() if not n.startswith(f"{head(net)}.")}
        wrong = [n for n, w in weights.items() if n not in own or own[n].shape != w.shape]
        wrong += [n for n in own if n not in weights and (init.head or not n.startswith(f"{head(net)}."))]
        if wrong:
            raise ReplibError(
                f"The weights {', '.join(wrong)} of {parent} do not fit {job.net}. Start from a run of the same architecture; for "
                f"other classes give FromRun(..., head=False)."
            )
        net.load_state_dict(own | weights, strict=True)
        return net
    if isinstance(init, Released):
        net = fresh(job, split, context.task.seed)
        path, own = locate(init.name, context.data_root), net.state_dict()
        found = checkpoints.tensors(checkpoints.read(path), path)
        net.load_state_dict(own | checkpoints.fit(found, own, path, "" if init.head else head(net)), strict=True)
        return net
    if isinstance(init, Compose):
        inside, outside = initial(context, job, init.inside, split), initial(context, job, init.outside, split)
        masks = ticket_masks(context.store, context.parent(init.ticket), inside)
        with torch.no_grad():
            parameters = dict(outside.named_parameters())
            for name, p in inside.named_parameters():
                if name in masks:
                    p.copy_(torch.where(masks[name], p, parameters[name]))
        return inside
    raise ReplibError(f"init = {init!r} is not known; give Fresh, FromRun, Released or Compose.")


def head(net: nn.Module) -> str:
    """Name of the classifier: the last linear layer."""
    return [n for n, m in net.named_modules() if isinstance(m, nn.Linear)][-1]


def teachers(context: Context, loss: Loss, split: Split) -> dict[str, nn.Module]:
    """The two teachers of a distillation loss, frozen; none for other losses."""
    if isinstance(loss, Slimming):
        return teachers(context, loss.loss, split)
    if not isinstance(loss, Distill):
        return {}
    jobs = {"standard": loss.standard_teacher, "robust": loss.robust_teacher}
    found = {}
    for (name, job), checkpoint in zip(jobs.items(), loss.checkpoints, strict=True):
        found[name] = trained(context, context.parent(job), checkpoint, split).requires_grad_(False)
    return found


class OneProcessOnly(ReplibError):
    """A run that several processes cannot make together; all of them say so."""


def shared(net: nn.Module, job: Train, images: int, context: Context) -> nn.Module:
    """`net` for training by several processes: batch normalisation takes its statistics over all of them.

    The result is that of one process but for rounding and for the draws of augmentation and attacks, of which every process has its own.
    Raises :class:`OneProcessOnly` for what only one process can do.
    """
    size = context.world.size
    alone = {
        "free adversarial training": isinstance(job.loss, FreeAT),
        "averaging of weights": job.average is not None,
        "keeping every epoch's weights": "weights" in job.retain,
        "batch normalisation on processors": context.device == "cpu" and any(isinstance(m, _BatchNorm) for m in net.modules()),
        f"a last batch of {(images - 1) % job.batch + 1} images": (images - 1) % job.batch + 1 < size * job.accumulate,
    }
    if refused := [what for what, there in alone.items() if there]:
        raise OneProcessOnly(
            f"{context.task} cannot be trained by {size} processes because of {', '.join(refused)}. Run it without torchrun."
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(net)


def run_train(job: Train, context: Context) -> Output:
    """Set up the state of a training run and train it."""
    split = load(job.data, context.data_root, context.device)
    net = initial(context, narrowed(context.store, context.task), job.init, split)
    if context.world.size > 1:
        net = shared(net, job, len(split.train), context)
    net = placed(net, context.device)
    masks: Masks = {}
    if job.ticket is not None:
        masks = {n: m.to(context.device) for n, m in ticket_masks(context.store, context.parent(job.ticket), net).items()}
    hidden = job.masking != "projected"
    state = State(
        task=context.task,
        net=net,
        model=Masked(net, masks, job.masking == "straight_through") if hidden else net,
        optimizer=make_optimizer(job.optim, net),
        steps_per_epoch=math.ceil(len(split.train) / job.batch) * replays(job.loss),
        epochs=job.epochs,
        device=context.device,
        masks=masks,
        world=context.world,
    )
    return train(state, split, teachers(context, job.loss, split), context.folder, context.progress)
