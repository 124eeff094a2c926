# SPDX-License-Identifier: Apache-2.0
"""Writes the model card, the loss curves and the prompt lists from what training and evaluation recorded.

    python card.py --vae DIR[,DIR] --transformer DIR --evaluation FOLDER --out FOLDER
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


def read(path: str) -> list[dict]:
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [json.loads(line) for line in file]


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
    right.plot([r["step"] for r in log], [r["loss"] for r in log])
    right.set(xlabel="step", ylabel="flow-matching loss", title="transformer", ylim=(0.7, 1.8))
    figure.tight_layout()
    figure.savefig(path)


def minutes(log: list[dict]) -> float:
    """Of all runs: the clock starts anew when a schedule does."""
    ends = [a["elapsed"] for a, b in zip(log, log[1:]) if b["elapsed"] < a["elapsed"]]
    return (sum(ends) + log[-1]["elapsed"]) / 60


def table(evaluations: dict[int, dict]) -> str:
    rows = ["| frames | videos | steps, guidance | real clips | through the VAE | generated | generated / real | "
            "identity switches per 100 frames (real, VAE, generated) | largest jump, px (real, VAE, generated) |",
            "|---|---|---|---|---|---|---|---|---|"]
    for frames, e in sorted((f, e) for f, e in evaluations.items() if "generated" in e):
        real, vae, made = e["real"], e["vae"], e["generated"]
        switches = ", ".join(f"{x['identity_switches_per_100_frames']:.1f}" for x in (real, vae, made))
        jumps = ", ".join(f"{x['largest_jump_px']:.1f}" for x in (real, vae, made))
        rows.append(f"| {frames} | {e['videos']} | {e['steps']}, {e['guidance']} | {real['content']:.3f} | {vae['content']:.3f} "
                    f"| {made['content']:.3f} | {made['content'] / real['content']:.3f} | {switches} | {jumps} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("vae", "transformer", "evaluation", "out"):
        parser.add_argument("--" + name, required=True)
    options = parser.parse_args()
    vae_logs = [read(os.path.join(folder, "vae_log.jsonl")) for folder in options.vae.split(",")]
    log = read(os.path.join(options.transformer, "transformer_log.jsonl"))
    curves(vae_logs, log, os.path.join(options.out, "loss_curves.png"))
    evaluations = {}
    for frames in (1025, 1, 17, 33, 61):  # the longest has the whole PSNR curve, and no generated videos
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
    state = torch.load(os.path.join(options.transformer, "transformer.pt"), map_location="cpu")
    steps = [torch.load(os.path.join(folder, "vae.pt"), map_location="cpu")["step"] for folder in options.vae.split(",")]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "card_template.md")) as file:
        text = file.read()
    values = dict(
        share=f"{100 * share:.1f}", verdict="reached" if share >= 0.9 else f"missed by {90 - 100 * share:.1f} points",
        vae_verdict="reached" if lowest >= 28 else ("reached on average, not in every frame" if mean >= 28 else "missed"),
        table=table(evaluations), psnr_head=" | ".join(psnr), psnr_rule="---|" * (len(psnr) + 1),
        psnr_row=" | ".join(f"{v:.1f}" for v in psnr.values()), psnr_mean=f"{mean:.1f}", psnr_lowest=f"{lowest:.1f}",
        vae_steps=" + ".join(map(str, steps)), steps=state["step"], loss=f"{log[-1]['loss']:.3f}",
        minutes=f"{minutes(log):.0f}", pool=log[-1]["pool"],
        vae_minutes=" + ".join(f"{records[-1]['elapsed'] / 60:.0f}" for records in vae_logs if records),
        shapes=", ".join(content.SHAPES), colours=", ".join(f"{k} {v}" for k, v in content.COLOURS.items()),
        backgrounds=", ".join(f"{k} {v}" for k, v in content.BACKGROUNDS.items()),
        templates="; ".join(f"`{t}`" for t in data.TEMPLATES))
    with open(os.path.join(options.out, "README.md"), "w") as file:
        file.write(text.format(**values))


if __name__ == "__main__":
    main()
