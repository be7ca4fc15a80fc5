"""The exhibits of Sparsity Winning Twice: which jobs they share, and what their schedules are."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from replib.claims import resample
from replib.claims.predicates import sparsity_winning_twice as swt
from replib.claims.table import Sample, Table, parse_variant
from replib.data import Data
from replib.experiments.cost import SPEED, estimate, forward_flops, operations
from replib.experiments.jobs import execute
from replib.experiments.places import CIFAR10, CIFAR100, VGG10, WIDE
from replib.experiments.profiles import PROFILES
from replib.experiments.registry import EXHIBITS, reported, results
from replib.experiments.rows import COLUMNS
from replib.experiments.runner import closure
from replib.experiments.sparsity_winning_twice import (
    attacks,
    figure_1,
    figure_2,
    figure_3,
    figure_4,
    figure_5,
    figure_6,
    figure_a7,
    figure_a8,
    figure_a9,
    figure_a10,
    figure_a11,
    tables,
)
from replib.experiments.sparsity_winning_twice.runs import PAPER, search, sparse, ticket
from replib.experiments.sparsity_winning_twice.tables import table_1
from replib.methods import FlyingBirdPlus, Quota, Searched
from replib.models.build import build
from replib.models.spec import weight_shapes
from replib.plots import facts
from replib.root import our_exhibits, printed_exhibits, project_root
from replib.spec import key, parents, task
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


# ---- tables -------------------------------------------------------------------------------------------------------------------------
PRINTED = ("1", "2", "3", "4", "5", "a6", "a7", "a8", *(f"a{n}" for n in range(9, 18)))
UNREAD = {("table_a13", 40.0, "Flying Bird")}  # a row that the supplied text lacks


@pytest.mark.parametrize("name", PRINTED)
def test_tables_have_the_printed_rows_in_the_printed_order(name):
    id = f"{PAPER}/table_{name}"
    printed = reported(id).fillna({"variant": ""})
    columns = ["dataset", "architecture", "sparsity_percent", "setting", "variant"]
    wanted = [tuple(row) for row in printed[columns].drop_duplicates().itertuples(index=False)]
    rows = EXHIBITS[id].rows(PROFILES["paper"])
    ours = [(r.dataset, r.architecture, r.sparsity_percent, r.setting, r.variant) for r in rows]
    extra = [r for r in ours if r not in wanted]
    assert all("robust unseen" in r[4] or "in the ball" in r[4] or (f"table_{name}", r[2], r[3]) in UNREAD for r in extra)
    assert sorted(map(str, (r for r in ours if r not in extra))) == sorted(map(str, wanted))
    if name not in ("a7", "a8"):  # there the paper puts attacks side by side
        assert [r for r in ours if r not in extra] == wanted


def test_tables_share_their_runs():
    p = PROFILES["laptop"]
    runs = {name: {key(row.run) for row in EXHIBITS[f"{PAPER}/table_{name}"].rows(p)} for name in PRINTED}
    assert len(runs["2"] & runs["1"]) == len(runs["2"] & runs["a11"]) == 4  # dense and the three proposals of each data set
    assert len(runs["3"] & runs["a10"]) == len(runs["3"] & runs["a12"]) == 4
    assert runs["a7"] == runs["a8"] <= runs["1"] | runs["a11"]
    assert len(runs["4"] & runs["1"]) == len(runs["5"] & runs["1"]) == 1  # Flying Bird+ as it is
    assert len(runs["a6"] & runs["a11"]) == 2  # dense, and SGD tickets at 90 %, which are Robust Bird's


def test_intervals_are_shares_of_the_run_and_what_cannot_be_told_apart_is_left_out():
    assert tables.steps_between(PROFILES["paper"].recipe(*CIFAR10)) == {n: n for n in tables.INTERVALS}
    short = tables.steps_between(PROFILES["laptop"].recipe(*CIFAR10))
    assert short[100] is None
    told_apart = [steps for steps in short.values() if steps]
    assert len(set(told_apart)) == len(told_apart) == len(tables.table_5(PROFILES["laptop"]))
    methods = [row.run.method for row in tables.table_5(PROFILES["paper"])]
    assert [round(70400 * m.interval) for m in methods] == list(tables.INTERVALS)
    assert [m == FlyingBirdPlus() for m in methods] == [n == 2000 for n in tables.INTERVALS]


def test_at_equal_density_every_method_waits_for_the_run_that_decides_it():
    rows = tables.equal_density(PROFILES["laptop"])
    decides = next(row.run for row in rows if row.setting == "Flying Bird+")
    tickets = [row.run.ticket for row in rows if row.setting not in ("Baseline", "Flying Bird+")]
    assert all(t.density == decides for t in tickets)
    assert {r.setting for r in rows} > {f"{name} (shuffled)" for name in tables.CONTROLS}


# ---- the paper's own settings -------------------------------------------------------------------------------------------------------
def test_paper_runs_have_the_papers_hyper_parameters():
    """Section 4 and appendix A3 of the paper; methods.md says where text and released code disagree."""
    p = PROFILES["paper"]
    dense = p.recipe(*CIFAR10).pgd_at()
    attack = dense.loss.attack
    assert (attack.eps, attack.steps, attack.step, attack.norm, attack.start, attack.bn) == (8 / 255, 10, 0.25, "linf", "random", "train")
    assert (dense.epochs, dense.batch, dense.schedule.drops, dense.schedule.factor) == (200, 128, (0.5, 0.75), 0.1)
    assert (dense.optim.lr, dense.optim.momentum, dense.optim.weight_decay) == (0.1, 0.9, 5e-4)
    assert (dense.validate.steps, dense.validate.eps, dense.precision, dense.data) == (20, 8 / 255, "fp32", Data("cifar10"))
    sizes = {n: sum(math.prod(s) for s in weight_shapes(p.recipe(*w).net, w_classes, (3, 32, 32)).values()) for n, w, w_classes in (
        ("ResNet-18", CIFAR10, 10), ("VGG-16", VGG10, 10))}  # fmt: skip
    assert sizes == {"ResNet-18": 11_164_352, "VGG-16": 14_715_584}
    found = search(p.recipe(*CIFAR10), 0.2)
    assert (found.epochs, found.method.tau, found.method.queue, found.method.relative) == (50, 0.1, 5, False)
    plus = sparse(p.recipe(*CIFAR10), "Flying Bird+", 0.2)[0]
    assert (plus.method.k_first, plus.method.delta_p, plus.method.delta_g, plus.method.t_start) == (0.5, 0.4, 0.05, 0.5)
    assert plus.ticket.rule == Quota("igq")
    assert key(sparse(p.recipe(*CIFAR10), "OMP", 0.2)[0].ticket.rule.run) == key(dense)
    cyclic = p.recipe(*CIFAR10).fast_at()
    assert (cyclic.loss.attack.step, cyclic.optim.lr, cyclic.schedule.peak) == (1.25, 0.2, 0.4)
    cw, whole = (attacks.stronger(p, CIFAR10)[name] for name in ("CW-Attack", "Auto-Attack"))
    assert (cw.search_steps, cw.c, cw.iterations, cw.lr) == (1, 0.1, 100, 0.01)
    assert (whole.suite, whole.eps) == ("standard", 8 / 255)


def test_the_wide_network_has_the_papers_number_of_parameters():
    net = PROFILES["paper"].recipe(*WIDE).net
    with torch.device("meta"):
        model = build_module(net)
    assert sum(p.numel() for p in model.parameters()) == 46_160_474


def build_module(net):
    return build(net, classes=10, shape=(3, 32, 32), mean=(0.5,) * 3, std=(0.5,) * 3, generator=torch.Generator("cpu"))


@pytest.mark.parametrize("p", PROFILES.values(), ids=PROFILES)
def test_figure_6_looks_at_final_networks_on_pictures_whose_maps_have_some_pixels(p):
    recipe, jobs = figure_6.recipe(p), figure_6.jobs(p)
    assert [job.run.name for job in jobs] == list(figure_6.NETWORKS)
    assert {job.checkpoint for job in jobs} == {"final"}
    assert {job.run.data for job in jobs} == {recipe.data}
    assert [job.run.ticket and (job.run.ticket.density) for job in jobs] == [None, 0.2, 0.2, 0.2]
    if not p.tiny:
        assert recipe.data.shape[1] >= 28
    assert {job.object_above for job in jobs} == (
        {0.5} if recipe.data.role.embedded else {None}
    )  # no brightness tells a photographed object
    if p.attention is None:
        assert key(figure_6.runs(p)["Baseline"]) == key(figure_1.rows(p)[0].run)  # that of Table 1, trained once
        assert recipe == p.recipe(*CIFAR10)


@pytest.mark.parametrize("extra", [{}, {"attention_on_object": 0.1, "saliency_on_object": 0.2}])
def test_figure_6_reads_every_number_that_its_jobs_have(extra):
    p = PROFILES["laptop"]
    found = {f"{kind}_{what}": 0.5 for kind in ("attention", "saliency") for what in ("entropy", "half_area", "empty")} | extra

    class Reader:
        def summary(self, task):
            return {}

        def results(self, task):
            return found | {"images": 200, "accuracy": 75.0 + task.seed}

    frame = figure_6.read(Reader(), p, [0, 1])
    assert set(frame.metric) == {"adversarial_accuracy", *found}
    assert len(frame) == 2 * 4 * (1 + len(found))
    assert not frame.duplicated(["setting", "metric", "seed"]).any()
    assert frame[(frame.metric == "adversarial_accuracy") & (frame.seed == 1)].value.tolist() == [76.0] * 4
    assert frame.groupby("setting", sort=False).sparsity_percent.first().tolist() == [0, 80, 80, 80]


@pytest.mark.parametrize("p", PROFILES.values(), ids=PROFILES)
def test_paths_and_their_flatness_are_those_of_table_1_and_figure_5(p):
    assert {key(run) for run in figure_3.runs(p).values()} <= runs_of_table_1(p)
    assert all(run.retain == ("weights",) for run in figure_3.runs(p).values())
    measured = {key(job) for job in figure_3.jobs(p) if job.kind != "trajectory"}
    assert measured <= {key(job) for job in figure_5.jobs(p)}
    assert len(measured) == 9


@pytest.mark.parametrize("p", PROFILES.values(), ids=PROFILES)
def test_before_robustification_masks_differ_and_weights_do_not(p):
    for stage in figure_a9.STAGES:
        dense, random, bird = figure_a9.runs(p, stage).values()
        assert dense.ticket is None
        assert random.ticket.density == bird.ticket.density == 0.7
        assert isinstance(bird.ticket.rule, Searched)
        assert {key(replace(run, ticket=None)) for run in (dense, random, bird)} == {key(dense)}
    start, drawn = (figure_a9.runs(p, stage)["Robust Bird"] for stage in figure_a9.STAGES)
    assert start.init == p.recipe(*CIFAR10).pgd_at().init
    assert key(drawn.init.run) == key(drawn.ticket.rule.search)  # the weights at which this very mask was drawn
    assert all(job.checkpoint == "initial" for job in figure_a9.jobs(p))


def test_before_robustification_the_search_is_for_thirty_percent():
    p = PROFILES["laptop"]
    run = figure_a9.runs(p, "start")["Robust Bird"]
    searches = [t.job for t in parents(run.ticket, 0)]
    assert [s.method.densities for s in searches] == [(0.7,)]
    assert task(run, 0).job.epochs == 1


def test_the_papers_settings_are_priced_before_anything_runs():
    """Images, epochs and cost of an image: ResNet-18 with PGD-10 takes 23 forward passes of 1.11 GFLOP an update, PGD-20 validation 42."""
    dense = task(PROFILES["paper"].recipe(*CIFAR10).pgd_at(), 0)
    assert operations(dense) == pytest.approx(200 * 1.1108e9 * (45_000 * 23 + 5_000 * 42), rel=2e-3)
    wide = task(PROFILES["paper"].recipe(*WIDE).pgd_at(), 0)
    assert operations(wide) / operations(dense) == pytest.approx(13.318 / 1.1108, rel=2e-3)
    assert estimate(dense, device="cuda") == pytest.approx(operations(dense) / SPEED["cuda"])
    forward, images = 1.1108e9, 10_000 + 10_000 + 45_000
    prices = {row.variant: operations(task(row.robust, 0)) for row in attacks.table_a8(PROFILES["paper"]) if row.setting == "Baseline"}
    assert prices["attack=CW-Attack"] == pytest.approx(images * (2 * 100 + 1) * forward, rel=5e-3)  # of CIFAR-100, the last of the two
    assert prices["attack=Auto-Attack"] == pytest.approx(images * (200 + 1800 + 2700 + 5000 + 1) * forward, rel=5e-3)
    few = attacks.table_a8(PROFILES["laptop"])[0]
    assert operations(task(few.robust, 0)) == pytest.approx(3 * 200 * 401 * forward_flops(few.run))
    sides = {row.variant: operations(task(row.robust, 0)) for row in attacks.table_a7(PROFILES["paper"]) if row.setting == "Baseline"}
    unseen = forward_flops(attacks.unseen(PROFILES["paper"], "CIFAR-100")["unseen model"])
    assert sides["attack=transfer from unseen model"] == pytest.approx(images * (40 * unseen + forward), rel=5e-3)
    assert sides["attack=transfer on unseen model"] == pytest.approx(images * (40 * forward + unseen), rel=5e-3)


@pytest.mark.parametrize("e", [e for e in EXHIBITS.values() if e.id.startswith(PAPER)], ids=lambda e: e.id.partition("/")[2])
def test_every_exhibit_has_a_price_in_the_papers_setting(e):
    tasks = closure(e.tasks(PROFILES["paper"], [0]))
    unpriced = 1e9  # what a job of a kind without a price of its own is said to take
    assert all(operations(t) > unpriced for t in tasks if t.job.kind not in ("ticket", "similarity"))
    assert all(t.job.label() for t in tasks)


def test_every_table_and_figure_of_the_paper_has_its_runs_and_its_page():
    root = project_root()
    wanted = {id for id in printed_exhibits(root) | our_exhibits() if id.startswith(PAPER)}
    assert len(wanted) == 28 + 2
    assert wanted <= set(EXHIBITS)
    assert [id for id in wanted if not (root / "notebooks" / f"{id}.ipynb").exists()] == []
    assert {id for id, e in EXHIBITS.items() if id.startswith(PAPER) and e.page} == wanted


# ---- frames as the claims read them ---------------------------------------------------------------------------------------------------
class Tables:
    """A reader that knows the metrics and events of runs by name, the same for every seed."""

    def __init__(self, metrics, events=None):
        self.known = {"metrics": metrics, "events": events or {}}

    def table(self, t, name="metrics"):
        return self.known[name].get(t.job.name, pd.DataFrame())

    def results(self, t):
        return {"collapsed": False}

    def summary(self, t):
        return {}


def judged(predicate, frame):
    """Name and value of each condition of a claim on a frame; the mean over its seeds."""
    sample = Sample(frame, swt.SETTINGS)
    return [(c.name, float(np.mean(c.value))) for c in predicate(Table(sample, resample.means(sample)))]


def test_figure_4_pairs_every_regularizer_with_its_run_of_table_1():
    for p in PROFILES.values():
        rows, known = figure_4.rows(p), runs_of_table_1(p)
        paired = [(r.setting, r.variant) for r in rows if r.setting != figure_4.CONTROL]
        assert paired == [(s, f"regularizer={n}") for s in ("Baseline", "Flying Bird+") for n in ("none", "KD", "SWA")]
        for r in rows:
            plain = "regularizer=none" in r.variant
            assert (key(r.run) in known) == plain
            own = replace(r.run, average=None, loss=rows[0].run.loss)  # nothing but the regularizer differs
            assert key(own) == key(next(o for o in rows if plain_twin(r, o)).run)


def plain_twin(r, other):
    return other.variant == "regularizer=none" and other.setting == r.setting.split(",")[0]


@pytest.mark.parametrize("p", PROFILES.values(), ids=PROFILES)
def test_teachers_are_the_standard_twin_and_the_baseline_and_their_cost_is_counted(p):
    rows = {(r.setting, r.variant): r for r in figure_4.rows(p)}
    recipe = p.recipe(*CIFAR10)
    for setting in figure_4.SETTINGS:
        taught = rows[setting, "regularizer=KD"]
        loss = taught.run.loss
        assert key(loss.standard_teacher) == key(recipe.standard())
        assert key(loss.robust_teacher) == key(rows["Baseline", "regularizer=none"].run)
        assert loss.checkpoints == ("best_sa", "best_ra")
        assert loss.attack == rows["Baseline", "regularizer=none"].run.loss.attack
        assert {key(job) for job in taught.costs.values()} == {key(loss.standard_teacher), key(loss.robust_teacher)}


def test_averages_start_at_their_share_and_with_flying_bird_plus_with_its_controller():
    rows = figure_4.rows(PROFILES["paper"])
    starts = {r.setting: r.run.average.start * r.run.epochs for r in rows if r.variant == "regularizer=SWA"}
    assert starts == pytest.approx({"Baseline": 55, "Flying Bird+": 100, figure_4.CONTROL: 100})
    for r in rows:
        assert (r.checkpoints == ("average_best_ra", "average_final")) == (r.run.average is not None)
    late = figure_4.average(FlyingBirdPlus(t_start=0.1))
    assert late.start == pytest.approx(55 / 200)


def test_the_claim_of_figure_4_compares_each_regularizer_and_not_the_control():
    values = {("Baseline", "KD"): 50, ("Flying Bird+", "KD"): 53, ("Baseline", "SWA"): 51, ("Flying Bird+", "SWA"): 52}
    lines = [
        r.labels() | {"metric": "robust_accuracy_best", "seed": 0, "value": float(values.get((r.setting, r.variant.partition("=")[2]), 1))}
        for r in figure_4.rows(PROFILES["smoke"])
    ]
    found = dict(judged(swt.swt_adds_to_smoothening, pd.DataFrame(lines).assign(paper=PAPER, exhibit="figure_4")))
    assert [round(v, 6) for v in found.values()] == [3, 1]


def test_figure_a7_averages_the_same_epochs_of_the_runs_of_figure_a8():
    for p in PROFILES.values():
        runs = figure_a7.runs(p)
        assert [key(r) for r in runs.values()] == [key(figure_a8.regimes(p)[n]) for n in ("SGD", "Fast AT", "PGD-10", figure_a8.STEPPED)]
        assert 2 <= figure_a7.compared(p) <= min(30, *(r.epochs for r in runs.values()))
    p = PROFILES["laptop"]
    n = figure_a7.compared(p)
    slopes = {"SGD": 8.0, "Fast AT": 2.0, "PGD-10": 5.0, figure_a8.STEPPED: 1.0}
    epochs = np.arange(1, 21)
    reader = Tables({k: pd.DataFrame({"epoch": epochs, "val_sa": np.where(epochs <= n, v * epochs, 1e6)}) for k, v in slopes.items()})
    frame = figure_a7.read(reader, p, [0, 1])
    mean = (n + 1) / 2
    assert dict(judged(swt.swt_sgd_learns_fastest, frame)) == pytest.approx(
        {"mean SA during search, SGD minus Fast AT tickets": 6 * mean, "mean SA during search, SGD minus PGD-10 tickets": 3 * mean}
    )
    drawn = figure_a7.curves(SimpleNamespace(evidence=reader, profile=p, seeds=[0, 1]))
    assert len(drawn) == 4 * 2 * n
    assert drawn.standard_accuracy.max() == 8.0 * n


def controlled():
    """Five updates in three epochs, of which three prune and two grow more; a density that falls and rises a little."""
    events = pd.DataFrame(
        {
            "epoch": [1, 2, 2, 3, 3], "step": [1, 2, 3, 4, 5], "prune_boost": [False, True, True, True, False],
            "growth_boost": [False, False, False, True, True],
        }
    )  # fmt: skip
    metrics = pd.DataFrame({c: [60.0, 61.0, 62.0] for c in ("train_ra", "val_sa", "val_ra", "val_robust_loss")})
    return Tables({"Flying Bird+": metrics.assign(epoch=[1, 2, 3], density=[0.20, 0.12, 0.13])}, {"Flying Bird+": events})


def test_figure_a11_counts_boosted_updates_and_draws_each_epoch_once():
    p, reader = PROFILES["smoke"], controlled()
    assert {key(job) for job in figure_a11.jobs(p)} <= runs_of_table_1(p)
    frame = figure_a11.read(reader, p, [0])
    found = frame[frame.sparsity_percent == 80].set_index("metric").value
    assert found[["prune_ratio_raises", "growth_ratio_raises", "mask_updates"]].tolist() == [3, 2, 5]
    assert found.sparsity_range == pytest.approx(8)
    names = [name for name, _ in judged(swt.swt_fbp_capacity_moves, frame)]
    assert len(names) == 6
    marks = figure_a11.boosts(SimpleNamespace(evidence=reader, profile=p, seeds=[0]))
    at_80 = marks[marks.sparsity_percent == 80]
    assert sorted(zip(at_80.kind, at_80.epoch, strict=True)) == [("growth", 3), ("prune", 2), ("prune", 3)]


def test_a_run_in_which_nothing_was_boosted_has_counts_of_zero():
    reader = controlled()
    for events in (pd.DataFrame(), reader.known["events"]["Flying Bird+"].assign(prune_boost=False, growth_boost=False)):
        reader.known["events"]["Flying Bird+"] = events
        frame = figure_a11.read(reader, PROFILES["smoke"], [0])
        assert frame[frame.metric.isin(figure_a11.BOOSTS)].value.tolist() == [0, 0, 0, 0]
        assert figure_a11.boosts(SimpleNamespace(evidence=reader, profile=PROFILES["smoke"], seeds=[0])).empty


# ---- the schematic --------------------------------------------------------------------------------------------------------------------
def test_the_schematic_updates_when_runs_do_and_bounds_their_density(store):
    recipe = PROFILES["smoke"].recipe(*CIFAR10)
    method = FlyingBirdPlus(interval=1 / 12, window=1, t_start=0.5)
    drawn = ticket(recipe, 0.2, Quota("igq"))
    run = recipe.pgd_at(epochs=6, ticket=drawn, method=method)
    for job in (drawn, run):
        execute(task(job, 0), store)
    events, weights = store.table(task(run, 0), "events"), sum(store.results(task(run, 0))["layers"].values())
    steps = store.results(task(run, 0))["steps"] // 6
    planned = figure_2.updates(method, 0.2, steps, 6)
    assert [round(u.epoch * steps) for u in planned] == events.step.tolist()
    np.testing.assert_allclose([u.share for u in planned], events.k)
    assert events.prune_boost.any() or events.growth_boost.any()
    before = figure_2.awake(method, 6)
    for u, kept in zip(planned, events.kept / weights, strict=True):
        assert (u.low == u.high == 0.2) == (u.epoch <= before)
        assert u.low - 0.01 <= kept <= u.high + 0.01  # whole weights in small layers


@pytest.mark.parametrize("p", PROFILES.values(), ids=PROFILES)
def test_the_schematic_has_the_settings_of_table_1(p):
    s, runs = figure_2.schedule(p), {row.setting: row for row in table_1(p) if row.sparsity_percent in (0, 80)}
    assert s.density == 0.2
    assert s.epochs == runs["Flying Bird+"].run.epochs
    assert s.search_epochs == runs["Robust Bird"].costs["search"].epochs
    assert s.updates[-1].low <= s.density <= s.updates[-1].high
    assert figure_2.table(s).columns.tolist() == ["epoch", "share", "low", "high"]


def test_a_drawing_has_a_frame_without_lines_and_pages_can_say_so():
    r = results("sparsity_winning_twice/figure_2", "smoke")
    assert r.seeds == []
    assert list(r.frame.columns) == list(COLUMNS)
    assert "without runs" in facts.header(r)
    assert "No jobs" in facts.cost(r)
    assert facts.runs(r).data == ""


def test_variants_of_figure_a9_are_names_and_values(monkeypatch):
    """What the claims' engine reads: "name=value; name=value", nothing before, between or after."""
    lines = [{"metric": "loss_rise", "value": 1.0}, {"metric": "loss_rise", "variant": "radius=0.1", "value": 2.0}]
    monkeypatch.setattr(figure_5, "flatness_lines", lambda *_: iter(lines))
    monkeypatch.setattr(figure_5, "curvature_lines", lambda *_: iter(lines[:1]))
    found = list(figure_a9._lines(None, PROFILES["smoke"], 0))
    variants = {parse_variant(line["variant"]) for line in found}
    assert variants == {(), (("radius", "0.1"),), (("stage", "drawn"),), (("radius", "0.1"), ("stage", "drawn"))}
    frame = pd.DataFrame(found)
    assert set(figure_a9.numbers(SimpleNamespace(frame=frame)).stage) == {"start", "drawn"}
