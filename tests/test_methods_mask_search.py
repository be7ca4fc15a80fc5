"""Mask searches: the loss by hand, what a step changes, exact counts, surgery's hysteresis, and a mask that runs can use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from replib.attacks import PGD
from replib.attacks.pgd import perturb
from replib.data import Data
from replib.data.augment import to_float
from replib.experiments.cost import operations
from replib.experiments.jobs import execute
from replib.experiments.profiles import SMOKE
from replib.methods import AWT, NTT, MaskSearch, Quota, Shuffled, Surgery, Ticket
from replib.methods.mask_search import Search, _begin, _step, distances
from replib.methods.surgery import operate
from replib.models import Net
from replib.models.tangent import tangent_kernel
from replib.sparsity.masks import counts, unpack
from replib.sparsity.quotas import quotas
from replib.spec import SpecError, key, task
from replib.store.context import Context
from replib.training import FromRun
from replib.training.spec import Fresh

DATA = Data("digits", n_train=60, n_val=30, n_test=50)
ATTACK = PGD(eps=0.2, steps=2, step=0.6)
SMALL = MaskSearch(
    DATA, Net("mlp_small", width=4), 0.3, AWT(ATTACK, refresh=3), epochs=2, batch=12, every=4, held_out=6, images=20, block=8
)
INDEX = torch.arange(12)


def begin(store, job: MaskSearch) -> Search:
    return _begin(job, Context(store, task(job, 0)))


def gradients(s: Search) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in s.student.named_parameters()}


def close(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6 * float(b[name].abs().max() + 1e-3))


# ---- the loss -----------------------------------------------------------------------------------------------------------------------
def by_hand(s: Search, goal: AWT) -> torch.Tensor:
    """Equation 13, or (B.30), written down with whole Jacobians."""
    x = to_float(s.split.train.x[INDEX])
    xt, xs = goal._crafted(s, x, s.split.train.y[INDEX], INDEX)
    n = len(x)
    found, wanted = s.model(xs), s.teacher(xt).detach()
    rows, xt, xs = (x[: n // 2], xt[n // 2 :], xs[n // 2 :]) if goal.kernel == "halves" else (x, xt, xs)
    masks = s.masks if goal.jacobian == "masked" else None
    student = tangent_kernel(s.student, rows, xs, parameters=s.effective(), masks=masks, how="jacobian")
    delta = student - tangent_kernel(s.teacher, rows, xt, how="jacobian").detach()
    if goal.entries == "diagonal":
        delta = torch.einsum("nini->ni", delta)
    if goal.loss == "cross_entropy":
        outputs = torch.linalg.vector_norm(F.softmax(found, 1) - F.softmax(wanted, 1)) / n
        return outputs + goal.kernel_weight * torch.linalg.vector_norm(delta) / n**2
    if goal.distances == "means":
        target, kernel = ((found - wanted) ** 2).mean(), (delta**2).mean()
    else:
        target, kernel = ((found - wanted) ** 2).sum() / n, (delta**2).sum() / len(rows) ** 2
    active = sum((w * s.masks[m]).square().sum() for m, w in s.weights.items())
    return target + goal.kernel_weight * kernel + goal.penalty / s.density * active


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"distances": "sums"},
        {"kernel": "halves"},
        {"kernel": "halves", "distances": "sums"},
        {"entries": "diagonal"},
        {"entries": "diagonal", "distances": "sums"},
        {"jacobian": "full"},
        {"loss": "cross_entropy"},
        {"attack": None, "penalty": 0.1},
        {"attack": PGD(eps=1.0, steps=2, norm="l2")},
    ],
    ids=str,
)
def test_the_loss_and_its_gradient_are_those_of_the_equation(store, changes):
    goal = replace(AWT(ATTACK, kernel_weight=0.5, refresh=3), **changes)
    s = begin(store, replace(SMALL, goal=goal, block=5))  # blocks that do not divide the batch
    value = goal.minimise(s, INDEX)
    found = gradients(s)
    expected = by_hand(s, goal)
    assert value == pytest.approx(expected.item(), rel=1e-5)
    wanted = torch.autograd.grad(expected, list(s.student.parameters()), materialize_grads=True)
    close(found, dict(zip(found, wanted, strict=True)))
    if not goal.penalty:
        for name, mask in s.masks.items():
            assert (found[name][~mask] == 0).all() or goal.jacobian == "full"


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@pytest.mark.parametrize("entries", ["all", "diagonal"])
def test_a_student_that_is_its_teacher_has_no_loss_and_no_gradient(store, loss, entries):
    s = begin(store, replace(SMALL, density=1.0, goal=AWT(ATTACK, loss=loss, entries=entries, refresh=3)))
    assert s.job.goal.minimise(s, INDEX) == 0
    assert all((g == 0).all() for g in gradients(s).values())


def test_teacher_and_student_are_attacked_each_for_itself(store):
    s = begin(store, SMALL)
    x, y = to_float(s.split.train.x[INDEX]), s.split.train.y[INDEX]
    xt, xs = s.job.goal._crafted(s, x, y, INDEX)
    assert not torch.equal(xt, xs)
    assert (xt - x).abs().max() <= 0.2 + 1e-6
    again = s.job.goal._crafted(s, x, y, INDEX)
    assert torch.equal(again[1], xs)
    s.step += 1
    assert not torch.equal(s.job.goal._crafted(s, x, y, INDEX)[0], xt)  # another start at every step
    clean = AWT()._crafted(s, x, y, INDEX)
    assert clean[0] is x
    assert clean[1] is x


def test_images_crafted_at_the_start_stay(store):
    goal = AWT(ATTACK, images="start", refresh=3)
    s = begin(store, replace(SMALL, goal=goal))
    x, y = to_float(s.split.train.x[INDEX]), s.split.train.y[INDEX]
    first = goal._crafted(s, x, y, INDEX)
    _step(s, INDEX)
    after = goal._crafted(s, x, y, INDEX)
    assert torch.equal(first[0], after[0])
    assert torch.equal(first[1], after[1])
    some = goal._crafted(s, x[3:5], y[3:5], INDEX[3:5])
    assert torch.equal(some[1], first[1][3:5])


@pytest.mark.parametrize("images", ["step", "start"])
def test_adversarial_images_are_those_of_the_network_that_computes_with_them(store, images):
    goal = AWT(ATTACK, images=images, refresh=3)
    s = begin(store, replace(SMALL, goal=goal))
    x, y = to_float(s.split.train.x), s.split.train.y
    found = goal._crafted(s, x[INDEX], y[INDEX], INDEX)
    if images == "step":
        x, y = x[INDEX], y[INDEX]  # "start" crafts all images at once
    for which, net in zip(found, (s.teacher, s.model), strict=True):
        assert torch.equal(which, perturb(net, x, y, ATTACK, s.random("attack/0" if images == "step" else "attack"))[: len(INDEX)])


def test_held_out_distances_are_those_of_the_equation(store):
    """|Δf|² over N and |ΔΘ|² over N², each network on the images that were crafted on it."""
    s = begin(store, replace(SMALL, block=4))  # blocks that do not divide the six images
    found = distances(s)
    x, y, n = to_float(s.split.val.x[:6]), s.split.val.y[:6], 6
    xt, xs = (perturb(net, x, y, ATTACK, s.random("held out")) for net in (s.teacher, s.model))
    with torch.no_grad():
        target = (s.teacher(xt) - s.model(xs)).square().sum() / n
    student = tangent_kernel(s.student, x, xs, parameters=s.effective(), masks=s.masks, how="jacobian")
    kernel = (student - tangent_kernel(s.teacher, x, xt, how="jacobian")).square().sum() / n**2
    assert found == pytest.approx({"kernel_distance": kernel.item(), "target_distance": target.item()}, rel=1e-5)


# ---- steps and masks ----------------------------------------------------------------------------------------------------------------
def test_decay_shrinks_active_weights_after_the_step_and_leaves_pruned_ones_alone(store):
    plain, decayed = (begin(store, replace(SMALL, goal=AWT(ATTACK, decay=d, refresh=3))) for d in (0.0, 0.25))
    start = {n: w.detach().clone() for n, w in plain.weights.items()}
    for s in (plain, decayed):
        _step(s, INDEX)
    for name, mask in plain.masks.items():
        torch.testing.assert_close(decayed.weights[name][mask], 0.75 * plain.weights[name][mask])
        assert torch.equal(decayed.weights[name][~mask], start[name][~mask])
        assert not torch.equal(plain.weights[name][mask], start[name][mask])


def test_masks_change_every_few_steps_but_not_in_the_last_ones(store):
    job = replace(SMALL, goal=AWT(ATTACK, refresh=3, decay=0.05), lr=0.05)
    s = begin(store, job)
    assert s.steps == 10
    changed = []
    for _ in range(s.steps):
        before = {n: m.clone() for n, m in s.masks.items()}
        _step(s, INDEX)
        if any((before[n] != m).any() for n, m in s.masks.items()):
            changed.append(s.step)
    assert changed == [3, 6]
    best = s.largest()
    assert any((best[n] != m).any() for n, m in s.masks.items())  # there was something to change


@pytest.mark.parametrize("across", ["layer", "network"])
@pytest.mark.parametrize("first", ["magnitude", "random"])
def test_counts_are_exact_layer_by_layer_or_in_all(store, across, first):
    s = begin(store, replace(SMALL, across=across, goal=AWT(ATTACK, refresh=1, first=first, decay=0.1)))
    shapes = {n: tuple(w.shape) for n, w in s.weights.items()}
    total = sum(w.numel() for w in s.weights.values())
    for _ in range(3):
        assert sum(counts(s.masks).values()) == round(0.3 * total)
        if across == "layer":
            assert counts(s.masks) == quotas("uniform", shapes, 0.3)
        _step(s, INDEX)
    if first == "magnitude":
        for name, m in s.masks.items() if across == "layer" else ():
            assert s.weights[name][m].abs().min() >= s.weights[name][~m].abs().max() * 0.8


def test_layers_keep_as_many_weights_as_those_of_the_run_that_gives_the_density(store):
    ticket = Ticket(DATA, SMALL.net, 0.3, Quota("erk"))
    pruned = replace(SMOKE.recipe("CIFAR-10", "ResNet-18"), data=DATA, net=SMALL.net).pgd_at(epochs=1, ticket=ticket)
    for job in (ticket, pruned):
        execute(task(job, 0), store)
    left = store.results(task(ticket, 0))["kept"]
    s = begin(store, replace(SMALL, density=pruned, across="run", goal=AWT(ATTACK, refresh=1)))
    for _ in range(3):
        assert counts(s.masks) == left != quotas("uniform", {n: tuple(w.shape) for n, w in s.weights.items()}, s.density)
        _step(s, INDEX)
    with pytest.raises(SpecError, match="give the run as density"):
        replace(SMALL, across="run")


def test_the_first_mask_is_of_the_largest_weights_or_of_any(store):
    largest, drawn = (begin(store, replace(SMALL, goal=AWT(ATTACK, first=f, refresh=3))) for f in ("magnitude", "random"))
    for name, m in largest.masks.items():
        assert largest.weights[name][m].abs().min() > largest.weights[name][~m].abs().max()
    assert any((m != drawn.masks[n]).any() for n, m in largest.masks.items())


def test_stale_moments_move_pruned_weights_unless_they_are_forgotten(store):
    moved = {}
    for forget in (False, True):
        s = begin(store, replace(SMALL, goal=AWT(ATTACK, refresh=4, decay=0.0, forget=forget)))
        _step(s, INDEX)
        name = max(s.masks, key=lambda n: s.masks[n].numel())
        cut = s.masks[name].clone()
        s.masks[name].zero_()
        if forget:
            s.job.goal.revise(s)
        before = s.weights[name].detach().clone()
        _step(s, INDEX)
        moved[forget] = float((s.weights[name].detach() - before)[cut].abs().max())
    assert moved[False] > 0
    assert moved[True] == 0


def test_kernel_and_target_come_nearer_in_fifty_steps(store):
    goal = AWT(ATTACK, refresh=10, kernel_weight=1e-2)
    job = replace(SMALL, goal=goal, epochs=10, every=25, net=Net("mlp_small"), density=0.2, lr=3e-3, held_out=20)
    execute(task(job, 0), store)
    log = store.table(task(job, 0))
    assert list(log.step) == [0, 25, 50]
    assert log.kernel_distance.is_monotonic_decreasing
    assert log.kernel_distance.iloc[-1] < 0.6 * log.kernel_distance.iloc[0]
    assert log.target_distance.iloc[-1] < 0.5 * log.target_distance.iloc[0]
    assert log.churn.iloc[1] > 0
    assert set(log.columns) >= {"epoch", "train_sa", "test_sa", "density", "loss"}


# ---- surgery ------------------------------------------------------------------------------------------------------------------------
def test_surgery_has_a_band_in_which_nothing_changes():
    w = torch.tensor([0.5, 0.89, 0.91, 1.0, 1.09, 1.11, 2.0])
    mask = torch.tensor([True] * 7)
    one = torch.tensor(1.0)
    cut = operate({"w": w}, {"w": mask}, {"w": one}, 0.1)["w"]
    assert cut.tolist() == [False, False, True, True, True, True, True]
    spliced = operate({"w": w}, {"w": ~mask}, {"w": one}, 0.1)["w"]
    assert spliced.tolist() == [False, False, False, False, False, True, True]
    for signed in (w, -w):
        inside = (w > 0.9) & (w <= 1.1)
        for start in (mask, ~mask):
            assert torch.equal(operate({"w": signed}, {"w": start}, {"w": one}, 0.1)["w"][inside], start[inside])


def test_surgery_cuts_at_the_largest_weight_that_the_density_leaves_out(store):
    """Of the sizes 1 to 10 at density 0.3 the three largest stay: the threshold is 7, not the 8 that stays."""
    s = replace(begin(store, SMALL), student=torch.nn.Linear(10, 1), quota={"weight": 3})
    with torch.no_grad():
        s.student.weight.copy_(torch.tensor([[3.0, -8, 1, 10, -5, 7, 2, -9, 4, 6]]))
    assert Surgery()._thresholds(s)["weight"] == 7


def test_surgery_starts_and_ends_at_the_density(store):
    s = begin(store, replace(SMALL, goal=Surgery()))
    assert counts(s.masks) == counts(s.largest())
    with torch.no_grad():
        for w in s.weights.values():
            w.copy_(w[torch.randperm(len(w))])
    s.masks.update(s.job.goal.revise(s))
    assert counts(s.masks) != counts(s.largest())  # what lies between the two thresholds stays as it is
    ended = s.job.goal.finish(s)
    assert sum(counts(ended).values()) == round(0.3 * sum(w.numel() for w in s.weights.values()))


def test_surgery_ends_with_weights_that_it_computed_with(store):
    """A pruned weight that has grown a little past an active one is not exchanged for it at the end, where nothing would train it."""
    s = begin(store, replace(SMALL, goal=Surgery()))
    with torch.no_grad():
        for name, w in s.weights.items():
            w[~s.masks[name]] *= 100
    before = {n: m.clone() for n, m in s.masks.items()}
    assert all(torch.equal(before[n], m) for n, m in s.job.goal.finish(s).items())
    assert any(not torch.equal(before[n], m) for n, m in s.largest().items())


def test_a_search_that_never_renews_its_mask_is_refused():
    steps = SMALL.epochs * SMALL.steps_an_epoch()
    with pytest.raises(SpecError, match="never renews its mask"):
        replace(SMALL, goal=AWT(ATTACK, refresh=steps // 2))
    replace(SMALL, goal=AWT(ATTACK, refresh=steps // 2 - 1))
    replace(SMALL, goal=Surgery())


def test_the_published_threshold_is_of_the_initial_weights(store):
    s = begin(store, replace(SMALL, goal=Surgery(c=0.5, margin=0.0)))
    for name, w in s.weights.items():
        magnitude = w.detach().abs()
        assert torch.equal(s.masks[name], magnitude > magnitude.mean() + 0.5 * magnitude.std())
    threshold = s.memory["thresholds"]
    _step(s, INDEX)
    assert s.memory["thresholds"] is threshold


def test_pruned_weights_keep_learning_and_are_not_computed_with(store):
    s = begin(store, replace(SMALL, goal=Surgery(until=0.0)))
    before = {n: w.detach().clone() for n, w in s.weights.items()}
    _step(s, INDEX)
    name = max(s.masks, key=lambda n: s.masks[n].numel())
    pruned = ~s.masks[name]
    assert pruned.any()
    assert ((s.weights[name] - before[name])[pruned] != 0).float().mean() > 0.5
    x = to_float(s.split.test.x[:5])
    with torch.no_grad():
        outputs = s.model(x)
        s.weights[name][pruned] += 10.0
        assert torch.equal(s.model(x), outputs)


@pytest.mark.parametrize(("changes", "happens"), [({}, True), ({"until": 0.0}, False), ({"slowing": 1e9}, False)])
def test_when_surgeries_happen(store, changes, happens):
    s = begin(store, replace(SMALL, goal=Surgery(**changes)))
    s.step = 5
    assert (s.job.goal.revise(s) is not None) == happens


# ---- as a job -----------------------------------------------------------------------------------------------------------------------
GOALS = {"AWT": SMALL.goal, "NTT": replace(NTT, refresh=3), "Surgery": Surgery(), "S-AWT": AWT(ATTACK, entries="diagonal", refresh=3)}


def test_searches_are_called_what_the_papers_call_them():
    assert [replace(SMALL, goal=g).label().split(" mask")[0] for g in GOALS.values()] == list(GOALS)


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS)
def test_the_same_search_gives_the_same_bits(store, tmp_path, goal):
    job = replace(SMALL, goal=goal)
    other = type(store)(tmp_path / "other")
    for where in (store, other):
        execute(task(job, 3), where)
    assert (store.path(task(job, 3), "metrics.csv")).read_bytes() == (other.path(task(job, 3), "metrics.csv")).read_bytes()
    for name, bits in store.arrays(task(job, 3)).items():
        assert np.array_equal(bits, other.arrays(task(job, 3))[name])
    execute(task(job, 4), store)
    assert any(not np.array_equal(b, store.arrays(task(job, 4))[n]) for n, b in store.arrays(task(job, 3)).items())


def test_a_search_is_a_ticket_and_a_start_for_runs(store):
    """Runs start under the mask from θ0, or from the weights that the search ended with; a shuffled mask keeps the layers' counts."""
    for job in (SMALL, Ticket(DATA, SMALL.net, 0.3, Shuffled(SMALL))):
        execute(task(job, 0), store)
    results = store.results(task(SMALL, 0))
    assert results["kept"] == store.results(task(Ticket(DATA, SMALL.net, 0.3, Shuffled(SMALL)), 0))["kept"]
    found = store.weights(task(SMALL, 0), "epoch_2")
    masks = unpack({n.removeprefix("mask/"): b for n, b in store.arrays(task(SMALL, 0)).items()}, {n: w.shape for n, w in found.items()})
    assert counts(masks) == results["kept"]
    assert all((found[n][~m] == 0).all() for n, m in masks.items())
    recipe = replace(SMOKE.recipe("CIFAR-10", "ResNet-18"), data=DATA, net=SMALL.net)
    for init in (Fresh(), FromRun(SMALL)):
        run = recipe.pgd_at(epochs=1, ticket=SMALL, init=init)
        execute(task(run, 0), store)
        start = store.weights(task(run, 0), "epoch_0")
        origin = begin(store, SMALL).teacher.state_dict() if isinstance(init, Fresh) else found
        for name, w in start.items():
            kept = masks.get(name, torch.ones_like(w, dtype=torch.bool))
            assert torch.equal(w, origin[name] * kept)
        assert all((store.weights(task(run, 0), "epoch_1")[n][~m] == 0).all() for n, m in masks.items())


def test_glorot_weights_have_glorots_variance_and_the_run_that_follows_has_them_too(store):
    job = replace(SMALL, net=Net("mlp_small", width=64), init=Fresh(scheme="glorot"))
    teacher = begin(store, job).teacher
    assert float(teacher.fc2.weight.std()) == pytest.approx((2 / sum(teacher.fc2.weight.shape)) ** 0.5, rel=0.05)
    assert float(teacher.fc1.bias.std()) == pytest.approx(0.01, rel=0.2)
    assert key(job) != key(replace(job, init=Fresh()))
    assert key(replace(job, init=Fresh())) == key(replace(SMALL, net=job.net))
    recipe = replace(SMOKE.recipe("CIFAR-10", "ResNet-18"), data=DATA, net=job.net)
    run = recipe.pgd_at(epochs=1, init=job.init)
    execute(task(run, 0), store)
    assert torch.equal(store.weights(task(run, 0), "epoch_0")["fc2.weight"], teacher.fc2.weight)


def test_prices_grow_with_what_is_computed():
    whole, halves = (operations(task(replace(SMALL, goal=AWT(ATTACK, kernel=k, refresh=3)), 0)) for k in ("whole", "halves"))
    diagonal, surgery = (operations(task(replace(SMALL, goal=g), 0)) for g in (GOALS["S-AWT"], Surgery()))
    assert whole > halves > diagonal > surgery > 0
    assert operations(task(replace(SMALL, epochs=6), 0)) == pytest.approx(3 * operations(task(SMALL, 0)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AWT(entries="diagonal", kernel="halves"), "use kernel = 'whole'"),
        (lambda: AWT(refresh=0), "AWT.refresh"),
        (lambda: AWT(decay=1.0), "AWT.decay"),
        (lambda: AWT(kernel_weight=-1.0), "AWT.kernel_weight"),
        (lambda: AWT(loss="crossentropy"), "Did you mean 'cross_entropy'"),
        (lambda: Surgery(margin=1.0), "Surgery.margin"),
        (lambda: Surgery(c=1e6), "Surgery.c"),
        (lambda: replace(SMALL, density=0.0), "MaskSearch.density"),
        (lambda: replace(SMALL, block=0), "MaskSearch.block"),
    ],
)
def test_impossible_choices_are_refused(make, words):
    with pytest.raises(SpecError, match=words):
        make()
