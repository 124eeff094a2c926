# SPDX-License-Identifier: Apache-2.0
"""Invented result lines for the tests of figures, and a run of plots/make.py on them."""
from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "plots"))
import make  # noqa: E402

OOM = "rank 0: CUDA out of memory"


def line(strategy="dualparal", frames=81, latency=10.0, **changes) -> dict:
    return {"schema": 1, "kind": "measured", "experiment": "e", "strategy": strategy, "options": {}, "world_size": 8,
            "model": "wan2.1-t2v-1.3b", "dtype": "bf16", "frames": frames, "height": 480, "width": 832, "steps": 50,
            "seed": 0, "latency_s": latency, "peak_memory_bytes": int(4e9 + 1e6 * frames), "status": "ok",
            "error": None, "quality": {"flicker": 0.98, "seam_ratio": None}, "provenance": {"gpu": "GPU A"}} | changes


def simulated(strategy="dualparal", frames=81, latency=10.0, cluster="8x-rtx4090", **changes) -> dict:
    return line(strategy, frames, latency, kind="simulated", quality=None,
                cluster={"name": cluster, "device_memory_bytes": 24 * 2**30}) | changes


def failed(strategy: str, frames: int, error: str = OOM, status: str = "failed", **changes) -> dict:
    """As a run leaves it that never started: no size, no options, no machine."""
    return {"schema": 1, "kind": "measured", "strategy": strategy, "options": {}, "world_size": 8,
            "model": "wan2.1-t2v-1.3b", "dtype": "bf16", "frames": frames, "status": status, "error": error,
            "provenance": {"cpu": "some processor"}} | changes


def write(path: Path, lines: list[dict]) -> Path:
    path.write_text("# results\n" + "".join(json.dumps(row) + "\n" for row in lines))
    return path


def run(folder: Path, lines: list[dict], width: float | None = 1020) -> set[str]:
    """Names of the figures that `lines` give; each PNG is `width` pixels wide (3.4 inches at 300 dpi; None: of several
    widths), and not empty."""
    results = write(folder / "results.jsonl", lines)
    assert make.main([str(results), "-o", str(folder / "figures")]) == 0
    for path in (folder / "figures").glob("*.png"):
        with Image.open(path) as image:
            assert width is None or image.width == pytest.approx(width, abs=2), path
            assert image.convert("L").getextrema()[0] < 50, f"{path} is empty"
    return {path.name for path in (folder / "figures").iterdir()} if (folder / "figures").exists() else set()


def pngs(names: set[str]) -> set[str]:
    return {name.removesuffix(".png") for name in names if name.endswith(".png")}
