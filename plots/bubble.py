# SPDX-License-Identifier: Apache-2.0
"""Idle share of pipelines against the number of ranks, or of blocks: by counting slots, simulated and measured.

A colour is a strategy with its options and length (or world size); lines are the counted slots, each kind of run has
its own marker. Runs of different kinds and machines meet here on purpose: the question is whether they agree.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import PercentFormatter

from figure import COLOURS, QUIET, STYLE, WIDTH, frame_axis, heading, legend_below, save
from panels import Panel, differing_options, label_options, slug

SETTINGS = ("model", "height", "width", "steps")
KINDS = {"measured": "x", "simulated": "s", "emulated": "^"}


@dataclass
class Track:
    """One pipeline: its idle share by counting, and by kind, keyed by what is on the x axis."""

    key: dict  # strategy, options, and what is not on the x axis
    slots: dict[int, float] = field(default_factory=dict)
    kinds: dict[str, dict[int, list[float]]] = field(default_factory=dict)


def blocks(options: dict, frames: int, latent_frames: int | None) -> int | None:
    """Blocks of frames that a strategy with `block-frames` cuts a video into: the first is `context-frames` longer."""
    chosen = {k.replace("_", "-"): v for k, v in options.items()}
    if "block-frames" not in chosen:
        return None
    size, context = int(chosen["block-frames"]), int(chosen.get("context-frames", 0))
    return 1 + max(0, -(-((latent_frames or (frames + 2) // 4 + 1) - size - context) // size))


def pipelines(panels: list[Panel]) -> dict[tuple, list[tuple[dict, float | None, str, float | None]]]:
    """By settings that must agree: (key, slots, kind, idle share) of every pipeline that ran with several ranks."""
    found: dict[tuple, list] = {}
    for panel in panels:
        for series in panel.series:
            for frames, point in series.points.items():
                slots = point.median("bubble_ratio_slots")
                if slots is None or series.world_size < 2:
                    continue
                count = blocks(series.options, frames, point.ok[0].get("latent_frames"))
                key = {"strategy": series.strategy, "options": series.options, "ranks": series.world_size,
                       "frames": frames, "blocks": count}
                settings = tuple(panel.settings[name] for name in SETTINGS)
                found.setdefault(settings, []).append(
                    (key, slots, panel.settings["kind"], point.median("bubble_ratio")))
    return found


def tracks(rows: list, axis: str) -> list[Track]:
    """With `axis` ("ranks" or "frames") across; only tracks with several points."""
    found: dict[tuple, Track] = {}
    for key, slots, kind, idle in rows:
        own = tuple((name, str(chosen)) for name, chosen in key.items() if name not in (axis, "blocks"))
        track = found.setdefault(own, Track(key))
        track.slots[key[axis]] = slots
        if idle is not None and kind in KINDS:
            track.kinds.setdefault(kind, {}).setdefault(key[axis], []).append(idle)
    return [track for track in found.values() if len(track.slots) > 1]


def labels(chosen: list[Track], axis: str) -> list[str]:
    """What tells the tracks of a figure apart."""
    keys = [track.key for track in chosen]
    found = []
    for key in keys:
        alike = [k["options"] for k in keys if k["strategy"] == key["strategy"]]
        parts = [key["strategy"]] if len({k["strategy"] for k in keys}) > 1 else []
        parts.append(label_options(differing_options(key["options"], alike)))
        if axis == "frames" and len({k["ranks"] for k in keys}) > 1:
            parts.append(f"N={key['ranks']}")
        if axis == "ranks" and len({k["frames"] for k in keys}) > 1:
            parts.append(f"{key['frames']:,} frames" + (f" ({key['blocks']} blocks)" if key["blocks"] else ""))
        found.append(", ".join(filter(None, parts)) or key["strategy"])
    return found


def draw(settings: tuple, chosen: list[Track], axis: str):
    plt.rcParams.update(STYLE)
    kinds = [kind for kind in KINDS if any(kind in track.kinds for track in chosen)]
    texts = labels(chosen, axis)
    columns = 1 if len(texts) == 1 or max(map(len, texts)) > 26 else 2
    figure, axes = plt.subplots(figsize=(WIDTH, 2.15 + 0.155 * -(-len(chosen) // columns)), layout="constrained")
    for i, (track, label) in enumerate(zip(chosen, texts)):
        colour = COLOURS[i % len(COLOURS)]
        axes.plot(*zip(*sorted(track.slots.items())), color=colour, marker=".", markersize=3, linewidth=1, label=label)
        for kind, points in track.kinds.items():
            rows = [(x, idle) for x, values in points.items() for idle in values]
            axes.plot(*zip(*rows), color=colour, marker=KINDS[kind], markerfacecolor="none", markersize=5,
                      linestyle="none", markeredgewidth=0.9)
    frame_axis(axes, sorted({x for track in chosen for x in track.slots}), axis)
    axes.set_ylim(0, 1.08 * max(axes.dataLim.y1, 0.01))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylabel("idle share")
    model, height, width, steps = settings
    strategy = {track.key["strategy"] for track in chosen}
    title = f"Idle time of {strategy.pop() if len(strategy) == 1 else 'pipelines'}: {model}"
    heading(figure, None, title + (f", {height}\u00d7{width}" if height and width else "") + f", {steps} steps", "")
    marks = [(plt.Line2D([], [], color=QUIET, marker=".", markersize=3, linewidth=1), "slots counted")]
    marks += [(plt.Line2D([], [], color=QUIET, marker=KINDS[kind], markerfacecolor="none", markersize=5,
                          linestyle="none"), kind) for kind in kinds]
    axes.legend(*zip(*marks), loc="lower center", bbox_to_anchor=(0.5, 0.99), ncols=4, frameon=False,
                columnspacing=1.2, handlelength=1.6, borderaxespad=0.1)
    legend_below(figure, [line for line in axes.lines if line.get_label() in texts], texts, columns)
    return figure


def split(chosen: list[Track]) -> list[tuple[str, list[Track]]]:
    """All in one figure if the colours suffice, else one for each strategy."""
    if len(chosen) <= len(COLOURS):
        return [("", chosen)]
    strategies = dict.fromkeys(track.key["strategy"] for track in chosen)
    return [(s, [track for track in chosen if track.key["strategy"] == s]) for s in strategies]


def make(panels: list[Panel], folder: Path) -> list[Path]:
    written = []
    found = pipelines(panels)
    for settings, rows in found.items():
        model, height, width, steps = settings
        alike = [s for s in found if s[0] == model]
        size = f"{height}x{width}" if height and width else None
        name = slug(model, size if len({s[1:3] for s in alike}) > 1 else None,
                    f"{steps}steps" if len({s[3] for s in alike}) > 1 else None)
        for axis in ("ranks", "frames"):
            for part, chosen in split(tracks(rows, axis)):
                if chosen:
                    written += save(draw(settings, chosen, axis), folder, slug(f"bubble_vs_{axis}", part, name))
    return written
