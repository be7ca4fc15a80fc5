"""The command line: verbs over exhibits, never over hyperparameters."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replib.spec import ReplibError

if TYPE_CHECKING:
    from replib.experiments.exhibit import Exhibit
    from replib.experiments.profiles import Profile
    from replib.spec import Task

# Imports of torch and pandas happen inside the commands that need them: `replib list` and `--help` answer in a fraction of a second.
app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Re-create the tables and figures of four papers on sparsity and adversarial robustness.\n\n"
    "Examples:\n\n"
    "  replib list\n\n"
    "  replib run sparsity_winning_twice/table_1 --seeds 0 -j 2\n\n"
    "  replib render sparsity_winning_twice/table_1 && replib book\n\n"
    "An error says what to do about it; -v behind any command also shows where it came from.",
)  # fmt: skip

Exhibits = Annotated[list[str] | None, typer.Argument(help="Ids such as sparsity_winning_twice/table_1, or a paper alone; none: all.")]
ProfileName = Annotated[str, typer.Option("-p", "--profile", help="smoke, laptop, workstation or paper.")]
Seeds = Annotated[str | None, typer.Option(help="Seeds such as 0 or 0,1,2 or 0-4; default: those declared for the exhibit.")]
Changes = Annotated[list[str] | None, typer.Option("--set", help="Field of the recipe to change, such as epochs=5; may be repeated.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:1.", callback=lambda text: _device(text))]


def main() -> None:
    """Entry point: a user's error is one paragraph on stderr and exit status 2; anything else is a defect and shows its traceback."""
    verbose = "-v" in sys.argv
    if verbose:
        sys.argv.remove("-v")
    try:
        app()
    except (ReplibError, OSError) as e:
        from replib.store.files import refusal

        told = e if isinstance(e, ReplibError) else refusal(e, e.filename)
        if verbose or told is None:
            raise
        print(f"replib: {told}", file=sys.stderr)
        raise SystemExit(2) from None
    except (KeyboardInterrupt, SystemExit) as e:
        if isinstance(e, SystemExit) and e.code != 130:  # what typer makes of Ctrl-C inside a command, without a word
            raise
        print("replib: interrupted. What was finished is kept; give the same command again to go on.", file=sys.stderr)
        raise SystemExit(130) from None


def _root() -> Path:
    from replib.root import project_root

    return project_root()


def _device(text: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", text):
        raise ReplibError(f"--device {text!r} is not known; write cpu, cuda or cuda:1.")
    return text


def _parse_seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    found: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", part)
        span = range(int(match[1]), int(match[2] or match[1]) + 1) if match else ()
        if not span:
            raise ReplibError(f"--seeds {text!r} is not a list of seeds; write 0 or 0,1,2 or 0-4.")
        found |= dict.fromkeys(span)
    return list(found)


def _chosen(exhibits: list[str] | None) -> list[Exhibit]:
    from replib.experiments.registry import exhibits as named

    return named(exhibits or [])


def _seeds(text: str | None, chosen: list[Exhibit], p: Profile) -> list[int] | None:
    """The seeds that were asked for; each must be declared for one of the exhibits at least, or nothing would happen without a word."""
    seeds, declared = _parse_seeds(text), max(e.declared(p) for e in chosen)
    if seeds is not None and not declared:
        raise ReplibError(f"{chosen[0].id} is a drawing without runs, so it has no seeds. Leave out --seeds.")
    if seeds is not None and (beyond := [s for s in seeds if s >= declared]):
        whose = chosen[0].id if len(chosen) == 1 else "these exhibits"
        raise ReplibError(
            f"Seed {beyond[0]} is not among those declared for {whose} in the profile {p.name!r} (0 to {declared - 1}), and declared seeds "
            f"are never extended. Give one of these, or leave out --seeds for all of them."
        )
    return seeds


def _changes(given: list[str] | None) -> dict[str, int | float | bool | str]:
    """NAME=VALUE as a notebook's `changes` would have them."""
    found = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ReplibError(f"--set {text!r} is not NAME=VALUE; write --set epochs=5, once for each field of the recipe to change.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def planned(exhibits: list[str] | None, profile: str, seeds: str | None, changes: list[str] | None = None) -> list[Task]:
    """The jobs that the words of a command line mean, parents before children."""
    from replib.experiments.runner import closure

    return closure(t for tasks in tasks_by_exhibit(exhibits, profile, seeds, changes).values() for t in tasks)


def tasks_by_exhibit(
    exhibits: list[str] | None, profile: str, seeds: str | None, changes: list[str] | None = None
) -> dict[str, list[Task]]:
    """By exhibit, each with everything that it needs, and what their pages need besides that is not published."""
    from replib.experiments.profiles import changed
    from replib.experiments.profiles import profile as get
    from replib.experiments.registry import check_changes, evidence, with_pages
    from replib.experiments.runner import closure

    p, chosen = changed(get(profile), _changes(changes)), _chosen(exhibits)
    check_changes(chosen, p)
    wanted = _seeds(seeds, chosen, p)
    pages = with_pages(chosen, p, evidence(p, _root()).published)
    return {e.id: closure(e.tasks(p, wanted) or (e.tasks(p, [0]) if e not in chosen else ())) for e in pages}


def _by_exhibit(tasks: dict[str, list[Task]], seconds: dict[Task, float]) -> list[str]:
    """One line an exhibit: its jobs, those that no exhibit before it has, and their estimated time. None for a single exhibit."""
    from replib.experiments.cost import human

    seen, lines = set(), []
    for e, needed in tasks.items() if len(tasks) > 1 else ():
        mine = set(needed)
        new = mine - seen
        seen |= mine
        lines.append(f"{e:<44} {len(mine):>5} jobs, {len(new):>4} new: {human(sum(seconds[t] for t in new)):>8}")
    return lines


def _named(key: str, exhibits: list[str] | None, profile: str, seeds: str | None, changes: list[str] | None) -> list[Task]:
    """The tasks of one job. Its name says what it is, so the profile is only where it is looked for first."""
    from replib.experiments.profiles import PROFILES
    from replib.spec import SpecError

    wanted, refused = _parse_seeds(seeds), []
    for name in dict.fromkeys((profile, *PROFILES)):
        try:
            known = planned(exhibits, name, None, changes)
        except SpecError as e:  # a change may mean something in another profile
            refused.append(e)
            continue
        found = [t for t in known if t.name == key or t.name.endswith(f"-{key}")]
        if found and (chosen := [t for t in found if wanted is None or t.seed in wanted]):
            return chosen
        if found:
            have = ", ".join(str(t.seed) for t in found)
            raise ReplibError(f"{found[0].name} has no seed {seeds}; its seeds are {have}. Give one of these.")
    if len(refused) == len(PROFILES):
        raise refused[0]
    where = " ".join(("replib plan", *(exhibits or []), "-p", profile))
    raise ReplibError(f"No job of any profile is called {key!r}. List those of this one with: {where}")


@app.command("list", epilog="Example: replib list --json")
def list_(as_json: Json = False) -> None:
    """All exhibits of the four papers, and pages of our own: id, title, kind, and whether it is implemented."""
    from replib.root import our_exhibits, printed_exhibits

    root = _root()
    rows = [
        {
            "id": id,
            "paper": row["paper"],
            "title": f"{row['exhibit']}: {row['what_it_shows']}",
            "kind": row["kind"],
            "implemented": (root / "notebooks" / f"{id}.ipynb").exists(),
        }
        for id, row in (printed_exhibits(root) | our_exhibits()).items()
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for r in rows:
        typer.echo(f"{'*' if r['implemented'] else ' '} {r['id']:<48} {r['kind']:<10} {r['title'][:90]}")
    papers = [r for r in rows if r["kind"] not in ("ours", "theorem")]
    typer.echo(f"* implemented: {sum(r['implemented'] for r in papers)} of the papers' {len(papers)} tables and figures")


@app.command(epilog="Example: replib plan sparsity_winning_twice/table_1 -p paper --device cuda")
def plan(
    exhibits: Exhibits = None,
    profile: ProfileName = "laptop",
    seeds: Seeds = None,
    changes: Changes = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """The job graph: key, seed, kind, parents, label and estimated seconds. Prices the paper profile before anything runs.

    A job that several exhibits share is made once: of several exhibits, the summary says how many jobs each adds to those before it.
    """
    from replib.experiments.cost import GPU, SPEED, estimate, human, operations
    from replib.experiments.profiles import profile as get
    from replib.experiments.registry import evidence
    from replib.experiments.runner import closure
    from replib.spec import parents

    found = evidence(get(profile), _root())
    kind, place = ("cpu", "core") if device == "cpu" else ("cuda", GPU)
    by_exhibit = tasks_by_exhibit(exhibits, profile, seeds, changes)
    tasks = closure(t for needed in by_exhibit.values() for t in needed)
    rows = [
        {
            "task": t.name, "seed": t.seed, "kind": t.job.kind, "label": t.job.label(),
            "parents": [[p.name, p.seed] for p in parents(t.job, t.seed)], "operations": operations(t),
            "seconds": round(estimate(t, found.published, device), 2),
        }
        for t in tasks
    ]  # fmt: skip
    total = sum(r["seconds"] for r in rows)
    if as_json:
        summary = {"profile": profile, "device": device, "seconds": round(total, 1), "operations": sum(r["operations"] for r in rows)}
        typer.echo(json.dumps(summary | {"tasks": rows}, indent=1))
        return
    for r in rows:
        typer.echo(f"{r['task']:<26} seed {r['seed']:<3} {human(r['seconds']):>8}  {r['label']}")
    seconds = dict(zip(tasks, (r["seconds"] for r in rows), strict=True))
    for line in _by_exhibit(by_exhibit, seconds):
        typer.echo(line)
    left = [seconds[t] for t in tasks if found.store.status(t) != "done"]
    typer.echo(f"{sum(r['operations'] for r in rows):.1e} operations, reckoned at {SPEED[kind]:.0e} a second of one {place}")
    if kind == "cpu" and (hours := sum(estimate(t, None, "cuda") for t in tasks) / 3600) >= 1:  # what no processor should be asked to do
        typer.echo(f"about {hours:,.0f} GPU-hours on one {GPU}, reckoned at {SPEED['cuda']:.0e} a second (--device cuda)")
    typer.echo(f"{len(rows)} jobs, about {human(total)} on one {place}")
    typer.echo(f"{len(rows) - len(left)} of them are done here; what is left takes about {human(sum(left))}")


@app.command(epilog="Example: replib status sparsity_winning_twice/table_1")
def status(exhibits: Exhibits = None, profile: ProfileName = "laptop", seeds: Seeds = None, as_json: Json = False) -> None:
    """What is done here, published, missing or damaged, and where it lies."""
    from replib.experiments.profiles import profile as get
    from replib.experiments.registry import evidence
    from replib.experiments.runner import closure

    found, p, chosen = evidence(get(profile), _root()), get(profile), _chosen(exhibits)
    wanted = _seeds(seeds, chosen, p)
    rows = []
    for e in chosen:
        here = published = 0
        damaged, missing = [], []
        tasks = closure(e.tasks(p, wanted))
        for t in tasks:
            state = found.store.status(t)
            here += state == "done"
            is_published = found.published.status(t) == "done"
            published += is_published
            if state.startswith("damaged"):
                damaged.append(f"{t}: {state}")
            elif state != "done" and not is_published:
                missing.append(str(t))
        rows.append({"exhibit": e.id, "jobs": len(tasks), "here": here, "published": published, "missing": missing, "damaged": damaged})
    if as_json:
        typer.echo(json.dumps({"store": str(found.store.root), "published": str(found.published.root), "exhibits": rows}, indent=1))
        return
    typer.echo(f"store {found.store.root}\npublished {found.published.root}")
    for r in rows:
        typer.echo(
            f"{r['exhibit']:<44} {r['jobs']:>5} jobs: {r['here']} here, {r['published']} published, {len(r['missing'])} missing, "
            f"{len(r['damaged'])} damaged"
        )
        for line in r["damaged"]:
            typer.echo(f"  {line}")
    if any(r["missing"] or r["damaged"] for r in rows):
        asked = (*(exhibits or []), "-p", profile, *(("--seeds", seeds) if seeds else ()))
        typer.echo(f"make what is missing: replib run {' '.join(asked)}")


@app.command(epilog="Example: replib run sparsity_winning_twice/table_1 --seeds 0 -j 2")
def run(
    exhibits: Exhibits = None,
    profile: ProfileName = "laptop",
    key: Annotated[str | None, typer.Option(help="One job by its name (train-0123456789ab), as printed by plan; of any profile.")] = None,
    jobs: Annotated[
        int, typer.Option("-j", "--jobs", min=0, help="Worker processes; 0 means one a processor, and one alone on a GPU.")
    ] = 0,
    seeds: Seeds = None,
    changes: Changes = None,
    device: Device = "cpu",
    root: Annotated[Path | None, typer.Option("--root", help="Folder of the real data sets (default $REPLIB_DATA).")] = None,
    quiet: Annotated[bool, typer.Option(help="No progress line.")] = False,
) -> None:
    """Make everything that the exhibits need: what is done here is skipped, what was interrupted goes on. What is only published is
    made again, so that it can be verified.

    Under torchrun the processes train one network at a time together, each on its own GPU.
    """
    from replib.experiments.cost import estimate
    from replib.experiments.profiles import profile as get
    from replib.experiments.registry import evidence
    from replib.experiments.runner import closure
    from replib.experiments.runner import run as run_tasks
    from replib.store.environment import default_workers
    from replib.store.world import joined

    if jobs > (most := 4 * default_workers()):
        raise ReplibError(
            f"-j {jobs} is more than four workers for each processor here, and every worker takes half a gigabyte of memory and more. Give "
            f"-j {most} at most, or leave it out for one a processor."
        )
    tasks = planned(exhibits, profile, seeds, changes) if key is None else _named(key, exhibits, profile, seeds, changes)
    found = evidence(get(profile), _root())
    costs = {t: estimate(t, found.published, device) for t in closure(tasks)}
    with joined(device) as (world, own):
        if world.size > 1 and jobs > 1:
            raise ReplibError(f"-j {jobs} and torchrun cannot be combined: its processes make one job at a time together. Leave out -j.")
        workers = jobs or (default_workers() if device == "cpu" and world.size == 1 else 1)
        report = run_tasks(
            tasks, found.store, workers=workers, device=own, data_root=root, cost=costs, show=world.leads and not quiet, world=world
        )
    if world.leads:
        typer.echo(f"{len(report.done)} jobs done, {len(report.failed)} failed, {len(report.skipped)} skipped because of these")
    if report.failed:
        raise ReplibError(" ".join(dict.fromkeys(report.failed.values())))


@app.command(epilog="Example: replib render sparsity_winning_twice/table_1 -p smoke")
def render(
    exhibits: Exhibits = None,
    profile: ProfileName = "laptop",
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=0, help="Notebooks at a time; 0 means one a processor.")] = 0,
) -> None:
    """Execute the notebooks with papermill into build/rendered/<profile>/. Without names: those of which a seed is complete."""
    from replib.experiments.profiles import profile as get
    from replib.experiments.registry import evidence, shown
    from replib.render import render_all
    from replib.store.environment import default_workers
    from replib.store.files import write_json
    from replib.verdicts import records

    chosen = _chosen(exhibits)
    if not exhibits:
        have = shown(get(profile), evidence(get(profile), _root()))
        if left_out := [e.id for e in chosen if e.page and e not in have]:
            which = f" {' '.join(left_out)}" if len(left_out) <= 3 else ""
            typer.echo(
                f"Left out, because no seed of them, or of what their pages show besides, is complete in the profile {profile!r}: "
                f"{', '.join(left_out)}. To make them: "
                f"replib run{which} -p {profile} --seeds 0", err=True,
            )  # fmt: skip
        chosen = have
    ids = [e.id for e in chosen if e.page]
    if not ids:
        raise ReplibError(
            f"{', '.join(e.id for e in chosen)} has no notebook of its own: another exhibit of the paper shows it. Render that one; replib "
            f"list marks (*) those that have a notebook."
        )
    judged = None
    if not exhibits and not get(profile).watermark:
        judged = _root() / "build" / "rendered" / f"{profile}-verdicts.json"
        write_json(judged, records(profile, _root()))
    for path in render_all(ids, profile, _root(), jobs or default_workers(), judged=judged):
        typer.echo(path)


@app.command(epilog="Example: replib book -p laptop")
def book(profile: ProfileName = "laptop") -> None:
    """Build the site into build/site/ from the rendered notebooks."""
    from replib.site.make import make

    typer.echo(make(profile, _root()))


@app.command(epilog="Example: replib claims --json")
def claims(profile: ProfileName = "laptop", as_json: Json = False) -> None:
    """The verdict on each of the papers' 80 claims, from the published evidence and what was made here."""
    from replib.claims.records import verdict_words
    from replib.verdicts import records

    found = records(profile, _root())
    scoreboard = _root() / "results" / profile / "scoreboard.json"
    published = json.loads(scoreboard.read_text())["claims"] if scoreboard.exists() else []
    if ours := sum(a["sentence"] != b["sentence"] for a, b in zip(found, published, strict=False)):
        typer.echo(f"{ours} of the {len(found)} sentences rest on runs in this store and are not the published ones.", err=True)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for r in found:
        printed = {True: "true", False: "false", None: "-"}[r["printed"]]
        typer.echo(
            f"{r['claim_id']:<38} printed: {printed:<6} {r['scope']:<18} {verdict_words(r['scope'], r['outcome']):<18} {r['sentence']}"
        )


@app.command(epilog="Example: replib verify sparsity_winning_twice/table_1 --seeds 0")
def verify(exhibits: Exhibits = None, profile: ProfileName = "laptop", seeds: Seeds = None) -> None:
    """Compare what was made here with the published evidence, row by row; fails for missing, damaged or non-identical runs."""
    from replib.experiments.profiles import profile as get
    from replib.verify import compare

    chosen = _chosen(exhibits)
    lines, problems = compare([e.id for e in chosen], profile, _root(), _seeds(seeds, chosen, get(profile)))
    for line in lines:
        typer.echo(line)
    if problems:
        more = f" And {len(problems) - 5} more of this kind." if len(problems) > 5 else ""
        raise ReplibError(f"{len(problems)} problem{'s' * (len(problems) > 1)}: {' '.join(problems[:5])}{more}")


@app.command(epilog="Example: replib publish sparsity_winning_twice/table_1 -p laptop")
def publish(exhibits: Exhibits = None, profile: ProfileName = "laptop", seeds: Seeds = None) -> None:
    """Copy the small part of finished results to results/<profile>/. Only seeds that are done in every row of an exhibit are taken."""
    from tqdm import tqdm

    from replib.experiments.profiles import profile as get
    from replib.experiments.registry import complete_seeds, evidence
    from replib.experiments.runner import closure
    from replib.store.evidence import publish as publish_tasks
    from replib.summary import write
    from replib.verdicts import records

    p = get(profile)
    found = evidence(p, _root())
    if p.watermark:
        raise ReplibError(f"Results of the profile {profile!r} are not published: {p.watermark}. Use -p laptop, workstation or paper.")
    lines, chosen = [], _chosen(exhibits)
    wanted = _seeds(seeds, chosen, p)
    for e in tqdm(chosen, desc="publishing", leave=False):
        if not e.declared(p):
            lines.append(f"{e.id}: a drawing without runs; nothing to publish")
            continue
        whole = complete_seeds(e, p, found.store, wanted)
        names = publish_tasks(found.store, closure(e.tasks(p, whole)), found.published.root)
        there = complete_seeds(e, p, evidence(p, _root()).published)
        now = f"{len(there)} of {e.declared(p)} declared seeds are published"
        lines.append(f"{e.id}: {len(names)} jobs of {len(whole)} seeds written; {now}")
    write(profile, records(profile, _root(), published_only=True), _root())
    for line in lines:  # last: whoever reads may close the pipe at any line, and nothing of the above must be lost by that
        typer.echo(line)


@app.command(epilog="Example: replib data cifar10 --root ~/data --fetch")
def data(
    names: Annotated[list[str] | None, typer.Argument(help="Data sets and released networks; none means all.")] = None,
    root: Annotated[Path | None, typer.Option("--root", help="Folder of the real data sets (default $REPLIB_DATA).")] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Download what is missing, through torchvision.")] = False,
    as_json: Json = False,
) -> None:
    """Where each data set and released network comes from and whether it is present, missing or damaged."""
    from replib.data import released
    from replib.data import status as data_status

    if fetch and not names:
        raise ReplibError("--fetch needs to be told what to fetch, for some sets are large; for example: replib data mnist --fetch")
    if fetch:
        for name in names:
            if name in released.RELEASED:
                raise ReplibError(f"The released weights {name!r} are not fetched automatically. {released.remedy(name, root)}")
            typer.echo(data_status.fetch(name, root))
    sets, nets = ([n for n in names or () if (n in released.RELEASED) == is_net] for is_net in (False, True))
    rows = data_status.report(sets, root) if sets or not names else []
    weights = released.report(nets, root) if nets or not names else []
    if as_json:
        typer.echo(json.dumps([*rows, *weights], indent=1))
        return
    for r in rows:
        typer.echo(f"{r['name']:<22} {r['state']:<9} {r['stands_for']:<14} {r['n_train']}/{r['n_val']}/{r['n_test']}  {r['detail']}")
        if r["state"] != "present" and r.get("remedy"):
            typer.echo(f"    {r['remedy']}")
    for r in weights:
        accuracy = f"{r['accuracy']} % on ImageNet" if r["accuracy"] else "accuracy not published"
        typer.echo(f"{r['name']:<22} {r['state']:<9} ResNet-50, {r['training']} (ε = {255 * r['eps']:g}/255), {accuracy}  {r['detail']}")
        if r["remedy"]:
            typer.echo(f"    {r['remedy']}")


if __name__ == "__main__":
    main()
