# SPDX-License-Identifier: Apache-2.0
"""A sweep that is killed again and again ends as an undisturbed one does."""
import json
import os
import random
import signal
import subprocess
import time

import pytest
from safetensors.torch import load_file, save_file

from test_program import PROGRAM, check_refused, run

MEASURED = """
name: sweep
videos: true
timelines: {nproc: 2}
reference: true
base: {steps: 2, threads: 1, prompt: "a red circle"}
strategies:
  - {name: single, options: {frames: 9}}
  - {name: ring, options: {frames: 9, nproc: 2}}
  - {name: single, options: {frames: 5, initial-noise: /nowhere.safetensors}}  # fails
  - {name: dualparal, options: {frames: 9, block-frames: 1, context-frames: 1}}
"""
# Nothing is timed: several points at once, each traced and then simulated on clusters.
SIMULATED = """
name: sweep
mode: trace
clusters: [8x-rtx4090, 8x-h100]
timelines: {frames: 9}
base: {steps: 2, prompt: "a red circle", world-size: 2}
sweep: {frames: [5, 9]}
strategies: [dualparal, ring, {name: single, options: {world-size: 1, initial-noise: /nowhere.safetensors}}]  # the last fails
"""
# What a run decides, not the machine's speed.
FIGURES = ["schema", "kind", "experiment", "strategy", "options", "world_size", "model", "dtype", "frames", "latent_frames",
           "height", "width", "steps", "seed", "status", "error", "point", "repeat", "quality", "sent_bytes", "analytic_cost",
           "config", "video", "timeline"]


def start(experiment, output):
    return subprocess.Popen([PROGRAM, "bench", experiment, "--output", output, "--quiet"], start_new_session=True,
                            stderr=subprocess.PIPE, text=True)


def processes_of(output):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                if str(output) in file.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def outcome(output):
    """What is left of a finished sweep, without what differs from run to run."""
    text = (output / "results.jsonl").read_text()
    assert text.endswith("\n")
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == len({line["point"] for line in lines})
    files = sorted(str(path.relative_to(output)) for path in output.rglob("*"))
    return {line["point"]: {name: line.get(name) for name in FIGURES} for line in lines}, files, videos(output)


def videos(output):
    return {path.name: path.read_bytes() for path in output.glob("videos/*.mp4") if not path.name.startswith(".")}


def finish(experiment, output):
    child = start(experiment, output)
    errors = child.communicate(timeout=120)[1]
    assert child.returncode in (0, 1) and (child.returncode == 0 or "point(s) failed" in errors), errors


@pytest.mark.parametrize("text, kills_wanted, lines, failed, video_count", [
    pytest.param(MEASURED, 20, 4, 1, 3, id="measured"), pytest.param(SIMULATED, 10, 18, 6, 0, id="simulated")])
def test_a_sweep_that_is_killed_again_and_again(tmp_path, text, kills_wanted, lines, failed, video_count):
    experiment = tmp_path / "e.yaml"
    experiment.write_text(text)
    begin = time.time()
    finish(experiment, tmp_path / "undisturbed")
    duration = time.time() - begin
    expected = outcome(tmp_path / "undisturbed")
    points, files, whole_videos = expected
    assert len(points) == lines and [p["status"] for p in points.values()].count("failed") == failed
    assert len(whole_videos) == video_count
    assert not any(part in name for name in files for part in (".partial", ".references", ".job"))

    seed = random.randrange(10**6)
    print(f"seed {seed}, an undisturbed sweep takes {duration:.1f} s")
    rng = random.Random(seed)
    sweep, kills = 0, 0
    while kills < kills_wanted:
        output = tmp_path / f"sweep{sweep}"
        child = start(experiment, output)
        try:
            child.wait(rng.uniform(0.01, 0.3) * duration)
            assert outcome(output) == expected, f"seed {seed}, after {kills} kills"
            sweep += 1  # it came to its end before it could be killed: a new one
        except subprocess.TimeoutExpired:
            if rng.random() < 0.5:
                os.killpg(child.pid, signal.SIGKILL)
            else:
                child.kill()  # its children must notice
            child.wait(60)
            kills += 1
            for name, content in videos(output).items():
                if ".partial." in name:  # plays, and is made anew
                    continue
                assert content == whole_videos[name], f"seed {seed}: {name} after kill {kills}"
    finish(experiment, output)
    assert outcome(output) == expected, f"seed {seed}"
    for i in range(sweep + 1):
        assert not processes_of(tmp_path / f"sweep{i}")


def test_two_sweeps_do_not_work_in_one_folder(tmp_path):
    experiment = tmp_path / "e.yaml"
    experiment.write_text("name: x\nbase: {steps: 500, threads: 1, frames: 33, no-decode: true}\nstrategies: [single]")
    first = start(experiment, tmp_path / "out")
    try:
        while len(processes_of(tmp_path / "out")) < 2:  # it has started its point
            assert first.poll() is None
            time.sleep(0.02)
        check_refused(run("bench", experiment, "--output", tmp_path / "out"), [2], ["another bench", str(tmp_path / "out")])
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


EXACT = """
name: exact
base: {steps: 8, threads: 1, frames: 33, prompt: "a red circle", no-decode: true}
strategies: [single, {name: ring, options: {nproc: 2}}, {name: naive_pipeline, options: {nproc: 2}}, dualparal]
"""


def test_exact_strategies_are_held_to_single(tmp_path):
    experiment, output = tmp_path / "e.yaml", tmp_path / "out"
    experiment.write_text(EXACT)
    finish(experiment, output)
    lines = {line["strategy"]: line for line in map(json.loads, (output / "results.jsonl").read_text().splitlines())}
    assert {line["status"] for line in lines.values()} == {"ok"}
    for name in ("ring", "naive_pipeline"):
        assert 0 <= lines[name]["error_vs_single"] < 1e-5 and lines[name]["quality"]["latent_relative_error"] is None
    assert lines["single"]["error_vs_single"] is None and lines["dualparal"]["error_vs_single"] is None
    assert not (output / ".references").exists()


def test_a_wrong_result_is_a_failed_point(tmp_path):
    experiment, output = tmp_path / "e.yaml", tmp_path / "out"
    experiment.write_text(EXACT)
    child = start(experiment, output)
    while not (found := list(output.glob(".references/*.safetensors"))):  # single is done
        assert child.poll() is None
        time.sleep(0.01)
    latents = load_file(found[0])["latents"]
    save_file({"latents": latents * 1.01}, tmp_path / "wrong.safetensors")
    os.rename(tmp_path / "wrong.safetensors", found[0])
    assert child.wait(120) == 1
    lines = {line["strategy"]: line for line in map(json.loads, (output / "results.jsonl").read_text().splitlines())}
    assert lines["ring"]["status"] == "failed" and lines["ring"]["error"].startswith("wrong result")
    assert 0.009 < lines["ring"]["error_vs_single"] < 0.011 and lines["dualparal"]["status"] == "ok"


def test_results_of_another_program_are_none_of_this_one(tmp_path):
    experiment, output = tmp_path / "e.yaml", tmp_path / "out"
    experiment.write_text("name: x\nbase: {steps: 1, threads: 1, frames: 1, no-decode: true}\nstrategies: [single]")
    finish(experiment, output)
    lines = output / "results.jsonl"
    other = json.loads(lines.read_text()) | {"program_hash": "0123"}
    lines.write_text(json.dumps(other) + "\n")
    check_refused(run("bench", experiment, "--output", output), [2], [str(lines), "another program", "0123", "--restart"])
    assert run("bench", experiment, "--output", output, "--restart").returncode == 0
    assert json.loads((output / "results.before-1.jsonl").read_text()) == other
    assert json.loads(lines.read_text())["program_hash"] != "0123"


def test_videos_of_a_changed_experiment_stay(tmp_path):
    experiment, output = tmp_path / "e.yaml", tmp_path / "out"
    text = "name: x\nvideos: true\nbase: {steps: 1, threads: 1, frames: 1, no-quality: true}\nstrategies: [single]"
    experiment.write_text(text)
    finish(experiment, output)
    first = json.loads((output / "results.jsonl").read_text())
    before = (output / first["video"]).read_bytes()
    experiment.write_text(text.replace("frames: 1,", "frames: 5,"))
    finish(experiment, output)
    lines = [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]
    assert [line["frames"] for line in lines] == [1, 5] and lines[0] == first
    assert lines[1]["video"] != first["video"] and (output / lines[1]["video"]).exists()
    assert (output / first["video"]).read_bytes() == before


def test_repeats_are_done_in_rounds(tmp_path):
    experiment = tmp_path / "e.yaml"
    experiment.write_text("name: x\nrepeat: 2\nbase: {steps: 1, threads: 1, no-decode: true}\nsweep: {frames: [1, 5]}\nstrategies: [single]")
    finish(experiment, tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert [(line["frames"], line["repeat"]) for line in lines] == [(1, 0), (5, 0), (1, 1), (5, 1)]
