"""Statements about the source itself: which way imports point, how thin notebooks are, and that no result is typed in."""

from __future__ import annotations

import ast
import csv
import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "replib"
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))

LAYERS = [("spec",), ("root",), ("data", "models"), ("attacks",), ("sparsity",), ("store",), ("training",),
          ("methods", "analysis"), ("experiments",), ("plots", "claims"),
          ("render", "summary", "verdicts", "verify", "site"), ("cli",)]  # fmt: skip
"""From the ground up. A module imports from its own layer's package and from lower layers only."""

HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}


def imports(path: Path) -> set[str]:
    """Parts of the package that a file imports, functions included: the second component of ``replib.<part>...``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"replib.{a.name}" for a in node.names} if node.module == "replib" else {node.module}
    return {n.split(".")[1] for n in found if n.startswith("replib.")} & set(HEIGHT)


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem != "__init__")


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_part_of_the_package_has_its_layer():
    assert {part(p) for p in MODULES} - {"__main__"} <= set(HEIGHT)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = part(path)
    wrong = {n for n in imports(path) if n != own and HEIGHT[n] > HEIGHT.get(own, len(LAYERS))}
    assert not wrong, f"{own} must not import from {', '.join(sorted(wrong))}"


def test_layers_of_one_height_do_not_import_each_other_in_a_circle():
    uses = {}
    for path in MODULES:
        uses.setdefault(part(path), set()).update(imports(path) - {part(path)})
    for a, others in uses.items():
        assert not [b for b in others if a in uses.get(b, ())], a


@pytest.mark.parametrize("name", ["spec", "data/roles", "data/spec", "models/spec", "attacks/spec"])
def test_plans_need_no_torch(name):
    tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
    top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    assert not [n for n in top if "torch" in ast.unparse(n)]


# ---- no result is typed in ------------------------------------------------------------------------------------------------
def printed() -> set[str]:
    """Robust accuracies that the papers print with two decimals."""
    found = set()
    for path in (ROOT / "results" / "reported").glob("*.csv"):
        with open(path, encoding="utf-8") as f:
            for row in csv.DictReader(f):
                if "robust_accuracy" in (row.get("metric") or "") and re.fullmatch(r"\d\d\.\d[1-9]", row.get("value") or ""):
                    found.add(row["value"])
    return found


def typed(source: str) -> set[str]:
    """Number literals of a piece of Python, as written."""
    constants = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant))
    return {ast.get_source_segment(source, n) for n in constants if isinstance(n.value, float)}


def cells(path: Path, kind: str = "code") -> list[dict]:
    return [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == kind]


def code(cell: dict) -> str:
    return "".join(cell["source"])


def test_the_printed_numbers_are_known_to_this_test():
    assert {"51.62", "46.37", "43.61"} <= printed()
    assert typed("x = [51.62, f(1.5)]") == {"51.62", "1.5"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_accuracy_is_typed_into_the_package(path):
    assert not typed(path.read_text(encoding="utf-8")) & printed()


# ---- notebooks ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_notebooks_are_thin(path):
    found = cells(path)
    assert 1 <= len(found) <= 8
    assert not [c for c in found if c["outputs"] or c["execution_count"] is not None], "clear the outputs"
    assert sum("parameters" in c["metadata"].get("tags", ()) for c in found) == 1
    for cell in found:
        source = code(cell)
        assert "plt." not in source
        tree = ast.parse("\n".join(line for line in source.splitlines() if not line.startswith(("%", "!"))))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                assert node.end_lineno - node.lineno < 5, f"{node.name} belongs into the package"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_no_accuracy_is_typed_into_a_notebook(path):
    numbers = set(re.findall(r"(?<![\d.])\d\d\.\d\d(?![\d.])", "\n".join(code(c) for k in ("code", "markdown") for c in cells(path, k))))
    assert not numbers & printed()


# ---- environments --------------------------------------------------------------------------------------------------------------
def pins(text: str) -> dict[str, str]:
    """Exact versions by normalised name, from lines like ``name==1.2`` with any indent or dash."""
    found = re.findall(r"^[\s-]*[\"']?([A-Za-z0-9._-]+)==([^\s;\"']+)", text, re.M)
    return {re.sub(r"[-_.]+", "-", n).lower(): v for n, v in found}


def test_conda_users_get_the_pinned_versions():
    path = ROOT / "environment.yml"
    if not path.exists():
        pytest.skip("there is no environment.yml yet")
    ours, constraints = path.read_text(encoding="utf-8"), pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    assert len(constraints) > 50
    listed = pins(ours)
    assert {n: v for n, v in listed.items() if constraints.get(n) != v} == {}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {re.split(r"[<>=\[ ]", d)[0].lower() for d in project["dependencies"]}
    by_file = re.search(r"-[rc]\s+constraints\.txt", ours) is not None  # then pip pins the rest
    assert by_file or asked <= set(listed)
