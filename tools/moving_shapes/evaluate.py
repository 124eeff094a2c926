# SPDX-License-Identifier: Apache-2.0
"""Measures a checkpoint in diffusers layout: PSNR of its VAE by frame index, `content` of what it generates.

    python evaluate.py --model FOLDER --out FOLDER --psnr 65 --videos 8 --frames 33 --steps 50

Generation goes through WanPipeline, with prompts of combinations that were never trained on.
Writes evaluation-FRAMES.json, contact_sheet-FRAMES.png and prompts-FRAMES.txt.
"""
from __future__ import annotations

import argparse
import json
import os
import time

import numpy as np
import torch
from diffusers import WanPipeline
from PIL import Image, ImageDraw

import data
import fast_vae
from content import content

KEYS = ("content", "identity_switches_per_100_frames", "largest_jump_px")


def summary(videos: list[np.ndarray], prompts: list[str]) -> dict:
    """Means over videos of the content figures (the jump: the largest of all, and the mean of every video's largest).

    Frame 0 counts in `content`, and is told apart as well: whole-sequence generation can spoil it alone, which a
    mean over many frames hides. `first_frame`: share of videos whose frame 0 is right, `later_frames`: content of
    the others (absent in videos of one frame).
    """
    scores = [content(video, prompt) for video, prompt in zip(videos, prompts)]
    result = {key: float(np.mean([score[key] for score in scores])) for key in KEYS[:2]}
    result[KEYS[2]] = max(score[KEYS[2]] for score in scores)
    result["mean_largest_jump_px"] = float(np.mean([score[KEYS[2]] for score in scores]))
    pairs = list(zip(videos, prompts))
    result["first_frame"] = float(np.mean([content(video[:1], prompt)["content"] for video, prompt in pairs]))
    if len(videos[0]) > 1:
        result["later_frames"] = float(np.mean([content(video[1:], prompt)["content"] for video, prompt in pairs]))
    result["per_video"] = [round(score["content"], 3) for score in scores]
    return result


@torch.no_grad()
def reconstruct(vae, clips: data.Clips, frames: int) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """PSNR in dB [clips, frames] through the posterior's mean, and both videos of each clip as uint8."""
    encoder, decoder, psnr, real, seen, first = {}, {}, [], [], [], 0
    while first < frames:
        count = min(8 + (first == 0), frames - first)
        video = data.render(clips, first, count)
        mean, _ = fast_vae.encode(vae, video, encoder)
        decoded = fast_vae.decode(vae, mean, decoder).clamp(-1, 1)
        psnr.append(-10 * ((decoded - video) / 2).square().mean((1, 3, 4)).log10())
        real.append(np.stack([data.to_uint8(v) for v in video]))
        seen.append(np.stack([data.to_uint8(v) for v in decoded]))
        first += count
    return torch.cat(psnr, 1).numpy(), list(np.concatenate(real, 1)), list(np.concatenate(seen, 1))


def generate(pipeline, prompts: list[str], frames: int, steps: int, guidance: float, seed: int) -> list[np.ndarray]:
    """Videos [frames, 3, 64, 96] uint8, eight at a time, fewer of those of more than 65 frames."""
    videos, batch = [], max(1, min(8, 8 * 65 // frames))
    for first in range(0, len(prompts), batch):
        result = pipeline(
            prompt=prompts[first:first + batch], height=data.HEIGHT, width=data.WIDTH, num_frames=frames,
            num_inference_steps=steps, guidance_scale=guidance, max_sequence_length=32, output_type="np",
            generator=torch.Generator().manual_seed(seed + first)).frames
        videos += list((result * 255).round().astype(np.uint8).transpose(0, 1, 4, 2, 3))
    return videos


def contact_sheet(videos: list[np.ndarray], prompts: list[str], path: str, columns: int = 9) -> None:
    rows = []
    for video, prompt in zip(videos, prompts):
        picks = np.linspace(0, len(video) - 1, min(columns, len(video))).round().astype(int)
        strip = Image.fromarray(np.concatenate([np.pad(video[i], ((0, 0), (0, 2), (0, 2)), constant_values=255)
                                                for i in picks], 2).transpose(1, 2, 0))
        row = Image.new("RGB", (strip.width, strip.height + 14), "white")
        row.paste(strip, (0, 14))
        ImageDraw.Draw(row).text((2, 1), f"{prompt}  (frames {', '.join(map(str, picks))})", fill="black")
        rows.append(np.asarray(row))
    Image.fromarray(np.concatenate(rows, 0)).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--psnr", type=int, default=0, help="frames of the PSNR curve (0: none)")
    parser.add_argument("--clips", type=int, default=2, help="clips of the PSNR curve")
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--validation", action="store_true",
                        help="prompts of combinations that were trained on: for choosing steps and guidance")
    options = parser.parse_args()
    torch.set_num_threads(2)
    os.makedirs(options.out, exist_ok=True)
    pipeline = WanPipeline.from_pretrained(options.model, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    result = {name: getattr(options, name) for name in ("frames", "steps", "guidance", "seed", "videos")}

    if options.psnr:
        clips = data.sample(options.clips, torch.Generator().manual_seed(777), held_out=None)
        psnr, _, _ = reconstruct(pipeline.vae, clips, options.psnr)
        marks = [i for i in (0, 1, 2, 4, 8, 16, 32, 60, 64, 128, 256, 512, 768, 1024) if i < options.psnr]
        result["vae_psnr_db"] = {str(i): round(float(psnr[:, max(0, i - 3):i + 1].mean() if i > 4 else psnr[:, i].mean()), 2)
                                 for i in marks}
        result["vae_psnr_db"].update(mean=round(float(psnr.mean()), 2), lowest=round(float(psnr.min()), 2))
        print(json.dumps(result["vae_psnr_db"]), flush=True)
    if options.videos:
        clips = data.sample(options.videos, torch.Generator().manual_seed(31337 if options.validation else 4242),
                            held_out=not options.validation)
        prompts = clips.captions()
        _, real, decoded = reconstruct(pipeline.vae, clips, options.frames)
        result["real"], result["vae"] = summary(real, prompts), summary(decoded, prompts)
        start = time.time()
        videos = generate(pipeline, prompts, options.frames, options.steps, options.guidance, options.seed)
        result["seconds"] = round(time.time() - start, 1)
        result["generated"] = summary(videos, prompts)
        for name in ("real", "vae", "generated"):
            result[name]["standard_error"] = round(float(np.std(result[name]["per_video"]) / len(prompts) ** 0.5), 4)
            print(name, json.dumps(result[name]), flush=True)
        contact_sheet(videos[:8], prompts[:8], os.path.join(options.out, f"contact_sheet-{options.frames}.png"))
        with open(os.path.join(options.out, f"prompts-{options.frames}.txt"), "w") as file:
            file.write("\n".join(prompts) + "\n")
    with open(os.path.join(options.out, f"evaluation-{options.frames}.json"), "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
