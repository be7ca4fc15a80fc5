"""PGD and FGSM: constraints, closed forms on linear nets, and what an attack must leave alone."""

import copy

import pytest
import torch
from torch import nn

from replib.attacks import CW, FGSM, PGD, AutoAttack
from replib.attacks.losses import cross_entropy, margin
from replib.attacks.pgd import perturb
from replib.spec import ReplibError

torch.set_num_threads(1)
EPS = 8 / 255


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small_net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 5))
    for p in net.parameters():
        p.grad = torch.randn_like(p)
    return net


@pytest.fixture
def net():
    return small_net()


@pytest.fixture
def batch():
    g = seeded(1)
    x = torch.rand(16, 1, 6, 6, generator=g)
    x[:, :, 0] = 0.0  # some pixels on both ends of the box, so that it is active
    x[:, :, 1] = 1.0
    return x, torch.randint(0, 5, (16,), generator=g)


def linear(classes=2, pixels=12):
    """A linear net in float64 on images (B, 1, 1, pixels) around 0.5, where the box is never active for small radii."""
    g = seeded(2)
    net = nn.Sequential(nn.Flatten(), nn.Linear(pixels, classes)).double()
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(classes, pixels, generator=g))
        net[1].bias.copy_(torch.randn(classes, generator=g))
    x = 0.4 + 0.2 * torch.rand(32, 1, 1, pixels, generator=g).double()
    return net, x, net(x).argmax(dim=1)


ATTACKS = [
    PGD(EPS),
    PGD(EPS, steps=4, step=3.0),
    PGD(EPS, loss="margin", restarts=2),
    PGD(EPS, start="zero", bn="eval"),
    PGD(EPS, bn="train_frozen_stats"),
    PGD(0.5, norm="l2"),
    PGD(0.5, norm="l2", start="zero", step=2.0),
    FGSM(EPS),
    FGSM(EPS, start="zero", step=1.0),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_every_iterate_stays_in_ball_and_box(net, batch, attack):
    x, y = batch
    seen = []
    net.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    seen.append(perturb(net, x, y, attack, seeded()))
    assert len(seen) > getattr(attack, "steps", 1)
    for x_adv in seen:
        delta = (x_adv - x).flatten(1)
        size = delta.norm(dim=1) if getattr(attack, "norm", "linf") == "l2" else delta.abs().amax(dim=1)
        assert size.max() <= attack.eps + 1e-6
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
    assert (seen[-1] != x).any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("start", ["random", "zero"])
def test_radius_zero_returns_the_image_bit_for_bit(net, batch, norm, start):
    x, y = batch
    assert torch.equal(perturb(net, x, y, PGD(0.0, norm=norm, start=start), seeded()), x)


def test_one_full_step_from_the_image_is_fgsm(net, batch):
    x, y = batch
    net.eval()
    leaf = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(cross_entropy(net(leaf), y).mean(), leaf)
    expected = (x + EPS * gradient.sign()).clamp(0, 1)
    torch.testing.assert_close(perturb(net, x, y, PGD(EPS, steps=1, step=1.0, start="zero")), expected)
    torch.testing.assert_close(perturb(net, x, y, FGSM(EPS, step=1.0, start="zero")), expected)


def test_random_start_is_uniform_in_the_ball_and_the_step_is_a_multiple_of_eps():
    net, x, y = linear(pixels=4000)
    start = perturb(net, x, y, PGD(0.1, steps=1, step=1e-9), seeded()) - x
    assert start.abs().max() == pytest.approx(0.1, abs=1e-4)
    assert start.mean() == pytest.approx(0, abs=1e-3)
    assert start.std() == pytest.approx(0.1 / 3**0.5, rel=0.01)
    moved = perturb(net, x, y, PGD(0.1, steps=1, step=0.25, start="zero")) - x
    assert moved.abs().flatten().unique().tolist() == pytest.approx([0.025] * moved.abs().unique().numel())


def test_l2_start_has_a_uniform_radius():
    net, x, y = linear()
    x, y = x.repeat(60, 1, 1, 1), y.repeat(60)
    radius = (perturb(net, x, y, PGD(0.2, steps=1, step=1e-9, norm="l2"), seeded()) - x).flatten(1).norm(dim=1)
    assert radius.max() <= 0.2 + 1e-9
    assert radius.mean() == pytest.approx(0.1, rel=0.05)
    assert radius.var() == pytest.approx(0.2**2 / 12, rel=0.1)


@pytest.mark.parametrize("loss", ["ce", "margin"])
@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_linear_net_loses_exactly_eps_times_the_dual_norm(norm, dual, loss):
    net, x, y = linear()
    w = net[1].weight[0] - net[1].weight[1]
    before = margin(net(x), y)
    after = margin(net(perturb(net, x, y, PGD(0.05, steps=60, norm=norm, loss=loss), seeded())), y)
    torch.testing.assert_close(after, before - 0.05 * w.norm(p=dual), atol=1e-5 if norm == "l2" else 1e-9, rtol=0)


def test_more_restarts_never_help_the_net(net, batch):
    x, y = batch
    net.eval()
    one = margin(net(perturb(net, x, y, PGD(0.1, steps=2), seeded())), y)
    five = margin(net(perturb(net, x, y, PGD(0.1, steps=2, restarts=5), seeded())), y)
    assert (five <= one).all()
    assert (five < one).any()


def test_own_objective_replaces_the_loss():
    net, x, y = linear(classes=3)
    target = (y + 1) % 3
    x_adv = perturb(net, x, y, PGD(0.05, start="zero", step=1.0), loss=lambda z, _: -cross_entropy(z, target).sum())
    assert (cross_entropy(net(x_adv), target) < cross_entropy(net(x), target)).all()
    with pytest.raises(ReplibError, match="objective of its own"):
        perturb(net, x, y, CW(), loss=lambda z, _: z.sum())


@pytest.mark.parametrize("attack", [*ATTACKS, CW(iterations=3)], ids=str)
@pytest.mark.parametrize("mode", ["train", "eval", "mixed"])
def test_parameters_gradients_and_flags_are_left_as_they_were(net, batch, attack, mode):
    net.train(mode != "eval")
    if mode == "mixed":
        net[1].eval()
        net[0].bias.requires_grad_(False)
    before = copy.deepcopy(net)
    grads = [p.grad.clone() for p in net.parameters()]
    state = torch.get_rng_state()
    perturb(net, *batch, attack, seeded())
    assert [m.training for m in net.modules()] == [m.training for m in before.modules()]
    assert [p.requires_grad for p in net.parameters()] == [p.requires_grad for p in before.parameters()]
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), before.parameters(), strict=True))
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), grads, strict=True))
    assert net[1].track_running_stats
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("bn", ["train", "eval", "train_frozen_stats"])
def test_flags_are_restored_after_an_error(net, batch, bn):
    def fail(module, inputs):
        raise RuntimeError("stop")

    net[4].register_forward_pre_hook(fail)
    net[0].bias.requires_grad_(False)
    with pytest.raises(RuntimeError, match="stop"):
        perturb(net, *batch, PGD(EPS, bn=bn), seeded())
    assert all(m.training for m in net.modules())
    assert [p.requires_grad for p in net.parameters()] == [True, False, True, True, True, True]
    assert net[1].track_running_stats


class CountedWeightGradient(torch.autograd.Function):
    count = 0

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        if ctx.needs_input_grad[1]:
            CountedWeightGradient.count += 1
            return g @ w.T, x.T @ g
        return g @ w.T, None


def test_no_parameter_gradient_is_computed():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(9, 3, generator=seeded()))

        def forward(self, x):
            return CountedWeightGradient.apply(x.flatten(1), self.w)

    net, y = Net(), torch.zeros(4, dtype=torch.int64)
    x = torch.rand(4, 1, 3, 3, generator=seeded())
    CountedWeightGradient.count = 0
    perturb(net, x, y, PGD(EPS), seeded())
    assert CountedWeightGradient.count == 0
    cross_entropy(net(x), y).sum().backward()
    assert CountedWeightGradient.count == 1  # the counter does count


@pytest.mark.parametrize(
    ("bn", "training", "changed"),
    [("train", True, True), ("eval", True, False), ("train_frozen_stats", True, False), ("train", False, False)],
)
def test_batchnorm_buffers_change_only_when_attacked_in_train(net, batch, bn, training, changed):
    net.train(training)
    before = {name: b.clone() for name, b in net.named_buffers()}
    perturb(net, *batch, PGD(EPS, bn=bn), seeded())
    after = dict(net.named_buffers())
    assert [not torch.equal(before[name], after[name]) for name in before] == [changed] * 3
    assert after["1.num_batches_tracked"] == (10 if changed else 0)


def test_batchnorm_choices_are_three_different_attacks(net, batch):
    x, y = batch
    net[1].running_mean.fill_(0.3)
    images = {bn: perturb(net, x, y, PGD(0.1, bn=bn), seeded()) for bn in ("eval", "train_frozen_stats", "train")}
    assert torch.equal(images["train"], images["train_frozen_stats"])  # same gradients, only the buffers differ
    assert not torch.equal(images["train"], images["eval"])


def test_attack_works_inside_no_grad_and_returns_a_detached_image(net, batch):
    with torch.no_grad():
        x_adv = perturb(net, *batch, PGD(EPS), seeded())
    assert not x_adv.requires_grad
    assert x_adv.grad_fn is None


@pytest.mark.parametrize("attack", [PGD(EPS), PGD(0.5, norm="l2"), FGSM(EPS)], ids=str)
def test_same_seed_same_image(net, batch, attack):
    net.eval()
    first, again, other = (perturb(net, *batch, attack, seeded(s)) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_memory_format_does_not_change_the_start(net):
    net.eval()
    x = torch.rand(4, 3, 6, 6, generator=seeded())
    net = nn.Sequential(nn.Conv2d(3, 1, 1), net).eval()
    y = torch.zeros(4, dtype=torch.int64)
    attack = PGD(EPS, steps=1, step=1e-9)
    plain = perturb(net, x, y, attack, seeded())
    last = perturb(net, x.to(memory_format=torch.channels_last), y, attack, seeded())
    torch.testing.assert_close(plain, last)


def test_masked_weights_stay_masked(net, batch):
    mask = torch.rand(net[0].weight.shape, generator=seeded()) < 0.5
    with torch.no_grad():
        net[0].weight.mul_(mask)
    perturb(net, *batch, PGD(EPS), seeded())
    assert (net[0].weight[~mask] == 0).all()
    assert (net[0].weight[mask] != 0).all()


def test_errors_name_the_remedy(net, batch):
    x, y = batch
    with pytest.raises(ReplibError, match="generator"):
        perturb(net, x, y, PGD(EPS))
    with pytest.raises(ReplibError, match="generator"):
        perturb(net, x, y, AutoAttack(EPS))
    with pytest.raises(ReplibError, match="divide uint8 images by 255"):
        perturb(net, (x * 255).to(torch.uint8), y, PGD(EPS), seeded())
