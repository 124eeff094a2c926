# SPDX-License-Identifier: Apache-2.0
"""`--backend nccl` as far as it goes without a GPU: its module is there and loads, and what is missing is named."""
import ctypes
import json
import os
import pathlib
import shutil
import subprocess

import pytest
import torch

from test_program import FAST, PROGRAM, ROOT, check_refused, run

MODULE = PROGRAM.parent / "libdualparal_nccl.so"
NCCL = ["generate", *FAST, "--no-decode", "--backend", "nccl"]
needs_module = pytest.mark.skipif(not MODULE.exists(), reason="built without CUDA's headers: see cmake's line on NCCL")


@pytest.mark.parametrize("arguments, words", [
    ([*NCCL], ["--backend nccl", "--device cuda", "cpu", "--backend gloo"]),
    ([*NCCL, "--device", "cpu", "--strategy", "dualparal", "--nproc", 2], ["--backend nccl", "cpu"]),
    (["generate", *FAST, "--backend", "mpi"], ["--backend", "gloo or nccl", "mpi"]),
])
def test_wrong_usage(arguments, words):
    check_refused(run(*arguments), {2}, words)


def copy_of_program(folder, module=None):
    program = folder / "dualparal"
    shutil.copy2(PROGRAM, program)
    if module is not None:
        (folder / MODULE.name).write_bytes(module)
    return program


def refused(program, words, *arguments):
    result = subprocess.run([program, *NCCL, "--device", "cuda", *map(str, arguments)], capture_output=True, text=True,
                            timeout=120)
    check_refused(result, {1}, words)
    assert result.stderr.count("error: ") == 1, result.stderr


def test_a_missing_module_is_named(tmp_path):
    program = copy_of_program(tmp_path)
    for ranks in (1, 2):  # once, whatever the number of ranks
        refused(program, ["--backend nccl", str(tmp_path / MODULE.name), "not there", "--backend gloo"],
                "--strategy", "dualparal", "--nproc", ranks)


def test_a_damaged_module_is_named(tmp_path):
    program = copy_of_program(tmp_path, b"not a library")
    refused(program, ["--backend nccl", str(tmp_path / MODULE.name), "could not be loaded"])


def test_another_library_is_refused(tmp_path):
    other = pathlib.Path(torch.__file__).parent / "lib" / "libgomp.so.1"
    program = copy_of_program(tmp_path, other.read_bytes())
    refused(program, ["--backend nccl", MODULE.name, "not this program's module"])


@needs_module
def test_the_module_loads_into_libtorch():
    module = ctypes.CDLL(str(MODULE))  # every symbol that it needs is there
    module.dualparal_nccl_module.restype = ctypes.POINTER(ctypes.c_char_p)
    version = module.dualparal_nccl_module()[0].decode()
    assert version in run("--version").stdout


@needs_module
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("ranks", [1, 2])
def test_without_a_gpu_it_is_the_gpu_that_is_missing(ranks):
    # The program loaded module and backend before it looked for devices.
    refused(PROGRAM, ["--device cuda", "0 CUDA device"], "--strategy", "dualparal", "--nproc", ranks)


def test_a_bundle_takes_the_module_along(tmp_path):
    if PROGRAM.parent != ROOT / "build":
        pytest.skip("./run bundle takes the program of build/")
    done = subprocess.run([ROOT / "run", "bundle", tmp_path / "bundle"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundle" / MODULE.name).exists() == MODULE.exists()
    environment = dict(os.environ, TORCH=str(pathlib.Path(torch.__file__).parent))
    listed = subprocess.run([tmp_path / "bundle" / "run", "strategies"], capture_output=True, text=True, env=environment)
    assert listed.returncode == 0 and "dualparal" in listed.stdout


def test_what_the_libraries_were_told_is_in_the_line(tmp_path):
    line = tmp_path / "line.jsonl"
    told = {"NCCL_ALGO": "Ring", "CUDA_DEVICE_MAX_CONNECTIONS": "8", "OMP_NUM_THREADS": "1"}
    done = run("generate", *FAST, "--frames", 5, "--no-decode", "--result", line,
               env={**os.environ, **told, "MY_NCCL_TOKEN": "secret", "NCCL": "no"})
    assert done.returncode == 0, done.stderr
    provenance = json.loads(line.read_text())["provenance"]
    assert told.items() <= provenance["environment"].items()
    assert not {"MY_NCCL_TOKEN", "NCCL", "PATH", "HOME"} & provenance["environment"].keys()
    assert [provenance[of_gpu] for of_gpu in ("cudnn", "tf32", "gpu_state")] == [None] * 3  # of a CPU
    assert provenance["attention"] == "flash_for_cpu"
