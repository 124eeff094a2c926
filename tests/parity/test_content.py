# SPDX-License-Identifier: Apache-2.0
"""The C++ `content` metric against its Python original, on clips of the training data, clean and spoilt."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "moving_shapes"))
import content  # noqa: E402
import data  # noqa: E402

PROBE = Path(os.environ.get("DUALPARAL_BUILD", ROOT / "build")) / "harness" / "metrics" / "content_probe"


def clips(count: int, frames: int) -> list[tuple[np.ndarray, str]]:
    """Clips of a fixed seed as uint8 [frames, 3, height, width], with their captions."""
    drawn = data.sample(count, torch.Generator().manual_seed(7), held_out=None)
    return [(data.to_uint8(video), caption) for video, caption in zip(data.render(drawn, 0, frames), drawn.captions())]


def blurred(frames: np.ndarray, radius: int) -> np.ndarray:
    """Box blur in space."""
    x = torch.from_numpy(frames).float()
    x = torch.nn.functional.pad(x, (radius,) * 4, mode="replicate")
    return torch.nn.functional.avg_pool2d(x, 2 * radius + 1, 1).round().to(torch.uint8).numpy()


def noised(frames: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(3).normal(0, sigma, frames.shape)
    return (frames + noise).round().clip(0, 255).astype(np.uint8)


def shuffled(pieces: list[np.ndarray]) -> np.ndarray:
    """Frames of several clips in turn: other objects, jumps, other backgrounds."""
    return np.stack([piece[i] for i in range(len(pieces[0])) for piece in pieces])


def halved(frames: np.ndarray) -> np.ndarray:
    """The object cut away from every third frame, and cut in two in every third but one."""
    frames = frames.copy()
    ground = frames[:, :, :1, :1]
    frames[::3] = ground[::3]
    column = frames.shape[3] // 2
    frames[1::3, :, :, column - 3:column + 3] = ground[1::3]
    return frames


DAMAGE = {
    "clean": lambda f: f,
    "blurred": lambda f: blurred(f, 2),
    "blurred a lot": lambda f: blurred(f, 6),
    "noise 8": lambda f: noised(f, 8),
    "noise 25": lambda f: noised(f, 25),
    "noise 60": lambda f: noised(f, 60),
    "pale": lambda f: (128 + (f.astype(np.int64) - 128) // 3).astype(np.uint8),
    "halved": halved,
    "mirrored": lambda f: np.ascontiguousarray(f[:, :, ::-1]),
}


def run_probe(folder: Path, frames: np.ndarray, prompt: str) -> dict:
    assert PROBE.exists(), f"{PROBE} is missing: build the target content_probe"
    path = folder / "frames.safetensors"
    save_file({"frames": np.ascontiguousarray(frames.transpose(0, 2, 3, 1))}, path)
    return json.loads(subprocess.run([PROBE, path, prompt], check=True, capture_output=True, text=True).stdout)


def assert_same(actual: dict, expected: dict) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("damage", DAMAGE)
def test_same_figures_as_the_original(damage: str, tmp_path: Path) -> None:
    for frames, caption in clips(3, 12):
        frames = DAMAGE[damage](frames)
        assert_same(run_probe(tmp_path, frames, caption), content.content(frames, caption))


def test_same_figures_when_objects_change(tmp_path: Path) -> None:
    chosen = clips(3, 8)
    frames = shuffled([frames for frames, _ in chosen])
    actual = run_probe(tmp_path, frames, chosen[0][1])
    assert_same(actual, content.content(frames, chosen[0][1]))
    assert actual["identity_switches_per_100_frames"] > 0 and actual["largest_jump_px"] > 5


@pytest.mark.parametrize("prompt", ["a cat", "A RED CIRCLE MOVES OVER A GREY BACKGROUND", "a blue square"])
def test_same_figures_for_other_prompts(prompt: str, tmp_path: Path) -> None:
    frames, _ = clips(1, 5)[0]
    assert_same(run_probe(tmp_path, frames, prompt), content.content(frames, prompt))


def test_a_clean_clip_holds_what_its_caption_says(tmp_path: Path) -> None:
    for frames, caption in clips(4, 9):
        assert run_probe(tmp_path, frames, caption)["content"] == 1.0
