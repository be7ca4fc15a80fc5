"""Learning rates at exact epochs, and Stop-C on scripted losses."""

from __future__ import annotations

import math

import pytest

from replib.training import Constant, Cosine, Cyclic, Plateau, Steps
from replib.training.schedule import plateau_start, plateau_update, rate


def rates(schedule, epochs, per_epoch=1):
    return [rate(schedule, step=s, steps_per_epoch=per_epoch, epochs=epochs, plateau={"fired": 0}) for s in range(epochs * per_epoch)]


@pytest.mark.parametrize(
    ("drops", "epochs", "at"),
    [
        ((0.5, 0.75), 200, [100, 150]),  # A
        ((0.25, 0.75), 200, [50, 150]),  # A's ticket search
        ((1 / 3, 2 / 3), 240, [80, 160]),  # B, Stop-E
        ((1 / 3, 2 / 3), 45, [15, 30]),
        ((0.5, 0.75), 5, [3, 4]),
        ((0.55,), 100, [55]),  # 0.55 * 100 is 55.00000000000001 in floating point
        ((), 10, []),
    ],
)
def test_drops_fall_on_exact_epochs(drops, epochs, at):
    per_epoch = 3
    values = rates(Steps(drops), epochs, per_epoch)
    changes = [s for s in range(1, len(values)) if values[s] != values[s - 1]]
    assert changes == [per_epoch * e for e in at]
    assert values[0] == 1.0
    assert values[-1] == pytest.approx(0.1 ** len(at))


@pytest.mark.parametrize("peak", [0.4, 0.5])
def test_the_triangle_peaks_once_and_ends_at_zero(peak):
    values = rates(Cyclic(peak), 10, 10)
    top = max(range(100), key=values.__getitem__)
    assert top + 1 == round(100 * peak)
    assert values[top] == 1.0
    assert values[-1] == 0.0
    assert values[: top + 1] == sorted(values[: top + 1])
    assert values[top:] == sorted(values[top:], reverse=True)
    assert values[0] == pytest.approx(1 / (100 * peak))


def test_half_a_cosine_and_a_constant():
    values = rates(Cosine(), 20, 5)
    assert values[0] == 1.0
    assert values[50] == pytest.approx(0.5)
    assert values[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.99)))
    assert set(rates(Constant(), 7)) == {1.0}


def firings(schedule, losses, epochs=240):
    """Epochs (from 1) at which the criterion fires, and the one at which training stops (None: it does not)."""
    state, fired, at = plateau_start(), 0, []
    for e, loss in enumerate(losses, 1):
        stop = plateau_update(schedule, state, loss, epochs)
        if state["fired"] > fired:
            fired = state["fired"]
            at.append(e)
        if stop:
            return at, e
    return at, None


@pytest.mark.parametrize(("strict", "expected"), [(False, [11, 21, 31]), (True, [12, 23, 34])])
def test_a_constant_loss_fires_when_patience_ends(strict, expected):
    schedule = Plateau(strict=strict)  # 10 of 240 epochs
    assert firings(schedule, [1.0] * 60) == (expected, expected[-1])
    assert firings(Plateau(strict=strict, stop_at=2), [1.0] * 60) == (expected[:2], expected[1])


def test_improvements_below_the_threshold_do_not_count():
    better, same = [2 - 1e-4 * e for e in range(40)], [2 - 1e-6 * e for e in range(40)]
    assert firings(Plateau(), better) == ([], None)
    assert firings(Plateau(), same)[0][0] == 11  # relative threshold 1e-5 of 2.0
    assert firings(Plateau(), [2.0, *[1.0] * 9, 0.5, *[0.5] * 10])[0] == [21]  # saved in the ninth of ten epochs


def test_patience_is_a_share_of_the_longest_run_and_rates_follow():
    assert firings(Plateau(), [1.0] * 24, epochs=24) == ([2, 3, 4], 4)
    for fired in range(3):
        got = rate(Plateau(), step=0, steps_per_epoch=1, epochs=1, plateau={"fired": fired})
        assert got == pytest.approx(0.1**fired)
