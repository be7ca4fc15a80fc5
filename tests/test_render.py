"""Executing notebooks: the profile reaches them, and what did not run to its end is never taken for a page."""

from __future__ import annotations

import nbformat
import pytest

from replib import render
from replib.render import render_all
from replib.spec import ReplibError

PARAMETERS = nbformat.v4.new_code_cell('profile = "laptop"', metadata={"tags": ["parameters"]})
PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}, "language_info": {"name": "python"}}


def notebook(root, name, *cells):
    """A notebook of code cells in the project at `root`; returns its id."""
    path = root / "notebooks" / "paper" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_code_cell(c) if isinstance(c, str) else c for c in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=PYTHON), path)
    return f"paper/{name}"


def texts(path):
    """What the cells of an executed notebook printed."""
    return [o.text for c in nbformat.read(path, 4).cells if c.cell_type == "code" for o in c.outputs if o.output_type == "stream"]


def test_a_notebook_runs_in_the_profile_that_was_asked_for_and_the_broken_ones_are_named(tmp_path):
    """Two notebooks that work and one whose kernel dies, at once: the good ones are done all the same."""
    good = notebook(tmp_path, "good", PARAMETERS, "import os; print(profile, os.environ['REPLIB_ROOT'], os.getcwd())")
    dies = notebook(tmp_path, "dies", PARAMETERS, "import os; os._exit(1)", "print('never')")
    with pytest.raises(ReplibError, match=r"paper/dies did not run to its end in the profile 'smoke'.*open it in Jupyter") as e:
        render_all([good, dies], "smoke", tmp_path, workers=2)
    assert "good" not in str(e.value)
    rendered = tmp_path / "build" / "rendered" / "smoke" / "paper"
    assert texts(rendered / "good.ipynb") == [f"smoke {tmp_path} {tmp_path}\n"]
    assert not (rendered / "dies.ipynb").exists()
    assert not (rendered / "good.running.ipynb").exists()
    source = nbformat.read(tmp_path / "notebooks" / "paper" / "good.ipynb", 4)
    assert not any(c.outputs for c in source.cells)  # notebooks in git stay without outputs


def test_a_notebook_without_the_parameter_is_refused_before_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(render.subprocess, "run", lambda *a, **k: pytest.fail("it ran"))
    bare = notebook(tmp_path, "bare", 'profile = "laptop"')  # not in a cell tagged parameters: papermill would not see it
    other = notebook(tmp_path, "other", nbformat.v4.new_code_cell("seed = 0", metadata={"tags": ["parameters"]}))
    for id in (bare, other):
        with pytest.raises(ReplibError, match=r"has no parameter called profile.*Add it to the parameters cell"):
            render_all([id], "smoke", tmp_path)
    with pytest.raises(ReplibError, match=r"nothing\.ipynb does not exist; replib list"):
        render_all(["paper/nothing"], "smoke", tmp_path)


@pytest.mark.parametrize(("status", "count", "works"), [(0, 1, True), (0, None, False), (1, 1, False)])
def test_only_exit_status_and_execution_counts_are_trusted(tmp_path, monkeypatch, status, count, works):
    """Papermill calls a notebook completed although its kernel died; what it wrote is scripted here."""
    id = notebook(tmp_path, "page", PARAMETERS, "1 + 1", nbformat.v4.new_markdown_cell("text"), "")
    out = tmp_path / "build" / "rendered" / "smoke" / "paper" / "page.ipynb"

    def papermill(command, **_):
        made = nbformat.read(command[3], 4)
        for cell in made.cells:
            if cell.cell_type == "code" and cell.source:
                cell.execution_count = count
        nbformat.write(made, command[4])
        return render.subprocess.CompletedProcess(command, status, "", "noise\nthe reason\n" if status else "")

    monkeypatch.setattr(render.subprocess, "run", papermill)
    if works:
        assert render_all([id], "smoke", tmp_path) == [out]
        assert out.exists()
        return
    with pytest.raises(ReplibError, match="the reason" if status else "its kernel died"):
        render_all([id], "smoke", tmp_path)
    assert not out.exists()
    assert out.with_suffix(".running.ipynb").exists()
