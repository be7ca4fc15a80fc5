"""What the book reads from source text: departures, modules, docstrings that become valid reStructuredText."""

from __future__ import annotations

from pathlib import Path

import docutils.core
import pytest
from docutils import nodes

from replib.claims import load_claims
from replib.claims.threats import concerned
from replib.root import project_root
from replib.site import source
from replib.site.docstrings import as_rst

PACKAGE = Path(__file__).resolve().parents[1] / "replib"


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "pkg"
    (folder / "sub").mkdir(parents=True)
    (folder / "__init__.py").write_text('"""Top."""\n')
    (folder / "__main__.py").write_text("")
    (folder / "sub/__init__.py").write_text("")
    (folder / "sub/work.py").write_text(
        '''"""Work | hard. A mark in code, ``Departs:``, is talk about the mark.

Second paragraph.
"""

LIMIT = 3
TEXT = "Departs: a string is no departure"


class Bird:
    """A bird.

    Departs: from the roof,
    at dawn.

    Not this.
    """

    def fly(self):
        # Departs: wings are longer
        # than printed.
        x = 1  # another comment
        return x
'''
    )
    return folder


def test_departures_are_found_with_place_and_whole_text(package):
    assert source.departures(package) == [
        {"module": "pkg.sub.work", "line": 13, "inside": "Bird", "text": "from the roof, at dawn."},
        {"module": "pkg.sub.work", "line": 20, "inside": "Bird.fly", "text": "wings are longer than printed."},
    ]


def test_modules_are_those_that_can_be_imported(package):
    assert list(source.modules(package)) == ["pkg", "pkg.sub", "pkg.sub.work"]


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("pkg.sub.work", True),
        ("pkg.sub.work.Bird", True),
        ("pkg.sub.work.LIMIT", True),
        ("pkg.sub.work.Fish", False),
        ("other", False),
    ],
)
def test_names_are_looked_up_without_importing(package, name, there):
    assert source.defined(package, name) is there


def test_reference_has_every_module_once():
    text = "\n".join(source.api_pages(PACKAGE).values())
    for name in source.modules(PACKAGE):
        assert text.count(f".. automodule:: {name}\n") == 1, name


def test_register_points_to_code_that_exists():
    import csv

    with (PACKAGE.parent / "book/register.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 50
    assert [int(row["number"]) for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        assert row["paper"] in {"A", "B", "C", "D", "all"}
        for name in row["where"].split():
            assert source.defined(PACKAGE, name), f"row {row['number']} names {name}, which is not in the package"


def parsed(text: str) -> nodes.document:
    """The document that `text` gives; any message of docutils is an error."""
    settings = {"report_level": 1, "halt_level": 2, "warning_stream": False}
    return docutils.core.publish_doctree("\n".join(as_rst(text.split("\n"))), settings_overrides=settings)


@pytest.mark.parametrize(
    "text",
    [
        "Keep |w| > tau and W * m, in names like x_ and *args.",
        "A paragraph\nof two lines\n    and then an indented one\nand back.",
        "Options:\n- first\n  goes on\n- second\nThen text.",
        "1. one\n2. two\n   more",
        "Use `key`s and ``a*b``x.",
        "Table::\n\n    a  b\n    1  2\n\nAfter.",
    ],
)
def test_plain_docstrings_parse_without_a_message(text):
    parsed(text)


def test_shown_text_is_the_written_text():
    said = "Keep |w| > tau and W * m, in x_ and *args."
    assert parsed(said).astext() == said


def test_backticks_are_code_and_lists_stay_lists():
    tree = parsed("Uses `key`.\n- one\n- two")
    assert [n.astext() for n in tree.findall(nodes.literal)] == ["key"]
    assert len(list(tree.findall(nodes.list_item))) == 2


def test_bold_words_code_after_a_sign_and_addresses():
    tree = parsed("The rule: **never change it**. An angle in ±``degrees``, a column masks@0.2, 2**3.")
    assert [n.astext() for n in tree.findall(nodes.strong)] == ["never change it"]
    assert [n.astext() for n in tree.findall(nodes.literal)] == ["degrees"]
    assert not list(tree.findall(nodes.reference))
    assert tree.astext() == "The rule: never change it. An angle in ±degrees, a column masks@0.2, 2**3."


def test_every_docstring_of_the_package_parses():
    """Without Sphinx the roles are unknown, so they are taken out first; everything else must be in order."""
    import ast
    import re

    for path in source.modules(PACKAGE).values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (said := ast.get_docstring(node)):
                parsed(re.sub(r":[a-z:]+:`", "`", said))


def test_a_threat_is_told_beside_the_claims_that_its_section_links_to():
    first = "(one)=\n## First\n\nSee [a](#claim-a_b) and [a](#claim-a_b).\n"
    page = f"# T\n\n{first}\n## No label\n\n[c](#claim-c)\n\n(two)=\n## Second\n[a](#claim-a_b)\n"
    assert concerned(page) == {"a_b": [("First", "one"), ("Second", "two")]}


def test_every_threat_to_a_claim_is_one_to_a_claim_that_there_is():
    found = concerned((project_root() / "book/threats.md").read_text(encoding="utf-8"))
    assert found
    assert set(found) <= {c.claim_id for c in load_claims()}
