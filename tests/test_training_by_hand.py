"""What reaches the optimizer, what is drawn anew and what an epoch's row holds, each compared with the same thing done by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from replib.attacks import PGD
from replib.attacks.evaluate import evaluate
from replib.attacks.pgd import perturb
from replib.data.load import load
from replib.experiments.jobs import execute
from replib.experiments.profiles import SMOKE
from replib.spec import stream_seed, task
from replib.store.context import Context
from replib.store.world import ALONE
from replib.training import PGDAT, SGD, CrossEntropy, Distill, Plateau, Steps, Train, loop, networks
from replib.training.schedule import plateau_start
from replib.training.spec import Adam, Method
from replib.training.state import State

RECIPE = SMOKE.recipe("CIFAR-10", "ResNet-18")
SPLIT = load(RECIPE.data)


def trained(store, run: Train) -> None:
    networks.run_train(run, Context(store, task(run, 0)))


# ---- the optimizer -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Watching(Method):
    """Notes the learning rate that each step was taken with."""

    def after_step(self, state: State) -> None:
        RATES.append(state.optimizer.param_groups[0]["lr"])


RATES: list[float] = []


def test_the_schedules_rate_is_the_one_that_steps_are_taken_with(store):
    RATES.clear()
    run = RECIPE.pgd_at(epochs=4, schedule=Steps((0.5, 0.75)), method=Watching())
    trained(store, run)
    per_epoch = len(RATES) // 4
    assert per_epoch > 0
    assert pytest.approx([run.optim.lr * factor for factor in (1, 1, 0.1, 0.01) for _ in range(per_epoch)]) == RATES


def test_two_steps_of_gradient_descent_without_a_gradient_are_those_of_weight_decay():
    net = nn.Linear(1, 1, bias=False)
    nn.init.ones_(net.weight)
    optimizer = loop.make_optimizer(SGD(lr=0.1, momentum=0.9, weight_decay=0.02), net)
    for _ in range(2):
        net.weight.grad = torch.zeros(1, 1)
        optimizer.step()
    first = 1 - 0.1 * 0.02
    assert net.weight.item() == pytest.approx(first - 0.1 * (0.9 * 0.02 + 0.02 * first), rel=1e-6)


def test_a_step_of_adam_without_a_gradient_is_that_of_weight_decay():
    net = nn.Linear(1, 1, bias=False)
    nn.init.ones_(net.weight)
    optimizer = loop.make_optimizer(Adam(lr=0.1, weight_decay=0.02), net)
    net.weight.grad = torch.zeros(1, 1)
    optimizer.step()
    assert net.weight.item() == pytest.approx(0.9, abs=1e-5)  # of whatever size the gradient is, the first step has length lr


def test_the_decay_that_is_written_down_is_that_of_the_optimizer(store):
    run = RECIPE.pgd_at(epochs=2, optim=SGD(lr=0.05, weight_decay=0.03))
    execute(task(run, 0), store)
    steps = 2 * -(-len(SPLIT.train) // run.batch)
    rates = [loop.rate(run.schedule, step=s, steps_per_epoch=steps // 2, epochs=2, plateau={}) for s in range(steps)]
    assert store.table(task(run, 0)).lr_times_decay.iloc[-1] == pytest.approx(0.05 * 0.03 * sum(rates))


def test_adversarial_training_lowers_the_loss_under_attack(store):
    easy = {"data": replace(RECIPE.data, augment="none"), "optim": SGD(lr=0.1), "loss": PGDAT(PGD(eps=0.03, steps=2, step=0.5))}
    run = RECIPE.pgd_at(epochs=15, batch=10, **easy)
    execute(task(run, 0), store)
    loss = store.table(task(run, 0)).train_loss
    assert loss.iloc[0] > 2
    assert loss.iloc[-1] < 1  # always the same class would be 2.3, the logarithm of ten


# ---- what is drawn anew in every epoch ---------------------------------------------------------------------------------------
def test_order_augmentation_and_attack_have_streams_of_their_own_in_every_epoch(store, monkeypatch):
    asked, batches = [], []
    draw, augment = State.random, loop.augment
    monkeypatch.setattr(State, "random", lambda self, purpose: asked.append(purpose) or draw(self, purpose))
    monkeypatch.setattr(loop, "augment", lambda x, how, g: batches.append((x.clone(), g.initial_seed())) or augment(x, how, g))
    trained(store, RECIPE.pgd_at(epochs=2))
    first, second = batches[: len(batches) // 2], batches[len(batches) // 2 :]
    assert not torch.equal(torch.cat([x for x, _ in first]), torch.cat([x for x, _ in second]))  # before augmentation
    seeds = {"augmentation of epoch 1": first[0][1], "augmentation of epoch 2": second[0][1]}
    seeds |= {purpose: stream_seed(0, purpose) for purpose in asked}
    assert len(asked) == len(set(asked))
    assert len(seeds) == len(set(seeds.values()))


# ---- an epoch's row ----------------------------------------------------------------------------------------------------------
def test_validation_is_what_a_plain_evaluation_of_the_epochs_weights_says(store):
    run = RECIPE.pgd_at(epochs=3, retain=("weights",))
    t = task(run, 0)
    execute(t, store)
    for row in store.table(t).itertuples():
        net = networks.trained(Context(store, t), t, f"epoch_{row.epoch}", SPLIT)
        seed = stream_seed(0, f"validate/{row.epoch - 1}")
        clean, robust = (evaluate(net, SPLIT.val.x, SPLIT.val.y, attack, seed=seed) for attack in (None, run.validate))
        assert (row.val_sa, row.val_ra) == pytest.approx((clean.accuracy, robust.accuracy))
        assert (row.val_loss, row.val_robust_loss) == pytest.approx((clean.loss, robust.loss), rel=1e-5)
        assert clean.loss < robust.loss


def test_training_accuracy_is_that_of_the_attacked_images_of_the_step(store):
    """One batch, hardly any step, an attack that draws nothing: the row can be recomputed from the initial weights."""
    attack = PGD(eps=RECIPE.eps, steps=2, step=0.5, start="zero")
    run = RECIPE.pgd_at(epochs=1, batch=len(SPLIT.train), optim=SGD(lr=1e-30), data=replace(RECIPE.data, augment="none"))
    run = replace(run, loss=replace(run.loss, attack=attack))
    execute(task(run, 0), store)
    net = networks.fresh(run, SPLIT, 0).train()
    x, y = SPLIT.train.x.float() / 255, SPLIT.train.y
    logits = net(perturb(net, x, y, attack, torch.Generator().manual_seed(0)))
    row = store.table(task(run, 0)).iloc[0]
    right = 100 * (logits.argmax(1) == y).float().mean().item()
    assert row.train_ra == pytest.approx(right, abs=100 / len(y))  # the batch is shuffled, which rounds sums differently
    assert row.train_loss == pytest.approx(nn.functional.cross_entropy(logits, y).item(), rel=1e-3)
    assert right != pytest.approx(100 * (logits.argmin(1) == y).float().mean().item(), abs=200 / len(y))


def after(rows: list[dict[str, float]], job: Train) -> SimpleNamespace:
    """The state after epochs that ended with these rows."""
    state = SimpleNamespace(
        best={}, kept={}, written={}, average={}, events=[], method={}, history=[], epoch=0, step=0, stopped="", plateau=plateau_start(),
        task=task(job, 0), snapshot=dict, weights={}, masks={}, world=ALONE,
    )  # fmt: skip
    for epoch, row in enumerate(rows):
        state.epoch = epoch
        if not state.stopped:
            loop._after_epoch(state, job, SPLIT, row)
    return state


def test_each_checkpoint_is_the_first_epoch_at_which_what_it_is_called_after_is_greatest():
    rows = [{"val_sa": sa, "val_ra": ra} for sa, ra in ((50, 10), (40, 30), (70, 5), (60, 30), (60, 30))]
    best = after(rows, RECIPE.pgd_at(epochs=5)).best
    assert {name: b["epoch"] for name, b in best.items()} == {"best_ra": 2, "best_sa": 3, "best_sum": 4}


@pytest.mark.parametrize(("stalls", "stopped"), [("val_robust_loss", "plateau"), ("val_loss", "")])
def test_a_plateau_is_one_of_the_loss_that_the_schedule_names(stalls, stopped):
    schedule = Plateau(on="val_robust_loss")
    job = RECIPE.pgd_at(epochs=200, schedule=schedule)
    falling = [{"val_sa": 0.0, "val_ra": 0.0, "val_loss": 1 / (e + 1), "val_robust_loss": 1 / (e + 1)} for e in range(200)]
    assert after([row | {stalls: 1.0} for row in falling], job).stopped == stopped


def test_collapse_is_looked_for_with_five_steps_on_the_first_images(monkeypatch):
    asked = []
    monkeypatch.setattr(loop, "_measured", lambda state, images, attack, seed: asked.append((images, attack)) or (50.0, 1.0))
    job = RECIPE.fast_at(guard=True)
    state = SimpleNamespace(history=[], loss={}, net=nn.Linear(1, 1))
    assert not loop._collapsed(state, job, SPLIT, {})
    ((images, attack),) = asked
    n = min(128, len(SPLIT.train))
    assert torch.equal(images.x, SPLIT.train.x[:n])
    assert torch.equal(images.y, SPLIT.train.y[:n])
    assert (attack.eps, attack.steps, attack.step) == (job.loss.attack.eps, 5, 0.5)


@pytest.mark.parametrize(("now", "fell"), [(8.0, False), (7.2, True)])
def test_a_drop_of_twenty_points_is_no_collapse_whatever_the_rounding(monkeypatch, now, fell):
    monkeypatch.setattr(loop, "_measured", lambda *_: (now, 1.0))
    state = SimpleNamespace(history=[{"fixed_batch_ra": 100 * 7 / 25}], loss={}, net=nn.Linear(1, 1))  # 28.000000000000004
    assert loop._collapsed(state, RECIPE.fast_at(guard=True), SPLIT, {}) is fell


# ---- teachers ----------------------------------------------------------------------------------------------------------------
def test_teachers_are_asked_in_evaluation_mode_and_stay_as_they_are(store, monkeypatch):
    standard, robust = RECIPE.pgd_at(epochs=1, loss=CrossEntropy()), RECIPE.pgd_at(epochs=1)
    taught = RECIPE.pgd_at(epochs=1, loss=Distill(robust.loss.attack, standard, robust))
    for run in (standard, robust):
        execute(task(run, 0), store)
    found, buffers, plain = {}, {}, networks.teachers

    def watched(*args):
        found.update(plain(*args))
        buffers.update({name: [b.clone() for b in net.buffers()] for name, net in found.items()})
        return found

    monkeypatch.setattr(networks, "teachers", watched)
    trained(store, taught)
    assert list(found) == ["standard", "robust"]
    for name, teacher in found.items():
        assert not any(m.training for m in teacher.modules()), name
        assert buffers[name]
        assert all(torch.equal(a, b) for a, b in zip(buffers[name], teacher.buffers(), strict=True)), name
