# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from conftest import check_bf16, check_error
from diffusers import WanTransformer3DModel


def make_inputs(model, frames, height, width, tokens, batch=2):
    generator = torch.Generator().manual_seed(frames * 1000 + height * 10 + width)
    return {
        "hidden_states": torch.randn(batch, 16, frames, height, width, generator=generator),
        "encoder_hidden_states": torch.randn(batch, tokens, model.config.text_dim, generator=generator),
    }


def load(model_dir, dtype=torch.float32):
    return WanTransformer3DModel.from_pretrained(model_dir / "transformer", torch_dtype=dtype).eval()


@pytest.mark.parametrize("size, timestep", [((1, 2, 2), 0.0), ((3, 4, 6), 999.0), ((2, 10, 2), 37.5)], ids=str)
def test_one_timestep(model_dir, probe, record_property, size, timestep):
    model = load(model_dir)
    inputs = make_inputs(model, *size, tokens=7)
    expected = model(**inputs, timestep=torch.tensor([timestep] * 2)).sample
    ours, _ = probe("transformer", model_dir, {**inputs, "timestep": torch.tensor([timestep])})
    check_error(record_property, ours["sample"], expected, 1e-4)


def test_a_timestep_for_every_frame(model_dir, probe, record_property):
    """diffusers takes one for every token: [batch, tokens]."""
    model = load(model_dir)
    frames, height, width = 5, 4, 6
    inputs = make_inputs(model, frames, height, width, tokens=5)
    timesteps = torch.tensor([3.0, 250.0, 251.0, 700.0, 999.0])
    per_token = timesteps.repeat_interleave(height * width // 4).expand(2, -1)
    expected = model(**inputs, timestep=per_token).sample
    ours, _ = probe("transformer", model_dir, {**inputs, "timestep": timesteps})
    check_error(record_property, ours["sample"], expected, 1e-4)


def test_bf16(model_dir, probe, record_property):
    inputs = make_inputs(load(model_dir), 3, 8, 6, tokens=9)
    timestep = torch.tensor([640.0])
    both = timestep.expand(2)
    exact = load(model_dir, torch.bfloat16).float()(**inputs, timestep=both).sample
    narrow = {name: tensor.bfloat16() for name, tensor in inputs.items()}
    theirs = load(model_dir, torch.bfloat16)(**narrow, timestep=both).sample
    ours, _ = probe("transformer", model_dir, {**inputs, "timestep": timestep}, dtype="bf16")
    check_bf16(record_property, ours["sample"], theirs, exact)
