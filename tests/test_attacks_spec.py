"""Specs of attacks: values that no attack can have fail when the spec is made, and nothing of it needs torch."""

import subprocess
import sys

import pytest

from replib.attacks import CW, FGSM, PGD, AutoAttack
from replib.spec import SpecError, canonical, key


def test_importing_the_specs_does_not_import_torch():
    code = "import sys, replib.attacks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: PGD(8), "PGD.eps"),  # 8 instead of 8/255
        (lambda: PGD(-0.1), "PGD.eps"),
        (lambda: PGD(0.1, steps=0), "PGD.steps"),
        (lambda: PGD(0.1, step=0), "PGD.step"),
        (lambda: PGD(0.1, norm="l1"), "PGD.norm"),
        (lambda: PGD(0.1, restarts=2, start="zero"), "PGD.restarts"),
        (lambda: FGSM(8), "FGSM.eps"),
        (lambda: CW(c=0), "CW.c"),
        (lambda: CW(iterations=0), "CW.iterations"),
        (lambda: AutoAttack(8), "AutoAttack.eps"),
        (lambda: AutoAttack(0.1, members=("apgd-ce",)), "AutoAttack.members"),
        (lambda: AutoAttack(0.1, suite="custom"), "AutoAttack.members"),
        (lambda: AutoAttack(0.1, suite="custom", members=("apgd",)), "AutoAttack.members"),
    ],
)
def test_impossible_values_are_named(make, field):
    with pytest.raises(SpecError, match=field.replace(".", r"\.")):
        make()


def test_l2_radii_may_exceed_one():
    assert PGD(2.0, norm="l2").eps == 2.0


def test_only_choices_that_differ_from_the_paper_enter_the_key():
    assert canonical(PGD(0.1, steps=10)) == {"is": "PGD@1", "eps": 0.1}
    assert key(PGD(0.1, steps=20)) != key(PGD(0.1)) != key(FGSM(0.1))
