"""What a step minimises, against the formulas written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from replib.attacks import FGSM, PGD
from replib.attacks.pgd import perturb
from replib.spec import SpecError
from replib.training import PGDAT, CleanAndAdversarial, CrossEntropy, Distill, FastAT, FreeAT, Slimming
from replib.training.losses import attack_of, kd, objective, replays
from replib.training.spec import Loss

ATTACK = PGD(eps=0.1, steps=3)
X, Y = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3


def g():
    return torch.Generator().manual_seed(5)


def net(seed=0, bn=False):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(*([nn.BatchNorm2d(1)] if bn else []), nn.Flatten(), nn.Linear(16, 3)).train()


def ce(z, y, smoothing=0.0):
    target = torch.full_like(z, smoothing / z.shape[1]).scatter_add(1, y[:, None], torch.full((len(y), 1), 1 - smoothing))
    return -(target * z.log_softmax(1)).sum(1).mean()


def test_distillation_by_hand():
    a, b, t = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, -2.0]]), 2.0
    p = torch.tensor([[2.0, -2.0]]).div(t).exp()
    p /= p.sum()
    q = torch.tensor([[1.0, 0.0]]).div(t).exp()
    q /= q.sum()
    assert kd(a, b, t).item() == pytest.approx(-(t**2) * (p * q.log()).sum().item(), rel=1e-6)
    z = torch.randn(5, 4, generator=g()).requires_grad_()
    kd(z, z.detach(), 2.0).backward()
    assert z.grad.abs().max() < 1e-6  # a student equal to its teacher is at the minimum


def test_clean_training_with_smoothing():
    m = net()
    value, logits = objective(CrossEntropy(0.1), {})(m, X, Y, g())
    assert value.item() == pytest.approx(ce(m(X), Y, 0.1).item(), rel=1e-6)
    assert torch.equal(logits, m(X))


@pytest.mark.parametrize("loss", [PGDAT(ATTACK), FastAT(FGSM(eps=0.1))])
def test_adversarial_training_sees_adversarial_images_only(loss):
    m = net()
    value, logits = objective(loss, {})(m, X, Y, g())
    z = m(perturb(m, X, Y, loss.attack, g()))
    assert torch.equal(logits, z)
    assert value.item() == pytest.approx(ce(z, Y).item(), rel=1e-6)
    assert value > ce(m(X), Y)
    value.backward()
    assert all(p.grad is not None for p in m.parameters())


def test_clean_plus_adversarial():
    m, loss = net(), CleanAndAdversarial(ATTACK, clean=0.3, smoothing=0.2)
    value, _ = objective(loss, {})(m, X, Y, g())
    z = m(perturb(m, X, Y, ATTACK, g()))
    assert value.item() == pytest.approx((0.3 * ce(m(X), Y, 0.2) + 0.7 * ce(z, Y, 0.2)).item(), rel=1e-6)


def test_both_teachers_see_the_students_adversarial_images_and_learn_nothing():
    from test_spec import dense

    m, teachers = net(), {"standard": net(1).eval(), "robust": net(2).eval()}
    loss = Distill(ATTACK, dense(), dense(), ce=0.3, standard=0.1, robust=0.6, temperature=2.0)
    value, logits = objective(loss, teachers)(m, X, Y, g())
    x = perturb(m, X, Y, ATTACK, g())
    expected = 0.3 * ce(m(x), Y) + 0.1 * kd(m(x), teachers["standard"](x), 2.0) + 0.6 * kd(m(x), teachers["robust"](x), 2.0)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.equal(logits, m(x))
    value.backward()
    assert all(p.grad is None for t in teachers.values() for p in t.parameters())


def test_slimming_adds_the_scales_of_batch_normalisation():
    m = net(bn=True)
    m[0].weight.data.fill_(-3.0)
    plain, _ = objective(CrossEntropy(), {})(m, X, Y, g())
    slim, _ = objective(Slimming(CrossEntropy(), 0.5), {})(m, X, Y, g())
    assert (slim - plain).item() == pytest.approx(1.5, rel=1e-5)
    assert attack_of(Slimming(PGDAT(ATTACK))) is ATTACK


def test_the_penalty_on_weights_adds_the_magnitudes_of_convolutions_alone():
    m = nn.Sequential(nn.Conv2d(1, 2, 3, bias=True), nn.BatchNorm2d(2), nn.Flatten(), nn.LazyLinear(3))
    x, y = torch.rand(4, 1, 5, 5), torch.tensor([0, 1, 2, 0])
    m(x)
    plain, _ = objective(CrossEntropy(), {})(m, x, y, g())
    heavy, _ = objective(Slimming(CrossEntropy(), 0.5, "weights"), {})(m, x, y, g())
    assert (heavy - plain).item() == pytest.approx(0.5 * m[0].weight.abs().sum().item(), rel=1e-4)
    assert attack_of(CrossEntropy()) is None


def test_an_unknown_loss_is_refused():
    with pytest.raises(SpecError, match="not known"):
        objective(Loss(), {})


def test_free_training_moves_the_perturbation_along_the_sign_of_its_gradient_and_carries_it():
    m, memory, eps, x = net(), {}, 0.1, 0.3 + 0.4 * X  # no pixel is clipped
    minimise, expected = objective(FreeAT(eps, 3), {}, memory), torch.zeros_like(x)
    for _ in range(3):
        value, logits = minimise(m, x, Y, g())
        seen = (x + expected).requires_grad_()
        z = m(seen)
        assert torch.allclose(logits, z)
        (gradient,) = torch.autograd.grad(ce(z, Y), seen)
        m.zero_grad()
        value.backward()
        expected = (expected + eps * gradient.sign()).clamp(-eps, eps)
        assert torch.allclose(memory["perturbation"], expected)
    last = objective(FreeAT(eps, 3), {}, memory)(m, x[:5], Y[:5], g())[1]  # a short last batch takes the first rows
    assert torch.allclose(last, m(x[:5] + expected[:5]))


def test_free_training_moves_black_and_white_pixels_too():
    m, memory, eps, x = net(), {}, 0.1, X.round()  # all pixels are 0 or 1
    minimise, expected = objective(FreeAT(eps, 3), {}, memory), torch.zeros_like(x)
    for _ in range(3):
        value, _ = minimise(m, x, Y, g())
        seen = (x + expected).clamp(0, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(ce(m(seen), Y), seen)
        m.zero_grad()
        value.backward()
        expected = (expected + eps * gradient.sign()).clamp(-eps, eps)
        assert torch.allclose(memory["perturbation"], expected)
    assert (memory["perturbation"] != 0).all()


def test_free_training_counts_its_replays():
    assert replays(FreeAT(0.1, 4)) == replays(Slimming(FreeAT(0.1, 4))) == 4
    assert replays(CrossEntropy()) == 1
