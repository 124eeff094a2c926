# SPDX-License-Identifier: Apache-2.0
"""Children of a batch: each with a log and a limit, and none outlives it."""
from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

_LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """A step failed: the reason, on one line."""


class Skipped(Exception):
    """A step has nothing to do here: the reason."""


class OutOfTime(Exception):
    """The time of the whole batch is used up: the step is none, and the next call begins it anew."""


def _die_with_parent() -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_group(child: subprocess.Popen) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def reason_in(log: str, code: int) -> str:
    """The last line that says `error`, or else the last one."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith("error:") or "Error" in line] or lines
    how = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
    return f"{how}: {telling[-1][:500]}" if telling else how


def call(arguments: list, log: Path, limit_s: float, deadline: float, environment: dict[str, str]) -> str:
    """Runs it and returns what it printed, errors among it. limit_s: its own; deadline: the batch's (time.monotonic)."""
    log.parent.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with open(log, "a") as out:
        out.write("$ " + " ".join(map(str, arguments)) + "\n")
        out.flush()
        start = out.tell()
        child = subprocess.Popen([str(a) for a in arguments], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                 env=environment, start_new_session=True, preexec_fn=_die_with_parent)
        try:
            child.wait(max(0.1, min(limit_s, deadline - begin)))
        except subprocess.TimeoutExpired:
            end_group(child)
            if time.monotonic() >= deadline:
                raise OutOfTime from None
            raise Failed(f"longer than {limit_s:.0f} s") from None
        except BaseException:
            end_group(child)
            raise
    with open(log) as written:
        written.seek(start)
        text = written.read()
    if child.returncode:
        raise Failed(reason_in(text, child.returncode))
    return text
