"""Running many tasks: parents first, N long-lived workers, one progress line with the time left."""

from __future__ import annotations

import builtins
import ctypes
import multiprocessing
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from multiprocessing.connection import Connection, wait
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # without ipywidgets tqdm warns and draws a text bar, which is what is wanted then
    from tqdm.auto import tqdm

from replib.spec import ReplibError, Task, parents
from replib.store import CannotWrite, Store
from replib.store.environment import check_device
from replib.store.world import ALONE, World


def closure(tasks: Iterable[Task]) -> list[Task]:
    """`tasks` and all their ancestors, each once, parents before children. Specs that differ only in what they retain are merged."""
    order: dict[Task, Task] = {}

    def visit(t: Task) -> None:
        if t in order:
            order[t] = _merged(order[t], t)
            return
        for p in parents(t.job, t.seed):
            visit(p)
        order[t] = t

    for t in tasks:
        visit(t)
    return list(order.values())


def _merged(a: Task, b: Task) -> Task:
    import dataclasses

    mine, other = getattr(a.job, "retain", ()), getattr(b.job, "retain", ())
    if set(other) <= set(mine):
        return a
    return dataclasses.replace(a, job=dataclasses.replace(a.job, retain=tuple(dict.fromkeys((*mine, *other)))))


@dataclass
class Report:
    """What became of a plan."""

    done: list[Task] = field(default_factory=list)
    failed: dict[Task, str] = field(default_factory=dict)
    skipped: list[Task] = field(default_factory=list)


def run(
    tasks: Sequence[Task],
    store: Store,
    *,
    workers: int = 1,
    device: str = "cpu",
    data_root: Path | None = None,
    cost: dict[Task, float] | None = None,
    show: bool = True,
    world: World = ALONE,
) -> Report:
    """Make everything in the closure of `tasks` done. A failing task loses only its descendants; the report names it.

    The processes of a `world` of several make one task at a time together, so there `workers` is 1.
    """
    check_device(device)
    plan = closure(tasks)
    todo = world.told([t for t in plan if store.status(t, deep=True) != "done" or _lacking(store, t)])
    missing = set(todo)
    report = Report(done=[t for t in plan if t not in missing])
    if not todo:
        return report
    weight = {t: max((cost or {}).get(t, 1.0), 1e-3) for t in todo}
    bar = tqdm(
        total=sum(weight.values()), disable=not show, unit="s", smoothing=0.05, dynamic_ncols=True, file=sys.stderr,
        bar_format="{l_bar}{bar}| {elapsed} elapsed, {remaining} left{postfix}", mininterval=0.1 if _watched() else 30,
    )  # fmt: skip
    with bar:
        if workers == 1:
            _serial(todo, store, device, data_root, weight, bar, report, world)
        else:
            _parallel(todo, store, workers, device, data_root, weight, bar, report)
    return report


def _watched() -> bool:
    """Whether somebody sees the progress line move; a log file gets a line every half a minute instead."""
    return sys.stderr.isatty() or "get_ipython" in vars(builtins)


def _lacking(store: Store, task: Task) -> bool:
    from replib.experiments.jobs import lacks

    return bool(lacks(store, task))


class _Line:
    """The progress line: fractions of running tasks, weighted by their estimated cost."""

    def __init__(self, bar: tqdm, weight: dict[Task, float], total: int):
        self.bar, self.weight, self.total = bar, weight, total
        self.fraction: dict[Task, float] = {}
        self.finished = 0

    def update(self, task: Task, fraction: float) -> None:
        step = self.weight[task] * max(0.0, fraction - self.fraction.get(task, 0.0))
        self.bar.update(min(step, self.bar.total - self.bar.n))  # rounding would leave less than no time
        self.fraction[task] = fraction

    def running(self, tasks: Iterable[Task]) -> None:
        now = "; ".join(f"{t.job.label()} seed {t.seed}" for t in tasks)
        self.bar.set_postfix_str(f"{self.finished}/{self.total} jobs; {now}", refresh=_watched())

    def finish(self, task: Task) -> None:
        self.update(task, 1.0)
        self.finished += 1


def _serial(todo, store, device, data_root, weight, bar, report: Report, world: World) -> None:
    from replib.experiments.jobs import execute

    keep_freed_memory()
    line = _Line(bar, weight, len(todo))
    for t in todo:
        if _blocked(t, report):
            continue
        line.running([t])
        try:
            execute(t, store, device=device, data_root=data_root, progress=lambda n, of, t=t: line.update(t, n / of), world=world)
            report.done.append(t)
        except CannotWrite:
            raise
        except ReplibError as e:
            report.failed[t] = str(e)
        except Exception:  # as a worker does: reported, and what does not depend on it goes on
            report.failed[t] = traceback.format_exc()
        line.finish(t)


def _blocked(t: Task, report: Report) -> bool:
    bad = {*report.failed, *report.skipped}
    if any(p in bad for p in parents(t.job, t.seed)):
        report.skipped.append(t)
        return True
    return False


def keep_freed_memory() -> None:
    """Let the C library keep what tensors free instead of handing it back at once: a fifth less time on small networks on Linux.

    Otherwise every large tensor is mapped and zeroed anew by the kernel. Does nothing where the C library is not glibc.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        for parameter, value in ((-3, 1 << 25), (-1, 1 << 29), (-2, 1 << 26)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD
            libc.mallopt(parameter, value)


def _worker(pipe: Connection, root: Path, device: str, data_root: Path | None) -> None:
    """A long-lived process: imports once, runs the tasks it is sent, ends when the pipe does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    from replib.experiments.jobs import execute

    store = Store(root)
    while True:
        try:
            t: Task = pipe.recv()
        except (EOFError, OSError):  # the main process ended, or was killed
            return
        except (AttributeError, ImportError) as e:  # a class of a notebook or of the file that was started
            remedy = "Put it into a file of its own on Python's path, or use one worker."
            pipe.send(("failed", f"A worker process cannot find a class of the job: {e}. {remedy}"))
            continue
        last = 0.0

        def progress(n: int, of: int, t: Task = t) -> None:
            nonlocal last
            if time.monotonic() - last > 0.2:
                pipe.send(("progress", n / of))
                last = time.monotonic()

        try:
            execute(t, store, device=device, data_root=data_root, progress=progress)
            pipe.send(("done", None))
        except BrokenPipeError:
            return
        except CannotWrite as e:
            pipe.send(("stop", str(e)))
        except ReplibError as e:
            pipe.send(("failed", str(e)))
        except Exception:  # reported, never hidden: the main process shows the traceback and goes on with what does not depend on it
            pipe.send(("failed", traceback.format_exc()))


def _parallel(todo, store, workers, device, data_root, weight, bar, report: Report) -> None:
    context = multiprocessing.get_context("spawn")
    line = _Line(bar, weight, len(todo))
    place = {t: n for n, t in enumerate(todo)}
    graph = TopologicalSorter({t: [p for p in parents(t.job, t.seed) if p in place] for t in todo})
    graph.prepare()
    ready: list[tuple[int, Task]] = []  # a heap: of the tasks whose parents ended, the first of the plan goes first
    idle: list[Connection] = []
    busy: dict[Connection, Task] = {}
    processes: dict[Connection, multiprocessing.Process] = {}

    def hire() -> Connection:
        ours, theirs = context.Pipe()
        process = context.Process(target=_worker, args=(theirs, store.root, device, data_root), daemon=True)
        process.start()
        theirs.close()
        processes[ours] = process
        return ours

    def retire(pipe: Connection) -> int | None:
        process = processes.pop(pipe)
        pipe.close()
        process.join(5)
        return process.exitcode

    def dispatch() -> None:
        """Give work to idle workers. Called when a task ends and not at every message: plans have tens of thousands of tasks."""
        while True:
            for t in graph.get_ready():
                heappush(ready, (place[t], t))
            if not (ready and idle):
                break
            _, t = heappop(ready)
            if _blocked(t, report):
                graph.done(t)
                continue
            pipe = idle.pop()
            try:
                pipe.send(t)
            except OSError:  # an idle worker was killed
                retire(pipe)
                pipe = hire()
                pipe.send(t)
            busy[pipe] = t
        line.running(busy.values())

    try:
        for _ in range(min(workers, len(todo))):
            idle.append(hire())
        dispatch()
        while busy:
            ended = False
            for pipe in wait(list(busy)):
                t = busy[pipe]
                try:
                    what, value = pipe.recv()
                except (EOFError, OSError):
                    ended = True
                    graph.done(t)
                    del busy[pipe]
                    code = retire(pipe)
                    cause = ", most likely for want of memory" if code == -signal.SIGKILL else ""
                    report.failed[t] = (
                        f"The worker that ran {t} died (exit status {code}){cause}. What it had saved is kept; give the same command "
                        f"again, with fewer workers (-j) if memory was short."
                    )
                    line.finish(t)
                    idle.append(hire())
                    continue
                if what == "progress":
                    line.update(t, value)
                    continue
                if what == "stop":
                    raise CannotWrite(value)
                ended = True
                graph.done(t)
                del busy[pipe]
                idle.append(pipe)
                line.finish(t)
                if what == "done":
                    report.done.append(t)
                else:
                    report.failed[t] = value
            if ended:
                dispatch()
    finally:
        for pipe, process in processes.items():
            pipe.close()
            process.terminate()
        for process in processes.values():
            process.join(5)
