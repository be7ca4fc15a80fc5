"""Processes that the engine's tests start, kill and start again. Forked from one server that has imported everything."""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

torch.set_num_threads(1)

from replib import methods as M  # noqa: E402
from replib import training as T  # noqa: E402
from replib.data.load import load  # noqa: E402
from replib.experiments.jobs import execute  # noqa: E402
from replib.experiments.profiles import SMOKE  # noqa: E402
from replib.spec import Task, task  # noqa: E402
from replib.store import Store, files  # noqa: E402
from replib.store.environment import commit  # noqa: E402
from replib.training import loop, state  # noqa: E402

RECIPE = SMOKE.recipe("CIFAR-10", "ResNet-18")
EPOCHS = 6  # of two steps each
TICKET = M.Ticket(RECIPE.data, RECIPE.net, 0.3, M.Quota("igq"))
PACKAGE = str(Path(loop.__file__).parents[1])

FAST = replace(RECIPE.fast_at(guard=True), epochs=EPOCHS)
JOBS: dict[str, T.Train] = {
    "dense": RECIPE.pgd_at(epochs=EPOCHS),
    "Flying Bird+": RECIPE.pgd_at(
        epochs=EPOCHS, ticket=TICKET, method=M.FlyingBirdPlus(interval=1 / 12, window=1, t_start=0.2), retain=("masks@0.2",)
    ),
    "Flying Bird, random growth": RECIPE.pgd_at(epochs=EPOCHS, ticket=TICKET, method=M.FlyingBird(interval=1 / 6, growth="random")),
    "search": RECIPE.standard(epochs=EPOCHS, method=M.BirdSearch((0.2, 0.1), tau=1e-9, queue=3)),
    "plateau": RECIPE.pgd_at(
        epochs=EPOCHS, schedule=T.Plateau(patience_fraction=1 / EPOCHS, threshold=0.5, stop_at=9), retain=("weights",)
    ),
    "averaged": RECIPE.pgd_at(epochs=EPOCHS, ticket=TICKET, average=T.Average(0.3)),
    "Fast AT": FAST,
    "Free AT": RECIPE.free_at(epochs=EPOCHS),
    "Adam, hidden weights": RECIPE.pgd_at(epochs=EPOCHS, ticket=TICKET, optim=T.Adam(), masking="straight_through"),
}

# Python 3.11 does not hand its own search path to the server, which would then skip the preload without a word.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["engine_processes"])
# In the server too: its children find in memory the pictures, and the modules that PyTorch imports at the first optimizer.
load(RECIPE.data)
torch.optim.SGD([torch.zeros(1, requires_grad=True)])
commit()


def started(target: Any, *args: Any) -> Any:
    """A process that runs `target(*args)`, started."""
    process = FORK.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def ended(process: Any, seconds: float = 60) -> int:
    """Exit status of `process`, waited for."""
    process.join(seconds)
    assert process.exitcode is not None, "the process did not end"
    return process.exitcode


def die() -> None:
    """What the kernel does when memory is short, or a person with kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)


class Countdown:
    """Counts calls of functions of the package, Python's own order of events, and kills the process at one of them."""

    def __init__(self, at: int | None = None):
        self.calls, self.at = 0, at

    def __call__(self, frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self.calls += 1
            if self.calls == self.at:
                die()


def run_counted(t: Task, root: Path, kill_at: int | None) -> None:
    """Run `t`, saving every epoch; die at call number `kill_at` of the package. Leaves the number of calls in <root>/calls."""
    loop.SAVE_EVERY_SECONDS = 0.0
    count = Countdown(kill_at)
    sys.setprofile(count)
    execute(t, Store(root))
    sys.setprofile(None)
    (root / "calls").write_text(str(count.calls))


def run_dying_in_write(t: Task, root: Path, name: str, nth: int, share: float) -> None:
    """Run `t`; die when `share` of the bytes of the `nth` writing of file `name` are on disk."""
    loop.SAVE_EVERY_SECONDS = 0.0
    plain, seen = files.write_atomically, 0

    def half_written(path: Path, write: Any) -> None:
        nonlocal seen
        seen += path.name == name
        if path.name != name or seen != nth:
            return plain(path, write)
        whole = io.BytesIO()
        write(whole)

        def part(f: Any) -> None:
            f.write(whole.getvalue()[: int(share * len(whole.getvalue()))])
            f.flush()
            die()

        return plain(path, part)

    files.write_atomically = state.write_atomically = half_written
    execute(t, Store(root))


def run_counting_epochs(t: Task, root: Path, log: Path, gate: Any) -> None:
    """Run `t` once `gate` opens and leave the number of epochs trained here in `log`."""
    plain, epochs = loop._epoch, 0

    def counted(*args: Any) -> Any:
        nonlocal epochs
        epochs += 1
        return plain(*args)

    loop._epoch = counted
    gate.wait(30)
    execute(t, Store(root))
    log.write_text(str(epochs))


def reference(t: Task, root: Path) -> int:
    """`t` done in `root` without interruption; returns the number of the package's calls it took."""
    assert ended(started(run_counted, t, root, None)) == 0
    return int((root / "calls").read_text())


def killed_often(t: Task, root: Path, kills: int, calls: int, rng: random.Random) -> int:
    """Run `t` in `root`, killed `kills` times at random calls, then to its end; returns how many kills struck.

    The first strikes in the middle of the run, where a state has been saved; the others anywhere near a start.
    """
    struck = 0
    for n in range(kills):
        at = rng.randrange(1, calls // 3) if n else rng.randrange(2 * calls // 5, 3 * calls // 5)
        struck += ended(started(run_counted, t, root, at)) == -signal.SIGKILL
    assert ended(started(run_counted, t, root, None)) == 0
    return struck


def digests(t: Task, root: Path) -> dict[str, Any]:
    """Everything about a done task that must be the same bits: checksums of its files, and its results."""
    store = Store(root)
    assert store.status(t, deep=True) == "done"
    summary = store.summary(t)
    made = {n: d for n, (_, d) in summary["files"].items() if n != "environment.json"}
    return made | {"results": summary["results"]}


def prepared(name: str, root: Path, seed: int = 0) -> Task:
    """The task of one of :data:`JOBS`, with its parents done in `root`."""
    job = JOBS[name]
    if job.ticket is not None:
        execute(task(job.ticket, seed), Store(root))
    return task(job, seed)
