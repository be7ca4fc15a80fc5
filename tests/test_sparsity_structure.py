"""Removing channels: masks and really smaller networks compute the same, and nothing else is touched."""

import pytest
import torch

from replib.models import Net
from replib.models.build import build
from replib.models.spec import weight_shapes
from replib.sparsity.structure import as_masks, channels, parameters, removed
from replib.spec import ReplibError

NETS = {
    "vgg": Net("vgg_small", width=6),
    "resnet": Net("preact_resnet_small", width=6, blocks=2),
    "densenet": Net("densenet_small", width=4, stages=2),
    "bottleneck": Net("bottleneck_small", width=6, stages=2),
}
SHAPE, CLASSES = (1, 8, 8), 5


def random_net(net):
    """Every number of the network random, running statistics included: nothing cancels by chance."""
    model = build(net, classes=CLASSES, shape=SHAPE, mean=(0.3,), std=(0.4,), generator=torch.Generator().manual_seed(0))
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, t in (*model.named_parameters(), *model.named_buffers()):
            if name.endswith("running_var"):
                t.uniform_(0.5, 2, generator=g)
            elif t.is_floating_point() and not name.startswith("normalize"):
                t.uniform_(-0.6, 0.6, generator=g)
    return model.eval()


def random_choice(sets, seed=2):
    g = torch.Generator().manual_seed(seed)
    kept = {c.norm: torch.rand(c.size, generator=g) < 0.6 for c in sets}
    for k in kept.values():
        k[0] = True
    return kept


def mask(model, masks):
    """Zero what the masks remove."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name in masks:
                p.mul_(masks[name])


@pytest.mark.parametrize("family", NETS)
def test_masked_and_removed_networks_have_equal_logits(family):
    net = NETS[family]
    model, sets = random_net(net), channels(net, CLASSES, SHAPE)
    kept = random_choice(sets)
    masks = as_masks(sets, kept, weight_shapes(net, CLASSES, SHAPE))
    small = removed(model, sets, kept)
    x = torch.rand(7, *SHAPE, generator=torch.Generator().manual_seed(3))
    before = model(x)
    mask(model, masks)
    masked = model(x)
    torch.testing.assert_close(small(x), masked, atol=1e-5, rtol=1e-5)
    assert (before - masked).abs().max() > 0.01
    assert parameters(small) < parameters(model)


@pytest.mark.parametrize("family", NETS)
def test_what_a_normalisation_adds_to_a_removed_channel_does_not_matter(family):
    net = NETS[family]
    model, sets = random_net(net), channels(net, CLASSES, SHAPE)
    kept = random_choice(sets)
    masks = as_masks(sets, kept, weight_shapes(net, CLASSES, SHAPE))
    x = torch.rand(7, *SHAPE, generator=torch.Generator().manual_seed(3))
    mask(model, masks)
    before = model(x)
    with torch.no_grad():
        for c in sets:
            norm = model.get_submodule(c.norm)
            norm.weight[~kept[c.norm]] = 0
            norm.bias[~kept[c.norm]] = 0
        torch.testing.assert_close(model(x), before, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("family", NETS)
def test_keeping_all_changes_nothing_and_copies(family):
    net = NETS[family]
    model, sets = random_net(net), channels(net, CLASSES, SHAPE)
    kept = {c.norm: torch.ones(c.size, dtype=torch.bool) for c in sets}
    assert all(m.all() for m in as_masks(sets, kept, weight_shapes(net, CLASSES, SHAPE)).values())
    small = removed(model, sets, kept)
    assert parameters(small) == parameters(model)
    next(small.parameters()).data.zero_()
    assert next(model.parameters()).abs().sum() > 0


def test_every_normalisation_and_weight_exists():
    for net in NETS.values():
        model = random_net(net)
        names = dict(model.named_parameters())
        for c in channels(net, CLASSES, SHAPE):
            assert names[f"{c.norm}.weight"].numel() == c.size
            assert all(names[r].shape[1] == c.size for r in c.read_by)
            assert c.made_by is None or names[c.made_by].shape[0] == c.size


def test_parameters_of_the_smaller_network_by_hand():
    """VGG with one convolution a stage, 6 and 12 filters, of which 2 and 5 stay: 2 (9 + 1) + 2 * 2, 5 (18 + 1) + 2 * 5, 5 * 5 + 5."""
    net = Net("vgg_small", width=6, blocks=1, stages=2)
    model, sets = random_net(net), channels(net, CLASSES, SHAPE)
    kept = {c.norm: torch.arange(c.size) < k for c, k in zip(sets, (2, 5), strict=True)}
    assert parameters(removed(model, sets, kept)) == 20 + 4 + 95 + 10 + 30


def test_masks_count_only_what_they_keep():
    net = Net("vgg_small", width=6, blocks=1, stages=2)
    model = random_net(net)
    masks = {"convs.0.weight": torch.zeros(6, 1, 3, 3, dtype=torch.bool)}
    assert parameters(model, masks) == parameters(model) - 54


def test_a_network_without_batch_normalisation_is_refused():
    with pytest.raises(ReplibError, match="no batch normalisation"):
        channels(Net("mlp_small"), CLASSES, SHAPE)


@pytest.mark.parametrize("family", ["vgg", "resnet", "bottleneck"])
def test_removal_agrees_with_torch_pruning_where_a_convolution_makes_the_channels(family):
    tp = pytest.importorskip("torch_pruning")
    net = NETS[family]
    model = random_net(net)
    sets = [c for c in channels(net, CLASSES, SHAPE) if c.made_by]
    kept = random_choice(sets)
    ours = removed(model, sets, kept)
    x = torch.rand(7, *SHAPE, generator=torch.Generator().manual_seed(3))
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=x)
    for c in sets:
        conv = model.get_submodule(c.made_by.removesuffix(".weight"))
        graph.get_pruning_group(conv, tp.prune_conv_out_channels, idxs=(~kept[c.norm]).nonzero().flatten().tolist()).prune()
    assert parameters(model) == parameters(ours)
    torch.testing.assert_close(model(x), ours(x), atol=1e-5, rtol=1e-5)
