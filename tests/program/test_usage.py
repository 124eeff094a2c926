# SPDX-License-Identifier: Apache-2.0
"""What the program says to slips, to impossible experiments, and when it is stopped."""
import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from safetensors.torch import load_file, save_file

from test_program import FAST, MODEL, PROGRAM, ROOT, check_refused, run

CONFIGURATIONS = ROOT / "configs/models/wan2.1-t2v-1.3b"


@pytest.mark.parametrize("arguments, words", [
    (["genrate"], ["'genrate'", "did you mean 'generate'?", "simulate"]),
    (["surprise"], ["'surprise'", "generate", "bench"]),
    (["generate", "--stratgy", "single"], ["--stratgy", "did you mean '--strategy'?"]),
    (["generate", "--frmaes=5"], ["--frmaes", "did you mean '--frames'?"]),
    (["generate", "surplus"], ["surplus"]),
    (["generate", "--strategy", "rnig"], ["rnig", "did you mean 'ring'?", "ulysses"]),
    (["generate", "--strategy", "dualparal", "--ulysses-degree", "2"], ["--ulysses-degree", "--block-frames"]),
    (["generate", "--seed", "-1"], ["--seed", "-1", "from 0"]),
    (["generate", "--seed=-1"], ["--seed", "-1", "from 0"]),
    (["bench", "quikc"], ["quikc", "did you mean 'quick'?", "pipeline"]),
    (["simulate", "/tmp", "--cluster", "8x-h1000"], ["8x-h1000", "did you mean '8x-h100'?", "8x-rtx4090"]),
    (["calibrate", "/tmp", "--cluster", "nope", "--output", "x"], ["nope", "8x-h100"]),
])
def test_slips_are_answered_with_what_was_meant(arguments, words):
    check_refused(run(*arguments), [2], words)


@pytest.mark.parametrize("text, words", [
    ("name: x\nstrategis: [single]", [":2", "strategis", "did you mean 'strategies'?", "timelines"]),
    ("name: x\nstrategies: [dualparla]", [":2", "dualparla", "did you mean 'dualparal'?"]),
    ("name: x\nstrategies: [{name: single, opitons: {}}]", [":2", "opitons", "did you mean 'options'?"]),
    ("name: x\nstrategies: [single]\nbase: {stesp: 3}", [":3", "--stesp", "did you mean 'steps'?"]),
    ("name: x\nstrategies: [single]\nmode: trace\nclusters: [8x-rtx409]", [":4", "did you mean '8x-rtx4090'?"]),
    ("name: x\nstrategies: [single]\nmode: trace\nclusters: [mine.yaml]", [":4", "mine.yaml"]),
    ("name: x\nstrategies: [single]\n[a]: 3", [":3"]),
    ("name: {a: b}\nstrategies: [single]", ["'name'"]),
])
def test_slips_in_experiments_are_wrong_usage(tmp_path, text, words):
    (tmp_path / "e.yaml").write_text(text)
    check_refused(run("bench", tmp_path / "e.yaml", cwd=tmp_path), [2], words)
    assert [path.name for path in tmp_path.iterdir()] == ["e.yaml"]


EXPERIMENT = """
name: mixed
base: {steps: 1, threads: 1, no-decode: true, prompt: "a red circle"}
sweep: {frames: [1, 5]}
strategies:
  - single
  - {name: single, options: {nproc: 2}}
  - {name: ring, options: {nproc: 2}, sweep: {guidance-parallel: ["on", "off"]}}
  - {name: dualparal, options: {nproc: 99, block-frames: 0}}
  - {name: single, options: {dtype: fp7}}
skip: [{when: {dtype: fp7}, reason: no such numbers}]
"""


def test_impossible_points_are_all_named_before_any_runs(tmp_path):
    (tmp_path / "e.yaml").write_text(EXPERIMENT)
    for more in ([], ["--dry-run"]):
        check_refused(run("bench", tmp_path / "e.yaml", "--output", tmp_path / "out", *more), [2],
                      ["4 of 12 points", "single x2, 1 frames", "single x2, 5 frames", "one rank", "dualparal x99, 5 frames",
                       "--block-frames"])
    assert not (tmp_path / "out").exists()


def test_a_dry_run_lists_points_and_runs_none(tmp_path):
    (tmp_path / "e.yaml").write_text(EXPERIMENT.replace("nproc: 99, block-frames: 0", "nproc: 1").replace(
        "single, options: {nproc: 2}", "single, options: {steps: 2}"))
    bench = ["bench", tmp_path / "e.yaml", "--output", tmp_path / "out"]
    listed = run(*bench, "--dry-run")
    assert listed.returncode == 0 and not (tmp_path / "out").exists(), listed.stderr
    lines = listed.stdout.splitlines()
    assert len(lines) == 13 and lines[-1] == "10 to run" and len(set(lines)) == 13
    assert "5/12 ring x2, 1 frames, guidance-parallel on, steps 1: to do" in lines
    assert any(line.endswith("dtype fp7, steps 1: to be skipped (no such numbers)") for line in lines), lines
    done = run(*bench, "--only", "strategy=ring", "--only", "frames=1", "--only", "guidance-parallel=off", "--only", "frames=5")
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("# ") and "/2 " in line]
    assert "1/2 ring x2, 1 frames, guidance-parallel off" in told[0] and "2/2 ring x2, 5 frames" in told[1]
    records = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert [(r["strategy"], r["frames"], r["status"]) for r in records] == [("ring", 1, "ok"), ("ring", 5, "ok")]
    listed = run(*bench, "--dry-run").stdout.splitlines()
    assert sum(line.endswith(": done") for line in listed) == 2 and listed[-1].startswith("8 to run, about ")
    lines = tmp_path / "out/results.jsonl"
    assert run("generate", *FAST, "--prompt", "x", "--frames", 1, "--no-decode", "--result", lines).returncode == 0
    assert run(*bench, "--dry-run").stdout.splitlines()[:-1] == listed[:-1]  # that one is no point's line
    lines.write_text(lines.read_text().replace('"program_hash":"', '"program_hash":"0'))
    check_refused(run(*bench, "--dry-run"), [2], [str(lines), "another program", "--restart"])
    assert run(*bench, "--dry-run", "--restart").stdout.splitlines()[-1] == "10 to run" and lines.exists()


@pytest.mark.parametrize("condition, words", [
    ("strategy", ["FLAG=VALUE"]),
    ("strateg=ring", ["strateg", "did you mean 'strategy'?"]),
    ("strategy=rign", ["rign", "did you mean 'ring'?", "single"]),
    ("frames=3", ["frames=3", "1, 5"]),
])
def test_filters_that_fit_nothing_are_refused(tmp_path, condition, words):
    (tmp_path / "e.yaml").write_text(EXPERIMENT)
    check_refused(run("bench", tmp_path / "e.yaml", "--only", condition, cwd=tmp_path), [2], words)


def test_shards_go_to_folders_of_their_own(tmp_path):
    (tmp_path / "e.yaml").write_text("name: e\nbase: {steps: 1}\nsweep: {frames: [1, 5, 9]}\nstrategies: [single]\n")
    for number, frames in ((1, ["1", "9"]), (2, ["5"])):
        done = run("bench", "e.yaml", "--shard", f"{number}/2", "--dry-run", cwd=tmp_path)
        assert [line.split(", ")[1].split()[0] for line in done.stdout.splitlines()[:-1]] == frames, done.stdout
    done = run("bench", "e.yaml", "--shard", "2/2", cwd=tmp_path)
    lines = (tmp_path / "results/e.2-of-2/results.jsonl").read_text().splitlines()
    assert done.returncode == 0 and [json.loads(line)["frames"] for line in lines] == [5], done.stderr
    check_refused(run("bench", "e.yaml", "--shard", "3/2", cwd=tmp_path), [2], ["3/2", "I/N"])


def test_every_experiment_of_the_project_can_run(tmp_path):
    for file in sorted((ROOT / "configs/experiments").glob("*.yaml")):
        listed = run("bench", file.stem, "--dry-run", cwd=tmp_path)
        assert listed.returncode == 0, (file, listed.stderr)
    assert not list(tmp_path.iterdir())


def test_clusters_go_by_name_and_have_a_device_for_each_rank(tmp_path):
    traced = run("generate", "--quiet", "--mode", "trace", "--strategy", "ring", "--world-size", 3, "--frames", 5, "--steps", 1,
                 "--traces", "traces", cwd=tmp_path)
    assert traced.returncode == 0, traced.stderr
    simulate = ["simulate", "traces", "--result", "line.jsonl", "--quiet"]
    check_refused(run(*simulate, "--cluster", "2x-cpu-core", cwd=tmp_path), [2], ["3 ranks", "2 device(s)", "--share-devices"])
    assert not (tmp_path / "line.jsonl").exists()
    for arguments in (["--cluster", "2x-cpu-core", "--share-devices"], ["--cluster", "8x-h100"]):
        done = run(*simulate, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    names = [json.loads(line)["cluster"]["name"] for line in (tmp_path / "line.jsonl").read_text().splitlines()]
    assert names == ["2x-cpu-core", "8x-h100"]
    (tmp_path / "e.yaml").write_text("name: x\nmode: trace\nclusters: [2x-cpu-core]\nbase: {world-size: 3, frames: 5}\n"
                                     "strategies: [ring]")
    check_refused(run("bench", "e.yaml", cwd=tmp_path), [2], ["1 of 2 points", "3 ranks", "on 2x-cpu-core"])


def test_a_run_without_outputs_writes_a_video_and_says_so(tmp_path):
    loud = [argument for argument in FAST if argument != "--quiet"]
    first = run("generate", *loud, "--frames", 5, "--seed", 7, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["single_5-frames_seed-7.mp4"]
    assert "wrote single_5-frames_seed-7.mp4" in first.stdout
    assert "no --prompt: the model's own, \"a red circle" in first.stderr and "no output was asked for" in first.stderr
    again = run("generate", *loud, "--frames", 5, "--seed", 7, "--prompt", "", cwd=tmp_path)
    assert "single_5-frames_seed-7.mp4 is there already and will be overwritten" in again.stderr
    assert "--prompt is empty" in again.stderr
    two = run("generate", *loud, "--frames", 5, "--strategy", "ring", "--nproc", 2, "--prompt", "a", cwd=tmp_path)
    assert two.returncode == 0 and (tmp_path / "ring_5-frames_seed-0.mp4").exists()
    assert two.stderr.count("no output was asked for") == 1 and "no --prompt" not in two.stderr
    (tmp_path / "elsewhere").mkdir()
    for arguments in (["--no-decode"], ["--result", "r.jsonl"], ["--save-latents", "l.safetensors"]):
        assert run("generate", *FAST, "--frames", 5, *arguments, cwd=tmp_path / "elsewhere").returncode == 0
    assert not list((tmp_path / "elsewhere").glob("*.mp4"))


def test_kinds_of_checkpoints_are_told_apart(tmp_path):
    configurations = [*FAST, "--model", CONFIGURATIONS, "--prompt", "any", "--frames", 1]
    check_refused(run("generate", *configurations), [2], [str(CONFIGURATIONS), "without weights", "--random-weights", "trace"])
    model = tmp_path / "i2v"
    shutil.copytree(CONFIGURATIONS, model)
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps(index | {"_class_name": "WanImageToVideoPipeline"}))
    check_refused(run("inspect", model), [1], [str(model), "WanImageToVideoPipeline", "20 channels"])
    (model / "model_index.json").write_text(json.dumps(index))
    config = json.loads((model / "transformer/config.json").read_text())
    (model / "transformer/config.json").write_text(json.dumps(config | {"in_channels": 36, "out_channels": 16}))
    check_refused(run("inspect", model), [1], ["WanPipeline", "16 of the latents", "takes 20"])


def test_a_missing_tensor_names_the_file_that_lacks_it(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    weights = model / "transformer/diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    del tensors["proj_out.bias"]
    save_file(tensors, weights)
    check_refused(run("generate", *FAST, "--frames", 1, "--no-decode", "--model", model), [1],
                  [f"{weights}: tensor 'proj_out.bias' is missing"])


def stopped(arguments, ready, tmp_path, sig=signal.SIGINT):
    """Standard error of a process that got a signal once `ready` (as from a terminal: its children get it, too)."""
    child = subprocess.Popen([PROGRAM, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                             cwd=tmp_path, start_new_session=True)
    try:
        while not ready():
            assert child.poll() is None, child.stderr.read()
            time.sleep(0.02)
        os.killpg(child.pid, sig)
        errors = child.communicate()[1]
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode == -sig
    return errors


def test_ctrl_c_says_what_is_kept_of_a_sweep_and_how_to_go_on(tmp_path):
    (tmp_path / "e.yaml").write_text("name: x\nbase: {threads: 1, no-decode: true, prompt: a}\nstrategies: [single]\n"
                                     "sweep: {steps: [1, 900]}")
    lines = tmp_path / "out/results.jsonl"
    errors = stopped(["bench", "e.yaml", "--output", "out"], lambda: lines.exists() and lines.stat().st_size > 0, tmp_path)
    assert errors.count("# stopped:") == 1 and "out/results.jsonl" in errors and "same command" in errors
    assert len(lines.read_text().splitlines()) == 1


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_what_is_kept_and_leaves_no_half_files(tmp_path, sig):
    pieces = tmp_path / "l.safetensors.partial"
    arguments = ["generate", "--threads", 1, "--frames", 257, "--strategy", "dualparal", "--prompt", "a", "--output", "v.mp4",
                 "--block-frames", 4, "--context-frames", 2]
    errors = stopped([*arguments, "--save-latents", "l.safetensors"], lambda: list(pieces.glob("0*.safetensors")), tmp_path, sig)
    assert "# stopped:" in errors and "l.safetensors.partial/" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["l.safetensors.partial"]
    assert not [path for path in pieces.iterdir() if path.name.startswith(".")]
