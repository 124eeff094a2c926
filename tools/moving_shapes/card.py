# SPDX-License-Identifier: Apache-2.0
"""Writes the model card, the loss curves and the prompt lists from what training and evaluation recorded.

    python card.py --vae DIR[,DIR] --transformer DIR --evaluation FOLDER --out FOLDER
    python card.py --init MODEL --transformer DIR --evaluation FOLDER --out FOLDER

With --init (a training that started from the exported checkpoint MODEL) the earlier stages are those that
MODEL/training.json tells, and the new stage's loss gets a figure of its own: the earlier logs need not exist.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

import content
import data

FIRST_FRAMES = 61  # of a clip in trainings that did not record it


def read(path: str) -> list[dict]:
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [json.loads(line) for line in file]


def loss_curve(axes, log: list[dict], **labels) -> None:
    axes.plot([r["step"] for r in log], [r["loss"] for r in log])
    axes.set(xlabel="step", ylabel="flow-matching loss", **labels)


def curves(vae_logs: list[list[dict]], log: list[dict], path: str) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), dpi=80)
    offset = 0.0
    for records in vae_logs:
        for stage in dict.fromkeys(r["stage"] for r in records):
            rows = [r for r in records if r["stage"] == stage]
            left.plot([(r["elapsed"] + offset) / 60 for r in rows], [r["psnr"] for r in rows], label=stage)
        offset += records[-1]["elapsed"] if records else 0
    left.set(xlabel="minutes", ylabel="PSNR of training chunks (dB)", title="VAE")
    left.legend()
    loss_curve(right, log, title="transformer, stage 1", ylim=(0.7, 1.8))
    figure.tight_layout()
    figure.savefig(path)


def later_curve(log: list[dict], stage: int, path: str) -> None:
    figure, axes = plt.subplots(figsize=(4.5, 3), dpi=60)
    loss_curve(axes, log, title=f"transformer, stage {stage}")
    figure.tight_layout()
    figure.savefig(path)


def minutes(log: list[dict]) -> float:
    """Of all runs: the clock starts anew when a schedule does."""
    ends = [a["elapsed"] for a, b in zip(log, log[1:]) if b["elapsed"] < a["elapsed"]]
    return (sum(ends) + log[-1]["elapsed"]) / 60


def history(options) -> dict:
    """What training.json holds: steps and minutes of the VAE's stages, and the stages of the transformer's training."""
    if not options.transformer:  # the weights are those that were there
        with open(os.path.join(options.init, "training.json")) as file:
            return json.load(file)
    log = read(os.path.join(options.transformer, "transformer_log.jsonl"))
    state = torch.load(os.path.join(options.transformer, "transformer.pt"), map_location="cpu")
    stage = dict(steps=state["step"], minutes=round(minutes(log)), clips=log[-1]["pool"], learning_rate=state.get("lr", 1.5e-3),
                 average=state.get("decay", 0.998), frames=state["frames"], last_loss=round(log[-1]["loss"], 3))
    if options.init:
        with open(os.path.join(options.init, "training.json")) as file:
            told = json.load(file)
        told["transformer"].append(stage)
        later_curve(log, len(told["transformer"]), os.path.join(options.out, f"loss_curve_{len(told['transformer'])}.png"))
        return told
    folders = options.vae.split(",")
    vae_logs = [read(os.path.join(folder, "vae_log.jsonl")) for folder in folders]
    curves(vae_logs, log, os.path.join(options.out, "loss_curves.png"))
    return dict(vae=dict(steps=[torch.load(os.path.join(folder, "vae.pt"), map_location="cpu")["step"] for folder in folders],
                         minutes=[round(records[-1]["elapsed"] / 60) for records in vae_logs if records]),
                transformer=[stage])


def stages(told: dict) -> str:
    rows = ["| stage | steps | minutes | peak learning rate | EMA | clips | frames of a clip | last loss |",
            "|---|---|---|---|---|---|---|---|"]
    rows += [f"| {i} | {s['steps']} | {s['minutes']} | {s['learning_rate']:g} | {s['average']} | {s['clips']} "
             f"| {s.get('frames', FIRST_FRAMES)} | {s['last_loss']:.3f} |" for i, s in enumerate(told["transformer"], 1)]
    return "\n".join(rows)


def figures(told: dict) -> str:
    later = [f"![losses of stage {i}](loss_curve_{i}.png)" for i in range(2, len(told["transformer"]) + 1)]
    return "\n".join(["![losses of the VAE and of stage 1](loss_curves.png)", *later])


def table(evaluations: dict[int, dict]) -> str:
    rows = ["| frames | videos | steps, guidance | real clips | through the VAE | generated | generated / real | "
            "first frame, later frames (generated) | identity switches per 100 frames (real, VAE, generated) | "
            "largest jump, px (real, VAE, generated) | mean of every video's largest jump, px (real, VAE, generated) |",
            "|---|---|---|---|---|---|---|---|---|---|---|"]
    for frames, e in sorted((f, e) for f, e in evaluations.items() if "generated" in e):
        real, vae, made = e["real"], e["vae"], e["generated"]
        switches = ", ".join(f"{x['identity_switches_per_100_frames']:.1f}" for x in (real, vae, made))
        jumps = " | ".join(", ".join(f"{x[key]:.1f}" for x in (real, vae, made))
                           for key in ("largest_jump_px", "mean_largest_jump_px"))
        parts = ", ".join(f"{made[key]:.3f}" for key in ("first_frame", "later_frames") if key in made)
        rows.append(f"| {frames} | {e['videos']} | {e['steps']}, {e['guidance']} | {real['content']:.3f} | {vae['content']:.3f} "
                    f"| {made['content']:.3f} | {made['content'] / real['content']:.3f} | {parts} | {switches} | {jumps} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--vae")
    source.add_argument("--init")
    parser.add_argument("--transformer")
    for name in ("evaluation", "out"):
        parser.add_argument("--" + name, required=True)
    options = parser.parse_args()
    if options.vae and not options.transformer:
        parser.error("--vae needs --transformer")
    told = history(options)
    with open(os.path.join(options.out, "training.json"), "w") as file:
        json.dump(told, file, indent=1)
        file.write("\n")
    evaluations = {}
    for frames in (1025, 1, 17, 33, 61, 129, 257):  # the longest has the whole PSNR curve, and no generated videos
        path = os.path.join(options.evaluation, f"evaluation-{frames}.json")
        if os.path.exists(path):
            with open(path) as file:
                evaluations[frames] = json.load(file)
    for name, target in (("contact_sheet-33.png", "contact_sheet.png"), ("prompts-33.txt", "prompts.txt")):
        source = os.path.join(options.evaluation, name)
        if os.path.exists(source):
            shutil.copy(source, os.path.join(options.out, target))
    with open(os.path.join(options.out, "prompts_heldout.txt"), "w") as file:
        file.write("\n".join(data.prompts(True)) + "\n")
    with open(os.path.join(options.out, "evaluation.json"), "w") as file:
        json.dump(evaluations, file, indent=1)
        file.write("\n")

    main_run = evaluations[33]
    psnr = dict(next((e["vae_psnr_db"] for e in evaluations.values() if "vae_psnr_db" in e), {}))
    mean, lowest = psnr.pop("mean", float("nan")), psnr.pop("lowest", float("nan"))
    share = main_run["generated"]["content"] / main_run["real"]["content"]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "card_template.md")) as file:
        text = file.read()
    values = dict(
        frames=max(stage.get("frames", FIRST_FRAMES) for stage in told["transformer"]),
        share=f"{100 * share:.1f}", verdict="reached" if share >= 0.9 else f"missed by {90 - 100 * share:.1f} points",
        vae_verdict="reached" if lowest >= 28 else ("reached on average, not in every frame" if mean >= 28 else "missed"),
        table=table(evaluations), psnr_head=" | ".join(psnr), psnr_rule="---|" * (len(psnr) + 1),
        psnr_row=" | ".join(f"{v:.1f}" for v in psnr.values()), psnr_mean=f"{mean:.1f}", psnr_lowest=f"{lowest:.1f}",
        vae_steps=" + ".join(map(str, told["vae"]["steps"])), vae_minutes=" + ".join(map(str, told["vae"]["minutes"])),
        stages=stages(told), figures=figures(told),
        shapes=", ".join(content.SHAPES), colours=", ".join(f"{k} {v}" for k, v in content.COLOURS.items()),
        backgrounds=", ".join(f"{k} {v}" for k, v in content.BACKGROUNDS.items()),
        templates="; ".join(f"`{t}`" for t in data.TEMPLATES))
    with open(os.path.join(options.out, "README.md"), "w") as file:
        file.write(text.format(**values))


if __name__ == "__main__":
    main()
