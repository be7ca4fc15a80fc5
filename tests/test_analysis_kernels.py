"""Zero kernels, dead channels, effective sparsity and overlap, on masks made by hand and at the size of ResNet-50."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from replib.analysis.kernels import Kernels, effective, heatmap, kernel_counts, totals
from replib.attacks import PGD
from replib.data import Data
from replib.experiments.cost import estimate
from replib.experiments.jobs import execute
from replib.methods import Magnitude, Random, Ticket
from replib.models import Net, weight_shapes
from replib.models.build import build, prunable
from replib.sparsity.masks import chance_iou, full, global_random, global_top
from replib.spec import SpecError, task
from replib.training import CrossEntropy, Train

DATA = Data("mnist14", n_train=20, n_val=10, n_test=10)
NET = Net("bottleneck_small", width=4)


def network(net: Net = NET, shape: tuple[int, ...] = (1, 14, 14), classes: int = 10):
    g = torch.Generator().manual_seed(0)
    c = shape[0]
    return build(net, classes=classes, shape=shape, mean=(0.1,) * c, std=(0.3,) * c, generator=g)


def test_counts_of_a_mask_made_by_hand():
    mask = torch.zeros(3, 2, 3, 3, dtype=torch.bool)
    mask[0, 0, 1, 1] = mask[2, 0, 0, 0] = mask[2, 0, 2, 2] = True  # filter 1 makes nothing, input 1 is read by nobody
    point = torch.tensor([[1, 0], [0, 0]], dtype=torch.bool).view(2, 2, 1, 1)
    linear = torch.ones(4, 4, dtype=torch.bool)
    rows = kernel_counts({"layer2.0.conv2.weight": mask, "layer4.1.conv3.weight": point, "conv1.weight": mask[:1], "fc.weight": linear})
    assert [r["stage"] for r in rows] == ["B2", "B4", "stem"]
    assert rows[0] == {
        "layer": "layer2.0.conv2.weight", "stage": "B2", "side": 3, "kernels": 6, "zero": 4, "weights": 54, "kept": 3,
        "dead_filters": 1, "dead_inputs": 1,
    }  # fmt: skip
    assert (rows[1]["zero"], rows[1]["weights"] - rows[1]["kept"]) == (3, 3)  # of a 1x1 convolution a zero kernel is a zero weight
    found = totals(rows, 0.5)
    assert (found["kernels"], found["zero"], found["kernels_all"], found["zero_all"]) == (8, 5, 12, 8)
    assert found["chance"] == pytest.approx(8 * 0.5**9)
    assert found["chance_all"] == pytest.approx(8 * 0.5**9 + 4 * 0.5)


def test_a_full_mask_has_no_zero_kernel_and_all_of_it_is_effective():
    net = network()
    masks = full(prunable(net, "conv"))
    assert totals(kernel_counts(masks), 1.0)["zero_all"] == 0
    before = {n: t.clone() for n, t in net.state_dict().items()}
    assert effective(net, masks, (1, 14, 14)) == sum(m.numel() for m in masks.values())
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())


def test_weights_without_a_path_are_not_effective():
    net = network(Net("bottleneck_small", width=4, stages=2))
    masks = full(prunable(net, "conv"))
    shape = masks["layer1.0.conv2.weight"].shape
    masks["layer1.0.conv1.weight"][0] = False  # the second convolution still reads this channel, which is always zero
    lost = shape[0] * 9
    masks["layer2.0.conv3.weight"][:, 1] = False  # and nobody reads what these weights make
    lost += masks["layer2.0.conv2.weight"][1].numel()
    kept = sum(int(m.sum()) for m in masks.values())
    assert effective(net, masks, (1, 14, 14)) == kept - lost
    masks = {n: m & (not n.startswith("conv1")) for n, m in masks.items()}
    assert effective(net, masks, (1, 14, 14)) == 0


def test_a_heatmap_is_bright_where_kernels_are_zero():
    mask = torch.ones(8, 4, 3, 3, dtype=torch.bool)
    mask[:4, :2] = False
    masks = {
        "conv1.weight": mask,
        "layer1.0.conv1.weight": mask[..., :1, :1],
        "layer1.0.conv2.weight": mask,
        "layer1.1.conv2.weight": ~mask,
    }
    (band,) = heatmap(masks, 2).values()
    assert band.dtype == np.uint8
    assert band.tolist() == [[255, 0], [0, 0], [0, 255], [255, 255]]
    (wide,) = heatmap({"layer1.0.conv2.weight": mask}, 8).values()  # narrow convolutions are repeated to the full width
    assert wide.shape == (8, 8)
    assert wide[0].tolist() == [255] * 4 + [0] * 4
    (odd,) = heatmap({"layer1.0.conv2.weight": mask[:, :3]}, 2).values()  # blocks of one and of two columns
    assert odd[0].tolist() == [255, 128]


def test_a_job_compares_tickets_of_one_network(store):
    dense = Train(DATA, NET, CrossEntropy(), epochs=1, batch=10, validate=PGD(0.1, 1))
    tickets = tuple(Ticket(DATA, NET, 0.1, rule, "conv") for rule in (Magnitude(dense, "initial"), Random()))
    job = Kernels((*tickets, tickets[0]), heatmap=4)
    for each in (dense, *tickets, job):
        execute(task(each, 0), store)
    results, table, arrays = store.results(task(job, 0)), store.table(task(job, 0)), store.arrays(task(job, 0))
    iou = np.array(results["iou"])
    assert (iou == iou.T).all()
    assert iou[0, 2] == iou[0, 0] == 1 > iou[0, 1]
    assert results["chance_iou"][0][1] == pytest.approx(chance_iou(0.1, 0.1), abs=1e-3)
    for n, found in enumerate(results["tickets"]):
        mine = table[table.ticket == n]
        assert found["zero_all"] == mine.zero.sum()
        assert found["zero"] == mine[mine.side > 1].zero.sum()
        assert found["density"] == pytest.approx(0.1, abs=1e-3)
        assert 0 < found["effective_density"] < found["density"]
        assert sum(s["zero"] for s in found["stages"].values()) == found["zero"]
        assert set(found["stages"]) == {"stem", "B1", "B2", "B3", "B4"}
    assert {name for name in arrays if name.startswith("heatmap/1/")} == {f"heatmap/1/B{i}" for i in range(1, 5)}
    assert estimate(task(job, 0)) > 0
    with pytest.raises(SpecError, match=r"Kernels\.tickets is empty"):
        Kernels(())


KERNELS_3X3 = {"B1": 12_288, "B2": 65_536, "B3": 393_216, "B4": 786_432}


def test_masks_of_the_real_resnet_50():
    """The drawing of paper C's masks at its own size: counts by stage, and chance for a random mask."""
    shapes = {n: s for n, s in weight_shapes(Net("resnet50"), 10, (3, 224, 224)).items() if len(s) == 4}
    masks = global_random(shapes, 1 - 0.9719, torch.Generator().manual_seed(0))
    rows = kernel_counts(masks)
    assert len(rows) == 53
    for s, n in KERNELS_3X3.items():
        mine = [r for r in rows if r["stage"] == s and r["side"] == 3]
        assert sum(r["kernels"] for r in mine) == n
        assert sum(r["zero"] for r in mine) == pytest.approx(n * 0.9719**9, rel=0.02)
    found = totals(rows, 1 - 0.9719)
    assert (found["kernels"], found["kernels_all"]) == (1_257_472 + 192, 1_257_472 + 192 + 12_128_256)
    assert found["zero"] == pytest.approx(found["chance"], rel=0.002)
    assert found["zero_all"] == pytest.approx(found["chance_all"], rel=0.001)


@pytest.mark.slow
def test_magnitude_and_flow_at_the_size_of_resnet_50():
    net = network(Net("resnet50"), (3, 224, 224))
    weights = prunable(net, "conv")
    masks = global_top({n: w.detach().abs() for n, w in weights.items()}, 0.8**19)
    assert sum(int(m.sum()) for m in masks.values()) == round(0.8**19 * 23_454_912)
    magnitude, chance = totals(kernel_counts(masks), 0.8**19)["zero"], totals(kernel_counts(masks), 0.8**19)["chance"]
    # PyTorch's default draw is wider in layers of small fan-in, so that magnitude empties the late, wide layers
    assert magnitude > chance
    kept = sum(int(m.sum()) for m in masks.values())
    assert 0 <= effective(net, masks, (3, 224, 224)) < kept
    assert effective(net, full(weights), (3, 224, 224)) == 23_454_912
