"""What a result was made with: versions, processor, threads, commit; and what it cost."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replib.spec import ReplibError

PACKAGES = ("torch", "torchvision", "numpy", "pandas", "scipy", "scikit-learn", "mlxtend", "safetensors")


@functools.cache
def cpu_model() -> str:
    """The processor's name with what distinguishes its arithmetic: two names may share a kernel, two kernels give two sets of bits."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    lines = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    table = {k.strip(): v.strip() for k, v in lines.items()}
    flags = [
        f
        for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")
        if f in table.get("flags", table.get("Features", "")).split()
    ]
    name = table.get("model name", platform.machine())
    model = f" family {table['cpu family']} model {table['model']}" if "cpu family" in table else ""
    return f"{name}{model} ({', '.join(flags) or 'no vector flags known'})"


@functools.cache
def commit() -> str:
    """The commit of the working tree, with '+' when files of the package differ from it; 'unknown' outside git."""
    here = Path(__file__).resolve().parent
    try:
        git = functools.partial(subprocess.run, cwd=here, capture_output=True, text=True, timeout=10, check=True)
        rev = git(["git", "rev-parse", "--short=12", "HEAD"]).stdout.strip()
        dirty = git(["git", "status", "--porcelain", "--", str(here.parent)]).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return rev + ("+" if dirty else "")


def environment(device: str) -> dict[str, Any]:
    """Versions, processor, device, threads and commit, as plain JSON data."""
    import torch

    found = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {p: importlib.metadata.version(p) for p in PACKAGES},
        "cpu": cpu_model(),
        "device": "cpu" if device == "cpu" else torch.cuda.get_device_name(device),
        "threads": torch.get_num_threads(),
        "commit": commit(),
    }
    return found


def same_bits(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two environments must give the same bits: processor, device, threads and versions agree (the commit may differ)."""
    keys = ("python", "platform", "packages", "cpu", "device", "threads")
    return all(a.get(k) == b.get(k) for k in keys)


def environment_id(env: dict[str, Any]) -> str:
    """Eight hexadecimal digits that name an environment."""
    return hashlib.sha256(json.dumps(env, sort_keys=True).encode()).hexdigest()[:8]


def _reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak, so that each job of a long-lived worker has its own
    except OSError:
        return False
    return True


def _peak_bytes(own: bool) -> int:
    if own:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@dataclass
class Meter:
    """Wall and CPU time of a job, also across restarts, and the peak memory of the process that ended it: ``earlier`` holds the seconds
    that were spent before a kill. A GPU's peak counts from when the meter was made on that `device`."""

    device: str = "cpu"
    earlier: dict[str, float] = field(default_factory=dict)
    wall: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=time.process_time)
    own_peak: bool = field(default_factory=_reset_peak)

    def __post_init__(self) -> None:
        if self.device != "cpu":
            import torch

            torch.cuda.init()  # without it "cuda:1" is refused where nothing has used the GPU yet
            torch.cuda.reset_peak_memory_stats(self.device)

    def read(self) -> dict[str, float]:
        """Seconds and bytes so far."""
        cost = {
            "wall_seconds": time.perf_counter() - self.wall + self.earlier.get("wall_seconds", 0.0),
            "cpu_seconds": time.process_time() - self.cpu + self.earlier.get("cpu_seconds", 0.0),
            "peak_memory_bytes": _peak_bytes(self.own_peak),
            "restarts": int(self.earlier.get("restarts", 0)),
        }
        if self.device != "cpu":
            import torch

            cost["peak_device_memory_bytes"] = torch.cuda.max_memory_allocated(self.device)
        return cost


def check_device(device: str) -> None:
    """Raise :class:`ReplibError` unless jobs can run on `device` here: "cpu", or a CUDA device that PyTorch sees."""
    if device == "cpu":
        return
    import torch

    seen = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))] if torch.cuda.is_available() else []
    if device not in seen:
        raise ReplibError(
            f"The device {device!r} cannot be used: PyTorch sees {', '.join(seen) or 'no GPU'} here. Use --device cpu, or a machine with a "
            f"GPU and its driver."
        )


def default_workers() -> int:
    """One worker a processor this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
