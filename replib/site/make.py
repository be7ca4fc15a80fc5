"""The book of a profile from what is rendered and published: verdicts, status and roles are gathered here."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

from replib.experiments.achieving_robustness_via_sparsity.runs import recipe as pruning_recipe
from replib.experiments.cost import human
from replib.experiments.double_win_lottery_tickets.runs import Downstream, recipe
from replib.experiments.exhibit import Exhibit
from replib.experiments.places import (
    CIFAR10,
    CIFAR100,
    DENSE10,
    DENSE_TINY,
    SOURCE,
    TINY,
    TO_CUB,
    TO_VISDA,
    VGG10,
    VGG100,
)
from replib.experiments.profiles import Profile
from replib.experiments.profiles import profile as get
from replib.experiments.recipe import Recipe
from replib.experiments.registry import complete_seeds, evidence, shown
from replib.experiments.runner import closure
from replib.models.spec import weight_shapes
from replib.site.build import build
from replib.store.evidence import Evidence


def make(profile: str, root: Path) -> Path:
    """Build the site into ``build/site`` and return the path of its first page."""
    from replib.verdicts import records

    p = get(profile)
    judged = None if p.watermark else records(profile, root)
    found = evidence(p, root)
    pages = shown(p, found)
    status = status_rows(p, pages, found, root)
    return build(profile, root, exhibits=[e.id for e in pages], claims=judged, status=status, roles=role_rows(p)) / "index.html"


def status_rows(p: Profile, exhibits: Iterable[Exhibit], found: Evidence, root: Path) -> list[dict[str, Any]]:
    """One row for each of `exhibits`: how many jobs its page rests on, which commits made them where, and the processor time."""
    made = [(e.id, closure(e.tasks(p, complete_seeds(e, p, found)))) for e in exhibits]
    return [_status(id, tasks, found, root) for id, tasks in made]


def _status(id: str, tasks: list[Any], found: Evidence, root: Path) -> dict[str, Any]:
    import json

    summaries = [found.summary(t) for t in tasks]
    environments = dict(found.published.environments())
    for t in tasks:
        path = found.store.folder(t) / "environment.json"
        if path.exists() and found.store.status(t) == "done":
            environments[found.store.summary(t)["environment"]] = json.loads(path.read_text())
    used = [environments[i] for i in dict.fromkeys(s["environment"] for s in summaries) if i in environments]
    return {
        "exhibit": id,
        "runs": len(summaries),
        "commit": ", ".join(dict.fromkeys(e["commit"] for e in used)),
        "machine": ", ".join(dict.fromkeys(e["cpu"] if e["device"] == "cpu" else e["device"] for e in used)),
        "time": human(sum(s["cost"]["cpu_seconds"] for s in summaries)),
    }


def role_rows(p: Profile) -> list[dict[str, Any]]:
    """One row for each data set and network of the papers that the profile maps: its stand-in and how that is trained."""
    ours = [row for place, r in p.recipes.items() for row in _pruned(p, place, r)]
    return ours + _transfer_rows(p) + [_role(*place, r, "fourth paper") for place, r in p.foresight.recipes.items()]


def _pruned(p: Profile, place: tuple[str, str], r: Recipe) -> list[dict[str, Any]]:
    """The first paper's row, and the second's where that trains there otherwise."""
    first, second = _role(*place, r), _role(*place, pruning_recipe(p, place), "second paper")
    told = {name for name, value in first.items() if value != second[name]} - {"in the papers"}
    if place in (DENSE10, DENSE_TINY):
        return [second]
    return [first, second] if told and place in (CIFAR10, CIFAR100, TINY, VGG10, VGG100) else [first]


def _transfer_rows(p: Profile) -> list[dict[str, Any]]:
    """The third paper's: pre-training and re-training on the source, and what is trained downstream, with an attack or without."""
    source, standard = Downstream(SOURCE), [t for t in p.transfer.recipes if t != SOURCE]
    robust = [t for t in standard if t not in (TO_CUB, TO_VISDA)]
    return [
        _role(*SOURCE, recipe(p, source), "third paper, pre-training"),
        _role(*SOURCE, p.transfer.retrain, "third paper, re-training"),
        *(_role(*t, recipe(p, Downstream(t)), "third paper, adversarial training") for t in robust),
        *(_role(*t, recipe(p, Downstream(t, "standard")), "third paper, standard training", attacked=False) for t in standard),
    ]


def _role(dataset: str, architecture: str, r: Recipe, where: str = "", *, attacked: bool = True) -> dict[str, Any]:
    role, d = r.data.role, r.data
    widths = "-".join(map(str, r.net.widths))
    return {
        "in the papers": f"{dataset}, {architecture}{f' ({where})' if where else ''}",
        "here": d.name.replace("_", " "),
        "size": "×".join(map(str, d.shape)),
        "classes": role.classes,
        "train / val / test": " / ".join(str(d.images(part)) for part in ("train", "val", "test")),
        "ε": round(r.eps, 4) if attacked else "",
        "augmentation": d.augmentation.words(),
        "training attack": f"PGD-{r.train_steps}, step {r.train_step:.3g} ε" if attacked else "none",
        "epochs": r.epochs,
        "batch": r.batch,
        "learning rate": r.lr,
        "weight decay": r.weight_decay,
        "network (widths)": f"{r.net.arch.replace('_', ' ')} ({widths}{', halved pictures' if r.net.stem_stride == 2 else ''})",
        "weights": sum(prod(shape) for shape in weight_shapes(r.net, role.classes, d.shape).values()),
    }
