# SPDX-License-Identifier: Apache-2.0
"""Timelines of ranks for the page: each in a script of its own, loaded when it is looked at. A page that is opened from
a disk may load scripts, but no JSON."""
from __future__ import annotations

import json
from pathlib import Path

from results import ResultsError
from timeline import trace_file


def number(event: dict, name: str) -> int:
    found = (event.get("args") or {}).get(name)
    return found if isinstance(found, int) else -1


def compact(path: Path) -> dict:
    """By rank, in microseconds: [begin, duration, block, step] of computations, [begin, duration, peer] of waits."""
    try:
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
        ranks: dict[int, dict] = {}
        for event in events:
            if event.get("cat") not in ("compute", "receive", "wait") or not event.get("dur"):
                continue
            rank = ranks.setdefault(int(event["pid"]), {"rank": int(event["pid"]), "compute": [], "waits": []})
            span = [round(event["ts"]), max(1, round(event["dur"]))]
            if event["cat"] == "compute":
                rank["compute"].append([*span, number(event, "block"), number(event, "step")])
            else:
                rank["waits"].append([*span, number(event, "peer")])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsError(f"{path.name}: not a timeline: {error}") from None
    return {"ranks": [ranks[rank] for rank in sorted(ranks)]}


def write_timelines(lines: list[dict], folder: Path, prefix: str) -> list[dict]:
    """Scripts FOLDER/timeline-N.js; what the page is told: the line's number, the script or why there is none."""
    told = []
    for n, line in enumerate(lines):
        if not isinstance(line.get("timeline"), str) or not line["timeline"] or line["status"] != "ok":
            continue
        try:
            content = json.dumps(compact(trace_file(line)), separators=(",", ":"))
        except (ResultsError, OSError) as error:
            told.append({"line": n, "script": None, "error": str(error)})
            continue
        (folder / f"timeline-{n}.js").write_text(f"showTimeline({n},{content});\n", encoding="utf-8")
        told.append({"line": n, "script": f"{prefix}/timeline-{n}.js", "error": None})
    return told
