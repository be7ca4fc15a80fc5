"""The one loop: its guards, its averages, its masks, and where a run's weights come from."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from replib.analysis.evaluation import Evaluate
from replib.attacks import PGD
from replib.attacks.evaluate import evaluate
from replib.data.load import Images, load
from replib.experiments.jobs import RUN, execute
from replib.experiments.profiles import SMOKE
from replib.methods import FlyingBird, FlyingBirdPlus, Magnitude, Quota, Random, Shuffled, Ticket, tickets
from replib.models import Net
from replib.models.build import prunable
from replib.spec import Job, Pinned, ReplibError, SpecError, key, stream_seed, task
from replib.store.context import Context
from replib.store.folder import Output
from replib.store.world import ALONE
from replib.training import (
    SGD,
    Average,
    CleanAndAdversarial,
    Compose,
    CrossEntropy,
    Distill,
    Fresh,
    FromRun,
    Slimming,
    Train,
    loop,
    networks,
)
from replib.training.losses import scales
from replib.training.spec import Method
from replib.training.state import Masked, generator, read_state

RECIPE = SMOKE.recipe("CIFAR-10", "ResNet-18")
SPLIT = load(RECIPE.data)
TICKET = Ticket(RECIPE.data, RECIPE.net, 0.3, Quota("erk"))


def quick(**changes) -> Train:
    return RECIPE.pgd_at(**({"epochs": 2} | changes))


def done(store, *jobs, seed=0):
    for job in jobs:
        execute(task(job, seed), store)
    return task(jobs[-1], seed)


# ---- repetition ----------------------------------------------------------------------------------------------------------
def test_a_repetition_starts_from_the_same_weights_and_draws_everything_else_anew(store):
    first, again, third = (quick(epochs=1, repeat=n) for n in (0, 1, 2))
    for job in (first, again, third):
        done(store, job)
    start, end = ([store.weights(task(job, 0), f"epoch_{n}") for job in (first, again, third)] for n in (0, 1))
    assert all(torch.equal(w, start[0][n]) for other in start[1:] for n, w in other.items())
    assert not any(torch.equal(a["fc.weight"], b["fc.weight"]) for a, b in itertools.combinations(end, 2))
    assert key(first) == key(quick(epochs=1))
    assert len({key(job) for job in (first, again, third)}) == 3


# ---- guards --------------------------------------------------------------------------------------------------------------
def test_a_loss_that_is_not_finite_names_the_run_and_keeps_its_last_good_epoch(store, monkeypatch):
    t, plain, steps = task(quick(epochs=4, ticket=TICKET, name="the doomed run"), 0), loop.objective, 0
    done(store, TICKET)

    def doomed(*args):
        minimise = plain(*args)

        def step(*inner):
            nonlocal steps
            steps += 1
            value, logits = minimise(*inner)
            return (value * float("nan") if steps == 5 else value), logits  # the first step of the third epoch

        return step

    monkeypatch.setattr(loop, "objective", doomed)
    with pytest.raises(loop.Diverged, match=r"the doomed run.* became nan in epoch 3 of 4 .*smaller learning rate"):
        execute(t, store)
    assert store.status(t) == "missing"
    saved = read_state(store.folder(t) / "state.pt")
    assert (saved["epoch"], saved["step"], len(saved["history"])) == (2, 4, 2)
    assert all(w.isfinite().all() for w in saved["net"].values())
    monkeypatch.undo()
    execute(t, store)  # the cause removed, it goes on from there and is the run it would have been
    other = type(store)(store.root / "other")
    done(other, TICKET, t.job)
    ours, theirs = store.summary(t), other.summary(t)
    assert ours["cost"]["restarts"] == 1
    assert ours["files"]["metrics.csv"] == theirs["files"]["metrics.csv"]
    assert ours["files"]["epoch_4.safetensors"] == theirs["files"]["epoch_4.safetensors"]


@pytest.mark.parametrize("guard", [True, False])
def test_a_collapse_keeps_the_weights_of_the_epoch_before(store, monkeypatch, guard):
    """Catastrophic overfitting raises clean accuracy: the collapsed epoch must not come back as the best clean one."""
    accuracies, after = iter([50.0, 60.0, 39.0, 39.0]), []

    def scripted(state, job, split, row):
        after.append(state.snapshot())
        row["val_sa"] = 10.0 * state.epoch  # ever better
        monkeypatch.setattr(loop, "evaluate", lambda *a, **k: SimpleNamespace(accuracy=next(accuracies), loss=1.0))
        fell = plain(state, job, split, row)
        monkeypatch.setattr(loop, "evaluate", evaluate)
        return fell

    plain, evaluate = loop._collapsed, loop.evaluate
    monkeypatch.setattr(loop, "_collapsed", scripted)
    t = done(store, RECIPE.fast_at(guard=guard, epochs=4))
    results = store.results(t)
    assert results["collapsed"]
    assert list(store.table(t, "events").event) == ["collapse"]
    if not guard:
        assert (results["epochs"], results["stopped"]) == (4, "")
        return
    assert (results["epochs"], results["stopped"]) == (3, "collapse")
    assert results["checkpoints"]["final"]["epoch"] == 2
    assert results["checkpoints"]["best_sa"]["epoch"] == 2
    final = store.weights(t, networks.checkpoint_name(store, t, "final"))
    assert all(torch.equal(final[n], after[1][n]) for n in final)
    assert not all(torch.equal(final[n], after[2][n]) for n in final)


def test_twenty_points_are_not_yet_a_collapse(monkeypatch):
    net = nn.Linear(2, 2)
    state = SimpleNamespace(history=[{"fixed_batch_ra": 60.0}], loss={}, model=net, net=net, device="cpu", world=ALONE)
    job = RECIPE.fast_at(guard=True)
    for accuracy, expected in ((40.0, False), (39.9, True)):
        monkeypatch.setattr(loop, "evaluate", lambda *a, ra=accuracy, **k: SimpleNamespace(accuracy=ra, loss=0.0))
        assert loop._collapsed(state, job, SPLIT, {}) is expected


# ---- averages --------------------------------------------------------------------------------------------------------------
def averaged(weights, masks=None):
    """The state after averaging over scripted weights of one small network; `masks` hold for the last of them."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 36, 10))
    state = SimpleNamespace(
        net=net, model=net, masks={}, average={}, kept={}, epoch=0, device="cpu", task=task(quick(), 0),
        random=lambda purpose: torch.Generator().manual_seed(1),
    )  # fmt: skip
    state.snapshot = lambda: {
        k: v.detach().clone() * state.masks.get(k, torch.ones_like(v, dtype=torch.bool)) for k, v in net.state_dict().items()
    }
    for n, scale in enumerate(weights):
        state.masks = (masks or {}) if n == len(weights) - 1 else {}
        torch.manual_seed(3)
        with torch.no_grad():
            for p in net.parameters():
                p.copy_(torch.randn(p.shape) * scale)
        loop._average(state, quick(), SPLIT, {}, n + 1)
    return state


def test_the_average_of_constant_weights_is_those_weights():
    state = averaged([1.0, 1.0, 1.0])
    for name, p in state.net.named_parameters():
        assert torch.allclose(state.kept["average_final"][name], p, rtol=1e-6, atol=0)


def test_the_average_is_the_mean_and_leaves_the_run_alone():
    state = averaged([1.0, 2.0, 6.0])
    assert state.average["count"] == 3
    for name, p in state.net.named_parameters():
        assert torch.allclose(state.kept["average_final"][name], p / 2, rtol=1e-5, atol=1e-7)  # mean 3 of 1, 2, 6; p has 6
    assert not torch.equal(state.kept["average_final"]["1.running_mean"], state.net.state_dict()["1.running_mean"])


def test_the_average_stays_inside_the_current_mask():
    mask = torch.zeros(10, 72, dtype=torch.bool)
    mask[:, ::3] = True
    channel = torch.ones(2, 1, 3, 3, dtype=torch.bool)
    channel[0] = False
    state = averaged([1.0, 2.0], {"3.weight": mask, "0.weight": channel})
    assert not state.kept["average_final"]["3.weight"][~mask].any()
    assert state.kept["average_final"]["3.weight"][mask].all()
    kept = state.kept["average_final"]  # statistics are those of the masked average: channel 0 is its bias everywhere
    assert kept["1.running_mean"][0].item() == pytest.approx(kept["0.bias"][0].item(), rel=1e-5)
    assert kept["1.running_var"][0].item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("momentum", [0.01, 0.1, 0.9, None])
def test_refreshed_statistics_do_not_depend_on_the_momentum(momentum):
    bn = nn.BatchNorm2d(1, momentum=momentum)
    bn.running_mean.fill_(77.0)
    x = torch.rand(90, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    split = replace(SPLIT, train=Images(x, torch.zeros(90, dtype=torch.int64)), augmentation=replace(SPLIT.augmentation, pad=0))
    loop.refresh_statistics(nn.Sequential(bn), split, 30, torch.Generator())
    assert bn.running_mean.item() == pytest.approx(x.mean().item(), rel=1e-5)
    assert bn.running_var.item() == pytest.approx(torch.stack([c.var() for c in x.split(30)]).mean().item(), rel=1e-5)
    assert bn.momentum == momentum


def test_averaging_starts_after_its_share_of_the_run(store):
    table = store.table(done(store, quick(epochs=4, average=Average(0.5))))
    assert table.average_val_ra.notna().tolist() == [False, False, True, True]


# ---- masks ----------------------------------------------------------------------------------------------------------------
class Net2(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x)


def gradients(straight_through):
    torch.manual_seed(0)
    net, mask = Net2(), torch.rand(3, 4) > 0.5
    x = torch.randn(5, 4)
    model = Masked(net, {"fc.weight": mask}, straight_through)
    z = model(x)
    z.square().sum().backward()
    effective = Net2()
    effective.load_state_dict({"fc.weight": net.fc.weight * mask, "fc.bias": net.fc.bias})
    reference = effective(x)
    reference.square().sum().backward()
    assert torch.equal(z, reference)
    return net.fc.weight.grad, effective.fc.weight.grad, mask


def test_hidden_pruned_weights_get_no_gradient():
    grad, dense, mask = gradients(straight_through=False)
    assert torch.equal(grad, dense * mask)
    assert dense[~mask].abs().min() > 0


def test_straight_through_gives_pruned_weights_the_dense_gradient():
    grad, dense, mask = gradients(straight_through=True)
    assert torch.equal(grad, dense)
    assert grad[~mask].abs().min() > 0


@dataclass(frozen=True)
class Watch(Method):
    """Notes what the masks of a run do."""

    def after_step(self, state):
        for n, m in state.masks.items():
            w = state.weights[n]
            SEEN.append((w.detach()[~m].abs().sum().item(), w.grad[~m].abs().sum().item(), (w.grad * m).abs().sum().item()))


SEEN: list[tuple[float, float, float]] = []


@pytest.mark.parametrize("masking", ["projected", "parametrized", "straight_through"])
def test_the_three_kinds_of_masking_in_a_run(store, masking):
    SEEN.clear()
    done(store, TICKET)
    run = quick(ticket=TICKET, masking=masking, method=Watch())
    out = networks.run_train(run, Context(store, task(run, 0)))
    pruned, hidden_gradient, gradient = (sum(x) for x in zip(*SEEN, strict=True))
    assert gradient > 0
    assert (pruned == 0) == (masking == "projected")
    assert (hidden_gradient == 0) == (masking == "parametrized")
    masks = networks.ticket_masks(store, task(TICKET, 0), networks.fresh(run, SPLIT, 0))
    for weights in out.weights.values():  # what is kept is sparse, whatever hides behind it
        assert all(not weights[n][~m].any() for n, m in masks.items())
    assert out.metrics[-1]["density"] == pytest.approx(0.3, abs=1e-3)


def test_density_is_that_of_what_the_ticket_speaks_about(store):
    ticket = Ticket(RECIPE.data, RECIPE.net, 0.3, Random(), scope="conv")
    t = done(store, ticket, quick(ticket=ticket))
    assert store.results(t)["density"] == store.results(task(ticket, 0))["density"] == pytest.approx(0.3, abs=1e-3)


# ---- where weights come from -------------------------------------------------------------------------------------------------
def start(store, job, init, seed=0):
    return networks.initial(Context(store, task(job, seed)), job, init, SPLIT)


def test_all_methods_of_a_seed_start_from_the_same_weights(store):
    one, two = start(store, quick(), Fresh()), start(store, quick(loss=CrossEntropy(), epochs=9), Fresh())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    for other in (start(store, quick(), Fresh(1)), start(store, quick(), Fresh(), seed=1)):
        assert not any(torch.equal(w, prunable(other)[n]) for n, w in prunable(one).items())


def test_runs_of_one_seed_see_the_same_batches(store, monkeypatch):
    plain, seen = loop.augment, []
    monkeypatch.setattr(loop, "augment", lambda x, *rest: seen.append(plain(x, *rest)) or seen[-1])
    done(store, TICKET)
    batches = {}
    runs = {
        "dense": (quick(), 0),
        "sparse": (quick(ticket=TICKET), 0),
        "standard": (quick(loss=CrossEntropy()), 0),
        "more attack": (quick(loss=replace(quick().loss, attack=PGD(0.2, 3, restarts=2))), 0),
        "seed": (quick(), 1),
    }
    for name, (run, seed) in runs.items():
        seen.clear()
        networks.run_train(run, Context(store, task(run, seed)))
        batches[name] = list(seen)
    assert len(batches["dense"]) == 4
    for name in ("sparse", "standard", "more attack"):
        assert all(torch.equal(a, b) for a, b in zip(batches["dense"], batches[name], strict=True)), name
    assert not torch.equal(batches["dense"][0], batches["seed"][0])
    assert not torch.equal(batches["dense"][0], batches["dense"][2])  # another order in the next epoch


def test_composed_weights_to_the_bit(store):
    """Inverse weights inheritance: the trained ticket where it keeps, the original draw elsewhere (B, Algorithm 2)."""
    tuned = quick(ticket=TICKET)
    t = done(store, TICKET, tuned)
    masks = networks.ticket_masks(store, task(TICKET, 0), networks.fresh(tuned, SPLIT, 0))
    trained, original = networks.trained(Context(store, t), t, "final", SPLIT), networks.fresh(tuned, SPLIT, 0)
    for outside in (Fresh(), FromRun(tuned, "initial")):
        net = start(store, quick(), Compose(FromRun(tuned), outside, TICKET))
        for name, p in net.named_parameters():
            inner, outer = trained.get_parameter(name), original.get_parameter(name)
            if name not in masks:
                assert torch.equal(p, inner)
            elif isinstance(outside, Fresh):
                assert torch.equal(p[masks[name]], inner[masks[name]])
                assert torch.equal(p[~masks[name]], outer[~masks[name]])
                assert (p[~masks[name]] != 0).all()
            else:
                assert not p[~masks[name]].any()  # the sparse run's own start holds zeros there
        assert torch.equal(net.state_dict()["bn.running_mean"], trained.state_dict()["bn.running_mean"])


def test_nothing_is_masked_after_composing(store):
    tuned = quick(ticket=TICKET)
    large = quick(init=Compose(FromRun(tuned), Fresh(), TICKET))
    t = done(store, TICKET, tuned, large)
    assert store.results(t)["density"] == 1.0
    assert all((store.weights(t, "epoch_2")[n] != 0).all() for n in prunable(networks.fresh(large, SPLIT, 0)))


def test_a_run_starts_from_another_with_or_without_its_head(store):
    source = quick()
    t = done(store, source)
    final, own = store.weights(t, "epoch_2"), networks.fresh(source, SPLIT, 0).state_dict()
    whole = start(store, source, FromRun(source)).state_dict()
    assert all(torch.equal(whole[n], final[n]) for n in final)
    body = start(store, source, FromRun(source, head=False)).state_dict()
    assert all(torch.equal(body[n], own[n] if n.startswith("fc.") else final[n]) for n in final)
    with pytest.raises(ReplibError, match=r"do not fit .*Start from a run of the same architecture"):
        start(store, quick(net=Net("preact_resnet_small", width=8)), FromRun(source))


def test_the_head_is_the_last_linear_layer():
    for arch, name in (("preact_resnet_small", "fc"), ("mlp_small", "fc3"), ("cnn_small", "fc2"), ("vgg_small", "fc")):
        assert networks.head(networks.fresh(quick(net=Net(arch)), SPLIT, 0)) == name


def test_a_checkpoint_that_is_not_there_is_named(store):
    t = done(store, quick())
    with pytest.raises(ReplibError, match=r"no checkpoint 'epoch_9'; it has initial, best_ra.*Correct the name"):
        networks.checkpoint_name(store, t, "epoch_9")


def test_channel_counts_that_pruning_decided(store):
    net = Net("vgg_small", width=4, channels=(3, 5, 4, 7, 2, 6))
    t = done(store, quick(net=net))
    assert list(store.results(t)["layers"].values())[:2] == [3 * 9, 5 * 3 * 9]
    twin = quick(net=net, init=Fresh(1))
    assert not torch.equal(start(store, twin, twin.init).convs[0].weight, start(store, twin, Fresh()).convs[0].weight)


# ---- numbers that tables report -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Narrow(Job):
    """Stands for a job that prunes filters: it says how many each convolution keeps."""

    kind: ClassVar[str] = "narrow"

    run: Train


def test_another_job_decides_how_wide_a_network_is(store, monkeypatch):
    kept = (3, 5, 4, 7, 2, 6)
    monkeypatch.setitem(RUN, Narrow, lambda job, context: Output({"channels": kept}))
    net = Net("vgg_small", width=4)
    large = quick(net=net, epochs=1)
    small = replace(large, channels=Narrow(large))
    t = done(store, large, Narrow(large), small, Evaluate(small, PGD(0.1, 1), ("final/test",)))
    assert store.results(t)["final/test"]["images"] == len(SPLIT.test)
    twin = done(store, quick(net=replace(net, channels=kept), epochs=1))
    small_task = task(small, 0)
    assert store.folder(small_task).joinpath("metrics.csv").read_bytes() == store.folder(twin).joinpath("metrics.csv").read_bytes()
    with pytest.raises(SpecError, match="give one of them"):
        replace(small, net=replace(net, channels=kept))


@pytest.mark.parametrize(
    "make",
    [
        lambda run: FromRun(run, "bestra"),
        lambda run: Magnitude(run, "bestra"),
        lambda run: Evaluate(run, None, ("bestra/test",)),
        lambda run: Distill(run.loss.attack, run, run, checkpoints=("bestra", "final")),
    ],
)
def test_a_misspelt_checkpoint_is_refused_before_anything_is_trained(make):
    with pytest.raises(SpecError, match="best_ra"):
        make(quick())


def test_transfer_needs_an_attack_and_another_net():
    with pytest.raises(SpecError, match="give an attack"):
        Evaluate(quick(), None, surrogate=quick(init=Fresh(1)))
    with pytest.raises(SpecError, match="give a surrogate"):
        Evaluate(quick(), PGD(0.1, 1), crafted_here=True)


def test_a_second_magnitude_ticket_is_nested_in_the_first(store, monkeypatch):
    """A ladder: an active weight that training left at zero is kept before any weight that was pruned."""
    first = quick(ticket=TICKET, epochs=1)
    done(store, TICKET, first)
    net = networks.fresh(first, SPLIT, 0)
    for p in prunable(net).values():
        p.data.zero_()
    monkeypatch.setattr(tickets, "trained", lambda *a: net)
    lower = done(store, Ticket(RECIPE.data, RECIPE.net, 0.2, Magnitude(first)))
    before, after = (networks.ticket_masks(store, t, net) for t in (task(TICKET, 0), lower))
    assert all(not (after[n] & ~before[n]).any() for n in after)


def test_a_rule_that_misses_its_density_is_refused(store):
    wrong = Ticket(RECIPE.data, RECIPE.net, 0.1, Shuffled(TICKET))
    with pytest.raises(ReplibError, match="make the rule keep that many"):
        done(store, TICKET, wrong)


def test_one_checkpoint_one_evaluation(store):
    """Best minus final is exactly zero when the best epoch is the last, attack noise included."""
    run = quick(epochs=1)
    t = done(store, run, Evaluate(run, RECIPE.test_attack()))
    results = store.results(t)
    assert results["best_ra/test"] == results["final/test"]
    assert results["final/test"]["images"] == len(SPLIT.test)


def test_the_gap_of_equal_sets_is_zero(store, monkeypatch):
    from replib.analysis import evaluation

    monkeypatch.setattr(evaluation, "load", lambda *a: replace(SPLIT, train=SPLIT.test))
    run = quick(epochs=1)
    t = done(store, run, Evaluate(run, PGD(0.2, 3, start="zero")))
    results = store.results(t)
    assert results["final/train"] == results["final/test"]


def test_decay_adds_up_over_steps_whatever_the_schedule(store):
    for run in (RECIPE.fast_at(epochs=2), quick()):
        table = store.table(done(store, run))
        lr, total = run.optim.lr, 0.0
        for step in range(4):
            total += lr * loop.rate(run.schedule, step=step, steps_per_epoch=2, epochs=2, plateau={}) * run.optim.weight_decay
        assert table.lr_times_decay.iloc[-1] == pytest.approx(total, rel=1e-12)


# ---- whole runs of what papers combine ----------------------------------------------------------------------------------------
def test_distillation_without_its_teachers_weight_is_adversarial_training(store):
    standard, robust = quick(loss=CrossEntropy()), quick()
    alone = Distill(robust.loss.attack, standard, robust, ce=1.0, standard=0.0, robust=0.0)
    plain, untaught = done(store, standard, robust), done(store, quick(loss=alone))
    assert store.folder(plain).joinpath("metrics.csv").read_bytes() == store.folder(untaught).joinpath("metrics.csv").read_bytes()
    taught = store.table(done(store, quick(loss=replace(alone, ce=0.3, standard=0.1, robust=0.6))))
    assert not taught.train_loss.equals(store.table(plain).train_loss)


def test_each_teacher_has_its_own_weight_and_checkpoint(store):
    """All weight on the standard teacher, or the two exchanged and all on the robust one: the same run, bit for bit."""
    one, two = quick(loss=CrossEntropy()), quick()
    done(store, one, two)
    attack, checkpoints = two.loss.attack, ("final", "initial")
    first = Distill(attack, one, two, ce=0.5, standard=1.0, robust=0.0, checkpoints=checkpoints)
    exchanged = Distill(attack, two, one, ce=0.5, standard=0.0, robust=1.0, checkpoints=checkpoints[::-1])
    metrics = {}
    for name, loss in {
        "first": first,
        "exchanged": exchanged,
        "other teacher": replace(first, standard=0.0, robust=1.0),
        "other checkpoint": replace(first, checkpoints=("initial", "initial")),
    }.items():
        metrics[name] = store.folder(done(store, quick(loss=loss))).joinpath("metrics.csv").read_bytes()
    assert metrics["first"] == metrics["exchanged"]
    assert metrics["first"] != metrics["other teacher"]
    assert metrics["first"] != metrics["other checkpoint"]


def test_the_average_of_a_run_whose_mask_moves_is_as_sparse_as_its_last_mask(store):
    flying = quick(epochs=4, ticket=TICKET, method=FlyingBird(interval=1 / 8), average=Average(0.0))
    t = done(store, TICKET, flying)
    final, average = (store.weights(t, name) for name in ("epoch_4", "average_final"))
    net = networks.fresh(t.job, SPLIT, 0)
    first, last = (networks.ticket_masks(store, at, net) for at in (task(TICKET, 0), t))
    assert any(not torch.equal(first[n], last[n]) for n in last)  # the mask did move
    for name, mask in last.items():
        assert not average[name][~mask].any()
    assert any(not torch.equal(average[n], final[n]) for n in last)


def test_the_average_of_a_run_whose_weights_stand_still_is_those_weights(store):
    t = done(store, quick(epochs=3, optim=SGD(lr=1e-30), average=Average(0.0)))
    first, average = store.weights(t, "epoch_0"), store.weights(t, "average_final")
    for name, _ in networks.fresh(t.job, SPLIT, 0).named_parameters():
        torch.testing.assert_close(average[name], first[name], rtol=1e-6, atol=1e-20)


def test_statistics_of_an_average_are_those_of_clean_training_images(store):
    """What a fresh pass over the images gives the averaged weights, not what adversarial training left behind."""
    t = done(store, quick(epochs=3, average=Average(0.0)))
    net = networks.trained(Context(store, t), t, "average_final", SPLIT)
    kept = {n: b.clone() for n, b in net.named_buffers() if "running" in n}
    loop.refresh_statistics(net, SPLIT, t.job.batch, generator(0, "average/2"))
    live = store.weights(t, "epoch_3")
    assert kept
    for name, buffer in net.named_buffers():
        if "running" in name:
            torch.testing.assert_close(kept[name], buffer, rtol=1e-5, atol=1e-7)
            assert not torch.allclose(kept[name], live[name], rtol=1e-3)


def test_distilled_averaged_flying_bird_plus_stays_inside_its_mask(store, monkeypatch):
    """All that Figure 4 combines, at once, with a controller that steps in whatever the signals of so short a run are."""
    monkeypatch.setattr(FlyingBirdPlus, "signals", lambda *_: (1.0, 0.0))
    standard, robust = quick(loss=CrossEntropy()), quick()
    method = FlyingBirdPlus(interval=1 / 8, window=1, t_start=0.25, delta_p=0.9)
    loss = Distill(robust.loss.attack, standard, robust)
    t = done(store, TICKET, standard, robust, quick(epochs=4, ticket=TICKET, method=method, loss=loss, average=Average(0.25)))
    net, layers = networks.fresh(t.job, SPLIT, 0), store.results(t)["layers"]
    first, last = (networks.ticket_masks(store, place, net) for place in (task(TICKET, 0), t))
    assert store.table(t, "events").prune_boost.any()
    assert sum(int(m.sum()) for m in last.values()) < 0.9 * sum(int(m.sum()) for m in first.values())
    final, average = store.weights(t, "epoch_4"), store.weights(t, "average_final")
    for name in layers:
        assert not average[name][~last[name]].any()
        assert not final[name][~last[name]].any()
    evaluated = Evaluate(t.job, RECIPE.test_attack(), ("average_best_ra/test", "average_final/test"))
    assert store.results(done(store, evaluated))["average_final/test"]["images"] == len(SPLIT.test)
    best, table = store.results(t)["checkpoints"]["average_best_ra"], store.table(t)
    assert best["value"] == table.average_val_ra.max()
    assert best["epoch"] == table.epoch[table.average_val_ra.idxmax()] > 1


def test_transfer_swaps_the_net_that_is_attacked_and_the_net_that_answers(store):
    run, unseen, attack = quick(), quick(init=Fresh(1)), PGD(0.2, 3)
    t = done(store, run, unseen, Evaluate(run, attack))
    here, onto, itself = (
        store.results(done(store, Evaluate(run, attack, ("final/test",), **how)))["final/test"]
        for how in ({"surrogate": unseen}, {"surrogate": unseen, "crafted_here": True}, {"surrogate": run})
    )
    assert itself == store.results(t)["final/test"]  # crafted on itself: the plain attack
    images = SPLIT.test
    nets = {r: networks.trained(Context(store, task(r, 0)), task(r, 0), "final", SPLIT) for r in (run, unseen)}
    for found, answers, crafted in ((here, run, unseen), (onto, unseen, run)):
        seed = stream_seed(0, "evaluate/test")
        by_hand = evaluate(nets[answers], images.x, images.y, attack, seed=seed, surrogate=nets[crafted])
        assert (found["accuracy"], found["loss"]) == (by_hand.accuracy, by_hand.loss)
    assert here["loss"] != onto["loss"]


def test_transfer_to_other_classes_keeps_the_body_and_draws_the_head(store):
    """From ten digits to a hundred pairs of digits, whose pictures are twice as wide."""
    source = quick()
    pairs = replace(RECIPE.data, name="digit_pairs", n_train=100, n_test=50)
    target = quick(data=pairs, epochs=1, init=FromRun(source, "best_ra", head=False), retain=("weights",))
    t = done(store, source, target)
    start, trained = store.weights(t, "epoch_0"), store.weights(t, "epoch_1")
    body = store.weights(task(source, 0), networks.checkpoint_name(store, task(source, 0), "best_ra"))
    own = networks.fresh(target, load(pairs), 0).state_dict()
    assert start["fc.weight"].shape[0] == 100
    for name, w in start.items():
        assert torch.equal(w, own[name] if name.startswith("fc.") else body[name]), name
    assert all(not torch.equal(trained[n], start[n]) for n in ("stem.weight", "fc.weight"))
    assert store.results(done(store, Evaluate(target, None, ("final/test",))))["final/test"]["images"] == 50
    with pytest.raises(ReplibError, match=r"The weights .*fc\.weight.* do not fit .*FromRun\(\.\.\., head=False\)"):
        done(store, replace(target, init=FromRun(source, "best_ra")))


def test_slimming_shrinks_the_scales_and_without_strength_is_the_loss_inside(store):
    plain = done(store, quick())
    none, strong = done(store, quick(loss=Slimming(quick().loss, 0.0))), done(store, quick(loss=Slimming(quick().loss, 0.5)))
    assert store.folder(none).joinpath("metrics.csv").read_bytes() == store.folder(plain).joinpath("metrics.csv").read_bytes()

    def size(t):
        net = networks.trained(Context(store, t), t, "final", SPLIT)
        return sum(s.abs().sum().item() for s in scales(net))

    assert size(strong) < 0.9 * size(plain)


def test_clean_and_adversarial_training_has_its_two_ends(store):
    """All weight on the adversarial half trains as adversarial training does; half and half is neither that nor clean training.

    Validation differs even so: the running statistics of batch normalisation have seen the clean images too.
    """
    robust = quick()
    mixed = CleanAndAdversarial(robust.loss.attack, clean=0.0, smoothing=0.0)
    runs = {"robust": robust, "end": quick(loss=mixed), "half": quick(loss=replace(mixed, clean=0.5)), "clean": quick(loss=CrossEntropy())}
    tables = {name: store.table(done(store, run)) for name, run in runs.items()}
    for column in ("train_loss", "train_ra"):
        assert list(tables["end"][column]) == pytest.approx(list(tables["robust"][column]), rel=1e-5), column
    assert not tables["end"].val_loss.equals(tables["robust"].val_loss)
    for name in ("robust", "clean"):
        assert not tables["half"].train_loss.equals(tables[name].train_loss)
    first = {name: table.train_loss.iloc[0] for name, table in tables.items()}
    assert first["clean"] < first["half"] < first["robust"]  # nearly the same weights: the loss of a mixture lies between its parts


def test_a_pinned_parent_is_one_network_for_all_seeds(store):
    source = quick(loss=CrossEntropy())
    pinned, own = quick(epochs=1, init=FromRun(Pinned(source, 3))), quick(epochs=1, init=FromRun(source))
    done(store, source, seed=3)
    starts = {seed: store.weights(done(store, pinned, seed=seed), "epoch_0") for seed in (0, 1)}
    final = store.weights(task(source, 3), "epoch_2")
    for weights in starts.values():
        assert all(torch.equal(weights[n], final[n]) for n in final)
    tables = [store.table(task(pinned, seed)).train_loss for seed in (0, 1)]
    assert not tables[0].equals(tables[1])  # the batches and attacks are each seed's own
    with pytest.raises(ReplibError, match=r"needs train-.*/0 .*which is missing"):  # seed 0 has no parent of its own
        done(store, own)
    done(store, source)
    assert not torch.equal(store.weights(done(store, own), "epoch_0")["stem.weight"], final["stem.weight"])


def test_a_pinned_ticket_and_pinned_teachers_are_those_of_their_seed(store):
    standard, robust = quick(loss=CrossEntropy(), epochs=1), quick(epochs=1)
    loss = Distill(robust.loss.attack, Pinned(standard, 2), Pinned(robust, 2))
    run = quick(epochs=1, ticket=Pinned(TICKET, 2), loss=loss)
    done(store, TICKET, standard, robust, seed=2)
    weights = store.weights(done(store, run), "epoch_1")  # nothing of seed 0 was made before it
    net = networks.fresh(run, SPLIT, 0)
    masks = networks.ticket_masks(store, task(TICKET, 2), net)
    assert all(torch.equal(weights[n] != 0, m) for n, m in masks.items())


def test_free_training_takes_each_batch_several_times_in_a_row(store, monkeypatch):
    seen, plain = [], loop.objective

    def noted(*args):
        minimise = plain(*args)

        def step(model, x, y, rng):
            seen.append(x.clone())
            return minimise(model, x, y, rng)

        return step

    monkeypatch.setattr(loop, "objective", noted)
    t = done(store, RECIPE.free_at(epochs=2))
    again = RECIPE.free_replays
    assert store.results(t)["steps"] == len(seen) == 2 * again * 2  # epochs, replays, batches
    for first in range(0, len(seen), again):
        assert all(torch.equal(seen[first], x) for x in seen[first + 1 : first + again])
    assert not torch.equal(seen[0], seen[again])


def test_a_ticket_can_have_the_density_that_another_run_ended_with(store):
    prune = replace(TICKET, rule=Quota("igq"))
    moving = quick(epochs=6, ticket=prune, method=FlyingBirdPlus(interval=1 / 12, window=1, t_start=0.0, frequency=1e-9, delta_g=0.0))
    like = Ticket(RECIPE.data, RECIPE.net, moving, Random())
    twin = Ticket(RECIPE.data, RECIPE.net, moving, Shuffled(like))
    done(store, prune, moving, like, twin)
    ended = store.results(task(moving, 0))["density"]
    assert ended < TICKET.density
    for ticket in (like, twin):
        assert store.results(task(ticket, 0))["density"] == pytest.approx(ended, abs=1e-12)
    assert store.results(task(twin, 0))["kept"] == store.results(task(like, 0))["kept"]


def test_an_evaluation_of_the_first_images_only(store):
    run = quick()
    whole, part = (Evaluate(run, PGD(eps=0.1, steps=2), ("final/test",), images=n) for n in (None, 20))
    done(store, run, whole, part)
    bits = [store.arrays(task(e, 0))["correct/final/test"] for e in (whole, part)]
    assert store.results(task(part, 0))["final/test"]["images"] == 20
    assert list(np.unpackbits(bits[0])[:20]) == list(np.unpackbits(bits[1])[:20])
