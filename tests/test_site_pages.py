"""Generated pages: what is written is what a reader sees, and every claim can be reached."""

from __future__ import annotations

import html
import re

import pytest
from markdown_it import MarkdownIt

from replib.claims import verdicts
from replib.experiments.profiles import LAPTOP
from replib.root import exhibit_id, project_root
from replib.site import markup, pages, scoreboard
from replib.site.build import HOWTO, METHODS
from replib.site.make import role_rows
from replib.spec import ReplibError


@pytest.fixture(scope="module")
def claims():
    return verdicts(None)


def claim(**changes):
    record = {
        "claim_id": "swt_a_b",
        "paper": "sparsity_winning_twice",
        "source": "Table 1",
        "statement": "A | B has w_1 < w_2.",
        "exhibits": ["sparsity_winning_twice/table_1"],
        "scope": "stand-in",
        "outcome": "supported",
    }
    return record | changes


def seen(markdown: str) -> str:
    """The text of a rendered Markdown fragment."""
    page = MarkdownIt("commonmark").enable("table").render(markdown)
    return html.unescape(re.sub(r"<[^>]+>", "", page)).strip()


@pytest.mark.parametrize(
    "text",
    [
        "|w| <= 5",
        "a_b_c and *stars*",
        "[x](y) {role}`z`",
        "<b>bold</b> &amp;",
        "5 ~ 6 # 7 $x$",
        r"back\slash",
        "1e-3 ^ 2",
    ],
)
def test_escaped_text_shows_exactly_its_characters(text):
    assert seen(markup.escape(text)) == text


def test_a_claim_lists_the_conditions_that_do_not_hold():
    page = scoreboard.scoreboard([claim(failing=["gap at 90 %", "a * b"]), claim(claim_id="swt_c")], "laptop", [])
    assert "```{dropdown} Conditions that do not hold in the mean: 2\n- gap at 90 %\n- a \\* b\n```" in page
    assert page.count("do not hold in the mean") == 1


def test_a_card_links_to_the_threats_to_its_verdict():
    page = scoreboard.scoreboard([claim(threats=[("No drop here", "threat-no-drop")]), claim(claim_id="swt_c")], "laptop", [])
    assert page.count("**Read with:** [No drop here](#threat-no-drop)") == 1


def test_pipes_do_not_open_a_column():
    shown = markup.table(["a", "b"], [[markup.escape("x | y"), markup.escape("z")]], "A caption")
    row = MarkdownIt("commonmark").enable("table").render(shown)
    assert re.findall(r"<td>(.*?)</td>", row) == ["x | y", "z"]


def test_missing_values_become_a_dash():
    assert markup.escape(None) == markup.escape("") == "–"
    assert markup.escape(0) == "0"


def test_line_breaks_cannot_end_a_table_row():
    assert "\n" not in markup.escape("one\ntwo")


def test_prose_keeps_code_and_turns_roles_into_code():
    said = "see :func:`~replib.spec.key` and ``a|b`` but not 2*3*4"
    assert markup.prose(said) == r"see `replib.spec.key` and `a|b` but not 2\*3\*4"


@pytest.mark.parametrize(
    ("paper", "exhibit", "expected"),
    [("p", "Figure A8", "p/figure_a8"), ("p", "Table 1", "p/table_1"), ("p", "Theorem 2", "p/theorem_2")],
)
def test_exhibit_names_go_back_and_forth(paper, exhibit, expected):
    assert exhibit_id(paper, exhibit) == expected
    assert markup.exhibit_name(expected) == exhibit


def test_all_eighty_claims_have_an_anchor_of_their_own(claims):
    page = scoreboard.scoreboard(claims, "laptop", [])
    anchors = re.findall(r"^\((claim-\w+)\)=$", page, flags=re.MULTILINE)
    assert len(anchors) == 80
    assert len(set(anchors)) == 80
    # In html, underscores become hyphens: the anchors must not meet there either.
    assert len({markup.slug(a) for a in anchors}) == 80


def test_every_claim_is_one_link_from_its_exhibits(claims):
    for record in claims:
        links = scoreboard.claim_links(record, [])
        for exhibit in record["exhibits"]:
            assert f"(#exhibit-{exhibit.replace('/', '-')})" in links


def test_exhibit_without_page_keeps_its_label_on_the_paper_page():
    rows = [
        {"id": "p/table_1", "kind": "table", "what_it_shows": "x"},
        {"id": "p/table_2", "kind": "table", "what_it_shows": "y"},
    ]
    page = pages.exhibit_list(rows, [], ["p/table_2"])
    assert "(exhibit-p-table_1)=" in page
    assert "(exhibit-p-table_2)=" not in page  # it stands in the notebook; twice would be an error
    assert "[Table 2](#exhibit-p-table_2)" in page


def test_nothing_on_a_stand_in_is_called_supported_or_contradicted():
    for outcome, words in (("supported", "consistent with"), ("contradicted", "contrary to")):
        shown = scoreboard.badge("stand-in", outcome)
        assert words in shown
        assert outcome not in re.sub(r'class="[^"]*"', "", shown)
        assert outcome in re.sub(r'class="[^"]*"', "", scoreboard.badge("paper scale", outcome))


def test_every_badge_has_a_sign_beside_its_colour():
    signs = {sign for _, sign, _ in scoreboard.OUTCOMES}
    assert len(signs) == len(scoreboard.OUTCOMES)
    for outcome, sign, _ in scoreboard.OUTCOMES:
        assert f">{sign}</span>" in scoreboard.badge("exact", outcome)


def test_results_at_another_scale_are_means_over_seeds_and_say_how_many_are_in():
    def row(setting, sparsity, metric, seed, value):
        place = {"dataset": "MNIST", "architecture": "MLP", "variant": ""}
        return place | {"sparsity_percent": sparsity, "setting": setting, "metric": metric, "seed": seed, "value": value}

    rows = [row("AWT", "98.2", "adversarial_test_accuracy", s, v) for s, v in (("0", "50"), ("1", "54.0"))]
    rows += [row("full model", "0", "adversarial_test_accuracy", s, "91.1") for s in "01"]
    rows += [row("AWT", "98.2", m, "0", "7") for m in ("train_seconds", "adversarial_accuracy_diff", "kernel_distance_end")]
    page = pages.elsewhere([("adversarial_winning_tickets/table_1", 3, rows)])
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    assert cells[2:] == [["98.2", "AWT", "52.0\u00a0±\u00a02.8"], ["0", "full model", "91.1\u00a0±\u00a00.0"]]
    assert "MNIST, MLP: 2 of 3" in page
    assert "seconds" not in page
    assert "(#exhibit-adversarial_winning_tickets-table_1)" in page
    assert "no results" in pages.elsewhere([])
    assert "The papers together, Arena" in pages.elsewhere([("together/arena", 3, rows)])


def test_a_single_seed_has_no_spread_and_other_measures_are_shown_where_no_accuracy_is():
    row = {"dataset": "CIFAR-10", "architecture": "ResNet-18", "sparsity_percent": "80", "setting": "FB", "variant": "a=1"}
    page = pages.elsewhere([("sparsity_winning_twice/figure_a11", 1, [row | {"metric": "mask_updates", "seed": "0", "value": "4"}])])
    assert "CIFAR-10, ResNet-18: 1 of 1" in page
    assert "| 80 | FB \\(a=1\\) | 4.0 |" in page
    assert "mask updates" in page


@pytest.mark.parametrize(("scope", "outcome"), [("stand-in", "proven"), ("moon", "supported")])
def test_unknown_verdicts_are_refused(scope, outcome):
    with pytest.raises(ReplibError, match="must be one of"):
        scoreboard.badge(scope, outcome)


def test_counts_at_a_glance_add_up():
    records = [
        claim(claim_id="a"),
        claim(claim_id="b", scope="paper scale"),
        claim(claim_id="c", outcome="inconclusive", paper="adversarial_winning_tickets"),
    ]
    page = scoreboard.at_a_glance(records)
    rows = {}
    for row in page.split("<tr")[2:]:
        words = re.search(r"(?:</span> |\"row\">)([a-z ]+)<", row).group(1)
        rows[words] = [int(n) for n in re.findall(r">(\d+)<", row.split("</th>")[-1])]
    assert rows == {
        "supported": [1, 0, 0, 0, 1],
        "consistent with": [1, 0, 0, 0, 1],
        "inconclusive": [0, 0, 0, 1, 1],
        "all claims": [2, 0, 0, 1, 3],
    }
    assert "scoreboard.html?paper=adversarial-winning-tickets&amp;verdict=inconclusive" in page


def test_filters_offer_what_the_claims_carry():
    """Each value of a filter is the class of some claim, or the filter would show nothing."""
    records = [claim(), claim(claim_id="x", scope="none", outcome="no results yet")]
    page = scoreboard.scoreboard(records, "laptop", [])
    classes = {c for line in re.findall(r"^:::\{div\} (.*)$", page, flags=re.MULTILINE) for c in line.split()}
    for name in ("scope", "verdict"):
        select = re.search(rf'<select name="{name}">(.*?)</select>', page).group(1)
        values = [v for v in re.findall(r'value="([^"]*)"', select) if v]
        assert values
        assert {f"{name}-{v}" for v in values} <= classes


def test_numbers_of_a_claim_are_shown_once_known():
    record = claim(effect=-3.214, interval=[-5.0, -1.0], n=20, margin=2.0, chance=0.125, fragility=0.8)
    facts = " · ".join(scoreboard.claim_facts(record))
    assert "effect −3.21" in facts
    assert "n = 20" in facts
    assert "chance 0.125" in facts
    assert scoreboard.claim_facts(claim(n=0)) == []


def test_negative_zero_is_zero():
    assert markup.number(-0.0) == "0"


@pytest.mark.parametrize(("folder", "listed"), [("howto", HOWTO), ("methods", METHODS)])
def test_every_page_that_is_written_is_in_the_contents(folder, listed):
    assert sorted(listed) == sorted(path.stem for path in (project_root() / "book" / folder).glob("*.md"))


def test_contents_follow_the_paper_and_list_each_page_once():
    built = ["sparsity_winning_twice/figure_1", "sparsity_winning_twice/table_1", "adversarial_winning_tickets/table_1", "together/arena"]
    toc = pages.contents(built, ["spec"], ["run_one_exhibit"], ["masks"])
    files = []
    for part in toc["parts"]:
        for chapter in part["chapters"]:
            files += [chapter["file"], *(s["file"] for s in chapter.get("sections", []))]
    assert len(files) == len(set(files))
    assert {f"notebooks/{e}" for e in built} <= set(files)
    first = toc["parts"][0]["chapters"][0]
    assert [s["title"] for s in first["sections"]] == ["Figure 1", "Table 1"]


def measured(**changes):
    row = {"what": "step", "case": "net", "against": "plain", "unit": "ratio", "median": "1.4", "low": "1.3", "high": "1.8", "rounds": "3"}
    place = {"ratio_of_fastest": "1.6", "device": "cpu", "machine": "some CPU", "threads": "1", "torch": "2", "commit": "abc"}
    return row | place | changes


def test_ratios_and_other_units_are_measured_in_tables_of_their_own():
    page = pages.benchmarks([measured(), measured(what="read", against="", unit="ms", ratio_of_fastest="")])
    ratios, others = page.split("Other measurements")
    assert "compared with" in ratios
    assert "| unit |" not in ratios
    assert "ms" in others
    assert "compared with" not in others  # a column that nothing fills is left out


def test_papers_are_named_by_their_titles():
    row = {"exhibit": "sparsity_winning_twice/table_1", "runs": 3, "commit": "abc", "machine": "m", "time": "1 s"}
    assert "[Sparsity Winning Twice](#paper-sparsity_winning_twice)" in pages.status([row])
    assert "Sparsity Winning Twice" in pages.errata([{"paper": "sparsity_winning_twice", "where": "Table 4"}])


def test_a_claim_shows_what_another_profile_found(tmp_path):
    import json

    from replib.site.build import beside_others, load_claims

    def said(outcome, sentence, scope):
        return {
            "claim_id": "swt_dense_overfits", "paper": "sparsity_winning_twice", "source": "Table 1", "statement": "It overfits.",
            "exhibits": [], "scope": scope, "outcome": outcome, "sentence": sentence, "rule": "It does so beyond doubt.",
        }  # fmt: skip

    for profile, records in {
        "laptop": [said("inconclusive", "Not yet.", "stand-in")],
        "workstation": [said("supported", "On photographs.", "same data reduced")],
    }.items():
        folder = tmp_path / "results" / profile
        folder.mkdir(parents=True)
        (folder / "scoreboard.json").write_text(json.dumps({"profile": profile, "claims": records}))
    page = scoreboard.scoreboard(beside_others(load_claims(tmp_path, "laptop"), tmp_path, "laptop"), "laptop", [])
    assert "**Found:** Not yet." in page
    code = "replib.claims.predicates.sparsity_winning_twice.swt_dense_overfits"
    assert f"**Checked:** It does so beyond doubt. ({{py:func}}`code <{code}>`)" in page
    assert "**In the profile `workstation`** (supported): On photographs." in page
    only = scoreboard.scoreboard(beside_others(load_claims(tmp_path, "workstation"), tmp_path, "workstation"), "workstation", [])
    assert "**In the profile `laptop`** (inconclusive): Not yet." in only


def test_how_much_of_the_book_is_there_is_one_sentence():
    exhibits = [{"exhibit": e} for e in ("a/table_1", "a/table_2")]
    assert pages.state(exhibits, ["a/table_1"]).startswith("So far 1 of the 2 ")
    assert pages.state(exhibits, ["a/table_1", "a/table_2"]).startswith("All 2 ")


def test_the_table_of_kernels_says_what_is_compared_and_where_it_was_measured():
    row = {"images": "64", "side": "28", "block": "2", "seconds": "2621.192", "seconds_ratio": "195.429", "peak_mib": "1231.5",
           "peak_mib_ratio": "1.6", "case": "CNN", "how": "jacobian", "machine": "m", "torch": "2", "commit": "abc"}  # fmt: skip
    page = pages.kernels([row])
    assert "64 images of 28 × 28" in page
    assert "commit abc" in page
    assert "| CNN | whole Jacobians | 2 | 2621 | 195 | 1232 | 1.6 |" in page
    assert "Nothing has been measured" in pages.kernels([])


def test_the_page_of_networks_says_how_each_place_of_every_paper_is_trained():
    rows = role_rows(LAPTOP)
    third = 2 + 3 + 5  # pre-training and re-training, adversarial downstream training, standard downstream training
    second = {row["in the papers"]: row for row in rows if row["in the papers"].endswith("(second paper)")}
    assert "CIFAR-10, DenseNet-BC (second paper)" in second
    assert second["CIFAR-100, VGG-16 (second paper)"]["epochs"] == 18
    assert second["Tiny-ImageNet, ResNet-18 (second paper)"]["network (widths)"].endswith("halved pictures)")
    only = sum(f"{name}, {net}" not in {row["in the papers"] for row in rows} for name, net in LAPTOP.recipes)
    assert only == 2  # DenseNets
    assert len(rows) == len(LAPTOP.recipes) - only + len(second) + third + len(LAPTOP.foresight.recipes)
    birds = {row["in the papers"]: row for row in rows if row["in the papers"].startswith("CUB-200")}
    assert list(birds) == ["CUB-200, ResNet-50 (third paper, standard training)"]
    (birds,) = birds.values()
    assert (birds["training attack"], birds["epochs"], birds["network (widths)"]) == ("none", 18, "bottleneck small (12-24-48-96)")
    small = next(row for row in rows if row["in the papers"] == "MNIST, MLP (fourth paper)")
    assert small["weights"] == 196 * 300 + 300 * 100 + 100 * 10
    (mnist,) = [row for row in rows if row["in the papers"] == "MNIST, MLP (fourth paper)"]
    assert (mnist["here"], mnist["ε"], mnist["training attack"]) == ("mnist14", 0.1, "PGD-3, step 0.833 ε")
