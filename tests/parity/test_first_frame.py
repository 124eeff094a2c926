# SPDX-License-Identifier: Apache-2.0
"""Models of Wan 2.2 TI2V-5B's kind against diffusers: the residual VAE, a timestep per frame, an image as the first one."""

import dataclasses
import json
import shutil
import subprocess

import pytest
import torch
from conftest import BUILD, VARIANTS, check_bf16, check_error, make_checkpoint, randomise
from diffusers import AutoencoderKLWan, WanImageToVideoPipeline, WanPipeline, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from test_image_to_video import FIRST, prompts
from test_vae import decode, encode

HEIGHT, WIDTH, FRAMES, STEPS = 64, 96, 13, 4
CHANNELS = {"two": 12, "three": 10}  # of the latents, by model
VAES = {
    "two": dict(base_dim=6, decoder_base_dim=10, dim_mult=[1, 2, 4, 4], num_res_blocks=2),
    "three": dict(base_dim=8, dim_mult=[1, 1, 2, 2], num_res_blocks=1, temperal_downsample=[True, True, False]),
}


def make_model(folder, name):
    variant = VARIANTS["three_heads"]
    variant = dataclasses.replace(variant, transformer=variant.transformer | dict(num_layers=2))
    make_checkpoint(folder, variant, 400)
    channels = CHANNELS[name]
    statistics = torch.randn(2, channels, generator=torch.Generator().manual_seed(5)).tolist()
    parts = {
        "transformer": WanTransformer3DModel(in_channels=channels, out_channels=channels, **variant.transformer),
        "vae": AutoencoderKLWan(z_dim=channels, is_residual=True, patch_size=2, in_channels=12, out_channels=12,
                                scale_factor_spatial=16, latents_mean=[round(0.2 * m, 3) for m in statistics[0]],
                                latents_std=[round(1 + abs(s), 3) for s in statistics[1]], **VAES[name]),
    }
    for seed, (part, module) in enumerate(parts.items()):
        randomise(module, 401 + seed)
        shutil.rmtree(folder / part)
        module.save_pretrained(folder / part)
    index = json.loads((folder / "model_index.json").read_text()) | {"expand_timesteps": True, "boundary_ratio": None}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {name: make_model(tmp_path_factory.mktemp(name), name) for name in VAES}


def vae_of(model_dir, dtype=torch.float32):
    return AutoencoderKLWan.from_pretrained(model_dir / "vae", torch_dtype=dtype).eval()


def video(frames):
    return torch.rand(1, 3, frames, 32, 96, generator=torch.Generator().manual_seed(frames)) * 2 - 1


def latents_for(name, frames):
    return torch.randn(1, CHANNELS[name], frames, 2, 6, generator=torch.Generator().manual_seed(frames))


@pytest.mark.parametrize("name", VAES)
@pytest.mark.parametrize("frames", [1, 13])
def test_vae(models, probe, record_property, name, frames):
    vae = vae_of(models[name])
    ours, _ = probe("vae_encode", models[name], {"video": video(frames)})
    check_error(record_property, ours["latents"], encode(vae, video(frames)), 1e-4)
    latents = latents_for(name, (frames + 3) // 4)
    expected = decode(vae, latents)
    assert expected.shape[2:] == (frames, 32, 96)
    assert (expected.abs() < 1).float().mean() > 0.5, "clamped everywhere: nothing would be compared"
    ours, _ = probe("vae_decode", models[name], {"latents": latents})
    check_error(record_property, ours["video"], expected, 1e-4)


def test_vae_in_bf16(models, probe, record_property):
    narrow = vae_of(models["two"], torch.bfloat16)
    theirs = decode(narrow, latents_for("two", 3))
    ours, _ = probe("vae_decode", models["two"], {"latents": latents_for("two", 3)}, dtype="bf16")
    check_bf16(record_property, ours["video"], theirs, decode(narrow.float(), latents_for("two", 3)))


def noise(name):
    return torch.randn(1, CHANNELS[name], (FRAMES + 3) // 4, HEIGHT // 16, WIDTH // 16,
                       generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def references(models):
    """Latents of diffusers' pipelines, by model and whether an image is given."""
    made = {}

    def get(name, image):
        if (name, image) not in made:
            kind = WanImageToVideoPipeline if image else WanPipeline
            pipeline = kind.from_pretrained(models[name], torch_dtype=torch.float32)
            pipeline.set_progress_bar_config(disable=True)
            given = dict(image=FIRST) if image else {}
            made[name, image] = pipeline(**given, **prompts(), height=HEIGHT, width=WIDTH, num_frames=FRAMES,
                                         num_inference_steps=STEPS, guidance_scale=3.5, latents=noise(name),
                                         output_type="latent").frames
        return made[name, image]

    return get


def generate(models, name, folder, *flags):
    save_file({"noise": noise(name)}, folder / "noise.safetensors")
    save_file(prompts(), folder / "prompts.safetensors")
    FIRST.save(folder / "first.png")
    command = [BUILD / "dualparal", "generate", "--model", models[name], "--frames", FRAMES, "--height", HEIGHT, "--width", WIDTH,
               "--steps", STEPS, "--prompt-embeds", folder / "prompts.safetensors", "--guidance-scale", 3.5, "--flow-shift", 3,
               "--initial-noise", folder / "noise.safetensors", "--no-decode", "--no-quality", "--quiet", "--threads", 1, *flags]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


def latents_of(models, name, folder, *flags):
    done = generate(models, name, folder, "--save-latents", folder / "latents.safetensors", *flags)
    assert done.returncode == 0, done.stderr
    return load_file(folder / "latents.safetensors")["latents"]


STRATEGIES = [["single"], ["ring", "--nproc", 2], ["usp", "--nproc", 3], ["naive_pipeline", "--nproc", 2],
              ["dualparal", "--nproc", 2, "--block-frames", 4]]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda words: words[0])
@pytest.mark.parametrize("image", [False, True], ids=["text", "image"])
def test_pipeline(models, references, tmp_path, record_property, image, strategy):
    given = ["--image", tmp_path / "first.png"] if image else []
    ours = latents_of(models, "two", tmp_path, "--strategy", *strategy, *given)
    check_error(record_property, ours, references("two", image), 1e-4)


def test_another_vae(models, references, tmp_path, record_property):
    ours = latents_of(models, "three", tmp_path, "--strategy", "single", "--image", tmp_path / "first.png")
    check_error(record_property, ours, references("three", True), 1e-4)


def test_the_image_counts(references):
    assert (references("two", True) - references("two", False))[:, :, 1:].abs().max() > 1e-2


def test_what_is_made_of_the_image_can_be_kept_and_read(models, tmp_path):
    kept = tmp_path / "image.safetensors"
    made = latents_of(models, "two", tmp_path, "--image", tmp_path / "first.png", "--save-image-embeds", kept)
    condition = load_file(kept)["condition"]
    assert condition.shape == (1, 12, 1, 4, 6) and torch.equal(made[:, :, :1], condition)
    assert torch.equal(latents_of(models, "two", tmp_path, "--image-embeds", kept), made)
    save_file({"condition": condition.repeat(1, 1, 4, 1, 1)}, kept)
    done = generate(models, "two", tmp_path, "--image-embeds", kept)
    assert done.returncode == 1 and "4 latent frames, expected 1" in done.stderr
    save_file({"condition": condition * torch.inf}, kept)
    done = generate(models, "two", tmp_path, "--image-embeds", kept)
    assert done.returncode == 1 and "condition" in done.stderr and str(kept) in done.stderr


def test_windows_and_clips(models, tmp_path):
    image = ["--image", tmp_path / "first.png"]
    expected = latents_of(models, "two", tmp_path, *image)
    windows = latents_of(models, "two", tmp_path, "--strategy", "context_windows", "--window-frames", 3, "--overlap-frames", 1, *image)
    clips = latents_of(models, "two", tmp_path, "--strategy", "video_infinity", "--nproc", 2, *image)
    for made in (windows, clips):
        assert torch.equal(made[:, :, 0], expected[:, :, 0]) and not torch.equal(made, expected)


@pytest.mark.parametrize("flags, words", [
    (["--image", "first.png", "--last-image", "first.png"], ["--last-image", "first image only"]),
    (["--image", "first.png", "--strategy", "fifo"], ["fifo", "image"]),
    (["--image", "nowhere.png"], ["nowhere.png"]),
])
def test_refused(models, tmp_path, flags, words):
    done = generate(models, "two", tmp_path, *[tmp_path / word if ".png" in word else word for word in flags])
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode in (1, 2) and last.startswith("error: ") and all(word in last for word in words), last


@pytest.mark.parametrize("image", [[], ["--image", "any.png"]], ids=["text", "image"])
@pytest.mark.parametrize("mode", ["trace", "emulate"])
def test_other_modes(models, tmp_path, mode, image):
    result = tmp_path / "result.jsonl"
    done = subprocess.run([str(word) for word in (
        BUILD / "dualparal", "generate", "--mode", mode, "--model", models["two"], "--strategy", "dualparal", "--world-size", 2,
        "--frames", 29, "--height", HEIGHT, "--width", WIDTH, "--steps", 4, "--block-frames", 2, "--context-frames", 1,
        "--prompt", "any", "--quiet", "--result", result, *image)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(result.read_text())["flops"] > 0
