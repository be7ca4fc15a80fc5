"""From results to the scoreboard: every implemented exhibit's frame, judged claim by claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML

from replib.claims import verdicts
from replib.experiments.profiles import Profile
from replib.experiments.profiles import profile as get
from replib.experiments.registry import EXHIBITS, evidence
from replib.experiments.rows import images
from replib.spec import ReplibError
from replib.store import Missing
from replib.store.evidence import Reader
from replib.verify import complete_seeds


def _images(p: Profile, found: Reader) -> dict[Any, Any]:
    """Which test images were right, for the exhibits that are tables of accuracies: intervals then cover images as well as seeds."""
    made: dict[Any, Any] = {}
    for e in EXHIBITS.values():
        if e.rows is None:
            continue
        seeds = complete_seeds(e, p, found)
        if seeds:
            rows = e.rows(p)
            dataset = {(r.setting, r.sparsity_percent): r.dataset for r in rows}
            made |= {(e.id.partition("/")[2], dataset[k[:2]], *k): v for k, v in images(found, rows, seeds).items()}
    return made


def frames(p: Profile, found: Reader) -> list[pd.DataFrame]:
    """The tidy frames of all exhibits that have complete results in profile `p`."""
    made = []
    for e in EXHIBITS.values():
        try:
            made.append(e.read(found, p, range(e.declared(p))))
        except Missing:
            continue  # an exhibit without results has none to judge; its claims are listed as "no results yet"
    return [f for f in made if not f.empty and {"setting", "metric", "value", "seed"} <= set(f.columns)]


def records(profile: str, root: Path, *, published_only: bool = False) -> list[dict[str, Any]]:
    """One record for each of the 80 claims, from what is here and published, or only from what is published."""
    p = get(profile)
    if p.watermark:
        raise ReplibError(f"The profile {profile!r} decides nothing: {p.watermark}. Use: replib claims -p laptop")
    both = evidence(p, root)
    found = both.published if published_only else both
    return verdicts(frames(p, found), images=_images(p, found), scope=p.scope)


def of_exhibit(result: Any, root: Path | None = None) -> pd.DataFrame:
    """The verdicts that rest on one exhibit, for its page: claim, what the printed table says, scope, outcome, sentence."""
    from replib.root import project_root

    if result.profile.watermark:
        return pd.DataFrame([{"claim": "none", "outcome": "not judged", "sentence": result.profile.watermark}])
    found = [r for r in records(result.profile.name, root or project_root()) if result.exhibit.id in r["exhibits"]]
    words = {True: "bears it out", False: "does not bear it out", None: "not in the text"}
    return pd.DataFrame(
        [
            {
                "claim": r["claim_id"], "statement": r["statement"], "printed tables": words[r["printed"]], "scope": r["scope"],
                "outcome": r["outcome"], "n": r["n"], "sentence": r["sentence"],
            }
            for r in found
        ]
    )  # fmt: skip


def show(result: Any) -> HTML:
    """The verdicts of an exhibit as a table, each claim linked to its place on the scoreboard."""
    table = of_exhibit(result)
    if "claim" in table and "scope" in table:
        link = "<a href='../../scoreboard.html#claim-{0}'><code>{0}</code></a>"
        table = table.assign(claim=table.claim.map(link.format))
    body = table.to_html(index=False, border=0, escape=False, na_rep="")
    return HTML(f"<div class='replib-table verdicts'>{body}</div>")
