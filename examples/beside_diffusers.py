# SPDX-License-Identifier: Apache-2.0
"""The same checkpoint, prompt and noise through diffusers and through this program: how far apart are the latents?

    .venv/bin/python examples/beside_diffusers.py        (after ./run test, which installs diffusers)

With --model DIR any checkpoint in diffusers layout; without, the small one that comes with the program.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from diffusers import WanPipeline

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))  # not needed with the wheel
import dualparal  # noqa: E402

PROMPT = "a red circle bounces over a dark blue background"
LATENT_FRAMES, HEIGHT, WIDTH, STEPS, GUIDANCE = 5, 64, 96, 6, 4.0

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--model", default=dualparal.data_dir() / "models/moving-shapes", type=Path)
model = parser.parse_args().model

# 1. Diffusers.
pipeline = WanPipeline.from_pretrained(model, dtype=torch.float32)
pipeline.set_progress_bar_config(disable=True)
noise = torch.randn(1, pipeline.transformer.config.in_channels, LATENT_FRAMES, HEIGHT // 8, WIDTH // 8,
                    generator=torch.Generator().manual_seed(1))
tokens = json.loads((model / "tokenizer/tokenizer_config.json").read_text())["model_max_length"]
theirs = pipeline(PROMPT, negative_prompt="", height=HEIGHT, width=WIDTH, num_frames=4 * LATENT_FRAMES - 3,
                  num_inference_steps=STEPS, guidance_scale=GUIDANCE, latents=noise.clone(), output_type="latent",
                  max_sequence_length=min(512, tokens)).frames

# 2. This program, from the same noise.
shared = dict(model=model, initial_noise=noise, frames=4 * LATENT_FRAMES - 3, height=HEIGHT, width=WIDTH, steps=STEPS,
              guidance_scale=GUIDANCE, latents="torch", quiet=True)
single = dualparal.generate(PROMPT, strategy="single", **shared)

# 3. And split over two processes: every layer's sequence in halves, the same result but for rounding.
ring = dualparal.generate(PROMPT, strategy="ring", nproc=2, **shared)


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference, relative to the largest number."""
    return ((a - b).abs().max() / b.abs().max()).item()


print(f"single against diffusers: {difference(single.latents, theirs):.1e}   ({single.result.latency_s:.2f} s)")
print(f"ring on 2 against single: {difference(ring.latents, single.latents):.1e}   ({ring.result.latency_s:.2f} s)")
