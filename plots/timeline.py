# SPDX-License-Identifier: Apache-2.0
"""What every rank did when: ranks as rows, blocks in colours, idle white, waits for messages as a line below.

    python plots/timeline.py FILE... -o PNG_PDF_OR_FOLDER

FILE: a timeline in Chrome's trace event format, measured or simulated (`--timeline` of `dualparal generate` and
`dualparal simulate`, an experiment's `timelines`), or a results.jsonl whose lines name some (in a folder, too).
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib import colormaps  # noqa: E402
from matplotlib.colors import Normalize  # noqa: E402

from figure import COLOURS, STYLE, save  # noqa: E402
from panels import label_options, slug  # noqa: E402
from results import ResultsError, cluster_of, read_results  # noqa: E402

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
    ranks: dict[int, list[tuple[float, float, int]]] = {}
    waits: dict[int, list[tuple[float, float]]] = {}
    try:
        for event in json.loads(path.read_text(encoding="utf-8"))["traceEvents"]:
            if event.get("cat") == "compute":
                ranks.setdefault(event["pid"], []).append(
                    (event["ts"] / 1e6, event["dur"] / 1e6, event.get("args", {}).get("block", 0)))
            elif event.get("cat") == "receive":
                waits.setdefault(event["pid"], []).append((event["ts"] / 1e6, event["dur"] / 1e6))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsError(f"{path}: not a timeline: {error}") from None
    return ranks, waits


def title_of(line: dict) -> str:
    idle = [f"{name} {line[field]:.1%}" for name, field in
            (("idle", "bubble_ratio"), ("by slots", "bubble_ratio_slots")) if line.get(field) is not None]
    title = f"{line['kind'].capitalize()}: {line['strategy']}, N={line['world_size']}, {line['frames']:,} frames"
    title += f", {cluster_of(line)}" if cluster_of(line) else ""
    return ": ".join(filter(None, [title, ", ".join(idle)]))


def draw(title: str, subtitle: str, ranks: dict[int, list[tuple[float, float, int]]],
         waits: dict[int, list[tuple[float, float]]]):
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
    figure.suptitle(title, fontsize=8, fontweight="bold")
    axes.set_title(subtitle, fontsize=6, color="#555555", pad=3)
    if blocks > 1:
        bar = figure.colorbar(plt.cm.ScalarMappable(scale, colours), ax=axes, pad=0.01, fraction=0.03, aspect=12)
        bar.set_ticks([0, blocks - 1])
        bar.set_label("block", labelpad=-8)
        bar.outline.set_linewidth(0)
    return figure


def figures(lines: list[dict]):
    """(name, figure) of every timeline that lines name; one that cannot be read is left out with a warning."""
    for line in lines:
        if line.get("timeline") and line["status"] == "ok":
            try:
                path = trace_file(line)
                ranks, waits = read(path)
            except ResultsError as error:
                print(f"warning: left out: {error}", file=sys.stderr)
                continue
            if ranks:
                name = slug(f"timeline_{path.stem}", cluster_of(line),
                            None if line["kind"] == "measured" else line["kind"])
                yield name, draw(title_of(line), label_options(line.get("options") or {}), ranks, waits)


def make(lines: list[dict], folder: Path) -> list[Path]:
    return [path for name, figure in figures(lines) for path in save(figure, folder, name)]


def is_timeline(path: Path) -> bool:
    if path.is_dir():
        return False
    try:
        return "traceEvents" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def figures_of(path: Path) -> list:
    """(name, figure) of a timeline, or of all those that result lines name."""
    if not is_timeline(path):
        found = list(figures(read_results([path])))
        if not found:
            raise ResultsError(f"{path}: neither a timeline nor result lines that name one that is there (run with "
                               "--timeline FILE, or with `timelines: true` in an experiment)")
        return found
    ranks, waits = read(path)
    if not ranks:
        raise ResultsError(f"{path}: a timeline in which no rank computes")
    return [(f"timeline_{path.stem}", draw(path.name, "", ranks, waits))]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", help="timelines, or result lines that name them")
    parser.add_argument("-o", "--output", type=Path, required=True,
                        help="a .png or .pdf file; a folder for several timelines (PNG and PDF)")
    options = parser.parse_args(arguments)
    try:
        drawn = [pair for path in options.files for pair in figures_of(path)]
        if options.output.suffix not in (".png", ".pdf"):
            written = [path for name, figure in drawn for path in save(figure, options.output, name)]
        elif len(drawn) > 1:
            raise ResultsError(f"{options.output}: {len(drawn)} timelines ({', '.join(name for name, _ in drawn)}) do not "
                               "go into one file: name a folder")
        else:
            options.output.parent.mkdir(parents=True, exist_ok=True)
            drawn[0][1].savefig(options.output)
            written = [options.output]
    except (ResultsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
