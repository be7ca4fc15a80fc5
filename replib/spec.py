"""Specs: frozen dataclasses that say all that determines a result, and the keys made from them.

A spec is the only input of a job. Its *key* is a hash of the fields that differ from their defaults, so a field added later keeps
old results valid; the price is a rule: **never change a default of a released spec**. A fix that changes numbers raises the class's
``version``, which is always hashed. Device, number of workers and paths are not part of a spec; precision is.

Nothing here imports torch, so that ``replib list`` answers at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, ClassVar


class ReplibError(Exception):
    """An error that a user can do something about. Its text is one paragraph that ends with the remedy."""


class SpecError(ReplibError, ValueError):
    """A value that no run can have: names the field, the value, what is allowed and the nearest valid name."""


def choose(field: str, value: object, allowed: Iterable[object]) -> Any:
    """`value` if it is one of `allowed`, else a :class:`SpecError` that names the nearest valid one."""
    allowed = list(allowed)
    if value in allowed:
        return value
    raise SpecError(f"{field} = {value!r} is not known; it must be one of {', '.join(map(repr, allowed))}.{_hint(value, allowed)}")


def _hint(value: object, allowed: Iterable[object]) -> str:
    near = difflib.get_close_matches(str(value), [str(a) for a in allowed], n=1, cutoff=0.4)
    return f" Did you mean {near[0]!r}?" if near else ""


def _number(value: object) -> bool:
    """Whether `value` is a finite number that a double can hold. Booleans are no numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond 1.8e308
        return False


def within(field: str, value: float, low: float = -math.inf, high: float = math.inf, *, low_open=False, high_open=False) -> float:
    """`value` if it is a finite number in the interval, else a :class:`SpecError` that prints the interval."""
    ok = _number(value) and (value > low if low_open else value >= low) and (value < high if high_open else value <= high)
    if ok:
        return value
    interval = f"{'(' if low_open or low == -math.inf else '['}{low:g}, {high:g}{')' if high_open or high == math.inf else ']'}"
    raise SpecError(f"{field} = {value!r} is not allowed; give a number in {interval}.")


@dataclass(frozen=True)
class Spec:
    """Base of all choices. Subclasses are frozen dataclasses; a ``check`` method holds their conditions on values.

    Values may be other specs, numbers, strings, booleans, None, or tuples of these. Types are checked when a spec is made.
    """

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        hints = _hints(type(self))
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, f.name, value)
            if not _fits(value, hints[f.name]):
                literals = typing.get_args(hints[f.name]) if typing.get_origin(hints[f.name]) is typing.Literal else ()
                raise SpecError(
                    f"{type(self).__name__}.{f.name} = {value!r} is not allowed; it must be {_spell(hints[f.name])}."
                    f"{_hint(value, literals)}"
                )
        self.check()

    def check(self) -> None:
        """Raise :class:`SpecError` for values that no run can have. Called when a spec is made."""

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what :func:`_once` remembered is not sent to other processes."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def _once(name: str, value: Any, make: Callable[[Any], Any]) -> Any:
    """``make(value)``, remembered with a spec: those nested in a long ladder are asked for thousands of times in a plan."""
    if not isinstance(value, Spec):
        return make(value)
    known = value.__dict__
    if name not in known:
        known[name] = make(value)
    return known[name]


_HINTS: dict[type, dict[str, Any]] = {}


def _hints(cls: type) -> dict[str, Any]:
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls)
    return _HINTS[cls]


def _fits(value: object, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, h) for h in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin is tuple:
        args = typing.get_args(hint)
        if not isinstance(value, tuple):
            return False
        if len(args) == 2 and args[1] is Ellipsis:
            return all(_fits(v, args[0]) for v in value)
        return len(value) == len(args) and all(map(_fits, value, args))
    if hint is float:
        return _number(value)
    if hint is int:
        return isinstance(value, int) and _number(value)
    return isinstance(value, hint)


_NAMES = {float: "a finite number", int: "a whole number", str: "a string", bool: "True or False", types.NoneType: "None"}


def _spell(hint: Any) -> str:
    if hint in _NAMES:
        return _NAMES[hint]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(map(_spell, typing.get_args(hint)))
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    return getattr(hint, "__name__", str(hint)) if not typing.get_args(hint) else str(hint).replace("replib.", "")


def _default(f: Field) -> Any:
    if f.default is not MISSING:
        return f.default
    return f.default_factory() if f.default_factory is not MISSING else MISSING


def canonical(value: Any) -> Any:
    """`value` as plain JSON data: specs become ``{"is": "Name@version", ...}`` with their non-default fields only.

    A default that holds a spec whose version was raised counts as changed: a fix must reach the keys of all that rely on it.
    """
    return _once("_canonical", value, _canonical)


def _raised(value: Any) -> bool:
    """Whether a spec in `value` has another version than the first."""
    return _once("_versions", value, lambda v: any(s.version != 1 for s in walk(v)))


def _canonical(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        body: dict[str, Any] = {"is": f"{type(value).__name__}@{value.version}"}
        for f in fields(value):
            v = getattr(value, f.name)
            if f.metadata.get("hashed", True) and (_raised(v) or v != _default(f)):
                body[f.name] = canonical(v)
        return body
    if isinstance(value, tuple | list):
        return [canonical(v) for v in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return int(value) if float(value).is_integer() else float(value)  # 1 and 1.0 are one value
    raise SpecError(f"{value!r} cannot be part of a spec; use numbers, strings, tuples and other specs.")


def key(spec: Spec) -> str:
    """Twelve hexadecimal digits that name the content of `spec`."""

    def digest(spec: Spec) -> str:
        text = json.dumps(canonical(spec), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    return _once("_key", spec, digest)


def resolved(value: Any) -> Any:
    """`value` as plain JSON data with *every* field, for people and for ``spec.json``.

    A job within it is named by the folder of its own spec, ``{"job": "train-<key>"}``: the last round of a ladder would else repeat all
    rounds before it.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {"is": f"{type(value).__name__}@{value.version}"} | {f.name: _named(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple | list):
        return [_named(v) for v in value]
    return value


def _named(value: Any) -> Any:
    return {"job": f"{value.kind}-{key(value)}"} if isinstance(value, Job) else resolved(value)


def walk(spec: Any) -> Iterator[Spec]:
    """All specs nested in `spec`, itself first, outermost before innermost."""
    if isinstance(spec, Spec):
        yield spec
        for f in fields(spec):
            yield from walk(getattr(spec, f.name))
    elif isinstance(spec, tuple | list):
        for v in spec:
            yield from walk(v)


def stream_seed(seed: int, purpose: str) -> int:
    """Seed of the generator for one purpose ('init', 'batches/3', 'attack/3', 'mask', ...).

    Every purpose and epoch has a generator of its own: one more restart of an attack cannot change the data order of a later epoch,
    methods with one seed see the same batches, and a resumed run needs no generator state.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:6], "big")


@dataclass(frozen=True)
class Job(Spec):
    """A spec of something that takes more than a second. Its identity is (key, seed).

    Jobs nested in its fields are its *parents*: they run first, with the same seed, unless wrapped in :class:`Pinned`.
    """

    kind: ClassVar[str] = "job"

    def label(self) -> str:
        """A short name for people; not part of the key."""
        return self.kind


@dataclass(frozen=True)
class Pinned(Spec):
    """A parent whose seed differs from the child's, for example one pre-trained network shared by all seeds downstream."""

    job: Job
    seed: int

    def check(self) -> None:
        within("Pinned.seed", self.seed, 0)


def unpinned(job: Job | Pinned) -> Job:
    """The job itself, whichever seed a parent is pinned to."""
    return job.job if isinstance(job, Pinned) else job


@dataclass(frozen=True, order=True)
class Task:
    """A job with a seed: the unit of work. Two tasks are equal when key and seed are."""

    name: str  # "<kind>-<key>"
    seed: int
    job: Job = dataclasses.field(compare=False, hash=False)

    def __str__(self) -> str:
        return f"{self.name}/{self.seed} ({self.job.label()})"


def task(job: Job, seed: int) -> Task:
    """The task of `job` with `seed`."""
    if not (isinstance(seed, int) and _number(seed) and seed >= 0):
        raise SpecError(f"seed = {seed!r} is not allowed; give a whole number from 0 on.")
    return Task(f"{job.kind}-{key(job)}", seed, job)


def parents(job: Job, seed: int) -> list[Task]:
    """The tasks that must be done before `job` can run with `seed`, each once, in field order."""
    found: dict[Task, None] = {}

    def visit(value: Any) -> None:
        if isinstance(value, Pinned):
            found.setdefault(task(value.job, value.seed))
        elif isinstance(value, Job):
            found.setdefault(task(value, seed))
        elif isinstance(value, Spec):
            for f in fields(value):
                visit(getattr(value, f.name))
        elif isinstance(value, tuple):
            for v in value:
                visit(v)

    for f in fields(job):
        visit(getattr(job, f.name))
    return list(found)
