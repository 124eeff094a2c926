# SPDX-License-Identifier: Apache-2.0
"""What must not end as if all were well: numbers that are none, strange files, closed and full streams."""
import json
import os
import resource
import shutil
import signal
import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file

from test_program import FAST, MODEL, PROGRAM, ROOT, check_refused, run

SHORT = ["generate", *FAST, "--prompt", "a red circle", "--frames", 5]
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


def model_with(folder, part, change):
    """A copy of the embedded model in which change(tensors) was done to a part's weights."""
    shutil.copytree(MODEL, folder)
    file = folder / part
    tensors = {name: tensor.float().clone() for name, tensor in load_file(file).items()}
    change(tensors)
    save_file(tensors, file)
    return folder


def last_error(done):
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and done.stderr.splitlines()[-1] == errors[0], done.stderr
    return errors[0]


@pytest.mark.parametrize("flag", ["--guidance-scale", "--guidance-scale-2", "--flow-shift"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_flags_that_are_no_numbers_are_refused(flag, value):
    check_refused(run(*SHORT, flag, value), {2}, [flag, value])


@pytest.mark.parametrize("part, name", [
    (WEIGHTS, "proj_out.weight"), ("vae/diffusion_pytorch_model.safetensors", "post_quant_conv.bias"),
    ("text_encoder/model.safetensors", "shared.weight")])
def test_weights_that_are_not_finite_are_refused(tmp_path, part, name):
    def change(tensors):
        tensors[name].view(-1)[3] = float("nan")

    error = last_error(run(*SHORT, "--model", model_with(tmp_path / "m", part, change), "--output", tmp_path / "v.mp4"))
    assert str(tmp_path / "m" / part) in error and f"'{name}'" in error and "nan" in error
    assert sorted(os.listdir(tmp_path)) == ["m"]


def test_noise_and_embeddings_that_are_not_finite_are_refused(tmp_path):
    noise, embeds = tmp_path / "noise.safetensors", tmp_path / "embeds.safetensors"
    assert run(*SHORT, "--save-noise", noise, "--save-prompt-embeds", embeds, "--no-decode").returncode == 0
    for file, flag, name in ((noise, "--initial-noise", "noise"), (embeds, "--prompt-embeds", "negative_prompt_embeds")):
        tensors = load_file(file)
        tensors[name].view(-1)[-1] = float("inf")
        save_file(tensors, file)
        arguments = SHORT if flag == "--initial-noise" else [a for a in SHORT if a not in ("--prompt", "a red circle")]
        error = last_error(run(*arguments, flag, file))
        assert flag in error and str(file) in error and f"'{name}'" in error and "inf" in error


def too_large_for_fp16(tensors):
    tensors["proj_out.weight"] *= 6e4 / tensors["proj_out.weight"].abs().max()


@pytest.mark.parametrize("strategy", ["single", "dualparal", "ring", "video_infinity", "fifo", "naive_pipeline"])
def test_a_prediction_that_overflows_fp16_ends_the_run(tmp_path, strategy):
    model, result = model_with(tmp_path / "m", WEIGHTS, too_large_for_fp16), tmp_path / "r.jsonl"
    ranks = 1 if strategy == "single" else 2
    arguments = [*SHORT, "--model", model, "--strategy", strategy, "--nproc", ranks, "--result", result,
                 "--output", tmp_path / "v.mp4"]
    error = last_error(run(*arguments, "--dtype", "fp16"))
    for word in ("step 0", "not finite", "fp16", "--dtype"):
        assert word in error
    assert "block" in error or "frames" in error
    assert sorted(os.listdir(tmp_path)) == ["m"]


def test_latents_that_are_not_finite_are_not_compared(tmp_path):
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert run(*SHORT, "--save-latents", a, "--no-decode").returncode == 0
    latents = load_file(a)["latents"]
    latents[0, 3, 1, 2, 1] = float("nan")
    save_file({"latents": latents}, b)
    for pair in ((a, b), (b, a)):
        error = last_error(run("compare", pair[0], "--reference", pair[1]))
        assert str(b) in error and "nan" in error
    error = last_error(run(*SHORT, "--reference-latents", b, "--no-decode", "--result", tmp_path / "r.jsonl"))
    assert str(b) in error and "nan" in error and "denois" not in error and not (tmp_path / "r.jsonl").exists()


def test_too_few_files_end_a_run_by_name(tmp_path):
    """As after `ulimit -n`: whichever part comes first without one says so, and nothing is left but what plays."""
    codes = set()
    for files in (5, 7, 9, 11, 64):
        done = subprocess.run([PROGRAM, *map(str, SHORT), "--output", tmp_path / "v.mp4"], capture_output=True, text=True,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))
        codes.add(done.returncode)
        if done.returncode:
            assert "Too many open files" in last_error(done), files
            assert set(os.listdir(tmp_path)) <= {"v.partial.mp4"}, files
        else:
            assert os.listdir(tmp_path) == ["v.mp4"], files
        for file in tmp_path.iterdir():
            file.unlink()
    assert codes == {0, 1}


def test_names_that_no_result_line_can_hold_are_refused_before_the_work(tmp_path):
    done = subprocess.run([PROGRAM, *map(str, SHORT), "--no-decode", "--result", tmp_path / "r.jsonl", "--initial-noise",
                           b"noise\xff.safetensors"], capture_output=True)
    assert done.returncode == 2 and b"--initial-noise" in done.stderr and b"UTF-8" in done.stderr
    assert not os.listdir(tmp_path)


def test_two_runs_with_one_path_for_latents_do_not_mix(tmp_path):
    latents = tmp_path / "l.safetensors"
    long = ["generate", "--prompt", "x", "--frames", 1025, "--steps", 50, "--threads", 1, "--no-decode", "--quiet",
            "--save-latents", latents]
    first = subprocess.Popen([PROGRAM, *map(str, long)], stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.iterdir()) and first.poll() is None:
        pass
    error = last_error(run(*SHORT, "--save-latents", latents))
    assert "another run" in error and str(latents) in error and "--save-latents" in error
    assert first.poll() is None
    first.kill()
    first.communicate()
    assert run(*SHORT, "--save-latents", latents).returncode == 0
    assert load_file(latents)["latents"].shape[2] == 2 and os.listdir(tmp_path) == ["l.safetensors"]


def test_json_that_nests_too_deep_is_refused(tmp_path):
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    model = tmp_path / "m"
    shutil.copytree(MODEL, model)
    (model / "transformer/config.json").write_text(deep)
    error = last_error(run(*SHORT, "--model", model))
    assert str(model / "transformer/config.json") in error and "deeper" in error
    for header in (deep, '{"__metadata__": ' + deep + "}"):
        file = tmp_path / "deep.safetensors"
        file.write_bytes(len(header).to_bytes(8, "little") + header.encode())
        error = last_error(run(*SHORT, "--initial-noise", file))
        assert str(file) in error and "deeper" in error
    (tmp_path / "r.jsonl").write_text(deep + "\n")
    assert str(tmp_path / "r.jsonl") in last_error(run("report", tmp_path / "r.jsonl"))
    traces = tmp_path / "traces"
    assert run(*SHORT, "--mode", "trace", "--traces", traces).returncode == 0
    for name in ("rank_00000.jsonl", "run.json"):
        (traces / name).write_text(deep)
        error = last_error(run("simulate", traces, "--cluster", ROOT / "configs/clusters/8x-rtx4090.yaml"))
        assert name in error and "deeper" in error


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]])
def test_closed_standard_streams_do_not_become_files(tmp_path, closed):
    """The next file that is opened would get the number of the stream, and what is meant for it."""
    video, latents = tmp_path / "v.mp4", tmp_path / "l.safetensors"
    arguments = [a for a in SHORT if a != "--quiet"]

    def close():
        for number in closed:
            os.close(number)

    done = subprocess.run([PROGRAM, *map(str, arguments), "--output", video, "--save-latents", latents],
                          preexec_fn=close)
    assert done.returncode == 0
    assert run(*arguments, "--output", tmp_path / "w.mp4", "--save-latents", tmp_path / "k.safetensors").returncode == 0
    assert latents.read_bytes() == (tmp_path / "k.safetensors").read_bytes()
    assert video.read_bytes() == (tmp_path / "w.mp4").read_bytes()


def test_a_full_standard_output_is_a_failure(tmp_path):
    latents, result, traces = tmp_path / "l.safetensors", tmp_path / "r.jsonl", tmp_path / "traces"
    assert run(*SHORT, "--save-latents", latents, "--result", result, "--traces", traces).returncode == 0
    for arguments in (["--help"], ["generate", "--help"], ["--version"], ["strategies"], ["inspect", MODEL],
                      ["report", result], ["compare", latents, "--reference", latents, "--no-decode"],
                      ["simulate", traces, "--cluster", ROOT / "configs/clusters/2x-cpu-core.yaml"],
                      [a for a in SHORT if a != "--quiet"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([PROGRAM, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, text=True)
        last = done.stderr.splitlines()[-1]
        assert done.returncode == 1 and last.startswith("error: cannot write to"), (arguments, done.stderr)


def test_outputs_do_not_take_the_place_of_devices_pipes_and_links(tmp_path):
    null, pipe, link = tmp_path / "null", tmp_path / "pipe.mp4", tmp_path / "link.mp4"
    os.mknod(null, 0o666 | 0o020000, os.makedev(1, 3)) if os.geteuid() == 0 else null.symlink_to("/dev/null")
    assert run(*SHORT, "--timeline", null).returncode == 0
    assert null.is_char_device()
    os.mkfifo(pipe)
    assert str(pipe) in last_error(run(*SHORT, "--output", pipe)) and pipe.is_fifo()
    (tmp_path / "videos").mkdir()
    link.symlink_to("videos/v.mp4")
    assert run(*SHORT, "--output", link).returncode == 0
    assert link.is_symlink() and (tmp_path / "videos/v.mp4").stat().st_size > 500


def test_a_pipe_as_input_is_refused(tmp_path):
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)  # nobody writes to it
    cluster = ROOT / "configs/clusters/8x-rtx4090.yaml"
    for arguments in (["bench", pipe], ["report", pipe], [*SHORT, "--initial-noise", pipe],
                      ["simulate", tmp_path, "--cluster", pipe], ["calibrate", tmp_path, "--cluster", pipe, "--output", "x"],
                      ["compare", pipe, "--reference", pipe]):
        if arguments[0] in ("simulate", "calibrate"):
            assert run(*SHORT, "--mode", "trace", "--traces", tmp_path).returncode == 0
        error = last_error(run(*arguments))
        assert str(pipe) in error and "a pipe" in error
    (tmp_path / "run.json").unlink()
    os.mkfifo(tmp_path / "run.json")
    assert "a pipe" in last_error(run("simulate", tmp_path, "--cluster", cluster))


def test_a_file_that_grows_beyond_its_limit_is_a_full_disk(tmp_path):
    import resource
    done = run(*SHORT, "--save-latents", tmp_path / "l.safetensors", "--no-decode",
               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)))
    assert "File too large" in last_error(done)
    assert not os.listdir(tmp_path)


def test_a_killed_rank_leaves_no_hidden_video(tmp_path):
    from test_ranks import BLOCKS, end_of, start, wait_until
    child, ranks = start(*[a for a in BLOCKS if a != "--no-decode"], "--frames", 1025, "--steps", 50, "--output", tmp_path / "v.mp4")
    assert wait_until(lambda: os.listdir(tmp_path))
    os.kill(ranks[0], signal.SIGKILL)
    assert "rank 0 was killed" in end_of(child)
    assert not os.listdir(tmp_path)
    (tmp_path / ".v.999999999.partial.mp4").write_text("of a run that was killed, launcher and all")
    assert run(*SHORT, "--output", tmp_path / "v.mp4").returncode == 0
    assert os.listdir(tmp_path) == ["v.mp4"]


def test_deadlocked_traces_are_no_result(tmp_path):
    traces, result = tmp_path / "traces", tmp_path / "r.jsonl"
    flags = ["--strategy", "ring", "--mode", "trace", "--world-size", 2]
    assert run(*SHORT, *flags, "--traces", traces).returncode == 0
    for rank in range(2):
        file = traces / f"rank_{rank:05}.jsonl"
        head, *events = file.read_text().splitlines()
        events.sort(key=lambda line: json.loads(line)[0] != 2)  # all receives first
        file.write_text("\n".join([head, *events]) + "\n")
    error = last_error(run("simulate", traces, "--cluster", ROOT / "configs/clusters/8x-rtx4090.yaml", "--result", result))
    for word in ("wait for each other", "rank 0 at event 1 of", "waiting for rank 1", "rank 1 at event 1 of", "layers"):
        assert word in error
    assert not result.exists()
