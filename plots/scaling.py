# SPDX-License-Identifier: Apache-2.0
"""Latency and memory against the number of ranks, one figure for each number of frames that ran with several.

The dotted line is ideal scaling: what `single` needs (else the fastest strategy with the fewest ranks) divided by the
number of ranks.
"""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from figure import QUIET, save
from latency_memory import FIGURES, INSTEAD_OF_LATENCY, draw, scale
from panels import Panel, Series


class RanksPanel(Panel):
    """Points keyed by world size, so that no label needs it."""

    def labels(self, ranks: bool = False) -> list[str]:
        return super().labels(False)


def against_ranks(panel: Panel) -> list[RanksPanel]:
    """For each number of frames at which a strategy ran with several world sizes: a panel keyed by world size."""
    found = []
    for frames in panel.frames:
        lines: dict[tuple, Series] = {}
        for series in panel.series:
            if frames not in series.points:
                continue
            key = (series.strategy, tuple(sorted((k, str(v)) for k, v in series.options.items())))
            line = lines.setdefault(key, replace(series, world_size=0, points={}))
            line.points[series.world_size] = series.points[frames]
        if any(len(s.points) > 1 for s in lines.values()):
            several = {s.strategy for s in lines.values() if len(s.points) > 1}
            # Variants that ran with one world size are an ablation's, not points of a scaling figure.
            kept = [s for s in lines.values() if len(s.points) > 1 or s.strategy not in several]
            settings = {**panel.settings, "frames": frames, "against_ranks": True}
            found.append(RanksPanel(settings, kept, panel.name))
    return found


def ideal(panel: Panel, name: str, divisor: float):
    ran = [(min(rows)[0], min(rows)[1], s.strategy) for s in panel.series if (rows := s.xy(name))]
    start = next((r for r in ran if r[0] == 1 and r[2] == "single"), min(ran))
    most = max(x for s in panel.series for x in s.points)

    def decorate(axes) -> list[float]:
        ranks, value = start[0], start[1] / divisor
        axes.plot([ranks, most], [value, value * ranks / most], color=QUIET, linestyle=":", linewidth=1, marker="",
                  label=f"ideal, from {start[2]}", zorder=1)
        return [value, value * ranks / most]

    return decorate


def make(panels: list[Panel], folder: Path) -> list[Path]:
    written = []
    for whole in panels:
        for panel in against_ranks(whole):
            for figure_name, (name, label) in FIGURES.items():
                if not panel.has(name) or (name in INSTEAD_OF_LATENCY and panel.has("latency_s")):
                    continue
                unit, divisor = scale(panel, name, label)
                extra = ideal(panel, name, divisor) if name in ("latency_s", "compute_s") else None
                figure = draw(panel, name, unit, divisor, x_label="ranks", decorate=extra)
                written += save(figure, folder,
                                f"scaling_{figure_name}_{panel.settings['frames']}frames_{panel.name}")
    return written
