"""The book as a whole: its settings load, its pages exist, and what is built needs no network."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from replib.site import build
from replib.spec import ReplibError, SpecError

ROOT = Path(__file__).resolve().parents[1]
EXHIBIT = "sparsity_winning_twice/table_1"


def notebook(*outputs):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Table 1\n", "Text."]},
        {"cell_type": "code", "metadata": {}, "execution_count": 1, "source": ["1"], "outputs": list(outputs)},
    ]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}


@pytest.fixture
def root(tmp_path):
    """A project with this one's sources and nothing rendered."""
    for name in ("book", "replib", "results", "_config.yml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def render(root: Path, exhibit: str = EXHIBIT) -> None:
    path = root / "build/rendered/laptop" / f"{exhibit}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(notebook()))
    path.with_suffix(".csv").write_text("a\n1\n")
    (path.parent / "table_11.csv").write_text("not ours\n")


@pytest.fixture
def assembled(root):
    render(root)
    return build.assemble("laptop", root, exhibits=[EXHIBIT], claims=CLAIMS)


CLAIMS = [
    {
        "claim_id": "swt_x",
        "paper": "sparsity_winning_twice",
        "source": "Table 1",
        "statement": "S",
        "exhibits": [EXHIBIT],
        "scope": "none",
        "outcome": "no results yet",
    }
]


def test_settings_load_and_name_files_that_exist():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert settings["execute"]["execute_notebooks"] == "off"
    sphinx = settings["sphinx"]["config"]
    assert (ROOT / "book" / sphinx["html_static_path"][0] / sphinx["mathjax_path"]).exists()
    assert (ROOT / "book" / sphinx["html_static_path"][0] / sphinx["html_css_files"][0]).exists()
    assert all((ROOT / "book" / b).exists() for b in sphinx["bibtex_bibfiles"])


def test_every_page_of_the_contents_exists(assembled):
    toc = yaml.safe_load((assembled / "_toc.yml").read_text())
    files = [*re.findall(r"file: (\S+)", (assembled / "_toc.yml").read_text()), toc["root"]]
    assert f"notebooks/{EXHIBIT}" in files
    for name in files:
        assert any((assembled / f"{name}{suffix}").exists() for suffix in (".md", ".ipynb")), name


def test_every_hand_written_page_is_in_the_contents(assembled):
    listed = set(re.findall(r"(?:file|root): (\S+)", (assembled / "_toc.yml").read_text()))
    written = {str(p.relative_to(ROOT / "book").with_suffix("")) for p in (ROOT / "book").rglob("*.md")}
    assert written <= listed


def test_included_fragments_exist(assembled):
    for page in assembled.rglob("*.md"):
        for name in re.findall(r"^```\{include\} (\S+)$", page.read_text(), flags=re.MULTILINE):
            assert (page.parent / name).exists(), f"{page.name} includes {name}"


def test_files_beside_a_notebook_come_along_and_others_do_not(assembled):
    assert (assembled / f"extra/notebooks/{EXHIBIT}.csv").exists()
    assert not (assembled / "extra/notebooks/sparsity_winning_twice/table_11.csv").exists()
    assert (assembled / "extra/results/reported/claims.csv").exists()


def test_a_missing_notebook_is_named_with_its_remedy(root):
    with pytest.raises(ReplibError, match=rf"1 of 1 exhibits.*{EXHIBIT}.*Run `replib render -p laptop` first"):
        build.assemble("laptop", root, exhibits=[EXHIBIT], claims=CLAIMS)


def test_a_source_notebook_is_expected_to_be_rendered(root):
    source = root / "notebooks" / f"{EXHIBIT}.ipynb"
    source.parent.mkdir()
    source.write_text("{}")
    with pytest.raises(ReplibError, match="no executed notebook"):
        build.assemble("laptop", root, claims=CLAIMS)


def test_misspelt_names_are_refused(root):
    with pytest.raises(SpecError, match="Did you mean 'laptop'"):
        build.assemble("lapptop", root)
    with pytest.raises(SpecError, match="Did you mean"):
        build.assemble("laptop", root, exhibits=["sparsity_winning_twice/tabel_1"], claims=CLAIMS)


def test_nothing_of_an_earlier_assembly_is_left(assembled, root):
    (assembled / "stale.md").write_text("# Stale")
    assert not (build.assemble("laptop", root, exhibits=[EXHIBIT], claims=CLAIMS) / "stale.md").exists()


def test_only_the_smoke_profile_is_marked(root):
    assert "announcement" not in build.config(root, "laptop")["sphinx"]["config"]["html_theme_options"]
    assert "mean nothing" in build.config(root, "smoke")["sphinx"]["config"]["html_theme_options"]["announcement"]


def test_label_of_an_exhibit_is_added_once():
    label = "(exhibit-sparsity_winning_twice-table_1)="
    once = build.for_site(notebook(), EXHIBIT)
    assert "".join(once["cells"][0]["source"]).startswith(f"{label}\n# Table 1")
    twice = build.for_site(once, EXHIBIT)
    assert "".join(twice["cells"][0]["source"]).count(label) == 1


def test_plotly_figures_load_nothing_from_a_network():
    plot = {"data": [{"text": ["</script>"]}], "layout": {}}
    data = {"application/vnd.plotly.v1+json": plot, "text/html": "<script src='https://cdn'></script>"}
    page = build.for_site(notebook({"output_type": "display_data", "data": data, "metadata": {}}), EXHIBIT)
    shown = page["cells"][1]["outputs"][0]["data"]["text/html"]
    assert "https://" not in shown
    assert "_static/plotly.min.js" in shown
    assert shown.count("</script>") == 2  # its own two; the one in the data is written so that it closes nothing


def test_exhibits_are_the_papers_two_theorems_and_three_of_ours():
    rows = build.exhibit_rows(ROOT)
    assert len(rows) == 67
    assert len({row["id"] for row in rows}) == 67


def outside(page: str) -> list[str]:
    """What `page` would load from a network: scripts, styles, images, fonts. Links to follow do not count."""
    tags = re.findall(r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=[\"']((?:https?:)?//[^\"']+)", page)
    styles = [t for t in re.findall(r"<link\b[^>]*>", page) if not re.search(r"rel=[\"'](canonical|next|prev)", t)]
    return tags + [u for t in styles for u in re.findall(r"href=[\"']((?:https?:)?//[^\"']+)", t)]


def test_outside_resources_are_recognised():
    page = '<script async src="https://cdn.x/y.js"></script><link rel="stylesheet" href="//fonts.x">'
    assert outside(page) == ["https://cdn.x/y.js", "//fonts.x"]
    assert outside('<a href="https://x">x</a><img src="_static/x.png">') == []


def check_site(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert pages
    for page in pages:
        assert outside(page.read_text(encoding="utf-8")) == [], page
    for style in (site / "_static").rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_built_site_needs_no_network():
    if not (ROOT / "build/site/index.html").exists():
        pytest.skip("build/site is not built (make book)")
    check_site(ROOT / "build/site")


@pytest.mark.slow
def test_the_book_builds_without_a_warning(root):
    render(root)
    site = build.build("laptop", root, exhibits=[EXHIBIT])
    check_site(site)
    scoreboard = (site / "scoreboard.html").read_text(encoding="utf-8")
    assert len(set(re.findall(r'id="(claim-[a-z0-9-]+)"', scoreboard))) == 80
    assert 'id="exhibit-sparsity-winning-twice-table-1"' in (site / f"notebooks/{EXHIBIT}.html").read_text()
    shutil.rmtree(root / "build")
