"""Tangent kernels: products of the Jacobians of a network's outputs with respect to its parameters.

With J(x) = ∂f(x)/∂θ of shape (K, P), the neural tangent kernel of images X is Θ(X, X) = J(X) J(X)ᵀ and decides how outputs move under
gradient descent. In adversarial training outputs on clean images X move because of steps on adversarial ones X̃, so that D's *mixed*
tangent kernel Θ(X, X̃) takes its place (Shi et al., AISTATS 2022, equations 6 and 8). It is not symmetric; Θ(X, X̃)ᵀ = Θ(X̃, X).

Shapes: `x` (N, C, H, W), `y` (M, C, H, W) floats in [0, 1], K outputs, P parameters. Kernels are (N, K, M, K).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp, vjp, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from replib.spec import ReplibError

LIMIT = {"cpu": 2**31, "cuda": 2**35}
"""Bytes that one kernel may take in intermediate tensors, by device: on a processor half of what a laptop's run may use."""

How = Literal["layers", "products", "jacobian"]
Entries = Literal["all", "diagonal"]
Parameters = Mapping[str, Tensor]


def tangent_kernel(
    net: nn.Module,
    x: Tensor,
    y: Tensor | None = None,
    *,
    parameters: Parameters | None = None,
    masks: Parameters | None = None,
    how: How = "layers",
    entries: Entries = "all",
    limit: float | None = None,
) -> Tensor:
    """Θ(X, Y), (N, K, M, K); with `entries` "diagonal" only Θ[n, i, n, i], (N, K), for as many x as y. `y` None is `x`.

    `parameters` replace the network's own, by name: mask times weights for a sparse network. `masks` say by name which coordinates of a
    parameter are trained; all of those not named are. Differentiable by `parameters` where these are. The network must be in eval mode,
    whose batch normalisation treats images one by one.

    `how`, three ways to the same numbers: "layers" contracts activations and gradients of pre-activations layer by layer and is the
    cheap one, for linear layers, convolutions and batch normalisation; "jacobian" holds all of J; "products" multiplies with J and Jᵀ
    one column after another and needs least memory.

    Raises :class:`~replib.spec.ReplibError` before it allocates more than `limit` bytes (default: :data:`LIMIT`), with the number of images
    that fit; sums over pairs of images can be taken block by block.
    """
    if net.training:
        raise ReplibError("A tangent kernel is that of a network in eval mode, where images do not see each other; call net.eval() first.")
    y = x if y is None else y
    if entries == "diagonal" and len(x) != len(y):
        raise ReplibError(f"The diagonal pairs images one by one but there are {len(x)} and {len(y)}; give as many of one as of the other.")
    parameters = dict(net.named_parameters()) if parameters is None else dict(parameters)
    limit = LIMIT.get(x.device.type, LIMIT["cpu"]) if limit is None else limit
    masks = {n: m for n, m in (masks or {}).items() if not m.all()}  # a layer that is whole factorises
    return _WAYS[how](net, parameters, masks, x, y, entries, limit)


# ---- all of J -----------------------------------------------------------------------------------------------------------------------
def jacobian(net: nn.Module, parameters: Parameters, x: Tensor) -> dict[str, Tensor]:
    """∂f(x)/∂θ of each parameter, (N, K, *its shape)."""
    return vmap(jacrev(_single(net)), (None, 0))(dict(parameters), x)


def _single(net: nn.Module) -> Callable[[Parameters, Tensor], Tensor]:
    return lambda p, image: functional_call(net, p, (image[None],))[0]


def _by_jacobian(net: nn.Module, parameters: Parameters, masks: Parameters, x: Tensor, y: Tensor, entries: Entries, limit: float) -> Tensor:
    outputs, count = _outputs(net, parameters, x), sum(p.numel() for p in parameters.values())
    _refuse(lambda n, m: x.element_size() * outputs * (2 * n + m) * count, len(x), len(y), limit)
    rows = jacobian(net, parameters, x)
    columns = rows if x is y else jacobian(net, parameters, y)
    found: Tensor | float = 0.0
    for name, j in rows.items():
        j = j * masks[name] if name in masks else j
        found = found + _contracted(j.flatten(2), columns[name].flatten(2), entries)
    return found


def _contracted(rows: Tensor, columns: Tensor, entries: Entries) -> Tensor:
    """Sums over the last axis of Jacobians (N, K, p) and (M, K, p): of all pairs, (N, K, M, K), or of equal ones, (N, K)."""
    return (rows * columns).sum(-1) if entries == "diagonal" else torch.einsum("nip,mjp->nimj", rows, columns)


# ---- vector products ----------------------------------------------------------------------------------------------------------------
def _by_products(net: nn.Module, parameters: Parameters, masks: Parameters, x: Tensor, y: Tensor, entries: Entries, limit: float) -> Tensor:
    outputs, count = _outputs(net, parameters, x), sum(p.numel() for p in parameters.values())
    directions = torch.eye(outputs, dtype=x.dtype, device=x.device)

    def column(rows: Tensor, image: Tensor, direction: Tensor) -> Tensor:
        """J(rows) J(image)ᵀ direction."""
        _, pull = vjp(lambda p: _single(net)(p, image), parameters)
        (v,) = pull(direction)
        v = {name: g * masks[name] if name in masks else g for name, g in v.items()}
        return jvp(lambda p: functional_call(net, p, (rows,)), (parameters,), (v,))[1]

    at_once = max(1, int(limit / (4 * x.element_size() * outputs * count)))
    if entries == "diagonal":
        own = vmap(vmap(lambda r, c, d: column(r[None], c, d)[0], (None, None, 0)), (0, 0, None), chunk_size=at_once)(x, y, directions)
        return own.diagonal(dim1=1, dim2=2)
    return vmap(vmap(column, (None, None, 0)), (None, 0, None), chunk_size=at_once)(x, y, directions).permute(2, 3, 0, 1)


def _outputs(net: nn.Module, parameters: Parameters, x: Tensor) -> int:
    with torch.no_grad():
        return functional_call(net, dict(parameters), (x[:1],)).shape[1]


# ---- layer by layer -----------------------------------------------------------------------------------------------------------------
Traced = dict[str, tuple[nn.Module, Tensor, Tensor]]
"""By the weight's name: the module, its input (N, ...) and the gradient of every output by what it computes, (N, K, ...)."""


def _trace(net: nn.Module, parameters: Parameters, x: Tensor) -> Traced:
    seen: dict[str, tuple[nn.Module, Tensor, Tensor]] = {}

    def hook(name: str) -> Callable[..., None]:
        def note(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
            _check_layer(name, module, name in seen)
            seen[name] = (module, inputs[0], out)

        return note

    layers = [(f"{name}.weight".lstrip("."), m) for name, m in net.named_modules() if next(m.parameters(recurse=False), None) is not None]
    handles = [m.register_forward_hook(hook(name)) for name, m in layers]
    learned = torch.is_grad_enabled() and any(p.requires_grad for p in parameters.values())
    try:
        with torch.enable_grad():
            # Without a parameter to learn it is the images that tie outputs to layers.
            logits = functional_call(net, dict(parameters), (x if learned else x.detach().requires_grad_(True),))
            basis = torch.eye(logits.shape[1], dtype=x.dtype, device=x.device)[:, None].expand(-1, *logits.shape)
            computed = [out for _, _, out in seen.values()]
            gradients = torch.autograd.grad(logits, computed, basis, is_grads_batched=True, create_graph=learned)
    finally:
        for handle in handles:
            handle.remove()
    keep = (lambda t: t) if learned else Tensor.detach
    pairs = zip(seen.items(), gradients, strict=True)
    return {name: (module, keep(inputs), keep(g.transpose(0, 1))) for (name, (module, inputs, _)), g in pairs}


def _check_layer(name: str, module: nn.Module, again: bool) -> None:
    what = ""
    if not isinstance(module, nn.Linear | nn.Conv2d | _BatchNorm):
        what = f"is a {type(module).__name__}"
    elif again:
        what = "is used twice"
    elif isinstance(module, nn.Conv2d) and (module.groups != 1 or module.padding_mode != "zeros" or isinstance(module.padding, str)):
        what = "is a convolution with groups or unusual padding"
    if what:
        raise ReplibError(f"The layer of {name} {what}, for which there is no closed form here; ask for how='products' or 'jacobian'.")


def _by_layers(net: nn.Module, parameters: Parameters, masks: Parameters, x: Tensor, y: Tensor, entries: Entries, limit: float) -> Tensor:
    rows = _trace(net, parameters, x)
    columns = rows if x is y else _trace(net, parameters, y)
    _refuse(lambda n, m: x.element_size() * _floats(rows, masks, n, m, entries), len(x), len(y), limit)
    found: Tensor | float = 0.0
    for name, (module, h, d) in rows.items():
        mask, (_, h2, d2) = masks.get(name), columns[name]
        if isinstance(module, nn.Linear):
            found = found + _linear(h, d, h2, d2, mask, module.bias is not None, entries)
        else:
            found = found + _contracted(_own_jacobian(module, h, d, mask), _own_jacobian(module, h2, d2, None), entries)
    return found


def _linear(h: Tensor, d: Tensor, h2: Tensor, d2: Tensor, mask: Tensor | None, bias: bool, entries: Entries) -> Tensor:
    """Σ_ba m_ba h_a h̃_a δ_b δ̃_b and, of the bias, Σ_b δ_b δ̃_b: inputs h (N, A), gradients δ (N, K, B), mask m (B, A)."""
    if entries == "diagonal":
        both = (h * h2).sum(1)[:, None] if mask is None else (h * h2) @ mask.to(h).T  # (N, 1) or (N, B)
        return (d * d2 * (both + bias)[:, None]).sum(-1)
    if mask is None:  # factorises
        return torch.einsum("nm,nimj->nimj", h @ h2.T + bias, torch.einsum("nib,mjb->nimj", d, d2))
    n, m, k = len(h), len(h2), d.shape[1]
    both = (h2[:, None] * h).flatten(0, 1) @ mask.to(h).T + bias  # Σ_a m_ba h_a h̃_a, (M N, B)
    weighted = both.view(m, n, 1, -1) * d
    return torch.bmm(weighted.flatten(1, 2), d2.transpose(1, 2)).view(m, n, k, k).permute(1, 2, 0, 3)


def _own_jacobian(module: nn.Module, h: Tensor, d: Tensor, mask: Tensor | None) -> Tensor:
    """∂f/∂(parameters of a convolution or batch normalisation), (N, K, p), the weights' part times `mask`."""
    if isinstance(module, nn.Conv2d):
        patches = F.unfold(h, module.kernel_size, module.dilation, module.padding, module.stride)  # (N, A k k, positions)
        by_weight = torch.einsum("nibs,nas->niba", d.flatten(3), patches)
        by_weight = by_weight if mask is None else by_weight * mask.flatten(1)
        parts = [by_weight.flatten(2)] + [d.flatten(3).sum(-1)] * (module.bias is not None)
    else:
        view = (1, -1, *[1] * (h.dim() - 2))
        scaled = (h - module.running_mean.view(view)) * torch.rsqrt(module.running_var.view(view) + module.eps)
        flat = d.flatten(3) if h.dim() > 2 else d[..., None]
        parts = [(flat * scaled.flatten(2).view(len(h), 1, h.shape[1], -1)).sum(-1), flat.sum(-1)]
    return torch.cat(parts, -1)


def _floats(traced: Traced, masks: Parameters, n: int, m: int, entries: Entries) -> float:
    """Numbers in the intermediate tensors of `n` by `m` images, all layers together: a backward pass needs them all."""
    total = 0.0
    for name, (module, h, d) in traced.items():
        k, weight = d.shape[1], math.prod(module.weight.shape)
        if isinstance(module, nn.Linear):
            out, inputs = module.weight.shape
            if entries == "all":
                total += n * m * ((inputs + out * (k + 1)) * (name in masks) + 3 * k * k)
            else:
                total += n * (inputs + out * (2 * k + 1))
        else:
            patches = math.prod(module.kernel_size) * h.shape[1] * d[0, 0, 0].numel() if isinstance(module, nn.Conv2d) else h[0].numel()
            total += (n + m) * ((2 + (name in masks)) * k * weight + patches)
            total += n * m * k * k * (entries == "all")
    return total


def _refuse(needed: Callable[[int, int], float], n: int, m: int, limit: float) -> None:
    """Raise if `needed(n, m)` bytes are more than `limit`, naming the block that is not."""
    if needed(n, m) <= limit:
        return
    fits = max((b for b in range(1, min(n, m) + 1) if needed(b, b) <= limit), default=0)
    remedy = f"Compute it in blocks of at most {fits} images" if fits else "Not even one image fits: ask for how='products'"
    raise ReplibError(
        f"A tangent kernel of {n} by {m} images would take {needed(n, m) / 2**30:.3g} GiB and {limit / 2**30:.3g} are allowed. {remedy}."
    )


_WAYS = {"layers": _by_layers, "products": _by_products, "jacobian": _by_jacobian}
