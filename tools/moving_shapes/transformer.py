# SPDX-License-Identifier: Apache-2.0
"""The transformer's shape (about 5 million parameters, otherwise as Wan 2.1) and a quicker attention for training.

On CPU the fused attention's backward pass is a third of a training step at these sizes; plain batched
matrix products in bf16 are several times faster. Same mathematics: `python transformer.py` compares and times.
"""
from __future__ import annotations

import functools

import torch
import torch.nn.functional as F


def build():
    from diffusers import WanTransformer3DModel

    return WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=6, attention_head_dim=32, in_channels=16, out_channels=16,
        text_dim=64, freq_dim=128, ffn_dim=768, num_layers=8, cross_attn_norm=True,
        qk_norm="rms_norm_across_heads", eps=1e-6, rope_max_seq_len=1024)


def load(model: str):
    """The transformer of an exported checkpoint, in fp32."""
    from diffusers import WanTransformer3DModel

    return WanTransformer3DModel.from_pretrained(model, subfolder="transformer", torch_dtype=torch.float32)


def _rotate(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Pairs (x0, x1) -> (x0 cos - x1 sin, x0 sin + x1 cos); x [batch, heads, tokens, head_dim]."""
    pairs = x.unflatten(-1, (-1, 2))
    turned = torch.stack((-pairs[..., 1], pairs[..., 0]), -1).flatten(-2)
    return x * cosine + turned * sine


class TrainingAttention:
    """Attention processor for training under bf16 autocast."""

    _attention_backend = None
    _parallel_config = None

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, rotary_emb=None):
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states

        def heads(x):
            return x.unflatten(2, (attn.heads, -1)).transpose(1, 2)  # [batch, heads, tokens, head_dim]

        def norm(x, layer):
            scale = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + layer.eps)
            return (x * scale.to(x.dtype)) * layer.weight.to(x.dtype)

        query, key = heads(norm(attn.to_q(hidden_states), attn.norm_q)), heads(norm(attn.to_k(source), attn.norm_k))
        value = heads(attn.to_v(source))
        if rotary_emb is not None:
            cosine, sine = (table.transpose(1, 2).to(query.dtype) for table in rotary_emb)
            query, key = _rotate(query, cosine, sine), _rotate(key, cosine, sine)
        weights = torch.softmax((query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2), -1, dtype=query.dtype)
        out = (weights @ value).transpose(1, 2).flatten(2)
        return attn.to_out[0](out)


def _layer(block, hidden_states, encoder_hidden_states, temb, rotary_emb):
    """WanTransformerBlock.forward with the element-wise work in the precision of `hidden_states`."""
    width, kind = (hidden_states.shape[-1],), hidden_states.dtype
    shift1, scale1, gate1, shift2, scale2, gate2 = (block.scale_shift_table + temb.float()).to(kind).chunk(6, 1)
    x = torch.addcmul(shift1, F.layer_norm(hidden_states, width, eps=block.norm1.eps), 1 + scale1)
    hidden_states = torch.addcmul(hidden_states, block.attn1(x, None, None, rotary_emb), gate1)
    weight, bias = block.norm2.weight.to(kind), block.norm2.bias.to(kind)
    x = F.layer_norm(hidden_states, width, weight, bias, block.norm2.eps)
    hidden_states = hidden_states + block.attn2(x, encoder_hidden_states, None, None)
    x = torch.addcmul(shift2, F.layer_norm(hidden_states, width, eps=block.norm3.eps), 1 + scale2)
    return torch.addcmul(hidden_states, block.ffn(x), gate2)


def quicken(model, compiled: bool = False) -> None:
    """Puts the quicker forward into every layer (plain python: nothing of it is saved).

    compiled: through torch.compile, once for all layers and lengths.
    """
    layer = torch.compile(_layer, dynamic=True) if compiled else _layer
    for block in model.blocks:
        block.attn1.set_processor(TrainingAttention())
        block.attn2.set_processor(TrainingAttention())
        block.forward = functools.partial(layer, block)


if __name__ == "__main__":
    import time

    torch.manual_seed(0)
    torch.set_num_threads(2)
    model = build()
    print("parameters", sum(p.numel() for p in model.parameters()))
    x, text, t = torch.randn(16, 16, 9, 8, 12), torch.randn(16, 32, 64), torch.rand(16) * 1000
    with torch.no_grad():
        expected = model(x, t, text, return_dict=False)[0]
    for name in ("diffusers", "quick", "compiled"):
        if name != "diffusers":
            quicken(model, name == "compiled")
            with torch.no_grad():
                print("largest difference in fp32", (model(x, t, text, return_dict=False)[0] - expected).abs().max().item())
        for _ in range(3):
            start = time.time()
            with torch.autocast("cpu", torch.bfloat16):
                out = model(x, t, text, return_dict=False)[0]
            middle = time.time()
            out.float().square().mean().backward()
            print(f"{name}: forward {middle - start:.3f} s, backward {time.time() - middle:.3f} s")
