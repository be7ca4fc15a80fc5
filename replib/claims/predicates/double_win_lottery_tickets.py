"""Claims of "Data-Efficient Double-Win Lottery Tickets" (ICML 2022) as conditions on its curves and numbers.

Rows of figures 3 to 5: settings as below, variant "pre_training=standard | fast adversarial | adversarial",
"downstream_training=standard | adversarial" and, where it is not 100%, "data_fraction=10% | 1%"; metrics
standard_accuracy and robust_accuracy. The dense network is the row of sparsity 0 under the same setting. Three
measures of a network: SA after standard training, SA and RA after adversarial training. Elsewhere:

- figure_6: basin_area at 73.79 %, variant pre_training, data_fraction; figure_a9: basin_area_recomputed, attacked at every point.
- figure_a8: mask_iou of the settings "STD/FAT", "STD/AT", "FAT/AT" over the grid.
- figure_7: zero_kernels and zero_kernel_block_index at 97.19 %, variant pre_training.
- figure_a10: task_measure over the grid, variant pre_training, one data set per task.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from replib.claims.conditions import Condition, above, below, rank_correlation, stack, within
from replib.claims.table import ANY, MissingResult, NotTestable, Table

IMP, IMP_AT, OMP, RP = (
    "IMP with standard re-training",
    "IMP with adversarial re-training",
    "One-shot Magnitude Pruning",
    "Random Pruning",
)
MASK_PAIRS = ("STD/FAT", "STD/AT", "FAT/AT")
SETTINGS = ("Dense", IMP, IMP_AT, OMP, RP, *MASK_PAIRS)
STD, FAT, AT = "standard", "fast adversarial", "adversarial"
PRE_TRAININGS = (STD, FAT, AT)
SA, RA, EXTREME = "standard_accuracy", "robust_accuracy", "extreme_sparsity_percent"
# The three measures: (name, downstream training, metric).
MEASURES = (("SA (ST)", "standard", SA), ("SA (AT)", "adversarial", SA), ("RA (AT)", "adversarial", RA))
LIMITED = ("10%", "1%")
LADDER = 100 * (1 - 0.8 ** np.arange(20))  # sparsities of the paper's rounds, each of which leaves 80 % of the weights


def _curve(
    t: Table, setting: str, pre: str, measure: tuple[str, str, str], dataset: str, exhibit: str, fraction: str = "100%"
) -> dict[float, np.ndarray]:
    """Sparsity -> (replicates,) values, sorted; sparsity 0 is the dense network. Raises MissingResult for fewer than
    two levels."""
    name, training, metric = measure
    variant = {"pre_training": pre, "downstream_training": training}
    if fraction != "100%":
        variant["data_fraction"] = fraction
    cells = t.find(metric, exhibit=exhibit, setting=setting, dataset=dataset, variant=variant)
    curve = {c.sparsity: t.at(c) for c in sorted(cells, key=lambda c: c.sparsity)}
    if len(curve) < 2:
        raise MissingResult(f"{name} of {setting} after {pre} pre-training on {dataset} is missing in {exhibit}; run that exhibit.")
    return curve


def _dense_noise(t: Table, setting: str, pre: str, measure: tuple[str, str, str], dataset: str, exhibit: str) -> float:
    _, training, metric = measure
    variant = {"pre_training": pre, "downstream_training": training}
    return t.spread(t.cell(setting, 0, metric, exhibit=exhibit, dataset=dataset, variant=variant))


def _datasets(t: Table, exhibit: str | tuple[str, ...], metric: str = SA) -> list[str]:
    return list(dict.fromkeys(d for d, _ in t.pairs(metric, exhibit=exhibit, variant=ANY)))


def _excess(t: Table, setting: str, pre: str, dataset: str, exhibit: str, least: float = 0.0) -> tuple[list[float], np.ndarray]:
    """Sparsities above 0 and, (levels, replicates), the worst of the three measures against the dense network plus
    one standard deviation, or `least` points where that is more: at or above 0 where the network is a double-win ticket."""
    worst, levels = [], []
    curves = [_curve(t, setting, pre, m, dataset, exhibit) for m in MEASURES]
    noise = [max(_dense_noise(t, setting, pre, m, dataset, exhibit), least) for m in MEASURES]
    if any(0 not in c for c in curves):
        raise MissingResult(f"the dense network (sparsity 0) after {pre} pre-training is missing in {exhibit}; run it.")
    for level in sorted(set.intersection(*(set(c) for c in curves)) - {0.0}):
        levels.append(level)
        worst.append(stack([c[level] - c[0] + n for c, n in zip(curves, noise, strict=True)]).min(axis=0))
    return levels, stack(worst)


def _extreme(t: Table, setting: str, pre: str, dataset: str, exhibits: tuple[str, ...]) -> np.ndarray:
    """(replicates,) extreme sparsity: as given in the text, else the greatest level of the curves that is a
    double-win ticket."""
    given = {"exhibit": exhibits, "dataset": dataset, "variant": {"pre_training": pre}}
    if t.has(EXTREME, setting=setting, **given):
        return t.get(setting, None, EXTREME, **given)
    levels, excess = _excess(t, setting, pre, dataset, exhibits[-1])
    return np.where(excess >= 0, np.asarray(levels)[:, None], 0.0).max(axis=0)


def _steps(t: Table, of: Sequence[tuple[str, str]], dataset: str, section: str, figure: str) -> list[np.ndarray]:
    """(replicates,) extreme sparsity of each (setting, pre-training), counted in steps of the grid: of the paper's in its text, where a
    step is one round, after which 80 % of the weights are left; of ours a step may be several rounds."""
    printed = t.has(EXTREME, exhibit=section, variant=ANY)
    grid = LADDER if printed else np.array([0.0, *_excess(t, *of[0], dataset, figure)[0]])
    return [np.abs(grid[:, None] - _extreme(t, *one, dataset, (section, figure))).argmin(axis=0) for one in of]  # printed ones are rounded


def dw_tickets_exist(t: Table) -> list[Condition]:
    """Per data set, for fast adversarial and adversarial pre-training, some sparsity above 0 matches dense in all
    three measures: within one standard deviation or, where that is more, the margin. Of a ticket that equals the dense network a deviation
    of five seeds leaves more in doubt than it grants."""
    out = []
    printed = t.has(EXTREME, exhibit="section_4_1", variant=ANY)
    for d in _datasets(t, "section_4_1" if printed else "figure_3", EXTREME if printed else SA):
        for pre in (FAT, AT):
            if printed:
                out.append(above(f"extreme sparsity, {pre}, {d}", _extreme(t, IMP, pre, d, ("section_4_1",))))
            else:
                excess = _excess(t, IMP, pre, d, "figure_3", t.margin)[1]
                name = f"worst measure against dense at the best sparsity, {pre}, {d}"
                choices = (len(excess), len(MEASURES))  # any level may do, and at each any measure may fail
                out.append(above(name, excess.max(axis=0), strict=False, choices=choices))  # the margin is in the excess
    return out


def dw_at_sparsest(t: Table) -> list[Condition]:
    """Extreme sparsity: adversarial >= fast adversarial >= standard pre-training, adversarial above standard, on each data set, in steps
    of the grid. Fast adversarial and standard pre-training, which are printed equal on CIFAR-10, may lie a step the other way round."""
    printed = t.has(EXTREME, exhibit="section_4_1", variant=ANY)
    out = []
    for d in _datasets(t, "section_4_1" if printed else "figure_3", EXTREME if printed else SA):
        std, fat, at = _steps(t, [(IMP, pre) for pre in PRE_TRAININGS], d, "section_4_1", "figure_3")
        words = "steps of extreme sparsity"
        out.append(above(f"{words}, adversarial minus fast adversarial, {d}", at - fat, strict=False))
        out.append(above(f"{words}, fast adversarial minus standard, {d}", fat - std, -1.0, strict=False))
        out.append(above(f"{words}, adversarial minus standard, {d}", at - std))
    return out


def dw_imp_beats_random(t: Table) -> list[Condition]:
    """IMP above random pruning of the same weights by more than one standard deviation of the dense network, at every sparsity from 50 %
    on, in three measures."""
    out = []
    for d in _datasets(t, "figure_3"):
        for m in MEASURES:
            imp, random = (_curve(t, s, AT, m, d, "figure_3") for s in (IMP, RP))
            levels = [s for s in imp if s >= 50 and s in random]
            if not levels:
                raise MissingResult(f"IMP and random pruning share no sparsity of 50 % or more on {d}; run Figure 3.")
            noise = _dense_noise(t, IMP, AT, m, d, "figure_3")
            for s in levels:
                out.append(above(f"{m[0]} at {s:g} %, IMP minus random pruning, {d}", imp[s] - random[s], noise, measure="accuracy"))
    return out


def _grid_mean(curve: dict[float, np.ndarray]) -> np.ndarray:
    return stack(list(curve.values())).mean(axis=0)


def dw_at_best_full_data(t: Table) -> list[Condition]:
    """Mean over the grid of each measure highest for adversarial pre-training."""
    out = []
    for d in _datasets(t, "figure_3"):
        for m in MEASURES:
            std, fat, at = (_grid_mean(_curve(t, IMP, pre, m, d, "figure_3")) for pre in PRE_TRAININGS)
            for words, other in ((STD, std), (FAT, fat)):
                out.append(above(f"grid mean of {m[0]}, adversarial minus {words}, {d}", at - other, measure="accuracy"))
    return out


def dw_gain_over_sparsity(t: Table) -> list[Condition]:
    """Adversarial minus standard pre-training: after standard training positive at the greatest sparsity and at least
    half the dense gain; after adversarial training greatest inside the grid and lower beyond 95.60 %."""
    out = []
    for d in _datasets(t, "figure_3"):
        for m in MEASURES:
            std, at = (_curve(t, IMP, pre, m, d, "figure_3") for pre in (STD, AT))
            levels = [s for s in at if s in std]
            gain = stack([at[s] - std[s] for s in levels])
            if m[1] == "standard":
                out.append(above(f"gain in {m[0]} at {levels[-1]:g} %, {d}", gain[-1], measure="accuracy"))
                half = gain[-1] - gain[0] / 2
                out.append(above(f"gain in {m[0]} at {levels[-1]:g} % minus half the dense gain, {d}", half, strict=False))
                continue
            late = [i for i, s in enumerate(levels) if s > 95.6]
            inner = [i for i in range(1, len(levels)) if i not in late]
            if not late or not inner:
                raise MissingResult(f"the gain needs sparsities on both sides of 95.60 % on {d}; run Figure 3.")
            peak = gain[inner].max(axis=0)
            best = (len(inner), 1)  # the peak is chosen after the fact
            out.append(above(f"gain in {m[0]}, inner peak minus dense, {d}", peak - gain[0], measure="accuracy", choices=best))
            for i in late:
                words = f"gain in {m[0]}, inner peak minus that at {levels[i]:g} %, {d}"
                out.append(above(words, peak - gain[i], measure="accuracy", choices=best))
    return out


def dw_fat_vs_std(t: Table) -> list[Condition]:
    """CIFAR-100: fast adversarial above standard pre-training at every sparsity after adversarial training; after
    standard training within one point or one standard deviation of the dense network up to 95.60 %. Five seeds that spread by more than
    that can show that two networks differ, not that they are alike."""
    out = []
    for m in MEASURES:
        std, fat = (_curve(t, IMP, pre, m, "CIFAR-100", "figure_3") for pre in (STD, FAT))
        bound = max(t.margin, _dense_noise(t, IMP, STD, m, "CIFAR-100", "figure_3"))
        for s in (s for s in fat if s in std):
            name = f"{m[0]} at {s:g} %, fast adversarial minus standard"
            if m[1] == "adversarial":
                out.append(above(name, fat[s] - std[s], measure="accuracy"))
            elif s <= 95.6:
                out += within(name, fat[s] - std[s], bound)
    return out


def dw_retraining_regime_idle(t: Table) -> list[Condition]:
    """IMP with standard and with adversarial re-training: mean difference over the grid within one standard deviation of the dense network
    or, where that is more, the margin; extreme sparsities at most one step of the grid apart. The printed text has only the latter. The
    mean is of signed differences: that of absolute ones grows with noise between networks that are alike."""
    printed = t.has(EXTREME, exhibit="section_4_2", variant=ANY)
    out = []
    for d in _datasets(t, "section_4_2" if printed else "figure_4", EXTREME if printed else SA):
        first, second = _steps(t, [(s, AT) for s in (IMP, IMP_AT)], d, "section_4_2", "figure_4")
        out.append(below(f"steps of the grid between the extreme sparsities, {d}", np.abs(first - second), 1.0, strict=False))
        if not printed:
            for m in MEASURES:
                a, b = (_curve(t, s, AT, m, d, "figure_4") for s in (IMP, IMP_AT))
                apart = stack([a[s] - b[s] for s in a if s in b and s > 0]).mean(axis=0)  # at 0 % both are one network
                bound = max(t.margin, _dense_noise(t, IMP, AT, m, d, "figure_4"))
                out += within(f"{m[0]}, mean difference of both re-trainings, {d}", apart, bound)
    return out


def dw_imp_beats_omp_rp(t: Table) -> list[Condition]:
    """Extreme sparsity: both IMP variants >= one-shot > random pruning, on each data set, in steps of the grid. Where two are equal, five
    seeds seldom show it: a step more or less is luck."""
    printed = t.has(EXTREME, exhibit="section_4_2", variant=ANY)
    out = []
    for d in _datasets(t, "section_4_2" if printed else "figure_4", EXTREME if printed else SA):
        *both, one_shot, random = _steps(t, [(s, AT) for s in (IMP, IMP_AT, OMP, RP)], d, "section_4_2", "figure_4")
        for s, found in zip((IMP, IMP_AT), both, strict=True):
            out.append(above(f"steps of extreme sparsity, {s} minus one-shot, {d}", found - one_shot, strict=False))
        out.append(above(f"steps of extreme sparsity, one-shot minus random, {d}", one_shot - random))
    return out


def dw_robust_pretraining_data_efficient(t: Table) -> list[Condition]:
    """Grid means of SA and RA after adversarial training above those of standard pre-training, for every data set and
    fraction."""
    return [
        above(
            f"grid mean of {m[0]} with “{fraction}” of the data, {pre} minus standard, {d}",
            _grid_mean(_curve(t, IMP, pre, m, d, "figure_5", fraction)) - _grid_mean(_curve(t, IMP, STD, m, d, "figure_5", fraction)),
            measure="accuracy",
        )
        for d in _datasets(t, "figure_5")
        for fraction in ("100%", *LIMITED)
        for m in MEASURES[1:]
        for pre in (FAT, AT)
    ]


def dw_svhn_collapse(t: Table) -> list[Condition]:
    """SVHN: gain over standard pre-training above the margin at every sparsity before 83.22 % (10 % of the data) and 97.19 % (1 %), within
    it from there on. The margin stands in for one standard deviation, our reading of the paper's "level": few seeds hardly tell it, and it
    grows with noise. The paper names the two sparsities "respectively", of which it may also mean the two pre-trainings."""
    out = []
    for fraction, start in zip(LIMITED, (83.22, 97.19), strict=True):
        for pre in (FAT, AT):
            for m in MEASURES[1:]:
                std, robust = (_curve(t, IMP, p, m, "SVHN", "figure_5", fraction) for p in (STD, pre))
                gain = {s: robust[s] - std[s] for s in robust if s in std}
                if not min(gain) < start <= max(gain):
                    raise MissingResult(f"SVHN needs sparsities on both sides of {start} %; run Figure 5.")
                for s, v in gain.items():
                    name = f"{m[0]} at {s:g} % with “{fraction}” of the data, {pre} minus standard"
                    out += [above(name, v, t.margin)] if s < start else within(name, v, t.margin)
    return out


def dw_sparse_beats_dense_limited_data(t: Table) -> list[Condition]:
    """Greatest gain of sparse over dense above 0 after both robust pre-trainings and greater after the adversarial
    one, SA and RA."""
    out = []
    for m in MEASURES[1:]:
        metric = f"{m[2]}_gain_max"
        gains, tried = {}, {FAT: 1, AT: 1}
        for pre in (FAT, AT):
            variant = {
                "pre_training": pre, "data_fraction": "10% or 1%", "reference": "dense network of the same pre-training"
            }  # fmt: skip
            if t.has(metric, exhibit="section_5", variant=variant):
                gains[pre] = t.get(IMP, ANY, metric, exhibit="section_5", variant=variant)
                continue
            found = []
            for d in _datasets(t, "figure_5"):
                for fraction in LIMITED:
                    curve = _curve(t, IMP, pre, m, d, "figure_5", fraction)
                    if 0 not in curve:
                        raise MissingResult(f"the dense network is missing on {d}; run Figure 5 with sparsity 0.")
                    found += [v - curve[0] for s, v in curve.items() if s > 0]
            gains[pre], tried[pre] = stack(found).max(axis=0), len(found)
        for p in (FAT, AT):
            out.append(above(f"greatest gain in {m[0]} over dense, {p}", gains[p], measure="accuracy", choices=(tried[p], 1)))
        name = f"greatest gain in {m[0]}, adversarial minus fast adversarial"
        out.append(above(name, gains[AT] - gains[FAT], measure="accuracy", choices=(tried[AT], tried[FAT])))
    return out


def dw_fat_mid_at_high(t: Table) -> list[Condition]:
    """With 10 % and 1 % of the data: fast adversarial ahead somewhere between 50 and 80 %, adversarial ahead at the
    greatest sparsity, of which only the last is looked at. Crossings between are not counted: noise alone makes some."""
    out = []
    for d in _datasets(t, "figure_5"):
        for fraction in LIMITED:
            for m in MEASURES[1:]:
                fat, at = (_curve(t, IMP, pre, m, d, "figure_5", fraction) for pre in (FAT, AT))
                middle = [s for s in fat if s in at and 50 <= s <= 80]
                if not middle:
                    raise MissingResult(f"{d} needs a sparsity between 50 and 80 %; run Figure 5.")
                last = max(s for s in fat if s in at)
                name = f"{m[0]} with “{fraction}” of the data, {d}"
                lead = stack([fat[s] - at[s] for s in middle]).max(axis=0)
                best = f"{name}, fast adversarial minus adversarial, best middle sparsity"
                out.append(above(best, lead, measure="accuracy", choices=(len(middle), 1)))
                name = f"{name}, adversarial minus fast adversarial at {last:g} %"
                out.append(above(name, at[last] - fat[last], measure="accuracy"))
    return out


def dw_fat_margin_7379(t: Table) -> list[Condition]:
    """SA of fast adversarial minus adversarial tickets at 73.79 % on CIFAR-10 above 0, with 10 % and with 1 % of the
    data."""
    out = []
    for fraction in LIMITED:
        variant = {"pre_training": FAT, "data_fraction": fraction, "reference": "adversarial pre-training"}
        where = {"exhibit": "section_5", "dataset": "CIFAR-10", "variant": variant}
        if t.has("standard_accuracy_gain_max", sparsity=73.79, **where):
            lead = t.get(IMP, 73.79, "standard_accuracy_gain_max", **where)
        else:
            fat, at = (_curve(t, IMP, pre, MEASURES[1], "CIFAR-10", "figure_5", fraction) for pre in (FAT, AT))
            if 73.79 not in fat or 73.79 not in at:
                raise MissingResult("73.79 % is missing on CIFAR-10; run Figure 5 with six rounds of pruning.")
            lead = fat[73.79] - at[73.79]
        name = f"SA (AT) at 73.79 % with “{fraction}” of the data, fast adversarial minus adversarial"
        out.append(above(name, lead, measure="accuracy"))
    return out


def dw_fat_landscape_flatter(t: Table) -> list[Condition]:
    """Area of the slice below the loss level greatest for fast adversarial pre-training with limited data, on clean images and on images
    attacked anew at every point: those attacked once, at the final weights, are not attacks on the networks around. Where neither of two
    networks gets below the level in any seed, there are no areas to compare."""
    out = []
    for exhibit, words, area in (("figure_6", "clean", "basin_area"), ("figure_a9", "attacked", "basin_area_recomputed")):
        for fraction in LIMITED:
            cells = {
                pre: t.cell(IMP, ANY, area, exhibit=exhibit, variant={"pre_training": pre, "data_fraction": fraction})
                for pre in PRE_TRAININGS
            }
            for other in (STD, AT):
                if t.original(cells[FAT]) == t.original(cells[other]) == 0:
                    t.left_out.append(f"no point of the slices of {FAT} and {other} is below the level, {words} data, “{fraction}”")
                    continue
                lead = t.at(cells[FAT]) - t.at(cells[other])
                out.append(above(f"basin area, {words} data, “{fraction}”, fast adversarial minus {other}", lead))
    if not out:
        raise NotTestable("no network gets below the loss level of the basin, and the claim compares areas below it; train them longer.")
    return out


def dw_mask_similarity_below_20(t: Table) -> list[Condition]:
    """Intersection over union of each pair below 0.20 at 73.79 %, and falling with sparsity, as it also does for random masks."""
    out = []
    for pair in MASK_PAIRS:
        levels = t.sparsities("mask_iou", exhibit="figure_a8", setting=pair)
        if 73.79 not in levels or len(levels) < 3:
            raise MissingResult(f"mask_iou of {pair} needs 73.79 % and two more sparsities; run Figure A8.")
        values = {s: t.get(pair, s, "mask_iou", exhibit="figure_a8") for s in levels}
        curve = stack([values[s] for s in levels])
        out.append(below(f"intersection over union at 73.79 %, {pair}", values[73.79], 0.20))
        trend = rank_correlation(stack([np.full(curve.shape[1], s) for s in levels]), curve)
        out.append(below(f"rank correlation of sparsity with intersection over union, {pair}", trend, measure="correlation"))
    return out


def dw_zero_kernels(t: Table) -> list[Condition]:
    """Zero kernels at 97.19 %: standard > adversarial > fast adversarial; mean block index lower for adversarial than
    for fast."""

    def value(metric: str, pre: str) -> np.ndarray:
        return t.get(IMP, 97.19, metric, exhibit="figure_7", variant={"pre_training": pre})

    count = {pre: value("zero_kernels", pre) for pre in PRE_TRAININGS}
    place = value("zero_kernel_block_index", FAT) - value("zero_kernel_block_index", AT)
    return [
        above("zero kernels, standard minus adversarial", count[STD] - count[AT]),
        above("zero kernels, adversarial minus fast adversarial", count[AT] - count[FAT]),
        above("mean block of zero kernels, fast adversarial minus adversarial", place),
    ]


def dw_transfer_attack(t: Table) -> list[Condition]:
    """Each sparse network of Table A2 above the dense one, under the transfer attack and under the attack on itself."""
    common = {"pre_training": AT, "downstream_training": "PGD-10"}
    attacks = (
        ("transfer_attack_accuracy", "transfer from unseen robust model"),
        ("robust_accuracy", "PGD-20"),
    )
    out = []
    for metric, attack in attacks:
        place = {"exhibit": "table_a2", "variant": {**common, "attack": attack}}
        levels = t.sparsities(metric, setting=IMP, **place)
        if not levels:
            raise MissingResult(f"{metric} of sparse networks is missing in table_a2; run Table A2.")
        dense = t.get("Dense", 0, metric, **place)
        for s in levels:
            name = f"{metric.replace('_', ' ')} at {s:g} % minus dense"
            out.append(above(name, t.get(IMP, s, metric, **place) - dense, measure="accuracy"))
    return out


def dw_other_tasks(t: Table) -> list[Condition]:
    """Grid mean of the task's measure higher after adversarial and after fast adversarial than after standard pre-training, on every
    further data set."""
    out = []
    for d in _datasets(t, "figure_a10", "task_measure"):
        mean = {}
        for pre in PRE_TRAININGS:
            cells = t.find("task_measure", exhibit="figure_a10", setting=IMP, dataset=d, variant={"pre_training": pre})
            if not cells:
                raise MissingResult(f"task_measure after {pre} pre-training is missing on {d}; run Figure A10.")
            mean[pre] = stack([t.at(c) for c in cells]).mean(axis=0)
        for pre in (FAT, AT):
            out.append(above(f"grid mean on {d}, {pre} minus standard pre-training", mean[pre] - mean[STD], measure="accuracy"))
    return out
