"""Whole jobs that measure finished runs, through the runner: what they report is what their functions say of the run's own files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from replib.analysis.landscape import Flatness, Landscape, axis, basin_area
from replib.analysis.similarity import Similarity
from replib.attacks import PGD
from replib.attacks.evaluate import evaluate
from replib.data.load import load
from replib.experiments.jobs import execute
from replib.experiments.profiles import SMOKE
from replib.experiments.runner import run
from replib.methods import SNIP, Quota, Random, Shuffled, Ticket
from replib.sparsity.masks import global_top
from replib.spec import Pinned, ReplibError, stream_seed, task
from replib.store import Store
from replib.store.context import Context
from replib.training import CrossEntropy, networks

RECIPE = SMOKE.recipe("CIFAR-10", "ResNet-18")
SPLIT = load(RECIPE.data)
ATTACK = PGD(0.2, 2, start="zero")
IMAGES = 30
DENSE = RECIPE.pgd_at(epochs=2, retain=("masks@0.2", "weights"))
OTHER = replace(DENSE, loss=CrossEntropy())
TICKET = Ticket(RECIPE.data, RECIPE.net, 0.3, Quota("erk"))
SPARSE = replace(DENSE, ticket=TICKET, retain=())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with two dense runs, a sparse one and its ticket."""
    store = Store(tmp_path_factory.mktemp("runs"))
    assert not run([task(job, 0) for job in (DENSE, OTHER, SPARSE)], store, show=False).failed
    return store


def results(store, job):
    """Results and arrays of a job that runs now."""
    t = task(job, 0)
    execute(t, store)
    assert store.status(t, deep=True) == "done"
    return store.results(t), store.arrays(t)


def net(store, job, checkpoint="final"):
    return networks.trained(Context(store, task(job, 0)), task(job, 0), checkpoint, SPLIT)


# ---- landscapes -----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "centre"),
    [({}, "adversarial"), ({"adversarial": "recompute"}, "adversarial"), ({"space": "pixels", "radius": 2.0}, "clean")],
    ids=["fixed", "recomputed", "pixels"],
)
def test_the_centre_of_a_surface_is_the_loss_of_the_run(made, changes, centre):
    job = Landscape(SPARSE, ATTACK, points=3, images=IMAGES, **changes)
    found, arrays = results(made, job)
    attack = ATTACK if centre == "adversarial" else None
    x, y = SPLIT.test.x[:IMAGES], SPLIT.test.y[:IMAGES]
    by_hand = evaluate(net(made, SPARSE), x, y, attack, seed=stream_seed(0, "landscape/attack"))
    assert found["images"] == IMAGES
    assert found[centre] == pytest.approx(by_hand.loss, rel=1e-5)
    assert found["centre"] == pytest.approx(by_hand.loss, rel=1e-5)
    assert arrays["loss"].shape == (3, 3)
    assert arrays["loss"][1, 1] == pytest.approx(by_hand.loss, rel=1e-5)
    np.testing.assert_allclose(arrays["axis"], axis(3, job.radius))
    assert found["basin_area"] == basin_area(arrays["loss"].astype(float))
    assert len(np.unique(arrays["loss"])) > 5  # the surface is no plane


def test_a_surface_is_of_the_checkpoint_that_is_named(made):
    final, start = (results(made, Landscape(DENSE, ATTACK, points=3, images=IMAGES, checkpoint=c))[0] for c in ("final", "initial"))
    x, y = SPLIT.test.x[:IMAGES], SPLIT.test.y[:IMAGES]
    assert start["clean"] == pytest.approx(evaluate(net(made, DENSE, "initial"), x, y).loss, rel=1e-5)
    assert start["clean"] != final["clean"]


def test_a_measurement_leaves_the_weights_of_its_run_alone(made):
    before = made.summary(task(SPARSE, 0))["files"]
    results(made, Landscape(SPARSE, ATTACK, points=3, images=10))
    assert made.status(task(SPARSE, 0), deep=True) == "done"
    assert made.summary(task(SPARSE, 0))["files"] == before


def test_the_surface_of_a_pinned_run_is_that_of_its_own_seed(made):
    job = Landscape(Pinned(DENSE, 0), ATTACK, points=3, images=IMAGES)
    execute(task(job, 5), made)
    ours, theirs = made.results(task(job, 5)), results(made, Landscape(DENSE, ATTACK, points=3, images=IMAGES))[0]
    assert ours["clean"] == theirs["clean"]  # the network of seed 0
    assert ours["cosine"] != theirs["cosine"]  # seen along directions of seed 5


def test_flatness_is_the_mean_rise_over_directions(made):
    job = Flatness(SPARSE, ATTACK, radii=(0.1, 0.5), directions=3, images=IMAGES)
    found, arrays = results(made, job)
    surface = results(made, Landscape(SPARSE, ATTACK, adversarial="recompute", points=3, radius=0.5, images=IMAGES))
    for kind in ("clean", "adversarial"):
        assert arrays[kind].shape == (2, 3)
        assert [found[kind]["0.1"], found[kind]["0.5"]] == pytest.approx(arrays[kind].mean(1), rel=1e-5)
        assert found[kind]["centre"] == surface[0][kind]
    # The first two directions are those of the surface: its points on the axes are the rises at half a norm.
    rises = surface[1]["loss"] - surface[1]["loss"][1, 1]
    assert arrays["adversarial"][1, :2] == pytest.approx([rises[2, 1], rises[1, 2]], abs=1e-5)


# ---- similarity -----------------------------------------------------------------------------------------------------------------------
def test_similarity_is_that_of_the_weights_of_the_epochs(made):
    """Masks of the retained weights, compared one by one, are what the packed masks say."""
    found, arrays = results(made, Similarity(DENSE, OTHER, 0.2, 2))
    masks = []
    for job in (DENSE, OTHER):
        t = task(job, 0)
        names = made.results(t)["layers"]
        weights = [made.weights(t, f"epoch_{n}") for n in (1, 2)]
        masks.append([global_top({n: w[n].abs() for n in names}, 0.2) for w in weights])
    by_hand = [[np.mean(torch.cat([(a[n] == b[n]).flatten() for n in a]).numpy()) for b in masks[1]] for a in masks[0]]
    np.testing.assert_allclose(arrays["similarity"], by_hand, atol=1e-6)
    assert found["first"] == pytest.approx(by_hand[0][0])
    assert found["last"] == pytest.approx(by_hand[1][1])
    assert found["equal_epochs"] == pytest.approx((by_hand[0][0] + by_hand[1][1]) / 2)
    assert found["chance"] == pytest.approx(0.2**2 + 0.8**2, abs=1e-3)
    assert found["weights"] == sum(made.results(task(DENSE, 0))["layers"].values())
    assert by_hand[0][1] != by_hand[1][0]  # rows are epochs of the first run


def test_similarity_of_a_run_with_itself_is_one(made):
    found, arrays = results(made, Similarity(DENSE, Pinned(DENSE, 0), 0.2, 2))
    assert found["equal_epochs"] == 1.0
    assert arrays["similarity"][0, 1] < 1


@pytest.mark.parametrize(
    ("density", "epochs", "reason"), [(0.4, 2, "kept no masks at density 0.4; add 'masks@0.4'"), (0.2, 3, "has 2 epochs, not 3")]
)
def test_masks_that_were_not_retained_are_asked_for(made, density, epochs, reason):
    with pytest.raises(ReplibError, match=reason):
        execute(task(Similarity(DENSE, OTHER, density, epochs), 0), made)


# ---- shuffled tickets -----------------------------------------------------------------------------------------------------------------
def masks(store, job):
    execute(task(job, 0), store)
    return networks.ticket_masks(store, task(job, 0), networks.fresh(DENSE, SPLIT, 0))


SNIPPED = Ticket(RECIPE.data, RECIPE.net, 0.3, SNIP(per_class=3))


def shared(a, b):
    """Share of the weights of `a` that `b` keeps too."""
    return sum(int((a[n] & b[n]).sum()) for n in a) / sum(int(m.sum()) for m in a.values())


@pytest.mark.parametrize("across", ["layer", "network"])
def test_a_shuffled_ticket_keeps_counts_and_moves_weights(made, across):
    shuffled = Ticket(RECIPE.data, RECIPE.net, 0.3, Shuffled(SNIPPED, across))
    before, after = masks(made, SNIPPED), masks(made, shuffled)
    kept = made.results(task(SNIPPED, 0))["kept"]
    found = made.results(task(shuffled, 0))
    assert found["density"] == made.results(task(SNIPPED, 0))["density"] == pytest.approx(0.3, abs=1e-3)
    assert {n: int(m.sum()) for n, m in after.items()} == found["kept"]
    assert (found["kept"] == kept) == (across == "layer")
    assert shared(before, after) < 0.6


@pytest.mark.parametrize(("rule", "across"), [(Random(), "network"), (Quota("erk"), "layer")])
def test_the_shuffled_twin_of_a_random_ticket_is_another_one(made, rule, across):
    plain = Ticket(RECIPE.data, RECIPE.net, 0.3, rule)
    twin = Ticket(RECIPE.data, RECIPE.net, 0.3, Shuffled(plain, across))
    assert shared(masks(made, plain), masks(made, twin)) < 0.9


def test_a_run_trains_the_shuffled_ticket(made):
    shuffled = Ticket(RECIPE.data, RECIPE.net, 0.3, Shuffled(SNIPPED))
    twin = replace(SPARSE, ticket=shuffled, epochs=1)
    masks(made, SNIPPED)
    wanted = masks(made, shuffled)
    execute(task(twin, 0), made)
    weights = made.weights(task(twin, 0), "epoch_1")
    assert all(torch.equal(weights[n] != 0, m) for n, m in wanted.items())
