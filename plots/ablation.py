# SPDX-License-Identifier: Apache-2.0
"""What the options of one strategy do: options as rows, a small chart for each metric.

A marker is the mean over prompts and seeds. The thin line is the 95 % interval of that mean. The thick line is the
95 % interval of the difference from the first row for the same prompts and seeds, drawn around the marker: where it
does not reach the dotted line through the first row's mean, the option changes the metric. Beside the figures, a
table (Markdown) has the same numbers.
"""
from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

import quality
from figure import COLOURS, QUIET, STYLE, WIDTH, heading, save
from intervals import difference, mean_of
from latency_memory import GIB, MIB
from panels import Panel, Point, Series, differing_options
from results import value

COST = {"latency_s": "latency (s)", "compute_s": "computing (s)", "peak_memory_bytes": "peak memory",
        "sent_bytes": "sent by all", "flops": "work (PFLOP)", "bubble_ratio": "idle share",
        "bubble_ratio_slots": "idle share by slots"}
BESIDE = {"quality.drift": "quality.drift_within_start"}  # drawn hollow: drift is what exceeds it
COLUMNS = 2


def ablations(panel: Panel) -> list[tuple[str, int, int, list[tuple[dict, Point]]]]:
    """(strategy, world size, frames, rows) wherever a strategy ran with several choices of options, at the greatest length
    at which it did; a row is the options that differ, and the runs."""
    found = []
    for strategy in dict.fromkeys(s.strategy for s in panel.series):
        for ranks in sorted({s.world_size for s in panel.series if s.strategy == strategy}):
            series: list[Series] = [s for s in panel.series if (s.strategy, s.world_size) == (strategy, ranks)]
            for frames in sorted({f for s in series for f in s.points}, reverse=True):
                ran = [s for s in series if frames in s.points and s.points[frames].ok]
                if len(ran) > 1:
                    options = [s.options for s in ran]
                    found.append((strategy, ranks, frames,
                                  [(differing_options(s.options, options), s.points[frames]) for s in ran]))
                    break
    return found


def metrics(rows: list[tuple[dict, Point]], names: dict[str, str]) -> dict[str, tuple[str, float]]:
    """Label and divisor of each metric that every row has, in its unit."""
    found = {}
    for name, label in names.items():
        means = [mean_of(point, name) for _, point in rows]
        if any(m is None for m in means):
            continue
        largest, divisor = max(abs(m.mean) for m in means), 1.0
        if name.endswith("_bytes"):
            divisor = GIB if largest >= GIB else MIB
            label += " (GiB)" if divisor == GIB else " (MiB)"
        elif name == "flops":
            divisor = 1e15
        found[name] = (label, divisor)
    if {"latency_s", "compute_s"} <= found.keys():
        del found["compute_s"]
    return found


def row_label(options: dict) -> str:
    return "\n".join(f"{name.replace('_', '-')} {chosen}" for name, chosen in options.items())


def draw_metric(axes, rows: list[tuple[dict, Point]], name: str, label: str, divisor: float) -> None:
    base = rows[0][1]
    first = mean_of(base, name)
    axes.axvline(first.mean / divisor, color=QUIET, linestyle=":", linewidth=0.8, zorder=1)
    ends = []
    for y, (_, point) in enumerate(rows):
        mean = mean_of(point, name)
        x, low, high = mean.mean / divisor, mean.low / divisor, mean.high / divisor
        ends += [low, high]
        colour = COLOURS[6] if y == 0 else COLOURS[0]
        if mean.half is not None:
            axes.plot([low, high], [y, y], color=colour, linewidth=0.8, zorder=2)
        change = difference(point, base, name) if y else None
        # Around the marker it only says the truth if both rows have the same samples.
        if change and change.half is not None and change.n == mean.n == first.n:
            ends += [x - change.half / divisor, x + change.half / divisor]
            axes.plot(ends[-2:], [y, y], color=COLOURS[5], linewidth=3.2,
                      solid_capstyle="butt", zorder=3)
        axes.plot(x, y, marker="o", markersize=3.2, color=colour, linestyle="none", zorder=4)
        beside = mean_of(point, BESIDE[name]) if name in BESIDE else None
        if beside:
            axes.plot(beside.mean / divisor, y, marker="o", markersize=3.2, markerfacecolor="white", color=colour,
                      linestyle="none", zorder=3.5)
            ends.append(beside.mean / divisor)
    low, high = min(ends), max(ends)
    margin = max(0.12 * (high - low), 0.02 * max(abs(low), abs(high)), 1e-9)  # rounding is no difference
    axes.set_xlim(low - margin, high + margin)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.tick_params(axis="x", labelsize=6)
    axes.tick_params(axis="y", length=0, labelsize=6)
    axes.grid(axis="y", visible=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    label = label.replace("\n", " ") + (" (hollow: within start)" if name in BESIDE else "")
    axes.set_title(label, fontsize=6.5 if len(label) < 30 else 6, pad=2)


def draw(panel: Panel, where: tuple[str, int, int], rows: list[tuple[dict, Point]],
         chosen: dict[str, tuple[str, float]]):
    plt.rcParams.update(STYLE)
    strategy, ranks, frames = where
    lines = max(row_label(options).count("\n") + 1 for options, _ in rows)
    columns = min(COLUMNS, len(chosen))
    height = (0.11 * lines + 0.08) * len(rows) + 0.36
    grid_rows = -(-len(chosen) // columns)
    figure, grid = plt.subplots(grid_rows, columns, squeeze=False, sharey=True, layout="constrained",
                                figsize=(WIDTH, height * grid_rows + 0.5))
    for axes in grid.flat[len(chosen):]:
        axes.set_visible(False)
    for axes, (name, (label, divisor)) in zip(grid.flat, chosen.items()):
        draw_metric(axes, rows, name, label, divisor)
    grid[0, 0].set_yticks(range(len(rows)), [row_label(options) for options, _ in rows])
    n = max(mean_of(point, name).n for _, point in rows for name in chosen)
    heading(figure, None, f"{panel.settings['kind'].capitalize()}: {panel.settings['model']}, {strategy}", "")
    note = f"N={ranks}, {frames:,} frames, {panel.subtitle()}\n" + (
        f"95 % intervals over {n} prompts \u00d7 seeds; thick: of the change from the first row" if n > 1 else
        "one sample: no interval")
    figure.supxlabel(note, fontsize=6, color=QUIET)
    return figure


def table(rows: list[tuple[dict, Point]], chosen: dict[str, tuple[str, float]]) -> str:
    """Markdown: mean, its interval, and the difference from the first row."""
    text = "| metric | options | n | mean | 95 % interval | difference from the first, same prompt and seed |\n"
    text += "|---|---|---:|---:|---:|---:|\n"
    for name, (label, divisor) in chosen.items():
        for y, (options, point) in enumerate(rows):
            mean = mean_of(point, name)
            change = difference(point, rows[0][1], name) if y else None
            interval = f"{mean.low / divisor:.4g} to {mean.high / divisor:.4g}" if mean.half is not None else ""
            differs = f"{change.mean / divisor:+.4g}" if change else ""
            if change and change.half is not None:
                differs += f" ({change.low / divisor:+.4g} to {change.high / divisor:+.4g})"
            flat = row_label(options).replace("\n", ", ")
            text += f"| {' '.join(label.split())} | {flat} | {mean.n} | {mean.mean / divisor:.4g} | {interval} | {differs} |\n"
    return text


def make(panels: list[Panel], folder: Path) -> list[Path]:
    written = []
    for panel in panels:
        found = ablations(panel)
        for strategy, ranks, frames, rows in found:
            place = "_".join(filter(None, [
                strategy, f"{ranks}ranks" if len({r for s, r, *_ in found if s == strategy}) > 1 else "",
                f"{frames}frames" if len({f for s, _, f, _ in found if s == strategy}) > 1 else ""]))
            everything = {}
            for part, names in (("cost", COST), ("quality", quality.metrics(panel))):
                chosen = metrics(rows, names)
                if not chosen:
                    continue
                everything |= chosen
                figure = draw(panel, (strategy, ranks, frames), rows, chosen)
                written += save(figure, folder, f"ablation_{part}_{place}_{panel.name}")
            if everything:
                path = folder / f"ablation_{place}_{panel.name}.md"
                path.write_text(table(rows, everything), encoding="utf-8")
                written.append(path)
    return written
