"""Tables of accuracies: which rows stand where, what is blank, and what the page says of the printed numbers."""

from __future__ import annotations

from html import escape
from types import SimpleNamespace

import pandas as pd
import pytest

from replib.experiments.registry import EXHIBITS, results
from replib.plots import facts, ladders, points, tables, twins
from replib.root import project_root

RA, GAP = "robust_accuracy_final", "robust_generalization_gap"


def line(setting, value, seed=0, *, metric=RA, sparsity=80.0, dataset="CIFAR-10", variant=""):
    return {
        "dataset": dataset, "architecture": "ResNet-18", "sparsity_percent": 0.0 if setting == "Baseline" else sparsity,
        "setting": setting, "variant": variant, "metric": metric, "seed": seed, "value": value,
    }  # fmt: skip


def test_rows_of_one_side_only_keep_blanks_and_the_papers_order():
    ours = pd.DataFrame([line("OMP", 50.0), line("OMP", 52.0, 1), line("Ours", 1.0), line("Baseline", 40.0)])
    printed = pd.DataFrame([line("Baseline", 43.0), line("SNIP", 44.0), line("OMP", 45.0)]).drop(columns="seed")
    table = tables.beside(ours, printed)
    assert table.setting.tolist() == ["Baseline", "SNIP", "OMP", "Ours"]
    assert table.set_index("setting").ours.round(6).fillna(-1).tolist() == [40, -1, 51, 1]
    assert table.set_index("setting").printed.fillna(-1).tolist() == [43, 44, 45, -1]
    assert table.set_index("setting").difference.fillna(99).tolist() == [-3, 99, 6, 99]
    assert table.set_index("setting").n.fillna(0).tolist() == [1, 0, 2, 1]
    same = tables.beside(ours, printed[printed.setting != "SNIP"])
    assert same.setting.tolist() == ["OMP", "Ours", "Baseline"]  # nothing of the paper's is missing: our order


def test_each_data_set_is_a_block_and_variants_of_one_setting_are_rows():
    two = pd.DataFrame([line("Baseline", 1.0), line("OMP", 2.0), line("OMP", 3.0, dataset="CIFAR-100")])
    assert [name for name, _ in tables.blocks(two)] == ["CIFAR-10", "CIFAR-100"]
    ablation = pd.DataFrame([line("Flying Bird+", v, variant=f"sparse_initialization={n}") for n, v in (("IGQ", 1.0), ("ERK", 2.0))])
    assert [name for name, _ in tables.blocks(ablation)] == [""]
    html = tables.wide(tables.beside(ablation, pd.DataFrame())).data
    assert "sparse initialization" in html
    assert html.index("IGQ") < html.index("ERK")
    attacks = pd.DataFrame([line(s, 1.0, variant=f"attack={a}") for a in ("A", "B") for s in ("Baseline", "OMP")])
    assert [name for name, _ in tables.blocks(attacks)] == ["attack: A", "attack: B"]
    assert "attack: A" in tables.wide(tables.beside(attacks, pd.DataFrame())).data


def test_costs_are_shares_of_the_dense_network_of_the_same_data_set():
    flops = ("training_flops_exact_e17", "training_flops_e17", "inference_flops_exact_e9", "inference_flops_e9")
    rest = ("final_density_percent", "peak_memory_mib", "train_seconds")
    frame = pd.DataFrame(
        [line(s, v, metric=m, dataset=d) for d, k in (("CIFAR-10", 1.0), ("CIFAR-100", 10.0))
         for s, v in (("Baseline", 4.0 * k), ("OMP", 1.0 * k)) for m in (*flops, *rest)]
    )  # fmt: skip
    found = tables.costs(frame, pd.DataFrame())
    assert found["training, exact %"].tolist() == [100, 25, 100, 25]
    assert found.dataset.tolist() == ["CIFAR-10", "CIFAR-10", "CIFAR-100", "CIFAR-100"]
    assert tables.training_costs(frame)["training operations, %"].tolist() == [100, 25, 100, 25]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Table A8, CIFAR-10, Auto-Attack, Flying Bird+", {"table_a8"}),
        ("Tables 3, A12, A13, A16, A17", {"table_3", "table_a12", "table_a13", "table_a16", "table_a17"}),
        ("Tables 4 and 5 (swt_init_more_sensitive)", {"table_4", "table_5"}),
        ("Tables A6 and A11, CIFAR-100 ResNet-18 90 %", {"table_a6", "table_a11"}),
        ("Section 4.1", set()),
    ],
)
def test_exhibits_that_an_erratum_names(text, named):
    assert facts.exhibits_named(text) == named


def test_every_erratum_of_the_first_paper_is_on_a_page():
    found = pd.read_csv(project_root() / "results" / "reported" / "errata.csv")
    mine = found[found.paper == "sparsity_winning_twice"]
    shown = "".join(facts.errata(id).data for id in EXHIBITS)
    assert [e.where for e in mine.itertuples() if escape(e.printed) not in shown] == []


def test_a_page_has_the_errata_of_its_numbers_and_of_its_claims():
    paper = "sparsity_winning_twice"
    assert "3.17" in facts.errata(f"{paper}/table_a8").data
    assert "Robust Bird beats OMP" in facts.errata(f"{paper}/table_1").data  # said in the text, of a claim that this table bears
    assert facts.errata(f"{paper}/figure_5").data == ""


def test_panels_are_apart_by_what_differs_and_dense_is_that_of_the_same_place():
    lines = [line(s, v, metric=m, dataset=d) for m in points.PANELS
             for d, k in (("CIFAR-10", 0), ("CIFAR-100", 10)) for s, v in (("Baseline", 5 + k), ("OMP", 6 + k))]  # fmt: skip
    figure = points.settings(pd.DataFrame(lines))
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["CIFAR-10\n80 % sparsity", "CIFAR-100\n80 % sparsity"]
    heights = [line.get_ydata()[0] for ax in figure.axes[:2] for line in ax.lines if line.get_linestyle() == "-."]
    assert heights == [5, 15]


def test_cost_is_relative_to_the_dense_run_of_the_same_seed():
    metrics = {"robust_accuracy_final": 1.0, "processor_seconds": 7.0}
    lines = [line(s, v * k, seed, metric=m) for seed, k in ((0, 1.0), (1, 3.0)) for s, f in (("Baseline", 8.0), ("OMP", 2.0))
             for m, v in ({"training_flops_exact_e17": f} | metrics).items()]  # fmt: skip
    found = points.cost_points(pd.DataFrame(lines))
    assert found.setting.tolist() == ["Baseline", "Baseline", "OMP", "OMP"]
    assert found.training_flops_exact_e17.tolist() == [1, 1, 0.25, 0.25]
    assert found.processor_seconds.tolist() == [7, 21, 7, 21]


def test_parts_of_a_variant_that_only_describe_a_row_do_not_split_a_table():
    rows = [
        line("Baseline", 50.0, variant="stopping_criterion=Stop-E"),
        line("Ticket", 48.0, sparsity=30.0, variant="stopping_criterion=Stop-E; pruning_schedule=30x1 iter"),
        line("Ticket", 47.0, variant="stopping_criterion=Stop-E; pruning_schedule=20x4 iter"),
        line("Ticket", 40.0, variant="stopping_criterion=Stop-E; retraining=none"),
    ]
    parts = tables.blocks(tables.beside(pd.DataFrame(rows), pd.DataFrame(), (RA,)))
    assert [(name, len(part)) for name, part in parts] == [("", 3), ("retraining: none", 1)]


def test_printed_numbers_of_several_tables_are_those_of_the_rows_that_are_there():
    found = facts.printed(results("sparsity_winning_twice/figure_1", "laptop"), "table_1", "table_a9", "table_a13")
    assert set(found.setting) == {"Baseline", "Flying Bird+"}
    assert set(found.sparsity_percent) == {0, 40, 60, 80, 90}


def test_the_first_line_of_a_page_names_the_attack_that_its_accuracies_are_under():
    assert "; evaluated under PGD-10)" in facts.header(results("double_win_lottery_tickets/table_a2", "laptop"))
    assert "; evaluated under AutoAttack, CW, PGD-20)" in facts.header(results("sparsity_winning_twice/table_a8", "laptop"))
    assert "evaluated" not in facts.header(results("achieving_robustness_via_sparsity/figure_2", "laptop"))
    assert "; evaluated under PGD-10)" in facts.header(results("double_win_lottery_tickets/figure_a9", "laptop"))
    assert "evaluated" not in facts.header(results("double_win_lottery_tickets/figure_6", "laptop"))  # whose images are clean


def test_rows_that_vary_in_two_things_stay_in_one_table_and_say_which():
    rows = [
        {"sparsity_percent": 0, "setting": "Baseline", "variant": "", "metric": RA, "value": 50.0, "seed": 0},
        {"sparsity_percent": 0, "setting": "Baseline", "variant": "stopping=Stop-C", "metric": RA, "value": 51.0, "seed": 0},
        {"sparsity_percent": 80, "setting": "IWI", "variant": "column=1", "metric": RA, "value": 52.0, "seed": 0},
        {"sparsity_percent": 80, "setting": "IWI", "variant": "column=2", "metric": RA, "value": 53.0, "seed": 0},
    ]
    table = tables.beside(pd.DataFrame(rows), pd.DataFrame(), (RA,))
    assert [name for name, _ in tables.blocks(table)] == [""]
    html = tables.wide(table, (RA,)).data
    assert html.count("<table") == 1
    assert all(text in html for text in ("stopping: Stop-C", "column: 1", "column: 2", ">variant<", "50.0", "51.0", "52.0", "53.0"))


def test_headers_are_words_and_a_variant_says_all_that_it_is():
    frame = pd.DataFrame(
        {"pre_training": ["AT"], "sparsity_percent": [59.04], "metric": ["robust_accuracy_gain_max"], "variant": ["b_c=2; a=1"]}
    )
    shown = tables.in_words(frame)
    assert shown.columns.tolist() == ["pre training", "sparsity", "metric", "variant"]
    assert shown.iloc[0].tolist() == ["AT", "59.04 %", "robust accuracy gain max", "a: 1; b c: 2"]


def test_rows_far_behind_without_an_attack_are_named_with_what_tells_them_apart():
    def shown(lines):
        return facts.far_behind(SimpleNamespace(frame=pd.DataFrame(lines))).data

    def clean(setting, value, **where):
        return line(setting, value, metric="standard_accuracy_final", **where)

    near = [clean("Baseline", 95.0), clean("OMP", 75.1), line("SNIP", 1.0)]  # robust accuracy says nothing of it
    assert shown(near) == ""
    far = [
        *near,
        clean("SNIP", 70.0),
        clean("SNIP", 76.0, seed=1),
        clean("GraSP", 50.0, dataset="CIFAR-100"),
        clean("IGQ", 80.0, dataset="CIFAR-100"),
    ]
    assert "CIFAR-10, ResNet-18: SNIP at 80 % sparsity (73 % right)" in shown(far)
    assert "CIFAR-100, ResNet-18: GraSP at 80 % sparsity (50 % right)" in shown(far)
    assert "OMP" not in shown(far)
    ablation = [clean("Flying Bird+", v, variant=f"sparse_initialization={n}") for n, v in (("Uniform", 60.0), ("ERK", 97.0))]
    assert "Flying Bird+, sparse initialization: Uniform at 80 % sparsity (60 % right)" in shown(ablation)
    fourth = [
        line(n, v, metric="natural_test_accuracy", variant=f"density={d}%") for n, d, v in (("full model", 100, 92.0), ("AWT", 2, 16))
    ]
    assert "AWT at 80 % sparsity (16 % right)" in shown(fourth)
    assert shown([clean("Baseline", 95.0), line("LUP", 9.0, metric="clean_accuracy", variant="stop=E; retraining=none")]) == ""


def test_one_suspended_run_does_not_change_the_seconds_of_a_row():
    flops = ("training_flops_exact_e17", "training_flops_e17", "inference_flops_exact_e9", "inference_flops_e9")
    rest = {"final_density_percent": 20.0, "peak_memory_mib": 1.0} | dict.fromkeys(flops, 1.0)
    lines = [
        line("Baseline", v, seed, metric=m) for seed, s in enumerate((10.0, 11.0, 900.0)) for m, v in (rest | {"train_seconds": s}).items()
    ]
    assert tables.costs(pd.DataFrame(lines), pd.DataFrame())["seconds a run"].tolist() == [11.0]


def test_dense_networks_under_two_rules_are_two_lines():
    metrics = {"clean_accuracy": 80.0, "adversarial_accuracy": 40.0}
    lines = [
        line(s, v + add, metric=m, variant=variant)
        for m, v in metrics.items()
        for s, variant, add in (("Baseline", "", 0.0), ("Baseline", "base_stopping_criterion=Stop-C", 9.0), ("GUP", "", 3.0))
    ]
    ax = ladders.ladder(pd.DataFrame(lines)).axes[0]
    level = [tuple(h.get_ydata()) for h in ax.lines if len(set(h.get_ydata())) == 1 and len(h.get_ydata()) == 2]
    assert level == [(80, 80), (89, 89)]


def test_equal_shares_of_density_are_equally_far_apart_on_a_stretched_axis():
    levels = (50.0, 75.0, 87.5, 98.0)
    found = pd.DataFrame([line("GUP", 1.0, metric=m) | {"sparsity_percent": s} for s in levels for m in ladders.PANELS])
    ax = ladders.ladder(found, stretched=True).axes[0]
    assert tuple(ax.get_xticks()) == levels
    across = ax.transData.transform([(s, 1.0) for s in levels])[:, 0]
    assert across[1] - across[0] == pytest.approx(across[2] - across[1])
    assert across[3] > across[2]


def test_the_first_line_of_a_page_names_seeds_that_collapsed():
    def said(*values):
        lines = [line("FAT", v, seed, metric="collapsed") for seed, v in enumerate(values)]
        return facts.fell(SimpleNamespace(frame=pd.DataFrame(lines)))

    assert said(0.0, 0.0) == ""
    assert said(1.0, 0.0, 1.0) == " Fast adversarial training collapsed in seed 0, 2."
    stopped = facts.fell(SimpleNamespace(frame=pd.DataFrame([line("FAT", 1.0, 3, metric="stopped_early")])))
    assert stopped == " Early stopping took an earlier epoch than the last of fast adversarial pre-training in seed 3."


def test_prices_set_gain_and_cost_of_each_column_side_by_side():
    cost = "training_flops_exact_e17"
    base = {"clean_accuracy": 90.0, "adversarial_accuracy": 50.0, cost: 2.0}
    rows = {
        ("Baseline", ""): base,
        ("Baseline", "base_stopping_criterion=Stop-C"): base | {"adversarial_accuracy": 60.0, cost: 4.0},
        ("Inverse Weights Inheritance", "inherited_ticket_pruning_ratio=80; table_column=1"): base
        | {"adversarial_accuracy": 55.0, cost: 3.0},
        ("Inverse Weights Inheritance", "inherited_ticket_pruning_ratio=90; table_column=1"): base
        | {"adversarial_accuracy": 57.0, cost: 5.0},
        ("Inverse Weights Inheritance", "inherited_ticket_pruning_ratio=80; table_column=2"): base
        | {"adversarial_accuracy": 41.0, cost: 1.0},
    }
    place = {"dataset": "CIFAR-10", "architecture": "VGG-16", "seed": 0}
    lines = [place | {"setting": s, "variant": v, "metric": m, "value": x} for (s, v), row in rows.items() for m, x in row.items()]
    first, second = twins.prices(pd.DataFrame(lines)).to_dict("records")
    assert (first["column"], second["column"]) == ("1", "2")
    gain = "adversarial accuracy minus base"
    assert (first[f"{gain} (Stop-E)"], first[f"{gain} (Stop-C)"], second[f"{gain} (Stop-E)"]) == (6.0, -4.0, -9.0)
    assert [line["training operations, % of base (Stop-E)"] for line in (first, second)] == [200.0, 50.0]
    assert [line["training operations, % of base (Stop-C)"] for line in (first, second)] == [100.0, 25.0]
    alone = twins.prices(pd.DataFrame([line for line in lines if "Stop-C" not in line["variant"]]))
    assert not any("Stop-C" in name for name in alone)
