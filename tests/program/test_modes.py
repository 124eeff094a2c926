# SPDX-License-Identifier: Apache-2.0
"""Ranks without their devices: emulated, traced, simulated; and what a real run says about them."""
import json

import pytest
import safetensors.torch
import torch

from test_program import MODEL, ROOT, check_refused, run

WAN = ROOT / "configs/models/wan2.1-t2v-1.3b"
TEXT_DIM = json.loads((MODEL / "transformer/config.json").read_text())["text_dim"]
UNPROMPTED = ["--frames", 61, "--steps", 2, "--threads", 1, "--quiet"]
SMALL = [*UNPROMPTED, "--prompt", "a red circle"]
BLOCKS = ["--strategy", "dualparal", "--block-frames", 4, "--context-frames", 2]
CASES = [["--strategy", "single"], ["--strategy", "ring"], ["--strategy", "ulysses"], ["--strategy", "naive_pipeline"], BLOCKS,
         [*BLOCKS, "--feature-cache", "off"], [*BLOCKS, "--previous-context", "matched_kv", "--cache-memory", "host"], ["--strategy", "video_infinity"], ["--strategy", "fifo", "--window-frames", 2],
         ["--strategy", "context_windows", "--window-frames", 6, "--overlap-frames", 2], ["--strategy", "pipefusion", "--patches", 5]]


def line_of(tmp_path, *arguments):
    result = tmp_path / "line.jsonl"
    result.unlink(missing_ok=True)
    done = run("generate", *SMALL, *arguments, "--result", result)
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())


@pytest.mark.parametrize("strategy", CASES, ids=lambda s: "-".join(map(str, s[1::2])))
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_emulated_and_traced_ranks_are_those_of_a_run(tmp_path, strategy, dtype):
    ranks = 1 if "single" in strategy else 2
    flags = [*strategy, "--dtype", dtype]
    real = line_of(tmp_path, *flags, "--nproc", ranks, "--no-decode", "--no-quality", "--traces", tmp_path / "real")
    emulated = line_of(tmp_path, *flags, "--mode", "emulate", "--world-size", ranks)
    traced = line_of(tmp_path, *flags, "--mode", "trace", "--world-size", ranks)
    assert (real["kind"], emulated["kind"], traced["kind"]) == ("measured", "emulated", "traced")
    # A trace does not see the scratch memory of kernels: oneDNN accumulates products of bf16 in fp32 there.
    for other, memory in ((emulated, 0.03), (traced, 0.10 if dtype == "fp32" else 0.25)):
        assert other["latency_s"] is None and other["quality"] is None
        for a, b in zip(real["per_rank"], other["per_rank"], strict=True):
            assert b["peak_memory_bytes"] == pytest.approx(a["peak_memory_bytes"], rel=memory)
            assert b["weights_bytes"] == a["weights_bytes"]
            assert b["sent_bytes"] == a["sent_bytes"]
            assert b["host_cache_bytes"] == a["host_cache_bytes"]
            assert b["flops"] == pytest.approx(a["flops"], rel=1e-6)
            assert b["moved_bytes"] == pytest.approx(a["moved_bytes"], rel=0.1)
    assert all(rank["compute_s"] > 0 for rank in emulated["per_rank"])
    assert all(rank["compute_s"] is None for rank in traced["per_rank"])


def test_caches_in_host_memory_leave_the_device_flat_in_frames(tmp_path):
    """Latent frames: 2 + blocks of 4. A rank has 4 layers, 2 frames of 24 tokens and 64 numbers to keep of each block."""
    def line(frames, where):
        result = tmp_path / f"{frames}_{where}.jsonl"
        done = run("generate", "--prompt", "any", "--quiet", *BLOCKS, "--previous-context", "matched_kv", "--frames", frames,
                   "--cache-memory", where, "--steps", 12, "--mode", "trace", "--world-size", 2, "--result", result)
        assert done.returncode == 0, done.stderr
        return json.loads(result.read_text().splitlines()[-1])["per_rank"][1]  # rank 0 has the latents of all blocks, too
    short, long = line(61, "host"), line(189, "host")
    assert long["peak_memory_bytes"] == pytest.approx(short["peak_memory_bytes"], rel=0.01)
    growth = line(189, "device")["peak_memory_bytes"] - line(61, "device")["peak_memory_bytes"]
    assert long["host_cache_bytes"] - short["host_cache_bytes"] == pytest.approx(growth, rel=0.05)
    for where in ("auto", "device"):  # a CPU does not say what it has free
        assert line(61, where)["host_cache_bytes"] == 0


@pytest.mark.parametrize("mode", ["emulate", "trace"])
def test_given_prompt_embeds_are_those_that_are_computed_with(tmp_path, mode):
    embeds = tmp_path / "embeds.safetensors"
    single = ["--mode", mode, "--strategy", "single", "--world-size", 1]
    whole = line_of(tmp_path, *single)
    flops = []
    for tokens in (8, 16):
        tensors = {name: torch.zeros(1, tokens, TEXT_DIM) for name in ("prompt_embeds", "negative_prompt_embeds")}
        safetensors.torch.save_file(tensors, embeds)
        done = run("generate", *UNPROMPTED, *single, "--prompt-embeds", embeds, "--result", tmp_path / "r.jsonl")
        assert done.returncode == 0, done.stderr
        flops.append(json.loads((tmp_path / "r.jsonl").read_text().splitlines()[-1])["flops"])
    assert flops[0] < flops[1] < whole["flops"]


@pytest.mark.parametrize("arguments, words", [
    (["--mode", "trace", "--device", "cuda:9x"], ["--device", "cuda:9x"]),
    (["--mode", "trace", "--output", "x.mp4"], ["--output", "trace"]),
    (["--mode", "emulate", "--save-latents", "x.safetensors"], ["--save-latents", "emulate"]),
    (["--mode", "emulate", "--nproc", 2], ["--world-size", "--nproc"]),
    (["--world-size", 2], ["--world-size", "--nproc"]),
    (["--mode", "trace", "--strategy", "dualparal", "--world-size", 9], ["8 layers", "9 ranks"]),
])
def test_what_these_modes_cannot_do(arguments, words):
    check_refused(run("generate", *SMALL, *arguments), {2}, words)


@pytest.mark.parametrize("strategy", ["context_windows", "pipefusion"])
def test_eight_ranks_of_a_rival_are_traced_and_simulated(tmp_path, strategy):
    done = run("generate", "--mode", "trace", "--model", WAN, "--device", "cuda", "--dtype", "bf16", "--strategy", strategy,
               "--world-size", 8, "--frames", 81, "--steps", 2, "--prompt", "x", "--traces", tmp_path / "traces", "--quiet",
               *(["--window-frames", 6, "--overlap-frames", 2] if strategy == "context_windows" else []))
    assert done.returncode == 0, done.stderr
    result = tmp_path / "r.jsonl"
    done = run("simulate", tmp_path / "traces", "--cluster", ROOT / "configs/clusters/8x-rtx4090.yaml", "--result", result)
    assert done.returncode == 0, done.stderr
    line = json.loads(result.read_text())
    assert line["strategy"] == strategy and line["status"] == "ok" and len(line["per_rank"]) == 8
    assert line["sent_bytes"] == pytest.approx(line["analytic_cost"]["sent_bytes"], rel=0.01)
    for rank in line["per_rank"]:
        assert rank["compute_s"] + rank["communication_s"] + rank["idle_s"] == pytest.approx(line["latency_s"], rel=1e-3)
    # 21 latent frames are five windows: three ranks have nothing to do.
    assert sum(rank["compute_s"] > 0 for rank in line["per_rank"]) == (5 if strategy == "context_windows" else 8)


@pytest.fixture(scope="module")
def wan_traces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wan")
    done = run("generate", "--mode", "trace", "--model", WAN, "--device", "cuda", "--dtype", "bf16", "--strategy", "dualparal",
               "--world-size", 4, "--frames", 161, "--steps", 3, "--prompt", "x", "--traces", folder, "--quiet")
    assert done.returncode == 0, done.stderr
    return folder


def test_a_trace_is_simulated_on_a_cluster(tmp_path, wan_traces):
    result, timeline = tmp_path / "r.jsonl", tmp_path / "t.json"
    done = run("simulate", wan_traces, "--cluster", ROOT / "configs/clusters/8x-rtx4090.yaml", "--result", result, "--timeline", timeline)
    assert done.returncode == 0, done.stderr
    assert "8x-rtx4090" in done.stdout
    line = json.loads(result.read_text())
    assert line["kind"] == "simulated" and line["source_kind"] == "traced" and line["cluster"]["name"] == "8x-rtx4090"
    assert 0 < line["first_block_s"] <= line["latency_s"]
    for rank in line["per_rank"]:
        assert rank["compute_s"] + rank["communication_s"] + rank["idle_s"] == pytest.approx(line["latency_s"], rel=1e-3)
    events = [e for e in json.loads(timeline.read_text())["traceEvents"] if e["ph"] == "X"]
    assert max(e["ts"] + e["dur"] for e in events) == pytest.approx(1e6 * line["latency_s"], rel=0.05)
    again = tmp_path / "again.jsonl"
    run("simulate", wan_traces, "--cluster", ROOT / "configs/clusters/8x-rtx4090.yaml", "--result", again)
    assert json.loads(again.read_text())["latency_s"] == line["latency_s"]


def test_a_device_with_too_little_memory_is_a_result_and_an_error(tmp_path, wan_traces):
    text = (ROOT / "configs/clusters/8x-rtx4090.yaml").read_text().replace("25757220864", "2e9")
    (tmp_path / "small.yaml").write_text(text)
    done = run("simulate", wan_traces, "--cluster", tmp_path / "small.yaml", "--result", tmp_path / "r.jsonl")
    check_refused(done, {1}, ["out of memory", "rank", "GiB"])
    line = json.loads((tmp_path / "r.jsonl").read_text())
    assert line["status"] == "failed" and line["latency_s"] is None and line["latency_without_memory_limit_s"] > 0


def test_what_cannot_be_simulated(tmp_path, wan_traces):
    cluster = ROOT / "configs/clusters/8x-rtx4090.yaml"
    check_refused(run("simulate", tmp_path, "--cluster", cluster), {1}, ["run.json"])
    check_refused(run("simulate", wan_traces, "--cluster", tmp_path / "no.yaml"), {1}, ["no.yaml"])
    check_refused(run("simulate", wan_traces, "--cluster", cluster, "--compute", "measured"), {1}, ["without times"])
    check_refused(run("simulate", wan_traces, "--cluster", cluster, "--compute", "guess"), {2}, ["guess"])
    check_refused(run("simulate", wan_traces), {2}, ["--cluster"])


def test_a_measured_run_calibrates_a_cluster_and_is_replayed(tmp_path):
    line_of(tmp_path, *BLOCKS, "--nproc", 2, "--no-decode", "--no-quality", "--traces", tmp_path / "real")
    described, calibrated = ROOT / "configs/clusters/2x-cpu-core.yaml", tmp_path / "c.yaml"
    done = run("calibrate", tmp_path / "real", "--cluster", described, "--output", calibrated)
    assert done.returncode == 0, done.stderr
    assert "calibrated in fp32" in calibrated.read_text()
    done = run("simulate", tmp_path / "real", "--cluster", calibrated, "--result", tmp_path / "r.jsonl")
    assert done.returncode == 0, done.stderr
    line = json.loads((tmp_path / "r.jsonl").read_text())
    assert line["source_kind"] == "measured" and line["latency_s"] > 0
    check_refused(run("calibrate", tmp_path, "--cluster", described, "--output", calibrated), {1}, ["run.json"])


def test_emulated_ranks_calibrate_no_links(tmp_path):
    line_of(tmp_path, *BLOCKS, "--mode", "emulate", "--world-size", 2, "--traces", tmp_path / "emulated")
    done = run("calibrate", tmp_path / "emulated", "--cluster", ROOT / "configs/clusters/2x-cpu-core.yaml", "--output", tmp_path / "c.yaml")
    assert done.returncode == 0 and "and 0 messages" in done.stdout, done.stdout + done.stderr


EXPERIMENT = """
name: traced
mode: trace
clusters: [8x-rtx4090, small.yaml]
base: {prompt: x, frames: 61, steps: 2, world-size: 2}
strategies: [ring, dualparal]
"""


def test_an_experiment_traces_once_and_simulates_on_every_cluster(tmp_path):
    text = (ROOT / "configs/clusters/8x-rtx4090.yaml").read_text()
    (tmp_path / "small.yaml").write_text(text.replace("name: 8x-rtx4090", "name: small").replace("25757220864", "1.08e9"))
    (tmp_path / "e.yaml").write_text(EXPERIMENT)
    done = run("bench", tmp_path / "e.yaml", "--output", tmp_path / "out", "--jobs", 2)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(text) for text in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert sorted((x["strategy"], x["kind"], (x.get("cluster") or {}).get("name"), x["status"]) for x in lines) == sorted(
        (strategy, kind, cluster, status) for strategy in ("ring", "dualparal")
        for kind, cluster, status in (("traced", None, "ok"), ("simulated", "8x-rtx4090", "ok"), ("simulated", "small", "failed")))
    assert "out of memory" in (tmp_path / "out/report.md").read_text()
    assert not list((tmp_path / "out").glob(".job*"))
    # One line lost: only that one is made again.
    kept = [x for x in lines if not (x["strategy"] == "ring" and (x.get("cluster") or {}).get("name") == "8x-rtx4090")]
    (tmp_path / "out/results.jsonl").write_text("".join(json.dumps(x) + "\n" for x in kept))
    done = run("bench", tmp_path / "e.yaml", "--output", tmp_path / "out")
    assert done.returncode == 0 and "6 points, 1 to do" in done.stderr, done.stderr
    assert len((tmp_path / "out/results.jsonl").read_text().splitlines()) == 6

    (tmp_path / "e.yaml").write_text(EXPERIMENT.replace("small.yaml", "nowhere"))
    check_refused(run("bench", tmp_path / "e.yaml", "--output", tmp_path / "no"), {2}, ["e.yaml:4", "nowhere"])
    (tmp_path / "e.yaml").write_text(EXPERIMENT.replace("mode: trace", "mode: run").replace("world-size: 2", "nproc: 2"))
    check_refused(run("bench", tmp_path / "e.yaml", "--output", tmp_path / "no"), {2}, ["clusters", "mode: trace"])
