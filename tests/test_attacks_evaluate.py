"""Accuracy under attack: modes, transfer, CW and the ensemble."""

import copy
import sys

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from replib.attacks import CW, FGSM, PGD, AutoAttack
from replib.attacks.evaluate import evaluate
from replib.attacks.losses import cross_entropy, margin
from replib.attacks.pgd import perturb
from replib.spec import ReplibError

torch.set_num_threads(1)
CE_ONLY = AutoAttack(0.1, suite="custom", members=("apgd-ce",))


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return torch.tensor(data.images / 16, dtype=torch.float32).unsqueeze(1), torch.tensor(data.target)


def train(x, y, seed, eps):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(120):
        rows = torch.randint(0, 800, (64,), generator=generator)
        x_adv = perturb(net, x[rows], y[rows], PGD(eps, steps=3, step=0.5), generator)
        optimizer.zero_grad()
        cross_entropy(net(x_adv), y[rows]).mean().backward()
        optimizer.step()
    return net


@pytest.fixture(scope="module")
def net(digits):
    return train(*digits, seed=0, eps=0.1)


@pytest.fixture(scope="module")
def other(digits):
    return train(*digits, seed=1, eps=0.0)


@pytest.fixture
def test_set(digits):
    return digits[0][1000:1100], digits[1][1000:1100]


def test_clean_evaluation_is_a_plain_forward_in_eval(net, test_set):
    x, y = test_set
    net.train()
    before = copy.deepcopy(net.state_dict())
    result = evaluate(net, x, y, batch=33)
    assert net.training
    assert all(torch.equal(b, net.state_dict()[name]) for name, b in before.items())
    net.eval()
    with torch.no_grad():
        logits = net(x)
    assert torch.equal(result.predicted, logits.argmax(dim=1))
    assert torch.equal(result.correct, logits.argmax(dim=1) == y)
    assert result.loss == pytest.approx(cross_entropy(logits, y).mean().item(), rel=1e-6)
    assert result.accuracy == pytest.approx(100 * (logits.argmax(dim=1) == y).double().mean().item())
    assert 80 < result.accuracy < 100


@pytest.mark.parametrize("attack", [PGD(0.1), PGD(0.1, bn="train_frozen_stats"), FGSM(0.1), CW(iterations=5)], ids=str)
def test_attacks_are_evaluated_in_eval_whatever_their_training_mode(net, test_set, attack):
    net.train()
    modes = []
    hook = net[2].register_forward_pre_hook(lambda module, _: modes.append(module.training))
    before = copy.deepcopy(net.state_dict())
    evaluate(net, *test_set, attack)
    hook.remove()
    assert len(modes) > 1
    assert not any(modes)
    assert all(torch.equal(b, net.state_dict()[name]) for name, b in before.items())


def test_evaluation_equals_perturb_then_forward(net, test_set):
    x, y = test_set
    net.eval()
    x_adv = perturb(net, x, y, PGD(0.1), torch.Generator().manual_seed(7))
    result = evaluate(net, x, y, PGD(0.1), seed=7)
    with torch.no_grad():
        assert torch.equal(result.predicted, net(x_adv).argmax(dim=1))


def test_bytes_and_floats_are_the_same_images(net, test_set):
    x, y = test_set
    whole = (x * 255).round().to(torch.uint8)
    attack = PGD(0.1)
    a, b = evaluate(net, whole, y, attack), evaluate(net, whole.float() / 255, y, attack)
    assert a.loss == b.loss
    assert evaluate(net, whole, y).accuracy > 80


def test_batch_size_does_not_change_the_result(net, test_set):
    for attack in (PGD(0.1, loss="margin"), CW(iterations=20, search_steps=2)):
        a, b = evaluate(net, *test_set, attack, batch=100), evaluate(net, *test_set, attack, batch=17)
        assert torch.equal(a.correct, b.correct)
        assert a.loss == pytest.approx(b.loss, rel=1e-4)


def test_stronger_attacks_leave_less(net, test_set):
    accuracy = [
        evaluate(net, *test_set, attack).accuracy
        for attack in (None, FGSM(0.1, start="zero", step=1.0), PGD(0.1, steps=20), PGD(0.2, steps=20))
    ]
    assert accuracy == sorted(accuracy, reverse=True)
    assert accuracy[0] > accuracy[2] > accuracy[3]
    assert evaluate(net, *test_set, PGD(0.1, steps=100, step=0.025)).accuracy <= accuracy[2] + 2
    worst = evaluate(net, *test_set, PGD(0.1, steps=20, restarts=4))
    assert not (worst.correct & ~evaluate(net, *test_set, PGD(0.1, steps=20)).correct).any()


def test_transfer_crafts_on_the_surrogate_and_judges_on_the_net(net, other, test_set):
    x, y = test_set
    net.train()
    other.train()
    result = evaluate(net, x, y, PGD(0.1), surrogate=other, seed=3)
    assert net.training
    assert other.training
    net.eval()
    other.eval()
    x_adv = perturb(other, x, y, PGD(0.1), torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert torch.equal(result.predicted, net(x_adv).argmax(dim=1))
    white, clean = evaluate(net, x, y, PGD(0.1)).accuracy, evaluate(net, x, y).accuracy
    assert white < result.accuracy <= clean
    assert evaluate(net, x, y, PGD(0.1), surrogate=net).loss == evaluate(net, x, y, PGD(0.1)).loss


def test_bad_input_is_named(net, test_set):
    x, y = test_set
    with pytest.raises(ReplibError, match="first layer normalises"):
        evaluate(net, x * 2 - 1, y)
    with pytest.raises(ReplibError, match="as many of one as of the other"):
        evaluate(net, x, y[:-1])
    with pytest.raises(ReplibError, match="at least one"):
        evaluate(net, x[:0], y[:0])


def test_cw_finds_the_distance_to_the_boundary_of_a_linear_net():
    g = torch.Generator().manual_seed(0)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(10, 2)).eval()
    with torch.no_grad():
        flat[1].weight.copy_(torch.randn(2, 10, generator=g))
        flat[1].bias.copy_(-0.5 * flat[1].weight.sum(dim=1))  # the boundary passes through the middle of the box
    x = 0.45 + 0.1 * torch.rand(20, 1, 1, 10, generator=g)
    y = flat(x).argmax(dim=1)
    w = flat[1].weight[0] - flat[1].weight[1]
    closest = (margin(flat(x), y) / w.norm()).detach()
    x_adv = perturb(flat, x, y, CW(search_steps=10, c=0.1, iterations=150))
    found = (x_adv - x).flatten(1).norm(dim=1)
    assert (flat(x_adv).argmax(dim=1) != y).all()
    assert (found >= closest - 1e-5).all()
    torch.testing.assert_close(found, closest, rtol=0.05, atol=1e-3)


def test_cw_goes_as_far_beyond_the_boundary_as_its_confidence():
    """The other class leads by 1: with logits w x and its negative the nearest such image is (margin + 1) / |2 w| away."""
    flat = nn.Sequential(nn.Flatten(), nn.Linear(10, 2, bias=False)).eval().requires_grad_(False)
    w = torch.tensor([1.0, -1.0]).repeat(5)
    flat[1].weight.copy_(torch.stack([w, -w]))
    x = 0.45 + 0.1 * torch.rand(20, 1, 1, 10, generator=torch.Generator().manual_seed(0))
    y = flat(x).argmax(dim=1)
    x_adv = perturb(flat, x, y, CW(search_steps=10, c=0.1, iterations=150, confidence=1.0))
    assert (margin(flat(x_adv), y) <= -1).all()
    torch.testing.assert_close((x_adv - x).flatten(1).norm(dim=1), (margin(flat(x), y) + 1) / (2 * w).norm(), rtol=0.05, atol=1e-3)


def test_cw_gives_failures_back_clean(net, test_set):
    x, y = test_set
    net.eval()
    x_adv = perturb(net, x, y, CW(c=1e-6, iterations=5))
    correct = net(x).argmax(dim=1) == y
    assert torch.equal(x_adv[correct], x[correct])
    assert evaluate(net, x, y, CW(c=1e-6, iterations=5)).accuracy == evaluate(net, x, y).accuracy
    assert evaluate(net, x, y, CW(c=10.0, lr=0.1)).accuracy == 0


def test_the_ensemble_only_ever_breaks_more(net, test_set):
    pytest.importorskip("pyautoattack")
    x, y = test_set[0][:40], test_set[1][:40]
    state = torch.get_rng_state()
    first = evaluate(net, x, y, CE_ONLY)
    both = evaluate(net, x, y, AutoAttack(0.1, suite="custom", members=("apgd-ce", "apgd-t")))
    assert torch.equal(torch.get_rng_state(), state)
    assert not (both.correct & ~first.correct).any()
    assert both.accuracy <= first.accuracy <= evaluate(net, x, y, PGD(0.1, steps=20)).accuracy + 2.5
    assert 0 < both.accuracy < evaluate(net, x, y).accuracy
    net.eval()
    x_adv = perturb(net, x, y, CE_ONLY, torch.Generator().manual_seed(0))
    assert (x_adv - x).abs().max() <= 0.1 + 1e-6
    assert torch.equal(net(x_adv).argmax(dim=1) == y, first.correct)


@pytest.fixture
def five():
    """A linear net of five classes, and images with the classes that it gives them."""
    g = torch.Generator().manual_seed(0)
    made = nn.Sequential(nn.Flatten(), nn.Linear(9, 5)).eval().requires_grad_(False)
    made[1].weight.copy_(torch.randn(5, 9, generator=g))
    made[1].bias.copy_(-0.5 * made[1].weight.sum(dim=1))
    x = 0.3 + 0.4 * torch.rand(24, 1, 3, 3, generator=g)
    return made, x, made(x).argmax(dim=1)


@pytest.mark.parametrize("member", ["apgd-t", "fab-t"])
def test_a_targeted_member_with_five_classes_finds_the_nearest(five, member):
    pytest.importorskip("pyautoattack")
    made, x, y = five
    found = evaluate(made, x, y, AutoAttack(0.02, suite="custom", members=(member,)))
    gaps = made(x).gather(1, y[:, None]) - made(x)
    weights = made[1].weight
    slopes = torch.stack([(weights[y] - weights[k]).abs().sum(1) for k in range(5)], 1)
    broken = (gaps < 0.02 * slopes).any(1)  # a linear net: to the other class that is nearest in l-infinity
    assert 0 < broken.sum() < len(x)
    assert torch.equal(found.correct, ~broken)


@pytest.mark.parametrize("member", ["apgd-t", "fab-t"])
def test_a_targeted_member_tries_the_least_likely_class_too(five, member):
    """Of five logits 0, -0.1, -0.2, -0.3 and -1 only the last depends on the image."""
    pytest.importorskip("pyautoattack")
    made, x = five[0], torch.full((4, 1, 3, 3), 0.5)
    made[1].weight.zero_()[4] = 1.0
    made[1].bias.copy_(torch.tensor([0.0, -0.1, -0.2, -0.3, -5.5]))
    y = torch.zeros(4, dtype=torch.int64)
    assert evaluate(made, x, y, AutoAttack(0.1, suite="custom", members=(member,))).accuracy == 100  # 0.9 of the 1 that it takes
    assert evaluate(made, x, y, AutoAttack(0.15, suite="custom", members=(member,))).accuracy == 0


def test_the_ensemble_keeps_to_an_l2_ball(five):
    pytest.importorskip("pyautoattack")
    made, x, y = five
    x_adv = perturb(made, x, y, AutoAttack(0.2, suite="custom", norm="l2", members=("apgd-ce",)), torch.Generator().manual_seed(0))
    length = (x_adv - x).flatten(1).norm(dim=1)
    assert length.max() == pytest.approx(0.2, rel=1e-3)
    assert (x_adv - x).abs().max() > 0.1  # within the ball not all pixels move alike


def test_the_ensemble_draws_from_the_generator(five):
    pytest.importorskip("pyautoattack")
    made, x, y = five
    attack = AutoAttack(0.3, suite="custom", members=("square",))
    first, again, other = (perturb(made, x, y, attack, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("member", ["apgd-ce", "fab"])
def test_a_member_on_its_own_starts_as_often_as_in_the_standard_suite(five, member):
    """Once, with 100 iterations: the package has five starts when its members are named."""
    pytest.importorskip("pyautoattack")
    made, x, y = five
    asked = []
    made.register_forward_pre_hook(lambda *_: asked.append(1))
    evaluate(made, x, y, AutoAttack(1e-4, suite="custom", members=(member,)))
    assert 100 <= len(asked) < 250


def test_the_ensemble_refuses_too_few_classes():
    pytest.importorskip("pyautoattack")
    three = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    x, y = torch.rand(8, 1, 3, 3), torch.zeros(8, dtype=torch.int64)
    with pytest.raises(ReplibError, match="at least 4 classes"):
        evaluate(three, x, y, AutoAttack(0.1))
    assert 0 <= evaluate(three, x, y, CE_ONLY).accuracy <= 100


def test_a_missing_package_is_named_with_its_remedy(net, test_set, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(ReplibError, match=r"pip install replib\[attacks\]"):
        evaluate(net, *test_set, AutoAttack(0.1))
