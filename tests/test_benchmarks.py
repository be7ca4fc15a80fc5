"""The benchmarks run in a tiny setting, and competitors do the same work. No times are asserted."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from replib.data.load import load
from replib.experiments.profiles import SMOKE
from replib.training.loop import _epoch
from replib.training.losses import objective

PATH = Path(__file__).parents[1] / "benchmarks/speed.py"


@pytest.fixture(scope="module")
def speed():
    spec = importlib.util.spec_from_file_location("speed", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["speed"] = module
    spec.loader.exec_module(module)
    torch.set_num_threads(1)
    return module


@pytest.fixture(scope="module")
def tiny(speed):
    return speed.laptop(2, 1, SMOKE.recipe(*speed.CIFAR10))


def test_competitors_give_one_positive_time_a_round(speed, tiny):
    pytest.importorskip("foolbox")
    rows = speed.steps([tiny], "cpu", 2)
    assert [r["against"] for r in rows] == ["plain implementation", "foolbox LinfPGD in our step"]
    assert all(0 < r["low"] <= r["median"] <= r["high"] and r["rounds"] == 2 for r in rows)


@pytest.mark.parametrize("way", ["ours", "plain", "foolbox"])
def test_every_competitor_trains_a_masked_net_on_adversarial_images(speed, tiny, way, monkeypatch):
    """Afterwards removed weights are exactly zero, kept ones have moved, and both attacks stayed in their ball."""
    if way == "foolbox":
        pytest.importorskip("foolbox")
    nets = []
    keep = speed.fresh
    monkeypatch.setattr(speed, "fresh", lambda *a: nets.append(keep(*a)) or nets[-1])
    clock = getattr(speed, way)(tiny, "cpu")
    seen = []
    nets[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    clock()
    first, last = seen[0], seen[-1]
    assert len(seen) == tiny.attack.steps + 1 or way == "foolbox"
    assert last.amin() >= 0
    assert last.amax() <= 1
    assert (first - last).abs().max() <= 2 * tiny.attack.eps + 1e-6
    assert (first - last).abs().max() > 0
    start, masks = keep(tiny.job, tiny.split, 0), speed.masks_of(nets[0])
    for name, p in nets[0].named_parameters():
        if name in masks:
            assert (p[~masks[name]] == 0).all()
    assert not torch.equal(nets[0].fc.bias, start.fc.bias)


def test_bf16_agreement_is_perfect_where_nothing_is_rounded(speed, tiny, monkeypatch):
    rows = speed.agreement(tiny, "cpu")
    assert [r["unit"] for r in rows] == ["cosine", "%"]
    assert 0.5 < rows[0]["median"] < 1.0
    monkeypatch.setattr(torch, "bfloat16", torch.float32)
    rows = speed.agreement(tiny, "cpu")
    assert rows[0]["median"] == pytest.approx(1.0, abs=1e-6)
    assert rows[1]["median"] == 100.0


def test_read_and_checkpoint_rows(speed, tmp_path):
    rows = speed.cached_read(tmp_path / "read", 3)
    rows += speed.checkpointing(tmp_path / "save", 2, 2, SMOKE.recipe(*speed.CIFAR10))
    assert [r["unit"] for r in rows] == ["ms", "ms", "% of the run"]
    assert all(np.isfinite(r["median"]) and r["low"] > 0 for r in rows)
    assert rows[-1]["high"] < 100


def test_rows_of_another_device_are_kept(speed, tmp_path):
    out = tmp_path / "benchmarks.csv"
    rows = [speed.row("step", "net", "plain implementation", np.array([1.0, 2.0, 6.0]))]
    speed.write(rows, "cpu", out)
    other = pd.read_csv(out).assign(device="cuda")
    other.to_csv(out, index=False)
    table = speed.write([rows[0] | {"median": 3.0}], "cpu", out)
    assert table.device.tolist() == ["cuda", "cpu"]
    assert table["median"].tolist() == [2.0, 3.0]
    assert len(speed.write(rows, "cpu", out)) == 2


def test_random_pictures_have_the_shape_of_cifar10(speed):
    case = speed.resnet18(10, 2, 1)
    assert case.split.train.x.shape == (2, 3, 32, 32)
    assert case.split.train.x.dtype == torch.uint8
    assert case.attack.steps * case.attack.step == pytest.approx(2.5)


def test_ours_is_the_loop_itself(speed, tiny):
    """One epoch of the competitor leaves the weights of one epoch of the loop, bit for bit."""
    state = speed.state_of(tiny, "cpu")
    _epoch(state, tiny.job, tiny.split, objective(tiny.job.loss, {}))
    nets = []
    keep = speed.state_of
    speed.state_of = lambda *a, **k: nets.append(keep(*a, **k)) or nets[-1]
    try:
        speed.ours(tiny, "cpu")()
    finally:
        speed.state_of = keep
    assert all(torch.equal(a, b) for a, b in zip(state.net.parameters(), nets[0].net.parameters(), strict=True))
    assert len(load(replace(tiny.job).data).train) >= len(tiny.split.train)
