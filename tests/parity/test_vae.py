# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from conftest import check_bf16, check_error
from diffusers import AutoencoderKLWan


def load(model_dir, dtype=torch.float32):
    return AutoencoderKLWan.from_pretrained(model_dir / "vae", torch_dtype=dtype).eval()


def statistics(vae):
    shape = (1, -1, 1, 1, 1)
    return torch.tensor(vae.config.latents_mean).view(shape), torch.tensor(vae.config.latents_std).view(shape)


def video(frames, height=24, width=40, batch=1):
    return torch.rand(batch, 3, frames, height, width, generator=torch.Generator().manual_seed(frames)) * 2 - 1


def encode(vae, pixels):
    mean, std = statistics(vae)
    return (vae.encode(pixels).latent_dist.mode().float() - mean) / std


def decode(vae, latents):
    mean, std = statistics(vae)
    return vae.decode((latents * std + mean).to(vae.dtype)).sample.float()


def latents(frames, batch=1):
    return torch.randn(batch, 16, frames, 3, 5, generator=torch.Generator().manual_seed(frames))


@pytest.mark.parametrize("frames", [1, 5, 9, 17])
def test_encode(model_dir, probe, record_property, frames):
    ours, _ = probe("vae_encode", model_dir, {"video": video(frames)})
    check_error(record_property, ours["latents"], encode(load(model_dir), video(frames)), 1e-4)


@pytest.mark.parametrize("frames", [1, 2, 3, 5])  # latent frames: 1, 5, 9, 17 frames of video
def test_decode(model_dir, probe, record_property, frames):
    expected = decode(load(model_dir), latents(frames))
    assert expected.shape[2] == 4 * frames - 3
    assert (expected.abs() < 1).float().mean() > 0.5, "clamped everywhere: nothing would be compared"
    ours, _ = probe("vae_decode", model_dir, {"latents": latents(frames)})
    check_error(record_property, ours["video"], expected, 1e-4)


def test_batches(model_dir, probe, record_property):
    ours, _ = probe("vae_encode", model_dir, {"video": video(5, 16, 8, batch=2)})
    check_error(record_property, ours["latents"], encode(load(model_dir), video(5, 16, 8, batch=2)), 1e-4)
    ours, _ = probe("vae_decode", model_dir, {"latents": latents(2, batch=2)})
    check_error(record_property, ours["video"], decode(load(model_dir), latents(2, batch=2)), 1e-4)


def test_bf16(model_dir, probe, record_property):
    narrow = load(model_dir, torch.bfloat16)
    theirs = decode(narrow, latents(3))
    theirs_encoded = encode(narrow, video(5).bfloat16())
    exact = narrow.float()
    ours, _ = probe("vae_decode", model_dir, {"latents": latents(3)}, dtype="bf16")
    check_bf16(record_property, ours["video"], theirs, decode(exact, latents(3)))
    ours, _ = probe("vae_encode", model_dir, {"video": video(5)}, dtype="bf16")
    check_bf16(record_property, ours["latents"], theirs_encoded, encode(exact, video(5)))
