"""The exhibits of Sparsity Winning Twice: which jobs they share, and what their schedules are."""

from __future__ import annotations

import pytest

from replib.experiments.profiles import PROFILES
from replib.experiments.sparsity_winning_twice import figure_1, figure_5, figure_a8, figure_a10
from replib.experiments.sparsity_winning_twice.runs import CIFAR100
from replib.experiments.sparsity_winning_twice.tables import table_1
from replib.spec import key
from replib.training.schedule import plateau_start, rate


def runs_of_table_1(p):
    return {key(row.run) for row in table_1(p)}


@pytest.mark.parametrize("p", PROFILES.values(), ids=PROFILES)
def test_dense_80_and_90_percent_of_figure_1_and_all_of_figure_5_are_runs_of_table_1(p):
    known = runs_of_table_1(p)
    assert [key(row.run) in known for row in figure_1.rows(p)] == [True, False, False, True, True]
    if not p.settings:  # where only some settings of Table 1 are run, Figure 5 has a row more
        assert {key(run) for run in figure_5.runs(p).values()} <= known


def test_curves_reach_from_the_first_epoch_to_the_last():
    assert figure_1.curve_epochs(4) == [1, 2, 3, 4]
    assert figure_1.curve_epochs(1) == [1]
    assert figure_1.curve_epochs(200) == [1, *range(25, 201, 25)]


@pytest.mark.parametrize("p", PROFILES.values(), ids=PROFILES)
def test_shortened_regimes_have_the_rates_of_the_full_length_search(p):
    recipe, made = p.recipe(*CIFAR100), figure_a8.regimes(p)
    full = recipe.standard()  # drops at one quarter and three quarters of all epochs
    for name in ("SGD", "PGD-10", figure_a8.STEPPED):
        short = made[name]
        assert short.epochs == figure_a8.map_epochs(p) < full.epochs
        assert short.optim == full.optim
        for epoch in range(short.epochs):
            rates = [rate(r.schedule, step=epoch, steps_per_epoch=1, epochs=r.epochs, plateau=plateau_start()) for r in (short, full)]
            assert rates[0] == pytest.approx(rates[1]), (name, epoch)
    assert made["Fast AT"].epochs == recipe.epochs  # a cyclic schedule cannot be cut
    assert all(set(run.retain) == {"masks@0.2", "masks@0.5"} for run in made.values())


def test_quotas_of_figure_a10_are_the_published_ones_of_the_full_network():
    p = PROFILES["paper"]

    class Reader:
        def results(self, task):
            shapes = figure_a10.weight_shapes(figure_a10.NET, 10, figure_a10.SHAPE)
            sizes = {n: figure_a10.math.prod(s) for n, s in shapes.items()}
            return {"kept": sizes, "sizes": sizes}

    counts = figure_a10.layer_counts(Reader(), p, 0)
    kept, sizes = counts["IGQ"]
    assert list(counts) == list(figure_a10.INITIALIZATIONS)
    assert len(sizes) == 21
    assert sum(sizes.values()) == 11_164_352
    assert kept["stem.weight"] / 1728 == pytest.approx(0.9936, abs=5e-4)
    assert kept["fc.weight"] / 5120 == pytest.approx(0.9812, abs=5e-4)
    for name in ("Uniform", "ERK", "IGQ"):
        assert sum(counts[name][0].values()) == round(0.2 * 11_164_352)
