"""From results to judged claims: which results are read, how seeds and images are aligned, and what a page says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny

from replib import verdicts
from replib.experiments import profiles
from replib.experiments.exhibit import Exhibit, rows_exhibit
from replib.experiments.places import TO_SVHN
from replib.experiments.profiles import LAPTOP
from replib.experiments.registry import EXHIBITS, results
from replib.root import JUDGED, TOGETHER
from replib.spec import ReplibError, task
from replib.store.files import write_json

PROFILE = tiny.PROFILE


def outcomes(root, **how):
    return {r["claim_id"]: (r["outcome"], r["n"]) for r in verdicts.records("laptop", root, **how)}


# ---- what is read -------------------------------------------------------------------------------------------------------------------
def test_frames_are_those_of_exhibits_that_have_complete_results(project, monkeypatch):
    def other(name, read):
        monkeypatch.setitem(EXHIBITS, name, Exhibit(name, "", tiny.EXHIBIT.jobs, read))

    longer = [replace(r, run=replace(r.run, epochs=9)) for r in tiny.rows(PROFILE)]
    monkeypatch.setitem(EXHIBITS, "unmade", rows_exhibit("unmade", "Never made", lambda p: longer, "ordering"))
    other("empty", lambda *a: tiny.EXHIBIT.read(*a)[:0])
    other("curves", lambda *a: tiny.EXHIBIT.read(*a).drop(columns="metric"))
    (frame,) = verdicts.frames(PROFILE, project.both).values()
    assert set(frame.setting) == {"Baseline", "Random Pruning"}
    assert set(frame.seed) == set(tiny.SEEDS)
    project.unmake(task(tiny.rows(PROFILE)[0].robust, 1))
    (frame,) = verdicts.frames(PROFILE, project.store).values()
    assert set(frame.seed) == {0}


def test_images_that_share_a_source_are_known_wherever_a_recipe_is_from():
    """SVHN's stand-in, of which only recipes of transfer know, is the one whose test images share pictures."""
    (dataset,) = found = verdicts._clusters(LAPTOP)
    assert dataset == "SVHN"
    n = LAPTOP.transfer.recipes[TO_SVHN].data.images("test")
    assert found[dataset].shape == (n,)
    assert len(np.unique(found[dataset])) < n / 2


def test_test_images_of_one_data_set_that_differ_between_recipes_are_refused():
    recipes = dict(LAPTOP.transfer.recipes)
    other = replace(recipes[TO_SVHN], data=replace(recipes[TO_SVHN].data, n_test=100))
    p = replace(LAPTOP, transfer=replace(LAPTOP.transfer, recipes=recipes), recipes={TO_SVHN: other})
    with pytest.raises(ReplibError, match="other test images; give them the same"):
        verdicts._clusters(p)


def test_an_exhibit_that_reads_the_papers_together_decides_no_claim(project, monkeypatch):
    before = outcomes(project.root)
    arena = rows_exhibit(f"{TOGETHER}/arena", "All masks", tiny.rows)
    monkeypatch.setitem(EXHIBITS, arena.id, arena)
    assert outcomes(project.root) == before
    assert "No claim rests on this page" in verdicts.show(results(arena.id)).data


def test_records_are_of_what_is_here_and_published_or_of_what_is_published_alone(project):
    project.unpublish()
    here, published = outcomes(project.root), outcomes(project.root, published_only=True)
    assert len(here) == len(published) == 80
    assert here["swt_dense_overfits"] == ("inconclusive", 2)
    assert here["swt_rb_beats_omp"][0] == "no results yet"
    assert {outcome for outcome, _ in published.values()} == {"no results yet"}


def test_records_of_published_results_do_not_change_with_the_store(project):
    before = outcomes(project.root, published_only=True)
    assert before["swt_dense_overfits"] == ("inconclusive", 2)
    project.unmake()
    assert outcomes(project.root, published_only=True) == outcomes(project.root) == before


def test_a_profile_that_decides_nothing_is_not_judged(project):
    with pytest.raises(ReplibError, match=r"'smoke' decides nothing: .*replib claims -p laptop"):
        verdicts.records("smoke", project.root)


def test_images_of_a_seed_stand_in_the_line_of_that_seed(project, monkeypatch):
    """One exhibit has seeds 0 and 1, another of the paper only seed 1: its images belong into the second line."""
    second = rows_exhibit("sparsity_winning_twice/table_2", "Dense only", lambda p: tiny.rows(p)[:1], "ordering")
    monkeypatch.setitem(EXHIBITS, second.id, second)
    row = tiny.rows(PROFILE)[0]
    results = {e.id: e.read(project.store, PROFILE, seeds) for e, seeds in ((tiny.EXHIBIT, tiny.SEEDS), (second, [1]))}
    made = verdicts._images(PROFILE, project.store, results)
    right = {}
    for seed in tiny.SEEDS:
        packed = project.store.arrays(task(row.clean, seed))["correct/final/test"]
        right[seed] = np.unpackbits(packed, count=PROFILE.recipe(row.dataset, row.architecture).data.n_test).astype(bool)
    assert not np.array_equal(right[0], right[1])
    key = (row.dataset, row.architecture, "", "Baseline", 0.0, "standard_accuracy_final")
    np.testing.assert_array_equal(made["table_1", *key], [right[0], right[1]])
    np.testing.assert_array_equal(made["table_2", *key], [np.zeros_like(right[1]), right[1]])


def test_images_say_what_the_accuracies_say(project):
    frame = tiny.EXHIBIT.read(project.store, PROFILE, tiny.SEEDS)
    for (*_, setting, sparsity, metric), correct in verdicts._images(PROFILE, project.store, {tiny.ID: frame}).items():
        rows = frame[(frame.setting == setting) & (frame.sparsity_percent == sparsity) & (frame.metric == metric)]
        np.testing.assert_allclose(100 * correct.mean(1), rows.sort_values("seed").value, atol=1e-4)


# ---- what a page shows --------------------------------------------------------------------------------------------------------------
def test_a_page_shows_each_claim_that_rests_on_it_with_its_place_on_the_scoreboard(project, monkeypatch):
    plain = verdicts.records
    monkeypatch.setattr(verdicts, "records", lambda *a, **k: [r | {"sentence": "9 < 10 & more"} for r in plain(*a, **k)])
    html = verdicts.show(results(tiny.ID)).data
    mine = [r for r in plain("laptop", project.root) if tiny.ID in r["exhibits"]]
    assert 0 < len(mine) < 80
    assert html.count('<div class="claim ') == len(mine)
    for r in mine:
        assert f'href="../../scoreboard.html#claim-{r["claim_id"].replace("_", "-")}"' in html
        assert f'claims.html#replib.claims.predicates.{r["paper"]}.{r["claim_id"]}"' in html
    assert 'class="claim outcome-inconclusive"' in html
    assert "9 &lt; 10 &amp; more" in html
    assert "9 < 10" not in html


def test_a_page_on_which_no_claim_rests_says_so(project):
    table = results(tiny.ID)
    other = replace(table, exhibit=replace(table.exhibit, id="sparsity_winning_twice/nothing"))
    assert "No claim rests on this page" in verdicts.show(other).data


def test_notebooks_of_one_command_show_what_it_has_judged_once(project, monkeypatch, tmp_path):
    table = results(tiny.ID)
    alone = verdicts.of_exhibit(table)
    write_json(tmp_path / "judged.json", verdicts.records("laptop", project.root))
    monkeypatch.setenv(JUDGED, str(tmp_path / "judged.json"))
    monkeypatch.setattr(verdicts, "records", lambda *a, **k: pytest.fail("judged anew"))
    pd.testing.assert_frame_equal(verdicts.of_exhibit(table), alone)


def test_a_page_of_a_profile_that_decides_nothing_is_not_judged(project, monkeypatch):
    monkeypatch.setitem(profiles.PROFILES, "laptop", replace(PROFILE, watermark="numbers < nothing"))
    assert verdicts.show(results(tiny.ID)).data == "<p>Not judged: numbers &lt; nothing.</p>"


def test_a_page_judges_its_claims_as_the_scoreboard_does():
    """With the published results, whichever exhibits they are of: less is read for a page, and nothing comes out differently."""
    root = Path(__file__).resolve().parents[1]
    whole = {r["claim_id"]: r for r in verdicts.records("laptop", root, published_only=True)}
    for id in ("sparsity_winning_twice/table_1", "sparsity_winning_twice/figure_5"):
        page = verdicts.records("laptop", root, published_only=True, exhibit=id)
        assert [r["claim_id"] for r in page] == [c for c, r in whole.items() if id in r["exhibits"]]
        assert page == [whole[r["claim_id"]] for r in page]


def test_a_part_of_a_table_is_judged_with_the_table(project, monkeypatch):
    """Rows that have an exhibit of their own, for their number of seeds, stand in the frame and in the images under the table's name."""
    part = rows_exhibit("sparsity_winning_twice/table_1_part", "A part", lambda p: tiny.rows(p)[1:], part_of="table_1", page=False)
    whole = rows_exhibit(tiny.ID, "The rest", lambda p: tiny.rows(p)[:1])
    monkeypatch.setitem(EXHIBITS, part.id, part)
    monkeypatch.setitem(EXHIBITS, whole.id, whole)
    found = verdicts.frames(PROFILE, project.store, [tiny.ID])
    assert list(found) == [whole.id, part.id]
    assert {name for f in found.values() for name in f.exhibit} == {"table_1"}
    assert {key[0] for key in verdicts._images(PROFILE, project.store, found)} == {"table_1"}
    judged = {r["claim_id"]: r for r in verdicts.records("laptop", project.root)}
    assert judged["swt_dense_overfits"]["n"] == 2
