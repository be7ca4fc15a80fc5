"""What shuffled signals would have fired."""

import numpy as np
import pytest

from replib.methods import FlyingBirdPlus
from replib.plots.controllers import shuffled_rate


def test_order_statistics_of_four_differences():
    """Of four differences of five exchangeable values at least two are rises unless there are none or one: 1 - (1 + 26) / 120."""
    values = np.arange(5.0)
    assert shuffled_rate(FlyingBirdPlus(), values, values) == pytest.approx((77.5, 77.5), abs=3)


def test_signals_that_never_move():
    """A gap that stays equal never widens; a loss that stays equal did not fall."""
    assert shuffled_rate(FlyingBirdPlus(), np.ones(9), np.ones(9)) == (0.0, 100.0)
