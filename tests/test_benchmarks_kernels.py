"""The benchmark of kernels runs in a tiny setting. No times are asserted."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "benchmarks/kernels.py"


@pytest.fixture(scope="module")
def kernels():
    spec = importlib.util.spec_from_file_location("kernels", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["kernels"] = module
    spec.loader.exec_module(module)
    return module


def test_blocks_of_a_batch_are_counted_and_ratios_are_over_the_layerwise_kernel(kernels, monkeypatch):
    measured = {"layers": (2.0, 10.0), "jacobian": (3.0, 40.0), "products": (1.0, 5.0)}
    monkeypatch.setattr(kernels.subprocess, "run", lambda command, **k: Done(measured, command[-1]))
    table = kernels.measure(False, ["CNN"]).set_index("how")
    assert table.blocks.to_dict() == {"layers": 4, "jacobian": 32**2, "products": 64**2}
    assert table.seconds["jacobian"] == 3.0 * 32**2
    assert table.seconds_ratio["jacobian"] == pytest.approx(3.0 * 32**2 / 8.0)
    assert table.peak_mib_ratio["jacobian"] == 4.0
    assert table.seconds_ratio["layers"] == 1.0


class Done:
    def __init__(self, measured, code):
        seconds, mib = next(v for how, v in measured.items() if repr(how) in code)
        self.returncode, self.stdout = 0, f'{{"seconds": {seconds}, "mib": {mib}}}'


@pytest.mark.parametrize("how", ["layers", "jacobian", "products"])
def test_one_measurement(kernels, how):
    found = kernels.one(kernels.Net("mlp_small", width=4), how, 2, 8, 1)
    assert found["seconds"] > 0
    assert found["mib"] >= 0
