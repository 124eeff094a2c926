# SPDX-License-Identifier: Apache-2.0
"""Trains the VAE. Stages, each given minutes: images (crops, one frame), crops (streams of
crops), whole (streams of whole frames, with the middle attention).

A stream is walked chunk by chunk with the features of the causal convolutions carried along
(detached): long clips at the price of short ones, and a quality that does not depend on the
frame index. Until `whole`, the middle attentions are off (their output projection is zero),
so that the network is purely convolutional and what it learns on crops holds for whole frames.

    python train_vae.py --state DIR --plan images:8,crops:25,whole:12

Interrupted runs resume from DIR/vae.pt. `--refine --plan decoder:15` goes on from its averaged weights
with the encoder frozen: the latents, and a transformer trained on them, stay valid.
"""
from __future__ import annotations

import argparse
import json
import os
import time

import torch

import data
import fast_vae
from optim import Average, Muon, autocast, schedule

STAGES = {  # batch, crop, frames in the opening chunk, frames in later ones
    "images": dict(batch=48, crop=(32, 32), opening=1, later=0),
    "crops": dict(batch=10, crop=(32, 48), opening=9, later=8),
    "whole": dict(batch=3, crop=None, opening=9, later=8),
    "decoder": dict(batch=8, crop=(32, 48), opening=9, later=8),
}


def stream(stage: dict, generator: torch.Generator):
    """Endless chunks (frames, whether it opens a clip) of one stage."""
    while True:
        clips = data.sample(stage["batch"], generator)
        corner, first = None, 0
        # Mostly two to eight chunks of the same clips; crops follow nothing, so they start on the object.
        for chunk in range(1 if not stage["later"] else int(torch.randint(1, 8, (), generator=generator))):
            count = stage["opening"] if chunk == 0 else stage["later"]
            if stage["crop"] and chunk == 0:
                size = torch.tensor(stage["crop"])
                ahead = int(torch.randint(0, max(1, 3 * stage["later"]), (), generator=generator))
                centre = data.centres(clips, ahead, 1)[:, 0]
                offset = (torch.rand(len(clips), 2, generator=generator) - 0.5) * size * 1.1
                limit = torch.tensor([data.HEIGHT, data.WIDTH]) - size
                corner = (centre + offset - size / 2).round().clamp(min=0).minimum(limit)
            yield data.render(clips, first, count, stage["crop"], corner), chunk == 0
            first += count


@torch.no_grad()
def evaluate(vae, attention: bool, frames: int = 65, count: int = 4, seed: int = 99) -> list[float]:
    """PSNR (dB) by chunk of 8 frames on unseen whole clips, through the mean, clamped."""
    clips = data.sample(count, torch.Generator().manual_seed(seed), held_out=None)
    encoder, decoder, result = {}, {}, []
    for first in range(0, frames, 8):
        start, length = (0, 9) if first == 0 else (first + 1, min(8, frames - first - 1))
        if length <= 0:
            break
        video = data.render(clips, start, length)
        with autocast():
            mean, _ = fast_vae.encode(vae, video, encoder, attention)
            seen = fast_vae.decode(vae, mean, decoder, attention).float().clamp(-1, 1)
        error = ((seen - video) / 2).square().mean((1, 3, 4))  # [clips, frames]
        result += (-10 * error.mean(0).log10()).tolist()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", required=True)
    parser.add_argument("--plan", default="images:8,crops:25,whole:12")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--kl", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--refine", action="store_true", help="train the decoder only")
    options = parser.parse_args()
    plan = [(name, 60 * float(minutes)) for name, minutes in (item.split(":") for item in options.plan.split(","))]
    total = sum(seconds for _, seconds in plan)

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    vae = fast_vae.build()
    attentions = [vae.encoder.mid_block.attentions[0], vae.decoder.mid_block.attentions[0]]
    for block in attentions:
        torch.nn.init.zeros_(block.proj.weight)
        torch.nn.init.zeros_(block.proj.bias)
    path, elapsed, step = os.path.join(options.state, "vae.pt"), 0.0, 0
    state = torch.load(path) if os.path.exists(path) else None
    if options.refine:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
        if not state.get("refined"):
            vae.load_state_dict({**state["model"], **state["average"]})
            state = None
    optimiser = Muon(vae.parameters(), options.lr)
    average = Average(vae, 0.995)
    if state is not None:
        vae.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average.values, average.steps = state["average"], state["average_steps"]
        elapsed, step = state["elapsed"], state["step"]
    generator = torch.Generator().manual_seed(options.seed + step)
    log = open(os.path.join(options.state, "vae_log.jsonl"), "a")
    chunks, current, before, saved = None, None, time.time(), time.time()
    running = 0.0
    while elapsed < total:
        ends, name = 0.0, plan[-1][0]
        for candidate, seconds in plan:
            ends += seconds
            if elapsed < ends:
                name = candidate
                break
        if name != current:
            chunks, current = stream(STAGES[name], generator), name
        video, opening = next(chunks)
        if opening:
            encoder, decoder = {}, {}
        attention = name in ("whole", "decoder")
        for group in optimiser.param_groups:
            group["lr"] = options.lr * schedule(elapsed / total)
        with autocast():
            mean, log_variance = fast_vae.encode(vae, video, encoder, attention)
            spread = torch.rand(len(mean), 1, 1, 1, 1) if options.refine else 1.0  # as sampled, or nearer to the mean
            latents = mean + spread * torch.randn_like(mean) * (0.5 * log_variance).exp()
            seen = fast_vae.decode(vae, latents, decoder, attention)
        error = seen.float() - video
        mse = error.square().mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        (mse + 0.1 * error.abs().mean() + options.kl * kl).backward()
        norm = torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        average.update(vae)
        step += 1
        running = mse.item() if running == 0 else 0.97 * running + 0.03 * mse.item()
        now = time.time()
        elapsed, before = elapsed + now - before, now
        if step % 20 == 0:
            psnr = -10 * torch.log10(torch.tensor(running / 4)).item()
            record = dict(step=step, elapsed=round(elapsed, 1), stage=name, mse=running, psnr=psnr, kl=kl.item(), norm=norm.item())
            log.write(json.dumps(record) + "\n")
            log.flush()
        if now - saved > 150 or elapsed >= total:
            live = {key: value.clone() for key, value in vae.state_dict().items()}
            torch.save(dict(model=live, optimiser=optimiser.state_dict(), average=average.values,
                            average_steps=average.steps, elapsed=elapsed, step=step, refined=options.refine), path + ".new")
            os.replace(path + ".new", path)
            average.copy_to(vae)
            curve = evaluate(vae, attention, 33)
            vae.load_state_dict(live)
            marks = [round(curve[i], 2) for i in (0, 1, 4, 8, 16, 24, 32)]
            print(f"step {step} {elapsed:.0f}s {name} mse {running:.5f} whole clips, frames 0 1 4 8 16 24 32: {marks}", flush=True)
            saved = before = time.time()


if __name__ == "__main__":
    main()
