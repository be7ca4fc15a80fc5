"""Verdicts on made-up results whose truth is known."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from replib.claims import OUTCOMES, load_claims, printed_frame, verdicts
from replib.claims.conclusion import Evidence, conclude
from replib.claims.conditions import above
from replib.claims.engine import gather, judge_all, judge_printed
from replib.claims.predicates import PAPERS
from replib.claims.resample import one_sided
from replib.claims.table import COLUMNS, Sample
from replib.experiments.profiles import LAPTOP
from replib.experiments.registry import EXHIBITS
from replib.spec import ReplibError, SpecError

CLAIMS = {c.claim_id: c for c in load_claims()}
SAMPLES = {p: Sample(rows, PAPERS[p].SETTINGS) for p, rows in printed_frame().groupby("paper")}
PRINTED = {k: judge_printed(c, SAMPLES[c.paper]) for k, c in CLAIMS.items()}
RECORD = [
    "claim_id", "paper", "source", "statement", "kind_of_claim", "exhibits", "confirmatory", "seeds_declared", "margin",
    "scope", "outcome", "effect", "interval", "n", "sentence", "printed", "printed_sentence", "chance", "fragility",
]  # fmt: skip


def results(seeds: int, noise: float = 0.3, exhibit: str = "Table 1", paper: str = "sparsity_winning_twice") -> pd.DataFrame:
    """The printed rows of one exhibit as if each seed had given them with independent noise."""
    rng = np.random.default_rng(11)
    rows = printed_frame().query("paper == @paper and exhibit == @exhibit").drop(columns="seed")
    return pd.concat(
        [rows.assign(seed=s, value=rows.value + noise * rng.normal(size=len(rows))) for s in range(seeds)],
        ignore_index=True,
    )


def verdict(claim_id: str, frame: pd.DataFrame, **kw: object) -> dict:
    """The record of one claim judged alone, which is quick: Holm's family then has one member."""
    return judge_all([CLAIMS[claim_id]], frame, {claim_id: PRINTED[claim_id]}, **kw)[0].record()


def change(frame: pd.DataFrame, setting: str, metric: str, add: float, sparsity: float | None = None) -> pd.DataFrame:
    where = (frame.setting == setting) & (frame.metric == metric)
    if sparsity is not None:
        where &= frame.sparsity_percent == sparsity
    return frame.assign(value=frame.value + add * where)


def test_no_results() -> None:
    records = verdicts(None)
    assert [r["claim_id"] for r in records] == list(CLAIMS)
    assert {r["outcome"] for r in records} == {"no results yet"}
    assert {r["scope"] for r in records} == {"none"}
    assert set(RECORD) <= set(records[0])


def test_supported_contradicted_and_words_of_the_scope() -> None:
    frame = results(20)
    found = verdict("swt_rb_gap_80_90", frame)
    assert (found["outcome"], found["scope"], found["n"]) == ("supported", "stand-in", 20)
    assert found["sentence"].startswith("Consistent with the claim (stand-in): 5 of 5 conditions hold")
    assert found["interval"][0] < found["effect"] < found["interval"][1]
    assert found["interval"][0] > 0
    assert verdict("swt_rb_gap_80_90", frame, scope="paper scale")["sentence"].startswith("Supports")
    worse = change(frame, "Robust Bird", "robust_generalization_gap", 30, 80)
    found = verdict("swt_rb_gap_80_90", worse)
    assert found["outcome"] == "contradicted"
    assert found["sentence"].startswith("Contrary to")
    assert found["failing"] == ["gap, dense minus Robust Bird at 80 %"]
    assert found["interval"][1] < 0


def test_contradiction_is_corrected_for_the_choice_of_condition() -> None:
    """A conjunction of ten is contradicted by one condition only at a tenth of the level."""
    frame = change(results(20, noise=2.0), "Robust Bird", "robust_generalization_gap", -10, 90)
    frame = change(frame, "Robust Bird", "robust_generalization_gap", 2.6, 80)
    claim = replace(CLAIMS["swt_rb_best_static_gap"], margin_gap=0.0)
    e = gather(claim, Sample(frame, PAPERS[claim.paper].SETTINGS), {}, None, "paper scale")
    alone = [one_sided(-float(c.slack[0]), -s, e.n) for c, s in zip(e.conditions, e.slacks, strict=True)]
    assert 0 < min(alone) < 0.1
    assert e.p_contradicted == pytest.approx(min(1.0, 10 * min(alone)))


def test_support_is_corrected_for_the_choice_between_two_methods() -> None:
    """ "The better of SynFlow and IGQ" may hold through either of the two: twice the probability of the condition that is worst off."""
    claim = CLAIMS["swt_synflow_igq_best_static"]
    rng = np.random.default_rng(0)
    frame = results(20)
    frame["value"] = 50 + (frame.setting == "SynFlow") + 0.7 * rng.normal(size=len(frame))
    e = gather(claim, Sample(frame, PAPERS[claim.paper].SETTINGS), {}, None, "stand-in")
    alone = [one_sided(float(c.slack[0]), s, e.n) for c, s in zip(e.conditions, e.slacks, strict=True)]
    assert 0 < max(alone) < 0.2
    assert e.p_supported == pytest.approx(2 * max(alone))


def test_a_scale_that_declared_fewer_seeds_decides_with_these() -> None:
    frame = results(3, noise=0.01)

    def found(**kw: object) -> dict:
        return next(r for r in verdicts(frame, **kw) if r["claim_id"] == "swt_rb_gap_80_90")

    assert "interim: 3 of 20" in found()["sentence"]
    assert (found(seeds=3)["outcome"], found(seeds=3)["n"], found(seeds=3)["seeds_declared"]) == ("supported", 3, 3)
    assert "interim: 3 of 5" in found(seeds=5)["sentence"]


def test_interim_is_never_decided() -> None:
    for seeds in (1, 19):
        found = verdict("swt_rb_gap_80_90", results(seeds, noise=0.01))
        assert found["outcome"] == "interim"
        assert f"interim: {seeds} of 20 declared seeds" in found["sentence"]
        assert found["effect"] > 0
        assert (found["interval"] is None) == (seeds == 1)


def test_more_seeds_than_declared_are_not_used() -> None:
    frame = results(23)
    wild = frame.assign(value=frame.value.where(frame.seed < 20, 0.0))
    assert verdict("swt_rb_gap_80_90", wild)["n"] == 20
    assert verdict("swt_rb_gap_80_90", wild)["outcome"] == "supported"


def test_only_seeds_that_every_row_has() -> None:
    frame = results(20)
    frame = frame[~((frame.setting == "Robust Bird") & (frame.seed == 4))]
    assert verdict("swt_rb_gap_80_90", frame)["n"] == 19
    assert verdict("swt_fb_gap_range", frame)["n"] == 20


def test_conditions_that_only_the_correction_for_other_claims_leaves_open_are_not_equivalent() -> None:
    """All hold beyond doubt for themselves: where there is no margin, or outside it, nothing was shown to be equal."""
    claim, slack = CLAIMS["iwi_inherit_helps_automatic"], np.linspace(0.01, 0.12, 2000)[None]

    def judged(measure: str, low: float) -> str:
        made = above("share", np.array([0.92]), 0.8, measure=measure)
        e = Evidence(claim, (made,), slack + low, 0.01, 1.0, 1.0, 5, False, "stand-in", claim.datasets, None, None, "")
        return conclude(e, 0.1, 1.0).outcome

    assert judged("", 0.0) == judged("accuracy", 2.0) == "inconclusive"
    assert judged("accuracy", 0.0) == judged("accuracy", -0.05) == "equivalent"  # within two points on both sides


def test_equivalent_within_the_margin() -> None:
    frame = results(20, noise=0.2)
    level = {"robust_generalization_gap": 25.0, "robust_accuracy_best": 50.0, "training_flops_e17": 10.0}
    same = frame.assign(value=[level.get(m, 1.0) for m in frame.metric])
    same = same.assign(value=same.value + 0.2 * np.random.default_rng(0).normal(size=len(same)))
    # FLOPs have no margin of equivalence: keep the claimed order in them
    same = change(same, "Flying Bird+", "training_flops_e17", -5)
    found = verdict("swt_fbp_vs_omp", same)
    assert found["outcome"] == "equivalent"
    assert found["sentence"].startswith("Equivalent: what does not hold beyond doubt lies within the margin (2 points, 3 of gap)")
    wide = same.assign(value=same.value + 8 * np.random.default_rng(1).normal(size=len(same)) * (same.metric != "training_flops_e17"))
    assert verdict("swt_fbp_vs_omp", wide)["outcome"] == "inconclusive"


def test_scopes_that_cannot_speak_and_by_construction() -> None:
    frame = results(20)
    assert verdict("swt_rb_flops_vs_omp", frame)["outcome"] == "not testable here"
    assert verdict("swt_dense_overfits", frame)["outcome"] == "by construction"
    assert verdict("swt_dense_overfits", frame, scope="paper scale")["outcome"] == "supported"
    level = change(change(frame, "Baseline", "robust_accuracy_diff", -30), "Baseline", "robust_generalization_gap", -60)
    failing = verdict("swt_dense_overfits", level)
    assert (failing["outcome"], len(failing["failing"])) == ("contradicted", 2)  # what was meant to hold and does not is a finding


def test_exact_numbers_need_no_seeds() -> None:
    frame = printed_frame().query("exhibit == 'Table 1' and metric.str.contains('flops')")
    found = verdict("swt_rb_flops_vs_omp", frame, scope="exact")
    assert (found["outcome"], found["n"], found["interval"]) == ("supported", 1, None)
    assert found["sentence"].startswith("Supports the claim (exact)")


def test_a_row_can_carry_its_own_scope() -> None:
    frame = results(20)
    frame = frame.assign(scope=np.where(frame.setting == "Robust Bird", "stand-in", "exact"))
    assert verdict("swt_rb_gap_80_90", frame, scope="exact")["scope"] == "stand-in"
    assert verdict("swt_fb_gap_range", frame)["scope"] == "exact"


def test_partial_coverage_is_not_support_but_can_contradict() -> None:
    frame = results(5, noise=0.01, exhibit="Table A8")
    assert verdict("swt_improved_attacks", frame)["outcome"] == "supported"
    part = frame[frame.dataset == "CIFAR-100"]  # a name that begins like CIFAR-10
    found = verdict("swt_improved_attacks", part)
    assert found["outcome"] == "inconclusive"
    assert "no results yet for CIFAR-10)." in found["sentence"]
    worse = change(part, "Robust Bird", "robust_generalization_gap", 60)
    assert verdict("swt_improved_attacks", worse)["outcome"] == "contradicted"


def test_missing_rows_are_named() -> None:
    frame = results(20)
    found = verdict("swt_rb_beats_omp", frame[frame.setting != "OMP"])
    assert found["outcome"] == "no results yet"
    assert "of OMP at 80 %" in found["sentence"]


def test_holm_counts_the_declared_family() -> None:
    """With one confirmatory claim run of eleven declared, its probability is multiplied by eleven."""
    place = ("sparsity_winning_twice", "Table 1", "CIFAR-10", "ResNet-18")
    rng = np.random.default_rng(2)
    rows = [
        (*place, 80, setting, "", metric, seed, value + 0.45 * rng.normal())
        for seed in range(20)
        for setting, sign in (("OMP", -1), ("Flying Bird+", 1))
        for metric, value in (
            ("robust_accuracy_best", 50 + 0.17 * sign),
            ("robust_generalization_gap", 30 - 10 * sign),
            ("training_flops_e17", 900 - 500 * sign),
        )
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    claim = CLAIMS["swt_fbp_vs_omp"]
    family = [c for c in CLAIMS.values() if c.paper == claim.paper and c.confirmatory]
    assert len(family) == 11
    raw = gather(claim, Sample(frame, PAPERS[claim.paper].SETTINGS), {}, None, "stand-in").p_supported
    assert 0.001 < raw < 0.09
    record = next(r for r in verdicts(frame) if r["claim_id"] == claim.claim_id)
    assert record["p_supported"] == pytest.approx(11 * raw)


def test_holm_counts_only_claims_that_the_scope_can_speak_to() -> None:
    """Of the five confirmatory claims of the fourth paper one, on a synthetic problem, is judged exactly or not at all."""
    rng = np.random.default_rng(2)
    rows = [
        ("adversarial_winning_tickets", "figure_1", "MNIST", "CNN", 98, m, "", metric, seed, value + noise * rng.normal())
        for seed in range(5)
        for m, end, accuracy in (("NTT", 2, 95.5), ("DNS", 9, 95.0))
        for metric, value, noise in (
            ("kernel_distance_start", 1, 0.01), ("kernel_distance_end", end, 0.01), ("target_distance_start", 1, 0.01),
            ("target_distance_end", end, 0.01), ("natural_test_accuracy", accuracy, 0.4),
        )
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    claim = CLAIMS["awt_ntt_keeps_dynamics"]
    family = [c for c in CLAIMS.values() if c.paper == claim.paper and c.confirmatory]
    assert (len(family), sum("stand-in" in c.scopes for c in family)) == (5, 4)
    raw = gather(claim, Sample(frame, PAPERS[claim.paper].SETTINGS), {}, None, "stand-in").p_supported
    assert 0.001 < raw < 0.2
    record = next(r for r in verdicts(frame) if r["claim_id"] == claim.claim_id)
    assert record["p_supported"] == pytest.approx(4 * raw)


@pytest.mark.parametrize(("apart", "failing"), [(0.8, ["dense gap"]), (0.6, [])])
def test_dense_overfits_by_more_than_two_standard_deviations_over_seeds(apart: float, failing: list[str]) -> None:
    """A gap of 1 in the mean of two seeds that lie 0.8 apart has a standard deviation of 0.57, and one of 0.42 where they lie 0.6 apart."""
    frame = results(2, noise=0.0)
    frame.loc[(frame.setting == "Baseline") & (frame.metric == "robust_generalization_gap"), "value"] = [1 - apart / 2, 1 + apart / 2]
    assert verdict("swt_dense_overfits", frame)["failing"] == failing


@pytest.mark.parametrize(("lead", "failing"), [(0.2, 0), (0.5, 2)])
def test_inherited_filters_lead_by_no_more_than_the_noise_of_seeds(lead: float, failing: int) -> None:
    """Two seeds that lie 0.2 apart have a standard deviation of 0.14; twice that is the bound, since the margin of one point is wider."""
    rows = [
        ("achieving_robustness_via_sparsity", exhibit, "CIFAR-10", "ResNet-18", 60, setting, "", metric, seed, level + 0.2 * seed)
        for seed in range(2)
        for exhibit, setting, level in (("table_1", "FP", 50 + lead), ("table_2", "FP-rand", 50.0))
        for metric in ("clean_accuracy", "adversarial_accuracy")
    ]
    found = verdict("iwi_inherit_idle_for_fp", pd.DataFrame(rows, columns=list(COLUMNS)))
    assert len(found["failing"]) == failing


def test_test_images_widen_the_interval() -> None:
    frame = results(20, noise=0.05)
    rng = np.random.default_rng(0)
    rows = frame.query("metric in ['robust_accuracy_best', 'robust_accuracy_final']")
    images, value = {}, {}
    for key, group in rows.groupby(["setting", "sparsity_percent", "metric"]):
        images[key] = rng.random((20, 100)) < group.value.mean() / 100
        value[key] = 100 * images[key].mean(axis=1)
    exact = frame.copy()
    for key, column in value.items():
        where = (exact.setting == key[0]) & (exact.sparsity_percent == key[1]) & (exact.metric == key[2])
        exact.loc[where, "value"] = exact.loc[where, "seed"].map(dict(enumerate(column)))
    without, with_images = (verdict("swt_fb_top_robust_accuracy", exact, images=i) for i in (None, images))
    width = [r["interval"][1] - r["interval"][0] for r in (without, with_images)]
    assert width[1] > 1.1 * width[0]
    with pytest.raises(SpecError, match="images has the key"):
        verdict("swt_fb_top_robust_accuracy", exact, images={("OMP", 80): images[("OMP", 80.0, "robust_accuracy_best")]})
    with pytest.raises(SpecError, match="one row per seed"):
        verdict("swt_fb_top_robust_accuracy", exact, images={k: v[:3] for k, v in images.items()})


def test_mnist_at_three_percent_needs_a_good_dense_network() -> None:
    def frame(natural: float, adversarial: float = 90.0) -> pd.DataFrame:
        rows = [
            ("adversarial_winning_tickets", "figure_4", "MNIST", "CNN", s, m, "", metric, seed, v + 0.01 * seed)
            for seed in range(5)
            for m, s, values in (("full model", 0, (natural, adversarial)), ("AWT", 97, (natural - 1, adversarial - 0.5)))
            for metric, v in zip(("natural_test_accuracy", "adversarial_test_accuracy"), values, strict=True)
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    good = verdict("awt_mnist_3_percent", frame(97.0), scope="same data reduced")
    assert good["outcome"] == "supported"
    for poor in (frame(93.0), frame(97.0, 84.0)):
        found = verdict("awt_mnist_3_percent", poor, scope="same data reduced")
        assert found["outcome"] == "not testable here"
        assert "needs 95 % and 85 %" in found["sentence"]
    assert verdict("awt_mnist_3_percent", frame(97.0))["outcome"] == "not testable here"  # no stand-in for MNIST


def test_never_coming_near_the_dense_network_is_one_step_before_the_first_and_decides() -> None:
    """Of a method that comes near at the greatest density alone and in some seeds never, against one that does at the least."""

    def frame(late: str, soon: str) -> pd.DataFrame:
        gaps = {late: (4.0, 3.0, 1.0), soon: (1.0, 0.5, 0.0)}  # points behind the dense network at 1.8, 8.7 and 51.3 %
        rows = [
            ("adversarial_winning_tickets", "table_1", "MNIST", "MLP", s, m, "", "adversarial_test_accuracy", seed, 80 + 0.1 * seed - gap)
            for seed in range(20)
            for m in gaps
            for s, gap in zip((98.2, 91.3, 48.7), (g + 2 * (seed % 4 == 0 and m == late) for g in gaps[m]), strict=True)
        ]
        dense = [(*r[:4], 0, "full model", *r[6:9], 80 + 0.1 * r[8]) for r in rows if r[4:6] == (48.7, late)]
        return pd.DataFrame(rows + dense, columns=list(COLUMNS))

    good, bad = frame("Cosentino et al. 2019", "AWT"), frame("AWT", "Cosentino et al. 2019")
    assert verdict("awt_approaches_dense_faster", good)["effect"] == 2.0  # of the mean curves: the third step against the first
    assert verdict("awt_approaches_dense_faster", good)["outcome"] == "supported"
    assert verdict("awt_approaches_dense_faster", bad)["outcome"] == "contradicted"


def test_tickets_from_curves() -> None:
    """Extreme sparsity: the greatest level at which all three measures reach dense less one standard deviation, in steps of the grid."""
    rows = []
    reach = {"standard": 1, "fast adversarial": 2, "adversarial": 3}  # levels that still match dense
    for dataset in ("CIFAR-10", "CIFAR-100", "SVHN"):
        for pre, good in reach.items():
            for training, metric in (
                ("standard", "standard_accuracy"),
                ("adversarial", "standard_accuracy"),
                ("adversarial", "robust_accuracy"),
            ):
                place = ("double_win_lottery_tickets", "figure_3", dataset, "ResNet-50")
                variant = f"pre_training={pre}; downstream_training={training}"
                for seed in range(20):
                    for i, level in enumerate((0, 59.04, 79.03, 89.26, 95.6)):
                        v = 80.0 + (0 if i <= good else -9) + 0.1 * np.sin(7 * seed)
                        rows.append((*place, level, "IMP with standard re-training", variant, metric, seed, v))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    found = verdict("dw_at_sparsest", frame)
    assert found["outcome"] == "supported"
    assert found["effect"] == 1  # the steps by which adversarial is ahead of fast adversarial
    assert verdict("dw_tickets_exist", frame)["outcome"] == "supported"
    swap = {
        "pre_training=adversarial": "pre_training=fast adversarial",
        "pre_training=fast adversarial": "pre_training=adversarial",
    }
    first = frame.variant.str.split(";").str[0]
    swapped = frame.assign(variant=[v.replace(a, swap.get(a, a)) for v, a in zip(frame.variant, first, strict=True)])
    assert verdict("dw_at_sparsest", swapped)["outcome"] == "contradicted"


@pytest.mark.parametrize(("short", "apart", "failing"), [(1.9, 0.4, 0), (2.1, 0.4, 2), (2.7, 4.0, 0), (2.9, 4.0, 2)])
def test_tickets_may_fall_short_of_dense_by_one_standard_deviation_or_the_margin(short: float, apart: float, failing: int) -> None:
    """Two seeds of the dense network that lie 4 apart have a standard deviation of 2.83; the margin is 2."""
    rows = [
        ("double_win_lottery_tickets", "figure_3", "CIFAR-10", "ResNet-50", level, "IMP with standard re-training",
         f"pre_training={pre}; downstream_training={training}", metric, seed, value + apart * seed)
        for seed in range(2)
        for pre in ("fast adversarial", "adversarial")
        for training, metric in (("standard", SA), ("adversarial", SA), ("adversarial", RA))
        for level, value in ((0, 80.0), (59.04, 80 - short))
    ]  # fmt: skip
    assert len(verdict("dw_tickets_exist", pd.DataFrame(rows, columns=list(COLUMNS)))["failing"]) == failing


@pytest.mark.parametrize("claim_id", ["dw_tickets_exist", "dw_retraining_regime_idle"])
def test_no_seed_of_tickets_that_equal_dense_contradicts(claim_id: str) -> None:
    """Networks that are alike but for noise: what the two claims say of them is true, whichever way five seeds fall."""
    settings = ("IMP with standard re-training", "IMP with adversarial re-training")
    for draw in range(6):
        rng = np.random.default_rng(draw)
        rows = [
            ("double_win_lottery_tickets", exhibit, d, "ResNet-50", level, setting, f"pre_training={pre}; downstream_training={training}",
             metric, seed, 80 - 9 * (level > 80) + rng.normal(0, 0.5))
            for exhibit, of in (("figure_3", settings[:1]), ("figure_4", settings))
            for d in ("CIFAR-10", "CIFAR-100", "SVHN")
            for setting in of
            for pre in ("standard", "fast adversarial", "adversarial")
            for training, metric in (("standard", SA), ("adversarial", SA), ("adversarial", RA))
            for level in (0, 59.04, 73.79, 89.26)
            for seed in range(5)
        ]  # fmt: skip
        found = verdict(claim_id, pd.DataFrame(rows, columns=list(COLUMNS)))
        assert found["outcome"] in {"supported", "inconclusive"}


def test_bad_frames_fail_loudly() -> None:
    frame = results(2)
    with pytest.raises(SpecError, match="Did you mean 'sparsity_winning_twice'"):
        verdicts(frame.assign(paper="sparsity_wining_twice"))
    with pytest.raises(SpecError, match="Robust Bird"):
        verdicts(frame.replace({"setting": {"Robust Bird": "Robust bird"}}))
    with pytest.raises(SpecError, match="scope"):
        verdicts(frame, scope="laptop")
    with pytest.raises(ReplibError, match="lack the columns variant"):
        verdicts(frame.drop(columns="variant"))


def test_same_results_same_records_and_in_time() -> None:
    places = printed_frame()[["paper", "exhibit"]].drop_duplicates().values
    frame = pd.concat([results(20, paper=p, exhibit=e) for p, e in places if p != "sparsity_winning_twice"])
    started = time.process_time()
    first = verdicts(frame)
    spent = time.process_time() - started
    assert {r["outcome"] for r in first} <= set(OUTCOMES)
    assert sum(r["outcome"] != "no results yet" for r in first) == 18
    assert first == verdicts(frame.sample(frac=1, random_state=0))
    assert spent < 5


@pytest.mark.parametrize(
    "claim_id", ["swt_fb_top_robust_accuracy", "swt_synflow_igq_best_static", "swt_small_dense_rp_worst", "swt_fbp_gap_rank"]
)
def test_equal_methods_are_not_called_contrary_to_a_claim_of_rank(claim_id: str) -> None:
    """The greatest of several noisy means lies above each of them: taken as one condition it "contradicts" a third of the time."""
    frame = results(20, noise=0.0)
    frame["value"] = frame.groupby("metric").value.transform("mean")
    outcomes = []
    for trial in range(12):
        rng = np.random.default_rng(trial)
        outcomes.append(verdict(claim_id, frame.assign(value=frame.value + 20 * rng.normal(size=len(frame))))["outcome"])
    assert outcomes.count("contradicted") + outcomes.count("supported") <= 1


def test_a_violation_within_the_margin_is_equivalence() -> None:
    frame = results(20, noise=0.05)
    for metric, sign in (("robust_accuracy", 1), ("standard_accuracy", 1)):
        for checkpoint in ("best", "final"):
            for s in (80, 90):
                where = (frame.metric == f"{metric}_{checkpoint}") & (frame.sparsity_percent == s)
                omp = frame[where & (frame.setting == "OMP")].value.mean()
                frame.loc[where & (frame.setting == "Robust Bird"), "value"] = (
                    omp - 0.5 * sign + 0.05 * np.random.default_rng(s).normal(size=20)
                )
    for metric in ("robust_generalization_gap", "robust_accuracy_diff"):
        for s in (80, 90):
            where = (frame.metric == metric) & (frame.sparsity_percent == s)
            frame.loc[where & (frame.setting == "Robust Bird"), "value"] = frame[where & (frame.setting == "OMP")].value.mean() - 5
    found = verdict("swt_rb_beats_omp", frame)
    assert (found["outcome"], found["effect"] < 0) == ("equivalent", True)
    assert verdict("swt_rb_beats_omp", change(frame, "Robust Bird", "robust_accuracy_best", -3))["outcome"] == "contradicted"


def test_a_violation_within_the_margin_contradicts_nothing_whatever_else_is_undecided() -> None:
    """A deficit of half a point, of which two matter, beside a gap that is noise."""
    frame = results(20, noise=0.2)
    rows = {m: (frame.metric == m) & (frame.sparsity_percent == 80) for m in ("robust_accuracy_best", "robust_generalization_gap")}
    rng = np.random.default_rng(0)
    for setting, level in (("Flying Bird+", 49.5), ("OMP", 50.0)):
        for metric, noise in (("robust_accuracy_best", 0.2), ("robust_generalization_gap", 20.0)):
            frame.loc[rows[metric] & (frame.setting == setting), "value"] = level + noise * rng.normal(size=20)
    assert verdict("swt_fbp_vs_omp", frame)["outcome"] == "inconclusive"


def test_a_margin_that_is_the_bound_is_not_granted_twice() -> None:
    """Tickets 3.4 points below the base, where 2 are allowed, are not "equivalent" to what the claim says."""
    frame = results(20, noise=0.1, exhibit="Table 3", paper="achieving_robustness_via_sparsity")
    base = frame[frame.setting == "Baseline"].groupby(["dataset", "architecture", "metric"]).value.mean()
    tickets = (frame.setting == "Winning Ticket") & (frame.dataset == "CIFAR-10") & (frame.sparsity_percent <= 80)
    for i in frame[tickets].index:
        row = frame.loc[i]
        frame.loc[i, "value"] = base[row.dataset, row.architecture, row.metric] - 1.7 + 0.1 * np.sin(i)
    assert verdict("iwi_ticket_80", frame)["outcome"] == "contradicted"


def test_ties_satisfy_a_claim_that_allows_them() -> None:
    """Extreme sparsities as printed, in each of five seeds: "no sparser than" holds with equality, and beyond doubt."""
    rows = printed_frame().query("paper == 'double_win_lottery_tickets' and exhibit == 'Section 4.1'").drop(columns="seed")
    frame = pd.concat([rows.assign(seed=s) for s in range(5)], ignore_index=True)
    assert verdict("dw_at_sparsest", frame)["outcome"] == "supported"


def curves(difference: float, noise: float, seed: int) -> pd.DataFrame:
    """Figure 3 on CIFAR-100 with pre-trainings that differ by nothing but noise, fast adversarial ones lead after adversarial training."""
    rng = np.random.default_rng(seed)
    place = ("double_win_lottery_tickets", "figure_3", "CIFAR-100", "ResNet-50")
    rows = [
        (*place, level, "IMP with standard re-training", f"pre_training={pre}; downstream_training={training}", metric, s, value)
        for pre in ("standard", "fast adversarial")
        for training, metric in (("standard", SA), ("adversarial", SA), ("adversarial", RA))
        for level in (0, 48.8, 73.79, 89.26, 95.6, 98.56)
        for s in range(5)
        for value in [50 + difference * (pre != "standard") * (training == "adversarial") + noise * rng.normal()]
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


SA, RA = "standard_accuracy", "robust_accuracy"


def test_noise_over_many_sparsities_is_no_contradiction() -> None:
    """The largest of six noisy differences is not small, the least of six leads may be negative: neither says anything."""
    outcomes = [verdict("dw_fat_vs_std", curves(1.0, 4.0, seed))["outcome"] for seed in range(25)]
    assert outcomes.count("contradicted") <= 2


def test_densities_at_which_nothing_was_learned_are_left_out_and_said() -> None:
    def frame(ahead: float, learned: float = 60.0) -> pd.DataFrame:
        rows = [
            ("adversarial_winning_tickets", "figure_6", "MNIST", "CNN", s, m, "", metric, seed, value + 0.1 * np.sin(7 * seed + s))
            for seed in range(5)
            for s, level in ((99, 11.0), (98, learned), (95, learned))
            for m, lead in (("AWT", ahead), ("random structure", 0.0))
            for metric, value in (
                ("natural_test_accuracy", level + lead * (level > 20)), ("adversarial_test_accuracy", level / 2 + lead * (level > 20)),
                ("curve_distance", 30 - lead),
            )
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(COLUMNS))

    good, bad, none = (verdict("awt_beats_random", f) for f in (frame(5.0), frame(-5.0), frame(0.0, 11.0)))
    assert good["outcome"] == "inconclusive"
    assert "partial: neither has learned, AWT at 1 % density (1" in good["sentence"]
    assert bad["outcome"] == "contradicted"
    assert none["outcome"] == "not testable here"


def test_each_claim_can_have_its_seeds() -> None:
    """A claim that waited for more seeds than one of its exhibits has would be interim for ever."""
    for claim in CLAIMS.values():
        for e in (e for e in EXHIBITS.values() if e.id.startswith(f"{claim.paper}/")):
            rest = e.part_of and claim.datasets != ("CIFAR-10",)  # the parts have the other data sets
            if e.id in claim.exhibits or (rest and f"{claim.paper}/{e.part_of}" in claim.exhibits):
                assert e.declared(LAPTOP) >= claim.seeds_declared, (claim.claim_id, e.id)


def test_flops_decide_only_with_the_networks_of_the_paper() -> None:
    worse = change(results(20), "Robust Bird", "inference_flops_e9", 100)
    for scope in ("stand-in", "same data reduced"):
        assert not any("FLOPs" in name for name in verdict("swt_rb_beats_omp", worse, scope=scope)["failing"])
    assert any("FLOPs" in name for name in verdict("swt_rb_beats_omp", worse, scope="paper scale")["failing"])


def test_masks_of_a_collapsed_run_are_not_judged() -> None:
    place = {"paper": "sparsity_winning_twice", "exhibit": "Figure A8", "dataset": "CIFAR-100", "architecture": "ResNet-18", "variant": ""}
    rng = np.random.default_rng(0)
    rows = [
        place | {"sparsity_percent": 80.0, "setting": pair, "metric": "mask_similarity", "seed": s, "value": value + 0.01 * rng.normal()}
        for s in range(5)
        for pair, value in (("SGD/PGD-10", 0.8), ("SGD/Fast AT", 0.5), ("PGD-10/Fast AT", 0.5))
    ]
    rows += [place | {"sparsity_percent": None, "setting": "Fast AT", "metric": "collapsed", "seed": s, "value": 0.0} for s in range(5)]
    frame = pd.DataFrame(rows)
    assert verdict("swt_masks_sgd_pgd_similar", frame)["outcome"] == "supported"
    frame.loc[frame.index[-1], "value"] = 1.0
    found = verdict("swt_masks_sgd_pgd_similar", frame)
    assert found["outcome"] == "not testable here"
    assert "collapsed" in found["sentence"]


def test_basins_that_no_network_reaches_are_not_compared() -> None:
    place = {"paper": "double_win_lottery_tickets", "dataset": "CIFAR-10", "architecture": "ResNet-50"}
    ticket = {"setting": "IMP with standard re-training", "sparsity_percent": 73.79}

    def rows(exhibit: str, fraction: str, areas: tuple[float, float, float]) -> list[dict]:
        metric = "basin_area" if exhibit == "Figure 6" else "basin_area_recomputed"
        kinds, there = ("standard", "fast adversarial", "adversarial"), place | ticket | {"exhibit": exhibit, "metric": metric}
        return [
            there | {"variant": f"pre_training={k}; data_fraction={fraction}", "seed": s, "value": a + s * (a > 0)}
            for k, a in zip(kinds, areas, strict=True)
            for s in range(5)
        ]

    def judged(attacked: tuple[float, float, float], clean: tuple[float, float, float] = (50, 80, 50)) -> dict:
        made = [rows("Figure 6", f, clean) + rows("Figure A9", f, attacked) for f in ("10%", "1%")]
        return verdict("dw_fat_landscape_flatter", pd.DataFrame([row for part in made for row in part]))

    assert judged((0, 20, 10))["outcome"] == "supported"
    assert judged((0, 0, 10))["outcome"] == "contradicted"  # adversarial pre-training alone has a basin
    alone = judged((0, 0, 0))
    assert alone["outcome"] == "inconclusive"  # on clean images it holds
    assert "below the level" in alone["sentence"]
    assert judged((0, 0, 0), (80, 50, 50))["outcome"] == "contradicted"
    assert judged((0, 0, 0), (0, 0, 0))["outcome"] == "not testable here"


def slimming(base: float | None, *, beyond: float = 0.0) -> pd.DataFrame:
    """Table 1 of B on two data sets: layer-wise pruning loses nothing until 90 %, slimming starts ten points lower (`base`)."""
    places = [("achieving_robustness_via_sparsity", "table_1", d, "ResNet-18") for d in ("CIFAR-10", "Tiny-ImageNet")]
    lines = [("Baseline", 0, 80.0), *((m, s, v) for m, start in (("LUP", 80), ("NS", 70)) for s, v in ((30, start), (60, start), (90, 40)))]
    lines += [("Base for slimming", 0, base)] if base else []
    rows = [
        (*place, level, setting, "stopping_criterion=Stop-E", metric, seed, value + 0.01 * seed)
        for place in places
        for setting, level, value in lines
        for metric in ("clean_accuracy", "adversarial_accuracy")
        for seed in range(5)
    ]
    rows += [(*places[0], 90, "NS", "stopping_criterion=Stop-E", "channels_beyond_ratio", seed, beyond) for seed in range(5)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_slimming_is_compared_with_the_network_that_it_prunes() -> None:
    assert verdict("iwi_lup_ns_drop_late", slimming(None))["outcome"] == "contradicted"
    assert verdict("iwi_lup_ns_drop_late", slimming(70.0))["outcome"] == "supported"


def test_a_network_that_slimming_could_not_make_has_no_say() -> None:
    found = verdict("iwi_lup_ns_drop_late", slimming(70.0, beyond=2))
    assert "a layer would be empty in NS at 90 %" in found["sentence"]
    assert found["outcome"] != "supported"


def test_networks_that_slimming_could_not_make_count_against_a_claim_on_shares_but_do_not_contradict_it() -> None:
    """Of twelve networks one or four were not made, and all others have the property: more than half have it whatever those would; more
    than 0.8 have it only if the four do not count."""
    frame = slimming(70.0, beyond=2)
    pruned = frame[frame.setting.isin(["LUP", "NS"]) & (frame.metric != "channels_beyond_ratio")]
    bare = pruned.assign(variant="stopping_criterion=Stop-E; retraining=none", value=pruned.value - 5)
    found = verdict("iwi_retraining_helps", pd.concat([frame, bare]))
    assert found["outcome"] == "supported"
    assert "(1 of 12 could not be made in every seed), is 0.9167 (needed > 0.5)" in found["sentence"]
    twins = pruned.assign(exhibit="table_2", setting=pruned.setting + "-rand", value=pruned.value - 5)
    found = verdict("iwi_inherit_helps_automatic", pd.concat([frame, twins]))
    assert "is 0.9167 (needed > 0.8)" in found["sentence"]
    lost = pruned[(pruned.setting == "NS") & (pruned.metric == "clean_accuracy") & (pruned.sparsity_percent > 30)]
    unmade = lost.assign(metric="channels_beyond_ratio", value=2.0)
    four = pd.concat([frame[frame.metric != "channels_beyond_ratio"], unmade])
    found = verdict("iwi_inherit_helps_automatic", pd.concat([four, twins]))
    assert found["outcome"] == "inconclusive"
    assert "is 0.8 (needed > 0.8)" in found["sentence"]
    worse = verdict("iwi_inherit_helps_automatic", pd.concat([four, twins.assign(value=twins.value + 20)]))
    assert worse["outcome"] == "contradicted"
    assert "is 0.3333 (needed > 0.8)" in worse["sentence"]


def test_data_sets_that_are_left_out_are_not_said_to_be_missing() -> None:
    claim, slack = CLAIMS["iwi_inherit_helps_automatic"], np.linspace(0.01, 0.12, 2000)[None]

    def said(*left_out: str) -> str:
        made = above("share", np.array([0.92]), 0.8)
        e = Evidence(claim, (made,), slack, 0.01, 1.0, 1.0, 5, False, "stand-in", (), None, None, "", left_out)
        return conclude(e, 0.1, 1.0).sentence

    first, *others = claim.datasets
    assert f"no results yet for {', '.join(claim.datasets)})" in said()
    words = said(f"nothing was learned on {first}")
    assert f"partial: nothing was learned on {first}" in words
    assert (f"; no results yet for {', '.join(others)})" in words) is bool(others)


def test_a_data_set_without_results_is_told_beside_one_whose_name_begins_alike() -> None:
    claim = replace(CLAIMS["iwi_inherit_helps_automatic"], datasets=("CIFAR-10", "CIFAR-100"))
    made = above("share", np.array([0.92]), 0.8)
    left_out = ("nothing was learned on CIFAR-100 MLP",)
    slack = np.linspace(0.01, 0.12, 2000)[None]
    e = Evidence(claim, (made,), slack, 0.01, 1.0, 1.0, 5, False, "stand-in", (), None, None, "", left_out)
    assert "partial: nothing was learned on CIFAR-100 MLP; no results yet for CIFAR-10)" in conclude(e, 0.1, 1.0).sentence


def test_a_place_where_the_perceptrons_have_learned_nothing_has_no_say_in_theorem_2() -> None:
    paper = "achieving_robustness_via_sparsity"

    def frame(trend: float, *learned: float) -> pd.DataFrame:
        rows = [
            (paper, "theorem_2", place, "MLP", 0.0, "Baseline", f"norm=l2; weight_decay={n}", metric, seed, value)
            for place, clean in zip(("CIFAR-10", "CIFAR-100", "Tiny-ImageNet"), learned, strict=True)
            for seed in range(5)
            for n in range(5)
            for metric, value in (
                ("log_norm_product", n + 0.01 * seed), ("clean_accuracy", clean),
                ("adversarial_accuracy", clean / 2 + n * (trend if clean > 20 else 1)),
            )
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(COLUMNS))

    claim = "iwi_sparser_is_more_robust"
    assert verdict(claim, frame(-1, 60, 60, 60))["outcome"] == "supported"
    assert verdict(claim, frame(-1, 60, 2, 60))["outcome"] == "inconclusive"  # partial
    assert verdict(claim, frame(1, 60, 2, 60))["outcome"] == "contradicted"
    assert verdict(claim, frame(-1, 2, 2, 2))["outcome"] == "not testable here"
