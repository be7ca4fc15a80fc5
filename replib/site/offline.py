"""A Sphinx extension: pages carry no trace of a service that runs code elsewhere.

jupyter-book loads sphinx-thebe whether or not it is used. It names a script on a network and declares it twice, which is an error
on every page's console.
"""

from __future__ import annotations

from typing import Any


def _without_thebe(_app: Any, _page: str, _template: str, context: dict[str, Any], _doctree: object) -> None:
    def of_thebe(script: Any) -> bool:
        return "thebe" in f"{getattr(script, 'filename', script)} {getattr(script, 'attributes', '')}".lower()

    context["script_files"] = [s for s in context.get("script_files", ()) if not of_thebe(s)]


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx, after what adds the scripts."""
    app.connect("html-page-context", _without_thebe, priority=900)
    return {"parallel_read_safe": True}
