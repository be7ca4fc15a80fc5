"""Which weights a ticket keeps: the largest, those with the greatest scores, and not merely the right number of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from replib.data.load import load
from replib.experiments.jobs import execute
from replib.experiments.profiles import SMOKE
from replib.methods import SNIP, GraSP, Magnitude, Ticket
from replib.methods.tickets import draw, scoring_batch
from replib.models.build import prunable
from replib.sparsity import scores
from replib.sparsity.masks import global_top
from replib.spec import task
from replib.store.context import Context
from replib.training import networks

RECIPE = SMOKE.recipe("CIFAR-10", "ResNet-18")
SPLIT = load(RECIPE.data)


def flat(tensors):
    return torch.cat([t.detach().flatten() for t in tensors.values()])


def test_a_ladder_of_magnitude_tickets_keeps_the_largest_of_what_was_left(store):
    dense = RECIPE.pgd_at(epochs=1)
    first = Ticket(RECIPE.data, RECIPE.net, 0.5, Magnitude(dense), "conv")
    sparse = replace(dense, ticket=first)
    second = Ticket(RECIPE.data, RECIPE.net, 0.3, Magnitude(sparse), "conv")
    for job in (dense, first, sparse, second):
        execute(task(job, 0), store)
    left = None
    for run, ticket in ((dense, first), (sparse, second)):
        net = networks.trained(Context(store, task(run, 0)), task(run, 0), "final", SPLIT)
        size = flat(prunable(net, "conv")).abs()
        kept = flat(networks.ticket_masks(store, task(ticket, 0), net))
        dropped = ~kept if left is None else left & ~kept
        assert dropped.any()
        assert size[kept].min() >= size[dropped].max()
        left = kept


def test_magnitude_without_a_run_keeps_the_largest_initial_weights(store):
    job = Ticket(RECIPE.data, RECIPE.net, 0.3, Magnitude(None), "conv")
    scene, masks = draw(job, Context(store, task(job, 3)))
    wanted = global_top({n: w.detach().abs() for n, w in prunable(scene.net, "conv").items()}, 0.3)
    assert all(torch.equal(masks[n], wanted[n]) for n in wanted)
    assert execute(task(job, 3), store)["results"]["density"] == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize(("rule", "score"), [(SNIP(per_class=2), scores.snip), (GraSP(per_class=2), scores.grasp)])
def test_tickets_by_saliency_keep_the_greatest_scores_on_as_many_images_of_each_class(store, rule, score):
    job = Ticket(RECIPE.data, RECIPE.net, 0.2, rule)
    scene, masks = draw(job, Context(store, task(job, 0)))
    x, y = scoring_batch(scene, 2)
    assert torch.bincount(y).tolist() == [2] * SPLIT.classes
    found = score(scene.net, scene.weights, x, y)
    assert all(torch.equal(masks[name], mask) for name, mask in global_top(found, 0.2).items())
    kept, values = flat(masks), flat(found)
    assert values[kept].min() >= values[~kept].max()
