# SPDX-License-Identifier: Apache-2.0
"""Kills runs at random moments, resumes them from their snapshots, and compares the latents, bit by bit.

    python tools/kill_runs.py [--program build/dualparal] [--kills 50] [--seed 0] [--only ring]

Each kill: the strategies take turns; one of the ranks and a moment are drawn, from when the snapshots' folder is there until
as long after as an undisturbed run takes; the rank gets SIGKILL there. What was kept is resumed twice: on as many ranks,
where every bit must be that of the undisturbed run, and on another number of ranks, where the largest difference must be at
most 1e-5 of the largest number. A kill that comes too late, when the run is over, is drawn again. The embedded model is used; nothing else is needed. Exit
code 1 if anything differed; what is printed says which run, rank and moment.
"""
from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rank_processes import ranks_of
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parent.parent
COMMON = ["generate", "--no-decode", "--no-quality", "--quiet", "--threads", "1", "--prompt", "a red circle"]
BLOCKS = ["--strategy", "dualparal", "--block-frames", "3", "--context-frames", "2", "--frames", "129", "--steps", "8"]
TOLERANCE = 1e-5


@dataclass
class Run:
    """A run that is killed: its flags, on so many ranks, and resumed on so many others."""
    flags: list[str]
    ranks: int
    other_ranks: int


RUNS = {
    "dualparal": Run(BLOCKS, 3, 2),
    "matched_kv": Run([*BLOCKS, "--previous-context", "matched_kv"], 3, 2),
    "fifo": Run(["--strategy", "fifo", "--window-frames", "4", "--frames", "97", "--steps", "8"], 3, 2),
    "ring": Run(["--strategy", "ring", "--frames", "65", "--steps", "30"], 2, 3),
    "single": Run(["--strategy", "single", "--frames", "65", "--steps", "40"], 1, 1),
}


class Killer:
    def __init__(self, program: Path, folder: Path, draw: random.Random):
        self.program, self.folder, self.draw = program, folder, draw
        self.whole: dict[str, tuple[bytes, float]] = {}  # latents and seconds of undisturbed runs

    def command(self, run: Run, ranks: int, latents: Path, *more: object) -> list[str]:
        return [str(a) for a in (self.program, *COMMON, *run.flags, "--nproc", ranks, "--save-latents", latents, *more)]

    def undisturbed(self, name: str) -> tuple[bytes, float]:
        if name not in self.whole:
            latents, begun = self.folder / f"{name}.safetensors", time.monotonic()
            subprocess.run(self.command(RUNS[name], RUNS[name].ranks, latents), check=True)
            self.whole[name] = latents.read_bytes(), time.monotonic() - begun
        return self.whole[name]

    def kill(self, name: str, kept: Path) -> str | None:
        """Kills a run at a random moment. What was done to it, or nothing if it was over before."""
        run, (_, seconds) = RUNS[name], self.undisturbed(name)
        every = self.draw.choice([0, 0, 0.05])
        child = subprocess.Popen(self.command(run, run.ranks, kept.with_suffix(".safetensors"), "--snapshot", kept,
                                              "--snapshot-every", every), stderr=subprocess.DEVNULL)
        wait = self.draw.uniform(0, seconds)
        while not kept.exists() and child.poll() is None:  # loading weights comes before
            time.sleep(0.002)
        time.sleep(wait)
        rank = self.draw.randrange(run.ranks)
        pids = ranks_of(child.pid) if run.ranks > 1 else {0: child.pid}
        if child.poll() is None and rank in pids:
            os.kill(pids[rank], signal.SIGKILL)
        child.wait()
        if child.returncode == 0:
            return None
        newest = max((p.name for p in kept.glob("snapshot-*")), default="no snapshot")
        return f"{name}: rank {rank} of {run.ranks} killed {wait:.2f} s after the folder was there, {newest}"

    def resume(self, name: str, ranks: int, kept: Path) -> bytes:
        latents = kept.with_suffix(".resumed")
        subprocess.run(self.command(RUNS[name], ranks, latents, "--snapshot", kept, "--resume", kept), check=True,
                       stderr=subprocess.PIPE, text=True)
        return latents.read_bytes()

    def wrong(self, name: str, kept: Path) -> str:
        """What is wrong with the latents of the resumed runs; empty if nothing."""
        copy, run, whole = kept.with_name(kept.name + "-other"), RUNS[name], self.undisturbed(name)[0]
        if kept.exists():
            shutil.copytree(kept, copy)
        try:
            if self.resume(name, run.ranks, kept) != whole:
                return "another video"
            if run.other_ranks == run.ranks:
                return ""
            self.resume(name, run.other_ranks, copy)
        except subprocess.CalledProcessError as error:
            return error.stderr.strip().splitlines()[-1]
        ours = load_file(copy.with_suffix(".resumed"))["latents"]
        expected = load_file(self.folder / f"{name}.safetensors")["latents"]
        error = abs(ours - expected).max() / abs(expected).max()
        return "" if error <= TOLERANCE else f"{error:.1e} apart on {run.other_ranks} ranks"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=ROOT / "build/dualparal")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=RUNS, help="one strategy")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    failures = kills = early = 0
    with tempfile.TemporaryDirectory(prefix="dualparal-kills-") as name:
        killer = Killer(options.program.resolve(), Path(name), draw)
        names = [options.only] if options.only else list(RUNS)
        attempt = 0
        while kills < options.kills:
            attempt += 1
            kept, which = Path(name) / f"kept-{attempt}", names[kills % len(names)]
            what = killer.kill(which, kept)
            if what is None:
                continue
            kills += 1
            early += what.endswith("no snapshot")
            wrong = killer.wrong(which, kept)
            failures += bool(wrong)
            print(f"{kills:3} {what}: {wrong or 'resumed, the same'}", flush=True)
    print(f"{kills} kills ({early} before the first snapshot), {failures} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
