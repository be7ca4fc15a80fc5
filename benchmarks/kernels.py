"""Time and memory of a mixed tangent kernel and its gradient: layer by layer beside whole Jacobians and vector products.

    python benchmarks/kernels.py [--quick] [--out results/benchmarks_kernels.csv]

The kernel of a batch of clean and as many moved images, a tenth of the weights unmasked, and the gradient by the weights of
the sum of its squares, on one thread. Every measurement is a process of its own, so that its peak of memory is its own: what
the process holds at most above what it held before the first kernel. Where the whole batch does not fit into the limit, one
block is measured, and the time of all blocks is that of one times their number (`blocks`); their memory is that of one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from replib.experiments.runner import keep_freed_memory
from replib.models import Net
from replib.models.build import build, prunable
from replib.models.tangent import tangent_kernel
from replib.sparsity.masks import global_random
from replib.store.environment import environment

DENSITY = 0.1
CASES = {"MLP 300-100": Net("mlp"), "CNN": Net("cnn")}
BLOCKS = {  # images a side in one block: the whole batch, or what two GiB hold of whole Jacobians with their gradients
    ("MLP 300-100", "layers"): 64, ("MLP 300-100", "products"): 4, ("MLP 300-100", "jacobian"): 16,
    ("CNN", "layers"): 32, ("CNN", "products"): 1, ("CNN", "jacobian"): 2,
}  # fmt: skip


def one(net: Net, how: str, block: int, side: int, rounds: int) -> dict[str, float]:
    """Fastest of `rounds` in seconds of processor time and peak memory in MiB of a kernel of `block` by `block` images and its gradient."""
    torch.set_num_threads(1)
    keep_freed_memory()
    rng = torch.Generator().manual_seed(0)
    model = build(net, classes=10, shape=(1, side, side), mean=(0.0,), std=(1.0,), generator=rng).eval()
    x = torch.rand(block, 1, side, side, generator=rng)
    moved = (x + 0.3 * torch.rand(x.shape, generator=rng)).clamp(0, 1)
    masks = global_random({n: p.shape for n, p in prunable(model).items()}, DENSITY, rng)
    before, seconds = _peak(), []
    for _ in range(rounds):
        start = time.process_time()
        effective = {n: p * masks[n] if n in masks else p for n, p in model.named_parameters()}
        tangent_kernel(model, x, moved, parameters=effective, masks=masks, how=how, limit=2**36).square().sum().backward()
        seconds.append(time.process_time() - start)
    return {"seconds": min(seconds), "mib": _peak() - before}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measured(case: str, how: str, batch: int, side: int, rounds: int) -> dict[str, Any]:
    """One row, from a process of its own."""
    block = min(batch, BLOCKS[case, how])
    code = f"import kernels, json; print(json.dumps(kernels.one(kernels.CASES[{case!r}], {how!r}, {block}, {side}, {rounds})))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout)
    blocks = (-(-batch // block)) ** 2
    return {
        "case": case, "images": batch, "side": side, "how": how, "block": block, "blocks": blocks,
        "seconds": blocks * found["seconds"], "peak_mib": found["mib"],
    }  # fmt: skip


def measure(quick: bool, cases: Sequence[str] = tuple(CASES)) -> pd.DataFrame:
    """All rows, with the ratios of time and memory over those of the layer-wise kernel of the same case."""
    batch, side, rounds = (4, 14, 1) if quick else (64, 28, 2)
    rows = pd.DataFrame([measured(case, how, batch, side, rounds) for case in cases for how in ("layers", "jacobian", "products")])
    layers = rows[rows.how == "layers"].set_index("case")
    for name in ("seconds", "peak_mib"):
        rows[f"{name}_ratio"] = rows[name] / rows.case.map(layers[name])
    return rows.round(3)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    table = measure(args.quick)
    here = environment("cpu")
    table = table.assign(machine=here["cpu"], torch=torch.__version__, commit=here["commit"])
    print(table.iloc[:, :-3].to_string(index=False))
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.out, index=False)
        print(f"written to {args.out}")


if __name__ == "__main__":
    main()
