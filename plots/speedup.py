# SPDX-License-Identifier: Apache-2.0
"""How many times dualparal's latency and memory the other strategies need at the same point, as bars. Of several variants of
dualparal, the one with its default options is what the others are divided by, as in reports; without one, the axis names it.

Where eight ranks made 1,025 frames, a dashed line marks the paper's headline; it belongs to the paper's machines and
its baseline, not to the figure's.
"""
from __future__ import annotations

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

from defaults import chosen_options
from figure import QUIET, STYLE, WIDTH, heading, legend_below, legend_columns, look, plain, save
from panels import Panel, Series, differing_options, label_options

BASE = "dualparal"
RATIOS = {"latency_s": "latency", "peak_memory_bytes": "peak memory", "flops": "work"}  # work: of traced runs
PAPER = {"latency_s": 6.54, "peak_memory_bytes": 1.48}
PAPER_RANKS, PAPER_FRAMES = 8, 1025
PAPER_LABEL = "paper, 8x RTX 4090, 1,025 frames: up to"


def base_series(panel: Panel) -> Series | None:
    """The default variant, if that ran; else the first that did."""
    def rank(series: Series) -> tuple[bool, bool]:
        return any(point.ok for point in series.points.values()), not chosen_options(BASE, series.options)

    return max((s for s in panel.series if s.strategy == BASE), key=rank, default=None)


def ratio_label(panel: Panel, name: str) -> str:
    """Of the axis; says which variant of dualparal the base is, if it is not the default one."""
    options = label_options(chosen_options(BASE, base_series(panel).options))
    return "\n".join([f"{RATIOS[name]},", f"times {BASE}'s", *textwrap.wrap(f"({options})" if options else "", 28)])


def labels(panel: Panel) -> list[str]:
    """Strategies with those options in which their series differ that are no defaults, and with their ranks if they are few."""
    texts = []
    for series in panel.series:
        differing = differing_options(series.options, [s.options for s in panel.series if s.strategy == series.strategy])
        options = label_options(chosen_options(series.strategy, differing))
        ranks = f", N={series.world_size}" if series.world_size != panel.ranks else ""
        texts.append(series.strategy + (f" ({options})" if options else "") + ranks)
    return texts


def ratios(panel: Panel, name: str) -> dict[int, dict[int, float | None]]:
    """By frames, by series: how many times the base; None for a run that failed where the base did not."""
    base = base_series(panel)
    found: dict[int, dict[int, float | None]] = {}
    for frames, point in sorted(base.points.items() if base else []):
        ours = point.median(name)
        if not ours:
            continue
        row = {}
        for i, series in enumerate(panel.series):
            other = series.points.get(frames)
            if series is base or other is None:
                continue
            if other.reason or other.median(name) is not None:
                row[i] = None if other.reason else other.median(name) / ours
        if any(ratio is not None for ratio in row.values()):
            found[frames] = row
    return found


def draw_bars(axes, panel: Panel, rows: dict[int, dict[int, float | None]], name: str, shown: list[int]) -> None:
    width = 0.84 / len(shown)
    values = [v for row in rows.values() for v in row.values() if v is not None]
    paper = PAPER.get(name) if panel.ranks == PAPER_RANKS and PAPER_FRAMES in rows else None
    every = values + [1.0] + ([paper] if paper else [])
    log = max(every) > 12
    bottom = min(1.0, *every) / 1.25 if log else 0.0
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(plain))
    axes.set_ylim(bottom, max(every) * (1.6 if log else 1.15))
    for group, row in enumerate(rows.values()):
        for at, i in enumerate(shown):
            x = group + (at - (len(shown) - 1) / 2) * width
            style = look(panel, i)
            if row.get(i) is not None:
                hollow = style.get("markerfacecolor") == "white"
                axes.bar(x, row[i] - bottom, 0.92 * width, bottom, color="white" if hollow else style["color"],
                         edgecolor=style["color"], linewidth=0.6)
            elif i in row:
                axes.plot(x, 0.04, marker="x", color=style["color"], markersize=3.5, linestyle="none",
                          transform=axes.get_xaxis_transform(), clip_on=False)
    axes.axhline(1.0, color="black", linewidth=0.6)
    if paper:
        at = list(rows).index(PAPER_FRAMES)
        axes.plot([at - 0.48, at + 0.48], [paper, paper], color="black", linestyle=(0, (3, 1.5)), linewidth=1)
        axes.annotate(f"{paper:g}", (at + 0.48, paper), xytext=(1, 0), textcoords="offset points", fontsize=6,
                      va="center", annotation_clip=False)
    axes.set_xlim(-0.55, len(rows) - 0.4)
    axes.set_xticks(range(len(rows)), [f"{frames:,}" for frames in rows])
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)
    axes.set_ylabel(ratio_label(panel, name))


def draw(panel: Panel, names: list[str]):
    """One above the other: a group of bars for each number of frames."""
    plt.rcParams.update(STYLE)
    rows = {name: ratios(panel, name) for name in names}
    shown = [i for i in range(len(panel.series)) if any(i in row for name in names for row in rows[name].values())]
    texts = [text for i, text in enumerate(labels(panel)) if i in shown]
    columns = legend_columns(texts)
    height = 1.15 * len(names) + 0.16 * -(-(len(shown) + 2) // columns) + 0.75
    figure, grid = plt.subplots(len(names), 1, squeeze=False, figsize=(WIDTH, height), layout="constrained")
    for axes, name in zip(grid[:, 0], names):
        draw_bars(axes, panel, rows[name], name, shown)
    grid[-1, 0].set_xlabel("frames")
    heading(figure, grid[0, 0], panel.title(), panel.subtitle())
    handles = [plt.Rectangle((0, 0), 1, 1, facecolor="white" if look(panel, i).get("markerfacecolor") == "white" else
                             look(panel, i)["color"], edgecolor=look(panel, i)["color"]) for i in shown]
    missing = sorted({panel.series[i].points[frames].reason for name in names for frames, row in rows[name].items()
                      for i, ratio in row.items() if ratio is None})
    if missing:
        handles.append(plt.Line2D([], [], color=QUIET, marker="x", linestyle="none", markersize=3.5))
        texts.append(", ".join(missing))
    if panel.ranks == PAPER_RANKS and any(PAPER_FRAMES in rows[name] for name in names if name in PAPER):
        handles.append(plt.Line2D([], [], color="black", linestyle=(0, (3, 1.5)), linewidth=1))
        texts.append(PAPER_LABEL)
    legend_below(figure, handles, texts, columns, handlelength=1.4)
    return figure


def make(panels: list[Panel], folder: Path) -> list[Path]:
    written = []
    for panel in (whole.largest_ranks() for whole in panels):
        if {s.strategy for s in panel.series} <= {BASE}:
            continue
        names = [name for name in RATIOS if ratios(panel, name) and (name != "flops" or not panel.has("latency_s"))]
        if names:
            written += save(draw(panel, names), folder, f"speedup_{panel.name}")
    return written
