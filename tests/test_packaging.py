"""What is installed is pinned once (environment.yml, constraints.txt), and licences, citation and CI are in order."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPO = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]


def direct() -> dict[str, Requirement]:
    """The project's direct dependencies, optional ones included."""
    texts = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    return {canonicalize_name(r.name): r for r in map(Requirement, texts)}


def pins(lines: list[str]) -> dict[str, str]:
    """Name to version of ``name==version`` lines; raises for anything else."""
    found = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([^\s;]+)", line)
        assert match, f"{line!r} is not a pin"
        assert canonicalize_name(match[1]) not in found, f"{match[1]} is pinned twice"
        found[canonicalize_name(match[1])] = match[2]
    return found


def constraints() -> dict[str, str]:
    lines = [line.partition("#")[0].strip() for line in (REPO / "constraints.txt").read_text().splitlines()]
    return pins([line for line in lines if line])


def conda() -> tuple[list[str], list[str]]:
    """Entries of environment.yml: for conda, for pip."""
    entries = yaml.safe_load((REPO / "environment.yml").read_text())["dependencies"]
    (nested,) = [e["pip"] for e in entries if isinstance(e, dict)]
    return [e for e in entries if isinstance(e, str)], nested


def test_every_direct_dependency_is_pinned_to_a_version_that_the_project_admits():
    pinned = constraints()
    for name, requirement in direct().items():
        assert name in pinned, f"{name} is not pinned in constraints.txt"
        assert requirement.specifier.contains(pinned[name], prereleases=True), requirement


def test_pip_pins_of_environment_yml_are_those_of_the_constraints_file():
    _, entries = conda()
    options = [e for e in entries if e.startswith("-")]
    assert options == ["--constraint constraints.txt", "--editable ."]
    pinned = constraints()
    assert pins([e for e in entries if not e.startswith("-")]) == {name: pinned.get(name) for name in direct()}


def test_conda_brings_python_and_pip():
    entries, _ = conda()
    assert entries == ["python=3.11", "pip"]
    assert PROJECT["requires-python"] == ">=3.11"


def test_every_conda_entry_is_a_match_spec():
    rattler = pytest.importorskip("rattler", reason="py-rattler is not installed; it would parse the conda entries")
    entries, _ = conda()
    for entry in entries:
        assert str(rattler.MatchSpec(entry, strict=True).name.normalized) == re.match(r"[\w-]+", entry)[0]


def test_the_citation_names_the_version_and_the_four_papers():
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"] == "MIT"
    bibliography = re.sub(r"[{}]", "", (REPO / "book" / "references.bib").read_text())
    assert len(citation["references"]) == 4
    for paper in citation["references"]:
        entry = bibliography[bibliography.index(f"title = {paper['title']}") :].partition("\n@")[0]
        assert f"year = {paper['year']}" in entry
        assert all(a["family-names"] in entry for a in paper["authors"])


def test_licence_files_are_there_and_name_their_licence():
    assert all((REPO / name).exists() for name in PROJECT["license-files"])
    assert (REPO / "LICENSE").read_text().startswith("MIT License")
    assert "https://creativecommons.org/licenses/by/4.0/" in (REPO / "LICENSE-results-and-text").read_text()


@pytest.mark.parametrize("workflow", sorted((REPO / ".github" / "workflows").glob("*.yml")), ids=lambda p: p.name)
def test_continuous_integration_calls_make_targets_that_exist(workflow):
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    called = {target for job in jobs.values() for step in job["steps"] for target in re.findall(r"^make (\S+)", step.get("run", ""), re.M)}
    targets = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), re.M))
    assert called
    assert called <= targets
