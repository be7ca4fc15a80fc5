"""Adversarial winning tickets of a linear model f(x) = theta x, where the objective (A.5) of D is a closed form of second moments.

The worst l2 perturbation of a point is -eps y theta / |theta|, and the tangent kernel of a linear model is the inner product of inputs,
restricted to what the mask keeps: it does not depend on the weights. Points (n, d), classes (n,) of -1 or 1, weights and masks (d,).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch


def largest(scores: np.ndarray, keep: int) -> np.ndarray:
    """Mask of the `keep` largest scores, ties by lower index."""
    mask = np.zeros(len(scores), dtype=bool)
    mask[np.argsort(-scores, kind="stable")[:keep]] = True
    return mask


def distances(moments: np.ndarray, towards: np.ndarray, theta: np.ndarray, masks: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Target distance (1/N) |f(X̃) - f_s(X̃_s)|² and kernel distance (1/N²) |K(X, X̃) - K_s(X, X̃_s)|² between a linear model and its
    tickets by `masks` (..., d), each model with its own adversarial points; both (...).

    From the moments X^T X / N (d, d) and X^T y / N (d,): with P = 1 - mask and q the difference of the two unit directions the kernels
    differ by X P X^T - eps X q y^T.
    """

    def form(v: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        return ((v @ matrix) * v).sum(-1)

    kept, pruned = theta * masks, 1.0 - masks
    gone = theta - kept
    length = np.linalg.norm(kept, axis=-1, keepdims=True)
    shrunk = np.linalg.norm(theta) - length[..., 0]
    turned = theta / np.linalg.norm(theta) - kept / np.maximum(length, 1e-12)
    target = form(gone, moments) - 2 * eps * shrunk * (gone @ towards) + eps**2 * shrunk**2
    kernel = form(pruned, moments**2) - 2 * eps * ((turned @ moments) * pruned) @ towards + eps**2 * form(turned, moments)
    return target, kernel


def best_mask(x: np.ndarray, y: np.ndarray, theta: np.ndarray, keep: int, eps: float, kernel_weight: float) -> np.ndarray:
    """The mask of `keep` coordinates that minimises (A.5), `kernel_weight` standing for gamma squared, up to exchanges of one
    coordinate: the best exchange is made until none lowers the objective, once from the largest weights and once from the coordinates in
    which points are largest. The lower end counts.
    """
    moments, towards = x.T @ x / len(x), x.T @ y / len(x)

    def objective(masks: np.ndarray) -> np.ndarray:
        target, kernel = distances(moments, towards, theta, masks, eps)
        return target + kernel_weight * kernel

    ends = [_exchanged(largest(scores, keep), objective) for scores in (np.abs(theta), moments.diagonal())]
    return ends[objective(np.stack(ends)).argmin()]


def _exchanged(mask: np.ndarray, objective: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`mask` after exchanges of one coordinate for another, each the best there is, until none lowers `objective`."""
    while True:
        out, into = (part.ravel() for part in np.meshgrid(np.flatnonzero(mask), np.flatnonzero(~mask), indexing="ij"))
        others = np.repeat(mask[None], len(out) + 1, axis=0)  # the last one is the mask as it is
        rows = np.arange(len(out))
        others[rows, out], others[rows, into] = False, True
        values = objective(others)
        if values.argmin() == len(out) or values.min() >= values[-1] - 1e-12:
            return mask
        mask = others[values.argmin()]


def algorithm_1(
    x: np.ndarray, y: np.ndarray, theta: np.ndarray, keep: int, eps: float, *, steps: int = 500, lr: float = 5e-4, decay: float = 1e-5,
    refresh: int = 100,
) -> np.ndarray:  # fmt: skip
    """The mask that Algorithm 1 of D ends with: Adam on the weights of the student, then what is kept shrinks by the share `decay`; every
    `refresh` steps but the last the mask is again that of the largest weights. Each model is attacked by itself.

    Only the target distance has a gradient: the kernel of a linear model does not depend on its weights.

    Departs: every step sees all points, through their moments; D takes 64 at a time.
    """
    moments, towards = torch.from_numpy(x.T @ x / len(x)), torch.from_numpy(x.T @ y / len(x))
    dense, w = torch.tensor(theta), torch.tensor(theta, requires_grad=True)
    adam = torch.optim.Adam([w], lr)
    mask = torch.from_numpy(largest(np.abs(theta), keep))
    for step in range(1, steps + 1):
        student = mask * w
        pushed = student.detach() / student.detach().norm()  # the attack on the student is a constant of the step
        gap, shrunk = dense - student, dense.norm() - pushed @ student
        loss = gap @ moments @ gap - 2 * eps * shrunk * (towards @ gap) + eps**2 * shrunk**2
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            w -= decay * mask * w
        if step % refresh == 0 and step < steps - refresh:
            mask = torch.from_numpy(largest(w.detach().abs().numpy(), keep))
    return mask.numpy()
