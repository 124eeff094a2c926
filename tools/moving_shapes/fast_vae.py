# SPDX-License-Identifier: Apache-2.0
"""A whole chunk of frames through the parameters of diffusers' AutoencoderKLWan in one call.

diffusers walks a clip 1 + 4 + 4 ... frames at a time and clamps what it decodes;
training wants long chunks, gradients and no clamp. These functions compute the
same (test: `python fast_vae.py`), keep the last inputs of every causal
convolution in `cache` (a dict, detached), and so also continue an endless stream.
An empty cache means that the chunk opens the clip: its first frame stands alone.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F

from fused import norm_silu


def causal(conv, x: torch.Tensor, cache: dict, spatial: tuple[int, int]) -> torch.Tensor:
    depth = conv.kernel_size[0]
    if depth == 1:
        return F.conv3d(x, conv.weight, conv.bias)
    past = cache.get(conv)
    if past is None and x.shape[2] == 1:  # only the last temporal tap meets a frame
        cache[conv] = F.pad(x.detach(), (0, 0, 0, 0, depth - 2, 0))
        return F.conv2d(x[:, :, 0], conv.weight[:, :, -1], conv.bias, padding=spatial)[:, :, None]
    x = F.pad(x, (0, 0, 0, 0, depth - 1, 0)) if past is None else torch.cat([past, x], 2)
    cache[conv] = x[:, :, 1 - depth:].detach()
    return F.conv3d(x, conv.weight, conv.bias, padding=(0, *spatial))


def resnet(block, x: torch.Tensor, cache: dict) -> torch.Tensor:
    shortcut = x if isinstance(block.conv_shortcut, torch.nn.Identity) else causal(block.conv_shortcut, x, cache, (0, 0))
    x = causal(block.conv1, norm_silu(x, block.norm1.gamma), cache, (1, 1))
    return shortcut + causal(block.conv2, norm_silu(x, block.norm2.gamma), cache, (1, 1))


def _per_frame(function, x: torch.Tensor) -> torch.Tensor:
    batch, _, frames = x.shape[:3]
    y = function(x.transpose(1, 2).flatten(0, 1))
    return y.unflatten(0, (batch, frames)).transpose(1, 2)


def resample(layer, x: torch.Tensor, cache: dict) -> torch.Tensor:
    if layer.mode == "upsample3d":
        opening = layer not in cache
        cache[layer] = True
        first, rest = (x[:, :, :1], x[:, :, 1:]) if opening else (x[:, :, :0], x)
        if rest.shape[2]:
            past = cache.get(layer.time_conv)
            padded = F.pad(rest, (0, 0, 0, 0, 2, 0)) if past is None else torch.cat([past, rest], 2)
            cache[layer.time_conv] = padded[:, :, -2:].detach()
            twice = F.conv3d(padded, layer.time_conv.weight, layer.time_conv.bias)
            rest = twice.unflatten(1, (2, -1)).permute(0, 2, 3, 1, 4, 5).flatten(2, 3)
        x = torch.cat([first, rest], 2) if opening else rest
    if layer.mode.startswith("upsample"):
        conv = layer.resample[1]
        return _per_frame(lambda y: F.conv2d(
            y.repeat_interleave(2, 2).repeat_interleave(2, 3), conv.weight, conv.bias, padding=1), x)
    conv = layer.resample[1]
    x = _per_frame(lambda y: F.conv2d(F.pad(y, (0, 1, 0, 1)), conv.weight, conv.bias, stride=2), x)
    if layer.mode == "downsample3d":
        past = cache.get(layer)
        cache[layer] = x[:, :, -1:].detach()
        if past is not None:
            x = F.conv3d(torch.cat([past, x], 2), layer.time_conv.weight, layer.time_conv.bias, stride=(2, 1, 1))
        elif x.shape[2] > 1:
            rest = F.conv3d(x, layer.time_conv.weight, layer.time_conv.bias, stride=(2, 1, 1))
            x = torch.cat([x[:, :, :1], rest], 2)
    return x


def middle(block, x: torch.Tensor, cache: dict, attention: bool) -> torch.Tensor:
    x = resnet(block.resnets[0], x, cache)
    return resnet(block.resnets[1], block.attentions[0](x) if attention else x, cache)


def encode(vae, video: torch.Tensor, cache: dict, attention: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames [batch, 3, frames, height, width] -> mean and log variance of their latents."""
    encoder = vae.encoder
    x = causal(encoder.conv_in, video, cache, (1, 1))
    for layer in encoder.down_blocks:
        x = resample(layer, x, cache) if hasattr(layer, "resample") else resnet(layer, x, cache)
    x = middle(encoder.mid_block, x, cache, attention)
    x = causal(encoder.conv_out, norm_silu(x, encoder.norm_out.gamma), cache, (1, 1))
    x = causal(vae.quant_conv, x, cache, (0, 0))
    mean, log_variance = x.float().chunk(2, 1)
    return mean, log_variance.clamp(-30, 20)


def decode(vae, latents: torch.Tensor, cache: dict, attention: bool = True) -> torch.Tensor:
    """Latents -> frames, not clamped."""
    decoder = vae.decoder
    x = causal(vae.post_quant_conv, latents, cache, (0, 0))
    x = causal(decoder.conv_in, x, cache, (1, 1))
    x = middle(decoder.mid_block, x, cache, attention)
    for block in decoder.up_blocks:
        for layer in block.resnets:
            x = resnet(layer, x, cache)
        if block.upsamplers is not None:
            x = resample(block.upsamplers[0], x, cache)
    return causal(decoder.conv_out, norm_silu(x, decoder.norm_out.gamma), cache, (1, 1))


def build(num_res_blocks: int = 1):
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan(base_dim=16, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=num_res_blocks,
                            attn_scales=[], temperal_downsample=[False, True, True])


if __name__ == "__main__":
    torch.manual_seed(0)
    model = build().eval()
    clip = torch.rand(1, 3, 25, 32, 48) * 2 - 1
    with torch.no_grad():
        expected = model.encode(clip).latent_dist
        cache = {}
        parts = [encode(model, part, cache) for part in (clip[:, :, :9], clip[:, :, 9:])]
        got = [torch.cat(pair, 2) for pair in zip(*parts)]
        print("mean", (got[0] - expected.mean).abs().max().item(), "logvar", (got[1] - expected.logvar).abs().max().item())
        cache = {}
        frames = torch.cat([decode(model, part, cache) for part in (got[0][:, :, :3], got[0][:, :, 3:])], 2)
        print("frames", (frames.clamp(-1, 1) - model.decode(expected.mean).sample).abs().max().item(), frames.std().item())
