"""What publishing writes besides the evidence: the scoreboard, tidy results, and the parts of the README that come from results."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from replib.experiments.profiles import profile as get
from replib.experiments.registry import EXHIBITS
from replib.store.evidence import Published
from replib.store.files import write_bytes, write_json
from replib.store.folder import Missing

BLOCK = re.compile(r"(<!-- results:begin -->\n).*?(<!-- results:end -->)", re.DOTALL)
PAPERS = {
    "sparsity_winning_twice": "Sparsity Winning Twice",
    "achieving_robustness_via_sparsity": "Achieving Adversarial Robustness via Sparsity",
    "double_win_lottery_tickets": "Data-Efficient Double-Win Lottery Tickets",
    "adversarial_winning_tickets": "Finding Dynamics Preserving Adversarial Winning Tickets",
}
STAND_IN = {"supported": "consistent with", "contradicted": "contrary to"}


def published_frames(profile: str, root: Path) -> dict[str, pd.DataFrame]:
    """The tidy frame of every exhibit with complete published results, by id."""
    p, reader = get(profile), Published(root / "results" / profile)
    found = {}
    for e in EXHIBITS.values():
        if not e.declared(p):
            continue  # a drawing: it has no numbers
        try:
            found[e.id] = e.read(reader, p, range(e.declared(p)))
        except Missing:
            continue  # nothing published yet: the exhibit has no file, and the status page says so
    return found


def write(profile: str, records: Sequence[dict[str, Any]], root: Path) -> None:
    """``scoreboard.json`` and one tidy CSV an exhibit below results/<profile>/; for the laptop profile also the README and its picture."""
    folder = root / "results" / profile
    frames = published_frames(profile, root)
    for id, frame in frames.items():
        write_bytes(folder / "exhibits" / f"{id.replace('/', '.')}.csv", frame.to_csv(index=False, float_format="%.6g").encode())
    write_json(folder / "scoreboard.json", {"profile": profile, "claims": list(records)})
    if profile == "laptop" and "sparsity_winning_twice/table_1" in frames:
        picture(frames["sparsity_winning_twice/table_1"], folder / "table_1.svg")
        readme = root / "README.md"
        write_bytes(readme, fill(readme.read_text(), block(records)).encode())


def picture(frame: pd.DataFrame, path: Path) -> None:
    """The README's picture: every seed of Table 1."""
    import io

    import matplotlib.pyplot as plt

    from replib.plots import points, style

    style.apply()
    figure = points.settings(frame)
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figure)
    write_bytes(path, out.getvalue())


def words(record: dict[str, Any]) -> str:
    """A verdict in words; evidence on stand-ins is never called support."""
    return STAND_IN.get(record["outcome"], record["outcome"]) if record["scope"] == "stand-in" else record["outcome"]


def block(records: Sequence[dict[str, Any]]) -> str:
    """The README's tables: verdicts counted by paper, then the claims that the runs decide; the scoreboard has them all."""
    kinds = list(dict.fromkeys(words(r) for r in records))
    lines = [f"| paper | claims | borne out by its own tables | {' | '.join(kinds)} |", "|---" * (3 + len(kinds)) + "|"]
    for paper, title in PAPERS.items():
        mine = [r for r in records if r["paper"] == paper]
        told = [r["printed"] for r in mine if r["printed"] is not None]
        counts = [str(sum(words(r) == k for r in mine)) for k in kinds]
        lines.append(f"| {title} | {len(mine)} | {sum(told)} of {len(told)} | {' | '.join(counts)} |")
    open_ = ("no results yet", "not testable here", "inconclusive", "interim")
    decided = [r for r in records if r["outcome"] not in open_]
    if not decided:
        return "\n".join([*lines, "", "No claim is decided yet; the scoreboard of the book says of each how far its evidence is."])
    lines += ["", "| decided claim | scope | outcome | n | what the runs say |", "|---|---|---|---|---|"]
    lines += [f"| {r['claim_id']} | {r['scope']} | {words(r)} | {r['n'] or ''} | {r['sentence'].replace('|', '/')} |" for r in decided]
    return "\n".join(lines)


def fill(text: str, content: str) -> str:
    """`text` with the part between the result markers replaced by `content`."""
    return BLOCK.sub(lambda m: f"{m[1]}{content}\n{m[2]}", text)


def current(root: Path) -> str:
    """What the README should hold, from the published scoreboard."""
    return block(json.loads((root / "results" / "laptop" / "scoreboard.json").read_text())["claims"])
