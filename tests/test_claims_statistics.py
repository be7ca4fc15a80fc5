"""The statistics of the claim engine against closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

from replib.claims import resample
from replib.claims.columns import fragility
from replib.claims.conditions import above, all_hold, below, kth_smallest, rank_correlation, stack, within
from replib.claims.table import COLUMNS, Cell, Sample, Table
from replib.spec import SpecError


def sample(values: dict[str, np.ndarray], metric: str = "robust_accuracy_best") -> Sample:
    """One exhibit with a row per setting and a column of seeds."""
    rows = [
        ("p", "Table 1", "D", "N", 80, setting, np.nan, metric, seed, v)
        for setting, column in values.items()
        for seed, v in enumerate(column)
    ]
    return Sample(pd.DataFrame(rows, columns=list(COLUMNS)), tuple(values))


def cell(setting: str, metric: str = "robust_accuracy_best") -> Cell:
    return Cell("table_1", "D", "N", 80.0, setting, (), metric)


def test_widened_interval_of_a_mean_is_students() -> None:
    # In the limit of many replicates the bootstrap of a mean of n has standard error sd sqrt((n-1)/n) / sqrt(n).
    for n in (5, 20):
        bootstrap_error = np.sqrt((n - 1) / n) / np.sqrt(n)
        assert resample.widening(n) * norm.ppf(0.975) * bootstrap_error == pytest.approx(t.ppf(0.975, n - 1) / np.sqrt(n))


@pytest.mark.parametrize(("n", "low", "high"), [(5, 0.92, 0.985), (20, 0.925, 0.98)])
def test_coverage_on_normal_data(n: int, low: float, high: float) -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(300):
        s = sample({"A": rng.normal(50, 1, n)})
        replicates = resample.bootstrap(s, range(n), rng, 300)(cell("A"))
        centre = float(s.values[cell("A")].mean())
        a, b = resample.interval(centre + resample.widening(n) * (replicates - centre))
        covered += a <= 50 <= b
    assert low <= covered / 300 <= high  # without the widening 5 seeds cover about 0.83


def test_seeds_are_paired() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 10, 8)
    s = sample({"A": 51 + shared, "B": 50 + shared})
    fetch = resample.bootstrap(s, range(8), rng, 500)
    assert np.allclose(fetch(cell("A")) - fetch(cell("B")), 1.0)
    assert np.std(fetch(cell("A"))) > 1


def test_test_images_add_their_variance_and_are_paired() -> None:
    rng = np.random.default_rng(1)
    n, p = 400, 0.6
    correct = np.repeat(rng.random((1, n)) < p, 3, axis=0)  # the same predictions in every seed: only images vary
    rate = 100 * correct[0].mean()
    s = sample({"A": np.full(3, rate), "B": np.full(3, rate)})
    fetch = resample.bootstrap(s, range(3), rng, 4000, {cell("A"): correct, cell("B"): correct})
    expected = 100 * np.sqrt(correct[0].mean() * (1 - correct[0].mean()) / n)
    assert np.std(fetch(cell("A"))) == pytest.approx(expected, rel=0.08)
    assert np.mean(fetch(cell("A"))) == pytest.approx(rate, abs=0.2)
    assert np.array_equal(fetch(cell("A")), fetch(cell("B")))


def test_images_of_one_source_are_drawn_together() -> None:
    rng = np.random.default_rng(1)
    sources = np.repeat(np.arange(40), 10)
    correct = np.repeat((rng.random(40) < 0.5)[sources][None], 2, axis=0)
    s = sample({"A": np.full(2, 100 * correct[0].mean())})
    alone = resample.bootstrap(s, [0, 1], np.random.default_rng(2), 3000, {cell("A"): correct})(cell("A"))
    grouped = resample.bootstrap(s, [0, 1], np.random.default_rng(2), 3000, {cell("A"): correct}, {"D": sources})(cell("A"))
    assert np.std(grouped) / np.std(alone) == pytest.approx(np.sqrt(10), rel=0.1)


def test_gap_follows_its_final_accuracy_with_opposite_sign() -> None:
    rng = np.random.default_rng(3)
    correct = rng.random((2, 300)) < 0.5
    final = 100 * correct.mean(axis=1)
    a, g = (sample({"A": v}, m) for v, m in ((final, "robust_accuracy_final"), (80 - final, "robust_generalization_gap")))
    images = {cell("A", "robust_accuracy_final"): correct}
    x = resample.bootstrap(a, [0, 1], np.random.default_rng(4), 200, images)(cell("A", "robust_accuracy_final"))
    y = resample.bootstrap(g, [0, 1], np.random.default_rng(4), 200, images)(cell("A", "robust_generalization_gap"))
    assert np.allclose(x + y, 80, atol=1e-3)


@pytest.mark.parametrize("kind", ["robust", "standard"])
def test_difference_of_checkpoints_is_that_of_its_two_accuracies(kind: str) -> None:
    rng = np.random.default_rng(3)
    best, final, diff = (cell("A", f"{kind}_accuracy_{k}") for k in ("best", "final", "diff"))
    images = {best: rng.random((2, 300)) < 0.6, final: rng.random((2, 300)) < 0.5}
    s = sample({"A": 100 * (images[best].mean(axis=1) - images[final].mean(axis=1))}, diff.metric)
    s.values |= {c: 100 * correct.mean(axis=1) for c, correct in images.items()}
    fetch = resample.bootstrap(s, [0, 1], np.random.default_rng(4), 200, images)
    assert np.allclose(fetch(diff), fetch(best) - fetch(final), atol=1e-3)


def test_images_of_seeds_that_are_left_out_have_no_say() -> None:
    correct = np.random.default_rng(3).random((3, 300)) < 0.5
    correct[1] = False  # the run of the seed that some other row lacks
    rate = 100 * correct.mean(axis=1)
    some = resample.bootstrap(sample({"A": rate}), [0, 2], np.random.default_rng(4), 200, {cell("A"): correct})(cell("A"))
    two = resample.bootstrap(sample({"A": rate[[0, 2]]}), [0, 1], np.random.default_rng(4), 200, {cell("A"): correct[[0, 2]]})(cell("A"))
    assert np.array_equal(some, two)


def test_spread_is_the_standard_deviation_of_a_sample() -> None:
    s = sample({"A": np.array([1.0, 2.0, 6.0, 99.0])})
    assert resample.spreads(s, [0, 1, 2])(cell("A")) == pytest.approx(np.sqrt((4 + 1 + 9) / 2))  # about the mean of 3
    assert resample.spreads(s, [0])(cell("A")) == 0.0


def test_holm_by_hand() -> None:
    assert resample.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert resample.holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])


def test_equality_is_two_one_sided_tests() -> None:
    upper, lower = within("x", np.array([0.4, 1.2, -1.2]), 1.0)
    assert upper.slack == pytest.approx([0.6, -0.2, 2.2])
    assert lower.slack == pytest.approx([1.4, 2.2, -0.2])
    assert all_hold([upper, lower]).tolist() == [True, False, False]
    # the conjunction's probability is the greater of both: the TOST rule
    replicates = np.random.default_rng(0).normal(0.5, 0.2, 20000)
    p = [resample.one_sided(c.slack.mean(), c.slack, 20) for c in within("x", replicates, 1.0)]
    assert max(p) == pytest.approx(t.sf(0.5 / 0.2 * t.isf(0.025, 19) / norm.isf(0.025), 19), rel=0.2)
    assert max(p) == p[0]


def test_one_sided_continues_beyond_the_last_replicate() -> None:
    replicates = 10 + np.random.default_rng(0).normal(0, 1, 1000)
    assert 0 < resample.one_sided(10, replicates, 20) < 1e-7
    assert resample.one_sided(-10, replicates - 20, 20) == 1.0
    assert resample.one_sided(1.0, np.ones(10), 20) == 0.0
    assert resample.one_sided(0.0, np.zeros(10), 20) == 1.0
    assert resample.one_sided(0.0, np.zeros(10), 20, strict=False) == 0.0


@pytest.mark.parametrize("n", [3, 5, 20])
def test_looking_for_the_worst_of_thirty_conditions_finds_one_as_seldom_as_was_declared(n: int) -> None:
    """Of normal seeds without any effect, at 2.5 %: 160 trials, of which 4 are expected and 10 are beyond one in 200."""
    rng, found = np.random.default_rng(n), 0
    for _ in range(160):
        seeds = rng.normal(size=(30, n))
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=1000) / n @ seeds.T
        mean = seeds.mean(axis=1)
        wide = mean[:, None] + resample.widening(n) * (drawn.T - mean[:, None])
        found += 30 * min(resample.one_sided(m, w, n) for m, w in zip(mean, wide, strict=True)) <= 0.025
    assert found < 10


def test_conditions_at_their_bound() -> None:
    assert not above("a", np.array([1.0]), 1.0).holds()[0]
    assert above("a", np.array([1.0]), 1.0, strict=False).holds()[0]
    assert below("a", np.array([1.0]), 1.0, strict=False).holds()[0]


def test_rank_correlation_matches_scipy_with_ties() -> None:
    from scipy.stats import spearmanr

    x, y = np.array([1.0, 2, 2, 4, 5]), np.array([3.0, 1, 4, 4, 9])
    assert rank_correlation(x[:, None], y[:, None])[0] == pytest.approx(spearmanr(x, y).statistic)
    assert rank_correlation(np.ones((3, 1)), np.arange(3.0)[:, None])[0] == 0.0
    assert kth_smallest([np.array([3.0]), np.array([1.0]), np.array([2.0])], 2)[0] == 2.0


@pytest.mark.parametrize("seeds", [1, 6])
def test_chance_of_the_best_of_four(seeds: int) -> None:
    rng = np.random.default_rng(5)
    s = sample({m: 50 + 10 * (m == "A") + rng.normal(0, 1, seeds) for m in "ABCD"})
    cells = [cell(m) for m in "ABCD"]
    fetch = resample.permuted(s, cells, range(seeds), rng, 8000)
    best = fetch(cells[0]) > stack([fetch(c) for c in cells[1:]]).max(axis=0)
    assert best.mean() == pytest.approx(0.25, abs=0.02)  # although A is best by far in the data


def test_permutation_moves_all_measures_of_a_row_together() -> None:
    one = sample({m: np.array([v]) for m, v in zip("ABC", (1.0, 2.0, 3.0), strict=True)})
    for c in list(one.values):
        other = c._replace(metric="standard_accuracy_best")
        one.values[other] = one.values[c] * 10
    cells = list(one.values)
    fetch = resample.permuted(one, cells, [0], np.random.default_rng(0), 50)
    for c in cells[:3]:
        assert np.array_equal(10 * fetch(c), fetch(c._replace(metric="standard_accuracy_best")))
    assert len(np.unique(fetch(cells[0]))) == 3


def test_fragility_by_hand() -> None:
    a, b, c = (cell(m) for m in "ABC")
    values = {a: 51.0, b: 50.0, c: 49.7}

    def best(fetch: resample.Fetch) -> np.ndarray:
        return fetch(a) > np.maximum(fetch(b), fetch(c))

    size, which = fragility(best, [a, b, c], values)
    assert (size, which in (a, b)) == (pytest.approx(1.0, rel=1e-3), True)  # A falls by 1 or B rises by 1
    far = {a: 51.0, b: 51.5, c: 52.0}
    size, which = fragility(best, [a, b, c], far)
    assert (size, which) == (pytest.approx(1.0, rel=1e-3), a)  # lowering B or C alone leaves the other above A
    size, which = fragility(lambda f: f(a) > -1e9, [a], {a: 1.0})
    assert (size, which) == (None, None)


def test_missing_cell_ambiguous_cell_and_misspelling() -> None:
    s = sample({"OMP": np.array([1.0, 2.0]), "SNIP": np.array([3.0, 4.0])})
    table = Table(s, resample.means(s))
    assert table.get("OMP", 80, "robust_accuracy_best", exhibit="table_1")[0] == 1.5
    with pytest.raises(SpecError, match="Did you mean 'OMP'"):
        table.get("OMP1", 80, "robust_accuracy_best", exhibit="table_1")
    frame = pd.DataFrame(
        [("p", "table_1", "D", "N", 80, "flying bird+", "", "m", 0, 1.0)], columns=list(COLUMNS)    )  # fmt: skip
    with pytest.raises(SpecError, match=r"the claims read 'Flying Bird\+'"):
        Sample(frame, ("Flying Bird", "Flying Bird+"))
    Sample(frame.assign(setting="My own method"), ("Flying Bird", "Flying Bird+"))  # a new row is welcome
    with pytest.raises(SpecError, match="two values"):
        Sample(pd.concat([frame, frame.assign(value=2.0)]).assign(setting="Flying Bird"), ("Flying Bird",))
