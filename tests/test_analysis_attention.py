"""Grad-CAM and SmoothGrad: closed forms, and whole jobs through the runner."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from replib.analysis.attention import (
    SHOWN,
    Attention,
    entropy,
    grad_cam,
    half_area,
    last_layer,
    numbers,
    on_object,
    run_attention,
    smooth_grad,
    stretched,
)  # fmt: skip
from replib.attacks import PGD
from replib.attacks.evaluate import evaluate
from replib.data.load import load
from replib.experiments.jobs import execute
from replib.experiments.profiles import SMOKE
from replib.experiments.runner import run
from replib.models import Net
from replib.models.build import build
from replib.spec import Pinned, ReplibError, SpecError, stream_seed, task
from replib.store import Store
from replib.store.context import Context
from replib.training import networks

RECIPE = SMOKE.recipe("CIFAR-10", "ResNet-18")
SPLIT = load(RECIPE.data)
DENSE = RECIPE.pgd_at(epochs=1)
JOB = Attention(DENSE, PGD(0.2, 2), images=12, object_above=0.5, samples=3)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Pooled(nn.Module):
    """Convolution, global average pooling and a linear layer: the network of the original class activation maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))


@pytest.fixture
def pooled():
    torch.manual_seed(0)
    return Pooled()


@pytest.fixture
def images():
    return torch.rand(6, 1, 8, 8, generator=rng(1)), torch.tensor([0, 1, 2, 0, 1, 2])


# ---- maps -----------------------------------------------------------------------------------------------------------------------------
def test_grad_cam_before_average_pooling_is_the_class_activation_map(pooled, images):
    x, classes = images
    with torch.no_grad():
        features = pooled.conv(x)
        cam = F.relu(torch.einsum("bk,bkij->bij", pooled.fc.weight[classes], features)) / features[0, 0].numel()
        wanted = stretched(F.interpolate(cam[:, None], (8, 8), mode="bilinear")[:, 0])
    found = grad_cam(pooled, pooled.conv, x, classes)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert found.amax((1, 2)).tolist() == [1.0] * 6
    assert found.amin() == 0


def test_grad_cam_is_of_the_class_that_is_asked_for(pooled, images):
    x, classes = images
    assert not torch.allclose(grad_cam(pooled, pooled.conv, x, classes), grad_cam(pooled, pooled.conv, x, (classes + 1) % 3))


def test_a_class_that_nothing_speaks_for_has_an_empty_map(pooled, images):
    x, classes = images
    with torch.no_grad():
        pooled.fc.weight.copy_(-pooled.fc.weight.abs())
        pooled.conv.weight.abs_()
        pooled.conv.bias.abs_()
    assert not grad_cam(pooled, pooled.conv, x, classes).any()


@pytest.mark.parametrize(("samples", "noise"), [(1, 0.0), (1, 0.3), (7, 0.15)])
def test_smooth_grad_of_a_linear_model_is_the_size_of_its_weights(samples, noise):
    linear = nn.Sequential(nn.Flatten(), nn.Linear(2 * 64, 3))
    nn.init.normal_(linear[1].weight, generator=rng(2))
    x, classes = torch.rand(3, 2, 8, 8, generator=rng(3)), torch.tensor([2, 0, 1])
    sizes = linear[1].weight.detach()[classes].view(3, 2, 8, 8).abs().mean(1)
    wanted = stretched(sizes.minimum(sizes.flatten(1).quantile(0.99, dim=1)[:, None, None]))
    torch.testing.assert_close(smooth_grad(linear, x, classes, rng(), samples=samples, noise=noise), wanted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(wanted, stretched(sizes))  # the brightest pixel was cut


def test_gradients_are_averaged_before_their_size_is_taken():
    """Around the bottom of a parabola gradients of noisy copies cancel; their sizes would not."""

    class Parabola(nn.Module):
        def forward(self, x):
            return (x - 0.5).square().sum((1, 2, 3))[:, None]

    x = torch.full((1, 1, 4, 4), 0.5)
    x[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    found = smooth_grad(Parabola(), x, torch.tensor([0]), rng(), samples=400, noise=0.5)
    assert found[0, 0, :2].min() > 0.9
    assert found[0, 1:].max() < 0.2  # 0.5 * sqrt(2 / pi) / 0.5 = 0.8 if sizes were averaged


def test_noise_is_a_share_of_each_images_own_range():
    """A flat image gets no noise, the other one its share."""
    seen = []

    class Watched(nn.Module):
        def forward(self, x):
            seen.append(x.detach().clone())
            return x.flatten(1)

    x = torch.full((2, 1, 4, 4), 0.5)
    x[1, 0, :2] = 0.1
    smooth_grad(Watched(), x, torch.tensor([0, 1]), rng(), samples=400, noise=0.5)
    noise = torch.stack(seen) - x
    assert (noise[:, 0] == 0).all()
    assert noise[:, 1].std().item() == pytest.approx(0.5 * 0.4, rel=0.03)
    assert noise[:, 1].mean().item() == pytest.approx(0, abs=0.01)


def test_maps_leave_gradients_flags_and_the_global_generator_alone(pooled, images):
    x, classes = images
    pooled.train()
    before = torch.get_rng_state()
    first = smooth_grad(pooled, x, classes, rng(4), samples=2)
    grad_cam(pooled, pooled.conv, x, classes)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None and p.requires_grad for p in pooled.parameters())
    assert pooled.training
    assert not x.requires_grad
    assert not first.requires_grad


def test_stretching_ends_at_zero_and_one_and_keeps_zeros():
    maps = torch.stack([torch.tensor([[2.0, 3.0], [4.0, 6.0]]), torch.zeros(2, 2), torch.full((2, 2), 7.0), torch.eye(2) * 1e-30])
    wanted = torch.stack([torch.tensor([[0, 0.25], [0.5, 1]]), torch.zeros(2, 2), torch.ones(2, 2), torch.eye(2)])
    torch.testing.assert_close(stretched(maps), wanted)


@pytest.mark.parametrize(("arch", "side"), [("preact_resnet_small", 7), ("vgg_small", 7), ("bottleneck_small", 4), ("densenet_small", 7)])
def test_the_last_layer_is_the_last_map_of_each_architecture(arch, side):
    net = build(Net(arch), classes=10, shape=(1, 28, 28), mean=(0.5,), std=(0.5,), generator=rng()).eval()
    seen = []
    last_layer(net).register_forward_hook(lambda m, i, out: seen.append(out))
    net(torch.rand(2, 1, 28, 28))
    (last,) = seen
    assert last.shape[2:] == (side, side)
    assert last.shape[1] == next(m for m in net.modules() if isinstance(m, nn.Linear)).in_features


def test_a_network_without_maps_is_refused():
    net = build(Net("mlp_small"), classes=10, shape=(1, 8, 8), mean=(0.5,), std=(0.5,), generator=rng())
    with pytest.raises(ReplibError, match="no convolution"):
        last_layer(net)


# ---- numbers --------------------------------------------------------------------------------------------------------------------------
def one_hot():
    maps = torch.zeros(1, 4, 4)
    maps[0, 1, 2] = 0.3
    return maps


def test_entropy_is_zero_for_one_pixel_one_for_all_and_a_half_for_their_root():
    assert entropy(one_hot()).item() == 0
    assert entropy(torch.full((1, 4, 4), 0.2)).item() == pytest.approx(1)
    four = torch.zeros(1, 4, 4)
    four[0, 0] = 0.7
    assert entropy(four).item() == pytest.approx(math.log(4) / math.log(16))


def test_half_area_counts_pixels_from_half_the_maximum_on():
    maps = torch.tensor([[[0.8, 0.4], [0.39, 0.0]]])
    assert half_area(maps).item() == 0.5
    assert half_area(one_hot()).item() == pytest.approx(1 / 16)
    assert half_area(torch.ones(1, 3, 3)).item() == 1


def test_mass_on_the_object_is_counted_beyond_its_size():
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 1, 1:3] = True  # an eighth
    assert on_object(torch.full((1, 4, 4), 0.4), mask).item() == pytest.approx(0)
    assert on_object(one_hot(), mask).item() == pytest.approx(1 - 1 / 8)
    assert on_object(one_hot().flip(1), mask).item() == pytest.approx(-1 / 8)


def test_empty_maps_have_no_numbers():
    maps, mask = torch.cat([torch.zeros(1, 4, 4), one_hot()]), torch.ones(2, 4, 4, dtype=torch.bool)
    found = numbers(maps, mask)
    assert set(found) == {"entropy", "half_area", "on_object"}
    for values in found.values():
        assert values.isnan().tolist() == [True, False]
    assert set(numbers(maps, None)) == {"entropy", "half_area"}


# ---- jobs -----------------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with one dense run of one epoch."""
    store = Store(tmp_path_factory.mktemp("runs"))
    assert not run([task(DENSE, 0)], store, show=False).failed
    return store


def results(store, job, seed=0):
    t = task(job, seed)
    execute(t, store)
    return store.results(t), store.arrays(t)


def net(store):
    return networks.trained(Context(store, task(DENSE, 0)), task(DENSE, 0), "final", SPLIT)


def test_a_job_reports_what_its_functions_say_of_the_first_test_images(made):
    found, arrays = results(made, JOB)
    x, y = SPLIT.test.x[:12], SPLIT.test.y[:12]
    model = net(made)
    by_hand = evaluate(model, x, y, JOB.attack, seed=stream_seed(0, "attention/attack"))
    assert found["images"] == 12
    assert found["accuracy"] == pytest.approx(by_hand.accuracy)
    assert arrays["true"].tolist() == y[:SHOWN].tolist()
    assert [p == t for p, t in zip(arrays["predicted"], arrays["true"], strict=True)] == by_hand.correct[:SHOWN].tolist()
    for name in ("clean", "images", "attention", "saliency"):
        assert arrays[name].dtype == np.float16
        assert arrays[name].shape == ((SHOWN, 8, 8) if name in ("attention", "saliency") else (SHOWN, 1, 8, 8))
    np.testing.assert_allclose(arrays["clean"], x[:SHOWN] / 255, atol=1e-3)
    assert 0.15 < np.abs(arrays["images"] - arrays["clean"]).max() < 0.201
    for kind in ("attention", "saliency"):
        assert arrays[kind].min((1, 2)).tolist() == [0] * SHOWN
        assert arrays[kind].max((1, 2)).tolist() == [1] * SHOWN
    shown, classes = torch.from_numpy(arrays["images"]).float(), torch.from_numpy(arrays["predicted"])
    again = grad_cam(model, last_layer(model), shown, classes)
    np.testing.assert_allclose(arrays["attention"], again, atol=0.02)


def test_the_numbers_of_a_job_are_means_over_all_its_images(made):
    found, arrays = results(made, replace(JOB, images=SHOWN))
    mask = SPLIT.test.x[:SHOWN, 0] > 127.5
    for kind in ("attention", "saliency"):
        maps = torch.from_numpy(arrays[kind]).float()
        for name, values in numbers(maps, mask).items():
            assert found[f"{kind}_{name}"] == pytest.approx(values.nanmean().item(), abs=0.03 if name == "half_area" else 3e-3)
        assert found[f"{kind}_empty"] == 0
    assert found["attention_entropy"] != results(made, JOB)[0]["attention_entropy"]


def test_photographs_have_no_number_on_the_object(made):
    found, _ = results(made, replace(JOB, object_above=None))
    plain = results(made, JOB)[0]
    assert {k for k in plain if k not in found} == {"attention_on_object", "saliency_on_object"}
    assert found["attention_entropy"] == plain["attention_entropy"]


def test_maps_of_the_true_class_are_others_where_the_attack_succeeded(made):
    _, predicted = results(made, JOB)
    _, true = results(made, replace(JOB, target="true"))
    wrong = predicted["predicted"] != predicted["true"]
    assert wrong.any()
    same = (predicted["attention"] == true["attention"]).all((1, 2))
    assert not same[wrong].any()
    assert same[~wrong].all()


def test_the_same_seed_gives_the_same_bits_and_another_one_other_noise(made):
    context = Context(made, task(JOB, 0))
    torch.manual_seed(1)
    first = run_attention(JOB, context)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = run_attention(JOB, context)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.results == second.results
    assert all(np.array_equal(first.arrays[k], second.arrays[k]) for k in first.arrays)
    other = results(made, replace(JOB, run=Pinned(DENSE, 0)), seed=1)[1]
    assert not np.array_equal(other["saliency"], first.arrays["saliency"])


@pytest.mark.parametrize("change", [{"images": 0}, {"samples": 0}, {"noise": -0.1}, {"object_above": 1.5}, {"target": "any"}])
def test_impossible_values_are_refused(change):
    with pytest.raises(SpecError, match=f"Attention.{next(iter(change))}"):
        replace(JOB, **change)
