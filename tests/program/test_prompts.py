# SPDX-License-Identifier: Apache-2.0
"""--prompts: several prompts in one video."""
import json

import av
import pytest
from safetensors.torch import load_file
from test_program import FAST, check_refused, run

PROMPTS = ["a red circle bounces over a dark blue background", "a green square moves to the left", "a blue triangle"]
BLOCKS = ["--strategy", "dualparal", "--block-frames", 2, "--context-frames", 1]  # of 2 latent frames; the first of 3


def prompted(folder, text, *flags, frames=33):
    (folder / "prompts.txt").write_text(text)
    return run("generate", *FAST, "--frames", frames, "--prompts", folder / "prompts.txt", *flags)


def latents(folder, name):
    return load_file(folder / f"{name}.safetensors")["latents"]


@pytest.mark.parametrize("strategy", [BLOCKS, ["--strategy", "fifo", "--window-frames", 2], ["--strategy", "video_infinity"],
                                      ["--strategy", "context_windows", "--window-frames", 4, "--overlap-frames", 1]],
                         ids=lambda words: words[1])
def test_one_prompt_is_what_prompt_gives(tmp_path, strategy):
    flags = [*strategy, "--no-decode", "--nproc", 2]
    alone = run("generate", *FAST, "--frames", 33, "--prompt", PROMPTS[0], *flags, "--save-latents", tmp_path / "alone.safetensors")
    assert alone.returncode == 0, alone.stderr
    done = prompted(tmp_path, f"0: {PROMPTS[0]}\n\n17: {PROMPTS[0]}\n", *flags, "--save-latents", tmp_path / "twice.safetensors")
    assert done.returncode == 0, done.stderr
    assert latents(tmp_path, "twice").equal(latents(tmp_path, "alone"))


def test_blocks_take_theirs_and_the_video_has_chapters(tmp_path):
    text = f"# a video\n0: {PROMPTS[0]}\n13: {PROMPTS[1]}\n14: {PROMPTS[2]}\n24: {PROMPTS[0]}\n"
    made = {}
    for nproc in (1, 2):
        done = prompted(tmp_path, text, *BLOCKS, "--nproc", nproc, "--output", tmp_path / "v.mp4",
                        "--save-latents", tmp_path / f"{nproc}.safetensors", "--result", tmp_path / "r.jsonl")
        assert done.returncode == 0, done.stderr
        made[nproc] = latents(tmp_path, nproc)
    assert made[1].equal(made[2])
    # Blocks begin with latent frames 3, 5, 7, which are frames 9, 17 and 25: none with 13.
    with av.open(str(tmp_path / "v.mp4")) as video:
        chapters = [(one["metadata"]["title"], float(one["start"] * one["time_base"]), float(one["end"] * one["time_base"]))
                    for one in video.chapters()]
        rate = float(video.streams.video[0].average_rate)
    assert [title for title, _, _ in chapters] == [PROMPTS[0], PROMPTS[2], PROMPTS[0]]
    for (_, *times), frames in zip(chapters, [(0, 17), (17, 25), (25, 33)]):  # in milliseconds
        assert times == pytest.approx([frame / rate for frame in frames], abs=1e-3)
    config = json.loads((tmp_path / "r.jsonl").read_text().splitlines()[0])["config"]
    assert config["prompts"][1] == [13, PROMPTS[1]] and config["prompt"].startswith(f"0: {PROMPTS[0]} | 13: ")
    alone = run("generate", *FAST, "--frames", 33, "--prompt", PROMPTS[0], *BLOCKS, "--no-decode", "--save-latents",
                tmp_path / "alone.safetensors")
    assert alone.returncode == 0, alone.stderr
    assert (made[1] - latents(tmp_path, "alone"))[:, :, 5:7].abs().max() > 0.05


def test_a_prompt_that_no_block_takes_is_said(tmp_path):
    flags = [flag for flag in FAST if flag != "--quiet"]
    (tmp_path / "prompts.txt").write_text(f"0: {PROMPTS[0]}\n13: {PROMPTS[1]}\n14: {PROMPTS[2]}\n")
    done = run("generate", *flags, "--frames", 33, "--prompts", tmp_path / "prompts.txt", *BLOCKS, "--no-decode", "--result",
               tmp_path / "r.jsonl")
    assert done.returncode == 0, done.stderr
    notes = [row for row in done.stderr.splitlines() if "not shown" in row]
    assert len(notes) == 1 and "prompts.txt:2" in notes[0]


@pytest.mark.parametrize("mode", ["trace", "emulate"])
def test_other_modes(tmp_path, mode):
    done = prompted(tmp_path, "0: a\n17: b", *BLOCKS, "--mode", mode, "--world-size", 2, "--result", tmp_path / "r.jsonl")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "r.jsonl").read_text())["flops"] > 0


@pytest.mark.parametrize("text, flags, words", [
    ("0: a", ["--strategy", "single"], ["single", "no blocks", "dualparal"]),
    ("0: a", ["--strategy", "ring"], ["ring", "prompts.txt"]),
    ("0: a\nb", BLOCKS, ["prompts.txt:2", "frame: prompt", "'b'"]),
    ("0: a\n40: b", BLOCKS, ["prompts.txt:2", "33 frames", "40"]),
    ("0: a", [*BLOCKS, "--prompt", "b"], ["--prompts", "--prompt,"]),
])
def test_refused(tmp_path, text, flags, words):
    check_refused(prompted(tmp_path, text, *flags), [2], words)


def test_a_file_that_is_not_there(tmp_path):
    check_refused(run("generate", *FAST, *BLOCKS, "--prompts", tmp_path / "absent"), [1, 2], ["absent"])
