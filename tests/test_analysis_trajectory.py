"""The plane of a trajectory: closed forms that wrong components break, and the whole job on a run's own files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from replib.analysis.landscape import Landscape
from replib.analysis.trajectory import Trajectory, components, gram, margined, pieces, principal_plane, read_piece
from replib.attacks import PGD
from replib.data.augment import to_float
from replib.data.load import load
from replib.experiments.cost import forward_flops, operations
from replib.experiments.jobs import execute
from replib.experiments.profiles import SMOKE
from replib.experiments.runner import run
from replib.spec import ReplibError, SpecError, task
from replib.store import Store
from replib.store.context import Context
from replib.training import networks

RECIPE = SMOKE.recipe("CIFAR-10", "ResNet-18")
ATTACK = PGD(0.2, 2)  # with random starts: a wrong seed gives other images
RUN = RECIPE.pgd_at(epochs=3, retain=("weights",))
IMAGES = 30


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(*steps: torch.Tensor) -> torch.Tensor:
    return torch.stack(steps)


# ---- closed forms -------------------------------------------------------------------------------------------------------------------
def test_a_path_in_a_plane_is_recovered_whole():
    u, v = torch.linalg.qr(torch.randn(50, 2, generator=rng(), dtype=torch.float64)).Q.T
    flat = torch.randn(9, 2, generator=rng(1), dtype=torch.float64)
    path = 7.0 + flat[:, :1] * u + flat[:, 1:] * v
    plane = principal_plane(gram([path]))
    assert plane.explained.sum() == pytest.approx(1)
    between, wanted = (np.linalg.norm(c[:, None] - c[None], axis=2) for c in (plane.coordinates, flat.numpy()))
    np.testing.assert_allclose(between, wanted, atol=1e-9)
    np.testing.assert_allclose(plane.coordinates[-1], 0, atol=1e-12)  # the last is the origin


def test_components_are_those_of_a_singular_value_decomposition():
    path = torch.randn(6, 40, generator=rng(), dtype=torch.float64).cumsum(0)
    plane = principal_plane(gram([path]))
    centred = (path - path.mean(0)).numpy()
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    ours = plane.mix @ path.numpy()
    np.testing.assert_allclose(ours @ ours.T, np.eye(2), atol=1e-9)
    np.testing.assert_allclose(abs(ours @ vt[:2].T), np.eye(2), atol=1e-9)
    np.testing.assert_allclose(plane.explained, (s**2 / (s**2).sum())[:2])
    np.testing.assert_allclose(plane.coordinates, (path - path[-1]).numpy() @ ours.T, atol=1e-9)
    assert (plane.coordinates[0] >= 0).all()


def test_products_do_not_depend_on_how_weights_are_cut():
    path = torch.randn(4, 30, generator=rng(), dtype=torch.float64)
    np.testing.assert_allclose(gram([path[:, :7], path[:, 7:]]), gram([path]), rtol=1e-12)
    assert gram([path + 5]) == pytest.approx(gram([path]))


def test_checkpoints_on_a_line_span_no_plane():
    direction = torch.randn(1, 20, generator=rng(), dtype=torch.float64)
    with pytest.raises(ReplibError, match="on a line"):
        principal_plane(gram([torch.arange(5)[:, None] * direction]))


@pytest.mark.parametrize("values", [(-3.0, 1.0, 0.0), (2.0, 5.0, 0.0), (-1.0, -4.0, 0.0)])
@pytest.mark.parametrize("points", [21, 30])
def test_the_grid_covers_path_and_margin_and_holds_zero(values, points):
    axis = margined(values, points, 0.2)
    extent, step = max(*values, 0) - min(*values, 0), axis[1] - axis[0]
    assert len(axis) == points
    assert (axis == 0).sum() == 1
    assert axis[-1] - axis[0] == pytest.approx(1.4 * extent)
    assert axis[0] == pytest.approx(min(*values, 0) - 0.2 * extent, abs=0.51 * step)


def test_pieces_are_small_and_leave_nothing_out_but_vectors():
    shapes = {"conv": (7, 3, 2), "norm": (7,), "fc": (4, 5)}
    cut = list(pieces(shapes, checkpoints=10, limit=130))
    assert {name for name, _ in cut} == {"conv", "fc"}
    for name in ("conv", "fc"):
        ranges = [(rows.start, rows.stop) for n, rows in cut if n == name]
        assert [i for a, b in ranges for i in range(a, b)] == list(range(shapes[name][0]))
    assert all((rows.stop - rows.start) * np.prod(shapes[name][1:]) * 10 <= 130 for name, rows in cut)
    assert len(cut) == 6


def test_components_read_from_files_have_the_shapes_of_their_tensors(tmp_path):
    found = [{"w": torch.randn(4, 3, 2, generator=rng(k)), "bias": torch.randn(4, generator=rng(k))} for k in range(5)]
    paths = [tmp_path / f"{k}.safetensors" for k in range(5)]
    for path, tensors in zip(paths, found, strict=True):
        save_file(tensors, path)
    plane, first, second = components(paths)
    assert set(first) == set(second) == {"w"}
    rows = torch.stack([f["w"].double() - found[-1]["w"].double() for f in found]).flatten(1)
    flat = torch.stack([d["w"].double().flatten() for d in (first, second)])
    np.testing.assert_allclose(flat @ flat.T, np.eye(2), atol=1e-6)
    np.testing.assert_allclose(plane.coordinates, rows @ flat.T, atol=1e-5)
    assert torch.equal(read_piece(paths, "w", slice(1, 3))[2], found[2]["w"][1:3].flatten())


# ---- the job ------------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with one run and its trajectory."""
    store = Store(tmp_path_factory.mktemp("runs"))
    assert not run([task(Trajectory(RUN, ATTACK, points=5, images=IMAGES), 0)], store, show=False).failed
    return store


@pytest.fixture(scope="module")
def found(made):
    t = task(Trajectory(RUN, ATTACK, points=5, images=IMAGES), 0)
    return made.results(t), made.arrays(t)


def test_the_loss_at_the_origin_is_that_of_the_final_network_on_the_same_images(made, found):
    results, arrays = found
    surface = task(Landscape(RUN, ATTACK, points=3, images=IMAGES), 0)
    execute(surface, made)
    origin = np.flatnonzero(arrays["first"] == 0).item(), np.flatnonzero(arrays["second"] == 0).item()
    for kind in ("clean", "adversarial"):
        assert results["centre"][kind] == made.results(surface)[kind]
        assert arrays[kind].shape == (5, 5)
        assert arrays[kind][origin] == np.float32(results["centre"][kind])
        assert arrays[f"{kind}_path"][-1] == np.float32(results["centre"][kind])
        assert len(np.unique(arrays[kind])) > 20
    assert results["centre"]["adversarial"] > results["centre"]["clean"]


def test_the_path_has_every_epoch_and_its_rates(found):
    results, arrays = found
    assert results["checkpoints"] == RUN.epochs + 1
    assert arrays["coordinates"].shape == (RUN.epochs + 1, 2)
    assert (arrays["coordinates"][-1] == 0).all()
    np.testing.assert_allclose(arrays["lr"], [0.1, 0.1, 0.01])  # drops at half and three quarters of three epochs
    assert 0 < results["explained"][1] < results["explained"][0] < sum(results["explained"]) <= 1


def test_losses_along_the_path_are_those_of_the_checkpoints_themselves(made, found):
    t, split = task(RUN, 0), load(RECIPE.data)
    x, y = to_float(split.test.x[:IMAGES]), split.test.y[:IMAGES]
    for n, name in ((0, "initial"), (2, "epoch_2")):
        net = networks.trained(Context(made, t), t, name, split)
        with torch.no_grad():
            wanted = torch.nn.functional.cross_entropy(net(x), y).item()
        assert found[1]["clean_path"][n] == pytest.approx(wanted, rel=1e-5)
    assert found[0]["start"]["clean"] == pytest.approx(found[1]["clean_path"][0])


def test_distances_in_the_plane_never_exceed_those_between_the_weights(made, found):
    t = task(RUN, 0)
    first, last = (made.weights(t, networks.checkpoint_name(made, t, name)) for name in ("initial", "final"))
    whole = sum(((first[n].double() - last[n].double()) ** 2).sum() for n in first if first[n].ndim > 1).sqrt()
    assert 0 < np.linalg.norm(found[1]["coordinates"][0]) <= whole + 1e-4


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (lambda: Trajectory(replace(RUN, retain=()), ATTACK), "give it retain"),
        (lambda: Trajectory(replace(RUN, epochs=1), ATTACK), "makes no plane"),
        (lambda: Trajectory(RUN, ATTACK, points=2), "points"),
        (lambda: Trajectory(RUN, ATTACK, margin=-0.1), "margin"),
    ],
)
def test_what_makes_no_plane_is_refused_with_the_remedy(bad, reason):
    with pytest.raises(SpecError, match=reason):
        bad()


def test_the_price_grows_with_grid_images_and_epochs():
    job = Trajectory(RUN, PGD(0.2, 10), points=21, images=100)
    assert operations(task(job, 0)) == pytest.approx(2 * 100 * (10 + 441 + 4) * forward_flops(RUN))
