"""Run one batch of the workflow in one process: ``python workflow/batch.py PLAN ID``.

PLAN is the file that the Snakefile writes. What is done is skipped; what fails is named on stderr and makes the exit
status 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from replib.cli import planned
from replib.experiments.profiles import profile
from replib.experiments.registry import evidence
from replib.experiments.runner import run
from replib.spec import ReplibError


def main(plan: Path, batch: str) -> int:
    """Make everything in the batch called `batch` done. Returns the exit status."""
    settings = json.loads(plan.read_text())
    exhibits = [e for e in settings["exhibits"].split(",") if e]
    known = {(t.name, t.seed): t for t in planned(exhibits, settings["profile"], settings["seeds"] or None)}
    wanted = [tuple(t) for t in settings["batches"][batch]["tasks"]]
    if any(t not in known for t in wanted):
        raise ReplibError("The plan changed since the workflow was started. Start snakemake again.")
    report = run(
        [known[t] for t in wanted],
        evidence(profile(settings["profile"])).store,
        device=settings["device"],
        data_root=Path(settings["data"]) if settings["data"] else None,
        show=False,
    )
    for task, why in report.failed.items():
        print(f"{task}: {why}", file=sys.stderr)
    print(
        f"batch {batch}: {len(report.done)} done, {len(report.failed)} failed, {len(report.skipped)} skipped",
        flush=True,
    )
    return 1 if report.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
    except ReplibError as e:
        sys.exit(f"replib: {e}")
