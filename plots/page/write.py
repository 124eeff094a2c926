# SPDX-License-Identifier: Apache-2.0
"""index.html from its template, and what lies beside it."""
from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path

from page.answer import answers
from page.answer_html import answers_html, text
from page.data import page_data
from page.run_options import with_run_options
from page.timelines import write_timelines
from panels import group
from results import ResultsError

ASSETS = Path(__file__).resolve().parent / "assets"
SCRIPTS = ("tools.js", "detail.js", "table.js", "charts.js", "videos.js", "timelines.js", "start.js")
BESIDE = "page"  # the folder beside index.html


def json_in_html(anything: object) -> str:
    """JSON for a <script> element: nothing in it can end the element."""
    content = json.dumps(anything, separators=(",", ":"), allow_nan=False)
    return content.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def copy_library(folder: Path) -> None:
    """The chart library of the `plotly` package, once beside the page: megabytes that are read when charts are due."""
    package = importlib.util.find_spec("plotly")
    if package is None or not package.submodule_search_locations:
        raise ResultsError("the Python package plotly is missing: install tools/requirements.txt")
    library = Path(package.submodule_search_locations[0]) / "package_data" / "plotly.min.js"
    if not library.is_file():
        raise ResultsError(f"{library}: expected the chart library of the plotly package, found no such file")
    target = folder / "plotly.min.js"
    if not target.exists() or target.stat().st_size != library.stat().st_size:
        shutil.copyfile(library, target)


def heading(lines: list[dict]) -> str:
    names = list(dict.fromkeys(str(line.get("experiment") or "results") for line in lines))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def summary(lines: list[dict]) -> str:
    count = {status: sum(line["status"] == status for line in lines) for status in ("ok", "failed", "skipped")}
    parts = [f"{count['ok']:,} done"] + [f"{count[s]:,} {s}" for s in ("failed", "skipped") if count[s]]
    return f"{len(lines):,} points: {', '.join(parts)}"


def write(lines: list[dict], folder: Path) -> Path:
    """The page is complete or absent: its own file comes last, under another name until it is whole."""
    beside = folder / BESIDE
    beside.mkdir(parents=True, exist_ok=True)
    for old in beside.glob("timeline-*.js"):  # of lines that may be gone
        old.unlink()
    copy_library(beside)
    lines = [with_run_options(line) for line in lines]
    panels = group([line for line in lines if line.get("world_size") is not None])
    found = answers(panels)
    data = page_data(lines, panels, write_timelines(lines, beside, BESIDE), folder)
    data["first_panel"] = found[0][0] if found else 0
    parts = {"title": text(heading(lines)), "summary": text(summary(lines)), "answers": answers_html(found),
             "style": (ASSETS / "page.css").read_text(encoding="utf-8"), "data": json_in_html(data),
             "scripts": "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)}
    pieces = (ASSETS / "page.html").read_text(encoding="utf-8").split("@@")  # text, name, text, name, ..., text
    html = "".join(piece if i % 2 == 0 else parts[piece] for i, piece in enumerate(pieces))
    path, part = folder / "index.html", folder / ".index.html.part"
    try:
        part.write_text(html, encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
