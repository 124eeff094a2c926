# SPDX-License-Identifier: Apache-2.0
"""Pools of encoded clips, and the statistics of the latents.

A pool is encoded once by the VAE and kept in memory as normalised latents of sampled
posteriors; a training clip is a pool clip from its first latent frame on, because latent frame 0
holds one video frame and all others four.
"""
from __future__ import annotations

import os

import torch

import data
import fast_vae
from optim import autocast


def load_vae(folder: str):
    """The averaged VAE of folder/vae.pt, with the latent statistics in folder/latent_statistics.pt if measured."""
    state = torch.load(os.path.join(folder, "vae.pt"), map_location="cpu")
    vae = fast_vae.build()
    vae.load_state_dict(state["model"])
    with torch.no_grad():
        for name, p in vae.named_parameters():
            p.copy_(state["average"][name])
    path = os.path.join(folder, "latent_statistics.pt")
    if os.path.exists(path):
        mean, std = torch.load(path)
        vae.register_to_config(latents_mean=[round(v, 5) for v in mean.tolist()],
                               latents_std=[round(v, 5) for v in std.tolist()])
    return vae.eval()


def load_exported_vae(model: str):
    """The VAE of an exported checkpoint, in fp32; its configuration holds the latent statistics."""
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan.from_pretrained(model, subfolder="vae", torch_dtype=torch.float32).eval()


@torch.no_grad()
def encode(vae, clips: data.Clips, frames: int, generator: torch.Generator, chunk: int = 12) -> torch.Tensor:
    """Sampled latents [clips, 16, 1 + frames // 4, 8, 12], not normalised."""
    cache, parts, first = {}, [], 0
    while first < frames:
        count = min(chunk + (first == 0), frames - first)
        with autocast():
            mean, log_variance = fast_vae.encode(vae, data.render(clips, first, count), cache)
        parts.append(mean + torch.randn(mean.shape, generator=generator) * (0.5 * log_variance).exp())
        first += count
    return torch.cat(parts, 2)


def measure(vae, folder: str, seed: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation per channel over sampled latents of 48 clips; saved beside the VAE."""
    generator = torch.Generator().manual_seed(seed)
    latents = encode(vae, data.sample(48, generator), 33, generator)
    mean, std = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    torch.save((mean, std), os.path.join(folder, "latent_statistics.pt"))
    return mean, std


def normalise(vae, latents: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    return (latents - mean) / std
