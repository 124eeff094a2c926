# SPDX-License-Identifier: Apache-2.0
"""./run gpu, rehearsed on the CPU: killed and resumed, marked as what it is, and able to fail."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from test_program import PROGRAM, ROOT

GPU = ROOT / "tools/gpu"
sys.path.insert(0, str(GPU))
import kernels  # noqa: E402
import references  # noqa: E402
import tensors  # noqa: E402
from context import Context  # noqa: E402
from pieces import all_pieces, calibrate  # noqa: E402

PROBE = PROGRAM.parent / "tests/parity_probe"
CUT_DOWN = ["single/as-it-is", "emulated/dualparal-17", "emulated/ring-17", "emulated/naive_pipeline-17",
            "emulated/video_infinity-17", "calibrate", "spin", "parts/vae-bf16", "headline", "sanitizer/memcheck"]


def command(folder, *arguments, data="nowhere"):
    return [str(word) for word in (
        sys.executable, GPU / "batch.py", "--program", PROGRAM, "--probe", PROBE, "--unit-tests", PROGRAM.parent / "tests/unit_tests",
        "--data", data, "--results", folder, "--into", folder / "out", *arguments)]


def batch(folder, *arguments, data="nowhere"):
    return subprocess.run(command(folder, *arguments, data=data), capture_output=True, text=True)


def lines_of(folder, name="steps.jsonl"):
    return [json.loads(line) for line in (folder / "out" / name).read_text().splitlines()]


def processes_of(folder):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if str(folder) in pathlib.Path(f"/proc/{pid}/cmdline").read_text():
                found.append(pid)
        except OSError:
            pass
    return found


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    """A cut-down rehearsal that was killed in its second step, torn in its last line, and went on."""
    folder = tmp_path_factory.mktemp("rehearsal")
    child = subprocess.Popen(command(folder, "--rehearse", "--only", *CUT_DOWN), stderr=subprocess.DEVNULL)
    log = folder / "out/logs/emulated.dualparal-17.log"
    while not log.exists():
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = (folder / "out/steps.jsonl").read_text()
    with (folder / "out/steps.jsonl").open("a") as out:
        out.write('{"schema": 1, "piece": "emul')
    done = batch(folder, "--rehearse", "--only", *CUT_DOWN)
    return folder, before, done


def test_a_killed_rehearsal_goes_on_and_repeats_nothing(rehearsed):
    folder, before, done = rehearsed
    assert done.returncode == 0, done.stderr
    text = (folder / "out/steps.jsonl").read_text()
    assert before.count("\n") == 1 and text.startswith(before)  # the first step's line, once
    names = [f"{line['piece']}/{line['step']}" for line in lines_of(folder)]
    assert len(names) == len(set(names)) and names[:3] == CUT_DOWN[:3]
    assert {name.split("/")[0] for name in names} == {name.split("/")[0] for name in CUT_DOWN}
    assert "piece\": \"emul" in (folder / "out/steps.jsonl.unfinished").read_text()
    assert not (folder / "out/.scratch").exists() and not processes_of(folder)
    again = batch(folder, "--rehearse", "--only", *CUT_DOWN)
    assert again.returncode == 0 and (folder / "out/steps.jsonl").read_text() == text


def test_nothing_of_a_rehearsal_looks_like_a_gpus(rehearsed):
    folder, _, _ = rehearsed
    for line in lines_of(folder):
        assert line["rehearsal"] is True and line["device"] == "cpu" and "NVIDIA" not in line["device_name"]
        assert line["kind"] in ("check", "measured", "emulated", "simulated") and line["status"] in ("ok", "skipped"), line
    results = lines_of(folder, "results.jsonl")
    assert {line["experiment"] for line in results} == {"gpu batch, REHEARSED ON A CPU"}
    assert {line["kind"] for line in results} == {"measured", "emulated", "simulated"}
    assert all(line["device"] == "cpu" and line["model"] == "moving-shapes" and line["provenance"]["gpu"] is None for line in results)
    report = (folder / "out/report.md").read_text()
    assert report.startswith("# REHEARSAL on a CPU") and "**REHEARSAL ON A CPU.**" in report
    assert all("rehearsal on a CPU" in head for head in re.findall(r"^## (?!Failed).*", report, re.M))
    assert "REHEARSAL" in (folder / "out/cluster-described.yaml").read_text()
    own = subprocess.run([PROGRAM, "report", folder / "out/results.jsonl"], capture_output=True, text=True)
    assert own.returncode == 0 and "emulated" in own.stdout, own.stderr


def test_flags_that_the_short_help_leaves_out_are_known(tmp_path):
    """--kernels is one; it was taken for a flag of other programs, and its step left out."""
    done = batch(tmp_path, "--rehearse", "--only", "single/kernels-aten")
    line, = lines_of(tmp_path)
    assert done.returncode == 0 and line["status"] == "ok", line


def test_half_of_the_points_are_fitted_and_the_others_judge(rehearsed):
    folder, _, _ = rehearsed
    found = {line["step"]: line for line in lines_of(folder) if line["piece"] == "calibrate"}
    fitted, judged = found["fit"]["figures"]["fitted_to"], found["judge"]["figures"]["judged_by"]
    assert len(fitted) == 2 and len(judged) == 2 and not set(fitted) & set(judged)
    assert found["judge"]["figures"]["median_absolute_error"] < 10
    for line in next(line for line in lines_of(folder) if line["piece"] == "headline")["lines"]:
        assert line["kind"] == "simulated" and line["source_kind"] == "emulated" and line["compute"] == "measured"


def test_another_programs_results_are_refused_or_set_aside(rehearsed):
    folder, _, _ = rehearsed
    identity = folder / "out/batch.json"
    kept = identity.read_text()
    identity.write_text(json.dumps(json.loads(kept) | {"program_sha256": "another"}))
    refused = batch(folder, "--rehearse", "--only", "sanitizer/memcheck")
    assert refused.returncode == 2 and "program_sha256 another" in refused.stderr and "--restart" in refused.stderr
    identity.write_text(json.dumps(json.loads(kept) | {"rehearsal": False}))
    refused = batch(folder, "--rehearse", "--only", "sanitizer/memcheck")
    assert refused.returncode == 2 and "rehearsal False" in refused.stderr
    count = len(lines_of(folder))
    anew = batch(folder, "--rehearse", "--restart", "--only", "sanitizer/memcheck")
    assert anew.returncode == 0 and len(lines_of(folder)) == 1
    assert len((folder / "out/before-1/steps.jsonl").read_text().splitlines()) == count


def test_wrong_calls_are_refused_and_touch_nothing(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("years of work")
    refused = batch(tmp_path, "--rehearse")
    assert refused.returncode == 2 and "neither empty nor the folder of a batch" in refused.stderr
    assert [p.name for p in (tmp_path / "out").iterdir() if p.name != ".lock"] == ["thesis.tex"]
    other = tmp_path / "other"
    other.mkdir()
    for arguments, words in ([("--rehearse", "--only", "prob"), ["prob", "probe", "sanitizer"]], [("--time", "0"), ["--time"]]):
        refused = batch(other, *arguments)
        assert refused.returncode == 2 and all(word in refused.stderr for word in words), refused.stderr
        assert refused.stderr.splitlines()[-1].startswith("error: ") and not list(other.iterdir())
    if not torch.cuda.is_available():
        refused = batch(other)
        assert refused.returncode == 2 and "--rehearse" in refused.stderr and refused.stderr.count("\n") == 1
    listed = batch(other, "--rehearse", "--list")
    assert listed.returncode == 0 and "probe:" in listed.stdout and "  memcheck: to do" in listed.stdout
    assert not list(other.iterdir())


def test_a_step_that_fails_is_a_line_and_the_others_go_on(tmp_path):
    only = ["--only", "probe/references", "calibrate/fit", "sanitizer/memcheck"]
    done = batch(tmp_path, "--rehearse", *only)
    assert done.returncode == 1
    found = {line["step"]: line for line in lines_of(tmp_path)}
    assert found["references"]["status"] == "failed" and "./run bundle" in found["references"]["reason"]
    assert found["fit"]["status"] == "failed" and "at least 3" in found["fit"]["reason"]
    assert found["memcheck"]["status"] == "skipped"
    assert "| probe/references | failed |" in (tmp_path / "out/report.md").read_text()
    batch(tmp_path, "--rehearse", *only)
    assert len(lines_of(tmp_path)) == 3  # failed ones are not repeated unasked
    batch(tmp_path, "--rehearse", "--retry-failed", *only)
    assert len(lines_of(tmp_path)) == 6


def test_time_that_is_used_up_leaves_the_rest_to_the_next_call(tmp_path):
    done = batch(tmp_path, "--rehearse", "--time", "0.003", "--only", "sanitizer/memcheck", "single/as-it-is")
    assert done.returncode == 1 and "the same command goes on" in done.stderr
    assert not (tmp_path / "out/steps.jsonl").exists() and not processes_of(tmp_path)


def test_a_wrong_result_fails_the_probe(tmp_path):
    folder = tmp_path / "data/references"
    folder.mkdir(parents=True)
    one = {"transformer": references.parts()["transformer"]}
    cpu = references.OnCpu(PROBE, folder, tmp_path)
    original, references.parts = references.parts, lambda: one
    try:
        index = {"parts": references.make_parts(cpu, folder), "strategies": []}
    finally:
        references.parts = original
    (folder / "index.json").write_text(json.dumps(index))
    only = ["--rehearse", "--only", "probe/transformer-fp32", "probe/transformer-bf16"]
    done = batch(tmp_path, *only, data=tmp_path / "data")
    assert done.returncode == 0, done.stderr
    file = folder / "transformer.outputs.safetensors"
    save_file({name: tensor * 1.001 for name, tensor in load_file(file).items()}, file)
    done = batch(tmp_path, *only, "--restart", data=tmp_path / "data")
    lines = {line["step"]: line for line in lines_of(tmp_path)}
    assert done.returncode == 1 and lines["transformer-fp32"]["status"] == "failed"
    assert lines["transformer-fp32"]["figures"]["error"] == pytest.approx(1e-3, rel=0.1) and "expected" in lines["transformer-fp32"]["reason"]
    assert lines["transformer-bf16"]["status"] == "ok"  # 0.1 % is less than bf16's own noise


class OnShapes(Context):
    """A GPU's context whose runs are traces: what a GPU would be asked, tried by shapes alone."""

    def generate(self, *arguments, **kwargs):
        words = [str(word) for word in arguments]
        if "--mode" in words:
            words[words.index("--mode") + 1] = "trace"
        for flag in ("--random-weights", "--no-decode"):
            words = [word for word in words if word != flag]
        for flag in ("--prompt-embeds", "--repeats", "--warmup-steps"):  # not of a trace
            if flag in words:
                del words[words.index(flag):words.index(flag) + 2]
        words += ["--prompt", "any"] + ([] if "--mode" in words else ["--mode", "trace"])
        line = super().generate(*words, **kwargs)
        for rank in line["per_rank"]:
            rank["compute_s"] = 1.0
        line["latency_s"] = 3.0
        return line


def gpu_context(folder):
    options = SimpleNamespace(program=PROGRAM, probe=PROBE, unit_tests=PROBE, data=folder, rehearse=False, time=60, libraries="")
    context = OnShapes(options, folder, "cuda:0", {"name": "NVIDIA H200", "device_memory_bytes": 141 << 30})
    context.prepare()
    return context


@pytest.mark.parametrize("piece, steps", [("emulated", None), ("single", ["as-it-is", "halves-in-turn"])])
def test_what_a_gpu_is_asked_is_possible(tmp_path, piece, steps):
    context = gpu_context(tmp_path)
    chosen = next(p for p in all_pieces(context) if p.name == piece)
    for step in chosen.steps:
        if steps is None or step.name in steps:
            context.begin(chosen, step, 600)
            step.run(context)
            line = context.lines[0]
            assert (line["model"], line["dtype"], line["frames"], line["status"]) == ("wan2.1-t2v-1.3b", "bf16", 81, "ok")
            assert line["world_size"] == (8 if piece == "emulated" else 1) and line["experiment"] == "gpu batch"


def test_pieces_of_a_gpu_end_in_time_and_links_are_its_own(tmp_path):
    context = gpu_context(tmp_path)
    pieces = all_pieces(context)
    assert all(piece.limit_s <= 540 and piece.steps for piece in pieces)
    assert [piece.name for piece in pieces][:3] == ["probe", "single", "emulated"]
    names = [f"{piece.name}/{step.name}" for piece in pieces for step in piece.steps]
    assert len(names) == len(set(names))
    text = calibrate.described(context, {"flops_per_s": {"bf16": 7e14}, "memory_bytes_per_s": 4e12})
    assert "of 8x-h100.yaml" in text and "bytes_per_s: 360e9" in text and "REHEARSAL" not in text
    context.device_name = "NVIDIA Unheard-of"
    assert "assumed, PCIe" in calibrate.described(context, {"flops_per_s": {"bf16": 7e14}, "memory_bytes_per_s": 4e12})


def test_tensors_are_safetensors(tmp_path):
    given = {"a": torch.randn(3, 5), "b": torch.arange(4), "c": torch.randn(2, 2).bfloat16(), "none": torch.empty(0, 3)}
    tensors.write(tmp_path / "ours", given, {"kind": "test"})
    save_file(given, tmp_path / "theirs")
    for found in (load_file(tmp_path / "ours"), tensors.read(tmp_path / "theirs")):
        assert found.keys() == given.keys() and all(torch.equal(found[name], given[name]) for name in given)


def test_kernels_are_summed_by_kind(tmp_path):
    (tmp_path / "k.csv").write_text('name,calls,total_ns\n"sm90_xmma_gemm_bf16bf16",10,600\n"void at::native::vectorized_elementwise_kernel<4, a, b>",5,250\n'
                                    '"cudnn_generated_fort_native_sdpa_sm90_flash_fprop",2,100\n"memcpy kind 1",1,50\n"void dualparal::rms_norm<float>",1,0\n')
    found = kernels.summary(tmp_path / "k.csv")
    assert found["share_by_kind"] == {"matrix product": 0.6, "elementwise": 0.25, "attention": 0.1, "copy": 0.05, "module's own": 0.0}
    assert found["calls"] == 19 and found["longest"][0]["share"] == 0.6


def test_the_plain_transformer_is_wans(tmp_path):
    """The yardstick computes what diffusers' model computes, with the same weights."""
    diffusers = pytest.importorskip("diffusers")
    from plain_transformer import PlainWan
    theirs = diffusers.WanTransformer3DModel.from_pretrained(ROOT / "models/moving-shapes/transformer", torch_dtype=torch.float32).eval()
    ours = PlainWan(theirs.config).eval()
    names = [("patch_embedding", "embed"), ("condition_embedder.text_embedder.linear_1", "text.0"), ("condition_embedder.text_embedder.linear_2", "text.2"),
             ("condition_embedder.time_embedder.linear_1", "time.0"), ("condition_embedder.time_embedder.linear_2", "time.2"),
             ("condition_embedder.time_proj", "modulation"), ("proj_out", "head"), ("blocks", "layers"), ("attn1", "seen"), ("attn2", "told"),
             ("to_out.0", "out"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("ffn.net.0.proj", "feed_forward.0"), ("ffn.net.2", "feed_forward.2"),
             ("norm2", "norm"), ("scale_shift_table", "table")]

    def renamed(name):
        for old, new in names:
            name = re.sub(rf"(^|\.){re.escape(old)}(?=\.|$)", rf"\g<1>{new}", name)
        return name

    ours.load_state_dict({renamed(name): tensor for name, tensor in theirs.state_dict().items() if "rope" not in name})
    latents, text = torch.randn(1, 16, 3, 8, 12), torch.randn(1, 32, 64)
    with torch.inference_mode():
        expected = theirs(hidden_states=latents, timestep=torch.tensor([500.0]), encoder_hidden_states=text).sample
        assert tensors.relative_error(ours(latents, torch.tensor([500.0]), text), expected) < 1e-4
