# SPDX-License-Identifier: Apache-2.0
"""Quality metrics against the number of frames: one figure for each metric that has values (docs/metrics.md)."""
from __future__ import annotations

from pathlib import Path

from figure import save, slug
from latency_memory import draw
from results import Panel

METRICS = {
    "psnr_db": "PSNR against single (dB)", "ssim": "SSIM against single", "latent_relative_error":
    "latent error against single", "flicker": "flicker score (1: none)", "seam_ratio": "seam ratio (1: seamless)",
    "drift": "drift", "repetition": "repetition", "content": "frames as asked for",
}


def make(panels: list[Panel], folder: Path) -> list[Path]:
    written = []
    for panel in panels:
        for metric, label in METRICS.items():
            if panel.has(f"quality.{metric}"):
                written += save(draw(panel, f"quality.{metric}", label, zero=False), folder, f"{metric}_{slug(panel)}")
    return written
