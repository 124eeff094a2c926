# SPDX-License-Identifier: Apache-2.0
"""--scenario: the videos of a list in one run, and in one result line."""
import json

import pytest
from safetensors.torch import load_file
from test_program import FAST, ROOT, check_refused, run

PROMPTS = ["a red circle bounces over a dark blue background", "a green square moves to the left", "a blue triangle"]
SIZE = ["--frames", 29, "--block-frames", 2, "--context-frames", 1]  # 8 latent frames, 4 blocks


def listed(folder, *flags, prompts=PROMPTS):
    (folder / "prompts.txt").write_text("\n".join(prompts))
    return ["generate", *FAST, "--prompt-list", folder / "prompts.txt", *flags]


def line_of(file):
    lines = [json.loads(row) for row in file.read_text().splitlines()]
    assert len(lines) == 1
    return lines[0]


def check_percentiles(line, name, field):
    times = sorted(video[field] for video in line["per_video"])
    assert line[name] == {"p50": times[1], "p90": times[2], "p99": times[2]}  # of three


@pytest.mark.parametrize("strategy, nproc, scenario", [
    ("dualparal", 2, "offline"), ("dualparal", 2, "single-stream"), ("ring", 2, "offline")])
def test_each_video_is_what_it_is_alone(tmp_path, strategy, nproc, scenario):
    flags = ["--strategy", strategy, "--nproc", nproc, *(SIZE if strategy == "dualparal" else SIZE[:2])]
    done = run(*listed(tmp_path, *flags, "--scenario", scenario), "--output", tmp_path / "v.mp4", "--save-latents",
               tmp_path / "l.safetensors", "--result", tmp_path / "r.jsonl", "--timeline", tmp_path / "t.json")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.glob("[vlt]*")) == sorted(
        [f"{name}-{n}.{kind}" for name, kind in (("v", "mp4"), ("l", "safetensors")) for n in (1, 2, 3)] + ["t.json"])
    line = line_of(tmp_path / "r.jsonl")
    assert line["videos"] == 3 and line["options"]["scenario"] == scenario and line["config"]["prompt_list"] == PROMPTS
    assert line["videos_per_s"] == pytest.approx(3 / line["latency_s"])
    check_percentiles(line, "video_latency_s", "latency_s")
    check_percentiles(line, "video_first_block_s", "first_block_s")
    assert line["sent_bytes"] == pytest.approx(line["analytic_cost"]["sent_bytes"], rel=0.01)
    videos = line["per_video"]
    ends = [video["begin_s"] + video["latency_s"] for video in videos]
    overlap = [later["begin_s"] < end for later, end in zip(videos[1:], ends)]
    assert all(overlap) if (strategy, scenario) == ("dualparal", "offline") else not any(overlap)
    assert all(video["quality"]["flicker"] > 0 for video in videos) and line["quality"] is None
    for number in (1, 3):
        alone = run("generate", *FAST, *flags, "--prompt", PROMPTS[number - 1], "--result", tmp_path / "one.jsonl",
                    "--save-latents", tmp_path / "alone.safetensors")
        assert alone.returncode == 0, alone.stderr
        made, expected = [load_file(tmp_path / f"{name}.safetensors")["latents"] for name in (f"l-{number}", "alone")]
        assert made.equal(expected)


TRACED = f"""
name: throughput
mode: trace
clusters: [8x-h100]
model: configs/models/wan2.1-t2v-1.3b
base: {{prompt-list: models/moving-shapes/prompts_heldout.txt, steps: 4, frames: 33, world-size: 2}}
sweep: {{scenario: [single-stream, offline]}}
strategies: [{{name: dualparal, options: {{block-frames: 4, context-frames: 1}}}}]
"""


def test_scenarios_of_an_experiment_are_simulated(tmp_path):
    (tmp_path / "e.yaml").write_text(TRACED)
    done = run("bench", tmp_path / "e.yaml", "--output", tmp_path / "out", "--quiet", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(row) for row in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert len(lines) == 4 and all(line["videos"] == 24 for line in lines)
    single, offline = [next(line for line in lines if line["kind"] == "simulated" and line["options"]["scenario"] == name)
                       for name in ("single-stream", "offline")]
    assert single["sent_bytes"] == offline["sent_bytes"]
    assert single["flops"] == pytest.approx(offline["flops"], rel=1e-5)  # timesteps are embedded once for all videos
    assert offline["videos_per_s"] > 1.05 * single["videos_per_s"] and offline["bubble_ratio"] < single["bubble_ratio"] / 4
    assert single["video_latency_s"]["p50"] * 24 == pytest.approx(single["latency_s"], rel=1e-3)
    assert all(line["videos_per_s"] is None for line in lines if line["kind"] == "traced")
    report = (tmp_path / "out/report.md").read_text()
    assert "videos/s" in report and "scenario=offline" in report


@pytest.mark.parametrize("flags, words", [
    (["--scenario", "server"], ["--scenario", "single-stream", "offline", "server"]),
    (["--scenario", "offline", "--overlap-decoding"], ["--scenario offline", "--overlap-decoding"]),
    (["--scenario", "offline", "--save-noise", "n.safetensors"], ["--scenario offline", "--save-noise"]),
    (["--scenario", "offline", "--mode", "trace", "--short-traces"], ["--scenario offline", "--short-traces"]),
    (["--scenario", "offline", "--snapshot", "s"], ["--prompt-list", "--snapshot"]),
    (["--mode", "trace"], ["--prompt-list", "trace", "--scenario"]),
])
def test_scenarios_that_cannot_be_are_refused(tmp_path, flags, words):
    check_refused(run(*listed(tmp_path, *flags), cwd=tmp_path), [2], words)


def test_a_scenario_without_a_list_is_refused():
    check_refused(run("generate", *FAST, "--scenario", "offline"), [2], ["--scenario offline", "--prompt-list"])


@pytest.mark.parametrize("text, words", [
    ("name: x\nbase: {prompt-list: PROMPTS}\nstrategies: [single]", ["--prompt-list", "--scenario"]),
    ("name: x\nvideos: true\nbase: {prompt-list: PROMPTS, scenario: offline}\nstrategies: [single]", ["videos", "prompt-list"]),
])
def test_experiments_of_lists_that_cannot_be_are_refused(tmp_path, text, words):
    listed(tmp_path)
    (tmp_path / "e.yaml").write_text(text.replace("PROMPTS", str(tmp_path / "prompts.txt")))
    check_refused(run("bench", tmp_path / "e.yaml", "--output", tmp_path / "out"), [2], words)


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "v-2.mp4").mkdir()
    done = run(*listed(tmp_path, "--scenario", "offline", "--frames", 5), "--output", tmp_path / "v.mp4", "--save-latents",
               tmp_path / "l.safetensors")
    check_refused(done, [1], ["v-2.mp4"])
    assert not list(tmp_path.glob("l-*")) and not (tmp_path / "v-1.mp4").exists()
