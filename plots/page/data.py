# SPDX-License-Identifier: Apache-2.0
"""What the page's scripts draw from: lines, panels, sets of videos, timelines, as plain JSON."""
from __future__ import annotations

import math
import os
from pathlib import Path
from urllib.parse import quote

import figure
from panels import Panel
from results import hardware, prompt_of, reason

SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross",
           "X": "x", "p": "pentagon", "<": "triangle-left", ">": "triangle-right"}
DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}


def clean(anything: object) -> object:
    """Without numbers that JSON lacks: not a number and infinity become null."""
    if isinstance(anything, dict):
        return {str(name): clean(part) for name, part in anything.items()}
    if isinstance(anything, list):
        return [clean(part) for part in anything]
    return None if isinstance(anything, float) and not math.isfinite(anything) else anything


def link(path: Path, folder: Path) -> str:
    """As a URL relative to the page's folder. A colon is quoted, so no file name can be taken for a protocol."""
    return quote(os.path.relpath(path.resolve(), folder.resolve()).replace(os.sep, "/"))


# What else a video is made from, besides prompt and seed.
TOLD = ("negative_prompt", "prompt_embeds", "image", "last_image", "image_embeds", "lora")


def stride(line: dict) -> int:
    """Frames of a latent frame: the Wan models' 4 where that fits the line, else the smallest that does."""
    frames, latents = line.get("frames") or 0, line.get("latent_frames")
    if not latents or latents < 2:
        return 4
    fits = [s for s in (4, *range(1, 65)) if math.ceil((frames - 1) / s) + 1 == latents]
    return fits[0] if fits else 4


def block_borders(line: dict) -> list[int]:
    """Frames with which a block begins, but the first. The first block has the context's frames on top
    (docs/strategies.md); latent frame b > 0 decodes to frames from stride·(b-1)+1 on (docs/metrics.md)."""
    options = {name.replace("_", "-"): chosen for name, chosen in (line.get("options") or {}).items()}
    try:
        block, context = int(options["block-frames"]), int(options.get("context-frames", 0))
    except (KeyError, TypeError, ValueError):
        return []
    frames, step = line.get("frames") or 0, stride(line)
    if block < 1 or context < 0:
        return []
    return [begin for b in range(block + context, frames, block) if (begin := step * (b - 1) + 1) < frames]


def video_sets(lines: list[dict], labels: dict[int, str], folder: Path) -> list[dict]:
    """Videos of one prompt, length, seed, model and size, of each first repeat; sets of most strategies first."""
    sets: dict[tuple, dict] = {}
    for number, line in enumerate(lines):
        if not isinstance(line.get("video"), str) or not line["video"] or line["status"] != "ok":
            continue
        config = line.get("config") or {}
        key = tuple(str(part) for part in (line.get("model"), line.get("height"), line.get("width"), prompt_of(line),
                                           line.get("frames"), line.get("seed"), *map(config.get, TOLD)))
        found = sets.setdefault(key, {"prompt": prompt_of(line) or "", "frames": line.get("frames") or 1,
                                      "seed": line.get("seed"), "model": line.get("model"),
                                      "fps": config.get("fps") or 16, "videos": []})
        if labels[number] in [labels[video["line"]] for video in found["videos"]]:
            continue  # a repeat
        path = Path(line["folder"]) / line["video"]
        found["videos"].append({"line": number, "source": link(path, folder) if path.is_file() else None,
                                "borders": block_borders(line)})
    return sorted(sets.values(), key=lambda s: (-len(s["videos"]), -s["frames"]))


def panel_data(panel: Panel, number_of: dict[int, int]) -> dict:
    series = []
    for index, (one, label) in enumerate(zip(panel.series, panel.labels(ranks=False))):
        look = figure.look(panel, index)
        series.append({"label": label, "strategy": one.strategy, "ranks": one.world_size, "colour": look["color"],
                       "symbol": SYMBOLS.get(look["marker"], "circle"), "dash": DASHES.get(look["linestyle"], "solid"),
                       "hollow": look.get("markerfacecolor") == "white",
                       "lines": [number_of[id(line)] for _, point in sorted(one.points.items())
                                 for line in point.ok + point.missing]})
    return {"title": panel.title(), "subtitle": panel.subtitle(), "kind": panel.settings["kind"],
            "experiment": panel.settings["experiment"], "device_memory": panel.device_memory(), "series": series}


def page_data(lines: list[dict], panels: list[Panel], timelines: list[dict], folder: Path) -> dict:
    number_of = {id(line): number for number, line in enumerate(lines)}
    labels, panel_of = {n: line["strategy"] for n, line in enumerate(lines)}, {}
    described = [panel_data(panel, number_of) for panel in panels]
    for p, panel in enumerate(described):
        for series in panel["series"]:
            for number in series["lines"]:
                labels[number] = series["label"] if panel_of.setdefault(number, p) == p else labels[number]
    named = {n: f"{label}, N={lines[n].get('world_size')}" for n, label in labels.items()}
    rows = [{"label": labels[n], "panel": panel_of.get(n), "hardware": hardware(line),
             "reason": None if line["status"] == "ok" else reason(line),
             "file": link(Path(line["folder"]) / "results.jsonl", folder),
             "line": {name: part for name, part in line.items() if name != "folder"}} for n, line in enumerate(lines)]
    return clean({"lines": rows, "panels": described, "sets": video_sets(lines, named, folder), "timelines": timelines})


