"""Prices of jobs: arithmetic that grows as the work does, and measured times where there are any."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import tiny

from replib import cli
from replib.analysis.attention import Attention
from replib.analysis.evaluation import Evaluate
from replib.analysis.landscape import Flatness, Landscape
from replib.attacks import PGD
from replib.data import Data
from replib.experiments.cost import LAUNCHED, SPEED, estimate, forward_flops, human, operations
from replib.experiments.profiles import LAPTOP, PAPER
from replib.methods import AWT, SNIP, MaskSearch, Random, Surgery, SynFlow, Ticket
from replib.models import Net, weight_shapes
from replib.spec import Pinned, task
from replib.training import CrossEntropy, Slimming

RECIPE = LAPTOP.recipe("CIFAR-10", "ResNet-18")
RUN = RECIPE.pgd_at()


def price(job, seed=0):
    return operations(task(job, seed))


# ---- arithmetic ---------------------------------------------------------------------------------------------------------------------
def test_training_costs_by_epoch():
    assert price(replace(RUN, epochs=3 * RUN.epochs)) == pytest.approx(3 * price(RUN))


def test_training_by_hand():
    """A step of the network is three forward passes, a step of an attack two, a validation image one clean pass and one at the end."""
    run = replace(RUN, epochs=1, data=replace(RUN.data, n_train=100, n_val=10), loss=replace(RUN.loss, attack=PGD(0.2, 7)))
    run = replace(run, validate=PGD(0.2, 4))
    assert price(run) == pytest.approx((100 * (3 + 2 * 7) + 10 * (2 + 2 * 4)) * forward_flops(run))
    assert price(replace(run, loss=CrossEntropy())) == pytest.approx((100 * 3 + 10 * (2 + 2 * 4)) * forward_flops(run))
    assert price(replace(run, loss=Slimming(run.loss))) == price(run)


def test_restarts_of_an_attack_multiply_its_steps():
    once, twice, longer = (replace(RUN, validate=attack) for attack in (PGD(0.2, 20), PGD(0.2, 20, restarts=2), PGD(0.2, 40)))
    assert price(twice) == price(longer) > price(once)


def test_larger_networks_cost_more_in_proportion_to_their_passes():
    wide = replace(RUN, net=Net("preact_resnet_small", width=32))
    assert price(wide) / price(RUN) == pytest.approx(forward_flops(wide) / forward_flops(RUN))
    assert 3 < forward_flops(wide) / forward_flops(RUN) < 4  # all but the first layer grow by four


def test_tickets_cost_little_beside_the_runs_that_they_are_for():
    snip, synflow = (price(Ticket(RECIPE.data, RECIPE.net, 0.1, rule)) for rule in (SNIP(), SynFlow()))
    assert 0 < snip < synflow < price(RUN)


def test_evaluations_cost_by_image_step_and_place():
    run = replace(RUN, data=replace(RUN.data, n_train=50, n_val=20, n_test=30))
    each = forward_flops(run)
    assert price(Evaluate(run, None, ("final/test",))) == pytest.approx(30 * each)
    assert price(Evaluate(run, PGD(0.2, 5), ("final/test", "final/train"))) == pytest.approx((30 + 50) * 11 * each)
    assert price(Evaluate(Pinned(run, 0), None, ("final/val",))) == pytest.approx(20 * each)


def test_surfaces_cost_by_point_and_more_if_attacked_anew():
    fixed = Landscape(RUN, PGD(0.2, 10), points=21, images=100)
    assert price(fixed) == pytest.approx(21**2 * 100 * forward_flops(RUN))
    assert price(replace(fixed, adversarial="recompute")) == pytest.approx(21 * price(fixed))
    few, many = (price(Flatness(RUN, PGD(0.2, 10), directions=d)) for d in (1, 10))
    assert many / few == pytest.approx(31 / 4)  # three radii, and the centre once


def test_maps_cost_by_image_and_step_and_sample():
    job = Attention(RUN, PGD(0.2, 10), images=30, samples=50)
    assert price(job) == pytest.approx(30 * (2 * 10 + 4 + 2 * 50) * forward_flops(RUN))
    assert price(replace(job, run=Pinned(RUN, 0))) == price(job)


def test_the_papers_scale_is_far_beyond_a_laptop():
    dense = PAPER.recipe("CIFAR-10", "ResNet-18").pgd_at()
    assert price(dense) > 1e4 * price(RUN)
    assert estimate(task(dense, 0), device="cuda") > 3600


def test_a_plan_says_what_a_gpu_would_take_whatever_the_device_where_that_is_hours(capsys):
    cli.plan(["sparsity_winning_twice/table_1"], "paper", seeds="0", device="cpu", as_json=False, changes=None)
    assert "GPU-hours on one NVIDIA A100" in capsys.readouterr().out
    cli.plan(["sparsity_winning_twice/table_1"], "laptop", seeds="0", device="cpu", as_json=False, changes=None)
    assert "GPU-hours" not in capsys.readouterr().out


# ---- estimates ----------------------------------------------------------------------------------------------------------------------
def test_arithmetic_over_speed_and_never_nothing():
    assert estimate(task(RUN, 0)) == pytest.approx(max(0.05, price(RUN) / SPEED["cpu"]))
    assert estimate(task(Ticket(RECIPE.data, RECIPE.net, 0.1, Random()), 0)) == 0.05


def test_on_a_gpu_a_small_network_waits_for_its_layers_and_a_large_one_for_arithmetic():
    """The perceptron of D's Table 1: 17,180 steps of a search with two attacks of 20 steps are minutes, whatever their arithmetic."""
    search = task(MaskSearch(Data("mnist"), Net("mlp"), 0.1, AWT(PGD(0.3, 20))), 0)
    a_step = 2 * 2 * 20 + 6 + 12  # two attacks; the targets; the kernel in one block
    assert search.job.steps_an_epoch() * 20 == 17_180
    assert estimate(search, device="cuda") == pytest.approx(17_180 * a_step * 3 * LAUNCHED)
    assert estimate(search, device="cuda") > 10 * operations(search) / SPEED["cuda"]
    surgery = replace(search, job=replace(search.job, goal=Surgery()))
    assert estimate(surgery, device="cuda") == pytest.approx(17_180 * 3 * 3 * LAUNCHED)
    run = replace(RUN, batch=16, epochs=3)
    steps = 3 * math.ceil(RUN.data.role.n_train / 16)
    floor = (
        (steps * (3 + 2 * RUN.loss.attack.steps) + 3 * (2 + 2 * RUN.validate.steps))
        * len(weight_shapes(run.net, 10, run.data.shape))
        * LAUNCHED
    )
    assert estimate(task(run, 0), device="cuda:1") == pytest.approx(floor)
    dense = task(PAPER.recipe("CIFAR-10", "ResNet-18").pgd_at(), 0)
    assert estimate(dense, device="cuda") == pytest.approx(operations(dense) / SPEED["cuda"])


def test_a_published_time_of_any_seed_wins(project):
    run = tiny.rows(tiny.PROFILE)[0].run
    for seed in tiny.SEEDS:
        project.republish(task(run, seed), lambda s: s["cost"].update(cpu_seconds=1234.0))
    assert estimate(task(run, 0), project.published) == 1234.0
    assert estimate(task(run, 17), project.published) == 1234.0  # another seed of the same job
    other = task(replace(run, epochs=50), 0)
    assert estimate(other, project.published) == estimate(other)


def test_of_several_published_times_the_middle_one(project):
    run = tiny.rows(tiny.PROFILE)[0].run
    path = project.published.root / task(run, 0).name / "summaries.jsonl"
    line = json.loads(path.read_text().splitlines()[0])
    lines = [line | {"seed": seed, "cost": {"cpu_seconds": seconds}} for seed, seconds in enumerate((5.0, 900.0, 1.0))]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert estimate(task(run, 0), project.published) == 5.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.05, "1 s"), (40, "40 s"), (119.2, "120 s"), (120, "2.0 min"), (60 * 59, "59 min"), (7200, "2.0 h"), (10.4 * 86400, "10 days")],
)
def test_seconds_for_people(seconds, words):
    assert human(seconds) == words


def test_a_field_that_only_names_a_run_costs_nothing():
    named = replace(RUN, name="another", retain=("weights",))
    assert price(named) == price(RUN)
