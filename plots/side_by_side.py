# SPDX-License-Identifier: Apache-2.0
"""One mp4 with the videos of several strategies beside each other: its label above each, the frame's number on it.

    python plots/side_by_side.py RESULTS... -o FILE.mp4 [--prompt TEXT] [--frames N] [--seed N]

RESULTS: results.jsonl files or folders, whose lines name their videos (experiments with `videos: true`). Only videos of
the same prompt, length, seed, model and size stand side by side. Where the lines hold several such sets, the one with
the most strategies is shown, of these the longest, of these the first; the options choose another.
"""
from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Iterator

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parent))
from panels import group  # noqa: E402
from results import ResultsError, prompt_of, read_results  # noqa: E402

COLUMN = 192  # pixels, at least: small videos are enlarged by a whole factor
GAP = 6
FONT = 13


@dataclass
class Choice:
    """Videos that may stand side by side."""

    prompt: str
    frames: int
    seed: int
    videos: dict[str, Path]  # by label


def choices(lines: list[dict]) -> list[Choice]:
    found = []
    with_video = [line for line in lines if line.get("video") and line["status"] == "ok"]
    for panel in group(with_video):
        panel = panel.largest_ranks()
        sets: dict[tuple, Choice] = {}
        for series, label in zip(panel.series, panel.labels(ranks=False)):
            label += f", N={series.world_size}"
            for frames, point in series.points.items():
                for line in point.ok:
                    key = (prompt_of(line) or "", frames, line.get("seed"))
                    videos = sets.setdefault(key, Choice(*key, {})).videos
                    videos.setdefault(label, Path(line["folder"]) / line["video"])  # the first repeat
        found += sets.values()
    return found


def choose(lines: list[dict], prompt: str | None = None, frames: int | None = None, seed: int | None = None) -> Choice:
    every = choices(lines)
    if not every:
        raise ResultsError("no line names a video: run an experiment with `videos: true`")
    fits = [c for c in every if prompt in (None, c.prompt) and frames in (None, c.frames) and seed in (None, c.seed)]
    if not fits:
        have = "; ".join(f"{c.frames} frames, seed {c.seed}, \"{c.prompt}\"" for c in every)
        raise ResultsError(f"no videos with this prompt, length and seed. There are: {have}")
    return max(fits, key=lambda c: (len(c.videos), c.frames))


def frames_of(path: Path, expected: int) -> Iterator[tuple[np.ndarray, Fraction]]:
    """[height, width, 3] and the video's frames per second; fails unless there are as many as expected."""
    count = 0
    try:
        with av.open(str(path)) as video:
            stream = video.streams.video[0]
            for frame in video.decode(stream):
                count += 1
                yield frame.to_ndarray(format="rgb24"), stream.average_rate
    except (av.FFmpegError, IndexError, OSError) as error:
        raise ResultsError(f"{path}: cannot read this video: {error}") from None
    if count != expected:
        raise ResultsError(f"{path}: expected {expected} frames, as its result line says, found {count}")


def wrap(text: str, width: int, font) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


class Sheet:
    """The picture around the videos, made once; `page` puts one frame of each into it."""

    def __init__(self, choice: Choice, height: int, width: int):
        self.factor = max(1, -(-COLUMN // width))
        self.size = (width * self.factor, height * self.factor)
        self.font = ImageFont.load_default(FONT)
        labels = [wrap(label, self.size[0], self.font) for label in choice.videos]
        step = FONT + 4
        self.top = max(map(len, labels)) * step + GAP
        page = (len(labels) * (self.size[0] + GAP) + GAP, self.top + self.size[1] + step + GAP)
        page = tuple(side + side % 2 for side in page)  # 4:2:0 wants even sides
        self.empty = Image.new("RGB", page, "white")
        draw = ImageDraw.Draw(self.empty)
        for column, lines in enumerate(labels):
            for row, text in enumerate(lines):
                y = self.top - (len(lines) - row) * step - 2
                draw.text((self.left(column), y), text, fill="black", font=self.font)
        draw.text((GAP, self.top + self.size[1] + 3), choice.prompt, fill="#555555", font=self.font)

    def left(self, column: int) -> int:
        return GAP + column * (self.size[0] + GAP)

    def page(self, pictures: list[np.ndarray], number: int) -> Image.Image:
        page = self.empty.copy()
        draw = ImageDraw.Draw(page)
        for column, picture in enumerate(pictures):
            enlarged = Image.fromarray(picture).resize(self.size, Image.Resampling.NEAREST)
            page.paste(enlarged, (self.left(column), self.top))
            draw.text((self.left(column) + 4, self.top + self.size[1] - FONT - 5), str(number), fill="white",
                      font=self.font, stroke_width=2, stroke_fill="black")
        return page


def write(choice: Choice, path: Path) -> None:
    """The file is complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with av.open(str(part), "w", format="mp4") as target:
            stream = sheet = None
            for number, row in enumerate(zip(*(frames_of(p, choice.frames) for p in choice.videos.values()), strict=True)):
                pictures, rates = zip(*row)
                if sheet is None:
                    sheet = Sheet(choice, *pictures[0].shape[:2])
                    stream = target.add_stream("libx264", rate=rates[0], options={"crf": "16"})
                    stream.width, stream.height = sheet.empty.size
                    stream.pix_fmt = "yuv420p"
                frame = av.VideoFrame.from_image(sheet.page(list(pictures), number))
                target.mux(stream.encode(frame))
            target.mux(stream.encode())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path, nargs="+", help="results.jsonl files or folders")
    parser.add_argument("-o", "--output", type=Path, required=True, help="mp4 to write")
    parser.add_argument("--prompt", help="only videos of this prompt")
    parser.add_argument("--frames", type=int, help="only videos of this length")
    parser.add_argument("--seed", type=int, help="only videos of this seed")
    options = parser.parse_args(arguments)
    try:
        choice = choose(read_results(options.results), options.prompt, options.frames, options.seed)
        write(choice, options.output)
    except ResultsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"# {', '.join(choice.videos)}: {choice.frames} frames, seed {choice.seed}, \"{choice.prompt}\"")
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
