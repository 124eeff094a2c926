# SPDX-License-Identifier: Apache-2.0
"""Small random checkpoints made by diffusers and transformers, and the probe that runs our parts on them."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess

import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import UMT5Config, UMT5EncoderModel

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("DUALPARAL_BUILD", ROOT / "build"))
EMBEDDED = ROOT / "models" / "moving-shapes"

torch.set_grad_enabled(False)


@dataclasses.dataclass
class Variant:
    """What makes one checkpoint different from the others."""

    transformer: dict
    vae: dict
    text_encoder: dict
    dtype: torch.dtype = torch.float32
    max_shard_size: str = "10GB"


# Odd numbers of heads, channels that are no multiple of anything, one or several shards, fp32 or bf16 files.
VARIANTS = {
    "three_heads": Variant(
        dict(num_attention_heads=3, attention_head_dim=24, ffn_dim=100, num_layers=3, text_dim=40, freq_dim=32),
        dict(base_dim=8, dim_mult=[1, 2, 4, 4], num_res_blocks=1),
        dict(d_model=40, d_kv=12, d_ff=56, num_layers=3, num_heads=3),
    ),
    "five_heads_in_shards": Variant(
        dict(num_attention_heads=5, attention_head_dim=20, ffn_dim=140, num_layers=4, text_dim=24, freq_dim=20,
             cross_attn_norm=False, eps=1e-5),
        dict(base_dim=6, dim_mult=[1, 1, 2, 3], num_res_blocks=2),
        dict(d_model=24, d_kv=8, d_ff=40, num_layers=4, num_heads=5, relative_attention_num_buckets=8,
             relative_attention_max_distance=20),
        max_shard_size="150KB",
    ),
    "bf16_files": Variant(
        dict(num_attention_heads=2, attention_head_dim=44, ffn_dim=96, num_layers=2, text_dim=32, freq_dim=64,
             rope_max_seq_len=64),
        dict(base_dim=8, dim_mult=[1, 2, 2, 2], num_res_blocks=2, temperal_downsample=[True, True, False]),
        dict(d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2, relative_attention_num_buckets=32),
        dtype=torch.bfloat16,
        max_shard_size="100KB",
    ),
}
MODELS = [*VARIANTS, "moving-shapes"]


def randomise(module: torch.nn.Module, seed: int, attention_gain: float = 1.0):
    """Every weight counts, norms and biases too, and the activations stay of size one."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in module.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        is_norm = "norm" in name and name.endswith("weight") or name.endswith("gamma")
        fan_in = weight[0].numel() if weight.dim() > 1 else 1
        if is_norm:
            weight.copy_(1 + 0.2 * noise)
        elif name.endswith("bias"):
            weight.copy_(0.1 * noise)
        elif "scale_shift_table" in name or "relative_attention_bias" in name:
            weight.copy_(0.5 * noise)
        elif "shared" in name or "embed_tokens" in name:
            weight.copy_(noise)
        else:
            gain = attention_gain if name.endswith(("q.weight", "k.weight")) else 1.0
            weight.copy_(gain * noise / fan_in**0.5)


def make_checkpoint(folder: pathlib.Path, variant: Variant, seed: int) -> pathlib.Path:
    tokenizer = EMBEDDED / "tokenizer"
    shutil.copytree(tokenizer, folder / "tokenizer")
    vocab_size = json.loads((EMBEDDED / "text_encoder" / "config.json").read_text())["vocab_size"]
    statistics = torch.randn(2, 16, generator=torch.Generator().manual_seed(seed)).tolist()
    parts = {
        "transformer": WanTransformer3DModel(in_channels=16, out_channels=16, **variant.transformer),
        "vae": AutoencoderKLWan(z_dim=16, latents_mean=[round(0.2 * m, 3) for m in statistics[0]],
                                latents_std=[round(1 + abs(s), 3) for s in statistics[1]], **variant.vae),
        "text_encoder": UMT5EncoderModel(UMT5Config(vocab_size=vocab_size, **variant.text_encoder)),
    }
    for i, (name, part) in enumerate(parts.items()):
        # T5 does not scale the product of query and key.
        gain = variant.text_encoder["d_kv"] ** -0.25 if name == "text_encoder" else 1.0
        randomise(part, seed + i, gain)
        part.to(variant.dtype).save_pretrained(folder / name, max_shard_size=variant.max_shard_size)
    UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0,
                            num_train_timesteps=1000).save_pretrained(folder / "scheduler")
    shutil.copy(EMBEDDED / "model_index.json", folder)
    return folder


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Folders by name, made when first asked for."""
    made = {"moving-shapes": EMBEDDED}

    def get(name: str) -> pathlib.Path:
        if name not in made:
            made[name] = make_checkpoint(tmp_path_factory.mktemp(name), VARIANTS[name], 100 + list(VARIANTS).index(name))
        return made[name]

    return get


@pytest.fixture(params=MODELS)
def model_dir(request, checkpoints):
    return checkpoints(request.param)


@pytest.fixture
def probe(tmp_path):
    """probe(part, model_dir, tensors, metadata, dtype) -> (tensors, metadata)"""

    def run(part, model_dir, tensors=None, metadata=None, dtype="fp32"):
        inputs, outputs = tmp_path / "inputs.safetensors", tmp_path / "outputs.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in (tensors or {}).items()}, inputs, metadata=metadata)
        command = [BUILD / "tests" / "parity_probe", part, model_dir, inputs, outputs, "--dtype", dtype]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        with safe_open(outputs, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}

    return run


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, relative to the largest number of `expected`."""
    assert actual.shape == expected.shape
    assert actual.isfinite().all()
    return ((actual.double() - expected.double()).abs().max() / expected.double().abs().max()).item()


def check_error(record_property, actual, expected, limit: float):
    error = relative_error(actual, expected)
    record_property("relative_error", error)
    print(f"relative error {error:.2e} (limit {limit:.0e})")
    assert error < limit


def check_bf16(record_property, ours, reference_bf16, reference_fp32):
    """bf16 has no tolerance of its own: rounding noise depends on the network. So the reference's own bf16 run says how
    much is usual, and ours may be at most half as much again away from the fp32 result (root mean square: the largest
    single difference is a matter of luck)."""

    def noise(result):
        return ((result.double() - reference_fp32.double()).square().mean() / reference_fp32.double().square().mean()).sqrt()

    mine, usual = noise(ours).item(), noise(reference_bf16).item()
    record_property("bf16_noise", mine)
    record_property("bf16_noise_of_the_reference", usual)
    print(f"bf16 noise {mine:.2e}, of the reference {usual:.2e}")
    assert mine <= 1.5 * usual
