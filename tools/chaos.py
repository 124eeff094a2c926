# SPDX-License-Identifier: Apache-2.0
"""Runs of all strategies, disturbed at random: nothing may be lost, nothing may be left.

    python tools/chaos.py [--minutes 60] [--seed 1] [--output chaos.jsonl] [--only NAME...] [--timeout 8] [--patience 120]

A trial starts `generate` on the embedded model with a random strategy and number of ranks, and disturbs it at a random
moment: ranks are killed, stopped, paused, starved of processors or memory, the launcher is interrupted or killed, the disk
is full, the output folder goes, the clock jumps. Then it must hold that
  - a run that could go on gave the latents of an undisturbed one, bit by bit, and exit code 0;
  - any other ended with exit code 1 and one last line `error: ...` that names the cause; or, with snapshots, told to stop, with 75;
  - every second run keeps snapshots, where its strategy does: those that did not end well are resumed, to the same latents;
  - no process, no shared memory and no half or hidden file is left.
Every trial is a line of JSON in the output; the last line printed counts them, and the exit code is 1 if one failed.
Full disks need root (a tmpfs), jumps of the clock Debian's faketime; without, these are left out, and it says so.
"""
from __future__ import annotations

import argparse
import collections
import dataclasses
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from disturbances import DISTURBANCES, Expected, Trial
from rank_processes import ranks_of

ROOT = Path(__file__).resolve().parent.parent
MARK = "DUALPARAL_CHAOS"  # in the environment of a trial's processes
STRATEGIES = {"single": (1,), "ring": (2, 3), "ulysses": (2, 3), "usp": (2,), "naive_pipeline": (2, 3), "pipefusion": (2, 3),
              "video_infinity": (2, 3), "context_windows": (1, 2), "fifo": (2, 3), "dualparal": (1, 2, 3)}
RANKS = "RANKS"  # as many as there are
OPTIONS = {"dualparal": ([], ["--previous-context", "matched_kv"], ["--guidance-micro-batches", 2], ["--partition", "balanced"],
                         ["--sequence-degree", RANKS]),
           "context_windows": (["--window-frames", 7, "--overlap-frames", 2],),
           "ring": ([], ["--sparse-attention", "lvsa"]), "single": ([], ["--guidance-micro-batches", 2])}
BLOCKS = {"dualparal": ["--block-frames", 4, "--context-frames", 2]}
KEEPS_NOTHING = ("pipefusion",)  # no snapshots
FAKETIME = next(iter(glob.glob("/usr/lib/*/faketime/libfaketime.so.1")), None)


def with_ranks(options: list, ranks: int) -> list:
    return [ranks if option == RANKS else option for option in options]


def marked_processes(mark: str) -> list[int]:
    found = []
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            if f"{MARK}={mark}".encode() in Path(path).read_bytes().split(b"\0"):
                found.append(int(path.split("/")[2]))
        except OSError:
            pass
    return found


def shared_memory() -> set[str]:
    return {name for name in os.listdir("/dev/shm") if name.startswith(("gloo", "nccl", "torch", "dualparal"))}


class Chaos:
    def __init__(self, args: argparse.Namespace, folder: Path):
        self.program, self.seed, self.folder = args.program.resolve(), args.seed, folder
        self.timeout, self.patience = args.timeout, args.patience
        self.references: dict[str, bytes] = {}

    def command(self, recipe: list[str], latents: Path, video: Path, *more: object) -> list[str]:
        return [str(self.program), "generate", *recipe, "--no-quality", "--threads", "1", "--timeout", str(self.timeout),
                "--save-latents", str(latents), "--output", str(video), *map(str, more)]

    def reference(self, recipe: list[str]) -> bytes:
        """Latents of the same run, undisturbed."""
        key = " ".join(recipe)
        if key not in self.references:
            latents = self.folder / "reference.safetensors"
            subprocess.run(self.command(recipe, latents, self.folder / "reference.mp4"), check=True, capture_output=True)
            self.references[key] = latents.read_bytes()
        return self.references[key]

    def recipe(self, chance: random.Random, least_ranks: int) -> list[str]:
        fit = {strategy: many for strategy, ranks in STRATEGIES.items() if (many := [n for n in ranks if n >= least_ranks])}
        strategy = chance.choice(list(fit))
        options = [*BLOCKS.get(strategy, []), *chance.choice(OPTIONS.get(strategy, ([],)))]
        ranks = chance.choice(fit[strategy])
        return [str(a) for a in ("--prompt", "a red circle", "--strategy", strategy, *with_ranks(options, ranks), "--frames", chance.choice([65, 97]),
                                 "--steps", 24, "--nproc", ranks)]

    def trial(self, number: int, name: str) -> dict:
        chance = random.Random(f"{self.seed} {number}")
        recipe = self.recipe(chance, 2 if name == "stop_rank" else 1)  # others see that it is stopped
        wanted = self.reference(recipe)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        out = folder / "out"
        out.mkdir()
        mounted = name == "full_disk"
        if mounted:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", out], check=True)
        mark = f"{os.getpid()}-{number}"
        environment = {**os.environ, MARK: mark}
        if name == "turn_clock":
            (folder / "clock").write_text("+0\n")
            environment |= {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"), "FAKETIME_NO_CACHE": "1",
                            "DONT_FAKE_MONOTONIC": "1"}
        before = shared_memory()
        latents, video = out / "latents.safetensors", out / "video.mp4"
        kept = folder / "kept"
        snapshots = ["--snapshot", kept, "--snapshot-every", 0] if self.keeps(recipe) and chance.random() < 0.5 else []
        line = {"trial": number, "disturbance": name, "recipe": " ".join(recipe), "snapshots": bool(snapshots)}
        try:
            with open(folder / "errors", "w+") as errors:
                launcher = subprocess.Popen(self.command(recipe, latents, video, *snapshots), stdout=subprocess.DEVNULL, stderr=errors,
                                            env=environment, process_group=0)  # Ctrl-C is for this tool
                count = int(recipe[-1])
                deadline = time.time() + self.patience
                while launcher.poll() is None and time.time() < deadline:
                    ranks = ranks_of(launcher.pid) if count > 1 else {0: launcher.pid}
                    if len(ranks) == count and list(out.iterdir()):
                        break
                    time.sleep(0.05)
                if launcher.poll() is not None:
                    raise AssertionError("ended before it was disturbed: " + (folder / "errors").read_text()[-500:])
                time.sleep(chance.uniform(0, 3))
                expected = self.disturb(name, Trial(folder, launcher, ranks, chance, environment, self.timeout))
                try:
                    code = launcher.wait(self.patience)
                except subprocess.TimeoutExpired:
                    raise AssertionError(f"still runs after {self.patience} s") from None
            line["exit_code"] = code
            codes = (*expected.codes, 75) if snapshots and name == "interrupt" else expected.codes
            self.check(dataclasses.replace(expected, codes=codes), code, (folder / "errors").read_text(), out, wanted, mark, before)
            if code != 0 and list(kept.glob("snapshot-*")):
                self.resume(recipe, kept, out, wanted)
                line["resumed"] = True
            line["ok"] = True
        except (AssertionError, OSError, subprocess.SubprocessError) as wrong:
            line |= {"ok": False, "wrong": str(wrong)[:2000]}
        finally:
            for process in marked_processes(mark):
                os.kill(process, signal.SIGKILL)
            if mounted:
                subprocess.run(["umount", out], check=False)
            shutil.rmtree(folder, ignore_errors=True)
        return line

    @staticmethod
    def keeps(recipe: list[str]) -> bool:
        return recipe[recipe.index("--strategy") + 1] not in KEEPS_NOTHING

    def resume(self, recipe: list[str], kept: Path, out: Path, wanted: bytes) -> None:
        shutil.rmtree(out, ignore_errors=True) if not os.path.ismount(out) else (out / "filling").unlink(missing_ok=True)
        out.mkdir(exist_ok=True)
        done = subprocess.run(self.command(recipe, out / "latents.safetensors", out / "video.mp4", "--resume", kept),
                              capture_output=True, text=True, timeout=self.patience)
        assert done.returncode == 0, f"could not be resumed: {done.stderr[-500:]}"
        assert (out / "latents.safetensors").read_bytes() == wanted, "resumed, the latents differ from those of an undisturbed run"
        assert not kept.exists(), "snapshots are left once the video is there"

    @staticmethod
    def disturb(name: str, trial: Trial) -> Expected:
        try:
            return DISTURBANCES[name](trial)
        except (ProcessLookupError, FileNotFoundError):  # it was done just before
            return Expected((0,))

    @staticmethod
    def check(expected: Expected, code: int, errors: str, out: Path, wanted: bytes, mark: str, before: set[str]) -> None:
        last = (errors.strip().splitlines() or [""])[-1]
        deadline = time.time() + 20
        while marked_processes(mark) and time.time() < deadline:
            time.sleep(0.1)
        assert not marked_processes(mark), f"processes are left: {marked_processes(mark)}"
        assert shared_memory() <= before, f"shared memory is left: {shared_memory() - before}"
        files = sorted(p.name for p in out.iterdir()) if out.exists() else []
        if code == 0:  # also one that was over before its disturbance
            assert set(files) - {"filling"} == {"latents.safetensors", "video.mp4"}, f"files of a whole run: {files}"
            assert (out / "latents.safetensors").read_bytes() == wanted, "latents differ from those of an undisturbed run"
            return
        assert code in expected.codes, f"exit code {code}, expected {expected.codes}: {last}"
        if code == 1:
            told = [text for text in errors.splitlines() if text.startswith("error: ")]
            assert told == [last], f"not one last line with the error: {errors[-800:]}"
            assert all(word in last for word in expected.words), f"expected {expected.words} in: {last}"
            assert "filesystem error" not in last, f"a library's words: {last}"
        # Latents that were final, and what there is of the video, are kept on purpose.
        kept = ("latents.safetensors.partial", "video.partial.mp4", "filling", "latents.safetensors")
        half = [f for f in files if f not in kept]
        assert expected.half_files or not half, f"half files are left: {half}"


def possible(names: list[str]) -> list[str]:
    left_out = {"full_disk": "needs root"} if os.geteuid() != 0 else {}
    if not FAKETIME:
        left_out["turn_clock"] = "needs libfaketime (Debian: faketime)"
    for name in left_out.keys() & set(names):
        print(f"# left out: {name}, which {left_out[name]}", file=sys.stderr)
    return [name for name in names if name not in left_out]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("chaos.jsonl"), help="a line a trial")
    parser.add_argument("--program", type=Path, default=ROOT / "build/dualparal")
    parser.add_argument("--only", nargs="+", choices=list(DISTURBANCES), default=list(DISTURBANCES))
    parser.add_argument("--timeout", type=int, default=8, help="seconds that a rank waits for another; more on a busy machine")
    parser.add_argument("--patience", type=int, default=120, help="seconds until a run counts as hanging")
    args = parser.parse_args()
    names = possible(args.only)
    if not names:
        parser.error("nothing that can be done here")
    counts: collections.Counter[str] = collections.Counter()
    end = time.time() + 60 * args.minutes
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, open(args.output, "a") as lines:
        chaos, number = Chaos(args, Path(folder)), 0
        while time.time() < end:
            line = chaos.trial(number, names[number % len(names)])
            print(json.dumps(line), file=lines, flush=True)
            counts["passed" if line["ok"] else "failed"] += 1
            if not line["ok"]:
                print(f"\rtrial {number}, {line['disturbance']}, {line['recipe']}: {line['wrong']}")
            number += 1
            print(f"\r{number} trials, {counts['failed']} failed, {max(end - time.time(), 0) / 60:.0f} min left ", end="",
                  file=sys.stderr, flush=True)
    print(f"\n{counts['passed']} passed, {counts['failed']} failed")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
