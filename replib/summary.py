"""What publishing writes besides the evidence: the scoreboard, tidy results, and the parts of the README that come from results."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from replib.claims.records import verdict_words
from replib.claims.threats import concerned
from replib.experiments.profiles import profile as get
from replib.experiments.registry import EXHIBITS
from replib.root import PAPERS
from replib.store.evidence import Published
from replib.store.files import write_bytes, write_json
from replib.store.folder import Missing

BLOCK = re.compile(r"(<!-- results:begin -->\n).*?(<!-- results:end -->)", re.DOTALL)


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
        write_bytes(readme, fill(readme.read_text(), block(records, _threats(root))).encode())


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


def block(records: Sequence[dict[str, Any]], threats: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """The README's tables: verdicts counted by paper, then the claims that the runs decide, each with the threats to its verdict; the
    scoreboard has them all."""
    said = [verdict_words(r["scope"], r["outcome"]) for r in records]
    kinds = list(dict.fromkeys(said))
    lines = [f"| paper | claims | true of its own numbers | {' | '.join(kinds)} |", "|---" * (3 + len(kinds)) + "|"]
    for paper in PAPERS:
        mine = [(r, word) for r, word in zip(records, said, strict=True) if r["paper"] == paper.name]
        told = [r["printed"] for r, _ in mine if r["printed"] is not None]
        counts = [str(sum(word == k for _, word in mine)) for k in kinds]
        lines.append(f"| {paper.title} | {len(mine)} | {sum(told)} of {len(told)} | {' | '.join(counts)} |")
    leaning = [f"`{r['claim_id']}`" for r in records if r["outcome"] == "inconclusive" and r["interval"] and r["interval"][1] < 0]
    if leaning:
        claims = f"{len(leaning)} such claim{'s' * (len(leaning) > 1)}"
        lines += [
            "",
            f"*Inconclusive* is said after correction for the number of conditions and claims. Of {claims} the 95 % interval of the worst "
            "condition, which is not corrected for having been picked as the worst of many, lies on the contrary side: "
            f"{', '.join(leaning)}.",
        ]
    open_ = ("no results yet", "not testable here", "inconclusive", "interim")
    decided = [(r, word) for r, word in zip(records, said, strict=True) if r["outcome"] not in open_]
    if not decided:
        return "\n".join([*lines, "", "No claim is decided yet; the scoreboard of the book says of each how far its evidence is."])
    lines += ["", "| decided claim | outcome | what the runs say | read with |", "|---|---|---|---|"]
    return "\n".join(lines + [_decided(r, word, threats.get(r["claim_id"], ())) for r, word in decided])


def _decided(record: dict[str, Any], word: str, threats: Sequence[tuple[str, str]]) -> str:
    where = "" if record["scope"] == "stand-in" else f" ({record['scope']})"
    sentence = re.sub(r"^(Contrary to|Consistent with) the claim \(stand-in\): ", "", record["sentence"])
    told = "; ".join(dict.fromkeys(f"[{title}](book/threats.md)" for title, _ in threats))
    cells = (f"{record['statement']} `{record['claim_id']}`", word + where, sentence, told)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def fill(text: str, content: str) -> str:
    """`text` with the part between the result markers replaced by `content`."""
    return BLOCK.sub(lambda m: f"{m[1]}{content}\n{m[2]}", text)


def current(root: Path) -> str:
    """What the README should hold, from the published scoreboard."""
    return block(json.loads((root / "results" / "laptop" / "scoreboard.json").read_text())["claims"], _threats(root))


def _threats(root: Path) -> dict[str, list[tuple[str, str]]]:
    return concerned((root / "book" / "threats.md").read_text(encoding="utf-8"))
