"""What the book reads from the package's own source text: its modules and the departures it declares. Nothing is
imported.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from replib.site.markup import prose

MARK = "Departs:"


def modules(package: Path) -> dict[str, Path]:
    """Dotted name to file of every module below the folder `package`, packages included, in alphabetical order."""
    names = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if "__main__" not in parts:
            names[".".join(parts)] = path
    return dict(sorted(names.items()))


def departures(package: Path) -> list[dict[str, object]]:
    """Every comment or docstring paragraph with the mark ``Departs:``, as module, line, enclosing definition and
    text.
    """
    found: list[dict[str, object]] = []
    for name, path in modules(package).items():
        text = path.read_text(encoding="utf-8")
        if MARK not in text:
            continue
        tree = ast.parse(text)
        marked = [*_in_comments(text), *_in_docstrings(tree)]
        found += [{"module": name, "line": n, "inside": _enclosing(tree, n), "text": said} for n, said in sorted(marked)]
    return found


def _in_comments(text: str) -> Iterator[tuple[int, str]]:
    """A comment with the mark, joined with the comment lines that follow it without a gap."""
    comments = {t.start[0]: t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.COMMENT}
    for line, token in comments.items():
        if not token.string.lstrip("# ").startswith(MARK):
            continue
        said, following = [token.string], line + 1
        while following in comments and comments[following].start[1] == token.start[1]:
            if MARK in comments[following].string:
                break
            said.append(comments[following].string)
            following += 1
        yield line, " ".join(s.lstrip("# ") for s in said).removeprefix(MARK).strip()


def _in_docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """A docstring paragraph from the mark to its end; the line is that of the mark."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = ast.get_docstring(node, clean=False)
        if docstring is None or MARK not in docstring:
            continue
        first = node.body[0].lineno
        for match in re.finditer(rf"(?<!`){MARK}(.*?)(?=\n\s*\n|{MARK}|\Z)", docstring, flags=re.DOTALL):
            yield first + docstring[: match.start()].count("\n"), re.sub(r"\s+", " ", match.group(1)).strip()


def _enclosing(tree: ast.Module, line: int) -> str:
    """Dotted name of the innermost class or function around `line`, or the empty string."""
    names: list[str] = []
    body: list[ast.stmt] = tree.body
    while True:
        inner = [n for n in body if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
        around = [n for n in inner if n.lineno <= line <= n.end_lineno]
        if not around:
            return ".".join(names)
        names.append(around[0].name)
        body = around[0].body


def defined(package: Path, dotted: str) -> bool:
    """Whether `dotted` names a module below `package`, or a class, function or assignment at the top of one."""
    known = modules(package)
    if dotted in known:
        return True
    module, _, name = dotted.rpartition(".")
    if module not in known:
        return False
    tree = ast.parse(known[module].read_text(encoding="utf-8"))
    names = {n.name for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    targets = [t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets]
    return name in names | {t.id for t in targets if isinstance(t, ast.Name)}


def api_pages(package: Path) -> dict[str, str]:
    """Page name to Markdown: one page for each subpackage or top-level module, with all of its modules, and an
    ``index``.
    """
    groups: dict[str, list[str]] = {}
    for name in modules(package):
        parts = name.split(".")
        groups.setdefault(parts[1] if len(parts) > 1 else parts[0], []).append(name)
    pages = {}
    for group, names in groups.items():
        first, *rest = names
        blocks = [_automodule(first), *(f"## {name}\n\n{_automodule(name)}" for name in rest)]
        pages[group] = "\n".join([f"# {first}", "", *blocks])
    lines = [f"- [{group}]({group}.md): {_first_sentence(modules(package)[names[0]])}" for group, names in groups.items()]
    intro = "Every module of the package, generated from its source. *[source]* beside a name opens the code."
    pages["index"] = "\n".join(["(api)=", "# Reference of the package", "", intro, "", *lines, ""])
    return pages


def _automodule(name: str) -> str:
    """One module: all its public members. `__all__` is ignored, so that a re-exported name is described once, where
    it is defined.
    """
    options = ("members:", "ignore-module-all:", "member-order: bysource", "show-inheritance:")
    rows = "\n".join(f"   :{o}" for o in options)
    return f"```{{eval-rst}}\n.. automodule:: {name}\n{rows}\n```\n"


def _first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return prose(re.sub(r"\s+", " ", text.split("\n\n")[0]))
