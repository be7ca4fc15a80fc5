"""From results to the scoreboard: every implemented exhibit's frame, judged claim by claim."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from tqdm import tqdm

from replib.claims import load_claims, verdicts
from replib.data.load import load
from replib.experiments.profiles import Profile
from replib.experiments.profiles import profile as get
from replib.experiments.registry import EXHIBITS, evidence
from replib.experiments.rows import images
from replib.root import JUDGED, TOGETHER
from replib.spec import ReplibError
from replib.store import Missing
from replib.store.evidence import Reader


def _concerned(id: str) -> set[str]:
    """The exhibits that decide the verdicts of one: those of its claims and, since confirmatory claims of a paper are corrected
    together, those of all confirmatory claims if one of them is.
    """
    claims = load_claims()
    mine = [c for c in claims if id in c.exhibits]
    together = {c.paper for c in mine if c.confirmatory}
    return {e for c in claims if c in mine or (c.confirmatory and c.paper in together) for e in c.exhibits}


def _images(p: Profile, found: Reader, results: dict[str, pd.DataFrame]) -> dict[Any, Any]:
    """Which test images were right, for the exhibits that have rows of accuracies: intervals then cover images as well as seeds.

    One line a seed that any frame of the paper has; lines of seeds that an exhibit lacks stay empty and are never read.
    """
    made: dict[Any, Any] = {}
    seeds = {id: sorted(map(int, f.seed.unique())) for id, f in results.items()}
    for id, mine in seeds.items():
        e = EXHIBITS[id]
        if not e.rows:
            continue
        paper, _, name = id.partition("/")
        union = sorted({s for other, there in seeds.items() if other.startswith(f"{paper}/") for s in there})
        for key, correct in images(found, e.rows(p), mine).items():
            aligned = np.zeros((len(union), correct.shape[1]), dtype=bool)
            aligned[[union.index(s) for s in mine]] = correct
            made[e.part_of or name, *key] = aligned
    return made


def _clusters(p: Profile) -> dict[str, np.ndarray]:
    """The source picture of each test image, by data set, where some images share one, as those of composites do: these are resampled
    together."""
    made: dict[str, np.ndarray] = {}
    for dataset, data in {(dataset, recipe.data) for dataset, recipe in p.everywhere() if recipe.data.role.embedded}:
        source = load(data).source.numpy()
        if len(np.unique(source)) < len(source):
            known = made.setdefault(dataset, source)
            if not np.array_equal(known, source):
                raise ReplibError(f"Two recipes of {dataset} in the profile {p.name!r} have other test images; give them the same.")
    return made


def frames(p: Profile, found: Reader, only: Collection[str] = EXHIBITS) -> dict[str, pd.DataFrame]:
    """The tidy frames of the exhibits in `only` that have complete results in profile `p`, by id; of a table also its parts.

    Exhibits of our own that read the papers together decide no claim and are left out.
    """
    made = {}
    for e in tqdm(EXHIBITS.values(), desc="reading results", unit="exhibit", leave=False, disable=None):  # None: in a terminal only
        paper, _, _ = e.id.partition("/")
        if paper == TOGETHER or not {e.id, f"{paper}/{e.part_of}"} & set(only):
            continue
        try:
            made[e.id] = e.read(found, p, range(e.declared(p)))
        except Missing:
            continue  # an exhibit without results has none to judge; its claims are listed as "no results yet"
    return {id: f for id, f in made.items() if not f.empty and {"setting", "metric", "value", "seed"} <= set(f.columns)}


def records(profile: str, root: Path, *, published_only: bool = False, exhibit: str | None = None) -> list[dict[str, Any]]:
    """One record for each of the 80 claims, from what is here and published, or only from what is published.

    With `exhibit`, only the claims that rest on it, and no more is read than they need.
    """
    p = get(profile)
    if p.watermark:
        raise ReplibError(f"The profile {profile!r} decides nothing: {p.watermark}. Use: replib claims -p laptop")
    both = evidence(p, root)
    found = both.published if published_only else both
    only = EXHIBITS if exhibit is None else _concerned(exhibit)
    results = frames(p, found, only)
    judged = verdicts(list(results.values()), images=_images(p, found, results), clusters=_clusters(p), scope=p.scope, seeds=p.flagship)
    return [r for r in judged if exhibit is None or exhibit in r["exhibits"]]


def of_exhibit(result: Any, root: Path | None = None) -> pd.DataFrame:
    """The verdicts that rest on one exhibit, for its page: claim, what the printed table says, scope, outcome, sentence."""
    from replib.root import project_root

    if result.profile.watermark:
        return pd.DataFrame([{"claim": "none", "outcome": "not judged", "sentence": result.profile.watermark}])
    name, id = result.profile.name, result.exhibit.id
    if judged := os.environ.get(JUDGED):
        found = [r for r in json.loads(Path(judged).read_text()) if id in r["exhibits"]]
    else:
        found = records(name, root or project_root(), exhibit=id)
    words = {True: "bear it out", False: "do not bear it out", None: "hold no numbers that bear on it"}
    return pd.DataFrame(
        [
            {
                "claim": r["claim_id"], "statement": r["statement"], "rule": r["rule"], "printed tables": words[r["printed"]],
                "scope": r["scope"], "outcome": r["outcome"], "n": r["n"], "sentence": r["sentence"],
            }
            for r in found
        ]
    )  # fmt: skip


def show(result: Any) -> HTML:
    """The verdicts of an exhibit as cards like the scoreboard's: claim, linked to its place there, statement, finding."""
    table = of_exhibit(result)
    if "scope" not in table:  # a profile that decides nothing, or no claim rests on the exhibit
        return HTML("<p>" + (f"Not judged: {escape(table.sentence.iloc[0])}." if len(table) else "No claim rests on this page.") + "</p>")
    cards, paper = [], result.exhibit.id.partition("/")[0]
    for r in table.to_dict("records"):
        scope = "" if r["scope"] == "none" else f" ({escape(r['scope'])})"
        rule = f"../../api/claims.html#replib.claims.predicates.{paper}.{r['claim']}"
        code = f'<a href="{rule}">code</a>'
        link = f'<a href="../../scoreboard.html#claim-{r["claim"].replace("_", "-")}"><code>{escape(r["claim"])}</code></a>'
        cards.append(
            f'<div class="claim outcome-{r["outcome"].replace(" ", "-")}"><p>{link}</p>'
            f"<p>{escape(r['statement'])}</p><p><strong>Checked:</strong> {escape(r['rule'])} ({code})</p>"
            f"<p><strong>Here{scope}:</strong> {escape(r['sentence'])}</p>"
            f"<p><strong>The printed tables:</strong> {escape(r['printed tables'])}.</p></div>"
        )
    return HTML(f'<div class="verdicts">{"".join(cards)}</div>')
