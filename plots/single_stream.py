# SPDX-License-Identifier: Apache-2.0
"""Prompts one after the other, the model loaded once, as MLPerf's single stream asks: the latency that 90 % stay under.

    ./run single-stream PROMPTS -o FOLDER [FLAGS of generate]

PROMPTS: a prompt a line. FOLDER gets results.jsonl and videos/; ./run vbench FOLDER judges the videos, ./run page FOLDER
shows them. A video's latency is from its prompt to its finished mp4, without loading and warm-up. The prompts are encoded
together; each video counts its part of that.
"""
from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import dualparal  # noqa: E402

PARTS = (0.5, 0.9, 0.99)


def seconds(lines: list[dict]) -> list[float]:
    """Of each video. The total of the first holds what is done once for all, of which warm-up and the connecting of ranks are in
    no field: its time beside denoising is taken to be the others' median; of a list of one, that in the decoder."""
    beside = [line["total_s"] - (line.get("load_s") or 0) - sum(line["samples"]) for line in lines[1:]]
    overlapped = (lines[0].get("config") or {}).get("overlap_decoding")
    first = statistics.median(beside) if beside else 0 if overlapped else lines[0].get("decode_s") or 0
    return [(line.get("text_encode_s") or 0) + line["latency_s"] + more
            for line, more in zip(lines, [first, *beside], strict=True)]


def percentile(values: list[float], part: float) -> float:
    """The smallest that at least this part of all do not exceed, as in the program's lines (docs/metrics.md)."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def summary(lines: list[dict]) -> str:
    times = seconds(lines)
    marks = ", ".join(f"{part:.0%} within {percentile(times, part):.3g} s" for part in PARTS)
    frames = sum(line["frames"] for line in lines)
    return (f"{len(times)} videos of {lines[0]['frames']} frames, {lines[0]['strategy']} on {lines[0]['world_size']}: "
            f"{marks}; mean {statistics.fmean(times):.3g} s, {frames / sum(times):.3g} frames/s")


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
    if len(lines) != len(videos):
        raise ValueError(f"{len(videos)} videos and {len(lines)} result lines: expected a video with a line for every prompt, "
                         "which --no-decode and --scenario do not give")
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
    except (dualparal.ProgramError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, dualparal.UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
