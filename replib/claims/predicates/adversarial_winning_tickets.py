"""Claims of "Finding Dynamics Preserving Adversarial Winning Tickets" (AISTATS 2022) as conditions. Density is 100 -
sparsity.

Rows that the paper shows only as curves use these words (settings "AWT", "random structure", "full model", "NTT",
"DNS"):

- figure_1: kernel_distance_start, kernel_distance_end, target_distance_start, target_distance_end,
  natural_test_accuracy.
- figure_3 (variant norm=l2 | linf), figure_7: kernel_distance_start, _half, _end and target_distance_start, _half,
  _end.
- figure_3 to figure_11: natural_test_accuracy, adversarial_test_accuracy (final) and curve_distance, the mean over
  epochs of |adversarial accuracy - that of the dense network|, in points. Accuracies are in percent except where the
  paper prints fractions.
- figure_9: error_increase in points, mean over layers and epochs. table_2: setting "AWT" for the unsampled one, where
  it is feasible.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from replib.claims.conditions import Condition, above, below, rank_correlation, stack, within
from replib.claims.table import ANY, LEARNED, Cell, MissingResult, NotTestable, Table

AWT, RANDOM, DENSE, COSENTINO = "AWT", "random structure", "full model", "Cosentino et al. 2019"
TWIN = "full model, other random numbers"
SETTINGS = (AWT, RANDOM, DENSE, TWIN, COSENTINO, "NTT", "DNS", "WT", "S-AWT", "IWI", "Bayes", "SVM", "Adv.Tr")
NATURAL, ADVERSARIAL = "natural_test_accuracy", "adversarial_test_accuracy"
BOTH = (NATURAL, ADVERSARIAL)
SHORT = {NATURAL: "natural accuracy", ADVERSARIAL: "adversarial accuracy"}
DISTANCES = ("kernel_distance", "target_distance")
FEW_POINTS = 3.0  # "a few points" of error in the claim on grafting


def _levels(t: Table, metric: str, low: float = 0.0, high: float = 100.0, **where: object) -> list[float]:
    """Sparsities of the cells that fit whose density in percent lies in [low, high], densest first."""
    levels = [s for s in t.sparsities(metric, **where) if low - 1e-6 <= 100 - s <= high + 1e-6 and s > 0]
    if not levels:
        raise MissingResult(f"{metric} of {where.get('setting')} at densities {low:g} to {high:g} % is missing; run {where['exhibit']}.")
    return levels


def _learned(t: Table, exhibit: str, *nets: tuple[str, float]) -> bool:
    """Whether one of the networks, each a setting at a sparsity, has learned. If none has, their order says nothing of their masks, and
    the comparison is left out."""
    reached = [t.original(t.cell(m, s, NATURAL, exhibit=exhibit)) for m, s in nets]
    if max(reached) < LEARNED:
        words = " and ".join(f"{m} at {100 - s:g} % density ({a:.1f} %)" for (m, s), a in zip(nets, reached, strict=True))
        t.left_out.append(f"neither has learned, {words}")
    return max(reached) >= LEARNED


def _some(t: Table, compared: Sequence[object]) -> None:
    """Refuse to judge a claim of which nothing could be compared."""
    if not compared:
        raise NotTestable(f"{'; '.join(t.left_out)}, and the claim compares networks that have; train wider ones, or longer.")


def awt_ntt_keeps_dynamics(t: Table) -> list[Condition]:
    """At the end of the search both distances lower for NTT, those of DNS grown, and test accuracy of NTT higher."""
    out = []
    for metric in DISTANCES:
        end = {m: t.get(m, ANY, f"{metric}_end", exhibit="figure_1") for m in ("NTT", "DNS")}
        name = metric.replace("_", " ")
        out.append(above(f"{name} at the end, DNS minus NTT", end["DNS"] - end["NTT"]))
        out.append(above(f"growth of the {name} of DNS", end["DNS"] - t.get("DNS", ANY, f"{metric}_start", exhibit="figure_1")))
    ntt, dns = (t.get(m, ANY, NATURAL, exhibit="figure_1") for m in ("NTT", "DNS"))
    return [*out, above("final test accuracy, NTT minus DNS", ntt - dns, measure="accuracy")]


def awt_distances_fall(t: Table) -> list[Condition]:
    """At every density each distance ends below its start; in the mean over densities more than half of the fall, in shares of the start,
    is in the first half of the search; density and final distance rank-correlate below 0."""
    out = []
    runs = [("figure_3", {"norm": n}) for n in ("l2", "linf")] + [("figure_7", {})]
    for exhibit, variant in runs:
        for metric in DISTANCES:
            where = {"exhibit": exhibit, "setting": AWT, "variant": variant}
            if not t.has(f"{metric}_end", **where):
                continue
            levels = _levels(t, f"{metric}_end", **where)
            start, half, end = (
                stack([t.get(AWT, s, f"{metric}_{when}", exhibit=exhibit, variant=variant) for s in levels])
                for when in ("start", "half", "end")
            )
            name = f"{metric.replace('_', ' ')}, {exhibit.replace('_', ' ')} {' '.join(variant.values())}".strip()
            for i, s in enumerate(levels):
                out.append(above(f"{name} at density {100 - s:g} %, start minus end", start[i] - end[i]))
            early = ((start + end - 2 * half) / start).mean(axis=0)
            out.append(above(f"{name}, mean fall in the first half minus second half, in shares of the start", early))
            if len(levels) > 2:
                density = stack([np.full(end.shape[1], 100 - s) for s in levels])
                trend = rank_correlation(density, end)
                out.append(below(f"{name}, rank correlation of density with the final distance", trend, measure="correlation"))
    if not out:
        raise MissingResult("kernel and target distances are missing in figure_3 and figure_7; run those exhibits.")
    return out


def awt_curves_vs_density(t: Table) -> list[Condition]:
    """Rank correlation of density with the distance of curves below 0, and the densest network closer than the
    sparsest."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for exhibit in ("figure_3", "figure_4", "figure_5", "figure_7"):
        for c in t.find("curve_distance", exhibit=exhibit, setting=AWT, variant=ANY):
            groups.setdefault((exhibit, c.dataset, dict(c.variant).get("norm", "")), []).append(c)
    out = []
    for (exhibit, dataset, norm), cells in groups.items():
        if len(cells) < 3:
            raise MissingResult(f"the distance of curves needs three densities in {exhibit} on {dataset}; run them.")
        cells = sorted(cells, key=lambda c: c.sparsity)
        values = stack([t.at(c) for c in cells])
        density = stack([np.full(values.shape[1], 100 - c.sparsity) for c in cells])
        name = f"{exhibit.replace('_', ' ')} {norm}".strip() + f", {dataset}"
        trend = rank_correlation(density, values)
        out.append(below(f"rank correlation of density with the distance of curves, {name}", trend, measure="correlation"))
        out.append(above(f"distance of curves, sparsest minus densest, {name}", values[-1] - values[0]))
    if not out:
        raise MissingResult("curve_distance is missing in figures 3, 4, 5 and 7; run one of those exhibits.")
    return out


def awt_beats_cosentino(t: Table) -> list[Condition]:
    """Adversarial accuracy of AWT above the iterative ticket at every density, with the greatest lead at the least density. Densities at
    which neither classifies twice as well as chance are left out."""
    levels = [s for s in _levels(t, ADVERSARIAL, exhibit="table_1", setting=AWT) if _learned(t, "table_1", (AWT, s), (COSENTINO, s))]
    _some(t, levels)
    lead = {s: t.get(AWT, s, ADVERSARIAL, exhibit="table_1") - t.get(COSENTINO, s, ADVERSARIAL, exhibit="table_1") for s in levels}
    out = [above(f"adversarial accuracy at density {100 - s:g} %, AWT minus iterative ticket", lead[s], measure="accuracy") for s in levels]
    if len(levels) > 1:
        for s in levels[:-1]:
            words = f"lead at density {100 - levels[-1]:g} % minus lead at {100 - s:g} %"
            out.append(above(words, lead[levels[-1]] - lead[s], measure="accuracy"))
    return out


def awt_approaches_dense_faster(t: Table) -> list[Condition]:
    """The least density within the margin of dense adversarial accuracy is lower for AWT, counted in steps of the table's densities from
    the greatest down; a method that never gets there is one step before it."""
    dense = t.get(DENSE, 0, ADVERSARIAL, exhibit="table_1")
    levels = _levels(t, ADVERSARIAL, exhibit="table_1", setting=AWT)
    steps = {}
    for m in (AWT, COSENTINO):
        near = stack([t.get(m, s, ADVERSARIAL, exhibit="table_1") >= dense - t.margin for s in levels])
        steps[m] = np.where(near, np.arange(1, len(levels) + 1)[:, None], 0).max(axis=0)
    return [above("steps of density near dense, AWT minus iterative ticket", steps[AWT] - steps[COSENTINO])]


def awt_mnist_3_percent(t: Table) -> list[Condition]:
    """At 3 % density: at least 98 % natural and 96 % adversarial accuracy on full MNIST (the printed fractions); on a
    part of MNIST both at most the margin below a dense network that itself reaches 95 % and 85 %; where it does not, nothing is judged."""
    if t.has(f"{NATURAL}_fraction", exhibit="figure_4", setting=AWT):
        values = {k: 100 * t.get(AWT, 97, f"{k}_fraction", exhibit="figure_4") for k in BOTH}
    else:
        values = {k: t.get(AWT, 97, k, exhibit="figure_4") for k in BOTH}
        if t.scope == "same data reduced":
            cells = {k: t.cell(DENSE, 0, k, exhibit="figure_4") for k in BOTH}
            natural, adversarial = (t.original(cells[k]) for k in BOTH)
            if natural < 95 or adversarial < 85:
                raise NotTestable(
                    f"the dense network reaches {natural:.1f} % natural and {adversarial:.1f} % adversarial accuracy, "
                    "and the claim needs 95 % and 85 %; train it on more data."
                )
            dense = {k: t.at(cells[k]) for k in BOTH}
            return [above(f"{SHORT[k]} at 3 % density, AWT minus dense", values[k] - dense[k], -t.margin, strict=False) for k in BOTH]
    return [above(f"{SHORT[k]} at 3 % density", values[k], bound, strict=False) for k, bound in zip(BOTH, (98.0, 96.0), strict=True)]


def awt_comparable_with_dense(t: Table) -> list[Condition]:
    """Mean difference to dense over densities of at least 10 % within the margin, both accuracies (Figure 5, and
    Figure 8 on MNIST)."""
    out = []
    for exhibit in ("figure_5", "figure_8"):
        if not t.has(NATURAL, exhibit=exhibit, setting=AWT):
            continue
        levels = _levels(t, NATURAL, low=10, exhibit=exhibit, setting=AWT)
        for k in BOTH:
            dense = t.get(DENSE, 0, k, exhibit=exhibit)
            change = stack([t.get(AWT, s, k, exhibit=exhibit) - dense for s in levels]).mean(axis=0)
            out += within(f"mean {SHORT[k]} minus dense, {exhibit.replace('_', ' ')}", change, t.margin)
    if not out:
        raise MissingResult("accuracies of AWT at densities of 10 % or more are missing; run Figures 5 and 8.")
    return out


def awt_beats_random(t: Table) -> list[Condition]:
    """At every density of 1 to 5 %: both accuracies above the random structure, curves closer to dense. Densities at which neither
    classifies twice as well as chance are left out."""
    out = []
    for s in _levels(t, NATURAL, 1, 5, exhibit="figure_6", setting=AWT):
        if not _learned(t, "figure_6", (AWT, s), (RANDOM, s)):
            continue
        for k in BOTH:
            lead = t.get(AWT, s, k, exhibit="figure_6") - t.get(RANDOM, s, k, exhibit="figure_6")
            out.append(above(f"{SHORT[k]} at density {100 - s:g} %, AWT minus random", lead, measure="accuracy"))
        closer = t.get(RANDOM, s, "curve_distance", exhibit="figure_6") - t.get(AWT, s, "curve_distance", exhibit="figure_6")
        out.append(above(f"distance of curves at density {100 - s:g} %, random minus AWT", closer))
    _some(t, out)
    return out


def awt_1_beats_random_3(t: Table) -> list[Condition]:
    """Adversarial accuracy of AWT at the least density d above that of a random structure at 3 d. Where neither classifies twice as well
    as chance, nothing is judged."""
    density = 100 - max(_levels(t, ADVERSARIAL, exhibit="figure_6", setting=AWT))
    if not _learned(t, "figure_6", (AWT, 100 - density), (RANDOM, 100 - 3 * density)):
        _some(t, ())
    lead = t.get(AWT, 100 - density, ADVERSARIAL, exhibit="figure_6") - t.get(RANDOM, 100 - 3 * density, ADVERSARIAL, exhibit="figure_6")
    return [above(f"adversarial accuracy, AWT at {density:g} % minus random at {3 * density:g} %", lead, measure="accuracy")]


def awt_sampling_costs_nothing(t: Table) -> list[Condition]:
    """WT < S-AWT < IWI in adversarial accuracy at each density; where an unsampled AWT exists, it lies within the
    margin of S-AWT."""
    out = []
    for s in _levels(t, ADVERSARIAL, exhibit="table_2", setting="S-AWT"):
        mine = t.get("S-AWT", s, ADVERSARIAL, exhibit="table_2")
        ticket, inherited = (t.get(m, s, ADVERSARIAL, exhibit="table_2") for m in ("WT", "IWI"))
        for lead, words in ((mine - ticket, "S-AWT minus WT"), (inherited - mine, "IWI minus S-AWT")):
            out.append(above(f"adversarial accuracy at density {100 - s:g} %, {words}", lead, measure="accuracy"))
        if t.has(ADVERSARIAL, exhibit="table_2", setting=AWT, sparsity=s):
            change = t.get(AWT, s, ADVERSARIAL, exhibit="table_2") - mine
            out += within(f"adversarial accuracy at density {100 - s:g} %, AWT minus S-AWT", change, t.margin)
    return out


def awt_toy_between(t: Table) -> list[Condition]:
    """Angles Bayes < AWT < adversarial training < SVM, robust accuracies in the reverse order, clean accuracies
    within half a point. Kernels weigh 10⁻³ as in the other searches; the paper prints no weight for this one, and with 1, in
    a row of its own that decides nothing, tickets keep the coordinate that counts more often."""
    order = ("Bayes", AWT, "Adv.Tr", "SVM")
    angle, robust, clean = (
        [t.get(m, ANY, metric, exhibit="table_3") for m in order]
        for metric in ("angle", "adversarial_accuracy_fraction", "clean_accuracy_fraction")
    )
    out = [above(f"angle, {order[i + 1]} minus {order[i]}", angle[i + 1] - angle[i]) for i in range(3)]
    out += [above(f"robust accuracy, {order[i]} minus {order[i + 1]}", robust[i] - robust[i + 1]) for i in range(3)]
    spread = np.ptp(stack(clean), axis=0)
    return [*out, below("range of the clean accuracies", spread, 0.005, strict=False)]


def awt_grafting(t: Table) -> list[Condition]:
    """Mean increase of error after grafting below three points and smaller for AWT than for a random structure, at
    every density. Where two dense networks from the same weights, which differ in random numbers alone, err that much more often
    themselves, the three points are left out: no ticket's dynamics can be nearer to the dense network's than its own are."""
    out, chance = [], 0.0
    if t.has("error_increase", exhibit="figure_9", setting=TWIN):
        chance = t.original(t.cell(TWIN, 0, "error_increase", exhibit="figure_9"))
        if chance >= FEW_POINTS:
            t.left_out.append(f"grafts of two dense networks that differ in random numbers alone err {chance:.1f} points more often")
    for s in _levels(t, "error_increase", exhibit="figure_9", setting=AWT):
        mine, other = (t.get(m, s, "error_increase", exhibit="figure_9") for m in (AWT, RANDOM))
        if chance < FEW_POINTS:
            out.append(below(f"error increase at density {100 - s:g} %", mine, FEW_POINTS))
        out.append(above(f"error increase at density {100 - s:g} %, random minus AWT", other - mine))
    return out


def awt_dense_regime_above_02(t: Table) -> list[Condition]:
    """Mean over densities above 20 %: AWT within the margin of dense and of the random structure, both accuracies. Single densities would
    each have to lie within a point where seeds spread by two or three, which five of them cannot show."""
    out = []
    levels = _levels(t, NATURAL, 20.01, 99.99, exhibit="figure_10", setting=AWT)
    for k in BOTH:
        dense = t.get(DENSE, 0, k, exhibit=("figure_10", "figure_8"))
        mine, random = (stack([t.get(m, s, k, exhibit="figure_10") for s in levels]) for m in (AWT, RANDOM))
        for words, lead in (("dense", mine - dense), ("random", mine - random)):
            out += within(f"{SHORT[k]}, mean over densities above 20 %, AWT minus {words}", lead.mean(axis=0), t.margin)
    return out


def awt_cifar100_beats_random(t: Table) -> list[Condition]:
    """On CIFAR-100, at every density of 10 to 90 %: both final accuracies of AWT above those of the random
    structure."""
    return [
        above(
            f"{SHORT[k]} at density {100 - s:g} %, AWT minus random",
            t.get(AWT, s, k, exhibit="figure_11") - t.get(RANDOM, s, k, exhibit="figure_11"),
            measure="accuracy",
        )
        for s in _levels(t, NATURAL, 10, 90, exhibit="figure_11", setting=AWT)
        for k in BOTH
    ]
