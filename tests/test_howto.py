"""The how-to pages: the worked example runs as it is printed, and every command that is printed exists."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
PAGE = REPO / "book" / "howto" / "add_a_method.md"
PAGES = [p for p in (REPO / "README.md", REPO / "CONTRIBUTING.md") if p.exists()] + sorted((REPO / "book" / "howto").glob("*.md"))


def blocks(page: Path, *languages: str) -> list[str]:
    """Fenced code blocks of a page in `languages`, in order, with lines that go on joined."""
    return [
        text.replace("\\\n", "") for word, text in re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.M | re.S) if word in languages
    ]


def test_the_worked_example_adds_a_row_to_table_1(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "reported").symlink_to(REPO / "results" / "reported")
    module, *rest = blocks(PAGE, "python")
    name = re.match(r"# (\w+\.py)\n", module)
    assert name, "the first block of the page is a file and starts with its name"
    (tmp_path / name[1]).write_text(module)
    ending = 'table.to_csv("table.csv", index=False)\n'
    (tmp_path / "page.py").write_text("\n".join([*rest, ending]))
    answer = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=900,
        env=os.environ | {"REPLIB_ROOT": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr

    import pandas as pd

    table = pd.read_csv(tmp_path / "table.csv")
    row = table[table.setting == "Initial magnitude"].set_index("metric").value
    assert set(table.setting) == {"Baseline", "Random Pruning", "OMP", "Initial magnitude"}
    assert row["final_density_percent"] == pytest.approx(10, abs=0.2)
    assert 0 <= row["robust_accuracy_final"] <= row["standard_accuracy_final"] <= 100
    assert set(table[table.setting == "OMP"].metric) == set(row.index)


def executed(lines: list[str], tmp_path: Path) -> list[str]:
    """What a program of these lines prints, at the smallest scale and in a project without results."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "reported").symlink_to(REPO / "results" / "reported")
    (tmp_path / "page.py").write_text("\n".join(lines))
    answer = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=900,
        env=os.environ | {"REPLIB_ROOT": str(tmp_path), "REPLIB_PROFILE": "smoke", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()


def test_results_are_read_down_to_images_and_weights_as_the_page_says(tmp_path):
    check = """
values = ours[(ours.setting == "OMP") & (ours.sparsity_percent == 80) & (ours.seed == 0)].set_index("metric").value
print(values["robust_accuracy_best"], 100 * robust.mean())
print(values["standard_accuracy_best"], 100 * clean.float().mean().item())
print(values["final_density_percent"], 100 * kept)
"""
    said = executed([*blocks(REPO / "book" / "howto" / "use_the_results.md", "python"), check], tmp_path)
    assert said[0].startswith("evaluate-")
    for line in said[-3:]:
        table, counted = map(float, line.split())
        assert counted == pytest.approx(table, abs=1e-4)


def test_changed_numbers_are_set_beside_the_old_ones_as_the_page_says(tmp_path):
    text = blocks(REPO / "book" / "howto" / "change_a_parameter.md", "python")[1]
    joined = text.replace("old.merge", "both = old.merge")
    said = executed([joined, "print(len(both), len(old), (both.value != both.value_changed).sum())"], tmp_path)
    both, before, moved = map(int, said[-1].split())
    assert 0 < both <= before
    assert moved > 0


def printed_commands() -> set[tuple[str, str]]:
    """(program, first word after it) of every replib and make command on the pages, in blocks and between backticks."""
    found = set()
    for page in PAGES:
        text = page.read_text()
        lines = [line for block in blocks(page, "bash", "sh", "text", "console") for line in block.splitlines()]
        lines += re.findall(r"`((?:replib|make) [^`\n]+)`", text)
        for line in lines:
            for part in re.split(r"&&|;|\|", line):
                words = shlex.split(part.removeprefix("$ "), comments=True)
                words = [w for w in words if "=" not in w]
                if len(words) > 1 and words[0] in ("replib", "make"):
                    found.add((words[0], words[1]))
    return found


COMMANDS = sorted(printed_commands())


def test_the_pages_print_commands():
    assert ("replib", "run") in COMMANDS
    assert ("replib", "plan") in COMMANDS


def test_every_replib_command_that_is_printed_exists():
    from typer.main import get_command

    from replib.cli import app

    verbs = set(get_command(app).commands)
    assert {verb for program, verb in COMMANDS if program == "replib" and not verb.startswith("-")} <= verbs


@pytest.mark.parametrize("target", sorted(verb for program, verb in COMMANDS if program == "make"))
def test_every_make_target_that_is_printed_exists(target):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    answer = subprocess.run(["make", "--dry-run", target], cwd=REPO, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_option_that_is_printed_exists(page):
    """Options of replib commands in the blocks of a page, for example -p and --seeds of `replib run`."""
    from typer.main import get_command

    from replib.cli import app

    verbs = get_command(app).commands
    for block in blocks(page, "bash", "sh", "text", "console"):
        for line in block.splitlines():
            words = shlex.split(line.partition("&&")[0], comments=True)
            if len(words) > 1 and words[0] == "replib" and words[1] in verbs:
                known = {o for p in verbs[words[1]].params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-v"}
                assert {w.partition("=")[0] for w in words[2:] if re.match(r"--?[a-z]", w)} <= known, line
