"""Claims of "Sparsity Winning Twice" (ICLR 2022) as conditions on its tables. RA, SA: robust, standard accuracy; RGG:
robust generalization gap at the final checkpoint; drop: best minus final robust accuracy.

Rows that the paper shows only in figures use these words:

- figure_4: settings "Baseline", "Flying Bird+" with variant regularizer=<name>.
- figure_a7: settings "SGD tickets", "Fast AT tickets", "PGD-10 tickets"; standard_accuracy_search_mean (mean over
  search epochs).
- figure_a8: settings "SGD/PGD-10", "SGD/Fast AT", "PGD-10/Fast AT"; mask_similarity (mean over equal epochs).
- table_4, else figure_a10: setting "Flying Bird+" with variant sparse_initialization=<name>; top_layer_density.
- figure_5, figure_a9: adversarial_loss_rise, loss_rise (mean over the radius). figure_6: attention_entropy.
- figure_a11: prune_ratio_raises, growth_ratio_raises (counts), sparsity_range (percent points over training).
- table_2, table_3: mask_settled_share, the share of the full schedule after which all of the last mask distances lie
  below tau (1: never); mask_settled_earliest, the share after which they could first.
"""

from __future__ import annotations

import numpy as np

from replib.claims.conditions import Condition, above, below, kth_smallest, rank_correlation, stack, within
from replib.claims.table import ANY, MissingResult, NotTestable, Table, refuse_collapsed

STATIC_PRUNING = ("OMP", "SNIP", "GraSP", "SynFlow", "IGQ", "Robust Bird")
STATIC = ("Small Dense", "Random Pruning", *STATIC_PRUNING)
FLYING = ("Flying Bird", "Flying Bird+")
PROPOSED = ("Robust Bird", *FLYING)
SEARCHES = ("SGD tickets", "Fast AT tickets", "PGD-10 tickets")
MASK_PAIRS = ("SGD/PGD-10", "SGD/Fast AT", "PGD-10/Fast AT")
SETTINGS = ("Baseline", *STATIC, *FLYING, *SEARCHES, *MASK_PAIRS, "Fast AT")
INITIALIZATIONS = ("Uniform", "ERK", "SNIP", "GraSP", "SynFlow", "IGQ")
INTERVALS = (100, 500, 1000, 2000, 5000, 10000)

LEVELS = (80, 90)
EARLY = 0.25
RGG, DROP = "robust_generalization_gap", "robust_accuracy_diff"
RA, RA_FINAL, SA, SA_FINAL = (
    "robust_accuracy_best",
    "robust_accuracy_final",
    "standard_accuracy_best",
    "standard_accuracy_final",
)
ACCURACIES = (RA, RA_FINAL, SA, SA_FINAL)
TRAINING, INFERENCE = "training_flops_e17", "inference_flops_e9"
TABLE_1 = {"exhibit": "table_1", "dataset": "CIFAR-10", "architecture": "ResNet-18"}
TABLES_2_3 = ("table_2", "table_3")
SHORT = {
    RGG: "gap",
    DROP: "drop of robust accuracy",
    RA: "best RA",
    RA_FINAL: "final RA",
    SA: "best SA",
    SA_FINAL: "final SA",
    TRAINING: "training FLOPs",
    INFERENCE: "inference FLOPs",
}


def _measure(metric: str) -> str:
    return "gap" if metric == RGG else "" if metric in (TRAINING, INFERENCE) else "accuracy"


def _counted(t: Table, *metrics: str) -> tuple[str, ...]:
    """The FLOPs that a claim may be judged by: those of the papers' networks, not of smaller relatives, whose layers have other shares."""
    return () if t.scope in ("stand-in", "same data reduced") else metrics or (TRAINING, INFERENCE)


def _places(t: Table, metric: str, exhibits: tuple[str, ...] = TABLES_2_3) -> list[dict[str, str]]:
    """The (exhibit, dataset, architecture) of each dense row of the exhibits, a data set with its network only once."""
    seen: dict[tuple[str, str], dict[str, str]] = {}
    for exhibit in exhibits:
        for cell in t.find(metric, exhibit=exhibit, setting="Baseline", variant=ANY):
            place = {"exhibit": exhibit, "dataset": cell.dataset, "architecture": cell.architecture}
            seen.setdefault((cell.dataset, cell.architecture), place)
    if not seen:
        raise MissingResult(f"{metric} of Baseline is missing in {' and '.join(exhibits)}; run those exhibits.")
    return list(seen.values())


def _where(place: dict[str, str]) -> str:
    return f"{place['dataset']} {place['architecture']}"


def swt_dense_overfits(t: Table) -> list[Condition]:
    """Dense gap and dense drop, each above two standard deviations over seeds."""
    out = []
    for metric in (RGG, DROP):
        cell = t.cell("Baseline", 0, metric, **TABLE_1)
        out.append(above(f"dense {SHORT[metric]}", t.at(cell), 2 * t.spread(cell), measure=_measure(metric)))
    return out


def swt_gap_shrinks_with_sparsity(t: Table) -> list[Condition]:
    """Rank correlation of sparsity with gap and with drop below 0, both lower at the greatest sparsity than dense.

    Reads Figure 1 where it has been run; the printed counterpart are the rows of Flying Bird+ in Tables 1, A9 and A13.
    """
    exhibits = ("figure_1",) if t.has(RGG, exhibit="figure_1") else ("table_1", "table_a9", "table_a13")
    out = []
    for metric in (RGG, DROP):
        cells = {}
        for exhibit in exhibits:
            for setting in ("Baseline", "Flying Bird+"):
                place = {"exhibit": exhibit, "dataset": "CIFAR-10", "architecture": "ResNet-18", "setting": setting}
                for cell in t.find(metric, **place):
                    cells.setdefault(cell.sparsity, cell)
        if 0 not in cells or len(cells) < 3:
            raise MissingResult("the gap over sparsity needs the dense row and two sparsities; run Figure 1.")
        levels = sorted(cells)
        values = stack([t.at(cells[level]) for level in levels])
        trend = rank_correlation(stack([np.full(values.shape[1], float(level)) for level in levels]), values)
        out.append(below(f"rank correlation of sparsity with {SHORT[metric]}", trend, measure="correlation"))
        out.append(below(f"{SHORT[metric]} at {levels[-1]:g} % minus dense", values[-1] - values[0], measure=_measure(metric)))
    return out


def swt_flops_savings_range(t: Table) -> list[Condition]:
    """1 - FLOPs(Flying Bird+)/FLOPs(dense) at least 0.80, training and inference, on every pair of Tables 2 and 3."""
    return [
        above(
            f"saving of {SHORT[metric]} by Flying Bird+ on {_where(place)}",
            1 - t.get("Flying Bird+", 80, metric, **place) / t.get("Baseline", 0, metric, **place),
            0.80,
            strict=False,
        )
        for place in _places(t, TRAINING)
        for metric in (TRAINING, INFERENCE)
    ]


def swt_accuracy_not_lost(t: Table) -> list[Condition]:
    """The greatest sparse-minus-dense difference in best RA and in best SA above 0, and best RA of Flying Bird+ above
    dense."""
    places = _places(t, RA)
    out = [
        above(
            f"greatest gain in {SHORT[metric]}",
            stack([t.get(m, 80, metric, **p) - t.get("Baseline", 0, metric, **p) for p in places for m in PROPOSED]).max(axis=0),
            measure="accuracy",
            choices=(len(places) * len(PROPOSED), 1),
        )
        for metric in (RA, SA)
    ]
    gain = t.get("Flying Bird+", 80, RA, **_first(places)) - t.get("Baseline", 0, RA, **_first(places))
    return [*out, above("best RA of Flying Bird+ at 80 % minus dense, CIFAR-10 ResNet-18", gain, measure="accuracy")]


def _first(places: list[dict[str, str]]) -> dict[str, str]:
    for place in places:
        if place["dataset"] == "CIFAR-10" and place["architecture"] == "ResNet-18":
            return place
    raise MissingResult("CIFAR-10 with ResNet-18 is missing in Tables 2 and 3; run Table 2 with all its rows.")


def swt_gap_reduction_by_dataset(t: Table) -> list[Condition]:
    """Each of the three methods has a smaller gap than dense on each pair; Flying Bird+ also a smaller drop where its
    gap shrinks most."""
    places = _places(t, RGG)
    out = [
        above(
            f"gap, dense minus {method} at 80 %, {_where(p)}",
            t.get("Baseline", 0, RGG, **p) - t.get(method, 80, RGG, **p),
            measure="gap",
        )
        for p in places
        for method in PROPOSED
    ]
    cuts = stack([t.get("Baseline", 0, RGG, **p) - t.get("Flying Bird+", 80, RGG, **p) for p in places])
    drops = stack([t.get("Baseline", 0, DROP, **p) - t.get("Flying Bird+", 80, DROP, **p) for p in places])
    eased = np.take_along_axis(drops, cuts.argmax(axis=0)[None], axis=0)[0]
    return [*out, above("drop, dense minus Flying Bird+, where its gap shrinks most", eased, measure="accuracy")]


def swt_rb_gap_80_90(t: Table) -> list[Condition]:
    """Robust Bird cuts the gap at both sparsities, more at the higher, and has a smaller drop than dense at both."""
    cut = {s: t.get("Baseline", 0, RGG, **TABLE_1) - t.get("Robust Bird", s, RGG, **TABLE_1) for s in LEVELS}
    eased = {s: t.get("Baseline", 0, DROP, **TABLE_1) - t.get("Robust Bird", s, DROP, **TABLE_1) for s in LEVELS}
    return [
        *(above(f"gap, dense minus Robust Bird at {s} %", cut[s], measure="gap") for s in LEVELS),
        above("gap reduction of Robust Bird, 90 % minus 80 %", cut[90] - cut[80], measure="gap"),
        *(above(f"drop, dense minus Robust Bird at {s} %", eased[s], measure="accuracy") for s in LEVELS),
    ]


def swt_small_dense_rp_worst(t: Table) -> list[Condition]:
    """Small Dense and Random Pruning each below each of the other static methods, best and final RA."""
    return [
        above(
            f"{SHORT[metric]} at {s} %: {other} minus {m}",
            t.get(other, s, metric, **TABLE_1) - t.get(m, s, metric, **TABLE_1),
            measure="accuracy",
        )
        for s in LEVELS
        for metric in (RA, RA_FINAL)
        for other in STATIC_PRUNING
        for m in ("Small Dense", "Random Pruning")
    ]


def swt_rb_beats_omp(t: Table) -> list[Condition]:
    """Robust Bird no worse than OMP in every measure of the table, at equal sparsity; FLOPs only of the paper's own network, for a smaller
    one has other shares of its cost in other layers."""
    out = []
    for s in LEVELS:
        for metric in (*ACCURACIES, RGG, DROP, *_counted(t)):
            difference = t.get("Robust Bird", s, metric, **TABLE_1) - t.get("OMP", s, metric, **TABLE_1)
            better = above if metric in ACCURACIES else below
            name = f"{SHORT[metric]} at {s} %, Robust Bird minus OMP"
            out.append(better(name, difference, measure=_measure(metric), strict=False))
    return out


def swt_rb_flops_vs_omp(t: Table) -> list[Condition]:
    """Saving of training FLOPs against OMP at least 0.75 at 80 %, and greater at 90 %."""
    saving = {s: 1 - t.get("Robust Bird", s, TRAINING, **TABLE_1) / t.get("OMP", s, TRAINING, **TABLE_1) for s in LEVELS}
    return [
        above("saving of training FLOPs against OMP at 80 %", saving[80], 0.75, strict=False),
        above("saving at 90 % minus saving at 80 %", saving[90] - saving[80]),
    ]


def swt_synflow_igq_best_static(t: Table) -> list[Condition]:
    """The better of SynFlow and IGQ above each other static method, in RA and SA of both checkpoints.

    The statement does not name a checkpoint, so both are read.
    """
    return [
        above(
            f"{SHORT[metric]} at {s} %: better of SynFlow and IGQ minus {other}",
            stack([t.get(m, s, metric, **TABLE_1) for m in ("SynFlow", "IGQ")]).max(axis=0) - t.get(other, s, metric, **TABLE_1),
            measure="accuracy",
            choices=(2, 1),
        )
        for s in LEVELS
        for metric in ACCURACIES
        for other in STATIC
        if other not in ("SynFlow", "IGQ")
    ]


def swt_rb_best_static_gap(t: Table) -> list[Condition]:
    """Robust Bird has a smaller gap than each other static pruning method (Small Dense and Random Pruning are left
    out)."""
    return [
        above(
            f"gap at {s} %, {m} minus Robust Bird",
            t.get(m, s, RGG, **TABLE_1) - t.get("Robust Bird", s, RGG, **TABLE_1),
            measure="gap",
        )
        for s in LEVELS
        for m in STATIC_PRUNING
        if m != "Robust Bird"
    ]


def swt_sgd_tickets_best(t: Table) -> list[Condition]:
    """SGD tickets: best RA no lower and gap no higher than the two other searches, at every sparsity of Table A6."""
    refuse_collapsed(t, exhibit="table_a6", setting="Fast AT tickets")
    place = {"exhibit": "table_a6", "dataset": "CIFAR-100", "architecture": "ResNet-18"}
    out = []
    for s in (90, 95):
        for other in SEARCHES[1:]:
            for metric, better in ((RA, above), (RGG, below)):
                difference = t.get("SGD tickets", s, metric, **place) - t.get(other, s, metric, **place)
                name = f"{SHORT[metric]} at {s} %, SGD tickets minus {other}"
                out.append(better(name, difference, measure=_measure(metric), strict=False))
    return out


def swt_sgd_learns_fastest(t: Table) -> list[Condition]:
    """Mean standard accuracy over the search epochs greatest under SGD."""
    refuse_collapsed(t, exhibit="figure_a7", setting="Fast AT tickets")
    metric = "standard_accuracy_search_mean"
    sgd = t.get("SGD tickets", ANY, metric, exhibit="figure_a7")
    return [
        above(
            f"mean SA during search, SGD minus {m}",
            sgd - t.get(m, ANY, metric, exhibit="figure_a7"),
            measure="accuracy",
        )
        for m in SEARCHES[1:]
    ]


def swt_masks_sgd_pgd_similar(t: Table) -> list[Condition]:
    """Similarity of SGD and PGD-10 masks above both similarities with Fast AT masks, at every sparsity that was run.

    Where Fast AT collapsed, its masks are no longer those of adversarial training, and the claim is not judged.
    """
    refuse_collapsed(t, exhibit="figure_a8", setting="Fast AT")
    out = []
    levels = t.sparsities("mask_similarity", exhibit="figure_a8", setting=MASK_PAIRS[0]) or [None]
    for s in levels:
        pair = t.get(MASK_PAIRS[0], s, "mask_similarity", exhibit="figure_a8")
        for other in MASK_PAIRS[1:]:
            level = "" if s is None else f" at {s:g} %"
            difference = pair - t.get(other, s, "mask_similarity", exhibit="figure_a8")
            out.append(above(f"mask similarity{level}, SGD/PGD-10 minus {other}", difference))
    return out


def swt_masks_settle_early(t: Table) -> list[Condition]:
    """The masks settle after at most a quarter of the full schedule (our reading of "a small part"), on every data
    set. Where a search could not have ended so early, because its queue takes six epochs to fill, nothing is judged."""
    out = []
    found = [c for name in TABLES_2_3 for c in t.find("mask_settled_share", exhibit=name, setting="Robust Bird", sparsity=80)]
    if not found:
        raise MissingResult("mask_settled_share is missing in Tables 2 and 3; run those exhibits.")
    for exhibit, d, a in dict.fromkeys((c.exhibit, c.dataset, c.architecture) for c in found):
        place = {"exhibit": exhibit, "dataset": d, "architecture": a}
        if any(t.original(c) > EARLY for c in t.find("mask_settled_earliest", setting="Robust Bird", sparsity=80, **place)):
            raise NotTestable(f"On {d} with {a} the search's queue takes more than a quarter of so short a schedule to fill.")
        share = t.get("Robust Bird", 80, "mask_settled_share", **place)
        out.append(below(f"share of the schedule until the mask settles, {d} {a}", share, EARLY, strict=False))
    return out


def swt_fb_gap_range(t: Table) -> list[Condition]:
    """Flying Bird and Flying Bird+ have a smaller gap and a smaller drop than dense at both sparsities."""
    return [
        above(
            f"{SHORT[metric]}, dense minus {m} at {s} %",
            t.get("Baseline", 0, metric, **TABLE_1) - t.get(m, s, metric, **TABLE_1),
            measure=_measure(metric),
        )
        for s in LEVELS
        for m in FLYING
        for metric in (RGG, DROP)
    ]


def swt_small_dense_tradeoff(t: Table) -> list[Condition]:
    """Small Dense has the least gap of all settings and lower best RA than dense and than Flying Bird+."""
    out = []
    for s in LEVELS:
        small = t.get("Small Dense", s, RGG, **TABLE_1)
        for other, level in [("Baseline", 0), *((m, s) for m in (*STATIC[1:], *FLYING))]:
            gap = t.get(other, level, RGG, **TABLE_1)
            out.append(above(f"gap at {s} %, {other} minus Small Dense", gap - small, measure="gap"))
        robust = t.get("Small Dense", s, RA, **TABLE_1)
        dense, fbp = t.get("Baseline", 0, RA, **TABLE_1), t.get("Flying Bird+", s, RA, **TABLE_1)
        out.append(above(f"best RA, dense minus Small Dense of {s} %", dense - robust, measure="accuracy"))
        out.append(above(f"best RA at {s} %, Flying Bird+ minus Small Dense", fbp - robust, measure="accuracy"))
    return out


def swt_fb_top_robust_accuracy(t: Table) -> list[Condition]:
    """Flying Bird and Flying Bird+ each above each static method in best and in final RA. Sparsities are those at which Flying Bird+
    starts: it ends sparser."""
    return [
        above(
            f"{SHORT[metric]} at {s} %, {m} minus {other}",
            t.get(m, s, metric, **TABLE_1) - t.get(other, s, metric, **TABLE_1),
            measure="accuracy",
        )
        for s in LEVELS
        for m in FLYING
        for metric in (RA, RA_FINAL)
        for other in STATIC
    ]


def swt_fbp_gap_rank(t: Table) -> list[Condition]:
    """Flying Bird+ among the two smallest gaps of eight methods: below the second smallest of the other seven. Sparsities are those at
    which it starts: it ends sparser."""
    others = (*STATIC_PRUNING, "Flying Bird")
    return [
        above(
            f"gap at {s} %, second smallest of the others minus Flying Bird+",
            kth_smallest([t.get(m, s, RGG, **TABLE_1) for m in others], 2) - t.get("Flying Bird+", s, RGG, **TABLE_1),
            measure="gap",
            choices=(2, len(others) - 1),  # partial conjunction: six of seven, and two of seven (Benjamini and Heller, 2008)
        )
        for s in LEVELS
    ]


def swt_fbp_cheapest(t: Table) -> list[Condition]:
    """Flying Bird+ has the least FLOPs of the eight methods and saves at least 0.84 against dense."""
    others = (*STATIC_PRUNING, "Flying Bird")
    out = []
    for s in LEVELS:
        for metric in (TRAINING, INFERENCE):
            mine = t.get("Flying Bird+", s, metric, **TABLE_1)
            saving = 1 - mine / t.get("Baseline", 0, metric, **TABLE_1)
            for m in others:
                out.append(above(f"{SHORT[metric]} at {s} %, {m} minus Flying Bird+", t.get(m, s, metric, **TABLE_1) - mine))
            out.append(above(f"saving of {SHORT[metric]} by Flying Bird+ at {s} %", saving, 0.84, strict=False))
    return out


def swt_improved_attacks(t: Table) -> list[Condition]:
    """Under each attack of Table A8: gap and drop below dense for all three, final RA of Flying Bird+ the greatest of
    four."""
    out = []
    for d, a in t.pairs(RGG, exhibit="table_a8", variant=ANY):
        for attack in ("Auto-Attack", "CW-Attack"):
            place = {"exhibit": "table_a8", "dataset": d, "architecture": a, "variant": {"attack": attack}}
            for m in PROPOSED:
                for metric in (RGG, DROP):
                    change = t.get("Baseline", 0, metric, **place) - t.get(m, 80, metric, **place)
                    name = f"{SHORT[metric]} under {attack}, dense minus {m}, {d}"
                    out.append(above(name, change, measure=_measure(metric)))
            for other, level in (("Baseline", 0), *((m, 80) for m in PROPOSED[:2])):
                lead = t.get("Flying Bird+", 80, RA_FINAL, **place) - t.get(other, level, RA_FINAL, **place)
                out.append(above(f"final RA under {attack}, Flying Bird+ minus {other}, {d}", lead, measure="accuracy"))
    return out


def swt_transfer_attacks(t: Table) -> list[Condition]:
    """Accuracy under attacks from the unseen model at most the margin below dense (both checkpoints); both transfer
    gaps below dense."""
    out = []
    for d, a in t.pairs(RGG, exhibit="table_a7", variant=ANY):
        place = {"exhibit": "table_a7", "dataset": d, "architecture": a}
        for m in PROPOSED:
            crafted = {**place, "variant": {"attack": "transfer from unseen model"}}
            for metric in (RA, RA_FINAL):
                change = t.get(m, 80, metric, **crafted) - t.get("Baseline", 0, metric, **crafted)
                name = f"{SHORT[metric]} under attacks from the unseen model, {m} minus dense, {d}"
                out.append(above(name, change, -t.margin, strict=False))
            for side in ("from", "on"):
                v = {**place, "variant": {"attack": f"transfer {side} unseen model"}}
                change = t.get("Baseline", 0, RGG, **v) - t.get(m, 80, RGG, **v)
                out.append(above(f"gap of transfer {side} the unseen model, dense minus {m}, {d}", change, measure="gap"))
    return out


def swt_adds_to_smoothening(t: Table) -> list[Condition]:
    """For every regularizer of Figure 4: best RA with Flying Bird+ above best RA of the regularizer alone. The dense network's weights are
    averaged from an earlier epoch on than Flying Bird+'s; a dense row with the later start is on the page, and not judged."""
    found = t.find(RA, exhibit="figure_4", setting="Baseline", variant=ANY)
    names = [dict(c.variant)["regularizer"] for c in found if dict(c.variant).get("regularizer", "none") != "none"]
    if not names:
        raise MissingResult("no regularizer is in figure_4; run Figure 4.")
    return [
        above(
            f"best RA with {name}, Flying Bird+ minus dense",
            t.get("Flying Bird+", ANY, RA, exhibit="figure_4", variant={"regularizer": name})
            - t.get("Baseline", 0, RA, exhibit="figure_4", variant={"regularizer": name}),
            measure="accuracy",
        )
        for name in names
    ]


def _initializations(t: Table) -> dict[str, np.ndarray]:
    place = {"exhibit": "table_4", "setting": "Flying Bird+"}
    names = [n for n in INITIALIZATIONS if t.has(RA, variant={"sparse_initialization": n}, **place)]
    if "SNIP" not in names or len(names) < 3:
        raise MissingResult("Table 4 needs SNIP and two more initializations; run Table 4.")
    return {n: t.get("Flying Bird+", ANY, RA, exhibit="table_4", variant={"sparse_initialization": n}) for n in names}


def _intervals(t: Table) -> dict[int, np.ndarray]:
    place = {"exhibit": "table_5", "setting": "Flying Bird+"}
    names = [n for n in INTERVALS if t.has(RA, variant={"update_frequency_iterations": n}, **place)]
    if 2000 not in names or len(names) < 3:
        raise MissingResult("Table 5 needs the interval of 2000 iterations and two more; run Table 5.")
    return {n: t.get("Flying Bird+", ANY, RA, exhibit="table_5", variant={"update_frequency_iterations": n}) for n in names}


def swt_init_more_sensitive(t: Table) -> list[Condition]:
    """Range of best RA over initializations minus range over update intervals above 0. A range grows with the number of its runs, and the
    intervals may be fewer, where a profile has too few steps for the shortest."""
    first, second = stack(list(_initializations(t).values())), stack(list(_intervals(t).values()))
    difference = np.ptp(first, axis=0) - np.ptp(second, axis=0)
    return [above("range of best RA, initializations minus update intervals", difference, measure="accuracy")]


def swt_snip_init_freq_2000_best(t: Table) -> list[Condition]:
    """Best RA greatest for SNIP among the initializations and for 2000 iterations among the intervals that could be
    run."""
    first, second = _initializations(t), _intervals(t)
    return [
        *(above(f"best RA, SNIP minus {k}", first["SNIP"] - v, measure="accuracy") for k, v in first.items() if k != "SNIP"),
        *(above(f"best RA, 2000 iterations minus {k}", second[2000] - v, measure="accuracy") for k, v in second.items() if k != 2000),
    ]


def swt_top_layers_dense(t: Table) -> list[Condition]:
    """Rank correlation over initializations of the density of the top layers with best RA above 0. Top layers are the last stage and the
    classifier, whose weights are counted together; the paper does not say how many it means, and another choice may turn the sign."""
    robust = _initializations(t)
    place = {"exhibit": ("table_4", "figure_a10")}  # the densities of the networks that were trained, where these are known
    top = [t.get("Flying Bird+", ANY, "top_layer_density", variant={"sparse_initialization": n}, **place) for n in robust]
    return [
        above(
            "rank correlation of top-layer density with best RA",
            rank_correlation(stack(top), stack(list(robust.values()))),
            measure="correlation",
        )
    ]


def swt_final_landscape_flatter(t: Table) -> list[Condition]:
    """Adversarial loss rises less around the end of Flying Bird and Flying Bird+ than around dense and random pruning at 90 %. Other static
    methods are on the page, and not judged."""
    place, metric = {"exhibit": "figure_5"}, "adversarial_loss_rise"
    return [
        above(
            f"rise of adversarial loss, {other} minus {m}",
            t.get(other, level, metric, **place) - t.get(m, 90, metric, **place),
        )
        for m in FLYING
        for other, level in (("Baseline", 0), ("Random Pruning", 90))
    ]


def swt_start_landscape_flatter(t: Table) -> list[Condition]:
    """Loss rises least around Robust Bird tickets of 30 % at the start of the second stage."""
    place, metric = {"exhibit": "figure_a9"}, "loss_rise"
    ticket = t.get("Robust Bird", 30, metric, **place)
    return [
        above(f"rise of the loss, {other} minus Robust Bird", t.get(other, level, metric, **place) - ticket)
        for other, level in (("Baseline", 0), ("Random Pruning", 30))
    ]


def swt_attention_focus(t: Table) -> list[Condition]:
    """Mean entropy of Grad-CAM maps on adversarial images lower for the three proposals than for dense. Saliency, and the share of
    attention on the object, are on the page, and not judged."""
    place, metric = {"exhibit": "figure_6"}, "attention_entropy"
    return [
        above(
            f"entropy of attention, dense minus {m}",
            t.get("Baseline", 0, metric, **place) - t.get(m, ANY, metric, **place),
        )
        for m in PROPOSED
    ]


def swt_fbp_capacity_moves(t: Table) -> list[Condition]:
    """Both ratios rise at least once (mean count over seeds) and sparsity is not constant, at both sparsities."""
    out = []
    for s in LEVELS:
        for metric in ("prune_ratio_raises", "growth_ratio_raises"):
            count = t.get("Flying Bird+", s, metric, exhibit="figure_a11")
            out.append(above(f"{metric.replace('_', ' ')} at {s} %", count, 1.0, strict=False))
        out.append(above(f"range of sparsity at {s} %", t.get("Flying Bird+", s, "sparsity_range", exhibit="figure_a11")))
    return out


def swt_40_60(t: Table) -> list[Condition]:
    """At 40 and 60 %: gap below dense, best RA and best SA at most the margin (one point) below dense.

    "Comparable" is read as no noticeable loss: a gain beyond it does not count against the claim.
    """
    exhibits = ("table_a13", "table_a14", "table_a15", "table_a16")
    out = []
    for place in _places(t, RGG, exhibits):
        rows = [
            (m, s) for m in FLYING for s in (40, 60) if t.has(RGG, setting=m, sparsity=s, **place)
        ]  # one row of Table A13 is not in the printed text
        if not rows:
            raise MissingResult(f"no Flying Bird rows at 40 or 60 % in {place['exhibit']}; run it with all its rows.")
        for m, s in rows:
            cut = t.get("Baseline", 0, RGG, **place) - t.get(m, s, RGG, **place)
            out.append(above(f"gap, dense minus {m} at {s} %, {_where(place)}", cut, measure="gap"))
            for metric in (RA, SA):
                change = t.get(m, s, metric, **place) - t.get("Baseline", 0, metric, **place)
                name = f"{SHORT[metric]}, {m} at {s} % minus dense, {_where(place)}"
                out.append(above(name, change, -t.margin, strict=False))
    return out


def swt_wideresnet(t: Table) -> list[Condition]:
    """On the wide network: gap below dense and best RA within the margin of dense, both sparsities, both Flying
    Birds."""
    out = []
    d, a = t.pairs(RGG, exhibit="table_a17")[0]
    place = {"exhibit": "table_a17", "dataset": d, "architecture": a}
    for s in LEVELS:
        for m in FLYING:
            cut = t.get("Baseline", 0, RGG, **place) - t.get(m, s, RGG, **place)
            change = t.get(m, s, RA, **place) - t.get("Baseline", 0, RA, **place)
            out.append(above(f"gap, dense minus {m} at {s} %", cut, measure="gap"))
            out += within(f"best RA, {m} at {s} % minus dense", change, t.margin)
    return out


def swt_fbp_vs_omp(t: Table) -> list[Condition]:
    """At 80 %, where Flying Bird+ starts and OMP stays: gap of Flying Bird+ below that of OMP, best RA above, and, with the paper's own
    network, training FLOPs below."""
    fbp, omp = ({m: t.get(name, 80, m, **TABLE_1) for m in (RGG, RA, TRAINING)} for name in ("Flying Bird+", "OMP"))
    return [
        above("gap at 80 %, OMP minus Flying Bird+", omp[RGG] - fbp[RGG], measure="gap"),
        above("best RA at 80 %, Flying Bird+ minus OMP", fbp[RA] - omp[RA], measure="accuracy"),
        *(above("training FLOPs at 80 %, OMP minus Flying Bird+", omp[f] - fbp[f]) for f in _counted(t, TRAINING)),
    ]
