# SPDX-License-Identifier: Apache-2.0
"""Figures against a reference: what `single` makes from the same noise."""
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from test_program import FAST, MODEL, check_refused, generate, run

BLOCKS = ["--strategy", "dualparal", "--block-frames", 2, "--context-frames", 1]


def quality(*arguments, result, frames=6):
    generate("--result", result, *arguments, frames=frames)
    return json.loads(result.read_text().splitlines()[-1])["quality"]


def frames_of(folder):
    return np.stack([np.asarray(Image.open(file), dtype=np.float64) for file in sorted(folder.glob("*.png"))])


def test_a_run_against_reference_latents(tmp_path):
    reference, result = tmp_path / "reference.safetensors", tmp_path / "r.jsonl"
    none = quality("--seed", 3, "--save-latents", reference, "--save-frames", tmp_path / "a", result=result)
    assert none["psnr_db"] is none["ssim"] is none["latent_relative_error"] is none["reference_error"] is None
    same = quality("--strategy", "ring", "--nproc", 2, "--seed", 3, "--reference-latents", reference, result=result)
    assert same["psnr_db"] > 70 and same["ssim"] > 0.9999 and same["latent_relative_error"] < 1e-5
    other = quality("--seed", 4, "--reference-latents", reference, "--save-frames", tmp_path / "b", result=result)
    assert other["psnr_db"] < 40 and other["ssim"] < 0.99 and other["latent_relative_error"] > 0.1
    # The same from the frames as they were written: six of the nine that the latents decode to.
    difference = frames_of(tmp_path / "a") - frames_of(tmp_path / "b")
    assert len(difference) == 6
    assert other["psnr_db"] == pytest.approx(10 * np.log10(255**2 / (difference**2).mean()), abs=1e-6)
    latents = quality("--seed", 4, "--reference-latents", reference, "--no-decode", result=result)
    assert latents["psnr_db"] is None and latents["latent_relative_error"] == other["latent_relative_error"]
    assert not list(tmp_path.glob("*.partial*"))


def test_a_reference_of_another_video_is_refused(tmp_path):
    reference = tmp_path / "reference.safetensors"
    generate("--save-latents", reference, "--no-decode", frames=5)
    arguments = ["generate", *FAST, "--frames", 9, "--reference-latents", reference]
    check_refused(run(*arguments), [1], [str(reference), "[1, 16, 3, 8, 12]", "[1, 16, 2, 8, 12]"])
    check_refused(run(*arguments, "--no-quality"), [2], ["--reference-latents", "--no-quality"])
    check_refused(run(*arguments, "--mode", "trace"), [2], ["--reference-latents", "trace"])
    check_refused(run("compare", reference, "--reference", "/nowhere"), [1], ["/nowhere"])
    check_refused(run("compare", reference, "--reference", reference, "--frames", 9), [1], ["5 frames"])


EXPERIMENT = """
name: references
repeat: 2
reference: true
base: {steps: 2, threads: 1, frames: 21, seed: 5}
strategies:
  - single
  - {name: ring, options: {nproc: 2}}
  - {name: dualparal, options: {block-frames: 2, context-frames: 1}}
"""


def bench(folder, text, *arguments):
    (folder / "e.yaml").write_text(text)
    done = run("bench", folder / "e.yaml", "--output", folder / "out", *arguments)
    lines = (folder / "out/results.jsonl").read_text().splitlines()
    return done, [json.loads(line) for line in lines]


def test_points_are_compared_with_single_on_their_own_noise(tmp_path):
    done, lines = bench(tmp_path, EXPERIMENT)
    assert done.returncode == 0, done.stderr
    # One reference for frames with noise of their own, one for the blocks' shared noise.
    assert done.stderr.count("# its reference: single") == 2
    compared = {r["strategy"]: r["quality"] for r in lines if r["repeat"] == 0}
    assert compared["single"]["psnr_db"] == 100 and compared["single"]["latent_relative_error"] == 0
    assert compared["ring"]["psnr_db"] > 70 and compared["ring"]["latent_relative_error"] < 1e-5
    assert all(r["quality"]["psnr_db"] is None for r in lines if r["repeat"] == 1)
    assert not (tmp_path / "out/.references").exists()

    common = ["--seed", 5, "--no-decode"]
    noise, ours, theirs = (tmp_path / f"{name}.safetensors" for name in ("noise", "ours", "theirs"))
    generate(*common, *BLOCKS, "--save-noise", noise, "--save-latents", ours, frames=21)
    generate(*common, "--initial-noise", noise, "--save-latents", theirs, frames=21)
    by_hand = run("compare", ours, "--reference", theirs, "--threads", 1)
    assert by_hand.returncode == 0, by_hand.stderr
    for name, value in json.loads(by_hand.stdout).items():
        assert compared["dualparal"][name] == pytest.approx(value, rel=1e-6), name
    assert compared["dualparal"]["psnr_db"] < 40


def test_a_reference_that_cannot_run_is_told(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    config = json.loads((model / "transformer/config.json").read_text())
    # As many positions as the frame is wide: enough for windows of blocks, not for 8 latent frames at once.
    (model / "transformer/config.json").write_text(json.dumps(config | {"rope_max_seq_len": 6}))
    text = EXPERIMENT.replace("repeat: 2", f"model: {model}").replace("  - single\n", "").replace("frames: 21", "frames: 29")
    text = text.replace("  - {name: ring, options: {nproc: 2}}\n", "")
    done, lines = bench(tmp_path, text, "--quiet")
    assert done.returncode == 0, done.stderr
    figures = lines[0]["quality"]
    assert lines[0]["status"] == "ok" and figures["psnr_db"] is None and figures["flicker"] is not None
    assert "single did not run" in figures["reference_error"] and "6" in figures["reference_error"]


@pytest.mark.parametrize("flag, words", [("no-quality: true", ["no-quality"]), ("mode: trace", ["mode", "trace"])])
def test_a_reference_that_would_have_no_place_is_refused(tmp_path, flag, words):
    (tmp_path / "e.yaml").write_text(f"name: x\nreference: true\nbase: {{frames: 5, {flag}}}\nstrategies: [single]")
    check_refused(run("bench", tmp_path / "e.yaml", "--output", tmp_path / "out"), [2], ["reference", ":2", *words])
