"""The command line: verbs over exhibits, never over hyperparameters."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from replib.spec import ReplibError

if TYPE_CHECKING:
    from replib.spec import Task

# Imports of torch and pandas happen inside the commands that need them: `replib list` and `--help` answer in a fraction of a second.
app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Re-create the tables and figures of four papers on sparsity and adversarial robustness.\n\n"
    "Examples:\n\n"
    "  replib list\n\n"
    "  replib run sparsity_winning_twice/table_1 --seeds 0 -j 2\n\n"
    "  replib render sparsity_winning_twice/table_1 && replib book",
)  # fmt: skip

Exhibits = Annotated[list[str] | None, typer.Argument(help="Exhibit ids such as sparsity_winning_twice/table_1; none means all.")]
ProfileName = Annotated[str, typer.Option("-p", "--profile", help="smoke, laptop, workstation or paper.")]
Seeds = Annotated[str | None, typer.Option(help="Seeds such as 0 or 0,1,2 or 0-4; default: those declared for the exhibit.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")]


def main() -> None:
    """Entry point: a user's error is one paragraph on stderr and exit status 2; anything else is a defect and shows its traceback."""
    verbose = "-v" in sys.argv
    if verbose:
        sys.argv.remove("-v")
    try:
        app()
    except ReplibError as e:
        if verbose:
            raise
        print(f"replib: {e}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("replib: interrupted. What was finished is kept; give the same command again to go on.", file=sys.stderr)
        raise SystemExit(130) from None


def _root() -> Path:
    from replib.root import project_root

    return project_root()


def _parse_seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise ReplibError(f"--seeds {text!r} is not a list of seeds; write 0 or 0,1,2 or 0-4.")
        found += range(int(low), int(high or low) + 1)
    return found


def _chosen(exhibits: list[str] | None) -> list[Any]:
    from replib.experiments.registry import EXHIBITS, exhibit

    return [exhibit(i) for i in exhibits] if exhibits else list(EXHIBITS.values())


def _tasks(exhibits: list[str] | None, profile: str, seeds: str | None) -> list[Task]:
    from replib.experiments.profiles import profile as get
    from replib.experiments.runner import closure

    p, chosen = get(profile), _parse_seeds(seeds)
    return closure([t for e in _chosen(exhibits) for t in e.tasks(p, chosen)])


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All exhibits of the four papers: id, title, kind, and whether it is implemented."""
    root = _root()
    rows = []
    with open(root / "results" / "reported" / "exhibits.csv", newline="") as f:
        for row in csv.DictReader(f):
            name = row["exhibit"].lower().replace(" ", "_")
            rows.append(
                {
                    "id": f"{row['paper']}/{name}",
                    "paper": row["paper"],
                    "title": f"{row['exhibit']}: {row['what_it_shows']}",
                    "kind": row["kind"],
                    "implemented": (root / "notebooks" / row["paper"] / f"{name}.ipynb").exists(),
                }
            )
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for r in rows:
        typer.echo(f"{'*' if r['implemented'] else ' '} {r['id']:<48} {r['kind']:<10} {r['title'][:90]}")
    typer.echo(f"* implemented: {sum(r['implemented'] for r in rows)} of {len(rows)}")


@app.command()
def plan(
    exhibits: Exhibits = None, profile: ProfileName = "laptop", seeds: Seeds = None, device: Device = "cpu", as_json: Json = False
) -> None:
    """The job graph: key, seed, kind, parents, label and estimated seconds. Prices the paper profile before anything runs."""
    from replib.experiments.cost import estimate, human
    from replib.experiments.profiles import profile as get
    from replib.experiments.registry import evidence
    from replib.spec import parents

    published = evidence(get(profile), _root()).published
    tasks = _tasks(exhibits, profile, seeds)
    rows = [
        {
            "task": t.name, "seed": t.seed, "kind": t.job.kind, "label": t.job.label(),
            "parents": [[p.name, p.seed] for p in parents(t.job, t.seed)], "seconds": round(estimate(t, published, device), 2),
        }
        for t in tasks
    ]  # fmt: skip
    total = sum(r["seconds"] for r in rows)
    if as_json:
        typer.echo(json.dumps({"profile": profile, "seconds": round(total, 1), "tasks": rows}, indent=1))
        return
    for r in rows:
        typer.echo(f"{r['task']:<26} seed {r['seed']:<3} {human(r['seconds']):>8}  {r['label']}")
    typer.echo(f"{len(rows)} jobs, about {human(total)} on one {'core' if device == 'cpu' else device}")


@app.command()
def status(exhibits: Exhibits = None, profile: ProfileName = "laptop", seeds: Seeds = None, as_json: Json = False) -> None:
    """What is done here, published, missing or damaged, and where it lies."""
    from replib.experiments.profiles import profile as get
    from replib.experiments.registry import evidence
    from replib.experiments.runner import closure

    found, p = evidence(get(profile), _root()), get(profile)
    rows = []
    for e in _chosen(exhibits):
        here = published = 0
        damaged, missing = [], []
        tasks = closure(e.tasks(p, _parse_seeds(seeds)))
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
        typer.echo(f"make what is missing: replib run {' '.join(exhibits or [])} -p {profile}")


@app.command()
def run(
    exhibits: Exhibits = None,
    profile: ProfileName = "laptop",
    key: Annotated[str | None, typer.Option(help="One job by its name (train-0123456789ab), as printed by plan.")] = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=0, help="Worker processes; 0 means one a processor.")] = 0,
    seeds: Seeds = None,
    device: Device = "cpu",
    root: Annotated[Path | None, typer.Option("--root", help="Folder of the real data sets (default $REPLIB_DATA).")] = None,
    quiet: Annotated[bool, typer.Option(help="No progress line.")] = False,
) -> None:
    """Make everything that the exhibits need: what is done is skipped, what was interrupted goes on."""
    from replib.experiments.cost import estimate
    from replib.experiments.profiles import profile as get
    from replib.experiments.registry import evidence
    from replib.experiments.runner import run as run_tasks
    from replib.store.environment import default_workers

    tasks = _tasks(exhibits, profile, seeds)
    if key is not None:
        tasks = [t for t in tasks if t.name == key or t.name.endswith(f"-{key}")]
        if not tasks:
            raise ReplibError(f"No job of the plan is called {key!r}. List them with: replib plan {' '.join(exhibits or [])} -p {profile}")
    found = evidence(get(profile), _root())
    costs = {t: estimate(t, found.published, device) for t in tasks}
    report = run_tasks(tasks, found.store, workers=jobs or default_workers(), device=device, data_root=root, cost=costs, show=not quiet)
    typer.echo(f"{len(report.done)} jobs done, {len(report.failed)} failed, {len(report.skipped)} skipped because of these")
    if report.failed:
        raise ReplibError(" ".join(dict.fromkeys(report.failed.values())))


@app.command()
def render(
    exhibits: Exhibits = None,
    profile: ProfileName = "laptop",
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=0, help="Notebooks at a time; 0 means one a processor.")] = 0,
) -> None:
    """Execute the notebooks with papermill into build/rendered/<profile>/."""
    from replib.render import render_all
    from replib.store.environment import default_workers

    ids = [e.id for e in _chosen(exhibits) if e.page]
    for path in render_all(ids, profile, _root(), jobs or default_workers()):
        typer.echo(path)


@app.command()
def book(profile: ProfileName = "laptop") -> None:
    """Build the site into build/site/ from the rendered notebooks."""
    from replib.site.make import make

    typer.echo(make(profile, _root()))


@app.command()
def claims(profile: ProfileName = "laptop", as_json: Json = False) -> None:
    """The verdict on each of the papers' 80 claims."""
    from replib.verdicts import records

    found = records(profile, _root())
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for r in found:
        printed = {True: "true", False: "false", None: "-"}[r["printed"]]
        typer.echo(f"{r['claim_id']:<38} printed: {printed:<6} {r['scope']:<18} {r['outcome']:<18} {r['sentence']}")


@app.command()
def verify(exhibits: Exhibits = None, profile: ProfileName = "laptop", seeds: Seeds = None) -> None:
    """Compare what was made here with the published evidence, row by row; fails for missing, damaged or non-identical runs."""
    from replib.verify import compare

    lines, problems = compare([e.id for e in _chosen(exhibits)], profile, _root(), _parse_seeds(seeds))
    for line in lines:
        typer.echo(line)
    if problems:
        raise ReplibError(f"{len(problems)} problems: " + " ".join(problems[:5]))


@app.command()
def publish(exhibits: Exhibits = None, profile: ProfileName = "laptop", seeds: Seeds = None) -> None:
    """Copy the small part of finished results to results/<profile>/. Only seeds that are done in every row of an exhibit are taken."""
    from replib.experiments.profiles import profile as get
    from replib.experiments.registry import evidence
    from replib.store.evidence import publish as publish_tasks
    from replib.summary import write
    from replib.verdicts import records
    from replib.verify import complete_seeds

    p = get(profile)
    found = evidence(p, _root())
    if p.watermark:
        raise ReplibError(f"Results of the profile {profile!r} are not published: {p.watermark}. Use -p laptop, workstation or paper.")
    for e in _chosen(exhibits):
        whole = complete_seeds(e, p, found.store, _parse_seeds(seeds))
        names = publish_tasks(found.store, [t for s in whole for t in _with_ancestors(e.tasks(p, [s]))], found.published.root)
        typer.echo(f"{e.id}: {len(whole)} of {e.declared(p)} declared seeds complete; {len(names)} jobs written")
    write(profile, records(profile, _root(), published_only=True), _root())


def _with_ancestors(tasks: list[Task]) -> list[Task]:
    from replib.experiments.runner import closure

    return closure(tasks)


@app.command()
def data(
    names: Annotated[list[str] | None, typer.Argument(help="Data sets; none means all.")] = None,
    root: Annotated[Path | None, typer.Option("--root", help="Folder of the real data sets (default $REPLIB_DATA).")] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Download what is missing, through torchvision.")] = False,
    as_json: Json = False,
) -> None:
    """Where each data set comes from and whether it is present, missing or damaged."""
    from replib.data import status as data_status

    if fetch:
        for name in names or []:
            typer.echo(data_status.fetch(name, root))
    rows = data_status.report(names or (), root)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for r in rows:
        typer.echo(f"{r['name']:<22} {r['state']:<9} {r['stands_for']:<14} {r['n_train']}/{r['n_val']}/{r['n_test']}  {r['detail']}")
        if r["state"] != "present" and r.get("remedy"):
            typer.echo(f"    {r['remedy']}")


if __name__ == "__main__":
    main()
