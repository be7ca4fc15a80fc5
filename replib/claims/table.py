"""Tables as predicates see them: look a cell up by the papers' words, get its value in every replicate.

A :class:`Sample` holds the tidy rows of one paper by cell and seed. From it the engine makes :class:`Table` objects
that answer the same questions with different arrays: the means over seeds, bootstrap replicates, permuted labels, one
changed number. A predicate cannot tell them apart.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from replib.spec import ReplibError, SpecError, choose

COLUMNS = (
    "paper",
    "exhibit",
    "dataset",
    "architecture",
    "sparsity_percent",
    "setting",
    "variant",
    "metric",
    "seed",
    "value",
)

# Parts of `variant` that repeat another column or describe how a row came about; they never tell two rows apart.
NEUTRAL = frozenset({"stopping_criterion", "pruning_schedule", "density", "inherited_ticket_pruning_ratio"})
# Values that are the same as saying nothing.
DEFAULTS = frozenset({("attack", "PGD-20"), ("data_fraction", "100%"), ("retraining", "adversarial")})
# Parts that name the condition under which a method is measured; labels of methods are exchanged within them, never
# across them.
CONTEXT = frozenset({"attack", "downstream_training", "data_fraction", "stopping_criterion", "regularizer", "norm", "reference"})

ANY: Any = object()

LEARNED = 20.0
"""Accuracy without an attack, in percent, of a network that has learned something: twice the chance level of ten classes."""


class MissingResult(ReplibError):
    """A claim asks for a cell that the results do not have."""


class NotTestable(ReplibError):
    """The results exist but cannot speak to the claim (a precondition of the claim fails)."""


class Cell(NamedTuple):
    """Address of one number: exhibit as "table_1", sparsity in percent or None, variant as sorted (name, value)
    pairs."""

    exhibit: str
    dataset: str
    architecture: str
    sparsity: float | None
    setting: str
    variant: tuple[tuple[str, str], ...]
    metric: str

    def words(self) -> str:
        """The address in words, for sentences."""
        level = "" if self.sparsity is None else f" at {self.sparsity:g} %"
        extra = "".join(f", {k.replace('_', ' ')} {v}" for k, v in self.variant if k not in NEUTRAL)
        where = "/".join(w for w in (self.dataset, self.architecture) if w)
        return f"{self.metric.replace('_', ' ')} of {self.setting}{level}{extra} ({where})"


@functools.cache
def exhibit_name(text: str) -> str:
    """Short name of an exhibit: "Table A2", "table_a2" and "some_paper/table_a2" all become "table_a2"."""
    return re.sub(r"[^a-z0-9]+", "_", str(text).rsplit("/", 1)[-1].lower()).strip("_")


@functools.lru_cache(maxsize=4096)
def parse_variant(text: object) -> tuple[tuple[str, str], ...]:
    """Sorted pairs of "name=value; name=value"; empty for an empty or missing text. A part without "=" is an error."""
    if _absent(text) or not str(text).strip():
        return ()
    pairs = []
    for part in str(text).split(";"):
        name, equals, value = part.partition("=")
        if not equals and "middle sparsity levels" in part:  # one remark among the printed variants
            name, value = "levels", "middle"
        elif not equals:
            raise SpecError(f"variant = {text!r} has the part {part.strip()!r} without '='; write name=value; name=value.")
        pairs.append((name.strip(), value.strip()))
    return tuple(sorted(pairs))


def _level(value: object) -> float | None:
    return None if _absent(value) else round(float(value), 2)


class Sample:
    """The rows of one paper by cell. ``values[cell]`` is (seeds,), NaN where a seed is missing; a number without seed
    is constant.

    Raises :class:`SpecError` for missing columns, contradicting duplicates and settings that look like a misspelt
    known one. A setting that resembles nothing known is taken for a new method: claims do not read it.
    """

    def __init__(self, frame: pd.DataFrame, settings: Iterable[str]):
        absent = [c for c in COLUMNS if c not in frame.columns]
        if absent:
            raise SpecError(f"results lack the columns {', '.join(absent)}; give a tidy frame with {', '.join(COLUMNS)}.")
        self.settings = tuple(settings)
        for name in pd.unique(frame["setting"]):
            _refuse_misspelling(str(name), self.settings)
        self.seeds = tuple(sorted({int(s) for s in frame["seed"].dropna()}))
        column = {s: i for i, s in enumerate(self.seeds)}
        self.values: dict[Cell, np.ndarray] = {}
        self.constants: set[Cell] = set()
        self.scopes: dict[Cell, str] = {}
        scopes = frame["scope"].tolist() if "scope" in frame.columns else [None] * len(frame)
        rows = zip(*(frame[c].tolist() for c in COLUMNS[1:]), scopes, strict=True)
        for exhibit, dataset, architecture, sparsity, setting, variant, metric, seed, value, scope in rows:
            cell = Cell(
                exhibit_name(exhibit),
                _text(dataset),
                _text(architecture),
                _level(sparsity),
                str(setting),
                parse_variant(variant),
                str(metric),
            )
            if _absent(value):
                continue
            if isinstance(scope, str):
                self.scopes[cell] = scope
            known = self.values.setdefault(cell, np.full(max(1, len(self.seeds)), np.nan))
            if _absent(seed):
                self.constants.add(cell)
                _store(known, slice(None), float(value), cell)
            else:
                _store(known, column[int(seed)], float(value), cell)
        self.index: dict[tuple[str, str], list[Cell]] = {}
        for cell in sorted(self.values, key=_sortable):  # the order of rows in a frame must not matter
            self.index.setdefault((cell.setting, cell.metric), []).append(cell)

    def common_seeds(self, cells: Iterable[Cell]) -> list[int]:
        """Positions of the seeds for which every one of `cells` has a value; all positions for constants."""
        have = np.ones(max(1, len(self.seeds)), dtype=bool)
        for cell in cells:
            have &= ~np.isnan(self.values[cell])
        return [int(i) for i in np.flatnonzero(have)]


def _sortable(cell: Cell) -> tuple:
    return (*cell[:3], -1.0 if cell.sparsity is None else cell.sparsity, *cell[4:])


def _text(value: object) -> str:
    return "" if _absent(value) else str(value)


def _absent(value: object) -> bool:
    return value is None or value is pd.NA or value != value  # only NaN differs from itself


def _store(known: np.ndarray, where: int | slice, value: float, cell: Cell) -> None:
    before = known[where] if isinstance(where, int) else known[0]
    if not np.isnan(before) and before != value:
        raise SpecError(f"two values for {cell.words()} in {cell.exhibit}: {before:g} and {value:g}; keep one of them.")
    known[where] = value


def _refuse_misspelling(name: str, known: Sequence[str]) -> None:
    if name in known:
        return
    plain = {re.sub(r"[^a-z0-9+]", "", k.lower()): k for k in known}
    mine = re.sub(r"[^a-z0-9+]", "", name.lower())
    near = [plain[mine]] if mine in plain else difflib.get_close_matches(name, known, n=1, cutoff=0.86)
    if near:
        raise SpecError(f"setting = {name!r} is not known; the claims read {near[0]!r}: use that spelling, or a clearly new name.")


class Table:
    """What a predicate sees: cells of a :class:`Sample` with one value per replicate, and a log of the cells that
    were read."""

    def __init__(
        self,
        sample: Sample,
        fetch: Callable[[Cell], np.ndarray],
        *,
        spread: Callable[[Cell], float] | None = None,
        margin: float = 2.0,
        scope: str = "none",
    ):
        self.sample, self.margin, self.scope = sample, margin, scope
        self._fetch, self._spread = fetch, spread
        self.read: dict[Cell, None] = {}  # insertion-ordered
        self.left_out: list[str] = []  # parts of the claim that cannot be compared, in words: it may fail without them, but not hold

    def find(
        self,
        metric: str,
        *,
        exhibit: str | tuple[str, ...],
        setting: str | None = None,
        sparsity: float | None = ANY,
        dataset: str | None = None,
        architecture: str | None = None,
        variant: Mapping[str, object] | None = None,
    ) -> list[Cell]:
        """Cells that fit, none read. `variant` must agree in the parts given and, beyond neutral parts, in nothing
        more; pass variant=ANY to take every variant. Exhibits are searched in the order given and the first with a
        match answers."""
        if setting is not None:
            choose("setting", setting, self.sample.settings)
        names = [setting] if setting is not None else list(dict.fromkeys(s for s, m in self.sample.index if m == metric))
        wanted = None if variant is ANY else {k: str(v) for k, v in (variant or {}).items()}
        level = sparsity if sparsity is ANY else _level(sparsity)
        for where in (exhibit,) if isinstance(exhibit, str) else exhibit:
            found = [
                c
                for name in names
                for c in self.sample.index.get((name, metric), ())
                if c.exhibit == where
                and (dataset is None or c.dataset == dataset)
                and (architecture is None or c.architecture == architecture)
                and (level is ANY or c.sparsity == level)
                and (wanted is None or _fits(c.variant, wanted))
            ]
            if found:
                return found
        return []

    def cell(self, setting: str, sparsity: float | None, metric: str, **where: Any) -> Cell:
        """The one cell that fits. Raises :class:`MissingResult` for none and :class:`SpecError` for several."""
        found = self.find(metric, setting=setting, sparsity=sparsity, **where)
        if not found:
            level = "" if sparsity in (ANY, None) else f" at {sparsity:g} %"
            rest = "".join(f", {v}" for k, v in where.items() if k != "exhibit" and v)
            raise MissingResult(f"{metric} of {setting}{level}{rest} is missing; run {where['exhibit']} with all its rows.")
        if len(found) > 1:
            raise SpecError(
                f"{metric} of {setting} is ambiguous in {found[0].exhibit}: it fits {len(found)} cells, such as "
                f"{found[0].words()} and {found[1].words()}; name the variant, or remove one of them."
            )
        return found[0]

    def get(self, setting: str, sparsity: float | None, metric: str, **where: Any) -> np.ndarray:
        """(replicates,) values of the one cell that fits (see :meth:`find` for the keywords)."""
        return self.at(self.cell(setting, sparsity, metric, **where))

    def at(self, cell: Cell) -> np.ndarray:
        """(replicates,) values of a cell."""
        self.read[cell] = None
        return self._fetch(cell)

    def same_row(self, cell: Cell, metric: str) -> np.ndarray:
        """(replicates,) values of another metric in the row of `cell`."""
        return self.at(self._there(cell._replace(metric=metric)))

    def spread(self, cell: Cell) -> float:
        """Standard deviation over seeds of a cell; 0 for printed numbers and single seeds."""
        return 0.0 if self._spread is None else self._spread(cell)

    def original(self, cell: Cell) -> float:
        """Mean of a cell over all its seeds, the same in every replicate: for preconditions, which are judged once."""
        return float(np.nanmean(self.sample.values[self._there(cell)]))

    def least(self, cell: Cell) -> float:
        """The least value of a cell over all its seeds, the same in every replicate."""
        return float(np.nanmin(self.sample.values[self._there(cell)]))

    def _there(self, cell: Cell) -> Cell:
        if cell not in self.sample.values:
            raise MissingResult(f"{cell.words()} is missing in {cell.exhibit}; run that exhibit with all its measures.")
        return cell

    def has(self, metric: str, **where: Any) -> bool:
        """Whether :meth:`find` finds a cell."""
        return bool(self.find(metric, **where))

    def sparsities(self, metric: str, **where: Any) -> list[float]:
        """Sorted sparsities of the cells that fit."""
        return sorted({c.sparsity for c in self.find(metric, **where) if c.sparsity is not None})

    def pairs(self, metric: str, **where: Any) -> list[tuple[str, str]]:
        """(dataset, architecture) pairs of the cells that fit, in order. Raises :class:`MissingResult` if there is
        none."""
        found = list(dict.fromkeys((c.dataset, c.architecture) for c in self.find(metric, **where)))
        if not found:
            raise MissingResult(f"{metric} is missing in {where['exhibit']}; run that exhibit.")
        return found


def _fits(variant: tuple[tuple[str, str], ...], wanted: Mapping[str, str]) -> bool:
    have = dict(variant)
    return all(have.get(k) == v for k, v in wanted.items()) and all(
        k in wanted or k in NEUTRAL or (k, v) in DEFAULTS for k, v in have.items()
    )


def refuse_collapsed(t: Table, **where: Any) -> None:
    """Nothing is judged where fast adversarial training fell onto its own single-step attack: it is no adversarial training any more.

    `where` as in :meth:`Table.find`. What each seed did is no number of the comparison: it is neither resampled nor shifted. Raises
    :class:`NotTestable`.
    """
    if np.nansum([t.sample.values[cell] for cell in t.find("collapsed", **where)]) > 0:
        raise NotTestable("Fast AT collapsed in at least one run, and what a collapsed run shows says nothing about it; see the page.")
