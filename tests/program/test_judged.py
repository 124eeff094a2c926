# SPDX-License-Identifier: Apache-2.0
"""./run single-stream and ./run vbench, the latter with a command that stands in for VBench's."""
import json
import os
import sys

import pytest
from test_program import PROGRAM, ROOT, check_refused
from test_run import run

sys.path.insert(0, str(ROOT / "plots"))
import single_stream  # noqa: E402

built = pytest.mark.skipif(PROGRAM.parent != ROOT / "build", reason="./run works with the program of build/")

JUDGE = """#!/usr/bin/env python3
import json, pathlib, sys
flags = dict(zip(sys.argv[2::2], sys.argv[3::2]))
videos = sorted(pathlib.Path(flags["--videos_path"]).iterdir())
assert set(json.load(open(flags["--prompt_file"]))) == {v.name for v in videos}
scores = pathlib.Path(flags["--output_path"])
scores.mkdir()
dimensions = sys.argv[sys.argv.index("--dimension") + 1:]
result = {d: [0.5, [{"video_path": str(v), "video_results": 0.25 + 0.5 * (i % 2)} for i, v in enumerate(videos)]] for d in dimensions}
(scores / "results_eval_results.json").write_text(json.dumps(result))
"""


def video(latency, total, **changes):
    return {"strategy": "ring", "world_size": 4, "frames": 80, "latency_s": latency, "samples": [latency], "total_s": total,
            "load_s": 0.0, "text_encode_s": 3.0, "decode_s": 1.5, "config": {"overlap_decoding": False}} | changes


def test_a_video_counts_its_part_of_the_encoding_and_no_warm_up():
    # Three prompts take 9 s to encode, the weights 30, warm-up 8; beside denoising, a video takes 2, 2 and 4 s.
    lines = [video(10.0, 9 + 30 + 8 + 10 + 3, load_s=30.0), video(11.0, 13.0), video(12.0, 16.0)]
    assert single_stream.seconds(lines) == [3 + 10 + 3, 3 + 11 + 2, 3 + 12 + 4]
    assert single_stream.summary(lines) == ("3 videos of 80 frames, ring on 4: 50% within 16 s, 90% within 19 s, 99% within 19 s"
                                            "; mean 17 s, 4.71 frames/s")
    repeated = [lines[0], video(11.0, 35.0, samples=[11.0, 12.0, 10.0])]
    assert single_stream.seconds(repeated) == [15, 16]
    assert single_stream.seconds(lines[:1]) == [14.5]
    assert single_stream.seconds([lines[0] | {"config": {"overlap_decoding": True}}]) == [13]


@pytest.mark.parametrize("part, nearest", [(0.5, 5), (0.9, 9), (0.91, 10), (0.99, 10), (0.1, 1), (0.0, 1), (1.0, 10)])
def test_percentiles_are_the_nearest_rank(part, nearest):
    assert single_stream.percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], part) == nearest


@built
def test_prompts_one_after_the_other_then_judged(tmp_path):
    (tmp_path / "prompts.txt").write_text("a red circle\na green square\n")
    done = run("single-stream", "prompts.txt", "-o", "out", "--frames", 5, "--steps", 1, "--threads", 1, "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(row) for row in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert [line["config"]["prompt"] for line in lines] == ["a red circle", "a green square"]
    assert [line["video"] for line in lines] == ["videos/video-1.mp4", "videos/video-2.mp4"]
    assert done.stdout == single_stream.summary(lines) + "\n" and done.stdout.startswith("2 videos of 5 frames, single on 1: ")
    for line, seconds in zip(lines, single_stream.seconds(lines)):
        assert line["text_encode_s"] + line["latency_s"] < seconds
        assert seconds < line["total_s"] - line["load_s"] + line["text_encode_s"] + 1e-6
    done = run("single-stream", "prompts.txt", "-o", "none", "--frames", 5, "--steps", 1, "--quiet", "--no-decode", cwd=tmp_path)
    check_refused(done, [2], ["--no-decode"])
    check_refused(run("single-stream", "prompts.txt", "-o", "out", cwd=tmp_path), [1], ["out", "without results"])
    check_refused(run("single-stream", "prompts.txt", "-o", "new", "--frames", 0, cwd=tmp_path), [2], ["--frames"])

    judge = tmp_path / "judge"
    judge.write_text(JUDGE)
    judge.chmod(0o755)
    done = run("vbench", "out", "subject_consistency", "motion_smoothness", cwd=tmp_path, env=dict(os.environ, VBENCH=str(judge)))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 videos: subject_consistency 0.5000, motion_smoothness 0.5000\n"
    scored = [json.loads(row) for row in (tmp_path / "out/vbench/results.jsonl").read_text().splitlines()]
    assert [line["quality"]["vbench"]["subject_consistency"] for line in scored] == [0.25, 0.75]


def test_without_vbench_it_says_how_to_get_it(tmp_path):
    env = dict(os.environ, PATH="/usr/bin:/bin")
    env.pop("VBENCH", None)
    check_refused(run("vbench", "out", cwd=tmp_path, env=env), [1], ["pip install vbench", "VBENCH=/path/to/vbench ./run vbench out"])
    check_refused(run("vbench", cwd=tmp_path), [2], ["FOLDER"])
