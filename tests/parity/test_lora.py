# SPDX-License-Identifier: Apache-2.0
"""LoRA files of three styles against diffusers: its own conversion of their names, and its pipeline with what they say
added to the weights."""

import json
import subprocess

import pytest
import torch
from conftest import BUILD, check_error
from diffusers import WanTransformer3DModel
from diffusers.loaders import WanLoraLoaderMixin
from safetensors.torch import save_file

RANK, ALPHA = 3, 6.0
ORIGINAL = {"attn1.to_q": "self_attn.q", "attn1.to_k": "self_attn.k", "attn1.to_v": "self_attn.v",
            "attn1.to_out.0": "self_attn.o", "attn2.to_q": "cross_attn.q", "attn2.to_k": "cross_attn.k",
            "attn2.to_v": "cross_attn.v", "attn2.to_out.0": "cross_attn.o", "ffn.net.0.proj": "ffn.0",
            "ffn.net.2": "ffn.2"}


def load(model_dir):
    return WanTransformer3DModel.from_pretrained(model_dir / "transformer", torch_dtype=torch.float32).eval()


def pairs(model, seed=5):
    """(block, module) -> down, up for every linear layer of every block."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for index, block in enumerate(model.blocks):
        for module in ORIGINAL:
            out, width = block.get_submodule(module).weight.shape
            made[index, module] = (torch.randn(RANK, width, generator=generator) / width**0.5,
                                   torch.randn(out, RANK, generator=generator) / RANK**0.5)
    return made


def diffusers_style(made):
    tensors = {}
    for (index, module), (down, up) in made.items():
        tensors[f"transformer.blocks.{index}.{module}.lora_A.weight"] = down
        tensors[f"transformer.blocks.{index}.{module}.lora_B.weight"] = up
    return tensors


def original_style(made):
    tensors = {}
    for (index, module), (down, up) in made.items():
        name = f"diffusion_model.blocks.{index}.{ORIGINAL[module]}"
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(ALPHA),
                    f"{name}.diff_b": 0.1 * up[:, 0]}
    return tensors


def kohya_style(made):
    tensors = {}
    for (index, module), (down, up) in made.items():
        name = f"lora_unet_blocks_{index}_{ORIGINAL[module].replace('.', '_')}"
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(ALPHA)}
    return tensors


STYLES = {"diffusers": diffusers_style, "original": original_style, "kohya": kohya_style}


def merge(model, tensors, scale):
    """What diffusers makes of the file, added to the weights."""
    converted = WanLoraLoaderMixin.lora_state_dict({name: tensor.clone() for name, tensor in tensors.items()})
    for name, up in converted.items():
        if name.endswith("lora_B.weight"):
            linear = model.get_submodule(name.removeprefix("transformer.").removesuffix(".lora_B.weight"))
            linear.weight += scale * up @ converted[name.replace("lora_B", "lora_A")]
            bias = converted.get(name.replace("lora_B.weight", "lora_B.bias"))
            if bias is not None:
                linear.bias += scale * bias


def inputs(model):
    generator = torch.Generator().manual_seed(8)
    return {"hidden_states": torch.randn(2, model.config.in_channels, 2, 4, 6, generator=generator),
            "encoder_hidden_states": torch.randn(2, 7, model.config.text_dim, generator=generator)}


def sample(probe, model_dir, model, *loras):
    given = {**inputs(model), "timestep": torch.tensor([431.0])}
    return probe("transformer", model_dir, given, {"loras": json.dumps([str(lora) for lora in loras])})[0]["sample"]


def expected(model):
    return model(**inputs(model), timestep=torch.tensor([431.0] * 2)).sample


@pytest.mark.parametrize("style", STYLES)
def test_a_file_of_each_style(model_dir, probe, tmp_path, record_property, style):
    model = load(model_dir)
    tensors = STYLES[style](pairs(model))
    save_file(tensors, tmp_path / "lora.safetensors")
    before = expected(model)
    merge(model, tensors, 0.75)
    after = expected(model)
    assert (after - before).abs().max() > 0.05 * before.abs().max(), "the file changes nothing worth comparing"
    check_error(record_property, sample(probe, model_dir, model, f"{tmp_path}/lora.safetensors:0.75"), after, 1e-4)


def test_several_files_add_up(model_dir, probe, tmp_path, record_property):
    model = load(model_dir)
    files = []
    for seed, (style, scale) in enumerate((("diffusers", 1), ("kohya", -0.5))):
        tensors = STYLES[style](pairs(model, seed))
        files.append(f"{tmp_path}/{style}.safetensors:{scale}")
        save_file(tensors, tmp_path / f"{style}.safetensors")
        merge(model, tensors, scale)
    check_error(record_property, sample(probe, model_dir, model, *files), expected(model), 1e-4)


def test_alpha_in_the_metadata(model_dir, probe, tmp_path, record_property):
    """As diffusers' save_lora_weights writes it: one alpha for the whole adapter."""
    model = load(model_dir)
    tensors = diffusers_style(pairs(model))
    adapter = {"transformer.r": RANK, "transformer.lora_alpha": 2 * RANK, "transformer.alpha_pattern": {}}
    save_file(tensors, tmp_path / "lora.safetensors", {"lora_adapter_metadata": json.dumps(adapter)})
    merge(model, tensors, 2)
    check_error(record_property, sample(probe, model_dir, model, tmp_path / "lora.safetensors"), expected(model), 1e-4)


def test_layers_outside_of_blocks_and_whole_differences(model_dir, probe, tmp_path, record_property):
    model = load(model_dir)
    generator = torch.Generator().manual_seed(4)
    numbers = lambda *shape: 0.2 * torch.randn(shape, generator=generator)
    dim, patch = model.scale_shift_table.shape[-1], model.patch_embedding.weight
    projection, text = model.condition_embedder.time_proj, model.condition_embedder.text_embedder.linear_1
    tensors = {"patch_embedding.lora_down.weight": numbers(2, *patch.shape[1:]),
               "patch_embedding.lora_up.weight": numbers(dim, 2, 1, 1, 1),
               "time_projection.1.lora_down.weight": numbers(2, dim), "time_projection.1.lora_up.weight": numbers(6 * dim, 2),
               "text_embedding.0.diff": numbers(*text.weight.shape), "text_embedding.0.diff_b": numbers(dim),
               "blocks.1.self_attn.norm_q.diff": numbers(dim), "blocks.0.modulation.diff": numbers(1, 6, dim),
               "head.modulation.diff": numbers(1, 2, dim), "head.head.diff": numbers(*model.proj_out.weight.shape)}
    save_file({f"diffusion_model.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "lora.safetensors")
    down, up = tensors["patch_embedding.lora_down.weight"], tensors["patch_embedding.lora_up.weight"]
    patch += torch.einsum("or,ritxy->oitxy", up[..., 0, 0, 0], down)
    projection.weight += tensors["time_projection.1.lora_up.weight"] @ tensors["time_projection.1.lora_down.weight"]
    text.weight += tensors["text_embedding.0.diff"]
    text.bias += tensors["text_embedding.0.diff_b"]
    model.blocks[1].attn1.norm_q.weight += tensors["blocks.1.self_attn.norm_q.diff"]
    model.blocks[0].scale_shift_table += tensors["blocks.0.modulation.diff"]
    model.scale_shift_table += tensors["head.modulation.diff"]
    model.proj_out.weight += tensors["head.head.diff"]
    check_error(record_property, sample(probe, model_dir, model, tmp_path / "lora.safetensors"), expected(model), 1e-4)


def generate(model_dir, folder, *flags):
    done = subprocess.run([str(word) for word in (
        BUILD / "dualparal", "generate", "--model", model_dir, "--frames", 13, "--height", 32, "--width", 48, "--steps", 2,
        "--prompt", "a red circle", "--seed", 3, "--no-decode", "--no-quality", "--quiet", "--threads", 1, *flags)],
        capture_output=True, text=True)
    return done


def test_every_rank_merges_the_layers_that_it_holds(checkpoints, tmp_path, record_property):
    from safetensors.torch import load_file
    model_dir = checkpoints("three_heads")
    save_file(original_style(pairs(load(model_dir))), tmp_path / "lora.safetensors")
    latents = []
    for name, flags in (("one", ["--strategy", "single"]), ("three", ["--strategy", "naive_pipeline", "--nproc", 3]),
                        ("none", ["--strategy", "single"])):
        lora = [] if name == "none" else ["--lora", f"{tmp_path}/lora.safetensors:0.5"]
        file, result = tmp_path / f"{name}.safetensors", tmp_path / f"{name}.jsonl"
        done = generate(model_dir, tmp_path, *flags, *lora, "--save-latents", file, "--result", result)
        assert done.returncode == 0, done.stderr
        latents.append(load_file(file)["latents"])
        recorded = json.loads(result.read_text())["config"]["lora"]
        assert recorded == ([] if name == "none" else
                            [{"file": f"{tmp_path}/lora.safetensors", "scale": 0.5, "expert": ""}])
    check_error(record_property, latents[1], latents[0], 1e-5)
    assert (latents[2] - latents[0]).abs().max() > 1e-2


@pytest.mark.parametrize("wrong, words", [
    (lambda t: t | {"lora_unet_blocks_0_self_attn_z.lora_down.weight": torch.zeros(3, 4)}, ["self_attn_z"]),
    (lambda t: t | {"transformer.blocks.7.attn1.to_q.lora_A.weight": torch.zeros(3, 72),
                    "transformer.blocks.7.attn1.to_q.lora_B.weight": torch.zeros(72, 3)}, ["blocks.7.attn1.to_q"]),
    (lambda t: t | {"transformer.blocks.0.attn1.to_q.dora_scale": torch.zeros(3)}, ["dora_scale"]),
    (lambda t: t | {"transformer.blocks.0.attn1.norm_q.diff_b": torch.zeros(72)}, ["norm_q.diff_b"]),
    (lambda t: t | {"transformer.blocks.0.attn1.to_q.lora_B.weight": torch.zeros(72, 4)}, ["to_q.lora_B", "[72, 3]", "[72, 4]"]),
    (lambda t: t | {"transformer.blocks.0.attn1.to_q.lora_A.weight": torch.full((3, 72), torch.nan)}, ["to_q.lora_A", "finite"]),
    (lambda t: {k: v for k, v in t.items() if k != "transformer.blocks.2.ffn.net.2.lora_A.weight"}, ["blocks.2.ffn.net.2", "down"]),
])
def test_what_does_not_fit_is_refused_by_name(checkpoints, tmp_path, wrong, words):
    model_dir = checkpoints("three_heads")
    file = tmp_path / "lora.safetensors"
    save_file(wrong(diffusers_style(pairs(load(model_dir)))), file)
    done = generate(model_dir, tmp_path, "--strategy", "single", "--lora", file)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and last.startswith("error: ") and all(word in last for word in [str(file), *words]), last


@pytest.mark.parametrize("given, words", [("nowhere.safetensors", ["nowhere.safetensors"]), (":2", ["--lora"]),
                                          ("high=a.safetensors", ["high", "one transformer"])])
def test_wrong_flags(checkpoints, tmp_path, given, words):
    done = generate(checkpoints("three_heads"), tmp_path, "--strategy", "single", "--lora", given)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode in (1, 2) and last.startswith("error: ") and all(word in last for word in words), last
