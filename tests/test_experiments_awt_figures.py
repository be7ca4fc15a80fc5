"""The fourth paper's tables and figures: the printed rows, the paper's setting, what figures share, and that claims find their rows."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from replib.analysis.evaluation import Evaluate
from replib.analysis.grafting import Grafting
from replib.analysis.kernels import Kernels
from replib.claims import load_claims
from replib.claims.columns import table
from replib.claims.predicates.adversarial_winning_tickets import SETTINGS
from replib.claims.table import NotTestable, Sample
from replib.experiments.adversarial_winning_tickets import figure_9, figures, rows, searches, tables
from replib.experiments.jobs import execute
from replib.experiments.places import CNN10, CNN100, CNN_MNIST, MLP_MNIST, VGG10
from replib.experiments.profiles import LAPTOP, PAPER, PROFILES, SMOKE, changed
from replib.experiments.registry import EXHIBITS, reported
from replib.experiments.runner import closure
from replib.methods import AWT, MaskSearch, Quota, mask_search
from replib.models import Net, tangent
from replib.models.build import build, prunable
from replib.plots import tickets
from replib.spec import Task, task
from replib.store import Store
from replib.store.context import Context
from replib.training.networks import ticket_masks
from replib.training.spec import PGDAT, Adam, Constant, CrossEntropy, Fresh, FromRun

ID = "adversarial_winning_tickets"
MINE = [id for id in EXHIBITS if id.startswith(f"{ID}/") and id.rpartition("/")[2] not in ("table_3", "theorem_2")]


def keys(made: Sequence[rows.Subnetwork]) -> set[tuple]:
    columns = ["dataset", "architecture", "sparsity_percent", "setting", "variant"]
    return set(pd.DataFrame([row.labels() for row in made])[columns].itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("name", "made", "ours"),
    [
        ("table_1", tables.table_1, {tables.TRANSFERRED, tables.PRINTED, tables.RANDOM, tables.INITIAL, tables.SPREAD, tables.LAYERED}),
        ("table_2", tables.table_2, {"AWT", tables.LONG}),
    ],
)
def test_every_printed_row_is_there_and_no_other(name, made, ours):
    printed = reported(f"{ID}/{name}")[["dataset", "architecture", "sparsity_percent", "setting", "variant"]]
    theirs = set(printed.itertuples(index=False, name=None))
    for p, more in ((LAPTOP, ours), (PAPER, ours - {tables.PRINTED, "AWT", tables.LONG})):
        found = keys(made(p))
        assert theirs <= found
        assert {row[3] for row in found - theirs} == more


SEARCHED = [*MINE, "together/arena"]


@pytest.mark.parametrize(("name", "device"), [("laptop", "cpu"), ("workstation", "cpu"), ("paper", "cuda")])
def test_every_search_fits_into_the_memory_that_a_kernel_may_take(name, device):
    tasks = closure([task(job, 0) for id in SEARCHED for job in EXHIBITS[id].jobs(PROFILES[name])])
    found = {t.job for t in tasks if isinstance(t.job, MaskSearch) and isinstance(t.job.goal, AWT)}
    assert len(found) > 20
    for job in found:
        traced, pruned = traced_once(job.net, job.data.role.classes, tuple(job.data.shape))
        block = min(job.block, max(job.batch, job.held_out))
        masks = pruned if job.goal.jacobian == "masked" else {}
        needed = 4 * tangent._floats(traced, masks, block, block, job.goal.entries)
        assert needed <= tangent.LIMIT[device], f"{job.label()} of {job.net} in {name} needs {needed / 2**30:.1f} GiB"


@functools.cache
def traced_once(net: Net, classes: int, shape: tuple[int, ...]) -> tuple[tangent.Traced, dict[str, torch.Tensor]]:
    model = build(net, classes=classes, shape=shape, mean=[0.5] * shape[0], std=[0.5] * shape[0], generator=torch.Generator())
    return tangent._trace(model.eval(), {}, torch.rand(1, *shape)), prunable(model)


def test_the_papers_own_setting():
    dense = searches.trained(PAPER, MLP_MNIST)
    assert (dense.epochs, dense.batch, dense.optim, dense.schedule) == (100, 64, Adam(lr=1e-3), Constant())
    assert dense.loss == PGDAT(searches.attack(PAPER, MLP_MNIST, 20))
    assert (dense.loss.attack.eps, dense.loss.attack.steps, dense.loss.attack.step) == (0.3, 20, 0.125)
    final = searches.final_attack(PAPER, MLP_MNIST)
    assert (final.steps, final.step * final.steps) == (100, pytest.approx(2.5))
    found = searches.search(PAPER, CNN_MNIST, 0.03)
    assert (found.epochs, found.batch, found.lr, found.goal.entries, found.goal.kernel) == (20, 64, 5e-4, "all", "whole")
    assert found.goal.attack == searches.attack(PAPER, CNN_MNIST, 20)
    assert searches.recipe(PAPER, CNN10).eps == searches.recipe(PAPER, CNN100).eps == 8 / 255
    large = searches.search(PAPER, VGG10, 0.1)
    assert (large.epochs, large.goal.entries, searches.trained(PAPER, VGG10).epochs) == (10, "diagonal", 20)
    assert (len(figures.figure_5(PAPER)), len(figures.figure_7(PAPER)), len(figures.figure_8(PAPER))) == (12 - 1, 12 - 1, 6)


def test_a_network_and_its_relatives_start_from_the_same_weights_and_differ_in_their_mask():
    ticket, random, dense = figures.figure_6(LAPTOP)[0], figures.figure_6(LAPTOP)[1], figures.figure_6(LAPTOP)[-1]
    assert isinstance(ticket.run.ticket, MaskSearch)
    assert random.run.ticket.rule == Quota("uniform")  # counts by layer as those of a ticket that is searched layer by layer
    assert ticket.run.ticket.across == "layer"
    assert ticket.run.init == random.run.init == dense.run.init == Fresh()
    assert ticket.dense == random.dense == dense.run
    assert ticket.run.ticket.density == random.run.ticket.density


def test_the_dense_perceptron_is_trained_at_the_printed_radius_too():
    dense, printed = tables.table_1(LAPTOP)[-2:]
    for radius, row in ((LAPTOP.foresight.recipes[MLP_MNIST].eps, dense), (0.3, printed)):
        assert row.run.ticket is None
        assert row.attack.eps == row.run.loss.attack.eps == row.run.validate.eps == radius
        assert row.attack.steps == 100
    assert tables.table_1(PAPER)[-1].attack.eps == PAPER.foresight.recipes[MLP_MNIST].eps == 0.3


def test_controls_differ_from_what_they_stand_beside_in_one_thing():
    made = {(row.setting, row.sparsity_percent): row.run for row in (*tables.table_1(LAPTOP), *tables.table_2(LAPTOP))}
    ticket, moved = made["AWT", 98.2], made[tables.TRANSFERRED, 98.2]
    assert moved == replace(ticket, init=FromRun(ticket.ticket), name=moved.name)
    iterative, layered = made["Cosentino et al. 2019", 98.2], made[tables.LAYERED, 98.2]
    assert layered == replace(ticket, ticket=replace(ticket.ticket, density=iterative, across="run"), name=layered.name)
    short, long = made["S-AWT", 90.0], made[tables.LONG, 90.0]
    assert long == replace(short, ticket=replace(short.ticket, epochs=4 * short.ticket.epochs), name=long.name)


def test_a_row_of_table_1_tells_how_many_of_its_own_weights_lie_on_a_path(tmp_path):
    row = next(row for row in tables.table_1(SMOKE) if row.setting == tables.RANDOM)
    store = Store(tmp_path)
    for t in closure([task(job, 0) for job in row.jobs()]):
        execute(t, store)
    net = build(row.run.net, classes=10, shape=row.run.data.shape, mean=(0.0,), std=(1.0,), generator=torch.Generator())
    masks = list(ticket_masks(store, task(row.run.ticket, 0), net).values())
    on_path = [m.clone() for m in masks]
    for _ in masks:  # a unit without inputs sends nothing, one without readers tells nothing
        for before, after in pairwise(on_path):
            alive = before.any(1) & after.any(0)
            before &= alive[:, None]
            after &= alive
    kept, useful = (sum(int(m.sum()) for m in of) for of in (masks, on_path))
    assert 0 < useful < kept
    assert row.values(store, 0)["effective_percent"] == pytest.approx(100 * useful / kept)


def test_the_curves_leave_out_the_control_that_the_paper_does_not_draw(monkeypatch):
    curves = pd.DataFrame(
        {
            "setting": ["AWT", tables.INITIAL],
            "sparsity_percent": 95.0,
            "variant": "",
            "seed": 0,
            "epoch": 1,
            "val_sa": [1, 2],
            "val_ra": [1, 2],
        }
    )
    drawn = []
    monkeypatch.setattr(tickets.rows, "curves", lambda r: curves)
    monkeypatch.setattr(tickets.densities, "accuracies", drawn.append)
    monkeypatch.setattr(tickets, "save", lambda r, figure, table: table)
    monkeypatch.setattr(tickets, "card", lambda figure, *words: figure)
    monkeypatch.setattr(tickets.facts, "seeds", lambda r: "")
    _, links = tickets.accuracies(None)
    assert list(drawn[0].setting) == ["AWT"]
    assert len(links) == 2  # the data hold it


def test_the_control_has_the_mask_that_a_search_starts_from(tmp_path):
    """A search that changed nothing would return the control."""
    ticket, random, control = (row.run.ticket for row in figures.figure_6(SMOKE)[:3])
    store = Store(tmp_path)
    for t in closure([task(control, 0)]):
        execute(t, store)
    search = mask_search._begin(ticket, Context(store, task(ticket, 0)))
    drawn = ticket_masks(store, task(control, 0), search.student)
    assert set(drawn) == set(search.masks)
    assert all(torch.equal(drawn[n], search.masks[n]) for n in drawn)
    assert random.density == control.density == ticket.density


def test_figure_1_tunes_surgery_and_trains_transfer_from_scratch():
    made = searches.natural(LAPTOP)
    assert {name: type(run.init) for name, (_, run) in made.items()} == {
        "NTT": Fresh, "NTT, transferred weights": FromRun, "DNS": FromRun, searches.SCRATCH: Fresh, tables.RANDOM: Fresh,
        tables.INITIAL: Fresh, "full model": Fresh,
    }  # fmt: skip
    assert {run.init for _, run in made.values() if isinstance(run.init, Fresh)} == {Fresh(scheme="glorot")}
    for found, run in made.values():
        assert run.loss == CrossEntropy()
        assert run.ticket == found
    assert made["DNS"][1].init.run == made["DNS"][0] == made[searches.SCRATCH][0]
    assert made[tables.INITIAL][0].rule.run == made["full model"][1]


@pytest.mark.parametrize("p", PROFILES.values(), ids=list(PROFILES))
def test_figures_of_the_same_networks_share_their_runs(p):
    names = {id.rpartition("/")[2]: {t.name for t in closure(EXHIBITS[id].tasks(p, [0]))} for id in MINE}
    assert names["figure_4"] <= names["figure_6"]
    assert names["figure_8"] <= names["figure_10"]
    assert {t.name for t in closure([task(row.run, 0) for row in tables.table_1(p) if row.setting == "AWT"])} <= names["figure_3"]
    runs = {n for n in names["figure_9"] if n.startswith(("train-", "mask_search-"))}
    twin = next(row.run for row in figure_9.rows(p) if row.setting == figure_9.TWIN)
    assert runs - (names["figure_6"] | names["figure_10"]) == {task(twin, 0).name}


def test_what_a_notebook_changes_reaches_the_runs():
    p = changed(LAPTOP, {"epochs": 5, "eps": 0.07})
    run = searches.trained(p, CNN10)
    assert (run.epochs, run.loss.attack.eps) == (5, 0.07)


# ---- numbers -----------------------------------------------------------------------------------------------------------------------
def test_milestones_of_a_log():
    log = pd.DataFrame({"step": [0, 10, 20, 30, 37], "kernel_distance": [9.0, 5, 3, 2, 1], "target_distance": [4.0, 3, 2, 1, 0.5]})
    found = rows.milestones(log)
    assert found == {
        "kernel_distance_start": 9.0, "kernel_distance_half": 5.0, "kernel_distance_end": 1.0,
        "target_distance_start": 4.0, "target_distance_half": 3.0, "target_distance_end": 0.5,
    }  # fmt: skip


class Canned:
    """Results of jobs that nobody ran: made-up numbers, the same for the same task."""

    def rng(self, t: Task) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(f"{t.name}/{t.seed}".encode()))

    def summary(self, t: Task) -> dict:
        return {"cost": {"wall_seconds": 1.0}}

    def results(self, t: Task) -> dict:
        if isinstance(t.job, Evaluate):
            return {place: {"accuracy": float(self.rng(t).uniform(20, 90))} for place in t.job.places}
        if isinstance(t.job, Grafting):
            rise = {"over_upper": float(self.rng(t).uniform(0, 9)), "over_better": 9.0}
            return {"natural": rise, "adversarial": rise}
        if isinstance(t.job, Kernels):
            return {"tickets": [{"density": 0.1, "effective_density": 0.05}]}
        return {"density": 0.1}

    def table(self, t: Task) -> pd.DataFrame:
        rng = self.rng(t)
        if isinstance(t.job, MaskSearch):
            return pd.DataFrame({"step": [0, 5, 10], "kernel_distance": rng.uniform(1, 9, 3), "target_distance": rng.uniform(1, 9, 3)})
        return pd.DataFrame({"val_ra": rng.uniform(20, 90, t.job.epochs)})


def test_distance_of_curves_is_the_mean_over_epochs_of_the_absolute_difference():
    class Two(Canned):
        def table(self, t):
            return pd.DataFrame({"val_ra": [10.0, 30.0, 50.0] if t.job.ticket is None else [12.0, 24.0, 53.0]})

    sparse, dense = figures.figure_4(SMOKE)[0], figures.figure_4(SMOKE)[-1]
    assert rows.curve_distance(Two(), sparse.run, dense.run, 0) == pytest.approx((2 + 6 + 3) / 3)


@pytest.fixture(scope="module")
def sample():
    """Every exhibit of the smallest profile on made-up numbers of two seeds."""
    made = [EXHIBITS[id].read(Canned(), SMOKE, range(2)) for id in MINE if EXHIBITS[id].seeds != "none"]
    return Sample(pd.concat(made, ignore_index=True), SETTINGS)


def conditions(sample, claim: str):
    """The claim's conditions; raises MissingResult where a row that it reads is not there."""
    known = {c.claim_id: c for c in load_claims()}[claim]
    return known.predicate(table(known, sample, lambda cell: sample.values[cell], "same data reduced"))


@pytest.mark.parametrize(
    ("claim", "n"),
    [
        ("awt_ntt_keeps_dynamics", 5), ("awt_distances_fall", 30), ("awt_curves_vs_density", 10), ("awt_beats_cosentino", 5),
        ("awt_approaches_dense_faster", 1), ("awt_comparable_with_dense", 8), ("awt_beats_random", 9), ("awt_1_beats_random_3", 1),
        ("awt_sampling_costs_nothing", 6), ("awt_grafting", 2), ("awt_dense_regime_above_02", 8), ("awt_cifar100_beats_random", 4),
    ],
)  # fmt: skip
def test_every_claim_finds_its_rows_in_the_smallest_profile(sample, claim, n, monkeypatch):
    monkeypatch.setattr("replib.claims.predicates.adversarial_winning_tickets.LEARNED", 0.0)  # nothing learns in two epochs
    monkeypatch.setattr("replib.claims.predicates.adversarial_winning_tickets.FEW_POINTS", 9.0)  # made-up grafts err up to so much more
    assert len(conditions(sample, claim)) == n


def test_few_points_are_not_asked_of_tickets_where_two_dense_networks_differ_by_more(sample, monkeypatch):
    monkeypatch.setattr("replib.claims.predicates.adversarial_winning_tickets.FEW_POINTS", 0.0)
    known = {c.claim_id: c for c in load_claims()}["awt_grafting"]
    t = table(known, sample, lambda cell: sample.values[cell], "same data reduced")
    assert [c.name.partition("%, ")[2] for c in known.predicate(t)] == ["random minus AWT"]
    (words,) = t.left_out
    assert words.startswith("grafts of two dense networks")


@pytest.mark.parametrize("claim", ["awt_beats_cosentino", "awt_beats_random", "awt_1_beats_random_3"])
def test_networks_that_have_not_learned_are_not_compared(sample, claim, monkeypatch):
    monkeypatch.setattr("replib.claims.predicates.adversarial_winning_tickets.LEARNED", 100.1)
    with pytest.raises(NotTestable, match="neither has learned"):
        conditions(sample, claim)


def test_the_claim_on_full_mnist_finds_its_rows_and_says_why_it_is_not_tested(sample):
    with pytest.raises(NotTestable, match="needs 95 % and 85 %"):
        conditions(sample, "awt_mnist_3_percent")


def test_grafts_are_of_the_runs_of_the_other_figures():
    *sparse, dense = figure_9.rows(SMOKE)
    made = figure_9.grafts(SMOKE)
    assert [row for row, _ in made] == sparse
    for row, job in made:
        assert (task(job.dense, 0).name, task(job.sparse, 0).name) == (task(dense.run, 0).name, task(row.run, 0).name)
        assert job.epochs[-1] == dense.run.epochs


def test_increases_over_the_upper_network():
    errors = {("dense", 0): 30.0, ("dense", 1): 33.0, ("dense", 2): 10.0, ("sparse", 0): 10.0, ("sparse", 1): 16.0, ("sparse", 2): 30.0}
    log = pd.DataFrame(
        [{"epoch": 4, "lower": lower, "cut": cut, "natural_error": e, "adversarial_error": 2 * e} for (lower, cut), e in errors.items()]
    )
    found = figure_9._increases(log).set_index("lower")
    assert list(found.cut) == [1, 1]
    assert found.natural.to_dict() == {"dense": 3.0, "sparse": 6.0}
    assert found.adversarial.to_dict() == {"dense": 6.0, "sparse": 12.0}
