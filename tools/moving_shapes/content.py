# SPDX-License-Identifier: Apache-2.0
"""The `content` metric: does every frame hold exactly the object that was asked for?

Per frame, with integer pixel values 0..255 (numpy only, no randomness):

1. Background colour = per-channel median of the outermost `BORDER` pixels;
   its class = nearest entry of BACKGROUNDS (Euclidean distance in RGB).
2. Distance of a pixel = largest absolute channel difference to the background.
   Pixels with distance > `THRESHOLD` form components (4-neighbours);
   components of fewer than `MIN_SPECK` pixels are ignored. The number left must be one.
3. Object = the largest component (first in row order on a tie). Object colour =
   per-channel median of its pixels whose distance exceeds half of the component's largest;
   class = nearest entry of COLOURS.
4. Mask = pixels of the component with distance > half the distance of the object colour to the
   background. Lean = (mean row of the mask - middle of its bounding box) / height of the box,
   fill = mask pixels / pixels of the box. Lean above `LEAN` is a triangle (point up), else fill above
   `FILL` a square, else a circle: both hardly move when edges are soft and corners round. The box is
   then filled with the ideal shape of that class; if intersection over union is below
   its `MIN_IOU`, or the mask has fewer than `MIN_OBJECT` pixels, the shape is none.
5. Centre = mean row and column of the mask.

`content` = share of frames with one component and shape, colour and background as in the prompt;
`content_first_frame` (0 or 1) and `content_later_frames` are the same of the first frame and of the others.
`identity_switches_per_100_frames` counts frames whose (shape, colour) differs from the last frame
that had an object. `largest_jump_px` is the largest distance of the centres of neighbouring
frames that both have an object.
"""
from __future__ import annotations

import numpy as np

HEIGHT, WIDTH = 64, 96
SHAPES = ("circle", "square", "triangle")
COLOURS = {
    "red": (220, 40, 40), "green": (50, 200, 70), "blue": (60, 110, 240),
    "yellow": (235, 215, 60), "magenta": (205, 70, 205), "white": (240, 240, 240),
}
BACKGROUNDS = {
    "black": (12, 12, 12), "dark blue": (20, 25, 85), "dark green": (15, 70, 35), "grey": (95, 95, 95),
}
BORDER = 2  # pixels
THRESHOLD = 48
MIN_SPECK = 12  # pixels
MIN_OBJECT = 80  # pixels
LEAN = 0.04
FILL = 0.845
MIN_IOU = (0.8, 0.8, 0.55)  # circle, square, triangle (a blurred one has lost its corners)


def parse(prompt: str) -> tuple[int, int, int]:
    """Indices of shape, colour and background named in a prompt; -1 where none is."""
    words = prompt.lower()
    head, _, tail = words.partition(" over ") if " over " in words else words.partition(" across ")
    shape = next((i for i, name in enumerate(SHAPES) if name in head), -1)
    colour = next((i for i, name in enumerate(COLOURS) if name in head), -1)
    background = next((i for i, name in enumerate(BACKGROUNDS) if name in tail), -1)
    return shape, colour, background


def _nearest(colour: np.ndarray, table: dict) -> int:
    return int(np.argmin([((colour - np.array(entry)) ** 2).sum() for entry in table.values()]))


def components(mask: np.ndarray) -> list[np.ndarray]:
    """Pixel lists [n, 2] (row, column) of the 4-connected components, in row order of their first pixel."""
    seen = ~mask
    found = []
    for row, column in zip(*np.nonzero(mask)):
        if seen[row, column]:
            continue
        seen[row, column] = True
        pixels = [(row, column)]
        for y, x in pixels:  # grows while it is walked
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < mask.shape[0] and 0 <= u < mask.shape[1] and not seen[v, u]:
                    seen[v, u] = True
                    pixels.append((v, u))
        found.append(np.array(pixels))
    return found


def ideal(height: int, width: int) -> np.ndarray:
    """[3, height, width] masks of the three shapes that fill a bounding box."""
    v = (np.arange(height)[:, None] + 0.5) / height  # 0 at the top, 1 at the bottom
    u = np.abs((np.arange(width)[None] + 0.5) / width * 2 - 1)  # 0 in the middle, 1 at the sides
    return np.stack([(2 * v - 1) ** 2 + u**2 <= 1, np.broadcast_to(True, (height, width)), u <= v])


def frame_object(frame: np.ndarray) -> dict:
    """What one frame [3, height, width] uint8 holds: count, shape, colour, background (-1: none), centre."""
    pixels = frame.astype(np.int64)
    b = BORDER
    border = np.concatenate([
        pixels[:, :b].reshape(3, -1), pixels[:, -b:].reshape(3, -1),
        pixels[:, b:-b, :b].reshape(3, -1), pixels[:, b:-b, -b:].reshape(3, -1)], 1)
    ground = np.median(border, axis=1)
    result = {"count": 0, "shape": -1, "colour": -1, "background": _nearest(ground, BACKGROUNDS), "centre": None}

    distance = np.abs(pixels - ground[:, None, None]).max(0)
    parts = [part for part in components(distance > THRESHOLD) if len(part) >= MIN_SPECK]
    result["count"] = len(parts)
    if not parts:
        return result
    part = max(parts, key=len)
    far = distance[part[:, 0], part[:, 1]]
    core = part[far > far.max() / 2]
    colour = np.median(pixels[:, core[:, 0], core[:, 1]], axis=1)
    result["colour"] = _nearest(colour, COLOURS)

    body = part[far > np.abs(colour - ground).max() / 2]
    if len(body) < MIN_OBJECT:
        return result
    low, high = body.min(0), body.max(0)
    mask = np.zeros(high - low + 1, bool)
    mask[body[:, 0] - low[0], body[:, 1] - low[1]] = True
    result["centre"] = body.mean(0)
    lean = (result["centre"][0] - (low[0] + high[0]) / 2) / mask.shape[0]
    shape = 2 if lean > LEAN else 1 if mask.mean() > FILL else 0
    wanted = ideal(*mask.shape)[shape]
    if (wanted & mask).sum() / (wanted | mask).sum() >= MIN_IOU[shape]:
        result["shape"] = shape
    return result


def content(frames: np.ndarray, prompt: str) -> dict:
    """frames [frames, 3, height, width] uint8 -> content (and of the first frame, of the others), identity
    switches per 100 frames, largest jump (px)."""
    wanted = parse(prompt)
    good, switches, jump = [], 0, 0.0
    last, centre = None, None
    for frame in frames:
        seen = frame_object(frame)
        good.append(seen["count"] == 1 and (seen["shape"], seen["colour"], seen["background"]) == wanted)
        if seen["centre"] is not None:
            if centre is not None:
                jump = max(jump, float(np.hypot(*(seen["centre"] - centre))))
            identity = (seen["shape"], seen["colour"])
            switches += last is not None and identity != last
            last = identity
        centre = seen["centre"]
    return {
        "content": sum(good) / len(frames),
        "content_first_frame": float(good[0]),
        "content_later_frames": sum(good[1:]) / (len(good) - 1) if len(good) > 1 else None,
        "identity_switches_per_100_frames": 100.0 * switches / len(frames),
        "largest_jump_px": jump,
    }
