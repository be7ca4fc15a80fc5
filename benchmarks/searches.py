"""How fast and how long the fourth paper's convolutional networks are searched on a laptop, tried on a reserved seed.

    python benchmarks/searches.py [--seeds 1000] [--workers 1]      writes results/calibration_searches.csv

A search should end nearer to its goal than it begins. The kernel distance between the masked and the dense network at its first and last
step says whether it did. No network is trained under these masks, and the evidence uses other seeds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from replib.experiments.adversarial_winning_tickets.searches import Place, search
from replib.experiments.places import CNN10, CNN100, CNN_MNIST
from replib.experiments.profiles import LAPTOP
from replib.experiments.runner import run
from replib.methods import MaskSearch
from replib.spec import task
from replib.store import Store

PUBLISHED, FAST = 5e-4, 2e-3
DENSITIES: dict[Place, tuple[float, ...]] = {CNN_MNIST: (0.05, 0.3, 0.9), CNN10: (0.1, 0.9), CNN100: (0.1, 0.9)}
TRIALS: dict[Place, tuple[tuple[float, int], ...]] = {
    CNN_MNIST: ((FAST, 4), (PUBLISHED, 4), (PUBLISHED, 8)),
    CNN10: ((FAST, 4), (PUBLISHED, 4), (PUBLISHED, 8)),
    CNN100: ((FAST, 1), (PUBLISHED, 1)),
}
"""Learning rate and epochs."""


def trials() -> list[MaskSearch]:
    """Every search that is tried."""
    return [
        replace(search(LAPTOP, place, density), lr=lr, epochs=epochs)
        for place, densities in DENSITIES.items()
        for density in densities
        for lr, epochs in TRIALS[place]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1000")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    tasks = [task(job, int(seed)) for seed in args.seeds.split(",") for job in trials()]
    store = Store(Path("build/calibration"))
    report = run(tasks, store, workers=args.workers)
    if report.failed:
        raise SystemExit("\n".join(report.failed.values()))
    rows = []
    for t in tasks:
        log = store.table(t)
        first, last = log.iloc[0], log.iloc[-1]
        rows.append(
            {
                "data": t.job.data.name, "density_percent": 100 * t.job.density, "lr": t.job.lr, "epochs": t.job.epochs,
                "steps": int(last.step), "seed": t.seed, "kernel_distance_start": first.kernel_distance,
                "kernel_distance_end": last.kernel_distance, "target_distance_start": first.target_distance,
                "target_distance_end": last.target_distance, "seconds": store.summary(t)["cost"]["cpu_seconds"],
            }
        )  # fmt: skip
    table = pd.DataFrame(rows)
    table.to_csv("results/calibration_searches.csv", index=False, float_format="%.4g")
    print(table.drop(columns="seed").to_string(index=False))


if __name__ == "__main__":
    main()
