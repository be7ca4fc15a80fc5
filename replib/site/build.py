"""Assembly of the book's sources and the call of jupyter-book.

The hand-written pages of ``book/``, the generated pages and the executed notebooks of a profile are put together in
``build/book/<profile>/``; the html goes to ``build/site/``. Both are made from nothing each time: Sphinx never removes
old pages, and a page that quotes another keeps the old number in an incremental build. Warnings are errors.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from replib.claims import verdicts
from replib.claims.threats import concerned
from replib.data.roles import ROLES
from replib.experiments import profiles
from replib.experiments.registry import EXHIBITS
from replib.root import PAPERS, TOGETHER, our_exhibits, printed_exhibits
from replib.site import markup, pages, scoreboard, source
from replib.spec import ReplibError, choose

METHODS = ("training", "masks", "robust_bird", "flying_bird", "scores", "lottery", "kernels", "landscapes", "flops")
HOWTO = ("run_one_exhibit", "change_a_parameter", "use_the_results", "add_a_method", "run_at_paper_scale")
Rows = Sequence[Mapping[str, Any]]


def build(
    profile: str,
    root: Path,
    out: Path | None = None,
    *,
    exhibits: Iterable[str] | None = None,
    claims: Rows | None = None,
    status: Rows | None = None,
    roles: Rows | None = None,
) -> Path:
    """Assemble and build the book of `profile` below the repository `root`; returns the folder that holds
    ``index.html``.

    `out` is that folder (default ``root/build/site``); it is replaced. `exhibits` are the ids that must have an
    executed notebook (default: those with a source notebook). `claims` defaults to
    ``results/<profile>/scoreboard.json``, or to all claims with the outcome "no results yet" while there is no such
    file; `status` holds the rows of the status page, with the keys ``exhibit``, ``runs``, ``commit``, ``machine`` and
    ``time``; `roles` those of the table of training recipes, whose columns are their keys.
    Raises :class:`~replib.spec.ReplibError` if a notebook is missing or jupyter-book reports a warning.
    """
    root = root.resolve()
    site = (out or root / "build/site").resolve()
    folder = assemble(profile, root, exhibits=exhibits, claims=claims, status=status, roles=roles)
    work = root / "build/book" / f"{profile}.html"
    shutil.rmtree(work, ignore_errors=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(folder)]
    command += ["--config", str(folder / "_config.yml"), "--toc", str(folder / "_toc.yml"), "--path-output", str(work)]
    command += ["-W", "-n", "--keep-going"]
    # The package's docstrings are read by importing it: from this checkout, and without touching a GPU.
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    log = root / "build/book" / f"{profile}.log"
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode != 0 or not (work / "_build/html/index.html").exists():
        lines = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr).splitlines()
        said = [line.replace(f"{root}/", "") for line in lines if re.search("WARNING|ERROR|[Ee]rror:", line)]
        shown = "; ".join(list(dict.fromkeys(said))[:8]) or (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ReplibError(f"jupyter-book did not build the book cleanly: {shown}. Mend these pages; the whole log is {log}.")
    shutil.rmtree(site, ignore_errors=True)
    site.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(work / "_build/html", site)
    shutil.rmtree(work)
    return site


def assemble(
    profile: str,
    root: Path,
    *,
    exhibits: Iterable[str] | None = None,
    claims: Rows | None = None,
    status: Rows | None = None,
    roles: Rows | None = None,
) -> Path:
    """Write all sources of the book of `profile` to ``root/build/book/<profile>`` and return that folder. Arguments
    as in :func:`build`.
    """
    choose("profile", profile, profiles.PROFILES)
    known = exhibit_rows(root)
    ids = [row["id"] for row in known]
    built = _in_order(exhibits if exhibits is not None else _sources(root), ids)
    rendered = root / "build/rendered" / profile
    missing = [e for e in built if not (rendered / f"{e}.ipynb").exists()]
    if missing:
        raise ReplibError(
            f"{len(missing)} of {len(built)} exhibits have no executed notebook in {rendered}: {', '.join(missing[:6])}"
            f"{', ...' * (len(missing) > 6)}. Run `replib render -p {profile}` first."
        )
    claims = beside_others(load_claims(root, profile) if claims is None else claims, root, profile)
    threats = (root / "book/threats.md").read_text(encoding="utf-8") if profile == "laptop" else ""  # whose runs the page speaks of
    weakened = concerned(threats)
    claims = [claim | {"threats": weakened.get(claim["claim_id"], [])} for claim in claims]
    folder = root / "build/book" / profile
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "book", folder)
    for exhibit in built:
        _copy_exhibit(rendered, exhibit, folder)
    _copy_results(root, profile, folder / "extra/results")
    _generate(folder, root, profile, known, claims, built, status or (), roles or ())
    api = source.api_pages(root / "replib")
    for name, text in api.items():
        _write(folder / "api" / f"{name}.md", text)
    toc = pages.contents(built, [name for name in api if name != "index"], HOWTO, METHODS)
    _write(folder / "_toc.yml", yaml.safe_dump(toc, sort_keys=False, allow_unicode=True))
    _write(folder / "_config.yml", yaml.safe_dump(config(root, profile), sort_keys=False, allow_unicode=True))
    return folder


def config(root: Path, profile: str) -> dict[str, Any]:
    """``_config.yml`` of the repository, with the banner of `profile`."""
    settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    if profile == "smoke":
        banner = "Smoke profile: a few batches a run. These pages show that the machinery works; their numbers mean nothing."
        settings["sphinx"]["config"]["html_theme_options"]["announcement"] = banner
    return settings


def exhibit_rows(root: Path) -> list[dict[str, str]]:
    """The papers' tables and figures and the pages of our own, paper by paper, with their ``id``."""
    rows = [{**row, "id": id} for id, row in (printed_exhibits(root) | our_exhibits()).items()]
    order = [*(p.name for p in PAPERS), TOGETHER]
    return sorted(rows, key=lambda row: order.index(row["paper"]))


def load_claims(root: Path, profile: str) -> list[dict[str, Any]]:
    """The published verdicts of `profile`; while there are none, all claims with the outcome "no results yet"."""
    published = root / "results" / profile / "scoreboard.json"
    return json.loads(published.read_text(encoding="utf-8"))["claims"] if published.exists() else verdicts(None)


def beside_others(claims: Sequence[dict[str, Any]], root: Path, profile: str) -> list[dict[str, Any]]:
    """`claims` with what the published verdicts of other profiles say."""
    found = list(claims)
    for name in profiles.PROFILES:
        if name != profile and (root / "results" / name / "scoreboard.json").exists():
            found = _beside(found, name, load_claims(root, name))
    return found


def _beside(claims: list[dict[str, Any]], profile: str, others: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`claims` with what the evidence of another profile says of those that it has something to say of."""
    told = {o["claim_id"]: o for o in others if o["outcome"] not in ("no results yet", "not testable here")}
    made = []
    for c in claims:
        if c["claim_id"] in told:
            other = {"profile": profile} | {k: told[c["claim_id"]][k] for k in ("scope", "outcome", "sentence")}
            c = c | {"elsewhere": [*c.get("elsewhere", ()), other]}
        made.append(c)
    return made


def stand_in_rows(profile: str) -> list[dict[str, Any]]:
    """The data sets of `profile`, and at small scales all stand-ins: one row each for the page on data and networks."""
    known = profiles.profile(profile)
    used = {recipe.data.name for _, recipe in known.everywhere()}
    small = profile in {"smoke", "laptop"}
    return [
        {
            "role": role.name,
            "stands for": role.stands_for,
            "images from": role.source_pool,
            "size": "×".join(map(str, role.shape)),
            "classes": role.classes,
            "train / val / test": f"{role.n_train} / {role.n_val} / {role.n_test}",
            "what it shows": role.description.replace("Departs: ", "").replace("digit_pairs", "digit pairs"),
        }
        for role in ROLES.values()
        if role.name in used or (small and role.embedded)
    ]


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file as dicts."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _sources(root: Path) -> list[str]:
    return [f"{p.parent.name}/{p.stem}" for p in sorted((root / "notebooks").glob("*/*.ipynb"))]


def _in_order(exhibits: Iterable[str], ids: Sequence[str]) -> list[str]:
    wanted = list(exhibits)
    for exhibit in wanted:
        choose("exhibit", exhibit, ids)
    return [e for e in ids if e in wanted]


def _copy_exhibit(rendered: Path, exhibit: str, folder: Path) -> None:
    """The executed notebook of `exhibit` with its label, and the CSV and SVG files that lie beside it. Sphinx copies
    no file that only an output links to: these go where ``html_extra_path`` takes them to the page's own folder.
    """
    notebooks, beside = folder / "notebooks", folder / "extra/notebooks"
    (beside / exhibit).parent.mkdir(parents=True, exist_ok=True)
    notebook = json.loads((rendered / f"{exhibit}.ipynb").read_text(encoding="utf-8"))
    _write(notebooks / f"{exhibit}.ipynb", json.dumps(for_site(notebook, exhibit), ensure_ascii=False))
    paper, _, stem = exhibit.rpartition("/")
    stems = [stem, *(e.id.rpartition("/")[2] for e in EXHIBITS.values() if stem == e.part_of and e.id.startswith(f"{paper}/"))]
    for path in (rendered / exhibit).parent.iterdir():
        own = any(path.stem == s or path.stem.startswith((f"{s}.", f"{s}__")) for s in stems)
        if own and path.suffix in {".csv", ".svg", ".png", ".json"}:
            shutil.copy(path, (beside / exhibit).parent / path.name)
    if (rendered / exhibit).is_dir():
        shutil.copytree(rendered / exhibit, beside / exhibit)


def for_site(notebook: dict[str, Any], exhibit: str) -> dict[str, Any]:
    """`notebook` as the site needs it: the exhibit's label before its title, and plotly figures as html that loads
    nothing from a network.
    """
    label = f"({markup.exhibit_label(exhibit)})="
    cells = notebook["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    if not any(label in text for text in texts):
        first = next((cell for cell in cells if cell["cell_type"] == "markdown"), None)
        if first is None:
            raise ReplibError(f"The notebook of {exhibit} has no text cell; give it one that begins with the exhibit's title.")
        first["source"] = f"{label}\n{''.join(first['source'])}"
    notebook["metadata"].setdefault("language_info", {"name": "python"}).setdefault("pygments_lexer", "ipython3")
    figure = 0
    for cell in cells:
        if "injected-parameters" in cell["metadata"].get("tags", ()):  # papermill's copy of the parameters: said on the page already
            cell["metadata"]["tags"] = [*cell["metadata"]["tags"], "remove-cell"]
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            plot = data.pop("application/vnd.plotly.v1+json", None)
            if plot is not None:
                data.clear()
                data["text/html"] = _plotly_html(plot, f"{markup.slug(exhibit)}-{figure}", with_library=figure == 0)
                figure += 1
    return notebook


def _plotly_html(plot: Mapping[str, Any], name: str, *, with_library: bool) -> str:
    """A block that draws `plot` with the copy of plotly.js that the site carries."""
    body = json.dumps({k: plot[k] for k in ("data", "layout")}).replace("</", "<\\/")
    library = '<script src="../../_static/plotly.min.js"></script>' if with_library else ""
    layout = "{margin: {l: 10, r: 10, t: 40, b: 10}, ...f.layout, autosize: true}"
    height = plot["layout"].get("height")  # without it, a tall figure would be cut off at its block's least height
    style = f' style="height: {height:g}px"' if height else ""
    draw = f"const f = {body}; Plotly.newPlot('{name}', f.data, {layout}, {{responsive: true, displaylogo: false}});"
    draw += f"addEventListener('load', () => Plotly.Plots.resize('{name}'));"  # the column gets its width after this script runs
    return f'{library}<div id="{name}" class="plotly-figure"{style}></div><script>(() => {{ {draw} }})()</script>'


def _copy_results(root: Path, profile: str, target: Path) -> None:
    """The CSV, SVG and JSON files that pages link to: the papers' numbers and the published results of `profile`."""
    for part in ("reported", profile):
        for path in sorted((root / "results" / part).rglob("*")):
            if path.suffix in {".csv", ".svg", ".json", ".jsonl"}:
                copy = target / path.relative_to(root / "results")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
    for path in (root / "results").glob("*.csv"):
        shutil.copy(path, target / path.name)


def _generate(folder: Path, root: Path, profile: str, known: Rows, claims: Rows, built: Sequence[str], status: Rows, roles: Rows) -> None:
    """Write the generated pages, and the fragments that hand-written pages include."""
    fragments = folder / "generated"
    _write(fragments / "at_a_glance.md", scoreboard.at_a_glance(claims))
    _write(fragments / "state.md", pages.state(known, built))
    measures = {"benchmarks": pages.benchmarks, "benchmarks_kernels": pages.kernels, "calibration": pages.calibration}
    for name, page in measures.items():
        measured = root / f"results/{name}.csv"
        _write(fragments / f"{name}.md", page(read_csv(measured) if measured.exists() else ()))
    for paper in PAPERS:
        mine = [c for c in claims if c["paper"] == paper.name]
        rows = [row for row in known if row["paper"] == paper.name]
        _write(fragments / f"claims_{paper.name}.md", scoreboard.claims_list(mine))
        _write(fragments / f"exhibits_{paper.name}.md", pages.exhibit_list(rows, mine, built))
    ours = [row for row in known if row["paper"] == TOGETHER]
    _write(fragments / f"exhibits_{TOGETHER}.md", pages.exhibit_list(ours, [], built))
    errata = root / "results/reported/errata.csv"
    _write(fragments / "register.md", pages.register(read_csv(folder / "register.csv")))
    _write(fragments / "departures.md", pages.departures(source.departures(root / "replib")))
    _write(fragments / "status.md", pages.status(status))
    _write(fragments / "data_and_nets.md", pages.data_and_nets(stand_in_rows(profile), roles))
    _write(fragments / "real_data.md", pages.elsewhere(_reduced(root)))
    _write(fragments / "errata.md", pages.errata(read_csv(errata) if errata.exists() else ()))
    _draw_samples(fragments / "samples.png")
    _write(folder / "scoreboard.md", scoreboard.scoreboard(claims, profile, built))
    if any("plotly.min.js" in p.read_text(encoding="utf-8") for p in (folder / "notebooks").rglob("*.ipynb")):
        import plotly.offline

        _write(folder / "static/plotly.min.js", plotly.offline.get_plotlyjs())


def _reduced(root: Path) -> list[tuple[str, int, Rows]]:
    """What is published on the papers' own data sets, reduced: exhibit, declared seeds, tidy rows."""
    p = profiles.profile("workstation")
    files = {e.id: root / "results" / p.name / "exhibits" / f"{e.id.replace('/', '.')}.csv" for e in EXHIBITS.values()}
    return [(id, EXHIBITS[id].declared(p), read_csv(path)) for id, path in files.items() if path.exists()]


def _draw_samples(path: Path) -> None:
    import matplotlib.pyplot as plt

    from replib.plots.samples import samples

    figure = samples()
    figure.savefig(path, dpi=130, facecolor="white", bbox_inches="tight")
    plt.close(figure)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
