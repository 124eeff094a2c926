# SPDX-License-Identifier: Apache-2.0
"""Invented results for the tests of the page: lines of both schemas, two videos, a timeline."""
from __future__ import annotations

import json
import sys
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "plots"))
import make_page  # noqa: E402

FPS = 16
FRAMES = 61
BLOCKS = {"block-frames": "4", "context-frames": "2", "feature-cache": "on"}
EVIL = '<b>bold</b><img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>&quot;'


def line(strategy: str = "dualparal", frames: int = FRAMES, latency: float | None = 10.0, **changes) -> dict:
    """Of schema 2, with the fields that the page reads."""
    return {"schema": 2, "kind": "measured", "experiment": "invented", "strategy": strategy, "options": {},
            "exact": strategy in ("single", "ring"), "world_size": 2,
            "model": "moving-shapes", "dtype": "fp32", "frames": frames, "latent_frames": (frames + 2) // 4 + 1,
            "height": 64, "width": 96, "steps": 20, "seed": 0, "latency_s": latency, "samples": [latency],
            "peak_memory_bytes": 20 * 2**20 + 1000 * frames, "sent_bytes": 4096, "error_vs_single": None,
            "per_rank": [{"compute_s": 3.5, "sent_bytes": 2048}, {"compute_s": 2.5, "sent_bytes": 2048}],
            "quality": {"psnr_db": None, "drift": 0.1}, "status": "ok", "error": None, "program_hash": "f00d",
            "config": {"prompt": "a red circle", "fps": FPS}, "config_hash": "c0ffee", "video": None, "timeline": None,
            "provenance": {"cpu": "some processor", "code": {"commit": "0123abc", "dirty": False}}} | changes


def old_line(strategy: str, frames: int, latency: float, **changes) -> dict:
    """Of schema 1: without samples, errors, hashes, and whether the strategy is exact."""
    newer = ("exact", "samples", "error_vs_single", "program_hash", "timeline", "video")
    old = {name: part for name, part in line(strategy, frames, latency).items() if name not in newer}
    return old | {"schema": 1} | changes


def some_lines() -> list[dict]:
    return [
        line("single", 33, 4.0, world_size=1), line("single", FRAMES, 12.0, world_size=1, video="videos/single.mp4"),
        line("ring", FRAMES, 8.0, error_vs_single=3e-7), old_line("ring", 33, 3.0),
        line("dualparal", 33, 2.5, options=BLOCKS),
        line("dualparal", FRAMES, 5.0, options=BLOCKS, video="videos/dual parallel.mp4", timeline="timelines/d.json",
             quality={"psnr_db": 21.5, "drift": 0.2, "content": 0.984, "content_first_frame": 0}),
        line("fifo", 33, None, status="failed", error="rank 1: out of memory"),
        line("fifo", FRAMES, None, status="skipped", error="too long for this machine"),
        line("dualparal", FRAMES, 1.5, kind="simulated", cluster={"name": "8x-card", "device_memory_bytes": 2**30}),
        line("dualparal", FRAMES, None, kind="traced", flops=1e12), line("ring", FRAMES, None, kind="emulated"),
    ]


def make_video(path: Path, shade: int, frames: int = FRAMES) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(frames):
            picture = np.full((64, 96, 3), shade, np.uint8)
            picture[:, : 1 + number] = 255 - shade
            target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        target.mux(stream.encode())


def timeline() -> dict:
    def event(category: str, rank: int, begin: float, duration: float, **more) -> dict:
        return {"cat": category, "ph": "X", "pid": rank, "tid": 0, "ts": begin, "dur": duration, "args": more}

    events = [event("compute", rank, 1000.0 * (block + rank), 900.4, block=block, step=0)
              for rank in (0, 1) for block in range(5)]
    return {"traceEvents": [{"ph": "M", "pid": 0, "name": "process_name", "args": {"name": "rank 0"}}, *events,
                            event("receive", 1, 0.0, 1000.0, block=0, peer=0), event("send", 0, 900.0, 0.0, peer=1)]}


def write_lines(folder: Path, lines: list[dict]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    return folder


def make(folder: Path, lines: list[dict], *arguments: str) -> str:
    """The page's text."""
    write_lines(folder, lines)
    assert make_page.main([str(folder), *arguments]) == 0
    return (folder / "index.html").read_text()


def page_data(html: str) -> dict:
    return json.loads(html.split('<script type="application/json" id="data">')[1].split("</script>")[0])
