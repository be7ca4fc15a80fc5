"""Tangent kernels: closed forms, three implementations that agree, what a step of gradient descent does, and limits on memory."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from replib.models import Net
from replib.models.build import build
from replib.models.tangent import tangent_kernel
from replib.spec import ReplibError

HOWS = ("layers", "products", "jacobian")
NETS = {
    "mlp_small": (Net("mlp_small", width=5), (1, 6, 6)),
    "cnn_small": (Net("cnn_small", width=3), (2, 12, 12)),
    "vgg_small": (Net("vgg_small", width=4, stages=2), (1, 8, 8)),
    "preact_resnet_small": (Net("preact_resnet_small", width=4, stages=2), (1, 6, 6)),
}


def network(name: str, seed: int = 0) -> nn.Module:
    """In float64 and eval mode, with statistics and scales of batch normalisation that are not those of the first step."""
    spec, shape = NETS[name]
    g = torch.Generator().manual_seed(seed)
    net = build(spec, classes=4, shape=shape, mean=(0.1,) * shape[0], std=(0.3,) * shape[0], generator=g).double().eval()
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, nn.BatchNorm2d):
                for t in (m.running_mean, m.weight, m.bias):
                    t.copy_(torch.randn(t.shape, generator=g, dtype=t.dtype))
                m.running_var.copy_(0.5 + torch.rand(m.running_var.shape, generator=g, dtype=torch.float64))
    return net


def drawn(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(name: str, n: int, seed: int = 1) -> Tensor:
    return torch.rand(n, *NETS[name][1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def masks_of(net: nn.Module, density: float = 0.5) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(2)
    return {n: torch.rand(p.shape, generator=g) < density for n, p in net.named_parameters() if p.ndim in (2, 4)}


def masked(net: nn.Module, masks: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n: p * masks[n] if n in masks else p for n, p in net.named_parameters()}


# ---- closed forms -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("bias", [False, True])
def test_the_kernel_of_a_linear_map_is_the_gram_matrix(how, bias):
    net = nn.Linear(7, 3, bias=bias).double().eval()
    x, y = drawn(5, 7), drawn(4, 7)
    expected = torch.einsum("nm,ij->nimj", x @ y.T + bias, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(tangent_kernel(net, x, y, how=how), expected)


@pytest.mark.parametrize("how", HOWS)
def test_a_mask_leaves_what_it_keeps_of_the_inner_product(how):
    net, mask = nn.Linear(7, 3, bias=False).double().eval(), drawn(3, 7, seed=4) < 0
    x, y = drawn(5, 7), drawn(4, 7)
    expected = torch.einsum("ia,na,ma,ij->nimj", mask.double(), x, y, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(tangent_kernel(net, x, y, masks={"weight": mask}, how=how), expected)


# ---- three ways ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("sparse", [False, True])
def test_three_ways_give_one_kernel_and_one_gradient(name, sparse):
    net, x, y = network(name), images(name, 3), images(name, 2, 5)
    masks = masks_of(net) if sparse else {}
    parameters, found = list(net.parameters()), {}
    for how in HOWS:
        kernel = tangent_kernel(net, x, y, parameters=masked(net, masks), masks=masks, how=how)
        assert kernel.shape == (3, 4, 2, 4)
        found[how] = (kernel, torch.autograd.grad((kernel**3).sum(), parameters, materialize_grads=True))
    for how in HOWS[1:]:
        torch.testing.assert_close(found[how][0], found["layers"][0], rtol=1e-10, atol=1e-10)
        for a, b in zip(found[how][1], found["layers"][1], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10 * float(b.abs().max()) + 1e-12)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("sparse", [False, True])
def test_the_sampled_diagonal_is_the_diagonal(name, how, sparse):
    net, x, y = network(name), images(name, 3), images(name, 3, 5)
    masks = masks_of(net) if sparse else {}
    whole = tangent_kernel(net, x, y, parameters=masked(net, masks), masks=masks)
    diagonal = tangent_kernel(net, x, y, parameters=masked(net, masks), masks=masks, how=how, entries="diagonal")
    torch.testing.assert_close(diagonal, torch.einsum("nini->ni", whole), rtol=1e-10, atol=1e-10)


def test_masks_count_coordinates_and_parameters_compute():
    """The mask of the Jacobian and that of the weights are two things: without the first, pruned weights count as trained."""
    net, x = network("mlp_small"), images("mlp_small", 3)
    masks = masks_of(net)
    all_coordinates = tangent_kernel(net, x, parameters=masked(net, masks))
    trained = tangent_kernel(net, x, parameters=masked(net, masks), masks=masks)
    rest = tangent_kernel(net, x, parameters=masked(net, masks), masks={n: ~m for n, m in masks.items()})
    biases = tangent_kernel(net, x, parameters=masked(net, masks), masks={n: torch.zeros_like(m) for n, m in masks.items()})
    torch.testing.assert_close(trained + rest - biases, all_coordinates)
    assert (trained - all_coordinates).abs().max() > 1e-3


# ---- mathematics --------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NETS)
def test_symmetric_positive_semidefinite_and_transposed(name):
    net, x, y = network(name), images(name, 4), images(name, 3, 5)
    kernel = tangent_kernel(net, x)
    matrix = kernel.reshape(16, 16)
    torch.testing.assert_close(matrix, matrix.T)
    values = torch.linalg.eigvalsh(matrix)
    assert values[0] >= -1e-8 * values[-1]
    mixed = tangent_kernel(net, x, y)
    torch.testing.assert_close(mixed.permute(2, 3, 0, 1), tangent_kernel(net, y, x))
    torch.testing.assert_close(tangent_kernel(net, x, x.clone()), kernel)  # images that no attack has moved


@pytest.mark.parametrize("sparse", [False, True])
def test_a_small_step_of_adversarial_training_moves_clean_outputs_as_the_mixed_kernel_says(sparse):
    """f_{θ - ηg}(X) - f_θ(X) = -(η/N) Θ(X, X̃) r + O(η²) for squared loss at X̃ with residuals r (D, equation 10)."""
    net, rate = network("cnn_small"), 1e-5
    x = images("cnn_small", 4)
    moved = (x + 0.1 * drawn(*x.shape)).clamp(0, 1)
    masks = masks_of(net) if sparse else {}
    start = {n: p.detach() for n, p in masked(net, masks).items()}
    leaves = {n: p.clone().requires_grad_(True) for n, p in start.items()}
    wanted = drawn(4, 4)
    outputs = functional_call(net, leaves, (moved,))
    gradients = torch.autograd.grad((outputs - wanted).square().sum() / (2 * len(x)), list(leaves.values()))
    after = {n: p - rate * (g * masks[n] if n in masks else g) for (n, p), g in zip(start.items(), gradients, strict=True)}
    with torch.no_grad():
        change = functional_call(net, after, (x,)) - functional_call(net, start, (x,))
    kernel = tangent_kernel(net, x, moved, parameters=start, masks=masks)
    predicted = -rate / len(x) * torch.einsum("nimj,mj->ni", kernel, outputs.detach() - wanted)
    assert (change - predicted).norm() < 1e-3 * predicted.norm()


def test_a_kernel_without_gradients_keeps_no_graph():
    net = network("mlp_small")
    with torch.no_grad():
        kernel = tangent_kernel(net, images("mlp_small", 2))
    assert not kernel.requires_grad
    assert torch.equal(kernel, tangent_kernel(net.requires_grad_(False), images("mlp_small", 2)))


# ---- refusals -----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["layers", "jacobian"])
@pytest.mark.parametrize("name", ["mlp_small", "vgg_small"])
def test_what_does_not_fit_is_refused_before_it_is_made_with_the_block_that_fits(how, name):
    net, limit = network(name), 3e5
    x = images(name, 40)
    arguments = {"masks": masks_of(net), "how": how, "limit": limit}
    with pytest.raises(ReplibError, match="blocks of at most") as refused:
        tangent_kernel(net, x, **arguments)
    fits = int(re.search(r"at most (\d+) images", str(refused.value))[1])
    assert 1 <= fits < 40
    tangent_kernel(net, x[:fits], x[:fits].clone(), **arguments)
    with pytest.raises(ReplibError, match=f"at most {fits} images"):
        tangent_kernel(net, x[: fits + 1], x[: fits + 1].clone(), **arguments)
    with pytest.raises(ReplibError, match="Not even one image fits: ask for how='products'"):
        tangent_kernel(net, x[:1], **(arguments | {"limit": 10}))


def test_layers_without_a_closed_form_are_refused_and_the_other_ways_take_them():
    x = drawn(2, 2, 4, 4)
    shared = nn.Linear(8, 8)
    strange = {
        "is a GroupNorm": nn.Sequential(nn.GroupNorm(1, 2), nn.Flatten(), nn.Linear(32, 3)),
        "groups": nn.Sequential(nn.Conv2d(2, 2, 3, groups=2), nn.Flatten(), nn.Linear(8, 3)),
        "used twice": nn.Sequential(nn.Flatten(), nn.Linear(32, 8), shared, nn.Tanh(), shared),
    }
    for words, net in strange.items():
        net = net.double().eval()
        with pytest.raises(ReplibError, match=f"{words}.*ask for how='products'"):
            tangent_kernel(net, x)
        torch.testing.assert_close(tangent_kernel(net, x, how="products"), tangent_kernel(net, x, how="jacobian"))


def test_networks_in_training_mode_and_unequal_pairs_are_refused():
    net, x = network("vgg_small"), images("vgg_small", 3)
    with pytest.raises(ReplibError, match=r"call net\.eval\(\) first"):
        tangent_kernel(net.train(), x)
    with pytest.raises(ReplibError, match="one by one but there are 3 and 2"):
        tangent_kernel(net.eval(), x, x[:2], entries="diagonal")
