"""What the figures draw, read back from their artists."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from replib.experiments.profiles import PROFILES
from replib.experiments.registry import results
from replib.experiments.sparsity_winning_twice import figure_2
from replib.plots import (
    bars,
    boosts,
    curves,
    double_wins,
    facts,
    heatmaps,
    histograms,
    points,
    save,
    schematic,
    surfaces,
    tables,
    trajectories,
)
from replib.plots.card import card, drawn
from replib.plots.style import look
from replib.spec import ReplibError


@pytest.fixture(autouse=True)
def closed():
    mpl.use("Agg")
    yield
    plt.close("all")


def thick(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def accuracy_rows() -> pd.DataFrame:
    rows = [
        {
            "sparsity_percent": s, "setting": "x", "seed": seed, "split": split, "epoch": e,
            "robust_accuracy": s + 10 * seed + e + (split == "test"),
        }
        for s in (0.0, 80.0, 90.0) for seed in (0, 1) for split in ("train", "test") for e in (1, 5, 10)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_means_are_thick_and_every_seed_is_there():
    ax = curves.robust_accuracy(accuracy_rows(), "test", plt.figure().gca())
    lines = thick(ax)
    assert list(lines) == ["0 % (dense)", "80 %", "90 %"]
    np.testing.assert_allclose(lines["80 %"].get_xydata(), [(1, 87), (5, 91), (10, 96)])
    thin = [line for line in ax.lines if line.get_label().startswith("_")]
    assert len(thin) == 6
    assert all(line.get_linewidth() < 1 for line in thin)
    assert {tuple(line.get_ydata()) for line in thin} >= {(82, 86, 91), (92, 96, 101)}


def test_dense_is_dash_dot_and_sparse_solid_in_colours_of_their_own():
    lines = thick(curves.robust_accuracy(accuracy_rows(), "train", plt.figure().gca()))
    assert [line.get_linestyle() for line in lines.values()] == ["-.", "-", "-"]
    assert len({line.get_color() for line in lines.values()}) == 3


def test_train_lies_above_test_on_the_same_axes():
    figure = curves.train_above_test(accuracy_rows())
    top, bottom = figure.axes
    assert "train" in top.get_ylabel()
    assert "test" in bottom.get_ylabel()
    assert top.get_xlim() == bottom.get_xlim()
    assert top.get_ylim() == bottom.get_ylim()
    assert top.get_position().y0 > bottom.get_position().y0


def test_layers_keep_their_order_and_initializations_their_values():
    rows = [
        {"initialization": name, "layer": layer, "seed": 0, "sparsity": value}
        for name, values in {"IGQ": (3.0, 90.0, 40.0), "Uniform": (80.0, 80.0, 80.0)}.items()
        for layer, value in zip(("stem", "0.0.conv1", "fc"), values, strict=True)
    ]
    ax = curves.layer_sparsity(pd.DataFrame(rows), plt.figure().gca())
    assert [t.get_text() for t in ax.get_xticklabels()] == ["stem", "0.0.conv1", "fc"]
    lines = thick(ax)
    np.testing.assert_allclose(lines["IGQ"].get_ydata(), (3, 90, 40))
    assert lines["IGQ"].get_color() == look("IGQ").colour


def surface_rows() -> pd.DataFrame:
    c = [-1.0, 0.0, 1.0]
    rows = [
        {"setting": name, "space": "weights", "a": a, "b": b, "loss": scale * (a + 10 * b) + 20}
        for name, scale in (("Baseline", 1.0), ("SNIP", 0.5)) for b in c for a in c
    ]  # fmt: skip
    return pd.DataFrame(rows).sample(frac=1, random_state=0)  # the order of rows must not matter


def test_first_index_of_a_grid_is_the_first_direction():
    rows = surface_rows()
    c, loss = surfaces.grid(rows[rows.setting == "Baseline"])
    np.testing.assert_allclose(c, [-1, 0, 1])
    np.testing.assert_allclose(loss, 20 + np.add.outer(c, 10 * c))


def test_every_setting_is_drawn_with_one_scale_and_the_same_levels():
    figure = surfaces.gallery(surface_rows(), ("Baseline", "SNIP"))
    solids = [ax for ax in figure.axes if ax.name == "3d"]
    assert [ax.get_title() for ax in solids] == ["Dense", "SNIP"]
    assert solids[0].get_zlim() == solids[1].get_zlim() == pytest.approx(surfaces.limits(surface_rows()))
    flat = [a for ax in figure.axes for a in ax.collections if isinstance(a, mpl.contour.ContourSet)]
    assert len(flat) == 2
    assert list(flat[0].levels) == list(flat[1].levels)
    assert flat[0].get_clim() == flat[1].get_clim()


def test_turnable_surfaces_are_uncut_and_share_a_colour_scale():
    figure = surfaces.turnable(surface_rows(), ("Baseline", "SNIP"))
    assert [t.coloraxis for t in figure.data] == ["coloraxis", "coloraxis"]
    z = np.array(figure.data[0].z)  # rows of z run along y, which is the first direction
    np.testing.assert_allclose(z, 20 + np.add.outer([-1, 0, 1], [-10, 0, 10]))
    assert figure.layout.scene.zaxis.range[1] == pytest.approx(surface_rows().loss.max())
    assert "gradient" not in figure.data[0].hovertemplate
    assert "direction 1" in figure.data[0].hovertemplate


def similarity_rows(low: float = 0.7) -> pd.DataFrame:
    values = np.array([[1.0, 0.9], [0.8, low]])
    return pd.DataFrame(
        [
            {"first": "SGD", "second": "PGD-10", "epoch_first": i + 1, "epoch_second": j + 1, "similarity": values[i, j], "chance": 0.68}
            for j in (0, 1) for i in (0, 1)
        ]
    )  # fmt: skip


def test_matrices_show_rows_of_the_first_regime_and_the_bar_marks_chance():
    figure = heatmaps.mask_similarity(similarity_rows(), [("SGD", "PGD-10")] * 3)
    matrix, bar = figure.axes[0], figure.axes[-1]
    np.testing.assert_allclose(np.reshape(matrix.collections[0].get_array(), (2, 2)), [[1.0, 0.9], [0.8, 0.7]])
    assert "SGD" in matrix.get_ylabel()
    assert "PGD-10" in matrix.get_xlabel()
    assert matrix.get_ylim()[0] > matrix.get_ylim()[1]  # epoch 1 at the top, as in the paper
    assert "chance 0.68" in [t.get_text() for t in bar.get_yticklabels()]
    assert [line.get_ydata()[0] for line in bar.lines if line.get_label() == "chance"] == [0.68]
    assert matrix.collections[0].get_clim()[0] < 0.68
    assert matrix.collections[0].get_clim()[1] == 1


def test_the_scale_reaches_similarities_below_chance():
    figure = heatmaps.mask_similarity(similarity_rows(low=0.5), [("SGD", "PGD-10")] * 3)
    assert figure.axes[0].collections[0].get_clim()[0] < 0.5


def test_a_figure_on_a_page_has_alt_text_that_cannot_break_out_of_its_attribute():
    figure = plt.figure()
    shown = card(figure, 'a "curve" <b>', "caption")
    assert 'alt="a &quot;curve&quot; &lt;b&gt;"' in shown.data
    assert "data:image/png;base64," in shown.data
    assert not plt.fignum_exists(figure.number)
    with pytest.raises(ReplibError, match="alt"):
        card(plt.figure(), " ")


def test_the_picture_on_the_page_is_the_one_in_the_file_and_another_figure_has_another(tmp_path, monkeypatch):
    monkeypatch.setenv("REPLIB_OUT", str(tmp_path))
    result = SimpleNamespace(
        exhibit=SimpleNamespace(id="paper/table_1"),
        profile=SimpleNamespace(label="laptop", watermark=""),
        stand_ins=lambda table: "digits for CIFAR-10",
    )
    for y in (1, 2):
        figure, ax = plt.subplots(layout="constrained")
        ax.plot([0, y])
        save(result, figure=figure, name=str(y))
        kept = (tmp_path / f"table_1__{y}.png").read_bytes()
        assert base64.b64encode(kept).decode() in card(figure, "a line").data
        drawing = (tmp_path / f"table_1__{y}.svg").read_text()
        assert drawing.startswith("<?xml")
        assert "stand-in data: digits for CIFAR-10" in drawing
    assert kept != (tmp_path / "table_1__1.png").read_bytes()


def test_a_figure_names_the_data_that_its_table_is_of():
    r = results("double_win_lottery_tickets/figure_5", "laptop")
    assert "scenes for SVHN" in r.stand_ins()
    only = r.stand_ins(r.frame[r.frame.dataset == "CIFAR-10"])
    assert only == "digits for CIFAR-10, mnist source for ImageNet"


def test_the_watermark_is_in_the_file_and_on_the_page(tmp_path, monkeypatch):
    monkeypatch.setenv("REPLIB_OUT", str(tmp_path))
    pictures = {}
    for mark in ("", "these numbers mean nothing"):
        profile = SimpleNamespace(label="smoke", watermark=mark)
        result = SimpleNamespace(exhibit=SimpleNamespace(id="paper/table_1"), profile=profile, stand_ins=lambda table: "")
        figure, _ = plt.subplots()
        if mark:
            card(figure, "as it was before")  # a picture that was drawn earlier is not what is saved
        save(result, figure=figure)
        pictures[mark] = (tmp_path / "table_1.png").read_bytes()
        assert base64.b64encode(pictures[mark]).decode() in card(figure, "a frame").data
        assert (mark in (tmp_path / "table_1.svg").read_text()) or not mark
    assert len(set(pictures.values())) == 2


def test_spread_is_mean_and_sample_deviation_and_wide_puts_metrics_into_columns():
    frame = pd.DataFrame({"setting": ["b", "b", "a", "a"], "metric": ["rise"] * 4, "seed": [0, 1, 0, 1], "value": [1.0, 3.0, 5.0, 5.0]})
    stats = facts.spread(frame, ["setting", "metric"])
    assert stats.setting.tolist() == ["b", "a"]
    assert stats["mean"].tolist() == [2, 5]
    assert stats.sd.tolist() == pytest.approx([2**0.5, 0])
    assert stats.n.tolist() == [2, 2]
    text = facts.wide(stats).data
    assert "2.00 ± 1.41" in text
    assert text.index("2.00 ± 1.41") < text.index("5.00 ± 0.00")
    small = facts.wide(facts.spread(frame.assign(value=frame.value / 10**4), ["setting", "metric"])).data
    assert "0.00020 ± 0.00014" in small
    one = facts.wide(facts.spread(frame.assign(value=frame.value / 100), ["setting", "metric"])).data
    assert "0.020 ± 0.014" in one
    many = facts.wide(facts.spread(frame.assign(value=frame.value * 100), ["setting", "metric"])).data
    assert "200.0 ± 141.4" in many


def test_rows_of_other_kinds_have_a_table_of_their_own():
    """Counts of whole masks and shares of their blocks do not share columns, and what a variant says has a column each."""
    shared = {"dataset": "ImageNet", "sparsity_percent": 97.19, "setting": "IMP", "seed": 0}
    lines = [(f"pre_training={k}", "zero_kernels", v) for k, v in (("standard", 11270.0), ("adversarial", 9.5))]
    lines += [(f"pre_training={k}; block={b}", "share", 0.5) for k in ("standard", "adversarial") for b in ("B1", "B2")]
    frame = pd.DataFrame([shared | {"variant": v, "metric": m, "value": x} for v, m, x in lines])
    whole, blocks = double_wins.numbers(SimpleNamespace(frame=frame)).data.split("</table>")[:2]
    assert "zero kernels" in whole
    assert "11270<" in whole
    assert "9.50" in whole
    assert "block" not in whole
    assert "<th>block</th>" in blocks
    assert "pre_training=" not in blocks


def test_parts_of_the_images_are_named_as_printed_and_said_to_be_what_they_are():
    frame = pd.DataFrame({"dataset": ["CIFAR-10", "CIFAR-100"]})
    small, whole = (SimpleNamespace(profile=PROFILES[p], frame=frame) for p in ("laptop", "paper"))
    assert double_wins.called(small, "CIFAR-10", "10%") == "“10%” (here 30%)"
    assert double_wins.called(small, "CIFAR-100", "1%") == "“1%” (here 25%)"
    assert double_wins.called(small, "CIFAR-10", "100%") == "100%"
    assert [double_wins.called(whole, "CIFAR-10", part) for part in ("100%", "10%", "1%")] == ["100%", "10%", "1%"]
    assert "CIFAR-100: “10%” (here 50%), “1%” (here 25%)." in double_wins.shares(small)
    assert not double_wins.shares(whole)


def test_a_coarser_histogram_is_that_of_wider_bins():
    values = np.random.default_rng(0).normal(0, 0.01, 1000)
    fine, coarse = (np.histogram(values, bins=n, range=(-0.02, 0.02)) for n in (200, 40))
    found = histograms.coarser(*fine, 40)
    assert np.array_equal(found[0], coarse[0])
    assert np.allclose(found[1], coarse[1])
    assert len(histograms.coarser(*fine, 30)[0]) == 200


@pytest.mark.parametrize(("value", "shown"), [(-0.04, "0.0"), (-1.26, "−1.3"), (2.0, "2.0"), (float("nan"), "")])
def test_numbers_have_a_true_minus_and_no_negative_zero(value, shown):
    assert tables.number(value) == shown


@pytest.mark.parametrize("seeds", [1, 3, 20])
def test_every_seed_of_a_setting_has_a_place_of_its_own(seeds):
    rows = [
        {"setting": s, "sparsity_percent": 0.0 if s == "Baseline" else 80.0, "metric": "m", "seed": k, "value": 5.0}
        for s in ("Baseline", "SNIP", "Robust Bird") for k in range(seeds)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    ax = points.strip(frame[frame.setting != "Baseline"], 5.0, ax=plt.figure().gca())
    drawn = [line for line in ax.lines if line.get_label() in ("SNIP", "Robust Bird")]
    assert [len(set(np.round(line.get_xdata(), 6))) for line in drawn] == [seeds, seeds]
    assert all(abs(x - i) < 0.4 for i, line in enumerate(drawn) for x in line.get_xdata())


def plane_rows() -> pd.DataFrame:
    rows = [
        {"setting": name, "a": a, "b": b, "loss": scale * (a**2 + b**2) + 1}
        for name, scale in (("Baseline", 1.0), ("Flying Bird+", 0.5)) for b in np.linspace(-1, 2, 7) for a in np.linspace(-2, 4, 7)
    ]  # fmt: skip
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def path_rows() -> pd.DataFrame:
    steps = {"epoch": [0, 1, 2, 3], "a": [3.0, 2.0, 1.0, 0.0], "b": [1.0, 1.5, 0.5, 0.0], "drop": [False, False, True, False]}
    parts = [
        pd.DataFrame({"setting": name, "explained_1": first, "explained_2": 9.6} | steps)
        for name, first in (("Baseline", 73.2), ("Flying Bird+", 67.0))
    ]
    return pd.concat(parts)


def test_paths_lie_over_contours_of_the_same_levels_with_shares_of_variance_on_the_axes():
    figure = trajectories.panels(plane_rows(), path_rows())
    dense, bird = figure.axes[:2]
    assert [ax.get_title() for ax in (dense, bird)] == ["Dense", "Flying Bird+"]
    assert "first principal component" in dense.get_xlabel()
    assert "73 % of variance" in dense.get_xlabel()
    assert "10 % of variance" in dense.get_ylabel()
    assert "67 % of variance" in bird.get_xlabel()
    lines = thick(dense)
    np.testing.assert_allclose(lines["path, one dot an epoch"].get_xydata(), [(3, 1), (2, 1.5), (1, 0.5), (0, 0)])
    np.testing.assert_allclose(lines["initial weights"].get_xydata(), [(3, 1)])
    np.testing.assert_allclose(lines["learning rate drops"].get_xydata(), [(1, 0.5)])
    np.testing.assert_allclose(lines["final weights"].get_xydata(), [(0, 0)])
    filled = [next(c for c in ax.collections if isinstance(c, mpl.contour.ContourSet)) for ax in (dense, bird)]
    assert list(filled[0].levels) == list(filled[1].levels)
    assert filled[0].get_clim() == filled[1].get_clim()
    assert dense.get_xlim() == (-2, 4)  # a runs along x
    assert dense.get_ylim() == (-1, 2)
    assert len(figure.legends) == 1
    assert "nats" in figure.axes[-1].get_ylabel()


# ---- paired bars ----------------------------------------------------------------------------------------------------------------------
def bar_rows(low: float = 60.0) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"regularizer": g, "setting": s, "metric": m, "seed": k, "value": low + 3 * i + 2 * j + k - n}
            for i, g in enumerate(("none", "KD", "SWA")) for j, s in enumerate(("Baseline", "Flying Bird+", "Baseline, late average"))
            for n, m in enumerate(bars.PANELS) for k in (1, 0)
        ]
    )  # fmt: skip


def test_bars_end_at_means_and_every_seed_is_a_point_in_the_order_of_seeds():
    figure = bars.regularizers(bar_rows())
    ax = figure.axes[0]
    tops = [p.get_y() + p.get_height() for p in ax.patches]
    np.testing.assert_allclose(tops, [60.5, 63.5, 66.5, 62.5, 65.5, 68.5])  # dense, then Flying Bird+; the control is not drawn
    dots = [line.get_ydata().tolist() for line in ax.lines if line.get_label() == "_seeds"]
    assert dots == [[60, 61], [63, 64], [66, 67], [62, 63], [65, 66], [68, 69]]
    assert [t.get_text().split("\n")[0] for t in ax.get_xticklabels()] == ["none", "distillation", "weight averaging"]


def test_a_cut_axis_says_so_and_both_panels_share_it():
    left, right = bars.regularizers(bar_rows()).axes
    low = left.get_ylim()[0]
    assert 0 < low < bar_rows().value.min()
    assert right.get_ylim() == left.get_ylim()
    assert f"axis begins at {low:g}, not at 0" in left.get_ylabel()
    assert [line for line in left.lines if line.get_label() == "_break"]
    whole = bars.regularizers(bar_rows(low=1.0)).axes[0]
    assert whole.get_ylim()[0] == 0
    assert "begins" not in whole.get_ylabel()
    assert not [line for line in whole.lines if line.get_label() == "_break"]


# ---- ticket search and boosts ---------------------------------------------------------------------------------------------------------
def test_regimes_of_a_search_have_a_line_each_told_apart_without_colour():
    rows = [
        {"setting": s, "seed": seed, "epoch": e, "standard_accuracy": 10.0 * n + e + seed}
        for n, s in enumerate(("SGD tickets", "Fast AT tickets", "PGD-10 tickets", "Fast AT (step decay) tickets"))
        for seed in (0, 2) for e in (1, 2, 3)
    ]  # fmt: skip
    (ax,) = curves.search_accuracy(pd.DataFrame(rows)).axes
    lines = thick(ax)
    assert list(lines) == ["SGD", "Fast AT", "PGD-10", "Fast AT, step decay"]
    np.testing.assert_allclose(lines["PGD-10"].get_xydata(), [(1, 22), (2, 23), (3, 24)])
    assert len([line for line in ax.lines if line.get_label() == "_seed"]) == 8
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines.values()}) == 4


def boost_rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    data = pd.DataFrame(
        [
            {
                "sparsity_percent": s, "seed": k, "epoch": e, "train_ra": 50.0 + e, "val_ra": 40.0 + e + k, "val_sa": 80.0,
                "density": 100 - s - e,
            }
            for s in (80.0, 90.0) for k in (3, 7) for e in (1, 2, 3, 4)
        ]
    )  # fmt: skip
    marks = [(80.0, 3, 2, "prune"), (80.0, 3, 2, "growth"), (80.0, 3, 4, "prune"), (80.0, 7, 3, "growth")]
    return data, pd.DataFrame(marks, columns=["sparsity_percent", "seed", "epoch", "kind"])


def test_boosts_of_one_epoch_stand_beside_each_other_in_two_colours_and_dashes():
    data, marks = boost_rows()
    figure = boosts.training_curves(data, marks)
    above = figure.axes[0]
    lines = {k: [line for line in above.lines if line.get_label() == f"_{k}"] for k in ("prune", "growth")}
    places = {k: [line.get_xdata()[0] for line in found] for k, found in lines.items()}
    assert [round(x) for x in places["prune"]] == [2, 4]  # of the first seed alone, on its own epochs
    assert [round(x) for x in places["growth"]] == [2]
    assert places["prune"][0] < 2 < places["growth"][0]
    styles = {(line.get_color(), line.get_linestyle()) for found in lines.values() for line in found}
    assert len({c for c, _ in styles}) == 2
    assert boosts.KINDS["prune"][1] != boosts.KINDS["growth"][1]
    curve = next(line for line in above.lines if line.get_label() == "_val_ra")
    np.testing.assert_allclose(curve.get_ydata(), [44, 45, 46, 47])  # seed 3


def test_density_has_an_axis_of_its_own_and_every_seed_its_row_of_marks():
    figure = boosts.training_curves(*boost_rows())
    right = next(ax for ax in figure.axes if any(line.get_label() == "_density" for line in ax.lines))
    np.testing.assert_allclose(right.lines[0].get_ydata(), [19, 18, 17, 16])
    below = figure.axes[2]
    rows = {line.get_label(): [int(y) for y in line.get_ydata()] for line in below.lines}
    assert rows == {"_prune": [0, 0], "_growth": [0, 1]}
    assert [t.get_text() for t in below.get_yticklabels()] == ["3", "7"]
    assert below.get_ylim()[0] > below.get_ylim()[1]  # the first seed on top, below its curve


# ---- the schematic --------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("p", PROFILES.values(), ids=PROFILES)
def test_the_schematic_is_well_formed_speaks_and_stays_on_its_card(p):
    s = figure_2.schedule(p)
    root = ElementTree.fromstring(schematic.birds(s))
    tag = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert {e.get("id") for e in (root.find(f"{tag}title"), root.find(f"{tag}desc"))} == set(root.get("aria-labelledby").split())
    card = next(root.iter(f"{tag}rect"))
    assert (card.get("fill"), card.get("width")) == ("#ffffff", str(schematic.WIDTH))
    words = " ".join(t.text for t in root.iter(f"{tag}text"))
    for said in (f"at most {s.search_epochs} epochs", f"adversarial training, {s.epochs} epochs", f"{len(s.updates)} updates"):
        assert said in words
    assert (f"controller from epoch {s.awake} on" in words) == (s.awake < s.epochs)
    for shape in (*root.iter(f"{tag}rect"), *root.iter(f"{tag}line")):
        xs = [float(shape.get(k, 0)) for k in ("x", "x1", "x2")]
        assert max(xs[0] + float(shape.get("width", 0)), *xs[1:]) <= schematic.WIDTH
        assert min(xs) >= 0


def test_a_drawing_on_a_page_must_say_what_it_shows():
    assert "overflow-x:auto" in drawn("<svg><title>a</title><desc>b</desc></svg>").data
    with pytest.raises(ReplibError, match="desc"):
        drawn("<svg><title>a</title></svg>")
