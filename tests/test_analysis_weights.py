"""Numbers of a distribution against values worked out by hand, and the job against the network it reads."""

import numpy as np
import pytest
import torch

from replib.analysis.weights import Weights, folded, numbers
from replib.experiments.jobs import execute
from replib.experiments.profiles import SMOKE
from replib.methods import Magnitude, Random, Ticket
from replib.models import Net
from replib.models.build import build
from replib.spec import SpecError, task
from replib.store import Store

RECIPE = SMOKE.recipe("CIFAR-10", "VGG-16")


def test_equal_magnitudes_are_not_sparse():
    found = numbers(np.array([0.5, -0.5, 0.5, -0.5]))
    assert found["hoyer"] == pytest.approx(0)
    assert found["gini"] == pytest.approx(0)
    assert found["mean_abs"] == found["rms"] == found["max_abs"] == 0.5
    assert found["kurtosis"] == pytest.approx(1)  # two points


def test_one_weight_among_zeros_is_as_sparse_as_can_be():
    found = numbers(np.array([0.0, 0.0, 0.0, 3.0]))
    assert found["hoyer"] == pytest.approx(1)
    assert found["gini"] == pytest.approx(3 / 4)  # 1 - 1/n
    assert found["near_zero_0.01"] == 0.75
    assert found["mean_abs"] == pytest.approx(0.75)
    assert found["rms"] == pytest.approx(1.5)
    assert found["sqrt_mean"] == pytest.approx(np.sqrt(3) / 4)


def test_normal_weights_have_the_known_kurtosis_and_gini():
    found = numbers(np.random.default_rng(0).normal(size=400_000))
    assert found["kurtosis"] == pytest.approx(3, abs=0.05)
    assert found["gini"] == pytest.approx(np.sqrt(2) - 1, abs=0.002)  # of a half-normal law
    assert found["near_zero_0.01"] == pytest.approx(2 * 0.01 / np.sqrt(2 * np.pi), rel=0.1)


def test_scaling_a_filter_and_its_normalisation_leaves_folded_weights_alone():
    net = build(
        Net("vgg_small", width=4, blocks=1), classes=3, shape=(1, 8, 8), mean=(0.0,), std=(1.0,), generator=torch.Generator().manual_seed(0)
    )
    made = {"convs.0.weight": "bns.0", "convs.1.weight": "bns.1"}
    with torch.no_grad():
        net.bns[0].running_var.fill_(2.0)
    before = folded(net, made)
    with torch.no_grad():
        net.convs[0].weight.mul_(10)
        net.convs[0].bias.mul_(10)
        net.bns[0].running_var.mul_(100)
        net.bns[0].running_mean.mul_(10)
    after = folded(net, made)
    torch.testing.assert_close(after["convs.0.weight"], before["convs.0.weight"], atol=1e-6, rtol=1e-4)
    assert (net.convs[0].weight - before["convs.0.weight"]).abs().max() > 0.1


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


def test_every_weight_is_counted_once(store):
    dense = RECIPE.pgd_at(epochs=1)
    sparse = RECIPE.pgd_at(epochs=1, ticket=Ticket(RECIPE.data, RECIPE.net, 0.25, Magnitude(dense), "conv"))
    for run, density in ((dense, 1.0), (sparse, 0.25)):
        job = Weights(run, "final", limit=0.1, bins=20)
        for t in (dense, *([sparse.ticket] if run is sparse else []), run, job):
            execute(task(t, 0), store)
        found, arrays = store.results(task(job, 0)), store.arrays(task(job, 0))
        everything = found["weights"] + found["pruned"]
        assert found["weights"] == round(density * everything)
        for name in ("raw", "folded"):  # in a VGG a normalisation follows every convolution
            assert arrays[f"{name}/counts"].sum() + found[name]["outside"] == found["weights"]
            assert arrays[f"{name}/wide_counts"].sum() == found["weights"]
            assert found[name]["near_zero_0.001"] <= found[name]["near_zero_0.01"]


@pytest.mark.parametrize(("wrong", "named"), [({"limit": 0.0}, "limit"), ({"bins": 1}, "bins"), ({"checkpoint": "last"}, "checkpoint")])
def test_impossible_choices_are_refused(wrong, named):
    with pytest.raises(SpecError, match=named):
        Weights(RECIPE.pgd_at(ticket=Ticket(RECIPE.data, RECIPE.net, 0.5, Random())), **wrong)
