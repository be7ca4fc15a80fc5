"""The distortion bound of a run: how far, on average, an image must move before PGD breaks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from replib.attacks.distortion import LARGEST, PIXEL, least_distortion
from replib.attacks.evaluate import BATCH
from replib.data.augment import to_float
from replib.data.load import load
from replib.spec import Job, Pinned, stream_seed, unpinned, within
from replib.store.context import Context
from replib.store.folder import Output
from replib.training.networks import trained
from replib.training.spec import Train, check_checkpoint


@dataclass(frozen=True)
class Distortion(Job):
    """Least radii on the first `images` test images (None: all) that `checkpoint` classifies correctly, in units of 1/255.

    Radii up to `largest` are tried: an image that none breaks counts with that one, and the share of such images is recorded.

    Departs: "on a given batch" and "average across all samples" (B, Section 4.1) are read as a bound of each sample, averaged; the least
    bound of each batch, averaged over batches, is given beside it. Units are not printed; 1/255 is ours.
    """

    kind: ClassVar[str] = "distortion"
    version: ClassVar[int] = 2  # `largest` itself is tried, where it is no multiple of the first radius

    run: Train | Pinned
    checkpoint: str = "best_sum"
    images: int | None = None
    steps: int = 100
    largest: float = LARGEST
    norm: Literal["linf", "l2"] = "linf"

    def check(self) -> None:
        check_checkpoint("Distortion.checkpoint", self.checkpoint)
        if self.images is not None:
            within("Distortion.images", self.images, 1)
        within("Distortion.steps", self.steps, 1)
        within("Distortion.largest", self.largest, 0, 1, low_open=True)

    def passes(self) -> int:
        """Forward passes that the search is worth, at about fifteen radii an image."""
        data = unpinned(self.run).data
        return 15 * (2 * self.steps + 1) * min(self.images or 10**9, data.images("test"))

    def label(self) -> str:
        return f"distortion bound of {unpinned(self.run).label()}"


def run_distortion(job: Distortion, context: Context) -> Output:
    """Radii image by image, and their mean, quantiles and censored share. A censored image counts with the largest radius tried."""
    parent = context.parent(job.run)
    split = load(parent.job.data, context.data_root, context.device)
    net = trained(context, parent, job.checkpoint, split)
    x, y = split.test.x[: job.images], split.test.y[: job.images]
    rng = torch.Generator().manual_seed(stream_seed(context.task.seed, "distortion"))
    scale = 1.0 if job.norm == "linf" else float(np.sqrt(np.prod(split.shape)))  # an l2 ball is that much wider for the same change
    largest = job.largest * scale
    radii = []
    batch = BATCH.get(context.device, 1000)
    batches = list(zip(x.split(batch), y.split(batch), strict=True))
    for n, (xb, yb) in enumerate(batches):
        found = least_distortion(
            net, to_float(xb), yb, rng, steps=job.steps, norm=job.norm,
            first=0.25 * PIXEL * scale, largest=largest, tolerance=0.05 * PIXEL * scale,
        )  # fmt: skip
        radii.append(found.cpu() / PIXEL)
        context.progress(n + 1, len(batches))
    whole = torch.cat(radii).double().numpy()
    return Output(results=summary(whole, [r.numpy() for r in radii], largest / PIXEL), arrays={"radii": whole.astype(np.float32)})


def summary(radii: np.ndarray, batches: list[np.ndarray], largest: float) -> dict[str, float | int | None]:
    """Statistics of `radii` (N,), where 0 is an image that was wrong from the start and infinity one that was never broken.

    None where there is nothing to take a statistic of.
    """
    right = np.minimum(radii[radii > 0], largest)
    least = [float(b[b > 0].min()) for b in batches if np.isfinite(b[b > 0]).any()]
    low, median, high = np.quantile(right, (0.1, 0.5, 0.9)).tolist() if len(right) else (None, None, None)
    return {
        "images": len(radii),
        "correct": len(right),
        "mean": float(right.mean()) if len(right) else None,
        "median": median,
        "low_decile": low,
        "high_decile": high,
        "censored_share": float(np.isinf(radii).sum() / len(right)) if len(right) else None,
        "batch_min": float(np.mean(least)) if least else None,
    }
