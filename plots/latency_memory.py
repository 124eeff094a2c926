# SPDX-License-Identifier: Apache-2.0
"""Latency and peak memory against the number of frames, and against the number of ranks.

A line is one strategy; a marker is the median of the repeats, its bar their range. Points without a value stand in
the strip above the axes, each with its reason.
"""
from __future__ import annotations

from pathlib import Path

from figure import finish, frame_axis, look, new_figure, save, slug, value_axis
from results import Panel, Series

FIGURES = {  # file name: (field, axis label, divisor)
    "latency": ("latency_s", "denoising latency (s)", 1.0),
    "memory": ("peak_memory_bytes", "peak memory of a rank (GiB)", 2.0**30),
}


def draw(panel: Panel, name: str, label: str, divisor: float = 1.0, x_label: str = "frames", zero: bool = True):
    """One figure of a panel; `points` of its series are keyed by what is on the x axis.

    zero: whether a linear axis begins at zero.
    """
    gone = {i: [(x, p.reason) for x, p in sorted(s.points.items()) if p.reason] for i, s in enumerate(panel.series)}
    gone = {i: rows for i, rows in gone.items() if rows}
    figure, axes, strip = new_figure(panel, len(gone))
    values, ticks = [], set()
    for i, (series, text) in enumerate(zip(panel.series, panel.labels())):
        rows = series.xy(name)
        ticks |= {x for x, *_ in rows} | {x for x, _ in gone.get(i, [])}
        x = [row[0] for row in rows]
        middle = [row[1] / divisor for row in rows]
        below = [(row[1] - row[2]) / divisor for row in rows]
        above = [(row[3] - row[1]) / divisor for row in rows]
        values += [v / divisor for row in rows for v in row[1:]]
        axes.errorbar(x, middle, yerr=[below, above], label=text, capsize=2, elinewidth=0.8, **look(panel, i))
    frame_axis(axes, sorted(ticks), x_label)
    value_axis(axes, values, label, zero)
    for row, (i, points) in enumerate(gone.items()):
        style = look(panel, i)
        strip.plot([x for x, _ in points], [row] * len(points), linestyle="none", marker="x", color=style["color"],
                   markersize=4, clip_on=False)
        # A reason once for each run of points that share it, left of the first of them.
        for at, (x, why) in enumerate(points):
            if at == 0 or points[at - 1][1] != why:
                strip.annotate(why, (x, row), xytext=(-4, 0) if at == 0 else (4, 0), textcoords="offset points",
                               ha="right" if at == 0 else "left", va="center", fontsize=6, color=style["color"],
                               annotation_clip=False)
    finish(figure, axes, strip, panel)
    return figure


def against_ranks(panel: Panel) -> list[tuple[int, Panel]]:
    """For each frame count at which a strategy ran with several world sizes: a panel whose points are keyed by world size."""
    found = []
    for frames in sorted({f for s in panel.series for f in s.points}):
        lines: dict[tuple, Series] = {}
        for series in panel.series:
            if frames not in series.points:
                continue
            key = (series.strategy, tuple(sorted(series.options.items())))
            line = lines.setdefault(key, Series(series.strategy, series.options, 0))
            line.points[series.world_size] = series.points[frames]
        if any(len(s.points) > 1 for s in lines.values()):
            settings = {**panel.settings, "frames": frames}
            found.append((frames, RanksPanel(settings, list(lines.values()))))
    return found


class RanksPanel(Panel):
    def title(self) -> str:
        s = self.settings
        return f"{s['kind'].capitalize()}: {s['model']}, {s['frames']:,} frames"


def make(panels: list[Panel], folder: Path) -> list[Path]:
    written = []
    for panel in panels:
        for figure_name, (name, label, divisor) in FIGURES.items():
            if not panel.has(name):
                continue
            ranks_panels = against_ranks(panel)
            if not ranks_panels or len({f for s in panel.series for f in s.points}) > 1:
                written += save(draw(panel, name, label, divisor), folder, f"{figure_name}_{slug(panel)}")
            for frames, ranks in ranks_panels:
                if ranks.has(name):
                    figure = draw(ranks, name, label, divisor, x_label="ranks")
                    written += save(figure, folder, f"{figure_name}_vs_ranks_{frames}frames_{slug(panel)}")
    return written
