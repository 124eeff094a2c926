# SPDX-License-Identifier: Apache-2.0
"""Scores of VBench, written into a copy of the result lines under `quality.vbench`.

    dualparal report RESULTS --vbench-export DIR
    vbench evaluate --videos_path DIR/videos --prompt_file DIR/prompts.json --mode custom_input --output_path SCORES \\
        --dimension subject_consistency motion_smoothness
    python plots/vbench.py DIR SCORES... -o RESULTS-WITH-SCORES/results.jsonl

SCORES: what the `vbench` package wrote, `..._eval_results.json` files or folders with them: for each dimension the mean
over all videos, and a list of {"video_path", "video_results"}. A video without a score, or a score without a video, is
an error: a mean over some of the videos would not be told from one over all.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from results import ResultsError, read_results  # noqa: E402

# VBench gives this dimension's mean from 0 to 1, its single videos from 0 to 100.
PERCENT = ("imaging_quality",)


def read_json(path: Path, what: str) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"{path}: cannot read {what}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise ResultsError(f"{path}: expected {what}, got no JSON: {error}") from None
    if not isinstance(content, dict) or not content:
        raise ResultsError(f"{path}: expected {what}, a JSON object with entries")
    return content


def score_files(paths: list[Path]) -> list[Path]:
    found = []
    for path in paths:
        inside = sorted(path.rglob("*_eval_results.json")) if path.is_dir() else [path]
        if not inside:
            raise ResultsError(f"{path}: no ..._eval_results.json in this folder")
        found += inside
    return found


def read_scores(path: Path) -> dict[str, dict[str, float]]:
    """By dimension, by file name of the video: a score from 0 to 1."""
    scores: dict[str, dict[str, float]] = {}
    for dimension, content in read_json(path, "VBench's results").items():
        where = f"{path}: {dimension}"
        if not (isinstance(content, list) and len(content) == 2 and isinstance(content[1], list)):
            raise ResultsError(f"{where}: expected a mean and a list of videos, as the vbench package writes them")
        scores[dimension] = {}
        for video in content[1]:
            score = video.get("video_results") if isinstance(video, dict) else None
            if not isinstance(score, (int, float)) or "video_path" not in video:  # a bool is one: does it move?
                raise ResultsError(f"{where}: expected video_path and a number as video_results, got {video}")
            name = Path(video["video_path"]).name
            scores[dimension][name] = float(score) / (100 if dimension in PERCENT else 1)
    return scores


def collect(export: Path, paths: list[Path]) -> tuple[dict[str, dict], dict[str, dict[str, float]]]:
    """The export's index; and by file name, by dimension: the score. Complete, or an error."""
    index = read_json(export / "index.json", "the index of a VBench export")
    by_video: dict[str, dict[str, float]] = {name: {} for name in index}
    for path in score_files(paths):
        for dimension, scores in read_scores(path).items():
            if unknown := sorted(scores.keys() - index.keys()):
                raise ResultsError(f"{path}: {dimension}: {unknown[0]} is no video of {export} ({len(unknown)} unknown)")
            if missing := sorted(index.keys() - scores.keys()):
                raise ResultsError(f"{path}: {dimension}: no score for {missing[0]} ({len(missing)} missing)")
            for name, score in scores.items():
                by_video[name][dimension] = score
    return index, by_video


def with_scores(index: dict[str, dict], by_video: dict[str, dict[str, float]]) -> list[dict]:
    """Every line of every results file of the index, those of the videos with their scores."""
    files = list(dict.fromkeys(Path(entry["results"]) for entry in index.values()))
    lines = [(file, line) for file in files for line in read_results([file])]
    for name, entry in index.items():
        mine = [line for file, line in lines
                if (str(file), line.get("point"), line.get("repeat", 0)) ==
                (entry["results"], entry["point"], entry["repeat"]) and line.get("video")]
        if len(mine) != 1:
            raise ResultsError(f"{entry['results']}: expected one line with a video of point {entry['point']}, repeat "
                               f"{entry['repeat']}, for {name}; found {len(mine)}")
        mine[0]["quality"] = {**(mine[0].get("quality") or {}), "vbench": by_video[name]}
    return [line for _, line in lines]


def write(lines: list[dict], path: Path) -> None:
    """Paths of videos and timelines stay right, wherever the copy is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = ""
    for line in lines:
        folder = Path(line.pop("folder"))
        for field in ("video", "timeline"):
            if line.get(field):
                line[field] = os.path.relpath(folder / line[field], path.parent)
        text += json.dumps(line) + "\n"
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("export", type=Path, help="folder that `dualparal report --vbench-export` wrote")
    parser.add_argument("scores", type=Path, nargs="+", help="VBench's result files, or folders with them")
    parser.add_argument("-o", "--output", type=Path, required=True, help="results file to write; not one that is read")
    options = parser.parse_args(arguments)
    try:
        index, by_video = collect(options.export, options.scores)
        if any(options.output.resolve() == Path(entry["results"]).resolve() for entry in index.values()):
            raise ResultsError(f"{options.output}: holds the results themselves; give another file for the copy")
        write(with_scores(index, by_video), options.output)
    except ResultsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    dimensions = sorted({dimension for scores in by_video.values() for dimension in scores})
    print(f"# {len(index)} videos: {', '.join(dimensions)}")
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
