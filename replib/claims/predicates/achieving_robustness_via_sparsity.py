"""Claims of "Achieving Adversarial Robustness via Sparsity" (2020) as conditions on its tables. Clean and
adversarial: the two accuracies; base: the dense network; IWI: inverse weights inheritance.

Rows that the printed text lacks use these words:

- table_1 with variant retraining=none: the pruned networks before retraining.
- table_2: settings "LUP-rand", "GUP-rand", "FP-rand", "NS-rand" (the inherited twins are the rows of table_1).
- figure_2, figure_3, figure_4: near_zero_share, mean_abs_weight (unpruned weights); the same settings as in the
  tables.
- table_3: setting "Few-shot Ticket" beside "Winning Ticket". table_4: training_flops_exact_e17 of "Baseline" and of
  "Inverse Weights Inheritance", the latter with ticket search and ticket training counted.
- theorem_2: log_norm_product (sum of logarithms of the layers' norms) and adversarial_accuracy, of dense networks
  that differ in their training (variant weight_decay).
"""

from __future__ import annotations

import numpy as np

from replib.claims.conditions import Condition, above, below, rank_correlation, stack
from replib.claims.table import ANY, LEARNED, Cell, MissingResult, NotTestable, Table

AUTOMATIC = ("LUP", "GUP", "NS")
METHODS = (*AUTOMATIC, "FP")
TWINS = tuple(f"{m}-rand" for m in METHODS)
TICKET, IWI, FEW = "Winning Ticket", "Inverse Weights Inheritance", "Few-shot Ticket"
SLIMMED = "Base for slimming"
SETTINGS = ("Baseline", SLIMMED, *METHODS, *TWINS, TICKET, IWI, FEW)
CLEAN, ADVERSARIAL = "clean_accuracy", "adversarial_accuracy"
BOTH = (CLEAN, ADVERSARIAL)
SHORT = {CLEAN: "clean accuracy", ADVERSARIAL: "adversarial accuracy"}
NEAR_ZERO = "near_zero_share"


def _place(exhibit: str, pair: tuple[str, str]) -> dict[str, str]:
    return {"exhibit": exhibit, "dataset": pair[0], "architecture": pair[1]}


def _rows(t: Table, metric: str, place: dict[str, str], settings: tuple[str, ...] = METHODS) -> list[Cell]:
    """The pruned networks of a place that exist at their ratio."""
    return [c for m in settings for c in t.find(metric, setting=m, **place) if _exists(t, c)]


def _made(t: Table, cell: Cell) -> bool:
    """False where slimming kept a channel beyond its ratio because a layer would be empty: the paper has no such cells."""
    beyond = cell._replace(metric="channels_beyond_ratio", variant=tuple(v for v in cell.variant if v[0] != "retraining"))
    return beyond not in t.sample.values or t.original(beyond) <= 0


def _exists(t: Table, cell: Cell) -> bool:
    """:func:`_made`, with a note where it is False: what compares cell by cell is then tested in part."""
    if _made(t, cell):
        return True
    words = f"a layer would be empty in {cell.setting} at {cell.sparsity:g} %, {cell.dataset} {cell.architecture}"
    t.left_out += [words] if words not in t.left_out else []
    return False


def _share(t: Table, name: str, cells: list[tuple[Cell, np.ndarray]], bound: float) -> Condition:
    """The share of networks that have a property is above `bound`, whatever those would have had that slimming could not make in every
    seed: they count against it where the others' share is above, for it where that is below, and alone decide nothing.
    """
    found = [has for cell, has in cells if _made(t, cell)]
    if not found:
        raise MissingResult(f"{name}: slimming could make none of the networks in every seed; run another method or a lower ratio.")
    made, n, missing = stack(found), len(cells), len(cells) - len(found)
    against, free = made.sum(axis=0) / n, made.mean(axis=0)
    value = np.where(free > bound, np.maximum(against, bound), np.minimum(against + missing / n, bound))
    words = f"{name} ({missing} of {n} could not be made in every seed)" if missing else name
    return above(words, value, bound)


def _sum(t: Table, cell: Cell) -> np.ndarray:
    return t.same_row(cell, CLEAN) + t.same_row(cell, ADVERSARIAL)


def _base(t: Table, place: dict[str, str], metric: str, method: str = "") -> np.ndarray:
    """The dense network; for slimming the one with its penalty, where it was kept apart."""
    penalised = method == "NS" and t.has(metric, setting=SLIMMED, **place)
    return t.get(SLIMMED if penalised else "Baseline", 0, metric, **place)


def _bases(t: Table, place: dict[str, str], metric: str) -> list[Cell]:
    """The dense networks of a place, one for each stopping rule that was tried; the printed tables keep the better one."""
    found = t.find(metric, setting="Baseline", sparsity=0, variant=ANY, **place)
    if not found:
        raise MissingResult(f"the base network is missing in {place['exhibit']}; run it with all its rows.")
    return found


def _stop(cell: Cell) -> str:
    return dict(cell.variant).get("base_stopping_criterion", "Stop-E")


def _at_most_half(t: Table, cell: Cell, place: dict[str, str]) -> bool:
    """Whether a network has at most half the parameters of its base; where these were not counted, whether half of what it prunes went."""
    size = cell._replace(metric="parameters")
    if size not in t.sample.values:
        return cell.sparsity >= 50
    return t.original(size) <= t.original(t.cell("Baseline", 0, "parameters", **place)) / 2


def iwi_small_matches_large(t: Table) -> list[Condition]:
    """Per architecture the best adversarial accuracy with at most half the weights is no lower than the base; of all
    cells more than a quarter lies above the base, however those would that slimming could not make in every seed."""
    out, higher = [], []
    for pair in t.pairs(ADVERSARIAL, exhibit="table_1", setting="Baseline"):
        place = _place("table_1", pair)
        cells = [c for m in METHODS for c in t.find(ADVERSARIAL, setting=m, **place)]
        small = [c for c in cells if _made(t, c) and _at_most_half(t, c, place)]
        if not small:
            raise MissingResult(f"no network with half the weights of {' '.join(pair)} in table_1; run a ratio of at least 50 %.")
        base = _base(t, place, ADVERSARIAL)
        higher += [(c, t.at(c) > base) for c in cells]
        lead = stack([t.at(c) for c in small]).max(axis=0) - base
        name = f"adversarial accuracy, best network with at most half the weights minus base, {' '.join(pair)}"
        out.append(above(name, lead, measure="accuracy", strict=False, choices=(len(small), 1)))
    return [*out, _share(t, "share of networks above their base", higher, 0.25)]


def iwi_retraining_helps(t: Table) -> list[Condition]:
    """The share of networks for which retraining raises both accuracies is above one half, whatever it would do for those that slimming
    could not make in every seed."""
    better = []
    for pair in t.pairs(ADVERSARIAL, exhibit="table_1", setting="Baseline"):
        place = _place("table_1", pair)
        for m in METHODS:
            for bare in t.find(ADVERSARIAL, setting=m, variant={"retraining": "none"}, **place):
                full = t.cell(m, bare.sparsity, ADVERSARIAL, **place)
                gains = [t.same_row(full, k) - t.same_row(bare, k) for k in BOTH]
                better.append((bare, stack(gains).min(axis=0) > 0))
    if not better:
        raise MissingResult("networks before retraining are missing in table_1; evaluate them (variant retraining=none).")
    return [_share(t, "share of networks that gain in both accuracies", better, 0.5)]


def iwi_gup_stable_fp_poor(t: Table) -> list[Condition]:
    """At the greatest ratio the sum of both accuracies is highest for GUP and lowest for FP, and GUP stays near its
    base.

    "Keeps high accuracy" is read as at most two declared margins (one per accuracy) below the base.
    """
    out = []
    for pair in t.pairs(ADVERSARIAL, exhibit="table_1", setting="Baseline"):
        place, where = _place("table_1", pair), " ".join(pair)
        cells = _rows(t, ADVERSARIAL, place)
        top = max((c.sparsity for c in cells), default=None)
        sums = {c.setting: _sum(t, c) for c in cells if c.sparsity == top}
        if "GUP" not in sums or len(sums) < 2:
            raise MissingResult(f"GUP and another method are needed at one ratio on {where}; run table_1.")
        name = f"clean plus adversarial accuracy at {top:g} %, {where}"
        order = dict.fromkeys([*(("GUP", m) for m in sums if m != "GUP"), *((m, "FP") for m in sums if "FP" in sums and m != "FP")])
        out += [above(f"{name}, {high} minus {low}", sums[high] - sums[low], measure="accuracy") for high, low in order]
        kept = sums["GUP"] - sum(_base(t, place, k) for k in BOTH)
        out.append(above(f"{name}, GUP minus base", kept, -2 * t.margin, strict=False))
    return out


def iwi_lup_ns_drop_late(t: Table) -> list[Condition]:
    """For LUP and NS the drop of both accuracies together is greatest at the greatest ratio that was run, and at the
    ratio before it neither accuracy has dropped by more than the declared margin (our reading of "noticeably") below the network that was
    pruned."""
    out = []
    for pair in t.pairs(ADVERSARIAL, exhibit="table_1", setting="Baseline"):
        place, where = _place("table_1", pair), " ".join(pair)
        for m in ("LUP", "NS"):
            if len(t.find(ADVERSARIAL, setting=m, **place)) < 2:
                raise MissingResult(f"{m} needs two ratios on {where}; run table_1.")
            cells = sorted(_rows(t, ADVERSARIAL, place, (m,)), key=lambda c: c.sparsity)
            if len(cells) < 2:  # slimming could not make the others
                continue
            sums = [_sum(t, c) for c in cells]
            name = f"clean plus adversarial accuracy of {m}"
            for c, lower in zip(cells[:-1], sums[:-1], strict=True):
                words = f"{name}, {c.sparsity:g} % minus {cells[-1].sparsity:g} %, {where}"
                out.append(above(words, lower - sums[-1], measure="accuracy"))
            middle = cells[-2]
            for k in BOTH:
                name = f"{SHORT[k]} of {m}, {middle.sparsity:g} % minus base, {where}"
                change = t.same_row(middle, k) - _base(t, place, k, m)
                out.append(above(name, change, -t.margin, strict=False))
    return out


def _twins(t: Table, methods: tuple[str, ...]) -> list[tuple[Cell, Cell]]:
    """(inherited, re-initialized) cells of one structure."""
    pairs = []
    for m in methods:
        for twin in t.find(ADVERSARIAL, exhibit="table_2", setting=f"{m}-rand"):
            place = _place("table_1", (twin.dataset, twin.architecture))
            if t.has(ADVERSARIAL, exhibit="table_2", setting=m, dataset=twin.dataset, architecture=twin.architecture):
                place["exhibit"] = "table_2"
            kept = t.cell(m, twin.sparsity, ADVERSARIAL, **place)
            pairs.append((kept, twin))
    if not pairs:
        raise MissingResult("re-initialized twins are missing in table_2; run Table 2.")
    return pairs


def iwi_inherit_helps_automatic(t: Table) -> list[Condition]:
    """The share of LUP, GUP and NS cells with more adversarial accuracy from inherited weights is above 0.8, whatever it would be in those
    that slimming could not make in every seed."""
    better = [(kept, t.at(kept) > t.at(fresh)) for kept, fresh in _twins(t, AUTOMATIC)]
    return [_share(t, "share of cells in which inherited weights win", better, 0.8)]


def iwi_inherit_idle_for_fp(t: Table) -> list[Condition]:
    """The mean advantage of FP over FP-rand is at most the margin, and at most two standard deviations over seeds."""
    twins = _twins(t, ("FP",))
    out = []
    for k in BOTH:
        gain = stack([t.same_row(kept, k) - t.same_row(fresh, k) for kept, fresh in twins]).mean(axis=0)
        noise = 2 * float(np.mean([t.spread(kept._replace(metric=k)) for kept, _ in twins]))
        bound = min(t.margin, noise) if noise > 0 else t.margin
        out.append(below(f"mean {SHORT[k]}, FP minus FP-rand", gain, bound, strict=False))
    return out


def iwi_inherited_sparser(t: Table) -> list[Condition]:
    """Share of near-zero weights (raw ones, below 0.001 in size): no lower for inherited LUP, GUP and NS than for their twins, lower for
    FP than for FP-rand."""
    out = []
    for m in METHODS:
        for kept in t.find(NEAR_ZERO, exhibit="figure_2", setting=m):
            place = _place("figure_2", (kept.dataset, kept.architecture))
            change = t.at(kept) - t.get(f"{m}-rand", kept.sparsity, NEAR_ZERO, **place)
            name = f"share of near-zero weights at {kept.sparsity:g} %, {m} minus {m}-rand"
            out.append(below(name, change) if m == "FP" else above(name, change, strict=False))
    if len({c.name.split(",")[1] for c in out}) < len(METHODS):
        raise MissingResult("Figure 2 needs LUP, GUP, NS and FP with their re-initialized twins; run Figure 2.")
    return out


def iwi_ticket_80(t: Table) -> list[Condition]:
    """Clean plus adversarial accuracy of the ticket at most the margin below the base, at every ratio up to 80 % on
    CIFAR-10."""
    out = []
    for pair in t.pairs(ADVERSARIAL, exhibit="table_3", setting="Baseline", dataset="CIFAR-10"):
        place = _place("table_3", pair)
        base = sum(_base(t, place, k) for k in BOTH)
        cells = [c for c in t.find(ADVERSARIAL, setting=TICKET, **place) if c.sparsity <= 80]
        if not any(c.sparsity == 80 for c in cells):
            raise MissingResult(f"the ticket at 80 % is missing in table_3 on {' '.join(pair)}; run Table 3.")
        for c in cells:
            name = f"clean plus adversarial accuracy at {c.sparsity:g} %, ticket minus base, {' '.join(pair)}"
            out.append(above(name, _sum(t, c) - base, -t.margin, strict=False))
    return out


def iwi_ticket_beats_gup(t: Table) -> list[Condition]:
    """At 90 % on CIFAR-10 the ticket has more adversarial accuracy than one-shot GUP, on each architecture of Table
    3."""
    return [
        above(
            f"adversarial accuracy at 90 %, ticket minus GUP, {' '.join(pair)}",
            t.get(TICKET, 90, ADVERSARIAL, **_place("table_3", pair)) - t.get("GUP", 90, ADVERSARIAL, **_place("table_1", pair)),
            measure="accuracy",
        )
        for pair in t.pairs(ADVERSARIAL, exhibit="table_3", setting="Baseline", dataset="CIFAR-10")
    ]


def iwi_ticket_sparser_than_gup(t: Table) -> list[Condition]:
    """Share of near-zero weights greater in the ticket than in the GUP network of the same ratio."""
    tickets = t.find(NEAR_ZERO, exhibit="figure_3", setting=TICKET)
    if not tickets:
        raise MissingResult("the ticket is missing in figure_3; run Figure 3.")
    return [
        above(
            f"share of near-zero weights at {c.sparsity:g} %, ticket minus GUP, {c.architecture}",
            t.at(c) - t.get("GUP", c.sparsity, NEAR_ZERO, **_place("figure_3", (c.dataset, c.architecture))),
        )
        for c in tickets
    ]


def iwi_iterative_vs_few_shot(t: Table) -> list[Condition]:
    """The few-shot ticket has no more adversarial accuracy than the iterative ticket of the same ratio."""
    few = t.find(ADVERSARIAL, exhibit="table_3", setting=FEW)
    if not few:
        raise MissingResult("few-shot tickets are missing in table_3; run them beside the iterative ones.")
    return [
        above(
            f"adversarial accuracy at {c.sparsity:g} %, iterative minus few-shot ticket, {c.dataset} {c.architecture}",
            t.get(TICKET, c.sparsity, ADVERSARIAL, **_place("table_3", (c.dataset, c.architecture))) - t.at(c),
            measure="accuracy",
            strict=False,
        )
        for c in few
    ]


def iwi_beats_ticket_and_base(t: Table) -> list[Condition]:
    """Each IWI network above its base, under either stopping rule, and above its ticket, in clean and in adversarial accuracy."""
    networks = t.find(ADVERSARIAL, exhibit="table_4", setting=IWI, variant=ANY)
    if not networks:
        raise MissingResult("inherited networks are missing in table_4; run Table 4.")
    out = []
    for c in networks:
        pair = (c.dataset, c.architecture)
        column = dict(c.variant).get("table_column") or dict(c.variant).get("stopping_criterion") or "all"
        bases = _bases(t, _place("table_4", pair), ADVERSARIAL)
        rivals = {f"base ({_stop(b)})" if len(bases) > 1 else "base": b for b in bases}
        rivals["ticket"] = t.cell(TICKET, c.sparsity, ADVERSARIAL, **_place("table_3", pair))
        for rival, other in rivals.items():
            for k in BOTH:
                name = f"{SHORT[k]}, IWI minus {rival} at {c.sparsity:g} %, {' '.join(pair)}, column {column}"
                out.append(above(name, t.same_row(c, k) - t.same_row(other, k), measure="accuracy"))
    return out


def iwi_sparser_than_base(t: Table) -> list[Condition]:
    """Share of near-zero weights higher, mean magnitude lower, for IWI than for the base."""
    networks = t.find(NEAR_ZERO, exhibit="figure_4", setting=IWI, variant=ANY)
    if not networks:
        raise MissingResult("inherited networks are missing in figure_4; run Figure 4.")
    out = []
    for c in networks:
        place, where = _place("figure_4", (c.dataset, c.architecture)), f"{c.dataset} {c.architecture}"
        out.append(above(f"share of near-zero weights, IWI minus base, {where}", t.at(c) - _base(t, place, NEAR_ZERO)))
        change = t.same_row(c, "mean_abs_weight") - _base(t, place, "mean_abs_weight")
        out.append(below(f"mean magnitude of weights, IWI minus base, {where}", change))
    return out


def iwi_cheaper(t: Table) -> list[Condition]:
    """Training FLOPs of IWI by Stop-E (ticket search, ticket training and 45 of 240 epochs on the large network) below those of the base
    with a full schedule. Networks that inherit by Stop-C train until their loss stalls, of whose cost the paper says nothing."""
    metric = "training_flops_exact_e17"

    def base(c: Cell) -> np.ndarray:
        full = [b for b in _bases(t, _place("table_4", (c.dataset, c.architecture)), metric) if _stop(b) == "Stop-E"]
        return t.at(full[0])

    found = t.find(metric, exhibit="table_4", setting=IWI, variant=ANY)
    networks = [c for c in found if dict(c.variant).get("table_column", "2") == "2"]  # of the two columns the one of Stop-E
    if not networks:
        raise MissingResult("training FLOPs are missing in table_4; count them for the base and for each inherited network.")
    return [
        above(
            f"saving of training FLOPs, IWI from {c.sparsity:g} %, {c.dataset} {c.architecture}",
            1 - t.at(c) / base(c),
        )
        for c in networks
    ]


def iwi_sparser_is_more_robust(t: Table) -> list[Condition]:
    """Rank correlation of the product of layer norms with adversarial accuracy below 0, per structure and kind of norm, over networks of
    which nothing was pruned (a pruned one has another structure) and that have learned: at least four of clean accuracy above 20 % in
    every seed."""
    metric = "log_norm_product"
    out = []
    for pair in t.pairs(metric, exhibit="theorem_2", variant=ANY):
        found = t.find(metric, setting="Baseline", variant=ANY, **_place("theorem_2", pair))
        for norm in dict.fromkeys(dict(c.variant).get("norm", "") for c in found):
            cells = [c for c in found if dict(c.variant).get("norm", "") == norm]
            if len(cells) < 4:
                raise MissingResult(f"a rank correlation needs four dense networks of {' '.join(pair)}; run theorem_2 with more of them.")
            learned = [c for c in cells if t.least(c._replace(metric=CLEAN)) >= LEARNED]
            if len(learned) < 4:
                words = f"{len(learned)} of {len(cells)} perceptrons have learned {' '.join(pair)} and a rank correlation needs four"
                t.left_out += [words] if words not in t.left_out else []
                continue
            cells = learned
            trend = rank_correlation(stack([t.at(c) for c in cells]), stack([t.same_row(c, ADVERSARIAL) for c in cells]))
            name = f"rank correlation of {norm or 'the'} norms with adversarial accuracy, {' '.join(pair)}"
            out.append(below(name, trend, measure="correlation"))
    if not out:
        raise NotTestable(f"{'; '.join(t.left_out)}; train wider perceptrons, or longer.")
    return out
