"""Executing notebooks: what fails is named, with its own remedy where it has one, and costs the others nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import nbformat
import pytest

from replib.render import _made, render_all
from replib.spec import ReplibError

CELLS = {
    "good": "import os\nprint(profile, os.environ['REPLIB_ROOT'], os.environ['REPLIB_VERDICTS'])",
    "wanting": "from replib.spec import ReplibError\nraise ReplibError('There are no results. Run: replib run x')",
    "broken": "1 / 0",
    "dead": "import os\nos._exit(1)",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What rendering all of them says, and the project's folder."""
    root = tmp_path_factory.mktemp("project")
    (root / "notebooks" / "paper").mkdir(parents=True)
    (root / "results").mkdir()
    for name, source in CELLS.items():
        parameters = nbformat.v4.new_code_cell("profile = 'laptop'", metadata={"tags": ["parameters"]})
        book = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(source)])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(book, root / "notebooks" / "paper" / f"{name}.ipynb")
    nbformat.write(nbformat.v4.new_notebook(), root / "notebooks" / "paper" / "unparameterised.ipynb")
    with pytest.raises(ReplibError) as e:
        render_all([f"paper/{n}" for n in (*CELLS, "unparameterised", "absent")], "smoke", root, workers=2, judged=root / "judged.json")
    return str(e.value), root


def test_the_others_are_rendered_with_the_profile_that_was_asked_for(said):
    _, root = said
    made = root / "build" / "rendered" / "smoke" / "paper"
    assert [p.name for p in made.glob("*.ipynb") if ".running" not in p.name] == ["good.ipynb"]
    (output,) = nbformat.read(made / "good.ipynb", 4).cells[-1].outputs
    assert output.text == f"smoke {root} {root / 'judged.json'}\n"


def test_kernels_say_nothing_of_their_own(said, capfd):
    """Sixty warnings would hide the progress bar."""
    _, root = said
    render_all(["paper/good"], "smoke", root, judged=root / "judged.json")
    assert "WARNING" not in capfd.readouterr().err


def test_an_error_with_a_remedy_is_told_with_no_other_remedy_behind_it(said):
    text, _ = said
    told = text[text.index("paper/wanting") : text.index("paper/broken")]
    assert told.endswith("wanting.running.ipynb. There are no results. Run: replib run x ")


@pytest.mark.parametrize(("name", "what"), [("broken", "ZeroDivisionError"), ("dead", "DeadKernelError")])
def test_any_other_failure_is_named_with_its_notebook(said, name, what):
    text, _ = said
    told = text[text.index(f"paper/{name} did not run") :].partition("render again.")[0]
    assert what in told
    assert told.endswith("Open it in Jupyter, mend the cell and ")


def test_a_notebook_that_would_ignore_the_profile_is_refused(said):
    text, _ = said
    assert "unparameterised.ipynb has no parameter called profile" in text
    assert "absent.ipynb does not exist" in text


def test_a_process_that_is_killed_is_told_with_the_notebooks_it_cost():
    future: Future = Future()
    future.set_exception(BrokenProcessPool())
    assert "paper/a was not executed" in _made(future, "paper/a")
    full: Future = Future()
    full.set_exception(OSError(28, "No space left on device"))
    assert "No space left" in _made(full, "paper/b")


ORPHANED = """
import multiprocessing, os, signal
from concurrent.futures import ProcessPoolExecutor
from replib.render import _surround

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _surround, ({},))
    print(pool.submit(os.getppid).result() == os.getpid(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_main_process_that_is_killed_leaves_no_process_behind(tmp_path):
    (tmp_path / "orphaned.py").write_text(ORPHANED)
    # The worker holds the other end of the pipe that is read here to its end: one that stayed would let the time run out.
    ended = subprocess.run([sys.executable, tmp_path / "orphaned.py"], capture_output=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, b"True\n")
