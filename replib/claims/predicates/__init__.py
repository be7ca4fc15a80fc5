"""One module per paper, one function per claim, named by the claim's id: Table -> list of conditions that must all
hold.

Each module also lists ``SETTINGS``, the names of rows that its claims may ask for: the words of the printed tables,
and words of our own for what the papers show only as curves. A docstring names the inequality; ``how_to_check`` in
claims.csv is its source.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from replib.claims.conditions import Condition
from replib.claims.predicates import (
    achieving_robustness_via_sparsity,
    adversarial_winning_tickets,
    double_win_lottery_tickets,
    sparsity_winning_twice,
)
from replib.claims.table import Table
from replib.spec import ReplibError, choose

PAPERS: dict[str, ModuleType] = {
    "sparsity_winning_twice": sparsity_winning_twice,
    "achieving_robustness_via_sparsity": achieving_robustness_via_sparsity,
    "double_win_lottery_tickets": double_win_lottery_tickets,
    "adversarial_winning_tickets": adversarial_winning_tickets,
}

Predicate = Callable[[Table], list[Condition]]


def predicate(paper: str, claim_id: str) -> Predicate:
    """The function of a claim. Raises :class:`ReplibError` for a claim without one."""
    module = PAPERS[choose("paper", paper, PAPERS)]
    function = getattr(module, claim_id, None)
    if function is None:
        raise ReplibError(f"claim {claim_id!r} has no predicate; write a function of that name in {module.__name__}.")
    return function
