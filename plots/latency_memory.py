# SPDX-License-Identifier: Apache-2.0
"""Latency, peak memory and work against the number of frames.

A line is one strategy; a marker is the median of the repeats, its bar their range. Points without a value stand in
the strip above the axes, each with its reason; a run that failed for memory and says how much it needed is a cross
at that height.
"""
from __future__ import annotations

from pathlib import Path

from figure import QUIET, finish, frame_axis, look, new_figure, save, value_axis
from panels import Panel

GIB, MIB = 2.0**30, 2.0**20
INSTEAD_OF_LATENCY = ("compute_s", "flops")  # what is drawn of emulated and traced runs, which have none
FIGURES = {  # file name: (field, axis label)
    "latency": ("latency_s", "denoising latency (s)"),
    "compute": ("compute_s", "computing, busiest rank (s)"),
    "memory": ("peak_memory_bytes", "peak memory of a rank"),
    "work": ("flops", "work of all ranks"),
}


def scale(panel: Panel, name: str, label: str) -> tuple[str, float]:
    """Axis label with its unit, and what to divide values by."""
    values = [v for s in panel.series for row in s.xy(name) for v in row[1:]]
    if name.endswith("_bytes"):
        return (f"{label} (GiB)", GIB) if max(values, default=0) >= GIB else (f"{label} (MiB)", MIB)
    if name.endswith("flops"):
        unit, size = next((u for u in (("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12)) if max(values) >= u[1]),
                          ("GFLOP", 1e9))
        return f"{label} ({unit})", size
    return label, 1.0


def draw_reasons(strip, gone: dict[int, list], panel: Panel) -> None:
    """A row of crosses for each series; a reason once for each run of points that share it, beside the first of them."""
    for row, (i, points) in enumerate(gone.items()):
        colour = look(panel, i)["color"]
        strip.plot([x for x, _ in points], [row] * len(points), linestyle="none", marker="x", color=colour,
                   markersize=4, clip_on=False)
        for at, (x, why) in enumerate(points):
            if at == 0 or points[at - 1][1] != why:
                before = at == 0 or x == points[-1][0]
                strip.annotate(why, (x, row), xytext=(-4 if before else 4, 0), textcoords="offset points",
                               ha="right" if before else "left", va="center", fontsize=6, color=colour,
                               annotation_clip=False,
                               bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})


def draw(panel: Panel, name: str, label: str, divisor: float = 1.0, x_label: str = "frames", zero: bool = True,
         decorate=None):
    """One figure of a panel; `points` of its series are keyed by what is on the x axis.

    zero: whether a linear axis begins at zero. decorate(axes): draws what else belongs there, returns its values.
    """
    gone, needed = {}, {}
    for i, s in enumerate(panel.series):
        for x, p in sorted(s.points.items()):
            if p.reason and p.needed(name) is not None:
                needed.setdefault(i, []).append((x, p.needed(name) / divisor))
            elif p.reason:
                gone.setdefault(i, []).append((x, p.reason))
    figure, axes, strip = new_figure(panel, len(gone), legend=2 if decorate else 0)
    values, ticks = [], set()
    for i, (series, text) in enumerate(zip(panel.series, panel.labels())):
        rows = series.xy(name)
        ticks |= {x for x, *_ in rows} | {x for x, _ in gone.get(i, []) + needed.get(i, [])}
        x = [row[0] for row in rows]
        middle = [row[1] / divisor for row in rows]
        below = [(row[1] - row[2]) / divisor for row in rows]
        above = [(row[3] - row[1]) / divisor for row in rows]
        values += [v / divisor for row in rows for v in row[1:]] + [v for _, v in needed.get(i, [])]
        style = look(panel, i)
        axes.errorbar(x, middle, yerr=[below, above], label=text, capsize=2, elinewidth=0.8, **style)
        if needed.get(i):
            axes.plot(*zip(*(list(zip(x, middle))[-1:] + needed[i])), color=style["color"], linestyle=":", marker="")
            axes.plot(*zip(*needed[i]), color=style["color"], linestyle="none", marker="x", markersize=5)
    if decorate:
        values += decorate(axes)
    frame_axis(axes, sorted(ticks), x_label)
    value_axis(axes, values, label, zero)
    if strip:
        draw_reasons(strip, gone, panel)
    finish(figure, axes, strip, panel)
    return figure


def memory_limit(panel: Panel, divisor: float):
    """A line at what a device of the cluster has; crosses above it are runs that do not fit."""
    limit = panel.device_memory()
    failed = any(p.needed("peak_memory_bytes") is not None for s in panel.series for p in s.points.values())

    def decorate(axes) -> list[float]:
        axes.axhline(limit / divisor, color=QUIET, linestyle=(0, (4, 2)), linewidth=0.8, label="memory of a device")
        if failed:
            axes.plot([], [], color=QUIET, linestyle=":", marker="x", label="needed, does not fit")
        return [limit / divisor]

    return decorate if limit else None


def make(panels: list[Panel], folder: Path) -> list[Path]:
    """Against frames, unless there is one length only and several world sizes, which scaling.py draws."""
    written = []
    for whole in panels:
        panel = whole.largest_ranks()
        if whole.only_options_differ():
            continue
        if len(panel.frames) == 1 and len({s.world_size for s in whole.series if s.strategy != "single"}) > 1:
            continue
        for figure_name, (name, label) in FIGURES.items():
            if not panel.has(name) or (name in INSTEAD_OF_LATENCY and panel.has("latency_s")):
                continue
            unit, divisor = scale(panel, name, label)
            extra = memory_limit(panel, divisor) if figure_name == "memory" else None
            written += save(draw(panel, name, unit, divisor, decorate=extra), folder, f"{figure_name}_{panel.name}")
    return written
