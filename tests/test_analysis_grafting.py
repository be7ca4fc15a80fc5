"""Grafts: the ends are the parents, the middle is both, and a network grafted on itself is itself."""

from dataclasses import replace

import pytest
import torch

from replib.analysis.grafting import Grafting, graft, increase
from replib.attacks import PGD
from replib.attacks.evaluate import evaluate
from replib.data import Data
from replib.data.load import load
from replib.experiments.jobs import execute
from replib.experiments.profiles import SMOKE
from replib.experiments.runner import closure
from replib.methods import Random, Ticket
from replib.models import Net, weight_shapes
from replib.models.build import build
from replib.spec import SpecError, stream_seed, task
from replib.store import Store
from replib.store.context import Context
from replib.training import Fresh
from replib.training.networks import trained

NETS = {
    "mlp": (Net("mlp_small", width=4), (1, 8, 8)),
    "cnn": (Net("cnn_small", width=2), (1, 14, 14)),
    "vgg": (Net("vgg_small", width=4, blocks=1), (1, 8, 8)),
}
ATTACK = PGD(0.1, steps=2)


def pair(family):
    """Two networks of one architecture with different weights and statistics, and their layers."""
    net, shape = NETS[family]
    made = []
    for seed in (0, 1):
        found = build(net, classes=10, shape=shape, mean=(0.5,), std=(0.5,), generator=torch.Generator().manual_seed(seed))
        found(torch.rand(8, *shape, generator=torch.Generator().manual_seed(seed)))  # in training mode: statistics move
        made.append(found.eval())
    return *made, [n.removesuffix(".weight") for n in weight_shapes(net, 10, shape)]


def outputs(net, state, x):
    net.load_state_dict(state)
    with torch.no_grad():
        return net(x)


@pytest.mark.parametrize("family", NETS)
def test_the_ends_are_the_parents(family):
    a, b, layers = pair(family)
    x = torch.rand(5, *NETS[family][1], generator=torch.Generator().manual_seed(2))
    of_a, of_b = a(x).detach(), b(x).detach()
    states = [{k: v.clone() for k, v in net.state_dict().items()} for net in (a, b)]
    assert torch.equal(outputs(a, graft(*states, 0, layers), x), of_b)
    assert torch.equal(outputs(a, graft(*states, len(layers), layers), x), of_a)
    for cut in range(len(layers) + 1):
        assert torch.equal(outputs(a, graft(states[0], states[0], cut, layers), x), of_a)


@pytest.mark.parametrize("family", NETS)
def test_a_graft_passes_on_what_its_lower_parent_computes(family):
    """What the layer after the cut is given is what it is given in the lower parent; what it makes of it, the upper parent's doing."""
    a, b, layers = pair(family)
    x = torch.rand(5, *NETS[family][1], generator=torch.Generator().manual_seed(2))
    states = [{k: v.clone() for k, v in net.state_dict().items()} for net in (a, b)]
    for cut in range(1, len(layers)):
        given = []
        handle = a.get_submodule(layers[cut]).register_forward_pre_hook(lambda _, args, given=given: given.append(args[0].clone()))
        outputs(a, states[0], x)
        out = outputs(a, graft(*states, cut, layers), x)
        handle.remove()
        assert torch.equal(*given)
        upper = b.get_submodule(layers[cut]).register_forward_pre_hook(lambda _, args, given=given: (given[0],))
        expected = outputs(b, states[1], x)
        upper.remove()
        assert torch.equal(out, expected)


def test_increases_by_hand():
    assert increase(12.0, 4.0, 9.0) == {"over_upper": 3.0, "over_better": 8.0}


# ---- the job ------------------------------------------------------------------------------------------------------------------
DENSE = replace(
    SMOKE.recipe("CIFAR-10", "ResNet-18"), data=Data("mnist14", n_train=120, n_val=30, n_test=60), net=NETS["cnn"][0], epochs=2
).pgd_at(retain=("weights",))


def made(tmp_path, job):
    store = Store(tmp_path)
    for t in closure([task(job, 0)]):
        execute(t, store)
    return store, task(job, 0)


def test_the_job_attacks_every_graft_and_starts_from_the_parents_own_errors(tmp_path):
    sparse = replace(DENSE, ticket=Ticket(DENSE.data, DENSE.net, 0.2, Random()))
    store, t = made(tmp_path, Grafting(DENSE, sparse, ATTACK, (0, 2)))
    table, found = store.table(t), store.results(t)
    assert len(table) == 2 * 2 * 5
    for epoch, mine in table.groupby("epoch"):
        at = mine.set_index(["lower", "cut"])
        for kind in ("natural_error", "adversarial_error"):
            assert at.loc[("dense", 0), kind] == at.loc[("sparse", 4), kind]
            assert at.loc[("sparse", 0), kind] == at.loc[("dense", 4), kind]
        assert (at.adversarial_error >= at.natural_error).all(), epoch
    inner = table[table.cut.between(1, 3)]
    upper = table[table.cut == 0].set_index(["epoch", "lower"]).natural_error
    increases = inner.natural_error - upper.reindex(list(zip(inner.epoch, inner.lower, strict=True))).to_numpy()
    assert found["natural"]["over_upper"] == pytest.approx(increases.mean())
    assert found["natural"]["over_better"] >= found["natural"]["over_upper"]
    assert found["layers"] == ["conv1", "conv2", "fc1", "fc2"]


def test_the_errors_of_a_graft_are_those_of_an_evaluation_of_the_graft(tmp_path):
    """A graft errs on images made on itself, not on those that either parent would be given."""
    sparse = replace(DENSE, ticket=Ticket(DENSE.data, DENSE.net, 0.2, Random()))
    store, t = made(tmp_path, Grafting(DENSE, sparse, ATTACK, (2,)))
    split, found = load(DENSE.data), store.table(t).set_index(["lower", "cut"])
    nets = {name: trained(Context(store, t), task(job, 0), "epoch_2", split) for name, job in (("dense", DENSE), ("sparse", sparse))}
    net = trained(Context(store, t), task(DENSE, 0), "epoch_2", split)
    for lower, upper in (("dense", "sparse"), ("sparse", "dense")):
        for cut in range(5):
            net.load_state_dict(graft(nets[lower].state_dict(), nets[upper].state_dict(), cut, store.results(t)["layers"]))
            for kind, attack in (("natural_error", None), ("adversarial_error", ATTACK)):
                by_hand = evaluate(net, split.test.x, split.test.y, attack, seed=stream_seed(0, "grafting"))
                assert found.loc[(lower, cut), kind] == pytest.approx(100 - by_hand.accuracy)


def test_a_run_grafted_on_itself_errs_no_more(tmp_path):
    store, t = made(tmp_path, Grafting(DENSE, DENSE, ATTACK, (1, 2), images=40))
    for kind in ("natural", "adversarial"):
        assert set(store.results(t)[kind].values()) == {0.0}
    assert store.results(t)["images"] == 40


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sparse": replace(DENSE, init=Fresh(1))}, "channels do not correspond"),
        ({"sparse": replace(DENSE, retain=())}, "retain="),
        ({"epochs": (3,)}, "Grafting.epochs"),
        ({"epochs": ()}, "is empty"),
    ],
)
def test_what_cannot_be_grafted_is_refused(change, words):
    with pytest.raises(SpecError, match=words):
        Grafting(**({"dense": DENSE, "sparse": DENSE, "attack": ATTACK, "epochs": (1,)} | change))


def test_networks_with_shortcuts_are_refused():
    run = SMOKE.recipe("CIFAR-10", "ResNet-18").pgd_at(retain=("weights",))
    with pytest.raises(SpecError, match="shortcuts"):
        Grafting(run, run, ATTACK, (1,))
