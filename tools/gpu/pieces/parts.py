# SPDX-License-Identifier: Apache-2.0
"""What is beside denoising? The VAE's decoder, in fp32 and bf16, and the text encoder: time and memory."""
from __future__ import annotations

import json
import shutil

from context import Context, Piece, Step

from .single import model_flags, prompt_embeds, size, wan


def decoding(dtype: str):
    def run(context: Context) -> dict:
        video = context.scratch / "video.mp4"
        flags = [*size(context)[:2], "--steps", 1, "--warmup-steps", 0, "--no-quality", "--vae-dtype", dtype, "--output", video]
        line = context.generate("--strategy", "single", *model_flags(context), *prompt_embeds(context), *flags)
        return {"frames": line["frames"], "vae_dtype": dtype, "decode_s": line["decode_s"], "frames_per_s": line["frames"] / line["decode_s"],
                "decode_peak_memory_bytes": line["decode_peak_memory_bytes"]}
    return run


def text(context: Context) -> dict:
    """Wan's encoder has no published tokenizer here: the embedded model's, padded to Wan's 512 tokens. Weights are random, and
    drawing them is part of the time; the memory is as it will be."""
    model = model_flags(context)
    if context.on_gpu:
        folder = context.scratch / "with_tokenizer"
        if not folder.exists():
            shutil.copytree(context.root / "configs/models/wan2.1-t2v-1.3b", folder)
            shutil.copytree(context.embedded / "tokenizer", folder / "tokenizer")
            settings = folder / "tokenizer/tokenizer_config.json"
            settings.write_text(json.dumps(json.loads(settings.read_text()) | {"model_max_length": 512}))
        model = [*wan(context), "--dtype", "bf16", "--prompt", "a red circle"]
        model[1] = folder
    line = context.generate("--strategy", "single", *model, "--frames", 1, "--steps", 1, "--warmup-steps", 0, "--no-decode")
    return {"text_encode_s": line["text_encode_s"], "text_peak_memory_bytes": line["text_peak_memory_bytes"]}


def piece(context: Context) -> Piece:
    return Piece("parts", "the VAE's decoder and the text encoder: time and memory", 420, [
        Step("vae-fp32", "measured", decoding("fp32"), 120), Step("vae-bf16", "measured", decoding("bf16"), 120),
        Step("text-encoder", "measured", text, 240)])
