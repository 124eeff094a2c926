# SPDX-License-Identifier: Apache-2.0
"""Wan's transformer in PyTorch, beside which the program is timed: written here in PyTorch's own operations as anyone would
(`plain`, and `compiled` by torch.compile), or diffusers' own where it is installed. Random weights.

    python plain_transformer.py plain|compiled|diffusers CONFIG.json --device cuda:0 --dtype bf16 --latents 21,60,104

Prints JSON: seconds of the two predictions of a guided step, one after the other.
"""
from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
ROUNDS, LEAST_S = 3, 1.0  # timed rounds at least, and seconds


def rotated(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """x [batch, heads, tokens, head_dim]; angles [tokens, head_dim / 2]. Pairs of neighbours are turned, in fp32."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()), -1)
    return turned.flatten(-2).to(x.dtype)


def rotary_angles(grid: tuple[int, int, int], head_dim: int, device) -> torch.Tensor:
    """[tokens, head_dim / 2]: frames, rows and columns have a part of the frequencies each."""
    side = 2 * (head_dim // 6)
    parts = []
    for axis, (count, width) in enumerate(zip(grid, (head_dim - 2 * side, side, side))):
        frequencies = 10000.0 ** -(torch.arange(0, width, 2, device=device) / width)
        shape = [1, 1, 1, width // 2]
        shape[axis] = count
        parts.append((torch.arange(count, device=device)[:, None] * frequencies).view(shape).expand(*grid, width // 2))
    return torch.cat(parts, -1).flatten(0, 2)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = nn.RMSNorm(dim, eps=1e-6), nn.RMSNorm(dim, eps=1e-6)

    def forward(self, x, context=None, angles=None):
        context = x if context is None else context
        q, k, v = self.norm_q(self.q(x)), self.norm_k(self.k(context)), self.v(context)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        if angles is not None:
            q, k = rotated(q, angles), rotated(k, angles)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self.seen, self.told = Attention(dim, heads), Attention(dim, heads)
        self.feed_forward = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, dim))
        self.norm = nn.LayerNorm(dim)
        self.table = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)

    def forward(self, x, text, time, angles):
        def modulated(value, scale, shift):
            return (F.layer_norm(value.float(), value.shape[-1:]) * (1 + scale) + shift).to(x.dtype)

        shift, scale, gate, shift2, scale2, gate2 = (self.table.float() + time).chunk(6, 1)
        x = (x.float() + self.seen(modulated(x, scale, shift), angles=angles) * gate).to(x.dtype)
        x = x + self.told(self.norm(x), text)
        return (x.float() + self.feed_forward(modulated(x, scale2, shift2)) * gate2).to(x.dtype)


class PlainWan(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        dim = c["num_attention_heads"] * c["attention_head_dim"]
        self.patch, self.head_dim, self.freq = tuple(c["patch_size"]), c["attention_head_dim"], c["freq_dim"]
        self.embed = nn.Conv3d(c["in_channels"], dim, self.patch, self.patch)
        self.text = nn.Sequential(nn.Linear(c["text_dim"], dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim))
        self.time = nn.Sequential(nn.Linear(c["freq_dim"], dim), nn.SiLU(), nn.Linear(dim, dim))
        self.modulation = nn.Linear(dim, 6 * dim)
        self.layers = nn.ModuleList(Layer(dim, c["num_attention_heads"], c["ffn_dim"]) for _ in range(c["num_layers"]))
        self.table = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.head = nn.Linear(dim, c["out_channels"] * self.patch[0] * self.patch[1] * self.patch[2])

    def forward(self, latents, timestep, text):
        x = self.embed(latents)
        grid = tuple(x.shape[2:])
        x = x.flatten(2).transpose(1, 2)  # [batch, tokens, dim]
        waves = timestep.float()[:, None] * 10000.0 ** -(torch.arange(self.freq // 2, device=x.device) / (self.freq // 2))
        time = self.time(torch.cat((waves.cos(), waves.sin()), -1).to(x.dtype))
        steps = self.modulation(F.silu(time)).unflatten(-1, (6, -1)).float()
        text, angles = self.text(text), rotary_angles(grid, self.head_dim, x.device)
        for layer in self.layers:
            x = layer(x, text, steps, angles)
        shift, scale = (self.table.float() + time[:, None].float()).chunk(2, 1)
        x = self.head((F.layer_norm(x.float(), x.shape[-1:]) * (1 + scale) + shift).to(x.dtype))
        f, h, w = grid
        return x.view(x.shape[0], f, h, w, *self.patch, -1).permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)


def made(how: str, config: dict, device, dtype) -> nn.Module:
    with torch.device(device):
        if how == "diffusers":
            from diffusers import WanTransformer3DModel
            return WanTransformer3DModel(**{k: v for k, v in config.items() if not k.startswith("_")}).to(dtype).eval()
        model = PlainWan(config).to(dtype).eval()
    return torch.compile(model) if how == "compiled" else model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=["plain", "compiled", "diffusers"])
    parser.add_argument("config", type=Path)
    parser.add_argument("--device", type=torch.device, required=True)
    parser.add_argument("--dtype", choices=DTYPES, required=True)
    parser.add_argument("--latents", required=True, help="frames,height,width")
    parser.add_argument("--text-tokens", type=int, default=512)
    parser.add_argument("--layers", type=int, help="instead of the configuration's")
    o = parser.parse_args()
    config, on_gpu = json.loads(o.config.read_text()), o.device.type == "cuda"
    config["num_layers"] = o.layers or config["num_layers"]
    if not on_gpu:
        torch.set_num_threads(1)  # as the program in a rehearsal
    try:
        model = made(o.how, config, o.device, DTYPES[o.dtype])
    except ImportError as error:
        print(json.dumps({"missing": f"diffusers cannot be imported: {error}"}))
        return
    place = {"device": o.device, "dtype": DTYPES[o.dtype]}
    latents = torch.randn(1, config["in_channels"], *map(int, o.latents.split(",")), **place)
    texts, timestep = torch.randn(2, 1, o.text_tokens, config["text_dim"], **place), torch.tensor([500.0], device=o.device)

    @torch.inference_mode()
    def step() -> float:
        begin = time.perf_counter()
        for text in texts:  # the conditional and the unconditional prediction
            out = model(latents, timestep, text)
        out = out if torch.is_tensor(out) else out[0]
        if on_gpu:
            torch.cuda.synchronize()
        assert out.shape == latents.shape and out.isfinite().all()
        return time.perf_counter() - begin

    begin = time.perf_counter()
    try:
        step()
    except Exception as error:
        if o.how != "compiled":
            raise
        last = (str(error).strip().splitlines() or [type(error).__name__])[0]
        print(json.dumps({"missing": f"torch.compile does not work here: {last[:300]}"}))
        return
    first, samples = time.perf_counter() - begin, []
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    while len(samples) < ROUNDS or sum(samples) < LEAST_S:
        samples.append(step())
    print(json.dumps({"implementation": o.how, "s_per_step": statistics.median(samples), "samples_s": samples, "first_step_s": first,
                      "dtype": o.dtype, "layers": config["num_layers"], "text_tokens": o.text_tokens,
                      "peak_memory_bytes": torch.cuda.max_memory_allocated() if on_gpu else None}))


if __name__ == "__main__":
    main()
