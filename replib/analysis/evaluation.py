"""Evaluations as jobs of their own: adding an attack never retrains anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from replib.attacks.evaluate import evaluate
from replib.attacks.spec import Attack
from replib.data.load import load
from replib.spec import Job, Pinned, SpecError, choose, stream_seed, unpinned, within
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.networks import checkpoint_name, trained
from replib.training.spec import Train, check_checkpoint


@dataclass(frozen=True)
class Evaluate(Job):
    """Accuracy of a run's checkpoints, clean (`attack` None) or under an attack, each place "checkpoint/split".

    Training images are evaluated without augmentation and in eval mode, so that train minus test accuracy at the final checkpoint is
    the generalization gap of A. With `surrogate` the images are crafted on another run's final network and shown to this one;
    `crafted_here` swaps the two. `images` takes only the first so many of each split.
    """

    kind: ClassVar[str] = "evaluate"

    run: Train | Pinned
    attack: Attack | None = None
    places: tuple[str, ...] = ("best_ra/test", "final/test", "final/train")
    surrogate: Train | Pinned | None = None
    crafted_here: bool = False
    images: int | None = None

    def check(self) -> None:
        for place in self.places:
            checkpoint, _, part = place.partition("/")
            check_checkpoint(f"Evaluate.places (the checkpoint of {place!r})", checkpoint)
            choose(f"Evaluate.places (the split of {place!r})", part, ("train", "val", "test"))
        if self.surrogate is not None and self.attack is None:
            raise SpecError("Evaluate.surrogate crafts images for an attack, and there is none; give an attack.")
        if self.crafted_here and self.surrogate is None:
            raise SpecError("Evaluate.crafted_here shows the images to the surrogate, and there is none; give a surrogate.")
        if self.images is not None:
            within("Evaluate.images", self.images, 1)

    def label(self) -> str:
        return f"{self.attack.label() if self.attack else 'clean'} accuracy of {unpinned(self.run).label()}"


def run_evaluate(job: Evaluate, context: Context) -> Output:
    """Accuracy and mean cross-entropy at each place, and which images were right (packed bits)."""
    task = context.parent(job.run)
    split = load(task.job.data, context.data_root, context.device)
    results, arrays, seen = {}, {}, {}
    for n, place in enumerate(job.places):
        checkpoint, _, part = place.partition("/")
        same = (checkpoint_name(context.store, task, checkpoint), part)
        if same not in seen:  # best and final may be one epoch: then they are one evaluation, attack noise included
            net = trained(context, task, checkpoint, split)
            other = None
            if job.surrogate is not None:
                other = trained(context, context.parent(job.surrogate), "final", split)
            model, surrogate = (other, net) if job.crafted_here and other is not None else (net, other)
            images = getattr(split, part)
            x, y = images.x[: job.images], images.y[: job.images]
            seed = stream_seed(context.task.seed, f"evaluate/{part}")
            seen[same] = evaluate(model, x, y, job.attack, seed=seed, device=context.device, surrogate=surrogate)
        found = seen[same]
        results[place] = {"accuracy": found.accuracy, "loss": found.loss, "images": len(found.correct)}
        arrays[f"correct/{place}"] = np.packbits(found.correct.numpy())
        context.progress(n + 1, len(job.places))
    return Output(results=results, arrays=arrays)
