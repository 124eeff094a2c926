# SPDX-License-Identifier: Apache-2.0
"""./run single-stream and ./run vbench, the latter with a command that stands in for VBench's."""
import json
import os

import numpy as np
import pytest
from test_program import PROGRAM, ROOT, check_refused
from test_run import run

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


@built
def test_prompts_one_after_the_other_then_judged(tmp_path):
    (tmp_path / "prompts.txt").write_text("a red circle\na green square\n")
    done = run("single-stream", "prompts.txt", "-o", "out", "--frames", 5, "--steps", 1, "--threads", 1, "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(row) for row in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert [line["config"]["prompt"] for line in lines] == ["a red circle", "a green square"]
    assert [line["video"] for line in lines] == ["videos/video-1.mp4", "videos/video-2.mp4"]
    times = [line["total_s"] - line["load_s"] for line in lines]
    assert done.stdout.startswith("2 videos of 5 frames, single on 1: ")
    assert f"90% within {max(times):.3g} s" in done.stdout and f"mean {np.mean(times):.3g} s" in done.stdout
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
