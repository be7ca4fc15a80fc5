"""What publishing writes besides the evidence: the README's tables between their markers, the scoreboard, tidy results."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import tiny

from replib import summary
from replib.claims.records import verdict_words
from replib.verdicts import records

BEGIN, END = "<!-- results:begin -->\n", "<!-- results:end -->"
README = f"# Title\n\nbefore \\1 | {END[:4]}\n{BEGIN}outdated\n\nlines\n{END}\n\nafter\n"


def record(
    claim="c", paper="sparsity_winning_twice", scope="stand-in", outcome="supported", printed=True, n=5, sentence="So it is.", interval=None
):
    told = {"claim_id": claim, "paper": paper, "statement": f"Statement of {claim}.", "scope": scope, "outcome": outcome}
    return told | {"printed": printed, "n": n, "sentence": sentence, "interval": interval}


# ---- the README ---------------------------------------------------------------------------------------------------------------------
def test_what_stands_between_the_markers_is_replaced_and_nothing_else():
    content = "| a \\1 \\g<0> | table |"  # as sentences may hold them: no group of a regular expression
    filled = summary.fill(README, content)
    before, _, rest = README.partition(BEGIN)
    after = rest.partition(END)[2]
    assert filled == f"{before}{BEGIN}{content}\n{END}{after}"
    assert summary.fill(filled, content) == filled


def test_a_text_without_markers_stays_as_it_is():
    assert summary.fill("# Title\n", "table") == "# Title\n"


@pytest.mark.parametrize(
    ("scope", "outcome", "said"),
    [
        ("stand-in", "supported", "consistent with"),
        ("stand-in", "contradicted", "contrary to"),
        ("stand-in", "inconclusive", "inconclusive"),
        ("paper scale", "supported", "supported"),
        ("paper scale", "contradicted", "contradicted"),
    ],
)
def test_a_stand_in_confirms_and_refutes_nothing(scope, outcome, said):
    assert verdict_words(scope, outcome) == said


def test_claims_are_counted_by_paper_and_those_that_are_decided_are_listed():
    made = [
        record("a", printed=True, sentence="So | it is."),
        record("b", printed=False, outcome="inconclusive", sentence="5 | 6"),
        record("c", printed=None, outcome="no results yet", n=0),
        record("d", "double_win_lottery_tickets", outcome="not testable here", n=0),
    ]
    head, _, a, b, c, d, _, titles, _, *claims = summary.block(
        made, {"a": [("No | drop", "threat-a"), ("No | drop", "threat-a"), ("Few seeds", "b")]}
    ).splitlines()
    assert [w.strip() for w in head.split("|")[1:-1]] == [
        "paper", "claims", "true of its own numbers", "consistent with", "inconclusive", "no results yet", "not testable here",
    ]  # fmt: skip
    counted = [[w.strip() for w in line.split("|")[2:-1]] for line in (a, b, c, d)]
    none = ["0", "0 of 0", "0", "0", "0", "0"]
    assert counted == [["3", "1 of 2", "1", "1", "1", "0"], none, ["1", "1 of 1", "0", "0", "0", "1"], none]
    assert titles.startswith("| decided claim |")
    threats = "[No / drop](book/threats.md); [Few seeds](book/threats.md)"
    assert claims == [f"| Statement of a. `a` | consistent with | So / it is. | {threats} |"]


def test_inconclusive_claims_whose_worst_condition_lies_on_the_contrary_side_are_named():
    made = [
        record("a", outcome="inconclusive", interval=[-3.0, -1.0]),
        record("b", outcome="inconclusive", interval=[-3.0, 1.0]),
        record("c", outcome="contradicted", interval=[-3.0, -1.0]),
    ]
    (line,) = [line for line in summary.block(made, {}).splitlines() if line.startswith("*Inconclusive*")]
    assert "Of 1 such claim the" in line
    assert line.endswith(": `a`.")


def test_where_nothing_is_decided_the_readme_says_so():
    last = summary.block([record("b", outcome="inconclusive"), record("c", outcome="no results yet", n=0)], {}).splitlines()[-1]
    assert last.startswith("No claim is decided yet")


# ---- everything at once ---------------------------------------------------------------------------------------------------------------
def test_publishing_writes_scoreboard_results_picture_and_readme(project):
    (project.root / "README.md").write_text(README)
    found = records("laptop", project.root, published_only=True)
    summary.write("laptop", found, project.root)
    folder = project.root / "results" / "laptop"
    scoreboard = json.loads((folder / "scoreboard.json").read_text())
    assert scoreboard["profile"] == "laptop"
    assert scoreboard["claims"] == json.loads(json.dumps(found))
    table = pd.read_csv(folder / "exhibits" / "sparsity_winning_twice.table_1.csv", keep_default_na=False)
    frame = tiny.EXHIBIT.read(project.published, tiny.PROFILE, tiny.SEEDS)
    assert list(table.columns) == list(frame.columns)
    assert list(table.setting) == list(frame.setting)
    assert table.value.to_numpy() == pytest.approx(frame.value.to_numpy(), rel=1e-5)
    assert "<svg" in (folder / "table_1.svg").read_text()
    readme = (project.root / "README.md").read_text()
    assert readme == summary.fill(README, summary.current(project.root))
    assert "No claim is decided yet" in readme
    assert "outdated" not in readme


def test_without_published_results_only_the_scoreboard_is_written(project):
    project.unpublish()
    (project.root / "README.md").write_text(README)
    summary.write("laptop", records("laptop", project.root, published_only=True), project.root)
    folder = project.root / "results" / "laptop"
    assert [p.name for p in folder.rglob("*") if p.is_file()] == ["scoreboard.json"]
    assert (project.root / "README.md").read_text() == README
