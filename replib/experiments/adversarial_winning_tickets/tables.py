"""Tables 1 and 2: tickets beside the iterative ones of Cosentino et al., and sampled tickets beside those of the second paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from replib.experiments.achieving_robustness_via_sparsity import runs as iwi
from replib.experiments.adversarial_winning_tickets.rows import Subnetwork
from replib.experiments.adversarial_winning_tickets.runs import PAPER, ROUNDS, iterative_tickets
from replib.experiments.adversarial_winning_tickets.searches import (
    INITIAL,
    RANDOM,
    Norm,
    Place,
    as_printed,
    final_attack,
    largest,
    random,
    recipe,
    search,
    trained,
)
from replib.experiments.exhibit import Exhibit, rows_exhibit
from replib.experiments.places import MLP_MNIST, VGG10
from replib.experiments.profiles import Profile
from replib.methods import MaskSearch, Shuffled, Ticket
from replib.training import Train
from replib.training.spec import FromRun


def percent(share: float) -> float:
    """A share in percent, as the papers write it: 51.3, not 51.300000000000004."""
    return round(100 * share, 6)


def variant(density: float, norm: Norm = "linf", *, named: bool = False) -> str:
    """How a row is told apart: by density and, where a figure has both, by the norm of the attack."""
    return f"density={percent(density):g}%" + (f"; norm={norm}" if named else "")


def subnetwork(
    p: Profile, place: Place, setting: str, density: float, run: Train, *, norm: Norm = "linf", named: bool = False, **changes: object
) -> Subnetwork:
    """One row."""
    costs = {"search": run.ticket} if isinstance(run.ticket, MaskSearch) else {}
    row = {"attack": final_attack(p, place, norm), "costs": costs, "variant": variant(density, norm, named=named)} | changes
    return Subnetwork(*place, percent(1 - density), setting, run, **row)


BESIDE: dict[str, Callable[[Profile, Place, float], Ticket]] = {RANDOM: random, INITIAL: largest}
"""What stands beside tickets, by setting."""


def ladder(
    p: Profile, place: Place, densities: tuple[float, ...], *, norm: Norm = "linf", named: bool = False, beside: Sequence[str] = ()
) -> list[Subnetwork]:
    """Tickets of some densities, those of :data:`BESIDE` of the same densities, and the dense network, each with its curve's distance."""
    dense = trained(p, place, norm=norm, name="Dense")
    made = []
    for density in densities:
        drawn = {"AWT": search(p, place, density, norm)} | {setting: BESIDE[setting](p, place, density) for setting in beside}
        for setting, ticket in drawn.items():
            run = trained(p, place, ticket, norm, name=setting)
            made.append(subnetwork(p, place, setting, density, run, norm=norm, named=named, dense=dense))
    return [*made, subnetwork(p, place, "full model", 1.0, dense, norm=norm, named=named)]


TRANSFERRED = "AWT, transferred weights"
PRINTED = "full model, printed radius"
SPREAD = "random structure, iterative ticket's layers"
LAYERED = "AWT, iterative ticket's layers"


def table_1(p: Profile) -> list[Subnetwork]:
    """Tickets, iterative tickets and the dense network under one attack; as a control of ours also tickets that keep the weights that their
    search ended with, as the method that D extends does, where D trains them "from the original initialization", the dense network at
    the radius that D prints, masks that nothing was searched or trained for (random ones, the largest initial weights, and random ones that
    spread over the layers as the iterative tickets do), and searched tickets that spread over the layers as these do (whose shares are
    known beforehand, so that no round is among their costs). Of every mask it is counted how many of its weights lie on a path through the
    network.

    Departs: the iterative tickets' numbers may be those of their authors in the paper, of networks under another attack; it does not say.
    Here both are under this one. They keep their authors' loss, which is half clean, their networks without biases, and their own shares
    of each layer, so that a row's density is that of ours only nearly. The dense network of the last row is ours for both.
    """
    r = recipe(p, MLP_MNIST)
    *sparse, dense = ladder(p, MLP_MNIST, p.foresight.perceptron, beside=(RANDOM, INITIAL))
    tickets = [row for row in sparse if row.search is not None]
    levels = [row.sparsity_percent for row in tickets]
    rounds = iterative_tickets(r, max(ROUNDS[s] for s in levels))
    made, alike = [], []
    for t in tickets:
        s = t.sparsity_percent
        n = ROUNDS[s]
        before = {f"round {i}": run for i, run in enumerate(rounds[:n])}
        made.append(subnetwork(p, MLP_MNIST, "Cosentino et al. 2019", round(1 - s / 100, 6), rounds[n], costs=before))
        anywhere = Ticket(r.data, r.net, rounds[n].ticket.density, Shuffled(rounds[n].ticket))
        searched = replace(t.run.ticket, density=rounds[n], across="run")
        for setting, ticket in ((SPREAD, anywhere), (LAYERED, searched)):
            run = trained(p, MLP_MNIST, ticket, name=setting)
            alike.append(subnetwork(p, MLP_MNIST, setting, round(1 - s / 100, 6), run, dense=dense.run))
    moved = [replace(t.run, init=FromRun(t.run.ticket), name=TRANSFERRED) for t in tickets]
    kept = [subnetwork(p, MLP_MNIST, TRANSFERRED, round(1 - s / 100, 6), run) for s, run in zip(levels, moved, strict=True)]
    order = ("AWT", RANDOM, INITIAL, SPREAD, LAYERED)
    by_setting = [row for setting in order for row in (*sparse, *alike) if row.setting == setting]
    rows = [*(replace(row, counted=True) for row in (*made, *by_setting)), *kept, dense]
    if p.foresight.printed not in (None, r.eps):
        q = as_printed(p, MLP_MNIST)
        rows.append(subnetwork(q, MLP_MNIST, PRINTED, 1.0, trained(q, MLP_MNIST, name=PRINTED)))
    return rows


RATIOS = (0.9, 0.95)
LONGER, LONG = 4, "sampled, long search"


def table_2(p: Profile) -> list[Subnetwork]:
    """Sampled tickets of VGG-16, winning tickets and networks that inherited one, and tickets of the whole kernel where it is affordable
    and of a search that is :data:`LONGER`.

    Departs: the paper copies the numbers of WT and IWI and does not name the epoch of its own; here all are under the second paper's
    attack, at the epoch that its tables report (the highest sum of both accuracies on validation images). WT and IWI are trained as the
    second paper trains, by gradient descent with momentum, and prune convolutions; S-AWT is trained by Adam as the rest of this paper and
    prunes every layer.
    """
    shared = {"attack": iwi.recipe(p, VGG10).test_attack(), "checkpoint": iwi.BEST}
    made = []
    for ratio in RATIOS:
        density = round(1 - ratio, 6)
        ticket, costs = iwi.winning(p, VGG10, ratio)
        made.append(subnetwork(p, VGG10, "WT", density, ticket, costs=costs, **shared))
        run = trained(p, VGG10, search(p, VGG10, density, entries="diagonal"), name="S-AWT")
        made.append(subnetwork(p, VGG10, "S-AWT", density, run, **shared))
        large, costs = iwi.inherited(p, VGG10, ratio, "Stop-E")
        made.append(subnetwork(p, VGG10, "IWI", density, large, costs=costs, **shared))
        if density in p.foresight.unsampled:
            run = trained(p, VGG10, search(p, VGG10, density, entries="all"), name="AWT")
            made.append(subnetwork(p, VGG10, "AWT", density, run, **shared))
        if density in p.foresight.prolonged:
            found = search(p, VGG10, density, entries="diagonal")
            run = trained(p, VGG10, replace(found, epochs=LONGER * found.epochs), name=LONG)
            made.append(subnetwork(p, VGG10, LONG, density, run, **shared))
    return made


EXHIBITS: tuple[Exhibit, ...] = (
    rows_exhibit(f"{PAPER}/table_1", "Winning tickets at initialization and iterative ones", table_1, "flagship"),
    rows_exhibit(f"{PAPER}/table_2", "Sampled tickets on VGG-16", table_2),
)
