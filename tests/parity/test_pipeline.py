# SPDX-License-Identifier: Apache-2.0
"""The whole program against diffusers' WanPipeline, from the same noise."""

import json
import subprocess

import pytest
import torch
from conftest import BUILD, check_error
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline
from safetensors.torch import load_file, save_file

PROMPT = "a green square bounces over a black background"


def reference(model_dir, noise, steps, output_type, sampler):
    pipeline = WanPipeline.from_pretrained(model_dir, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    if sampler == "euler":
        pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    length = json.loads((model_dir / "tokenizer/tokenizer_config.json").read_text())["model_max_length"]
    return pipeline(PROMPT, negative_prompt="", height=8 * noise.shape[3], width=8 * noise.shape[4],
                    num_frames=4 * noise.shape[2] - 3, num_inference_steps=steps, guidance_scale=4.0,
                    latents=noise.clone(), output_type=output_type, max_sequence_length=min(512, length)).frames


def generate(model_dir, folder, noise, steps, *flags):
    save_file({"noise": noise}, folder / "noise.safetensors")
    command = [BUILD / "dualparal", "generate", "--model", model_dir, "--strategy", "single",
               "--frames", 4 * noise.shape[2] - 3, "--height", 8 * noise.shape[3], "--width", 8 * noise.shape[4],
               "--steps", steps, "--prompt", PROMPT, "--guidance-scale", 4, "--dtype", "fp32", "--device", "cpu",
               "--initial-noise", folder / "noise.safetensors", "--quiet", *flags]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("sampler", ["unipc", "euler"])
def test_latents(model_dir, tmp_path, record_property, sampler):
    noise = torch.randn(1, 16, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    generate(model_dir, tmp_path, noise, 6, "--sampler", sampler, "--flow-shift", 3, "--no-decode",
             "--save-latents", tmp_path / "latents.safetensors")
    ours = load_file(tmp_path / "latents.safetensors")["latents"]
    check_error(record_property, ours, reference(model_dir, noise, 6, "latent", sampler), 1e-4)
