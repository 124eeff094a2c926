# SPDX-License-Identifier: Apache-2.0
"""Cost by formula against what was recorded: bytes sent by all ranks, weights of the rank that holds most.

Points on the diagonal agree. The formulas are those that each strategy states (docs/strategies.md).
"""
from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from figure import QUIET, STYLE, WIDTH, heading, legend_below, plain, save, strategy_look
from latency_memory import GIB, MIB
from panels import Panel
from results import value

FIELDS = {"sent_bytes": "sent by all ranks", "weights_bytes": "weights of a rank",
          "key_value_bytes": "keys and values of a layer"}


def recorded(line: dict, name: str) -> float | None:
    """The line's own total, else the largest of its ranks."""
    if (total := value(line, name)) is not None:
        return total
    ranks = [rank.get(name) for rank in line.get("per_rank") or []]
    return max((r for r in ranks if r is not None), default=None)


def pairs(panel: Panel, name: str) -> dict[str, list[tuple[float, float]]]:
    """By strategy: (formula, recorded). A strategy that sends nothing has no place on logarithmic axes."""
    found: dict[str, list[tuple[float, float]]] = {}
    for series in panel.series:
        for point in series.points.values():
            for line in point.ok:
                formula, real = value(line, f"analytic_cost.{name}"), recorded(line, name)
                if formula and real:
                    found.setdefault(series.strategy, []).append((formula, real))
    return {strategy: list(dict.fromkeys(rows)) for strategy, rows in found.items()}


def largest_difference(found: dict[str, list[tuple[float, float]]]) -> float:
    """Relative to the formula."""
    return max(abs(real / formula - 1) for rows in found.values() for formula, real in rows)


def draw(panel: Panel, fields: dict[str, dict]):
    plt.rcParams.update(STYLE)
    strategies = list(dict.fromkeys(s for found in fields.values() for s in found))
    rows = -(-len(strategies) // 3)
    side = WIDTH / max(2, len(fields))
    figure, grid = plt.subplots(1, len(fields), squeeze=False, layout="constrained",
                                figsize=(WIDTH, side + 0.16 * rows + 0.55))
    for axes, (name, found) in zip(grid[0], fields.items()):
        numbers = [n for points in found.values() for pair in points for n in pair]
        divisor, unit = (GIB, "GiB") if min(numbers) >= 0.1 * GIB else (MIB, "MiB")
        low, high = min(numbers) / divisor / 1.6, max(numbers) / divisor * 1.6
        axes.plot([low, high], [low, high], color=QUIET, linewidth=0.7, zorder=1)
        for strategy, points in found.items():
            colour, marker = strategy_look(strategy)
            axes.plot(*zip(*((f / divisor, r / divisor) for f, r in points)), color=colour, marker=marker,
                      linestyle="none", markersize=3.6, markerfacecolor="none", markeredgewidth=0.8)
        for which, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
            axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
            axis.set_major_locator(LogLocator(10, (1,) if high > 20 * low else (1, 2, 5), numticks=4))
            axis.set_major_formatter(FuncFormatter(lambda x, _: plain(x) if x < 1e5 else f"{x:.0e}".replace("e+0", "e")))
            axis.set_minor_locator(NullLocator())
        axes.set_aspect("equal")
        axes.set_xlabel(f"by formula ({unit})")
        axes.set_ylabel(f"recorded ({unit})")
        axes.set_title(f"{FIELDS[name]}\nwithin {largest_difference(found):.2%}", fontsize=6.5, pad=3)
    heading(figure, None, panel.title().removesuffix(f", N={panel.ranks}"), "")
    handles = [plt.Line2D([], [], color=strategy_look(s)[0], marker=strategy_look(s)[1], linestyle="none",
                          markersize=3.6, markerfacecolor="none") for s in strategies]
    legend_below(figure, handles, strategies, 3, handlelength=1.0)
    return figure


def make(panels: list[Panel], folder: Path) -> list[Path]:
    """Of what was counted in a run; a simulation only repeats what its traces counted."""
    written = []
    for panel in panels:
        fields = {name: found for name in FIELDS if (found := pairs(panel, name))}
        if fields and panel.settings["kind"] != "simulated":
            written += save(draw(panel, fields), folder, f"cost_{panel.name}")
    return written
