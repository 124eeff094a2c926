# SPDX-License-Identifier: Apache-2.0
"""--frames endless: goes on until it is told to stop, then the video is closed with all frames that are finished."""
import json
import os
import shlex
import signal
import subprocess

import av
import pytest
from started_ranks import PATIENCE, ranks_of, wait_until
from test_program import PROGRAM, check_refused, run

SMALL = ["generate", "--threads", 1, "--height", 32, "--width", 32, "--steps", 2, "--prompt", "a red circle"]
RUNS = {"dualparal": ["--strategy", "dualparal", "--block-frames", 3, "--context-frames", 2],
        "fifo": ["--strategy", "fifo", "--window-frames", 4]}


def frames_in(file):
    with av.open(str(file)) as video:
        return sum(1 for _ in video.decode(video=0))


def ended(folder, *arguments, sig, to=None, frames=20):
    """An endless run that is told to stop when it has written some frames. Exit code, what it said, and its frames."""
    child = subprocess.Popen([PROGRAM, *map(str, [*SMALL, "--frames", "endless", *arguments]),
                              "--output", folder / "v.mp4", "--save-frames", folder / "png",
                              "--result", folder / "result.jsonl"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pictures = lambda: sorted((folder / "png").glob("*.png"))
    assert wait_until(lambda: len(pictures()) >= frames or child.poll() is not None) and child.poll() is None, child.communicate()
    os.kill(ranks_of(child.pid)[to] if to is not None else child.pid, sig)
    output, errors = child.communicate(timeout=PATIENCE)
    return child.returncode, output + errors, pictures()


def check_same_as_a_video_with_an_end(folder, pictures, *arguments):
    # Blocks see those that come soon after them: the end is further away than that.
    whole = run(*SMALL, "--no-quality", "--quiet", "--frames", len(pictures) + 60, *arguments, "--save-frames", folder / "whole")
    assert whole.returncode == 0, whole.stderr
    for picture in pictures:
        assert picture.read_bytes() == (folder / "whole" / picture.name).read_bytes(), picture.name


@pytest.mark.parametrize("strategy, nproc, sig, to", [("dualparal", 2, signal.SIGINT, None), ("fifo", 2, signal.SIGTERM, None),
                                                      ("dualparal", 1, signal.SIGINT, None), ("fifo", 3, signal.SIGUSR1, 1)])
def test_it_goes_on_until_it_is_told_to_stop(tmp_path, strategy, nproc, sig, to):
    arguments = [*RUNS[strategy], "--nproc", nproc]
    code, said, pictures = ended(tmp_path, *arguments, sig=sig, to=to)
    assert code == 0 and "error" not in said and "until it was told to stop" in said, said
    line = json.loads((tmp_path / "result.jsonl").read_text())
    assert line["frames"] == len(pictures) == frames_in(tmp_path / "v.mp4") >= 20
    assert line["config"]["frames"] == "endless" and line["provenance"]["endless"]["denoise_s"] > 0
    assert line["latency_s"] is None and line["quality"] is None and line["peak_memory_bytes"] > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["png", "result.jsonl", "v.mp4"]
    if to is None:
        check_same_as_a_video_with_an_end(tmp_path, pictures, *arguments)


def test_it_goes_on_after_a_stop(tmp_path):
    arguments = [*RUNS["dualparal"], "--nproc", 2, "--snapshot", tmp_path / "kept"]
    code, said, first = ended(tmp_path, *arguments, sig=signal.SIGTERM)
    assert code == 75 and frames_in(tmp_path / "v.mp4") == len(first), said
    command = shlex.split(said.strip().splitlines()[-1].split("; to go on: ")[1])
    assert command[-2:] == ["--resume", str(tmp_path / "kept")] and "endless" in command
    code, said, more = ended(tmp_path, *arguments, "--resume", tmp_path / "kept", sig=signal.SIGINT, frames=len(first) + 12)
    assert code == 75 and frames_in(tmp_path / "v.mp4") == len(more) > len(first), said
    check_same_as_a_video_with_an_end(tmp_path, more, *RUNS["dualparal"])


@pytest.mark.parametrize("flags, words", [
    (["--strategy", "single"], ["single", "fifo, dualparal", "how many"]),
    (["--strategy", "context_windows"], ["context_windows", "fifo, dualparal"]),
    (["--strategy", "video_infinity"], ["video_infinity"]),
    (["--mode", "trace"], ["trace"]),
    (["--repeats", 2], ["repeated"]),
    (["--save-latents", "l.safetensors"], ["--save-latents"]),
    (["--timeline", "t.json"], ["--timeline"]),
    (["--window-position", "absolute"], ["--window-position absolute"])])
def test_what_needs_an_end_is_refused(tmp_path, flags, words):
    given = flags if "--strategy" in flags else ["--strategy", "dualparal", *flags]
    check_refused(run(*SMALL, "--frames", "endless", *given, cwd=tmp_path), [2], words)
    assert not list(tmp_path.iterdir())
