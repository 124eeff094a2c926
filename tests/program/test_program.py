# SPDX-License-Identifier: Apache-2.0
"""The program as a user meets it: flags, files, exit codes, experiments."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("DUALPARAL_BUILD", ROOT / "build")) / "dualparal"
MODEL = ROOT / "models/moving-shapes"
FAST = ["--steps", "2", "--threads", "1", "--quiet"]


def run(*arguments, **kwargs):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=300, **kwargs)


def check_refused(result, codes, words):
    """It ended with one of the exit codes, and its last line on standard error is the reason, with all these words."""
    assert result.returncode in codes, result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    for word in words:
        assert word in last, f"{word!r} not in {last!r}"


def generate(*arguments, frames=5):
    result = run("generate", *FAST, "--frames", frames, *arguments)
    assert result.returncode == 0, result.stderr
    return result


@pytest.mark.parametrize("arguments, words", [
    (["generate", "--frames", "0"], ["--frames", "positive", "0"]),
    (["generate", "--frames", "many"], ["--frames", "many"]),
    (["generate", "--strategy", "nope"], ["--strategy", "nope", "single"]),
    (["generate", "--height", "65"], ["--height", "16", "65"]),
    (["generate", "--width", "-32"], ["--width", "-32"]),
    (["generate", "--no-such-flag"], ["--no-such-flag"]),
    (["generate", "--mode", "fast"], ["--mode", "fast", "run"]),
    (["generate", "--mode", "emulate", "--output", "v.mp4"], ["--mode", "emulate", "--output"]),
    (["generate", "--world-size", "2"], ["--world-size", "--nproc"]),
    (["generate", "--nproc", "2"], ["single", "one rank"]),
    (["generate", "--nproc", "0"], ["--nproc"]),
    (["generate", "--device", "tpu"], ["--device", "tpu", "cuda"]),
    (["generate", "--dtype", "fp64"], ["--dtype", "fp64", "bf16"]),
    (["generate", "--vae-dtype", "int8"], ["int8"]),
    (["generate", "--sampler", "ddim"], ["--sampler", "ddim", "unipc"]),
    (["generate", "--steps", "0"], ["--steps", "0"]),
    (["generate", "--steps", "5000"], ["--steps", "1000", "5000"]),
    (["generate", "--fps", "0"], ["--fps", "0"]),
    (["generate", "--flow-shift", "-1", "--frames", "1"], ["--flow-shift", "-1"]),
    (["generate", "--output", "video.avi"], ["--output", ".mp4", "video.avi"]),
    (["generate", "--no-decode", "--output", "video.mp4"], ["--no-decode", "--output"]),
    (["generate", "--prompt", "a", "--prompt-embeds", "b"], ["--prompt", "--prompt-embeds"]),
    (["inspect", MODEL, "--nproc", "99"], ["--nproc", "99"]),
    (["generate", "--frames", "1000000000"], ["--frames", "1000000", "1000000000"]),
    (["generate", "--height", "1048576"], ["--height", "16384"]),
    (["generate", "--fps", "1000000"], ["--fps", "1000"]),
    (["generate", "--nproc", "4294967296"], ["--nproc", "4096"]),
    (["generate", "--mode", "trace", "--world-size", "4294967296"], ["--world-size", "4096"]),
    (["generate", "--threads", "65535"], ["--threads", "1024"]),
    (["generate", "--timeout", "1000000000000"], ["--timeout", "31536000"]),
    (["bench"], ["experiment"]),
])
def test_wrong_usage_is_exit_code_2_with_the_reason(arguments, words):
    check_refused(run(*arguments), [2], words)


@pytest.mark.parametrize("arguments, words", [
    (["generate", "--model", "/nowhere"], ["/nowhere"]),
    (["generate", "--initial-noise", "/nowhere.safetensors"], ["/nowhere.safetensors"]),
    (["generate", "--prompt-embeds", "/nowhere.safetensors"], ["/nowhere.safetensors"]),
    (["generate", "--output", "/proc/nothing/here.mp4"], ["/proc/nothing"]),
    (["bench", "/nowhere.yaml"], ["/nowhere.yaml"]),
    (["report", "/nowhere"], ["/nowhere"]),
])
def test_failures_are_exit_code_1_with_the_reason(arguments, words):
    check_refused(run(*arguments), [1], words)


def test_noise_latents_and_embeddings_round_trip_with_python(tmp_path):
    noise, embeds = tmp_path / "noise.safetensors", tmp_path / "embeds.safetensors"
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    generate("--seed", 3, "--save-noise", noise, "--save-prompt-embeds", embeds, "--save-latents", first, "--no-decode")
    written = load_file(noise)["noise"]
    assert written.shape == (1, 16, 2, 8, 12) and written.dtype == torch.float32
    assert abs(written.std().item() - 1) < 0.1
    # Through Python and back, with a surplus frame that must not matter, and another seed that must not either.
    save_file({"noise": torch.cat([written, torch.randn(1, 16, 1, 8, 12)], 2)}, noise)
    save_file(load_file(embeds), embeds)
    generate("--seed", 4, "--initial-noise", noise, "--prompt-embeds", embeds, "--save-latents", second, "--no-decode")
    assert torch.equal(load_file(first)["latents"], load_file(second)["latents"])


def test_noise_of_the_wrong_shape_is_refused(tmp_path):
    noise = tmp_path / "noise.safetensors"
    save_file({"noise": torch.randn(1, 16, 2, 8, 13)}, noise)
    result = run("generate", *FAST, "--frames", 5, "--initial-noise", noise)
    assert result.returncode == 1
    for word in [str(noise), "'noise'", "[1, 16, any, 8, 12]", "[1, 16, 2, 8, 13]"]:
        assert word in result.stderr
    save_file({"noise": torch.randn(1, 16, 1, 8, 12)}, noise)
    result = run("generate", *FAST, "--frames", 5, "--initial-noise", noise)
    assert result.returncode == 1 and "1 latent frames, expected at least 2" in result.stderr


def test_one_result_line_with_its_provenance(tmp_path):
    result = tmp_path / "r.jsonl"
    for _ in range(2):
        generate("--result", result, frames=6)
    lines = [json.loads(line) for line in result.read_text().splitlines()]
    assert len(lines) == 2
    line = lines[0]
    assert line["schema"] == 2 and line["kind"] == "measured" and line["status"] == "ok"
    assert line["frames"] == 6 and line["latent_frames"] == 3  # ceil(5 / 4) + 1
    assert 0 < line["latency_s"] <= line["total_s"] and line["samples"] == [line["latency_s"]]
    assert line["peak_memory_bytes"] < line["process_memory_bytes"] <= line["peak_resident_bytes"]
    assert line["program_hash"] and line["error_vs_single"] is None  # nothing to compare with
    assert line["peak_memory_bytes"] > line["per_rank"][0]["weights_bytes"] > 1e6
    assert line["provenance"]["libtorch"].startswith("2.")
    assert 0 <= line["provenance"]["load_before"] < 10000
    assert 0 <= line["quality"]["flicker"] <= 1
    assert lines[0]["config_hash"] == lines[1]["config_hash"]


def test_repeats_are_samples_of_one_line(tmp_path):
    result = tmp_path / "r.jsonl"
    generate("--result", result, "--repeats", 3, "--no-decode")
    generate("--result", result, "--until-interval", 0, "--repeats", 2, "--strategy", "ring", "--nproc", 2, "--no-decode")
    generate("--result", result, "--until-interval", 1e-9, "--max-repeats", 4, "--no-decode")
    three, two, most = [json.loads(line) for line in result.read_text().splitlines()]
    assert len(three["samples"]) == 3 and three["latency_s"] == sorted(three["samples"])[1] and three["interval"] > 0
    assert len(two["samples"]) == 2 and two["latency_s"] == min(two["samples"])
    assert len(most["samples"]) == 4
    check_refused(run("generate", *FAST, "--repeats", 3, "--max-repeats", 2), [2], ["--max-repeats 2"])
    check_refused(run("generate", *FAST, "--mode", "trace", "--repeats", 3), [2], ["--repeats", "trace"])


def test_decoding_is_not_measured(tmp_path):
    result = tmp_path / "r.jsonl"
    for more in (["--no-decode"], ["--output", tmp_path / "v.mp4"]):
        generate("--result", result, "--strategy", "dualparal", "--block-frames", 2, "--context-frames", 1, *more, frames=49)
    without, decoded = [json.loads(line) for line in result.read_text().splitlines()]
    assert decoded["peak_memory_bytes"] == pytest.approx(without["peak_memory_bytes"], rel=0.02)
    assert decoded["decode_s"] > 0 and without["decode_s"] is None
    check_refused(run("generate", *FAST, "--overlap-decoding"), [2], ["--overlap-decoding", "single"])


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_as_many_frames_as_asked_for(tmp_path, frames):
    generate("--output", tmp_path / "v.mp4", "--save-frames", tmp_path / "png", frames=frames)
    assert len(list((tmp_path / "png").glob("*.png"))) == frames
    assert (tmp_path / "v.mp4").stat().st_size > 500


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_leaves_no_half_video(tmp_path, sig):
    output = tmp_path / "v.mp4"
    child = subprocess.Popen([PROGRAM, "generate", "--frames", "61", "--threads", "1", "--output", output, "--quiet"])
    time.sleep(1.5)
    child.send_signal(sig)
    assert child.wait(60) != 0
    assert not output.exists()


def test_a_damaged_checkpoint_is_refused(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    weights = model / "transformer/diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:len(whole) // 2])
    result = run("generate", *FAST, "--model", model)
    assert result.returncode == 1 and str(weights) in result.stderr and "truncated" in result.stderr
    weights.write_bytes(whole)
    config = json.loads((model / "transformer/config.json").read_text())
    (model / "transformer/config.json").write_text(json.dumps(config | {"window_mode": "spiral"}))
    result = run("generate", *FAST, "--model", model)
    assert result.returncode == 1 and "window_mode" in result.stderr
    (model / "transformer/config.json").write_text(json.dumps(config | {"num_layers": config["num_layers"] + 1}))
    result = run("generate", *FAST, "--model", model)
    assert result.returncode == 1 and f"blocks.{config['num_layers']}." in result.stderr and "missing" in result.stderr


EXPERIMENT = """
name: tiny
repeat: 2
base: {steps: 1, threads: 1, no-decode: true}
sweep: {frames: [1, 5]}
strategies: [single, {name: single, options: {prompt-embeds: /nowhere.safetensors}}]
skip: [{when: {frames: 5, prompt-embeds: /nowhere.safetensors}, reason: only to be skipped}]
"""


def test_an_experiment_records_failures_and_resumes(tmp_path):
    (tmp_path / "e.yaml").write_text(EXPERIMENT)
    first = run("bench", tmp_path / "e.yaml", "--output", tmp_path / "out")
    lines = tmp_path / "out/results.jsonl"
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    status = [r["status"] for r in records]
    assert first.returncode == 1 and "2 point(s) failed" in first.stderr
    assert status.count("ok") == 4 and status.count("failed") == 2 and status.count("skipped") == 2
    assert all("/nowhere" in r["error"] for r in records if r["status"] == "failed")
    report = (tmp_path / "out/report.md").read_text()
    assert "only to be skipped" in report and "/nowhere" in report and "| single |" in report
    # A kill in the middle of a line, and one line not yet written: only what is missing runs again, here the
    # second repeats of the point that fails and of the one that is skipped.
    text = lines.read_text().splitlines(keepends=True)
    lines.write_text("".join(text[:-2]) + text[-2][:40])
    second = run("bench", tmp_path / "e.yaml", "--output", tmp_path / "out")
    again = [json.loads(line) for line in lines.read_text().splitlines()]
    assert second.returncode == 1 and "1 point(s) failed" in second.stderr
    assert sorted(r["point"] for r in again) == sorted(r["point"] for r in records)
    assert again[:6] == records[:6]


@pytest.mark.parametrize("text, words", [
    ("strategies: [single]", ["'name'"]),
    ("name: x\nstrategies: []", ["strategies"]),
    ("name: x\nstrategies: [nope]", ["nope", "single"]),
    ("name: x\nstrategies: [single]\nsweep: {colour: [1]}", ["colour", ":3"]),
    ("name: x\nstrategies: [single]\nbase: {output: x.mp4}", ["--output"]),
    ("name: x\nstrategies: [single]\nrepeat: often", [":3", "number"]),
    ("name: x\nstrategies: [single", ["YAML"]),
    ("name: x\nstrategies: [single]\nrepeat: 1000000000", ["e.yaml:3", "10000", "1000000000"]),
    ("name: x\n[a, b]: c\nstrategies: [single]", ["e.yaml:2"]),
    ("name: x\nstrategies: [single]\ntitle: [a]", ["e.yaml:3"]),
    ("name: x\nstrategies: [single]\nbase: {prompt: \"a\\0b\"}", ["e.yaml:3", "zero"]),
    ("name: x\nstrategies: [single]\nbase: {prompt: " + 200_000 * "a" + "}", ["e.yaml:3", "200000 bytes"]),
    ("name: x\nstrategies: [single]\nrepeat: 10000\nsweep: {frames: [" + 10 * "1, " + "1]}", ["100000 points"]),
    ("name: x\nstrategies: [single]\nspeed: 3", ["speed"]),
])
def test_a_wrong_experiment_file_names_its_fault(tmp_path, text, words):
    (tmp_path / "e.yaml").write_text(text)
    check_refused(run("bench", tmp_path / "e.yaml", "--output", tmp_path / "out"), [2], words)
    assert not (tmp_path / "out/results.jsonl").exists()


@pytest.mark.parametrize("size, dim, layers, ffn", [("1.3b", 1536, 30, 8960), ("14b", 5120, 40, 13824)])
def test_published_sizes_from_their_configurations(size, dim, layers, ffn):
    result = run("inspect", ROOT / f"configs/models/wan2.1-t2v-{size}", "--nproc", 8)
    assert result.returncode == 0, result.stderr

    def linear(inputs, outputs):
        return inputs * outputs + outputs

    layer = 8 * linear(dim, dim) + 4 * dim + 2 * dim + linear(dim, ffn) + linear(ffn, dim) + 6 * dim
    time = linear(256, dim) + linear(dim, dim) + linear(dim, 6 * dim)
    text = linear(4096, dim) + linear(dim, dim)
    parameters = layers * layer + time + text + linear(64, dim) + linear(dim, 64) + 2 * dim
    assert f"{parameters / 1e6:.2f} M parameters" in result.stdout
    assert result.stdout.count("  rank ") == 8


def test_balanced_stages_have_the_same_work():
    def largest(*flags):
        result = run("inspect", ROOT / "configs/models/wan2.1-t2v-1.3b", "--nproc", 8, *flags)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("  rank ") == 8
        return float(re.search(r"largest work (\S+) of the mean", result.stdout).group(1)), result.stdout

    assert largest()[0] > 1.06
    even, text = largest("--partition", "balanced")
    assert even < 1.02
    starts = re.search(r"--partition (\S+)$", text, re.M).group(1)
    assert largest("--partition", starts)[0] == pytest.approx(even, abs=1e-3)
