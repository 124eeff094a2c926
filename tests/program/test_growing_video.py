# SPDX-License-Identifier: Apache-2.0
"""The mp4 plays while it grows, and after its program was killed."""
import os
import signal
import subprocess

import av
import pytest
from started_ranks import PATIENCE, ranks_of, wait_until
from test_program import PROGRAM, run

LONG = ["generate", "--no-quality", "--quiet", "--threads", 1, "--prompt", "a red circle", "--strategy", "dualparal",
        "--steps", 1, "--height", 32, "--width", 32]
FRAMES = 1537


def frames_in(file):
    with av.open(str(file)) as video:
        return sum(1 for _ in video.decode(video=0))


def begun(folder, *flags):
    """A run whose video has begun to grow."""
    growing = folder / "v.partial.mp4"
    child = subprocess.Popen([PROGRAM, *map(str, [*LONG, "--frames", FRAMES, *flags]), "--output", folder / "v.mp4"],
                             stderr=subprocess.PIPE, text=True)
    size = lambda: growing.stat().st_size if growing.exists() else 0
    assert wait_until(lambda: size() > 4000 or child.poll() is not None) and child.poll() is None, child.communicate()
    return child, growing


@pytest.mark.parametrize("nproc, flags", [(1, ["--overlap-decoding"]), (2, [])])
def test_a_killed_run_leaves_what_plays(tmp_path, nproc, flags):
    child, growing = begun(tmp_path, "--nproc", nproc, *flags)
    assert frames_in(growing) > 0  # while it grows
    os.kill(child.pid if nproc == 1 else ranks_of(child.pid)[0], signal.SIGKILL)
    child.communicate(timeout=PATIENCE)
    assert child.returncode != 0
    kept = frames_in(growing)
    assert 0 < kept < FRAMES
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == ["v.partial.mp4"]
    again = run(*LONG, "--frames", 33, "--output", tmp_path / "v.mp4")  # puts its own in its place
    assert again.returncode == 0, again.stderr
    assert frames_in(tmp_path / "v.mp4") == 33 and [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_a_stopped_run_tells_of_its_video(tmp_path):
    child, growing = begun(tmp_path)
    child.send_signal(signal.SIGTERM)
    errors = child.communicate(timeout=PATIENCE)[1]
    assert f"the video's first frames are in {growing}" in errors and frames_in(growing) > 0
