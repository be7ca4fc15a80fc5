"""Similarity of masks from packed bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from replib.analysis import similarity
from replib.analysis.similarity import packed_similarity
from replib.sparsity.masks import chance_similarity, pack
from replib.spec import ReplibError

SHAPES = {"a": (7, 3), "b": (5, 11)}  # neither 21 nor 55 is a multiple of eight: layers end in padding bits
TOTAL = 76


def masks(density: float, count: int, seed: int) -> list[dict[str, torch.Tensor]]:
    g = torch.Generator().manual_seed(seed)
    return [{n: torch.rand(s, generator=g) < density for n, s in SHAPES.items()} for _ in range(count)]


def packed(series) -> np.ndarray:
    return np.stack([np.concatenate(list(pack(m).values())) for m in series])


def test_packed_similarity_is_the_share_of_equal_weights(monkeypatch):
    a, b = masks(0.3, 4, 0), masks(0.6, 3, 1)
    by_hand = [[sum(int((p[n] == q[n]).sum()) for n in SHAPES) / TOTAL for q in b] for p in a]
    np.testing.assert_allclose(packed_similarity(packed(a), packed(b), TOTAL), by_hand, atol=1e-12)
    monkeypatch.setattr(similarity, "CHUNK", 3)  # the sum over chunks is the sum
    np.testing.assert_allclose(packed_similarity(packed(a), packed(b), TOTAL), by_hand, atol=1e-12)


def test_a_series_with_itself_is_symmetric_with_unit_diagonal():
    a = packed(masks(0.2, 5, 2))
    h = packed_similarity(a, a, TOTAL)
    assert (h == h.T).all()
    assert (np.diag(h) == 1).all()
    assert h[0, 1] < 1


def test_complements_share_nothing():
    a = masks(0.5, 1, 3)
    flipped = [{n: ~m for n, m in a[0].items()}]
    assert packed_similarity(packed(a), packed(flipped), TOTAL)[0, 0] == pytest.approx(0, abs=1e-12)


def test_independent_masks_are_as_similar_as_chance_says():
    g = np.random.default_rng(0)
    n = 200_000
    a, b = (np.packbits(g.random((1, n)) < d, axis=1) for d in (0.2, 0.2))
    assert packed_similarity(a, b, n)[0, 0] == pytest.approx(chance_similarity(0.2, 0.2), abs=0.005)
    assert chance_similarity(0.2, 0.2) == pytest.approx(0.68)


def test_masks_of_different_networks_are_refused():
    with pytest.raises(ReplibError, match="same network"):
        packed_similarity(np.zeros((1, 3), np.uint8), np.zeros((1, 4), np.uint8), 24)
