"""Filter pruning, network slimming and layer-wise magnitudes, on runs trained for one epoch and on numbers worked out by hand."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from replib.experiments.jobs import execute
from replib.experiments.profiles import SMOKE
from replib.methods import FilterPruning, Magnitude, NetworkSlimming, Ticket
from replib.methods.structured import most_channels
from replib.models import Net
from replib.models.build import prunable
from replib.sparsity.structure import channels, kept_channels, parameters, removed
from replib.spec import ReplibError, task
from replib.store import Store
from replib.store.context import Context
from replib.training.networks import ticket_masks, trained

RECIPE = replace(SMOKE.recipe("CIFAR-10", "ResNet-18"), epochs=1)
NETS = {
    "vgg": Net("vgg_small", width=8, blocks=1),
    "resnet": Net("preact_resnet_small", width=8),
    "densenet": Net("densenet_small", width=4, stages=2),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


def base(net):
    return replace(RECIPE, net=net).pgd_at(epochs=1)


def drawn(store, rule, net, density, scope="all"):
    """The ticket's results, its masks, and the network that it was drawn from."""
    job = Ticket(RECIPE.data, net, density, rule, scope)
    execute(task(rule.run, 0), store)
    execute(task(job, 0), store)
    from replib.data.load import load

    source = trained(Context(store, task(job, 0)), task(rule.run, 0), "final", load(RECIPE.data))
    return store.results(task(job, 0)), ticket_masks(store, task(job, 0), source), source


@pytest.mark.parametrize("family", ["vgg", "resnet"])
def test_filters_of_least_norm_go_in_every_layer_alike(store, family):
    net = NETS[family]
    results, masks, source = drawn(store, FilterPruning(base(net)), net, 0.4)
    sets = channels(net, 10, (1, 8, 8))
    kept = kept_channels(sets, masks)
    weights = dict(source.named_parameters())
    for c in sets:
        if c.made_by is None:
            assert kept[c.norm].all()
            continue
        norms = weights[c.made_by].detach().abs().sum((1, 2, 3))
        assert int(kept[c.norm].sum()) == int(0.4 * c.size)
        assert norms[kept[c.norm]].min() >= norms[~kept[c.norm]].max()
    assert results["channels"] == {n: int(k.sum()) for n, k in kept.items()}
    assert results["parameters"] == parameters(removed(source, sets, kept)) < parameters(source)
    if family == "resnet":
        assert masks["stem.weight"].all()
        assert all(masks[n].flatten(1).any(1).all() for n in masks if n.endswith("conv2.weight"))  # outputs of blocks stay


@pytest.mark.parametrize("family", NETS)
def test_slimming_removes_the_smallest_scales_of_the_whole_network(store, family):
    net = NETS[family]
    _, masks, source = drawn(store, NetworkSlimming(base(net)), net, 0.8)
    sets = channels(net, 10, (1, 8, 8))
    kept = kept_channels(sets, masks)
    scales = torch.cat([source.get_submodule(c.norm).weight.detach().abs() for c in sets])
    stays = torch.cat([kept[c.norm] for c in sets])
    assert int(stays.sum()) == round(0.8 * len(scales))
    assert scales[stays].min() >= scales[~stays].max()


def test_slimming_keeps_a_channel_of_large_negative_scale():
    net = NETS["resnet"]
    sets = channels(net, 10, (1, 8, 8))
    scales = {f"{c.norm}.weight": torch.linspace(0.1, 1.0, c.size) for c in sets}
    scales[f"{sets[0].norm}.weight"][0] = -5.0  # was one of the smallest
    kept = NetworkSlimming(base(net)).choose(SimpleNamespace(density=0.5), sets, scales)
    assert [bool(kept[c.norm][0]) for c in sets] == [True] + [False] * (len(sets) - 1)


def test_slimming_says_how_much_can_go(store):
    net = NETS["resnet"]
    with pytest.raises(ReplibError, match="would remove a layer") as error:
        drawn(store, NetworkSlimming(base(net)), net, 0.02)
    least = float(str(error.value).split("density of at least ")[1].split(",")[0])
    results, _, _ = drawn(store, NetworkSlimming(base(net)), net, least)
    assert min(results["channels"].values()) >= 1


def test_the_largest_ratio_by_hand():
    """Channels go in the order 0.1, 0.2, 0.3, 0.4, ...; the layer (0.1, 0.3) is empty when the third of them goes."""
    assert most_channels({"a": torch.tensor([0.1, 0.3]), "b": torch.tensor([0.2, 0.9, 0.4])}) == 2
    assert most_channels({"a": torch.tensor([0.1]), "b": torch.tensor([0.2, 0.9])}) == 0


def test_filter_pruning_is_refused_for_a_densenet(store):
    with pytest.raises(ReplibError, match="not defined for a DenseNet"):
        drawn(store, FilterPruning(base(NETS["densenet"])), NETS["densenet"], 0.5)


def test_layerwise_magnitude_has_one_density_and_keeps_the_largest_of_each_layer(store):
    net = NETS["resnet"]
    results, masks, source = drawn(store, Magnitude(base(net), layerwise=True), net, 0.3, "conv")
    weights = prunable(source, "conv")
    assert set(masks) == set(weights)
    assert sum(results["kept"].values()) == round(0.3 * sum(results["sizes"].values()))
    for name, mask in masks.items():
        assert abs(results["kept"][name] - 0.3 * mask.numel()) < 1
        size = weights[name].detach().abs()
        assert size[mask].min() >= size[~mask].max()


def test_layerwise_ladders_are_nested(store):
    net = NETS["resnet"]
    first = Ticket(RECIPE.data, net, 0.5, Magnitude(base(net), layerwise=True), "conv")
    again = replace(base(net), ticket=first)
    _, wide, _ = drawn(store, first.rule, net, 0.5, "conv")
    execute(task(first, 0), store)
    _, narrow, _ = drawn(store, Magnitude(again, layerwise=True), net, 0.3, "conv")
    assert all((wide[n] | ~narrow[n]).all() for n in wide)


def test_a_layer_cannot_get_back_weights_that_its_run_had_lost(store):
    net = NETS["resnet"]
    first = Ticket(RECIPE.data, net, 0.3, Magnitude(base(net)), "conv")  # over the network: some layers keep less than 0.25
    execute(task(first, 0), store)
    with pytest.raises(ReplibError, match=r"wants more weights of .* has left there"):
        drawn(store, Magnitude(replace(base(net), ticket=first), layerwise=True), net, 0.28, "conv")


@pytest.mark.parametrize("layerwise", [False, True])
def test_a_ticket_denser_than_the_run_that_it_is_drawn_from_is_refused(store, layerwise):
    net = NETS["resnet"]
    first = Ticket(RECIPE.data, net, 0.3, Magnitude(base(net)), "conv")
    execute(task(first, 0), store)
    with pytest.raises(ReplibError, match=r"density 0\.5 cannot be drawn from a run that has only 0\.3.* earlier round"):
        drawn(store, Magnitude(replace(base(net), ticket=first), layerwise=layerwise), net, 0.5, "conv")
