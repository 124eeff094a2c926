# SPDX-License-Identifier: Apache-2.0
"""The Python module: what it starts, what it gives back, what it raises, how it stops."""
import dataclasses
import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_program import MODEL, PROGRAM, ROOT

sys.path.insert(0, str(ROOT / "python"))
import dualparal  # noqa: E402
from dualparal import process  # noqa: E402

SMALL = dict(frames=5, steps=1, threads=1, quiet=True)


@pytest.fixture(autouse=True)
def program(monkeypatch):
    monkeypatch.setenv("DUALPARAL_PROGRAM", str(PROGRAM))


def test_a_result_has_every_field_of_a_line(tmp_path):
    made = dualparal.generate("a red circle", result=tmp_path / "r.jsonl", **SMALL)
    line = json.loads((tmp_path / "r.jsonl").read_text())
    names = {field.name for field in dataclasses.fields(dualparal.Result)} - {"line"}
    assert names == set(line), "a field that lines have: add it to python/dualparal/results.py"
    assert {field.name for field in dataclasses.fields(dualparal.RankResult)} == set(line["per_rank"][0])
    for name in names - {"per_rank"}:
        assert getattr(made.result, name) == line[name] or line[name] is None, name
    assert made.result.per_rank[0].weights_bytes == line["per_rank"][0]["weights_bytes"] > 1e6
    read, = dualparal.read_results(tmp_path / "r.jsonl")
    assert dataclasses.replace(read, line={}) == dataclasses.replace(made.result, line={}) and read.line["config"] == line["config"]


def test_latents_noise_and_embeddings_go_both_ways(tmp_path):
    noise = torch.randn(1, 16, 2, 8, 12, generator=torch.Generator().manual_seed(1))
    first = dualparal.generate("a red circle", initial_noise=noise, latents="torch",
                               save_prompt_embeds=tmp_path / "e.safetensors", **SMALL)
    assert first.latents.shape == noise.shape and first.latents.dtype == torch.float32 and first.output is None
    embeds = dualparal.load_tensors(tmp_path / "e.safetensors")
    second = dualparal.generate(initial_noise=noise.numpy()[:, :, ::-1].copy()[:, :, ::-1], latents="numpy",
                                save_latents=tmp_path / "l.safetensors", **embeds, **SMALL)
    assert isinstance(second.latents, np.ndarray)
    assert np.array_equal(second.latents, first.latents.numpy())
    assert torch.equal(load_file(tmp_path / "l.safetensors")["latents"], first.latents)
    other = dualparal.generate("a red circle", initial_noise=noise + 1, latents="numpy", **SMALL)
    assert not np.array_equal(other.latents, second.latents)
    save_file({"noise": noise}, tmp_path / "n.safetensors")
    by_file = dualparal.generate("a red circle", initial_noise=tmp_path / "n.safetensors", latents="torch", **SMALL)
    assert torch.equal(by_file.latents, first.latents)


def test_a_list_of_prompts_gives_a_list(tmp_path):
    made = dualparal.generate(["a red circle", "a green square"], latents="numpy", output=tmp_path / "v.mp4", **SMALL)
    assert [one.result.config["prompt"] for one in made] == ["a red circle", "a green square"]
    assert [one.output.name for one in made] == ["v-1.mp4", "v-2.mp4"] and all(one.output.exists() for one in made)
    alone = dualparal.generate("a green square", latents="numpy", **SMALL)
    assert np.array_equal(made[1].latents, alone.latents) and not np.array_equal(made[0].latents, alone.latents)
    with pytest.raises(ValueError, match="one line"):
        dualparal.generate(["a\nb"], **SMALL)


def test_a_pipeline_of_diffusers_is_a_model():
    from diffusers import WanPipeline

    pipeline = WanPipeline.from_pretrained(MODEL, torch_dtype=torch.float32)
    with torch.no_grad():
        pipeline.transformer.proj_out.bias += 1
    flags = dict(seed=3, height=64, width=96, fps=8, latents="numpy", **SMALL)
    changed = dualparal.generate("a red circle", model=pipeline, **flags).latents
    assert not np.allclose(changed, dualparal.generate("a red circle", **flags).latents)
    with pytest.raises(TypeError, match="folder or a diffusers pipeline, got int"):
        dualparal.generate("a", model=3)


def test_flags_are_the_programs():
    flags = dualparal.generation.flags_of({"guidance_scale": 4, "lora": ["a", "b:0.5"], "seed": None, "no_decode": True,
                                           "quiet": False, "feature_cache": False, "prompt": "-1"})
    assert flags == ["--guidance-scale=4", "--lora=a", "--lora=b:0.5", "--no-decode", "--feature-cache=off", "--prompt=-1"]


def test_errors_are_exceptions_with_the_programs_words():
    with pytest.raises(dualparal.UsageError, match=r"--frames: expected a positive number, got 0") as caught:
        dualparal.generate("a", frames=0)
    assert caught.value.exit_code == 2 and isinstance(caught.value, ValueError) and "error:" not in str(caught.value)
    with pytest.raises(dualparal.ProgramError, match="/nowhere") as caught:
        dualparal.generate("a", model="/nowhere")
    assert caught.value.exit_code == 1 and not isinstance(caught.value, dualparal.UsageError)
    with pytest.raises(dualparal.UsageError, match="--strategyy.*did you mean '--strategy'"):
        dualparal.generate("a", strategyy="ring")
    with pytest.raises(ValueError, match="'numpy' or 'torch', got 'jax'"):
        dualparal.generate("a", latents="jax")
    with pytest.raises(TypeError, match="goes with prompt_embeds"):
        dualparal.generate(negative_prompt_embeds=np.zeros(3))


def test_no_program_is_an_error_that_says_where_it_was_looked_for(monkeypatch):
    monkeypatch.setenv("DUALPARAL_PROGRAM", "/nowhere/dualparal")
    with pytest.raises(dualparal.ProgramNotFound, match="DUALPARAL_PROGRAM=/nowhere/dualparal"):
        dualparal.generate("a")


def test_words_pass_through_and_the_error_line_does_not(tmp_path, monkeypatch, capsys):
    script = tmp_path / "program"
    monkeypatch.setenv("DUALPARAL_PROGRAM", str(script))

    def says(text, code):
        script.write_text(f"#!/bin/sh\nprintf '{text}' >&2\nexit {code}\n")
        script.chmod(0o755)

    says("# step 1\\rerr\\nerrors, none\\nerror: rank 1: \\303\\244\\n", 1)
    with pytest.raises(dualparal.ProgramError, match="^rank 1: ä$"):
        dualparal.run("x")
    assert capsys.readouterr().err == "# step 1\rerr\nerrors, none\n"
    with pytest.raises(dualparal.ProgramError):
        dualparal.run("x", quiet=True)
    assert capsys.readouterr().err == ""
    says("no error line", 3)
    with pytest.raises(dualparal.ProgramError, match="^no error line$"):
        dualparal.run("x")
    says("", 3)
    with pytest.raises(dualparal.ProgramError, match="exit code 3"):
        dualparal.run("x")
    script.write_text("#!/bin/sh\nkill -9 $$\n")
    with pytest.raises(dualparal.ProgramError, match="SIGKILL") as caught:
        dualparal.run("x")
    assert caught.value.exit_code == -9


def test_progress_shows(capfd):
    dualparal.generate("a red circle", frames=5, steps=2, threads=1)
    assert re.search(r"single: step 2/2, done", capfd.readouterr().err)


def test_progress_on_a_terminal_is_one_line():
    ours, theirs = pty.openpty()
    code = "import dualparal; dualparal.generate('a red circle', frames=5, steps=2, threads=1)"
    child = subprocess.Popen([sys.executable, "-c", code], stderr=theirs, env=dict(os.environ, PYTHONPATH=str(ROOT / "python")))
    os.close(theirs)
    said = b""
    try:
        while data := os.read(ours, 4096):
            said += data
    except OSError:
        pass
    assert child.wait() == 0 and b"\r\x1b[Ksingle: step 2/2, done" in said


def processes_in(folder):
    """Command lines of the processes that work there."""
    found = []
    for process_dir in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (process_dir / "cwd").readlink() == folder:
                found.append((process_dir / "cmdline").read_bytes())
        except OSError:
            pass
    return found


@pytest.mark.parametrize("nproc", [1, 2])
def test_ctrl_c_ends_the_program_in_order(tmp_path, nproc):
    code = ("import dualparal\ntry:\n  dualparal.generate('a red circle', frames=1025, steps=50, threads=1, strategy='fifo', "
            f"nproc={nproc}, output='v.mp4')\nexcept KeyboardInterrupt:\n  print('interrupted')\n")
    child = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=dict(os.environ, PYTHONPATH=str(ROOT / "python")))
    ranks = nproc if nproc == 1 else nproc + 1  # and the one that starts them
    while sum(b"--frames=1025" in words for words in processes_in(tmp_path)) < ranks:
        assert child.poll() is None, child.communicate()
        time.sleep(0.1)
    time.sleep(2)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate()
    assert out == "interrupted\n" and child.returncode == 0, err
    assert nproc > 1 or "nothing of this run is kept" in err
    assert not list(tmp_path.iterdir()) and not processes_in(tmp_path)


def test_bench_and_simulate_give_results(tmp_path):
    (tmp_path / "e.yaml").write_text("name: tiny\nrepeat: 1\nbase: {steps: 1, threads: 1, no-decode: true}\nsweep: {frames: [1]}\n"
                                     "strategies: [single, {name: single, options: {prompt-embeds: /nowhere.safetensors}}]\n")
    results = dualparal.bench(tmp_path / "e.yaml", tmp_path / "out", quiet=True)
    assert [result.status for result in results] == ["ok", "failed"] and "/nowhere" in results[1].error
    with pytest.raises(dualparal.ProgramError, match="absent.yaml"):
        dualparal.bench(tmp_path / "absent.yaml", tmp_path / "out2", quiet=True)
    dualparal.generate("a red circle", mode="trace", strategy="ring", world_size=2, traces=tmp_path / "traces", **SMALL)
    simulated = dualparal.simulate(tmp_path / "traces", "2x-cpu-core")
    assert simulated.kind == "simulated" and simulated.latency_s > 0 and simulated.cluster["name"] == "2x-cpu-core"


def test_the_example_beside_diffusers():
    done = subprocess.run([sys.executable, ROOT / "examples/beside_diffusers.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    single, ring = [float(row.split(": ")[1].split()[0]) for row in done.stdout.strip().splitlines()]
    assert 0 < single < 1e-4 and 0 < ring < 1e-4, done.stdout  # of the largest number


def test_python_m_is_the_program():
    done = subprocess.run([sys.executable, "-m", "dualparal", "strategies"], capture_output=True, text=True,
                          env=dict(os.environ, PYTHONPATH=str(ROOT / "python")))
    assert done.returncode == 0 and "dualparal" in done.stdout and done.stdout.startswith("single")


def test_words_of_a_run_are_split_where_the_pipe_split_them():
    shown = []
    words = process._Words(shown.append)
    for piece in ("er", "ro", "rs\n", "err", "or: x", "y\n"):
        words.push(piece.encode())
    assert "".join(shown) == "errors\n" and words.error == "xy"
