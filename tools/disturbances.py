# SPDX-License-Identifier: Apache-2.0
"""What chaos.py does to a run that is under way, and how the run may end then."""
from __future__ import annotations

import dataclasses
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


@dataclasses.dataclass
class Trial:
    folder: Path
    launcher: subprocess.Popen
    ranks: dict[int, int]  # process ids
    chance: random.Random
    environment: dict[str, str]
    timeout: int  # seconds that a rank waits for another

    def any_rank(self) -> tuple[int, int]:
        return self.chance.choice(sorted(self.ranks.items()))


@dataclasses.dataclass
class Expected:
    """How a disturbed run may end: exit codes, and words in the last line of a run that failed."""
    codes: tuple[int, ...]
    words: tuple[str, ...] = ()
    half_files: bool = False  # a killed launcher sweeps nothing; the next run does


def kill_rank(trial: Trial) -> Expected:
    rank, process = trial.any_rank()
    os.kill(process, signal.SIGKILL)
    return Expected((1,), (f"rank {rank} was killed by signal 9",) if len(trial.ranks) > 1 else ("signal 9",))


def stop_rank(trial: Trial) -> Expected:
    rank, process = trial.any_rank()
    os.kill(process, signal.SIGSTOP)
    return Expected((1,), (f"rank {rank} does not run any more",))


def pause_rank(trial: Trial) -> Expected:
    _, process = trial.any_rank()
    os.kill(process, signal.SIGSTOP)
    time.sleep(trial.timeout / 4)
    os.kill(process, signal.SIGCONT)
    return Expected((0,))


def starve_of_processors(trial: Trial) -> Expected:
    busy = [subprocess.Popen([sys.executable, "-c", "import time\nend = time.time() + 3\nwhile time.time() < end: pass"])
            for _ in range(2 * (os.cpu_count() or 1))]
    for process in busy:
        process.wait()
    return Expected((0,))


def starve_of_memory(trial: Trial) -> Expected:
    rank, process = trial.any_rank()
    size = int(Path(f"/proc/{process}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(process, resource.RLIMIT_AS, (size + 1_000_000, size + 1_000_000))
    return Expected((0, 1), (f"rank {rank}",) if len(trial.ranks) > 1 else ("memory",))


def interrupt(trial: Trial) -> Expected:
    sent = trial.chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    trial.launcher.send_signal(sent)
    return Expected((1,) if len(trial.ranks) > 1 else (-sent,), (signal.strsignal(sent),))  # one rank: no launcher, its own signal


def kill_launcher(trial: Trial) -> Expected:
    trial.launcher.kill()
    return Expected((-signal.SIGKILL,), half_files=True)


def remove_folder(trial: Trial) -> Expected:
    shutil.rmtree(trial.folder / "out")
    return Expected((1,), ("out/",))


def full_disk(trial: Trial) -> Expected:
    left = 16 * 1024
    with open(trial.folder / "out/filling", "wb") as file:
        space = os.statvfs(trial.folder / "out")
        os.posix_fallocate(file.fileno(), 0, max(space.f_bavail * space.f_frsize - left, 1))
    return Expected((1,), ("No space left on device",))


def turn_clock(trial: Trial) -> Expected:
    (trial.folder / "clock").write_text(trial.chance.choice(["-1d\n", "+1d\n", "-30s\n"]))
    return Expected((0,))


def nothing(_: Trial) -> Expected:
    return Expected((0,))


DISTURBANCES = {f.__name__: f for f in (kill_rank, stop_rank, pause_rank, starve_of_processors, starve_of_memory, interrupt,
                                        kill_launcher, remove_folder, full_disk, turn_clock, nothing)}
