# SPDX-License-Identifier: Apache-2.0
"""Two experts (Wan 2.2 A14B) against diffusers' WanPipeline, from the same noise."""

import json
import shutil
import subprocess

import pytest
import torch
from conftest import BUILD, check_error, randomise
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from test_lora import STYLES, pairs

PROMPT = "a green square bounces over a black background"
BOUNDARY, STEPS = 0.875, 6


def add_second_expert(source, folder, boundary, seed=77):
    """The checkpoint with another transformer beside its own."""
    shutil.copytree(source, folder)
    second = WanTransformer3DModel.from_pretrained(folder / "transformer", torch_dtype=torch.float32)
    randomise(second, seed)
    second.save_pretrained(folder / "transformer_2")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"transformer_2": ["diffusers", "WanTransformer3DModel"], "boundary_ratio": boundary}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="module")
def model(checkpoints, tmp_path_factory):
    return add_second_expert(checkpoints("three_heads"), tmp_path_factory.mktemp("experts") / "model", BOUNDARY)


@pytest.fixture(scope="module")
def noise():
    return torch.randn(1, 16, 4, 4, 6, generator=torch.Generator().manual_seed(1))


def reference(model, noise, sampler, scale_2, change=lambda pipeline: None):
    pipeline = WanPipeline.from_pretrained(model, torch_dtype=torch.float32)
    change(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    if sampler == "euler":
        pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    length = json.loads((model / "tokenizer/tokenizer_config.json").read_text())["model_max_length"]
    latents = pipeline(PROMPT, negative_prompt="", height=8 * noise.shape[3], width=8 * noise.shape[4],
                       num_frames=4 * noise.shape[2] - 3, num_inference_steps=STEPS, guidance_scale=4.0,
                       guidance_scale_2=scale_2, latents=noise.clone(), output_type="latent",
                       max_sequence_length=min(512, length)).frames
    high = int((pipeline.scheduler.timesteps >= 1000 * BOUNDARY).sum())
    assert 0 < high < STEPS, "one expert does it all: nothing is compared"
    return latents


def generate(model, folder, noise, *flags):
    save_file({"noise": noise}, folder / "noise.safetensors")
    command = [BUILD / "dualparal", "generate", "--model", model, "--frames", 4 * noise.shape[2] - 3,
               "--height", 8 * noise.shape[3], "--width", 8 * noise.shape[4], "--steps", STEPS, "--prompt", PROMPT,
               *([] if "--guidance-scale" in flags else ["--guidance-scale", 4]), "--flow-shift", 3, "--initial-noise", folder / "noise.safetensors", "--no-decode",
               "--no-quality", "--quiet", "--threads", 1, "--save-latents", folder / "latents.safetensors", *flags]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


def latents_of(model, folder, noise, *flags):
    done = generate(model, folder, noise, *flags)
    assert done.returncode == 0, done.stderr
    return load_file(folder / "latents.safetensors")["latents"]


@pytest.mark.parametrize("sampler, scale_2", [("unipc", 2.5), ("unipc", None), ("euler", 1.0)])
def test_single(model, noise, tmp_path, record_property, sampler, scale_2):
    second = [] if scale_2 is None else ["--guidance-scale-2", scale_2]
    ours = latents_of(model, tmp_path, noise, "--strategy", "single", "--sampler", sampler, *second)
    check_error(record_property, ours, reference(model, noise, sampler, scale_2), 1e-4)


@pytest.mark.parametrize("strategy", [["naive_pipeline", "--nproc", 3], ["ring", "--nproc", 2],
                                      ["ulysses", "--nproc", 2, "--guidance-parallel", "on"],
                                      ["dualparal", "--nproc", 2, "--block-frames", 4]])
def test_on_ranks(model, noise, tmp_path, record_property, strategy):
    ours = latents_of(model, tmp_path, noise, "--strategy", *strategy, "--guidance-scale-2", 2.5)
    check_error(record_property, ours, reference(model, noise, "unipc", 2.5), 1e-4)


@pytest.mark.parametrize("style", STYLES)
def test_loras_of_both_experts_in_a_whole_pipeline(model, noise, tmp_path, record_property, style):
    """As diffusers itself loads the files, one for each expert, each with its own scale."""
    files = {"high": (model / "transformer", 1, 0.5), "low": (model / "transformer_2", 2, -0.75)}
    given = []
    for expert, (folder, seed, scale) in files.items():
        made = pairs(WanTransformer3DModel.from_pretrained(folder, torch_dtype=torch.float32), seed)
        save_file(STYLES[style](made), tmp_path / f"{expert}.safetensors")
        given += ["--lora", f"{expert}={tmp_path}/{expert}.safetensors:{scale}"]

    def change(pipeline):
        pipeline.load_lora_weights(str(tmp_path / "high.safetensors"), adapter_name="high")
        pipeline.load_lora_weights(str(tmp_path / "low.safetensors"), adapter_name="low", load_into_transformer_2=True)
        pipeline.transformer.set_adapters(["high"], [files["high"][2]])
        pipeline.transformer_2.set_adapters(["low"], [files["low"][2]])

    wanted = reference(model, noise, "unipc", 2.5, change)
    without = latents_of(model, tmp_path, noise, "--strategy", "single", "--guidance-scale-2", 2.5)
    assert (without - wanted).abs().max() > 1e-2, "the files change nothing worth comparing"
    ours = latents_of(model, tmp_path, noise, "--strategy", "single", "--guidance-scale-2", 2.5, *given)
    check_error(record_property, ours, wanted, 1e-4)


def test_loras_of_one_expert(model, noise, tmp_path):
    """Each file changes its own expert, and only that."""
    name = "transformer.blocks.0.attn1.to_q"
    weight = load_file(model / "transformer/diffusion_pytorch_model.safetensors")["blocks.0.attn1.to_q.weight"]
    save_file({f"{name}.lora_A.weight": weight[:2].clone(), f"{name}.lora_B.weight": 0.3 * weight[:, :2].clone()},
              tmp_path / "a.safetensors")
    made = {}
    for flags in ([], ["high"], ["low"], ["high", "low"], ["both"]):
        given = [word for expert in flags for word in
                 ("--lora", str(tmp_path / "a.safetensors") if expert == "both" else f"{expert}={tmp_path}/a.safetensors")]
        made[" ".join(flags)] = latents_of(model, tmp_path, noise, "--strategy", "single", *given)
    assert torch.equal(made["high low"], made["both"])
    names = ["", "high", "low", "both"]
    for i, one in enumerate(names):
        for other in names[:i]:
            assert (made[one] - made[other]).abs().max() > 1e-3, (one, other)


def test_two_experts_are_shown_and_counted(model, tmp_path):
    shown = subprocess.run([BUILD / "dualparal", "inspect", model, "--nproc", "3"], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "transformer_2" in shown.stdout and "t < 875" in shown.stdout
    bytes_of = {}
    for name, source in (("two", model), ("one", model / "one")):
        if name == "one":
            shutil.copytree(model, source, ignore=shutil.ignore_patterns("one", "transformer_2"))
            index = json.loads((source / "model_index.json").read_text())
            (source / "model_index.json").write_text(json.dumps({k: v for k, v in index.items()
                                                                 if k not in ("transformer_2", "boundary_ratio")}))
        result = tmp_path / f"{name}.jsonl"
        done = subprocess.run([BUILD / "dualparal", "generate", "--mode", "trace", "--model", source, "--strategy",
                               "naive_pipeline", "--world-size", "3", "--frames", "13", "--height", "32", "--width", "48",
                               "--steps", "4", "--prompt", "any", "--quiet", "--result", result],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        line = json.loads(result.read_text())
        bytes_of[name] = [rank["weights_bytes"] for rank in line["per_rank"]]
        bytes_of[name + " formula"] = line["analytic_cost"]["weights_bytes"]
    assert bytes_of["two"] == [2 * count for count in bytes_of["one"]]
    assert bytes_of["two formula"] == 2 * bytes_of["one formula"]


@pytest.mark.parametrize("change, flags, words", [
    (lambda model: None, ["--guidance-scale", "1", "--guidance-scale-2", "3"], ["--guidance-scale-2", "alone"]),
    (lambda model: (model / "transformer_2/config.json").write_text(
        (model / "transformer_2/config.json").read_text().replace('"ffn_dim": 100', '"ffn_dim": 96')), [], ["differ"]),
    (lambda model: (model / "model_index.json").write_text(
        (model / "model_index.json").read_text().replace("0.875", "1.5")), [], ["boundary_ratio", "1.5"]),
    (lambda model: (model / "transformer_2/diffusion_pytorch_model.safetensors").unlink(), [], ["transformer_2", "no weights"]),
])
def test_refused(model, noise, tmp_path, change, flags, words):
    shutil.copytree(model, tmp_path / "model")
    change(tmp_path / "model")
    done = generate(tmp_path / "model", tmp_path, noise, "--strategy", "single", *flags)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode in (1, 2) and last.startswith("error: ") and all(word in last for word in words), last


def test_a_second_scale_needs_a_second_expert(checkpoints, noise, tmp_path):
    done = generate(checkpoints("three_heads"), tmp_path, noise, "--strategy", "single", "--guidance-scale-2", "2")
    assert done.returncode == 2 and "one transformer" in done.stderr
