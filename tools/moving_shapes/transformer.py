# SPDX-License-Identifier: Apache-2.0
"""The transformer's shape (about 5 million parameters, otherwise as Wan 2.1) and a quicker attention for training.

On CPU the fused attention's backward pass is a third of a training step at these sizes; plain batched
matrix products in bf16 are several times faster. Same mathematics: `python transformer.py` compares and times.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F


def build():
    from diffusers import WanTransformer3DModel

    return WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=6, attention_head_dim=32, in_channels=16, out_channels=16,
        text_dim=64, freq_dim=128, ffn_dim=768, num_layers=8, cross_attn_norm=True,
        qk_norm="rms_norm_across_heads", eps=1e-6, rope_max_seq_len=1024)


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


def quicken(model) -> None:
    """Puts TrainingAttention into every layer (plain python: nothing of it is saved)."""
    for block in model.blocks:
        block.attn1.set_processor(TrainingAttention())
        block.attn2.set_processor(TrainingAttention())


if __name__ == "__main__":
    import time

    torch.manual_seed(0)
    torch.set_num_threads(2)
    model = build()
    print("parameters", sum(p.numel() for p in model.parameters()))
    x, text, t = torch.randn(16, 16, 9, 8, 12), torch.randn(16, 32, 64), torch.rand(16) * 1000
    with torch.no_grad():
        expected = model(x, t, text, return_dict=False)[0]
    for name in ("diffusers", "quick"):
        if name == "quick":
            quicken(model)
            with torch.no_grad():
                print("largest difference in fp32", (model(x, t, text, return_dict=False)[0] - expected).abs().max().item())
        for _ in range(3):
            start = time.time()
            with torch.autocast("cpu", torch.bfloat16):
                out = model(x, t, text, return_dict=False)[0]
            middle = time.time()
            out.float().square().mean().backward()
            print(f"{name}: forward {middle - start:.3f} s, backward {time.time() - middle:.3f} s")
