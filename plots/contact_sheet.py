# SPDX-License-Identifier: Apache-2.0
"""Frames of several videos, one strip each, evenly spread over their length.

    python plots/contact_sheet.py OUT.png VIDEO_OR_FOLDER... [--frames 8]

A folder holds PNG frames, shown in the order of their names. Video files are read with the Python package av.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import av
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))
from figure import STYLE, WIDTH, plt  # noqa: E402


def evenly(total: int, wanted: int) -> list[int]:
    """Indices from the first to the last of `total` frames."""
    return sorted({round(i) for i in np.linspace(0, total - 1, min(wanted, total))})


def read_frames(source: Path, wanted: int) -> list[tuple[int, np.ndarray]]:
    """(index, [height, width, 3] uint8) of evenly spread frames."""
    if source.is_dir():
        files = sorted(source.glob("*.png"))
        if not files:
            raise ValueError(f"{source}: no PNG frames")
        return [(i, np.asarray(Image.open(files[i]).convert("RGB"))) for i in evenly(len(files), wanted)]
    if not source.exists():
        raise ValueError(f"{source}: no such file or folder")
    try:
        with av.open(str(source)) as video:
            total = sum(1 for _ in video.decode(video=0))
        wanted_frames = set(evenly(total, wanted)) if total else set()
        with av.open(str(source)) as video:  # again: all frames of a long video would take too much memory
            return [(i, frame.to_ndarray(format="rgb24")) for i, frame in enumerate(video.decode(video=0))
                    if i in wanted_frames]
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"{source}: cannot read this video: {error}") from None


def contact_sheet(sources: list[Path], wanted: int = 8, width: float = 2 * WIDTH):
    """A matplotlib figure; a row is named after its file or folder."""
    plt.rcParams.update(STYLE)
    rows = [read_frames(source, wanted) for source in sources]
    columns = max(map(len, rows))
    cell = width / columns
    shape = rows[0][0][1].shape
    figure, grid = plt.subplots(len(rows), columns, squeeze=False, layout="constrained",
                                figsize=(width, len(rows) * (cell * shape[0] / shape[1] + 0.32)))
    for source, row, line in zip(sources, rows, grid):
        for axes in line:
            axes.axis("off")
        for axes, (index, frame) in zip(line, row):
            axes.imshow(frame, interpolation="nearest")
            axes.set_title(str(index), fontsize=6, pad=1, color="#555555")
        line[0].set_title("")
        line[0].set_title(f"{source.stem}   frame {row[0][0]}", fontsize=7, loc="left", pad=1)
    return figure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=8, help="frames of each video (default 8)")
    arguments = parser.parse_args()
    try:
        figure = contact_sheet(arguments.sources, arguments.frames)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    figure.savefig(arguments.output)
    print(arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
