# SPDX-License-Identifier: Apache-2.0
"""The pictures of docs/strategies.md: who holds what, and what moves; what sparse attention sees.

    python plots/strategy_pictures.py docs/figures

Of strategies: across, latent frames of the video; down, layers. A colour is a rank. Arrows: what is sent.
"""
from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.patches import FancyArrowPatch, Rectangle  # noqa: E402

from figure import COLOURS, STYLE, save  # noqa: E402

RANKS, FRAMES, LAYERS = 4, 16, 4
RANK_COLOURS = COLOURS[:RANKS]


def cell(axes, x, y, width, height, rank, **style):
    style.setdefault("alpha", 0.85)
    axes.add_patch(Rectangle((x, y), width, height, facecolor=RANK_COLOURS[rank], edgecolor="white", linewidth=0.4, **style))


def arrow(axes, start, end, bend=0.0, style="-|>"):
    axes.add_patch(FancyArrowPatch(start, end, connectionstyle=f"arc3,rad={bend}", arrowstyle=style, mutation_scale=5,
                                   linewidth=0.7, color="black"))


def columns(axes, noise=False):
    """Every rank holds all layers and a quarter of the frames."""
    for rank in range(RANKS):
        for frame in range(4):
            x = 4 * rank + frame
            cell(axes, x, 0, 1, LAYERS, rank, alpha=0.25 + 0.7 * (1 - x / FRAMES) if noise else 0.85)


def single(axes):
    cell(axes, 0, 0, FRAMES, LAYERS, 0)
    return "one rank holds everything"


def ring(axes):
    columns(axes)
    for rank in range(RANKS - 1):
        arrow(axes, (4 * rank + 2, -0.25), (4 * rank + 6, -0.25), -0.3)
    arrow(axes, (14, LAYERS + 0.25), (2, LAYERS + 0.25), -0.12)
    return "keys and values travel a ring,\nin every layer"


def ulysses(axes):
    for rank in range(RANKS):
        for other in range(RANKS):
            cell(axes, 4 * rank, 0, 4, 1.2, rank)
            cell(axes, 4 * rank, 2.8, 4, 1.2, rank)
        cell(axes, 0, 1.4 + 0.3 * rank, FRAMES, 0.3, rank)
    for rank in range(RANKS):
        arrow(axes, (4 * rank + 2, 1.15), (4 * rank + 2, 1.65), style="<|-|>")
        arrow(axes, (4 * rank + 2, 2.35), (4 * rank + 2, 2.9), style="<|-|>")
    return "all-to-all: tokens to heads\nfor attention, and back"


def usp(axes):
    columns(axes)
    for first in (0, 8):
        arrow(axes, (first + 2, LAYERS + 0.25), (first + 6, LAYERS + 0.25), 0.3, "<|-|>")
    for rank in range(2):
        arrow(axes, (4 * rank + 2, -0.25), (4 * rank + 10, -0.25), -0.18, "<|-|>")
    return "all-to-all in groups (below),\na ring across them (above)"


def naive_pipeline(axes):
    for rank in range(RANKS):
        cell(axes, 0, rank, FRAMES, 1, rank)
        if rank:
            arrow(axes, (8, rank - 0.3), (8, rank + 0.3))
    return "hidden states of all frames:\none rank works at a time"


def video_infinity(axes):
    columns(axes)
    for rank in range(RANKS - 1):
        arrow(axes, (4 * rank + 3.2, -0.25), (4 * rank + 4.8, -0.25), -0.6, "<|-|>")
    for frame in (1, 5, 9, 13):
        axes.plot(frame + 0.5, LAYERS + 0.45, marker="^", markersize=3, color="black")
    return "clips; they see neighbours' frames\nand some of all (triangles)"


def context_windows(axes):
    for rank, first in enumerate((0, 4, 8, 11)):  # windows of five frames, the last one moved back
        overlap = 0 if rank == 0 else (1, 1, 2)[rank - 1]
        cell(axes, first + overlap, 0, 5 - overlap, LAYERS, rank)
        if overlap:  # both ranks predict these frames
            axes.add_patch(Rectangle((first, LAYERS / 2), overlap, LAYERS / 2, facecolor="white"))
            cell(axes, first, LAYERS / 2, overlap, LAYERS / 2, rank)
            arrow(axes, (first - 0.7, -0.25), (first + overlap + 0.7, -0.25), -0.4, "<|-|>")
    return "windows, apart in every step;\nwhere they overlap, averaged"


def fifo(axes):
    columns(axes, noise=True)
    for rank in range(RANKS - 1):
        arrow(axes, (4 * rank + 4.8, -0.25), (4 * rank + 3.2, -0.25), 0.6)
    arrow(axes, (0, 2), (-1.4, 2))
    arrow(axes, (17.4, 2), (16, 2))
    return "a queue of frames,\nnoise rising to the right"


def pipefusion(axes):
    for patch in range(4):
        for rank in range(RANKS):
            cell(axes, 4 * patch, rank, 4, 1, rank, alpha=0.85 if patch <= RANKS - 1 - rank else 0.35)
    for rank in range(1, RANKS):
        arrow(axes, (4 * (RANKS - rank) + 2, rank - 0.3), (4 * (RANKS - rank) + 2, rank + 0.3))
    for patch in range(1, 4):
        axes.plot([4 * patch] * 2, [0, LAYERS], color="white", linewidth=1.6)
    return "patches follow each other and see\nwhat ranks kept (pale: a step old)"


def dualparal(axes):
    for block in range(4):
        for rank in range(RANKS):
            cell(axes, 4 * block, rank, 4, 1, rank, alpha=0.25 + 0.7 * (1 - block / 4))
    for rank in range(1, RANKS):
        arrow(axes, (6, rank - 0.3), (6, rank + 0.3))
    for block in range(1, 4):
        axes.plot([4 * block] * 2, [0, LAYERS], color="white", linewidth=1.6)
    arrow(axes, (0, 2), (-1.4, 2))
    arrow(axes, (17.4, 2), (16, 2))
    return "a queue of blocks flows\nthrough the layers"


def sees(frame: int, frames: int, window: int, every: int, step: int) -> tuple[set[int], set[int]]:
    """Of lvsa: neighbours and global frames."""
    low = min(max(frame - window, 0), frames - 2 * window - 1)
    return set(range(low, low + 2 * window + 1)), {0} | {(step + i) % frames for i in range(0, frames, every)}


def sparse_attention(folder: Path) -> list[Path]:
    frames, window, every = 33, 3, 8
    figure, grid = plt.subplots(1, 3, figsize=(7.0, 2.6), layout="constrained", sharey=True)
    for axes, step in zip(grid, (0, 1, 5)):
        for frame in range(frames):
            near, everywhere = sees(frame, frames, window, every, step)
            for other in near | everywhere:
                colour = COLOURS[0] if other in near else COLOURS[1]
                axes.add_patch(Rectangle((other, frame), 1, 1, facecolor=colour, edgecolor="white", linewidth=0.3))
        axes.set_xlim(0, frames)
        axes.set_ylim(frames, 0)
        axes.set_aspect("equal")
        axes.grid(False)
        axes.set_title(f"step {step}", fontweight="bold", pad=2)
        axes.set_xlabel("latent frame that is seen")
    grid[0].set_ylabel("latent frame that sees")
    handles = [Rectangle((0, 0), 1, 1, facecolor=COLOURS[i]) for i in (0, 1)]
    figure.legend(handles, ["neighbours", "global frames: the first, and a grid that moves on"], loc="outside lower center",
                  ncols=2, frameon=False)
    return save(figure, folder, "sparse_attention")


def main() -> None:
    plt.rcParams.update(STYLE)
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/figures")
    pictures = (single, ring, ulysses, usp, naive_pipeline, video_infinity, context_windows, fifo, pipefusion, dualparal)
    figure, grid = plt.subplots(2, 5, figsize=(8.6, 2.9), layout="constrained")
    for axes, picture in zip(grid.flat, pictures):
        text = picture(axes)
        axes.set_xlim(-1.6, FRAMES + 1.6)
        axes.set_ylim(LAYERS + 1.1, -1.4)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set_title(picture.__name__, fontweight="bold", pad=2)
        axes.set_xlabel(text, fontsize=5.4, labelpad=1)
    grid[0, 0].annotate("layers", (-0.6, 2), rotation=90, fontsize=5.5, ha="center", va="center")
    grid[0, 0].annotate("latent frames", (8, -0.8), fontsize=5.5, ha="center", va="center")
    handles = [Rectangle((0, 0), 1, 1, facecolor=colour, alpha=0.85) for colour in RANK_COLOURS]
    figure.legend(handles, [f"rank {i}" for i in range(RANKS)], loc="outside lower center", ncols=RANKS, frameon=False)
    for path in save(figure, folder, "strategies") + sparse_attention(folder):
        print(path)


if __name__ == "__main__":
    main()
