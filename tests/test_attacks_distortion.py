"""The distortion search against closed forms: a linear network's least radius is its margin over the dual norm of its weights."""

import numpy as np
import pytest
import torch
from torch import nn

from replib.analysis.distortion import Distortion, summary
from replib.attacks import distortion
from replib.attacks.distortion import PIXEL, breaks, least_distortion
from replib.experiments.jobs import execute
from replib.experiments.profiles import SMOKE
from replib.spec import SpecError, task
from replib.store import Store


class Linear(nn.Module):
    """Two classes; the difference of their logits is w x + b."""

    def __init__(self):
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.w = nn.Parameter(torch.randn(12, generator=g))
        self.b = nn.Parameter(torch.tensor(0.1))

    def forward(self, x):
        score = x.flatten(1) @ self.w + self.b - 0.5 * self.w.sum()
        return torch.stack([score, -score], 1)


@pytest.fixture
def case():
    net = Linear()
    x = 0.5 + 0.06 * torch.randn(64, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    return net, x, net(x).argmax(1)


def margin(net, x):
    return (x.flatten(1) @ net.w + net.b - 0.5 * net.w.sum()).abs()


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_a_linear_network_has_the_radius_of_the_closed_form(case, norm, dual):
    net, x, y = case
    expected = (margin(net, x) / net.w.norm(p=dual)).detach()
    inside = expected < 0.35  # away from the box
    found = least_distortion(net, x, y, torch.Generator().manual_seed(2), steps=40, norm=norm, largest=1.0, tolerance=1e-4)
    assert inside.sum() > 50
    assert (found[inside] >= expected[inside] - 1e-6).all()  # no attack can do better
    torch.testing.assert_close(found[inside], expected[inside], atol=2e-4, rtol=2e-2)


def test_misclassified_images_have_radius_zero_and_what_no_radius_breaks_is_infinite(case):
    net, x, y = case
    wrong = y.clone()
    wrong[:5] = 1 - wrong[:5]
    found = least_distortion(net, x, wrong, torch.Generator().manual_seed(2), steps=10, largest=0.5 * PIXEL)
    assert (found[:5] == 0).all()
    assert found[5:].isinf().any()
    assert (found[5:] > 0).all()


def test_a_radius_that_suffices_is_found_to_suffice(case):
    net, x, y = case
    expected = (margin(net, x) / net.w.norm(p=1)).detach()
    g = torch.Generator().manual_seed(3)
    assert breaks(net, x, y, 1.05 * expected, 40, "linf", g)[expected < 0.3].all()
    assert not breaks(net, x, y, 0.95 * expected, 40, "linf", g).any()


@pytest.mark.parametrize(("norm", "order"), [("linf", torch.inf), ("l2", 2)])
def test_the_attack_takes_the_steps_of_its_definition(case, norm, order):
    """A linear network has one direction of ascent: iterates are those of a random start that goes that way and is projected."""
    net, x, y = case
    seen = []
    net.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    radii = torch.linspace(0.02, 0.1, len(x))
    breaks(net, x, y, radii, 5, norm, torch.Generator().manual_seed(4))
    assert len(seen) == 6  # the start, and what each step leads to
    start = torch.rand(x.shape, generator=torch.Generator().manual_seed(4)) * 2 - 1
    ascent = net.w.detach() if norm == "l2" else net.w.detach().sign()
    ascent = (2 * y - 1)[:, None] * ascent / torch.linalg.vector_norm(ascent, order)

    def projected(delta):
        return delta.clamp(-1, 1) if norm == "linf" else delta / delta.norm(dim=1, keepdim=True).clamp(min=1)

    delta, inside = start.flatten(1), False
    for n, images in enumerate(seen):
        delta = projected(delta if n == 0 else delta + 0.5 * ascent)  # in units of the radius
        expected = (x.flatten(1) + radii[:, None] * delta).clamp(0, 1)
        torch.testing.assert_close(images.flatten(1), expected, atol=1e-5, rtol=0)
        inside |= bool((torch.linalg.vector_norm(delta, order, dim=1) < 0.9).any())
    assert inside  # where projecting is not scaling to the radius


class Once(Linear):
    """Gives every image to class 1 the `n`-th time that it is asked, and to class 0 at all others."""

    def __init__(self, n):
        super().__init__()
        self.n, self.asked = n, 0

    def forward(self, x):
        wrong, self.asked = self.asked == self.n, self.asked + 1
        score = 0 * super().forward(x)[:, 0] + (-1 if wrong else 1)
        return torch.stack([score, -score], 1)


@pytest.mark.parametrize(("n", "met"), [(0, True), (1, True), (2, True), (3, True), (4, False)])
def test_an_image_is_broken_by_any_iterate_from_the_start_to_the_last(case, n, met):
    _, x, y = case
    found = breaks(Once(n), x, torch.zeros_like(y), torch.full((len(x),), 0.1), 3, "linf", torch.Generator().manual_seed(4))
    assert (found == met).all()


def test_the_smallest_radius_that_ever_succeeded_counts(case, monkeypatch):
    """An attack that succeeds at radii between 3 and 5 and from 7 on: first tried are 1, 2 and 4, then 3, 2.5, 2.75 and so on."""
    net, x, y = case
    tried = []

    def scripted(model, x, y, radii, *_):
        tried.append(radii.tolist())
        return (radii >= 3) & (radii < 5) | (radii >= 7)

    monkeypatch.setattr(distortion, "breaks", scripted)
    found = least_distortion(net, x[:2], y[:2], torch.Generator(), first=1.0, largest=8.0, tolerance=0.25)
    assert tried == [[r, r] for r in (1.0, 2.0, 4.0, 3.0, 2.5, 2.75)]
    assert found.tolist() == [3.0, 3.0]
    tried.clear()
    # From 6 on, which fails, only what is above is searched: that 3 suffices is never seen.
    found = least_distortion(net, x[:2], y[:2], torch.Generator(), first=6.0, largest=12.0, tolerance=1.0)
    assert tried == [[r, r] for r in (6.0, 12.0, 9.0, 7.5, 6.75)]
    assert found.tolist() == [7.5, 7.5]


@pytest.mark.parametrize("breaking", [150, 203])
def test_the_largest_radius_itself_is_tried(case, breaking, monkeypatch):
    model, x, y = case[:3]
    monkeypatch.setattr(distortion, "breaks", lambda model, x, y, radii, *_: radii > breaking / 255)
    found = least_distortion(model, x, y, torch.Generator().manual_seed(0), largest=204 / 255)
    assert found[found > 0].mul(255).tolist() == pytest.approx([breaking] * int((found > 0).sum()), abs=0.1)


def test_images_do_not_depend_on_their_neighbours_in_size_of_batch(case):
    net, x, y = case
    whole = least_distortion(net, x, y, torch.Generator().manual_seed(2), steps=40, largest=1.0)
    one = least_distortion(net, x[:1], y[:1], torch.Generator().manual_seed(9), steps=40, largest=1.0)
    torch.testing.assert_close(whole[:1], one, atol=0.06 * PIXEL, rtol=0)


def test_flags_and_gradients_are_as_before(case):
    net, x, y = case
    net.train()
    least_distortion(net, x[:4], y[:4], torch.Generator().manual_seed(2), steps=3)
    assert net.training
    assert net.w.requires_grad
    assert net.w.grad is None


def test_the_summary_counts_censored_images_at_the_largest_radius_and_leaves_wrong_ones_out():
    batches = [np.array([0.0, 2.0, np.inf]), np.array([1.0, 3.0])]
    found = summary(np.concatenate(batches), batches, largest=64.0)
    assert found["images"] == 5
    assert found["correct"] == 4
    assert found["mean"] == pytest.approx((2 + 64 + 1 + 3) / 4)
    assert found["censored_share"] == pytest.approx(0.25)
    assert found["batch_min"] == pytest.approx(1.5)
    assert summary(np.zeros(3), [np.zeros(3)], 64.0)["mean"] is None


def test_the_job_reads_a_finished_run(tmp_path):
    store, recipe = Store(tmp_path), SMOKE.recipe("CIFAR-10", "ResNet-18")
    run = recipe.pgd_at(epochs=1)
    job = Distortion(run, images=20, steps=4)
    execute(task(run, 0), store)
    execute(task(job, 0), store)
    found = store.results(task(job, 0))
    assert found["images"] == 20
    radii = store.arrays(task(job, 0))["radii"]
    assert len(radii) == 20
    assert found["correct"] == (radii > 0).sum()


@pytest.mark.parametrize(("wrong", "named"), [({"images": 0}, "images"), ({"steps": 0}, "steps"), ({"checkpoint": "bets"}, "checkpoint")])
def test_impossible_choices_are_refused(wrong, named):
    with pytest.raises(SpecError, match=named):
        Distortion(SMOKE.recipe("CIFAR-10", "ResNet-18").pgd_at(), **wrong)
