# SPDX-License-Identifier: Apache-2.0
"""Image to video against diffusers' WanImageToVideoPipeline, from the same image and noise."""

import json
import shutil
import subprocess

import numpy
import pytest
import torch
from conftest import BUILD, VARIANTS, check_error, make_checkpoint, randomise
from diffusers import WanImageToVideoPipeline, WanTransformer3DModel
from PIL import Image
from safetensors.torch import load_file, save_file
from test_experts import add_second_expert
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

HEIGHT, WIDTH, FRAMES, STEPS = 32, 48, 13, 4
ENCODER = dict(hidden_size=36, intermediate_size=52, num_hidden_layers=3, num_attention_heads=3, image_size=28,
               patch_size=14, hidden_act="gelu")
TOKENS = 5  # of an image: 2 x 2 patches and one for the whole


def make_model(folder, clip, position_tokens=None):
    """A checkpoint of the published form: with an image encoder as Wan 2.1's, without as Wan 2.2's."""
    variant = VARIANTS["three_heads"]
    make_checkpoint(folder, variant, 300)
    dim = variant.transformer["num_attention_heads"] * variant.transformer["attention_head_dim"]
    added = dict(image_dim=ENCODER["hidden_size"], added_kv_proj_dim=dim, pos_embed_seq_len=position_tokens) if clip else {}
    transformer = WanTransformer3DModel(in_channels=36, out_channels=16, **variant.transformer, **added)
    randomise(transformer, 301)
    if position_tokens:
        embedding = transformer.condition_embedder.image_embedder.pos_embed
        embedding.copy_(torch.randn(embedding.shape, generator=torch.Generator().manual_seed(302)))
    shutil.rmtree(folder / "transformer")
    transformer.save_pretrained(folder / "transformer")
    index = json.loads((folder / "model_index.json").read_text()) | {"_class_name": "WanImageToVideoPipeline"}
    parts = {"image_encoder": "CLIPVisionModel", "image_processor": "CLIPImageProcessor"}
    index |= {name: ["transformers", part] if clip else [None, None] for name, part in parts.items()}
    (folder / "model_index.json").write_text(json.dumps(index))
    if clip:
        encoder = CLIPVisionModel(CLIPVisionConfig(**ENCODER))
        randomise(encoder, 303)
        encoder.save_pretrained(folder / "image_encoder")
        CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(
            folder / "image_processor")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image_models")
    made = {"wan2.1": make_model(folder / "clip", True), "wan2.1 first and last": make_model(folder / "flf", True, 2 * TOKENS),
            "plain": make_model(folder / "plain", False)}
    made["wan2.2"] = add_second_expert(made["plain"], folder / "experts", 0.9)
    return made


def picture(height, width, seed):
    """Smooth, with hard edges, and no multiple of anything."""
    y, x = numpy.mgrid[0:height, 0:width] / 17
    channels = [numpy.sin(x * (1 + seed) + c) * numpy.cos(y + c * seed) + (x + y > 3 + c) for c in range(3)]
    return Image.fromarray(numpy.uint8(numpy.clip(90 + 60 * numpy.stack(channels, -1), 0, 255)))


FIRST, LAST = picture(75, 61, 1), picture(40, 133, 2)


@pytest.mark.parametrize("size", [(75, 61), (61, 75), (28, 28), (20, 31), (300, 90)], ids=str)
def test_images_are_prepared_alike(models, probe, record_property, size):
    model_dir = models["wan2.1"]
    image = picture(*size, 3)
    pipeline = WanImageToVideoPipeline.from_pretrained(model_dir, torch_dtype=torch.float32)
    given = {"first": torch.from_numpy(numpy.array(image)), "size": torch.tensor([HEIGHT, WIDTH])}
    ours, _ = probe("images", model_dir, given)
    expected = pipeline.image_processor(images=image, return_tensors="pt").pixel_values
    check_error(record_property, ours["pixels"], expected, 1e-6)
    expected = pipeline.video_processor.preprocess(image, height=HEIGHT, width=WIDTH)
    check_error(record_property, ours["video_pixels"][:, :, 0], expected, 1e-6)
    check_error(record_property, ours["embeds"], pipeline.encode_image(image), 1e-4)


def test_transformer(models, probe, record_property):
    model = WanTransformer3DModel.from_pretrained(models["wan2.1"] / "transformer", torch_dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(4)
    text = torch.randn(2, 512, model.config.text_dim, generator=generator)
    image = torch.randn(1, TOKENS, ENCODER["hidden_size"], generator=generator)
    latents = torch.randn(2, 36, 3, 4, 6, generator=generator)
    expected = model(latents, torch.tensor([431.0] * 2), text, image.expand(2, -1, -1)).sample
    without = model(latents, torch.tensor([431.0] * 2), text, 0 * image.expand(2, -1, -1)).sample
    assert (expected - without).abs().max() > 0.01 * expected.abs().max(), "the image changes nothing"
    ours, _ = probe("transformer", models["wan2.1"], {"hidden_states": latents, "timestep": torch.tensor([431.0]),
                                                     "encoder_hidden_states": text, "encoder_hidden_states_image": image})
    check_error(record_property, ours["sample"], expected, 1e-4)


def prompts():
    generator = torch.Generator().manual_seed(6)
    return {name: torch.randn(1, 512, 40, generator=generator) for name in ("prompt_embeds", "negative_prompt_embeds")}


def noise():
    return torch.randn(1, 16, (FRAMES - 1) // 4 + 1, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(7))


def reference(model_dir, last):
    pipeline = WanImageToVideoPipeline.from_pretrained(model_dir, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(image=FIRST, last_image=LAST if last else None, **prompts(), height=HEIGHT, width=WIDTH,
                    num_frames=FRAMES, num_inference_steps=STEPS, guidance_scale=3.5, latents=noise(),
                    output_type="latent").frames


def generate(model_dir, folder, *flags):
    save_file({"noise": noise()}, folder / "noise.safetensors")
    save_file(prompts(), folder / "prompts.safetensors")
    FIRST.save(folder / "first.png")
    LAST.save(folder / "last.png")
    frames = [] if "--frames" in flags else ["--frames", FRAMES]
    command = [BUILD / "dualparal", "generate", "--model", model_dir, *frames, "--height", HEIGHT, "--width", WIDTH,
               "--steps", STEPS, "--prompt-embeds", folder / "prompts.safetensors", "--guidance-scale", 3.5, "--flow-shift", 3,
               "--initial-noise", folder / "noise.safetensors", "--no-decode", "--no-quality", "--quiet", "--threads", 1, *flags]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


def latents_of(model_dir, folder, *flags):
    done = generate(model_dir, folder, "--save-latents", folder / "latents.safetensors", *flags)
    assert done.returncode == 0, done.stderr
    return load_file(folder / "latents.safetensors")["latents"]


CASES = [("wan2.1", False), ("wan2.1 first and last", True), ("wan2.2", False), ("wan2.2", True)]


@pytest.mark.parametrize("name, last", CASES)
def test_single(models, tmp_path, record_property, name, last):
    images = ["--image", tmp_path / "first.png"] + (["--last-image", tmp_path / "last.png"] if last else [])
    ours = latents_of(models[name], tmp_path, "--strategy", "single", *images)
    check_error(record_property, ours, reference(models[name], last), 1e-4)


@pytest.mark.parametrize("strategy", [["naive_pipeline", "--nproc", 3], ["ring", "--nproc", 2], ["usp", "--nproc", 2],
                                      ["dualparal", "--nproc", 2, "--block-frames", 4]])
@pytest.mark.parametrize("name", ["wan2.1", "wan2.2"])
def test_on_ranks(models, tmp_path, record_property, name, strategy):
    ours = latents_of(models[name], tmp_path, "--strategy", *strategy, "--image", tmp_path / "first.png")
    check_error(record_property, ours, reference(models[name], False), 1e-4)


def test_what_is_made_of_images_can_be_kept_and_read(models, tmp_path):
    first, embeds = ["--image", tmp_path / "first.png", "--last-image", tmp_path / "last.png"], tmp_path / "image.safetensors"
    model = models["wan2.1 first and last"]
    made = latents_of(model, tmp_path, "--strategy", "single", *first, "--save-image-embeds", embeds)
    kept = load_file(embeds)
    assert kept["image_embeds"].shape == (1, 2 * TOKENS, ENCODER["hidden_size"])
    assert kept["condition"].shape == (1, 20, 4, HEIGHT // 8, WIDTH // 8)
    mask = kept["condition"][0, :4, :, 0, 0]
    assert mask[:, 0].eq(1).all() and mask[:, 1:3].eq(0).all() and mask[:, 3].tolist() == [0, 0, 0, 1]
    assert torch.equal(latents_of(model, tmp_path, "--strategy", "single", "--image-embeds", embeds), made)
    save_file(kept | {"condition": kept["condition"][:, :, :3].contiguous()}, tmp_path / "short.safetensors")
    done = generate(model, tmp_path, "--strategy", "single", "--image-embeds", tmp_path / "short.safetensors")
    assert done.returncode == 1 and "3 latent frames, expected 4" in done.stderr


def test_a_jpeg_is_read(models, tmp_path):
    FIRST.save(tmp_path / "first.jpg", quality=98)
    exact = latents_of(models["plain"], tmp_path, "--strategy", "single", "--image", tmp_path / "first.png")
    near = latents_of(models["plain"], tmp_path, "--strategy", "single", "--image", tmp_path / "first.jpg")
    assert 0 < (near - exact).abs().max() < 0.2 * exact.abs().max()


@pytest.mark.parametrize("mode", ["trace", "emulate"])
@pytest.mark.parametrize("name", ["wan2.1", "wan2.2"])
def test_other_modes(models, tmp_path, mode, name):
    result = tmp_path / "result.jsonl"
    done = subprocess.run([str(word) for word in (
        BUILD / "dualparal", "generate", "--mode", mode, "--model", models[name], "--strategy", "dualparal", "--world-size", 2,
        "--frames", 29, "--height", HEIGHT, "--width", WIDTH, "--steps", 4, "--block-frames", 2, "--context-frames", 1,
        "--prompt", "any", "--quiet", "--result", result)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(result.read_text())["flops"] > 0


@pytest.mark.parametrize("name, flags, words", [
    ("wan2.1", [], ["--image", "missing"]),
    ("wan2.1", ["--image", "first.png", "--last-image", "last.png"], ["10 tokens", "5"]),
    ("wan2.1 first and last", ["--image", "first.png"], ["5 tokens", "10"]),
    ("wan2.2", ["--last-image", "last.png"], ["--image", "missing"]),
    ("wan2.2", ["--image", "nowhere.png"], ["nowhere.png", "no such file"]),
    ("wan2.2", ["--image", "noise.safetensors"], ["noise.safetensors"]),
    ("wan2.2", ["--image", "first.png", "--image-embeds", "prompts.safetensors"], ["give one"]),
    ("wan2.2", ["--image-embeds", "prompts.safetensors"], ["prompts.safetensors", "condition"]),
    ("wan2.2", ["--image", "first.png", "--strategy", "fifo"], ["fifo", "image"]),
    ("wan2.2", ["--image", "first.png", "--last-image", "last.png", "--frames", "12"], ["cut off", "12"]),
])
def test_refused(models, tmp_path, name, flags, words):
    given = [tmp_path / word if "." in word else word for word in flags]
    done = generate(models[name], tmp_path, *given)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode in (1, 2) and last.startswith("error: ") and all(word in last for word in words), last


@pytest.mark.parametrize("absent", ["image_encoder/model.safetensors", "image_encoder/config.json"])
def test_an_image_encoder_without_its_files_is_refused(models, tmp_path, absent):
    model = tmp_path / "model"
    shutil.copytree(models["wan2.1"], model)
    (model / absent).unlink()
    done = generate(model, tmp_path, "--image", tmp_path / "first.png")
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and last.startswith("error: ") and "image_encoder" in last, last


def test_text_models_take_no_image(checkpoints, tmp_path):
    done = generate(checkpoints("three_heads"), tmp_path, "--image", tmp_path / "first.png")
    assert done.returncode == 2 and "text alone" in done.stderr
