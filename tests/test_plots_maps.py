"""Pictures of where networks look, read back from their artists."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from replib.plots import maps
from replib.plots.style import look


@pytest.fixture(autouse=True)
def closed():
    mpl.use("Agg")
    yield
    plt.close("all")


def pictures(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    made = {name: rng.random((3, 4, 4)).astype(np.float16) for name in ("attention", "saliency")}
    made |= {name: rng.random((3, 2, 4, 4)).astype(np.float16) for name in ("clean", "images")}
    return made | {"true": np.array([1, 2, 3]), "predicted": np.array([1, 7, 3])}


def panels(figure):
    """The image of every panel, rows of three; the colour bar left out."""
    drawn = [ax for ax in figure.axes if ax.images]
    return [drawn[i : i + 3] for i in range(0, len(drawn), 3)]


def test_each_network_has_its_heat_above_its_saliency_and_all_share_the_pictures():
    made = {"Baseline": pictures(0), "Flying Bird+": pictures(1)}
    rows = panels(maps.attention(made))
    assert len(rows) == 5
    first = made["Baseline"]
    for column in range(3):
        np.testing.assert_allclose(rows[0][column].images[0].get_array(), first["clean"][column].astype(float).mean(0))
        for n, p in enumerate(made.values()):
            np.testing.assert_allclose(
                rows[1 + 2 * n][column].images[0].get_array(), maps.overlay(p["images"][column], p["attention"][column])
            )
            np.testing.assert_allclose(rows[2 + 2 * n][column].images[0].get_array(), p["saliency"][column].astype(float))
    assert {ax.images[0].get_clim() for n in (2, 4) for ax in rows[n]} == {(0, 1)}
    assert [row[0].get_ylabel().split("\n")[0] for row in rows] == ["clean image", "Dense", "saliency", "Flying Bird+", "saliency"]


def test_true_classes_stand_above_and_wrong_predictions_are_bold():
    rows = panels(maps.attention({"Baseline": pictures(0)}))
    assert [ax.get_title() for ax in rows[0]] == ["true: 1", "true: 2", "true: 3"]
    assert [ax.get_title() for ax in rows[1]] == ["→ 1", "→ 7", "→ 3"]
    assert [ax.title.get_fontweight() for ax in rows[1]] == ["normal", "bold", "normal"]


def test_an_overlay_has_the_colours_of_the_bar_where_the_picture_is_black_and_is_lighter_where_it_is_bright():
    scale = mpl.colormaps[maps.SCALE]
    heat = np.array([[0.0, 1.0]])
    colours = np.array([scale(0.0)[:3], scale(1.0)[:3]])
    np.testing.assert_allclose(maps.overlay(np.zeros((1, 1, 2)), heat)[0], colours)
    bright = maps.overlay(np.ones((3, 1, 2)), heat)[0]
    np.testing.assert_allclose(bright, (1 - maps.VEIL) * colours + maps.VEIL)


def rows_of(measures) -> pd.DataFrame:
    rows = [
        {"setting": setting, "sparsity_percent": 80.0 * (n > 0), "metric": f"{kind}_{m}", "seed": seed, "value": 0.1 * n + base}
        for n, setting in enumerate(("Baseline", "Robust Bird", "Flying Bird+")) for base, kind in ((0.3, "attention"), (0.5, "saliency"))
        for m in measures for seed in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("measures", [("entropy", "half_area"), ("entropy", "half_area", "on_object")])
def test_measures_are_drawn_for_both_maps_and_left_out_where_there_are_none(measures):
    figure = maps.concentration(rows_of(measures))
    assert len(figure.axes) == 2 * len(measures)
    assert [ax.get_title() for ax in figure.axes] == ["Grad-CAM"] * len(measures) + ["saliency (SmoothGrad)"] * len(measures)
    for ax, base in zip(figure.axes, np.repeat((0.3, 0.5), len(measures)), strict=True):
        bird = next(line for line in ax.lines if line.get_label() == "Robust Bird")
        assert bird.get_color() == look("Robust Bird").colour
        np.testing.assert_allclose(bird.get_ydata(), base + 0.1)
        assert any(line.get_ydata()[0] == pytest.approx(base) and line.get_linestyle() == "-." for line in ax.lines)  # dense
