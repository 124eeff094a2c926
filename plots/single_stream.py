# SPDX-License-Identifier: Apache-2.0
"""Prompts one after the other, the model loaded once, as MLPerf's single stream asks: the latency that 90 % stay under.

    ./run single-stream PROMPTS -o FOLDER [FLAGS of generate]

PROMPTS: a prompt a line. FOLDER gets results.jsonl and videos/; ./run vbench FOLDER judges the videos, ./run page FOLDER
shows them. A video's latency is from its prompt to its finished mp4 (total_s), loading left out.
"""
from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import dualparal  # noqa: E402

QUANTILES = (0.5, 0.9, 0.99)


def seconds(line: dict) -> float:
    """From the prompt to the finished video. The first one of a list loads the weights of all."""
    return line["total_s"] - (line.get("load_s") or 0)


def summary(lines: list[dict]) -> str:
    times = [seconds(line) for line in lines]
    # "higher": a time that was measured, of which so many are no longer.
    marks = ", ".join(f"{q:.0%} within {np.quantile(times, q, method='higher'):.3g} s" for q in QUANTILES)
    frames = sum(line["frames"] for line in lines)
    return (f"{len(times)} videos of {lines[0]['frames']} frames, {lines[0]['strategy']} on {lines[0]['world_size']}: "
            f"{marks}; mean {np.mean(times):.3g} s, {frames / sum(times):.3g} frames/s")


def run(prompts: Path, folder: Path, flags: list[str]) -> list[dict]:
    """Lines with their videos, appended to the folder's results."""
    results = folder / "results.jsonl"
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    if results.exists() or any((folder / "videos").iterdir()):
        raise FileExistsError(f"{folder}: expected a folder without results and videos")
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "lines.jsonl"
        dualparal.run("generate", "--prompt-list", prompts, "--output", folder / "videos/video.mp4", "--result", written, *flags)
        lines = [json.loads(row) for row in written.read_text().splitlines()]
    videos = sorted((folder / "videos").iterdir())
    with results.open("w", encoding="utf-8") as file:
        for number, (line, video) in enumerate(zip(lines, videos, strict=True), 1):
            line.update(experiment="single_stream", point=f"prompt-{number}", repeat=0, video=f"videos/{video.name}")
            file.write(json.dumps(line) + "\n")
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./run single-stream", description=__doc__.split("\n")[0],
                                     epilog="All other flags are those of dualparal generate.")
    parser.add_argument("prompts", type=Path)
    parser.add_argument("-o", "--into", type=Path, required=True, help="folder for results.jsonl and videos/")
    options, flags = parser.parse_known_args(arguments)
    try:
        print(summary(run(options.prompts, options.into, flags)))
    except (dualparal.ProgramError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, dualparal.UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
