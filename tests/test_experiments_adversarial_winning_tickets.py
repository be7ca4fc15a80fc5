"""The fourth paper's runs: the iterative adversarial ticket by the numbers that its authors' rule gives, and on runs of an epoch."""

import itertools
from dataclasses import replace

import pytest
import torch

from replib.data import Data
from replib.data.load import load
from replib.experiments.adversarial_winning_tickets.runs import ROUNDS, iterative_densities, iterative_tickets
from replib.experiments.profiles import SMOKE
from replib.experiments.recipe import Recipe
from replib.experiments.registry import reported
from replib.experiments.runner import closure, run
from replib.methods import Magnitude
from replib.models import Net
from replib.spec import SpecError, task
from replib.store import Store
from replib.store.context import Context
from replib.training.networks import fresh, ticket_masks, trained

PRINTED = Recipe(Data("mnist"), Net("mlp"), eps=0.3, epochs=100, batch=64, weight_decay=0.0, lr=1e-3, train_steps=20, train_step=0.125)
FEW = replace(
    SMOKE.recipe("CIFAR-10", "ResNet-18"), data=Data("mnist14", n_train=60, n_val=30, n_test=50), net=Net("mlp_small", width=8), epochs=2
)


@pytest.mark.parametrize(("rounds", "percent"), [(3, 51.28), (8, 16.88), (11, 8.68), (15, 3.58), (18, 1.85)])
def test_what_rounds_leave_of_the_printed_perceptron(rounds, percent):
    whole, output = iterative_densities(PRINTED, rounds)
    assert 100 * whole == pytest.approx(percent, abs=0.005)
    assert output == pytest.approx(0.9**rounds, abs=1e-6)


def test_the_rounds_are_those_of_the_printed_densities():
    printed = reported("adversarial_winning_tickets/table_1")
    levels = sorted(set(printed[printed.setting == "AWT"].sparsity_percent))
    assert sorted(ROUNDS) == levels
    for sparsity, rounds in ROUNDS.items():
        assert 100 * iterative_densities(PRINTED, rounds)[0] == pytest.approx(100 - sparsity, abs=0.06)


def test_the_setting_of_its_authors():
    dense, first = iterative_tickets(PRINTED, 1)
    assert (dense.epochs, dense.batch, dense.optim.lr, dense.net.bias) == (50, 60, 1.2e-3, False)
    assert (dense.loss.attack.steps, dense.loss.attack.eps, dense.loss.smoothing, dense.loss.clean) == (10, 0.3, 0.1, 0.5)
    assert dense.loss.attack.step * dense.loss.attack.eps == pytest.approx(0.05)
    assert first.ticket.rule.run == dense
    assert replace(first, ticket=None) == replace(dense, name=first.name)


def test_every_round_prunes_each_layer_by_its_share_and_starts_over(tmp_path):
    store = Store(tmp_path)
    made = iterative_tickets(FEW, 3)
    assert not run(closure([task(made[-1], 0)]), store, show=False).failed
    split = load(FEW.data)
    start = fresh(made[0], split, 0)
    assert not any(n.endswith("bias") for n, _ in start.named_parameters())
    masks = [ticket_masks(store, task(r.ticket, 0), start) for r in made[1:]]
    for n, found in enumerate(masks, 1):
        for name, share in {"fc1.weight": 0.8, "fc2.weight": 0.8, "fc3.weight": 0.9}.items():
            assert abs(int(found[name].sum()) - found[name].numel() * share**n) <= 1
    for wide, narrow in itertools.pairwise(masks):
        assert all((wide[name] | ~narrow[name]).all() for name in wide)
    context = Context(store, task(made[-1], 0))
    initial = dict(trained(context, context.task, "initial", split).named_parameters())
    before = dict(trained(Context(store, task(made[-2], 0)), task(made[-2], 0), "final", split).named_parameters())
    for name, p in start.named_parameters():
        assert torch.equal(initial[name], p * masks[-1][name])
        kept, gone = masks[-1][name], masks[-2][name] & ~masks[-1][name]
        assert before[name][gone].abs().max() <= before[name][kept].abs().min()


def test_a_density_of_the_classifier_needs_layers_of_their_own():
    dense = iterative_tickets(FEW, 0)[0]
    with pytest.raises(SpecError, match="layerwise=True"):
        Magnitude(dense, classifier=0.9)
    with pytest.raises(SpecError, match="use an MLP"):
        Net("vgg_small", bias=False)
