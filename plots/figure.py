# SPDX-License-Identifier: Apache-2.0
"""The look shared by all figures: one column of a two-column paper, colours that colour-blind readers can tell apart."""
from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator  # noqa: E402

from panels import Panel  # noqa: E402

WIDTH = 3.4  # inches
# Okabe and Ito's palette, a brown in place of yellow (too pale on white).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C510A")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES = ("-", "--", ":", "-.")
STRATEGIES = {  # the same in every figure
    "dualparal": ("#D55E00", "o"), "single": ("#000000", "X"), "ring": ("#0072B2", "s"), "ulysses": ("#56B4E9", "^"),
    "usp": ("#009E73", "D"), "naive_pipeline": ("#8C510A", "<"), "video_infinity": ("#E69F00", "v"),
    "fifo": ("#CC79A7", "P"), "context_windows": ("#7A4FB5", ">"), "pipefusion": ("#8A8A8A", "p"),
}
QUIET = "#555555"
STYLE = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "legend.fontsize": 7, "lines.linewidth": 1.2, "lines.markersize": 4, "axes.linewidth": 0.6,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.linewidth": 0.4,
    "grid.color": "#dddddd", "axes.axisbelow": True, "pdf.fonttype": 42, "savefig.dpi": 300,
}


def strategy_look(name: str) -> tuple[str, str]:
    """Colour and marker; a strategy that the table lacks has one that depends on its name alone."""
    number = sum(name.encode())
    return STRATEGIES.get(name, (COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]))


def look(panel: Panel, index: int) -> dict:
    """Colour and marker of a series: its strategy's, variants of a strategy dashed and hollow. A panel of one strategy
    has a colour for each variant."""
    series = panel.series[index]
    alike = [i for i, s in enumerate(panel.series) if s.strategy == series.strategy]
    if len(alike) == len(panel.series) > 1:
        return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)],
                "linestyle": DASHES[index // len(COLOURS) % len(DASHES)]}
    colour, marker = strategy_look(series.strategy)
    variant = alike.index(index)
    return {"color": colour, "marker": marker, "linestyle": DASHES[variant % len(DASHES)],
            "markerfacecolor": "white" if variant else colour}


def plain(x: float, _=None) -> str:
    return f"{x:,.0f}" if x >= 10 else f"{x:.3g}"


def frame_axis(axes, ticks: list[int], label: str = "frames") -> None:
    """The counts that were run, on a logarithmic axis if they span enough; crowded labels are left out."""
    low, high = min(ticks), max(ticks)
    if high >= 4 * low:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.15, high * 1.15)
        close = [t for i, t in enumerate(ticks) if i == 0 or t >= 1.2 * ticks[i - 1]]
    else:
        margin = max(1.0, 0.08 * (high - low))
        axes.set_xlim(low - margin, high + margin)
        close = [t for i, t in enumerate(ticks) if i == 0 or t - ticks[i - 1] >= 0.08 * (high - low)]
    axes.set_xticks(close, [f"{t:,}" for t in close])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label)


def value_axis(axes, values: list[float], label: str, zero: bool = True) -> None:
    """Logarithmic where values span more than a factor of 8, else linear, from zero if `zero`."""
    axes.set_ylabel(label)
    if min(values) > 0 and max(values) > 8 * min(values):
        axes.set_yscale("log")
        axes.set_ylim(min(values) / 1.4, max(values) * 1.4)
        narrow = max(values) < 200 * min(values)
        axes.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if narrow else (1,)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(plain))
        return
    low, high = min(values), max(values)
    if zero and low >= 0:
        axes.set_ylim(0, 1.12 * high or 1)
    elif high - low < 0.02 * abs(high):  # do not blow rounding up to a difference
        axes.set_ylim(low - 0.02 * abs(high), high + 0.02 * abs(high))
    axes.ticklabel_format(axis="y", useOffset=False)
    if high >= 1000:
        axes.yaxis.set_major_formatter(FuncFormatter(plain))


def new_figure(panel: Panel, missing_rows: int, height: float = 2.15, legend: int = 0):
    """Axes with a strip above them for points without a value (None if there are no such points).

    legend: entries of the legend besides the panel's series.
    """
    plt.rcParams.update(STYLE)
    labels = panel.labels()
    height += 0.16 * -(-(len(labels) + legend) // legend_columns(labels))
    strip_height = 0.14 * missing_rows + 0.06
    if missing_rows:
        figure, (strip, axes) = plt.subplots(
            2, 1, sharex=True, figsize=(WIDTH, height + strip_height), layout="constrained",
            height_ratios=(strip_height, 1.5))
        strip.set_ylim(-0.5, missing_rows - 0.5)
        strip.invert_yaxis()
        strip.grid(False)
        strip.spines[:].set_visible(False)
        strip.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False, which="both")
        return figure, axes, strip
    figure, axes = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    return figure, axes, None


def legend_columns(labels: list[str]) -> int:
    return 2 if len(labels) > 1 and sum(sorted(map(len, labels))[-2:]) <= 50 else 1


def heading(figure, axes, title: str, subtitle: str) -> None:
    if len(subtitle) > 66:
        subtitle = subtitle[:63] + "..."
    figure.suptitle(title, fontsize=8 if len(title) <= 44 else 7, fontweight="bold")
    if axes:
        axes.set_title(subtitle, fontsize=6.5, color=QUIET, pad=3)


def legend_below(figure, handles, labels: list[str], columns: int | None = None, **style) -> None:
    columns = columns or legend_columns(labels)
    # A letter is about 0.55 of the font's size wide; handles and gaps take about 30 points of each column.
    room = figure.get_figwidth() * 72 / columns - 30
    fitting = max(4.0, min(plt.rcParams["legend.fontsize"], room / (0.55 * max(map(len, labels), default=1))))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False,
                  columnspacing=1.2, borderaxespad=0.1, **{"handlelength": 2.4, "fontsize": fitting, **style})


def finish(figure, axes, strip, panel: Panel) -> None:
    heading(figure, strip or axes, panel.title(), panel.subtitle())
    entries = list(zip(*axes.get_legend_handles_labels()))
    entries.sort(key=lambda entry: entry[1] not in panel.labels())  # what is no series comes last
    handles = [getattr(bar, "lines", [bar])[0] for bar, _ in entries]  # without the bars
    legend_below(figure, handles, [label for _, label in entries])


def save(figure, folder: Path, name: str) -> list[Path]:
    """PNG and PDF."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{ending}" for ending in ("png", "pdf")]
    for path in paths:
        figure.savefig(path, metadata={"CreationDate": None} if path.suffix == ".pdf" else None)
    plt.close(figure)
    return paths
