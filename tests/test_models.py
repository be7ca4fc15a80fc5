"""Networks: sizes as published, initialisation from one generator, no dead weights, and the ways in which they will be
called.
"""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from replib.models import Net, small_dense, weight_shapes
from replib.models.build import build, prunable
from replib.models.spec import ARCHS
from replib.spec import ReplibError, SpecError, key

torch.set_num_threads(1)

SMALL = [
    (Net("preact_resnet_small"), (1, 8, 8)),
    (Net("preact_resnet_small", stages=4), (1, 14, 14)),
    (Net("preact_resnet_small", blocks=2), (1, 8, 8)),
    (Net("vgg_small"), (1, 8, 8)),
    (Net("vgg_small"), (3, 14, 14)),
    (Net("vgg_small", stages=4), (1, 28, 28)),
    (Net("bottleneck_small", stages=3), (1, 8, 8)),
    (Net("bottleneck_small"), (1, 14, 14)),
    (Net("densenet_small"), (1, 8, 8)),
    (Net("densenet_small"), (1, 14, 14)),
    (Net("preact_resnet_small", stem_stride=2), (1, 16, 16)),
    (Net("densenet_small", stem_stride=2), (1, 16, 16)),
    (Net("densenet_small", stem_stride=4), (1, 32, 32)),
    (Net("mlp_small"), (1, 8, 8)),
    (Net("cnn_small"), (1, 8, 8)),
    (Net("cnn_small"), (1, 14, 14)),
]
IDS = [f"{net.arch}-{len(net.depths)}x{net.depths[0]}-{shape[1]}-{net.stem_stride}" for net, shape in SMALL]


def make(net: Net, shape=(3, 32, 32), classes: int = 10, seed: int = 0) -> nn.Module:
    channels = shape[0]
    return build(
        net, classes=classes, shape=shape, mean=(0.4,) * channels, std=(0.25,) * channels,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arch", "classes", "shape", "parameters"),
    [
        ("preact_resnet18", 10, (3, 32, 32), 11_172_170),
        ("preact_resnet18", 100, (3, 32, 32), 11_218_340),
        ("preact_resnet18", 200, (3, 64, 64), 11_269_640),
        ("vgg16_bn", 10, (3, 32, 32), 14_728_266),
        ("vgg16_bn", 100, (3, 32, 32), 14_774_436),
        ("wide_resnet34_10", 10, (3, 32, 32), 46_160_474),
        ("resnet50", 1000, (3, 224, 224), 25_557_032),
        ("densenet40", 10, (3, 32, 32), 176_122),
        ("densenet40", 100, (3, 32, 32), 188_092),
        ("mlp", 10, (1, 28, 28), 266_610),
        ("cnn", 10, (1, 28, 28), 3_274_634),
        ("cnn", 10, (3, 32, 32), 4_259_274),
    ],
)
def test_full_nets_have_the_published_number_of_parameters(arch, classes, shape, parameters, monkeypatch):
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda weight, **_: weight)  # slow without storage, and not looked at
    with torch.device("meta"):
        model = make(Net(arch), shape, classes)
    assert sum(p.numel() for p in model.parameters()) == parameters
    shapes = {name: tuple(p.shape) for name, p in prunable(model).items()}
    assert list(shapes.items()) == list(weight_shapes(Net(arch), classes, shape).items())


def test_resnet50_counts_of_double_win_tickets():
    shapes = weight_shapes(Net("resnet50"), 1000, (3, 224, 224))
    convs = [math.prod(s) for s in shapes.values() if len(s) == 4]
    assert len(convs) == 53
    assert sum(convs) == 23_454_912


def test_densenet121_with_its_stem_is_torchvisions():
    torchvision = pytest.importorskip("torchvision")
    theirs = torchvision.models.densenet121(weights=None, num_classes=200).eval()
    ours = make(Net("densenet121", stem_stride=4), (3, 64, 64), 200)
    assert sum(p.numel() for p in ours.parameters()) == 7_158_856
    own = {name: t for name, t in ours.state_dict().items() if not name.startswith("normalize")}
    values = theirs.state_dict().values()
    assert [t.shape for t in own.values()] == [t.shape for t in values]
    ours.load_state_dict(dict(zip(own, values, strict=True)), strict=False)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours.eval()(x), theirs((x - 0.4) / 0.25), atol=1e-4, rtol=1e-4)


def test_a_stem_that_a_network_has_not_is_refused():
    for net, stride in (("preact_resnet18", 4), ("vgg16_bn", 2), ("densenet121", 3)):
        with pytest.raises(SpecError, match=f"stem_stride = {stride} is not defined for {net}"):
            Net(net, stem_stride=stride)


@pytest.mark.slow
def test_pixels_are_standardised_where_the_network_says_so():
    net = make(Net("mlp_small", standardise=(0.2, 0.5)), (1, 8, 8), 3)
    plain = make(Net("mlp_small"), (1, 8, 8), 3)
    x = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(net.eval()(x), plain.eval()((x - 0.2) / 0.5 * plain.normalize.std + plain.normalize.mean))
    with pytest.raises(SpecError, match=r"Net\.standardise"):
        Net("mlp_small", standardise=(0.2, 0.0))


def test_resnet50_is_torchvisions():
    torchvision = pytest.importorskip("torchvision")
    theirs = torchvision.models.resnet50(weights=None, num_classes=7).eval()
    ours = make(Net("resnet50"), (3, 64, 64), 7).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs((x - 0.4) / 0.25), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("net", "shape"), SMALL, ids=IDS)
def test_small_nets_answer_in_every_way_of_calling(net, shape):
    model = make(net, shape, 7)
    assert {n: tuple(p.shape) for n, p in prunable(model).items()} == weight_shapes(net, 7, shape)
    x = torch.rand(6, *shape)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    out = model(x)
    assert out.shape == (6, 7)
    model.load_state_dict(state)
    torch.testing.assert_close(functional_call(model, dict(model.named_parameters()), (x,)), out)
    model.load_state_dict(state)
    cl = model.to(memory_format=torch.channels_last)
    torch.testing.assert_close(cl(x.contiguous(memory_format=torch.channels_last)), out, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("arch", [arch for arch in ARCHS if arch.endswith("_small")])
def test_small_nets_compile_to_one_graph(arch):
    model = make(Net(arch), (1, 16, 16)).eval()
    x = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(x), model(x))


@pytest.mark.parametrize(("net", "shape"), SMALL, ids=IDS)
def test_no_prunable_weight_is_structurally_dead(net, shape):
    alive = {name: torch.zeros(s, dtype=torch.bool) for name, s in weight_shapes(net, 10, shape).items()}
    g = torch.Generator().manual_seed(1)
    seeds = 10 if net.family == "cnn" else 4  # without batch norm, units are often off
    for seed in range(seeds):  # over initialisations: a unit may be off by chance, a dead weight is dead in all of them
        model = make(net, shape, seed=seed)
        weights = prunable(model)
        x, y = torch.rand(48, *shape, generator=g), torch.randint(0, 10, (48,), generator=g)
        grads = torch.autograd.grad(F.cross_entropy(model((x - 0.5) * 4 + 0.5), y), list(weights.values()))
        for name, grad in zip(weights, grads, strict=True):
            alive[name] |= grad != 0
    dead = {name: int((~a).sum()) for name, a in alive.items() if not a.all()}
    assert not dead


@pytest.mark.parametrize(
    ("net", "side"),
    [
        (Net("preact_resnet_small", stages=4), 8),
        (Net("preact_resnet18"), 8),
        (Net("vgg_small", stages=4), 14),
        (Net("vgg16_bn"), 28),
        (Net("bottleneck_small"), 8),
        (Net("cnn_small"), 5),
    ],
)
def test_nets_too_deep_for_the_image_are_refused(net, side):
    with pytest.raises(ReplibError, match=r"padding; use .*larger images"):
        make(net, (1, side, side))


def test_the_refused_net_would_indeed_have_dead_weights(monkeypatch):
    monkeypatch.setattr("replib.models.build.refuse_dead_weights", lambda net, shape: None)
    model = make(Net("preact_resnet_small", stages=4), (1, 8, 8))
    model(torch.rand(32, 1, 8, 8)).square().sum().backward()
    kernel = prunable(model)["stages.3.0.conv2.weight"].grad
    assert (kernel[:, :, 1, 1] != 0).any()
    kernel[:, :, 1, 1] = 0
    assert (kernel == 0).all()


def test_equal_generators_give_equal_weights_and_leave_the_global_one_alone():
    before = torch.get_rng_state()
    a, b, c = (make(Net("preact_resnet_small"), (1, 8, 8), seed=s) for s in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    assert not torch.equal(a.stem.weight, c.stem.weight)
    g = torch.Generator().manual_seed(3)
    first, second = (build(Net("mlp_small"), classes=2, shape=(1, 4, 4), mean=(0,), std=(1,), generator=g) for _ in range(2))
    assert not torch.equal(first.fc1.weight, second.fc1.weight)  # the generator advances


def test_initialisation_is_pytorchs_default():
    w = make(Net("vgg_small"), (1, 8, 8)).convs[5].weight.detach()
    bound = 1 / math.sqrt(64 * 9)  # kaiming_uniform with a = sqrt(5)
    assert w.abs().max() <= bound
    assert w.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_normalisation_comes_first_and_is_no_weight():
    model = make(Net("preact_resnet_small"), (3, 8, 8))
    first = next(iter(model.children()))
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(first(x), (x - 0.4) / 0.25)
    assert not any(name.startswith("normalize") for name in model.state_dict())


def test_preactivation_block_by_hand():
    model = make(Net("preact_resnet_small", stages=2), (1, 8, 8)).eval()
    identity, projected = model.stages[0][0], model.stages[1][0]
    assert identity.shortcut is None
    x = torch.randn(2, 16, 8, 8)
    eps = math.sqrt(1 + 1e-5)  # batch norm in evaluation mode right after initialisation
    for block, stride in ((identity, 1), (projected, 2)):
        h = F.relu(x / eps)
        inner = F.conv2d(h, block.conv1.weight, stride=stride, padding=1)
        out = F.conv2d(F.relu(inner / eps), block.conv2.weight, padding=1)
        short = x if stride == 1 else F.conv2d(h, block.shortcut.weight, stride=2)
        torch.testing.assert_close(block(x), out + short)


def test_prunable_scopes():
    model = make(Net("cnn_small"), (1, 8, 8))
    assert list(prunable(model)) == ["conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight"]
    assert list(prunable(model, "conv")) == ["conv1.weight", "conv2.weight"]
    assert prunable(model)["fc2.weight"] is model.fc2.weight
    with pytest.raises(SpecError, match="Did you mean 'conv'"):
        prunable(model, "convs")


@pytest.mark.parametrize(
    ("density", "scale", "widths", "weights"),
    [
        (0.05, 0.223, (14, 29, 57, 114), 555_466),
        (0.1, 0.316, (20, 40, 81, 162), 1_117_115),
        (0.2, 0.448, (29, 57, 115, 229), 2_239_484),
        (0.6, 0.775, (50, 99, 198, 397), None),
        (0.8, 0.895, (57, 115, 229, 458), None),
    ],
)
def test_small_dense_of_the_paper(density, scale, widths, weights):
    net = small_dense(Net(), density, 10, (3, 32, 32))
    assert net.scale == scale
    assert net.widths == widths
    total = sum(map(math.prod, weight_shapes(net, 10, (3, 32, 32)).values()))
    assert total / 11_164_352 == pytest.approx(density, abs=6.2e-4)
    if weights is not None:
        assert total == weights


@pytest.mark.parametrize("density", [0.05, 0.1, 0.2, 0.5, 1.0])
@pytest.mark.parametrize(("net", "shape"), [SMALL[i] for i in (0, 1, 3, 7, 8, 10, 12)], ids=[IDS[i] for i in (0, 1, 3, 7, 8, 10, 12)])
def test_small_dense_is_the_nearest_scale(net, shape, density):
    def count(n: Net) -> int:
        return sum(map(math.prod, weight_shapes(n, 10, shape).values()))

    found = small_dense(net, density, 10, shape)
    target = density * count(net)
    every = [abs(count(replace(net, scale=i / 1000)) - target) for i in range(1, 1001)]
    assert abs(count(found) - target) == min(every)
    if density == 1:
        assert found == net
    assert sum(p.numel() for p in prunable(make(found, shape)).values()) == count(found)


def test_channel_counts_of_a_pruned_net():
    net = Net("vgg_small", channels=(5, 16, 7, 32, 9, 11))
    model = make(net, (1, 8, 8))
    assert [c.out_channels for c in model.convs] == [5, 16, 7, 32, 9, 11]
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    block = make(Net("preact_resnet_small", channels=(3, 5, 7)), (1, 8, 8)).stages[1][0]
    assert (block.conv1.out_channels, block.conv2.in_channels, block.conv2.out_channels) == (5, 5, 32)
    with pytest.raises(SpecError, match="2 entries"):
        Net("vgg_small", channels=(5, 16))
    with pytest.raises(SpecError, match="not defined for mlp"):
        Net("mlp", channels=(5,))


def test_specs_say_what_is_wrong_and_have_one_key():
    with pytest.raises(SpecError, match="Did you mean 'preact_resnet_small'"):
        Net("preact_resnet_smal")
    with pytest.raises(SpecError, match="fixed shape"):
        Net("preact_resnet18", width=16)
    with pytest.raises(SpecError, match="not defined for cnn_small"):
        Net("cnn_small", stages=3)
    with pytest.raises(SpecError, match=r"Net\.width"):
        Net("vgg_small", width=0)
    assert key(Net("preact_resnet_small", width=16, stages=3, blocks=1)) == key(Net("preact_resnet_small"))
    assert key(Net("preact_resnet_small", width=17)) != key(Net("preact_resnet_small"))
    assert Net("vgg16_bn", width=64) == Net("vgg16_bn")
    assert all(Net(arch).arch == arch for arch in ARCHS)


def test_choosing_a_net_needs_no_torch():
    code = "import sys, replib.models, replib.sparsity.quotas; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
