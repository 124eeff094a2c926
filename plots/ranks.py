# SPDX-License-Identifier: Apache-2.0
"""What each rank of a run holds in memory and does with its time, as stacked bars: one bar a rank, one group a run."""
from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

from figure import COLOURS, STYLE, WIDTH, plain, save
from panels import Panel

GIB, MIB = 2.0**30, 2.0**20
THIN = 24  # bars; more of them are drawn thin and without their ranks' numbers


def memory_parts(rank: dict) -> dict[str, float]:
    return {"weights": rank["weights_bytes"],
            "activations and caches": max(0.0, rank["peak_memory_bytes"] - rank["weights_bytes"])}


def time_parts(rank: dict) -> dict[str, float]:
    return {"computing": rank["compute_s"], "communicating": rank["communication_s"], "idle": rank["idle_s"]}


KINDS = {  # file name: (parts of a bar, fields that must be there, axis label)
    "memory_per_rank": (memory_parts, ("weights_bytes", "peak_memory_bytes"), "peak memory"),
    "time_per_rank": (time_parts, ("compute_s", "communication_s", "idle_s"), "denoising time (s)"),
}
FILL = {"weights": COLOURS[0], "activations and caches": COLOURS[5], "computing": COLOURS[2],
        "communicating": COLOURS[1], "idle": "#e4e4e4"}


def draw(panel: Panel, frames: int, runs: list[tuple[str, list[dict]]], parts_of, label: str):
    """runs: label and per_rank figures of each run."""
    plt.rcParams.update(STYLE)
    bars = sum(len(ranks) for _, ranks in runs)
    thickness = 0.13 if bars <= THIN else 0.05  # inches
    row = 0.15 / thickness  # a line of text, in bars
    figure, axes = plt.subplots(figsize=(WIDTH, thickness * bars + 0.19 * len(runs) + 1.0), layout="constrained")
    parts = [[parts_of(rank) for rank in ranks] for _, ranks in runs]
    divisor = 1.0
    if label.endswith("memory"):
        divisor = GIB if max(sum(rank.values()) for ranks in parts for rank in ranks) >= GIB else MIB
        label += " (GiB)" if divisor == GIB else " (MiB)"
    place, ticks, seen = 0.0, [], {}
    for (name, _), ranks in zip(runs, parts):
        axes.annotate(name, (0, place - 0.5 + row / 2), xytext=(2, 0), textcoords="offset points", fontsize=6.5,
                      va="center")
        place += row
        for number, rank in enumerate(ranks):
            left = 0.0
            for part, amount in rank.items():
                seen[part] = axes.barh(place, amount / divisor, 0.8, left, color=FILL[part], linewidth=0)
                left += amount / divisor
            ticks.append((place, str(number)))
            place += 1.0
        place += 0.3 * row
    axes.set_ylim(place - 0.5 - 0.3 * row, -0.6)
    axes.set_yticks(*zip(*ticks) if bars <= THIN else ((),))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_ylabel("rank" if bars <= THIN else "ranks, a bar each")
    axes.set_xlabel(label)
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    figure.suptitle(f"{panel.settings['kind'].capitalize()}: {panel.settings['model']}, {frames:,} frames", fontsize=8,
                    fontweight="bold")
    figure.legend(seen.values(), seen.keys(), loc="outside lower center", ncols=3, frameon=False, handlelength=1.2,
                  columnspacing=1.2, borderaxespad=0.1)
    return figure


def make(panels: list[Panel], folder: Path) -> list[Path]:
    """For each panel the longest video that ran on several ranks, with every run of that length."""
    written = []
    for panel in (whole.largest_ranks() for whole in panels):
        lengths = [frames for s in panel.series if s.world_size > 1 for frames, point in s.points.items() if point.ok]
        if not lengths:
            continue
        frames = max(lengths)
        for name, (parts_of, fields, label) in KINDS.items():
            runs = []
            for series, text in zip(panel.series, panel.labels()):
                point = series.points.get(frames)
                ranks = point.ok[0].get("per_rank") if point and point.ok else None
                if ranks and all(rank.get(field) is not None for rank in ranks for field in fields):
                    runs.append((text, ranks))
            if runs:
                written += save(draw(panel, frames, runs, parts_of, label), folder, f"{name}_{frames}frames_{panel.name}")
    return written
