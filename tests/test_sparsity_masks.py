"""Selections keep exact counts, ties go by position, projections remove what is removed everywhere."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from replib.sparsity import masks as M
from replib.spec import ReplibError

torch.set_num_threads(1)
SHAPES = {"a": (5, 4, 3, 3), "b": (6, 7), "c": (3,)}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scores(seed: int = 0) -> dict[str, torch.Tensor]:
    g = generator(seed)
    return {name: torch.rand(shape, generator=g) for name, shape in SHAPES.items()}


def flat(masks: M.Masks) -> torch.Tensor:
    return torch.cat([m.flatten() for m in masks.values()])


def test_keep_top_breaks_ties_by_position():
    assert M.keep_top(torch.tensor([[1.0, 2.0, 2.0], [2.0, 0.0, 3.0]]), 3).tolist() == [
        [False, True, True],
        [False, False, True],
    ]
    equal = M.keep_top(torch.zeros(1000), 123)
    assert equal[:123].all()
    assert equal.sum() == 123


@pytest.mark.parametrize("k", [0, 1, 9, 10])
def test_keep_top_counts_exactly(k):
    assert M.keep_top(torch.randint(0, 3, (2, 5), generator=generator()), k).sum() == k


def test_select_smallest_looks_only_at_eligible_entries():
    score = torch.tensor([0.0, 1.0, 1.0, -5.0, 1.0])
    eligible = torch.tensor([True, True, True, False, True])
    assert M.select_smallest(score, eligible, 3).tolist() == [True, True, True, False, False]
    assert M.select_largest(score, eligible, 2).tolist() == [False, True, True, False, False]
    with pytest.raises(ReplibError, match="5 entries were asked for but 4"):
        M.select_smallest(score, eligible, 5)


def test_nan_scores_are_refused():
    with pytest.raises(ReplibError, match="NaN"):
        M.keep_top(torch.tensor([1.0, float("nan")]), 1)


@pytest.mark.parametrize("density", [0.0, 0.1, 0.37, 1.0])
def test_global_top_is_a_threshold_over_all_layers(density):
    s = scores()
    kept = M.global_top(s, density)
    assert flat(kept).sum() == round(density * 225)
    if 0 < density < 1:
        values = torch.cat([v.flatten() for v in s.values()])
        assert values[flat(kept)].min() > values[~flat(kept)].max()
    assert all(kept[name].shape == shape for name, shape in SHAPES.items())


def test_paper_threshold_keeps_one_less_and_drops_ties():
    s = scores()
    exact, paper = M.global_top(s, 0.2), M.global_top(s, 0.2, paper_compat_threshold=True)
    assert flat(exact).sum() == 45
    assert flat(paper).sum() == 44
    assert not (flat(paper) & ~flat(exact)).any()
    equal = {"a": torch.ones(10), "b": torch.tensor([2.0])}
    assert flat(M.global_top(equal, 0.5, paper_compat_threshold=True)).sum() == 1


def test_global_prune_nests_and_ignores_what_is_gone():
    masks, s = M.full({n: torch.zeros(shape) for n, shape in SHAPES.items()}), scores(1)
    left = 225
    for _ in range(5):
        k = round(0.2 * left)
        after = M.global_prune(s, masks, k)
        assert not (flat(after) & ~flat(masks)).any()
        left -= k
        assert flat(after).sum() == left
        masks = after
    assert M.hamming(masks, M.global_top(s, left / 225)) == 0


def test_layerwise_top_and_random_masks_hit_the_counts():
    counts = {"a": 17, "b": 42, "c": 0}
    assert M.counts(M.layerwise_top(scores(), counts)) == counts
    drawn = M.random_masks(SHAPES, counts, generator())
    assert M.counts(drawn) == counts
    assert M.hamming(drawn, M.random_masks(SHAPES, counts, generator())) == 0
    assert M.hamming(drawn, M.random_masks(SHAPES, counts, generator(1))) > 0


def test_random_positions_are_uniform():
    total = torch.zeros(12)
    g = generator()
    for _ in range(2000):
        total += M.random_masks({"a": (12,)}, {"a": 3}, g)["a"]
    # Each position is binomial(2000, 1/4): mean 500, standard deviation 19.4.
    assert (total - 500).abs().max() < 5 * 19.4


def test_global_random_has_hypergeometric_layers():
    shapes = {"a": (4000,), "b": (16000,)}
    m = M.global_random(shapes, 0.2, generator())
    assert flat(m).sum() == 4000
    for name, (n,) in shapes.items():
        assert abs(int(m[name].sum()) / n - 0.2) < 5 * (0.16 / n) ** 0.5
    assert int(m["a"].sum()) != 800  # exact layer counts would be another method


def test_shuffles_keep_what_they_promise():
    m = M.layerwise_top(scores(), {"a": 30, "b": 2, "c": 3})
    layers, pooled = M.shuffle_layerwise(m, generator()), M.shuffle_global(m, generator())
    assert M.counts(layers) == M.counts(m)
    assert M.hamming(layers, m) > 0
    assert sum(M.counts(pooled).values()) == 35
    assert M.counts(pooled) != M.counts(m)


def test_similarity_identities():
    a, b = M.global_random(SHAPES, 0.3, generator(1)), M.global_random(SHAPES, 0.5, generator(2))
    na, nb, both = flat(a).sum(), flat(b).sum(), (flat(a) & flat(b)).sum()
    assert M.hamming(a, b) == na + nb - 2 * both
    assert M.iou(a, b) == pytest.approx(float(both / (na + nb - both)))
    assert M.relative_hamming(a, b) == pytest.approx(M.hamming(a, b) / 225)
    assert M.relative_hamming(a, a) == 0
    assert M.iou(a, a) == 1
    empty = M.global_random(SHAPES, 0.0, generator())
    assert M.iou(empty, empty) == 1
    assert M.iou(empty, a) == 0
    with pytest.raises(ReplibError, match="different layers"):
        M.hamming(a, {"a": a["a"]})


@pytest.mark.parametrize(
    ("density", "hamming", "iou"), [(0.2, 0.68, 1 / 9), (0.1, 0.82, 1 / 19), (0.5, 0.5, 1 / 3), (0.2621, None, 0.1508)]
)
def test_chance_levels(density, hamming, iou):
    if hamming is not None:
        assert M.chance_similarity(density, density) == pytest.approx(hamming)
    assert M.chance_iou(density, density) == pytest.approx(iou, abs=5e-5)
    shapes = {"a": (40_000,)}
    a, b = M.global_random(shapes, density, generator(1)), M.global_random(shapes, density, generator(2))
    assert 1 - M.relative_hamming(a, b) == pytest.approx(M.chance_similarity(density, density), abs=0.015)
    assert M.iou(a, b) == pytest.approx(M.chance_iou(density, density), abs=0.015)


def test_masks_that_agree_about_layers_are_more_alike_by_chance():
    sizes = {"small": 10, "large": 90}
    assert M.layered_chance_iou({"small": 5, "large": 45}, {"small": 5, "large": 45}, sizes) == pytest.approx(M.chance_iou(0.5, 0.5))
    assert M.layered_chance_iou({"small": 10, "large": 9}, {"small": 10, "large": 9}, sizes) == pytest.approx(10.9 / 27.1)
    assert M.layered_chance_iou({"small": 10, "large": 0}, {"small": 0, "large": 90}, sizes) == 0


@pytest.mark.parametrize(
    "make",
    [lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01), lambda p: torch.optim.Adam(p, lr=0.1)],
)
def test_projection_zeroes_weights_and_optimizer_state(make):
    g = generator()
    params = {n: torch.nn.Parameter(torch.randn(shape, generator=g)) for n, shape in SHAPES.items()}
    bias = torch.nn.Parameter(torch.randn(4, generator=g))
    masks = {n: m for n, m in M.global_random(SHAPES, 0.4, g).items() if n != "c"}
    optimizer = make([*params.values(), bias])
    project = functools.partial(M.project_, params, masks, optimizer)
    project()  # before the first step there is no state yet
    for _ in range(3):
        optimizer.zero_grad()
        sum((p * torch.randn(p.shape, generator=g)).sum() for p in (*params.values(), bias)).backward()
        optimizer.step()
        kept = {n: params[n].detach().clone() for n in params}
        project()
        for n, m in masks.items():
            assert torch.equal(params[n], torch.where(m, kept[n], 0.0))
            buffers = [v for v in optimizer.state[params[n]].values() if v.shape == m.shape]
            assert buffers
            for v in buffers:
                assert (v[~m] == 0).all()
                assert (v[m] != 0).all()
        assert torch.equal(params["c"], kept["c"])


def test_without_projected_momentum_a_removed_weight_would_come_back():
    w = torch.nn.Parameter(torch.ones(2))
    masks = {"w": torch.tensor([True, False])}
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9)
    w.grad = torch.ones(2)
    optimizer.step()
    M.project_({"w": w}, masks)
    w.grad = torch.zeros(2)
    optimizer.step()
    assert w[1] != 0
    M.project_({"w": w}, masks, optimizer)
    optimizer.step()
    assert w[1] == 0


def test_pack_and_unpack():
    m = M.global_random(SHAPES, 0.3, generator())
    packed = M.pack(m)
    assert {n: len(b) for n, b in packed.items()} == {"a": 23, "b": 6, "c": 1}
    assert all(b.dtype == np.uint8 for b in packed.values())
    back = M.unpack(packed, SHAPES)
    assert M.hamming(m, back) == 0
    assert all(x.dtype == torch.bool for x in back.values())
    with pytest.raises(ReplibError, match="not a mask of shape"):
        M.unpack(packed, SHAPES | {"b": (50, 7)})
