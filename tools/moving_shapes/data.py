# SPDX-License-Identifier: Apache-2.0
"""Moving-shapes videos, made from a seed.

One coloured shape moves at constant velocity over a plain or softly graded
background and bounces off the walls. Every clip is a closed form of a few
numbers (a row of `Clips`), so any range of frames of an endless clip, and any
crop of it, can be rendered directly: `render(clips, first, count, crop)`.

    python data.py OUT.png        # writes a sheet of example clips
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from content import BACKGROUNDS, COLOURS, HEIGHT, SHAPES, WIDTH

FPS = 16
TEMPLATES = (
    "a {colour} {shape} bounces over a {background} background",
    "a {colour} {shape} moves over a {background} background",
    "a {colour} {shape} glides across a {background} background",
)
EDGE = 2.5  # width in pixels of the anti-aliased edge
# Combinations (shape, colour, background) never trained on, about one in ten.
# Every pair of words occurs in training.
HELD_OUT = (
    ("circle", "red", "dark blue"), ("square", "yellow", "black"),
    ("triangle", "green", "grey"), ("circle", "white", "dark green"),
    ("square", "magenta", "dark blue"), ("triangle", "blue", "black"),
    ("triangle", "red", "dark green"), ("square", "blue", "grey"),
)


@dataclass
class Clips:
    """A batch of endless clips; every field is a tensor of `batch` rows."""

    shape: torch.Tensor  # [batch] index into SHAPES
    colour: torch.Tensor  # [batch] index into COLOURS
    background: torch.Tensor  # [batch] index into BACKGROUNDS
    radius: torch.Tensor  # [batch] pixels
    position: torch.Tensor  # [batch, 2] y, x at frame 0
    velocity: torch.Tensor  # [batch, 2] pixels a frame
    gradient: torch.Tensor  # [batch, 2] relative brightness change from centre to edge
    template: torch.Tensor  # [batch] index into TEMPLATES

    def __len__(self) -> int:
        return len(self.shape)

    def __getitem__(self, rows) -> "Clips":
        return Clips(**{name: value[rows] for name, value in vars(self).items()})

    def captions(self) -> list[str]:
        return [
            TEMPLATES[t].format(colour=list(COLOURS)[c], shape=SHAPES[s], background=list(BACKGROUNDS)[b])
            for s, c, b, t in zip(self.shape, self.colour, self.background, self.template)
        ]


def _extents(clips: Clips) -> tuple[torch.Tensor, ...]:
    """How far a shape reaches from its centre: up, down, sideways, in pixels."""
    r = clips.radius
    square, triangle = clips.shape == 1, clips.shape == 2
    up = torch.where(square, 0.88 * r, torch.where(triangle, 1.25 * r, r))
    down = torch.where(square, 0.88 * r, torch.where(triangle, 0.625 * r, r))
    side = torch.where(square, 0.88 * r, torch.where(triangle, 1.0825 * r, r))
    return up, down, side


def sample(count: int, generator: torch.Generator, held_out: bool | None = False) -> Clips:
    """Draws clips. held_out: False = training combinations, True = held-out ones, None = all."""
    names = [
        (s, c, b) for s in range(len(SHAPES)) for c in range(len(COLOURS)) for b in range(len(BACKGROUNDS))
        if held_out is None
        or held_out == ((SHAPES[s], list(COLOURS)[c], list(BACKGROUNDS)[b]) in HELD_OUT)
    ]

    def uniform(low: float, high: float, *size: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, *size, generator=generator)

    table = torch.tensor(names)
    picked = table[torch.randint(len(names), (count,), generator=generator)]
    angle, speed = uniform(0, 2 * np.pi), uniform(0.6, 1.8)
    slope, steepness = uniform(0, 2 * np.pi), uniform(0, 0.15)
    clips = Clips(
        shape=picked[:, 0], colour=picked[:, 1], background=picked[:, 2],
        radius=uniform(11.0, 13.5), position=uniform(0, 1, 2),
        velocity=torch.stack([angle.sin(), angle.cos()], 1) * speed[:, None],
        gradient=torch.stack([slope.sin(), slope.cos()], 1) * steepness[:, None],
        template=torch.randint(len(TEMPLATES), (count,), generator=generator),
    )
    low, high = _bounds(clips)
    clips.position = low + clips.position * (high - low)
    return clips


def _bounds(clips: Clips) -> tuple[torch.Tensor, torch.Tensor]:
    up, down, side = _extents(clips)
    low = torch.stack([up, side], 1) + 3
    high = torch.stack([HEIGHT - down, WIDTH - side], 1) - 3
    return low, high


def centres(clips: Clips, first: torch.Tensor | int, count: int) -> torch.Tensor:
    """[batch, count, 2] y, x of the shape's reference point from frame `first` on (per clip or one for all)."""
    low, high = _bounds(clips)
    time = torch.as_tensor(first).reshape(-1, 1) + torch.arange(count)[None]  # [batch or 1, count]
    travelled = clips.position[:, None] - low[:, None] + clips.velocity[:, None] * time[..., None]
    span = (high - low)[:, None]
    folded = torch.remainder(travelled, 2 * span)  # bounce: fold the straight path at the walls
    return low[:, None] + torch.minimum(folded, 2 * span - folded)


def render(clips: Clips, first: torch.Tensor | int, count: int,
           crop: tuple[int, int] | None = None, corner: torch.Tensor | None = None) -> torch.Tensor:
    """Frames as float in [-1, 1], [batch, 3, count, height, width].

    crop: height and width of a window whose top left corner is `corner` [batch, 2] (whole frames without).
    """
    height, width = crop or (HEIGHT, WIDTH)
    corner = torch.zeros(len(clips), 2) if corner is None else corner.float()
    y = corner[:, :1] + torch.arange(height)[None] + 0.5  # [batch, height]
    x = corner[:, 1:] + torch.arange(width)[None] + 0.5  # [batch, width]
    centre = centres(clips, first, count)
    dy = (y[:, None] - centre[..., :1])[..., :, None]  # [batch, count, height, 1]
    dx = (x[:, None] - centre[..., 1:])[..., None, :].abs()  # [batch, count, 1, width]
    r = clips.radius[:, None, None, None]
    distance = torch.empty(len(clips), count, height, width)  # signed, negative inside
    for shape in range(len(SHAPES)):
        rows = clips.shape == shape
        v, u, size = dy[rows], dx[rows], r[rows]
        if shape == 0:  # circle
            d = (v * v + u * u).sqrt() - size
        elif shape == 1:  # square
            d = torch.maximum(v.abs(), u) - 0.88 * size
        else:  # triangle, point up, reference point at its centroid
            d = torch.maximum(v - 0.625 * size, 0.866 * u - 0.5 * v - 0.625 * size)
        distance[rows] = d
    alpha = (0.5 - distance / EDGE).clamp(0, 1)
    alpha = (alpha * alpha * (3 - 2 * alpha))[:, None]  # [batch, 1, count, height, width]

    palette = torch.tensor(list(COLOURS.values())).float()[clips.colour] / 127.5 - 1
    grounds = torch.tensor(list(BACKGROUNDS.values())).float()[clips.background]
    shade = (1 + clips.gradient[:, :1, None] * (2 * y / HEIGHT - 1)[:, :, None]
             + clips.gradient[:, 1:, None] * (2 * x / WIDTH - 1)[:, None, :])  # [batch, height, width]
    ground = grounds[:, :, None, None, None] * shade[:, None, None] / 127.5 - 1
    return ground + alpha * (palette[:, :, None, None, None] - ground)


def to_uint8(video: torch.Tensor) -> np.ndarray:
    """[3, frames, height, width] in [-1, 1] -> uint8 [frames, 3, height, width]."""
    return ((video.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).transpose(0, 1).cpu().numpy()


def prompts(held_out: bool) -> list[str]:
    """Every caption of the held-out (or the trained) combinations, templates taking turns."""
    rows = [(s, c, b) for s in SHAPES for c in COLOURS for b in BACKGROUNDS if ((s, c, b) in HELD_OUT) == held_out]
    return [TEMPLATES[(i + j) % len(TEMPLATES)].format(shape=s, colour=c, background=b)
            for j in range(len(TEMPLATES)) for i, (s, c, b) in enumerate(rows)]


if __name__ == "__main__":
    import sys

    from PIL import Image

    batch = sample(12, torch.Generator().manual_seed(0), held_out=None)
    video = render(batch, 0, 33)
    sheet = np.concatenate([np.concatenate(list(to_uint8(v)[::8]), 2) for v in video], 1)
    Image.fromarray(sheet.transpose(1, 2, 0)).save(sys.argv[1])
    print("\n".join(batch.captions()))
