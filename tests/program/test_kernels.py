# SPDX-License-Identifier: Apache-2.0
"""--kernels: what a CUDA device does between products and attention, counted in traces; and the module of CUDA kernels as
far as it goes without a GPU."""
import ctypes
import json
import subprocess
import sys

import pytest

from test_program import FAST, PROGRAM, ROOT, check_refused, run

WAN = ROOT / "configs/models/wan2.1-t2v-1.3b"
MODULE = PROGRAM.parent / "libdualparal_cuda.so"
needs_module = pytest.mark.skipif(not MODULE.exists(), reason="built without nvcc: see cmake's line on CUDA kernels")


def trace(tmp_path, *flags):
    result = tmp_path / "line.jsonl"
    result.unlink(missing_ok=True)
    done = run("generate", "--mode", "trace", "--model", WAN, "--device", "cuda", "--dtype", "bf16", "--prompt", "none",
               "--steps", 1, "--quiet", "--result", result, *flags)
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())


def moved_bytes_a_number(line):
    numbers = line["latent_frames"] * 30 * 52 * 1536 * 2 * 30  # tokens, width, halves of guidance, layers
    return sum(rank["moved_bytes"] for rank in line["per_rank"]) / numbers


def test_fused_kernels_move_a_fifth_of_what_aten_moves(tmp_path):
    single = ["--strategy", "single", "--frames", 81]
    own, aten = trace(tmp_path, *single), trace(tmp_path, *single, "--kernels", "aten")
    assert (own["provenance"]["kernels"], aten["provenance"]["kernels"]) == ("own", "aten")
    assert own["config"]["kernels"] == "auto"
    assert moved_bytes_a_number(own) <= 60
    assert moved_bytes_a_number(aten) >= 4 * moved_bytes_a_number(own)
    assert own["flops"] == pytest.approx(aten["flops"], rel=1e-9)
    assert own["peak_memory_bytes"] < aten["peak_memory_bytes"]


def test_long_videos_take_less_memory(tmp_path):
    gib = 2**30
    assert trace(tmp_path, "--strategy", "single", "--frames", 1025)["peak_memory_bytes"] <= 24 * gib
    blocks = ["--strategy", "dualparal", "--world-size", 8, "--frames", 1025]
    assert trace(tmp_path, *blocks)["peak_memory_bytes"] <= 2.4 * gib


def test_the_table_of_kernels_is_what_a_trace_counts():
    table = subprocess.run([sys.executable, ROOT / "benchmarks/kernel_costs.py", "--check", PROGRAM], capture_output=True,
                           text=True)
    assert table.returncode == 0, table.stdout + table.stderr
    document = (ROOT / "docs/gpu.md").read_text()
    rows = [line for line in table.stdout.splitlines() if line.startswith("|")]
    assert len(rows) > 30
    assert [row for row in rows if row not in document] == []


def test_wrong_usage():
    check_refused(run("generate", *FAST, "--kernels", "mine"), {2}, ["--kernels", "auto, own or aten", "mine"])


def test_a_cpu_has_its_own_kernels_whatever_is_said(tmp_path):
    lines = []
    for choice in ("auto", "own", "aten"):
        done = run("generate", *FAST, "--no-decode", "--kernels", choice, "--result", tmp_path / f"{choice}.jsonl",
                   "--save-latents", tmp_path / f"{choice}.safetensors")
        assert done.returncode == 0, done.stderr
        lines.append(json.loads((tmp_path / f"{choice}.jsonl").read_text()))
    assert {line["provenance"]["kernels"] for line in lines} == {"own"}
    assert len({(tmp_path / f"{choice}.safetensors").read_bytes() for choice in ("auto", "own", "aten")}) == 1


@needs_module
def test_the_module_fits_the_program():
    import torch  # noqa: F401  loads LibTorch's CUDA backend, which the module links

    # Its operators join those that the program registers: alone, it registers kernels for operators of nobody.
    library = ctypes.CDLL(str(MODULE))

    class Module(ctypes.Structure):
        _fields_ = [("program_version", ctypes.c_char_p), ("refusal", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_int))]

    library.dualparal_cuda_module.restype = ctypes.POINTER(Module)
    assert library.dualparal_cuda_module().contents.program_version.decode() == run("--version").stdout.split()[0]
