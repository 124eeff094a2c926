# SPDX-License-Identifier: Apache-2.0
"""What every rank did when: ranks as rows, blocks in colours, idle white, waits for messages as a line below.

Drawn from the timelines (Chrome's trace event format) that result lines name, measured or simulated: `dualparal
generate --timeline`, an experiment's `timelines`, or `dualparal simulate`.
"""
from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib import colormaps
from matplotlib.colors import Normalize

from figure import COLOURS, STYLE, save
from panels import label_options, slug
from results import ResultsError, cluster_of

WIDTH = 7.0  # inches: both columns of a two-column paper
MANY = 3000  # rectangles; more of them are drawn as pixels in the PDF too


def trace_file(line: dict) -> Path:
    """The line's timeline: a file, or a folder that holds one."""
    path = Path(line["folder"]) / line["timeline"]
    inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if len(inside) != 1:
        raise ResultsError(f"{path}: expected one timeline (.json) in this folder, found {len(inside)}")
    return inside[0]


def read(path: Path) -> tuple[dict[int, list[tuple[float, float, int]]], dict[int, list[tuple[float, float]]]]:
    """By rank, in seconds: (begin, duration, block) of every computation, (begin, duration) of every wait."""
    try:
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path}: not a timeline: {error}") from None
    ranks: dict[int, list[tuple[float, float, int]]] = {}
    waits: dict[int, list[tuple[float, float]]] = {}
    for event in events:
        if event.get("cat") == "compute":
            ranks.setdefault(event["pid"], []).append(
                (event["ts"] / 1e6, event["dur"] / 1e6, event.get("args", {}).get("block", 0)))
        elif event.get("cat") == "receive":
            waits.setdefault(event["pid"], []).append((event["ts"] / 1e6, event["dur"] / 1e6))
    return ranks, waits


def draw(line: dict, ranks: dict[int, list[tuple[float, float, int]]], waits: dict[int, list[tuple[float, float]]]):
    plt.rcParams.update(STYLE)
    blocks = max((block for rows in ranks.values() for *_, block in rows), default=0) + 1
    figure, axes = plt.subplots(figsize=(WIDTH, 0.28 * len(ranks) + 1.05), layout="constrained")
    colours, scale = colormaps["viridis"], Normalize(0, max(1, blocks - 1))
    end, pixels = 0.0, sum(map(len, [*ranks.values(), *waits.values()])) > MANY
    for rank, rows in sorted(ranks.items()):
        for block in range(blocks):
            spans = [(begin, length) for begin, length, b in rows if b == block]
            axes.broken_barh(spans, (rank - 0.42, 0.7), facecolors=colours(scale(block)), linewidth=0,
                             rasterized=pixels)
        axes.broken_barh(waits.get(rank, []), (rank + 0.3, 0.12), facecolors=COLOURS[1], linewidth=0,
                         rasterized=pixels)
        end = max(end, max(begin + length for begin, length, _ in rows))
    axes.set_xlim(0, end)
    axes.set_ylim(len(ranks) - 0.5, -0.5)
    axes.set_yticks(sorted(ranks), [f"rank {rank}" for rank in sorted(ranks)])
    axes.tick_params(axis="y", length=0)
    axes.grid(False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("seconds since denoising began" + (" (orange: waiting for a message)" if any(waits.values()) else ""))
    idle = [f"{name} {line[field]:.1%}" for name, field in
            (("idle", "bubble_ratio"), ("by slots", "bubble_ratio_slots")) if line.get(field) is not None]
    title = f"{line['kind'].capitalize()}: {line['strategy']}, N={line['world_size']}, {line['frames']:,} frames"
    title += f", {cluster_of(line)}" if cluster_of(line) else ""
    figure.suptitle(": ".join(filter(None, [title, ", ".join(idle)])), fontsize=8, fontweight="bold")
    axes.set_title(label_options(line.get("options") or {}), fontsize=6, color="#555555", pad=3)
    if blocks > 1:
        bar = figure.colorbar(plt.cm.ScalarMappable(scale, colours), ax=axes, pad=0.01, fraction=0.03, aspect=12)
        bar.set_ticks([0, blocks - 1])
        bar.set_label("block", labelpad=-8)
        bar.outline.set_linewidth(0)
    return figure


def make(lines: list[dict], folder: Path) -> list[Path]:
    written = []
    for line in lines:
        if line.get("timeline") and line["status"] == "ok":
            path = trace_file(line)
            ranks, waits = read(path)
            if ranks:
                name = slug(f"timeline_{path.stem}", cluster_of(line),
                            None if line["kind"] == "measured" else line["kind"])
                written += save(draw(line, ranks, waits), folder, name)
    return written
