"""Keys stay what they are; values that no run can have are refused in one paragraph that says what to do."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import pickle
import random
import typing
from dataclasses import replace
from typing import Literal

import pytest

from replib import methods as M
from replib.analysis.evaluation import Evaluate
from replib.attacks import CW, FGSM, PGD
from replib.attacks import spec as attacks
from replib.data import Data
from replib.methods import tickets
from replib.models import Net
from replib.spec import (
    Job,
    Pinned,
    ReplibError,
    Spec,
    SpecError,
    canonical,
    choose,
    key,
    parents,
    resolved,
    stream_seed,
    task,
    walk,
    within,
)  # fmt: skip
from replib.training import spec as T

DIGITS, NET, ATTACK = Data("digits"), Net("preact_resnet_small"), PGD(eps=0.2, steps=5, step=0.5)


def dense(**changes) -> T.Train:
    run = T.Train(DIGITS, NET, T.PGDAT(ATTACK), epochs=40, batch=64, validate=PGD(0.2, 20), optim=T.SGD(0.1, 0.9, 2e-2))
    return replace(run, **changes)


def ticket(rule: tickets.Rule, density: float = 0.1) -> M.Ticket:
    return M.Ticket(DIGITS, NET, density, rule)


# ---- keys -------------------------------------------------------------------------------------------------------------
PINNED = {
    "8bb35f7af527": dense(),
    "4fe035239a77": dense(ticket=ticket(M.Random())),
    "2a0629bbbecc": dense(ticket=ticket(M.Magnitude(dense()))),
    "814fe1e7c77a": dense(ticket=ticket(M.Quota("igq"), 0.2), method=M.FlyingBirdPlus()),
    "0388aaf4c0cd": dense(loss=T.CrossEntropy(), epochs=10, schedule=T.Steps((0.25, 0.75)), method=M.BirdSearch((0.2, 0.1))),
    "c122617b0e98": Evaluate(dense(), PGD(eps=0.2, steps=20)),
}


@pytest.mark.parametrize(("expected", "job"), PINNED.items())
def test_keys_are_what_published_evidence_was_stored_under(expected, job):
    assert key(job) == expected


def test_names_and_what_is_retained_are_no_part_of_the_key():
    assert key(dense(name="Baseline", retain=("weights", "masks@0.2"))) == key(dense())
    assert key(dense(ticket=ticket(M.Magnitude(dense(name="x"))))) == key(dense(ticket=ticket(M.Magnitude(dense()))))


def test_a_field_added_with_a_default_keeps_old_keys():
    old = dataclasses.make_dataclass("Thing", [("a", int)], bases=(Spec,), frozen=True)
    new = dataclasses.make_dataclass("Thing", [("a", int), ("b", float, 1.5)], bases=(Spec,), frozen=True)
    assert key(new(3)) == key(old(3)) == key(new(3, 1.5))
    assert key(new(3, 2.0)) != key(old(3))


def test_a_raised_version_changes_the_key_of_everything_that_relies_on_it():
    def keys(version):
        raised = {"version": version}
        Part = dataclasses.make_dataclass("Part", [("a", int, 1)], bases=(Spec,), frozen=True, namespace=raised)
        Whole = dataclasses.make_dataclass("Whole", [("by_default", Part, Part())], bases=(Spec,), frozen=True)
        return key(Part()), key(Whole())

    (part, whole), (raised_part, raised_whole) = keys(1), keys(2)
    assert raised_part != part
    assert raised_whole != whole  # although the field has its default


def test_what_is_remembered_of_a_spec_is_not_sent_along():
    job = dense()
    plain = pickle.dumps(job)
    assert key(job) == key(pickle.loads(plain))
    assert pickle.dumps(job) == plain


def test_one_value_one_key_however_it_is_spelled():
    assert key(PGD(eps=1)) == key(PGD(eps=1.0))
    assert key(PGD(0.2, 10, 0.25)) == key(PGD(eps=0.2))
    assert key(dense(schedule=T.Steps([0.5, 0.75]))) == key(dense())
    assert key(PGD(eps=0.2)) != key(PGD(eps=0.25))
    assert key(PGD(eps=0.2)) != key(FGSM(eps=0.2))
    assert key(dense(precision="bf16")) != key(dense())


def test_resolved_form_spells_out_every_field():
    assert resolved(PGD(eps=0.2))["step"] == 0.25
    assert "step" not in canonical(PGD(eps=0.2))
    assert json.loads(json.dumps(resolved(dense())))["optim"]["is"] == "SGD@1"


def test_resolved_form_names_the_jobs_within():
    """However many rounds a ladder has, the last one's is no longer than the second's."""
    base = dense()
    drawn = ticket(M.Magnitude(base))
    run = dense(ticket=drawn)
    assert resolved(run)["ticket"] == {"job": f"ticket-{key(drawn)}"}
    assert resolved(drawn)["rule"]["run"] == {"job": f"train-{key(base)}"}
    further = dense(ticket=ticket(M.Magnitude(run)))
    assert len(json.dumps(resolved(further))) == len(json.dumps(resolved(run)))
    assert resolved(base)["is"].startswith("Train@")


def test_walk_finds_specs_inside_out_of_tuples_and_parents():
    run = dense(ticket=ticket(M.Magnitude(dense())))
    kinds = [type(s).__name__ for s in walk((run, 3, None))]
    assert kinds[0] == "Train"
    assert kinds.count("Train") == 2
    assert kinds.count("PGD") == 4


# ---- parents and seeds -------------------------------------------------------------------------------------------------
def test_parents_have_the_childs_seed_unless_pinned():
    source, t = dense(), ticket(M.Random())
    assert parents(dense(ticket=t), 7) == [task(t, 7)]
    assert parents(dense(ticket=Pinned(t, 3)), 7) == [task(t, 3)]
    assert parents(ticket(M.Magnitude(source)), 7) == [task(source, 7)]  # found inside a spec that is no job
    assert parents(source, 7) == []
    compose = T.Compose(T.FromRun(source), T.Fresh(), t)
    assert parents(dense(init=compose), 7) == [task(source, 7), task(t, 7)]


def test_the_seed_of_a_pinned_parent_is_part_of_the_key():
    t = ticket(M.Random())
    assert len({key(dense(ticket=x)) for x in (t, Pinned(t, 0), Pinned(t, 1))}) == 3


def test_tasks_are_equal_by_key_and_seed():
    assert task(dense(name="a"), 1) == task(dense(retain=("weights",)), 1)
    assert len({task(dense(), 1), task(dense(), 2), task(dense(epochs=41), 1)}) == 3
    assert "Baseline" in str(task(dense(name="Baseline"), 1))


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, True, math.nan])
def test_seeds_are_natural_numbers(seed):
    with pytest.raises(SpecError, match="seed"):
        task(dense(), seed)


def test_streams_differ_by_seed_and_purpose_and_stay():
    assert stream_seed(0, "init") == 46358331560121
    assert len({stream_seed(s, p) for s in (0, 1, 10) for p in ("init", "batches/0", "batches/1", "0/init")}) == 12


# ---- refusals ----------------------------------------------------------------------------------------------------------
BAD = [
    (lambda: PGD(eps=-0.1), "PGD.eps = -0.1", "[0, 1]"),
    (lambda: PGD(eps=8), "PGD.eps = 8", "[0, 1]"),
    (lambda: PGD(eps=math.nan), "PGD.eps = nan", "finite number"),
    (lambda: PGD(eps=math.inf), "PGD.eps = inf", "finite number"),
    (lambda: PGD(eps="0.1"), "PGD.eps = '0.1'", "finite number"),
    (lambda: PGD(eps=None), "PGD.eps = None", "finite number"),
    (lambda: PGD(eps=True), "PGD.eps = True", "finite number"),
    (lambda: PGD(eps=0.1, steps=0), "PGD.steps = 0", "[1, "),
    (lambda: PGD(eps=0.1, steps=2.5), "PGD.steps = 2.5", "whole number"),
    (lambda: PGD(eps=0.1, norm="linff"), "PGD.norm = 'linff'", "Did you mean 'linf'?"),
    (lambda: Data("digit"), "Data.name = 'digit'", "Did you mean 'digits'?"),
    (lambda: Data("digits", n_train=0), "Data.n_train", "[1, 400]"),
    (lambda: Data("digits", n_train=401), "Data.n_train", "[1, 400]"),
    (lambda: Net("preact_resnet_smal"), "Net.arch = 'preact_resnet_smal'", "Did you mean 'preact_resnet_small'?"),
    (lambda: Net("vgg_small", width=0), "Net.width = 0", "[1, "),
    (lambda: T.SGD(lr=0.0), "SGD.lr = 0.0", "(0, "),
    (lambda: T.SGD(momentum=1.0), "SGD.momentum = 1.0", "[0, 1)"),
    (lambda: T.SGD(weight_decay=-1e-4), "SGD.weight_decay", "[0, "),
    (lambda: T.Adam(lr=-1.0), "Adam.lr", "(0, "),
    (lambda: T.CrossEntropy(smoothing=1.0), "CrossEntropy.smoothing", "[0, 1)"),
    (lambda: T.CleanAndAdversarial(ATTACK, clean=1.2), "CleanAndAdversarial.clean", "[0, 1]"),
    (lambda: T.Distill(ATTACK, dense(), dense(), temperature=0.0), "Distill.temperature", "(0, "),
    (lambda: T.Slimming(T.CrossEntropy(), -1.0), "Slimming.strength", "[0, "),
    (lambda: T.Steps((0.5, 1.5)), "Steps.drops = 1.5", "[0, 1]"),
    (lambda: T.Steps(("half",)), "Steps.drops", "tuple[float, ...]"),
    (lambda: T.Cyclic(1.0), "Cyclic.peak", "(0, 1)"),
    (lambda: T.Plateau(patience_fraction=0.0), "Plateau.patience_fraction", "(0, 1]"),
    (lambda: T.Plateau(factor=0.0), "Plateau.factor", "(0, 1]"),
    (lambda: T.Plateau(on="val_los"), "Plateau.on = 'val_los'", "Did you mean 'val_loss'?"),
    (lambda: T.Average(1.0), "Average.start", "[0, 1)"),
    (lambda: T.Fresh(-1), "Fresh.draw", "[0, "),
    (lambda: M.FlyingBird(interval=0.0), "FlyingBird.interval", "(0, 1]"),
    (lambda: M.FlyingBird(k_first=0.5, k_last=0.6), "FlyingBird.k_last", "[0, 0.5]"),
    (lambda: M.FlyingBird(growth="gradients"), "FlyingBird.growth", "Did you mean 'gradient'?"),
    (lambda: M.FlyingBirdPlus(window=0), "FlyingBirdPlus.window", "[1, "),
    (lambda: M.FlyingBirdPlus(plateau_tolerance=-1.0), "FlyingBirdPlus.plateau_tolerance", "[0, "),
    (lambda: M.FlyingBirdPlus(interval=2.0), "FlyingBirdPlus.interval", "(0, 1]"),
    (lambda: M.BirdSearch(()), "BirdSearch.densities", "at least one"),
    (lambda: M.BirdSearch((0.2, 1.0)), "BirdSearch.densities", "(0, 1)"),
    (lambda: M.BirdSearch(tau=0.0), "BirdSearch.tau", "(0, "),
    (lambda: M.SNIP(per_class=0), "SNIP.per_class", "[1, "),
    (lambda: M.GraSP(temperature=0.0), "GraSP.temperature", "(0, "),
    (lambda: M.SynFlow(0), "SynFlow.iterations", "[1, "),
    (lambda: M.Quota("erkk"), "Quota.quota = 'erkk'", "Did you mean 'erk'?"),
    (lambda: ticket(M.Random(), 0.0), "Ticket.density = 0.0", "(0, 1]"),  # 100 % sparsity
    (lambda: ticket(M.Random(), 1.1), "Ticket.density = 1.1", "(0, 1]"),
    (lambda: ticket(M.Random(), -0.1), "Ticket.density = -0.1", "90 % sparsity is density 0.1"),
    (lambda: ticket("random"), "Ticket.rule = 'random'", "Rule"),
    (lambda: M.Magnitude(ticket(M.Random())), "Magnitude.run", "Train"),
    (lambda: dense(epochs=0), "Train.epochs = 0", "[1, "),
    (lambda: dense(batch=0), "Train.batch = 0", "[1, "),
    (lambda: dense(retain=("mask@0.2",)), "Train.retain = 'mask@0.2'", "masks@DENSITY"),
    (lambda: dense(retain=("masks@most",)), "Train.retain", "masks@DENSITY"),
    (lambda: dense(retain=("masks@1.5",)), "Train.retain", "masks@DENSITY"),
    (lambda: dense(masking="projektet"), "Train.masking", "Did you mean 'projected'?"),
    (lambda: dense(precision="fp16"), "Train.precision", "'fp32', 'bf16'"),
    (lambda: dense(ticket=M.Random()), "Train.ticket", "Job or Pinned or None"),
    (lambda: dense(method=M.FlyingBird()), "FlyingBird needs a mask", "give a ticket"),
    (lambda: dense(ticket=ticket(M.Random()), method=M.FlyingBird(), masking="parametrized"), "FlyingBird needs", "'projected'"),
    (lambda: Pinned(dense(), -1), "Pinned.seed = -1", "[0, "),
    (lambda: Evaluate(dense(), ATTACK, ("best_ra/tests",)), "Evaluate.places", "Did you mean 'test'?"),
    (lambda: Evaluate(dense(), ATTACK, ("final",)), "Evaluate.places", "'train', 'val', 'test'"),
    (lambda: CW(c=0.0), "CW.c = 0.0", "(0, "),
    (lambda: attacks.AutoAttack(0.1, "custom", members=("apgd",)), "AutoAttack.members = 'apgd'", "Did you mean 'apgd-"),
    (lambda: choose("exhibit", "tabel_1", ["table_1", "figure_5"]), "exhibit = 'tabel_1'", "Did you mean 'table_1'?"),
    (lambda: within("x", 10**400, 0, 1), "x = 1000", "[0, 1]"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "what", "remedy"), BAD)
def test_bad_values_say_field_value_and_what_is_allowed(make, what, remedy):
    with pytest.raises(SpecError) as error:
        make()
    text = str(error.value)
    assert what in text
    assert remedy in text
    assert "\n" not in text
    assert text.endswith((".", "?"))
    assert isinstance(error.value, ReplibError)


def test_good_values_at_the_edges_pass():
    assert within("x", 1, 0, 1) == 1
    assert T.Steps(()).drops == ()
    assert ticket(M.Random(), 1).density == 1
    assert PGD(eps=0.0).eps == 0
    assert dense(retain=("masks@0.2", "weights")).retain == ("masks@0.2", "weights")
    with pytest.raises(dataclasses.FrozenInstanceError):
        dense().epochs = 3


# ---- fuzz --------------------------------------------------------------------------------------------------------------
def all_specs() -> list[type[Spec]]:
    modules = (attacks, T, tickets, M.flying_bird, M.robust_bird)
    found = {c for m in modules for c in vars(m).values() if inspect.isclass(c) and issubclass(c, Spec)}
    return [*sorted(found - {Spec, Job}, key=lambda c: c.__name__), Evaluate]


JUNK = (0, 1, -1, 2, 0.5, 1.0, -0.0, 1e-300, 1e308, 10**400, math.nan, math.inf, True, None, "", "linf", "é\ud800", (), (0.5,), [1, [2]],
        {}, b"x", 3 + 4j, object, ("a", None), Data("digits"), ATTACK, T.SGD())  # fmt: skip


def guess(hint: object, rng: random.Random, depth: int) -> object:
    """A value that mostly suits `hint`, and sometimes anything."""
    if rng.random() < 0.15:
        return rng.choice(JUNK)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return rng.choice(args)
    if origin is tuple:
        return tuple(guess(args[0], rng, depth) for _ in range(rng.randrange(4)))
    if args:
        return guess(rng.choice(args), rng, depth)
    if hint is float:
        return rng.choice((0.0, 0.1, 0.5, 1.0, 2.0, rng.uniform(-0.2, 1.2), rng.gauss(0, 100)))
    if hint is int:
        return rng.choice((0, 1, 2, 7, 30, rng.randrange(-3, 1000)))
    if hint is bool:
        return rng.random() < 0.5
    if hint is str:
        return rng.choice(("final", "best_ra", "digits", "cifar10", "vgg_small", "mlp", "average_final", "best_ra/test", "weights"))
    if inspect.isclass(hint) and issubclass(hint, Spec):
        return make(rng.choice([c for c in (*all_specs(), Data, Net) if issubclass(c, hint)] or [Data]), rng, depth + 1)
    return None


def make(cls: type[Spec], rng: random.Random, depth: int = 0) -> Spec:
    hints = typing.get_type_hints(cls)
    needed = [f for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    chosen = [f for f in dataclasses.fields(cls) if f in needed or rng.random() < (0.5 if depth < 3 else 0.1)]
    return cls(**{f.name: guess(hints[f.name], rng, depth) for f in chosen})


def fuzz(seed: int, rounds: int) -> int:
    """Number of valid specs among `rounds` made at random. Fails on any error but SpecError."""
    rng, valid = random.Random(seed), 0
    for _ in range(rounds):
        cls = rng.choice(all_specs())
        try:
            spec = make(cls, rng)
        except SpecError as e:
            refused = str(e)
        else:
            refused = ""
        assert "\n" not in refused
        if refused:
            continue
        valid += 1
        name = key(spec)
        assert len(name) == 12
        assert int(name, 16) >= 0
        assert key(pickle.loads(pickle.dumps(spec))) == name
        assert key(replace(spec)) == name
        assert json.loads(json.dumps(canonical(spec))) == canonical(spec)
        json.dumps(resolved(spec), allow_nan=False)
    return valid


def test_random_values_make_a_spec_or_a_spec_error():
    assert fuzz(0, 1500) > 150


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_many_random_values_make_a_spec_or_a_spec_error(seed):
    assert fuzz(seed, 20_000) > 2_000
