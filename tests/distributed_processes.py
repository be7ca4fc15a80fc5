"""Started by torchrun: make the jobs that are pickled in the file argv[1], in the store argv[2]."""

import pickle
import sys
from pathlib import Path

from replib.experiments.runner import run
from replib.store import Store
from replib.store.world import joined

if __name__ == "__main__":
    tasks = pickle.loads(Path(sys.argv[1]).read_bytes())  # written by the test
    with joined("cpu") as (world, device):
        report = run(tasks, Store(Path(sys.argv[2])), device=device, show=False, world=world)
    Path(sys.argv[2], f"report-{world.rank}").write_text("\n".join(sorted(report.failed.values())))
