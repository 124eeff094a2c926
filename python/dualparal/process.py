# SPDX-License-Identifier: Apache-2.0
"""Starts the program, passes on what it says, and turns its errors into exceptions."""
from __future__ import annotations

import codecs
import os
import pty
import signal
import subprocess
import sys
import threading
import tty
from collections.abc import Callable

from .program import environment, find_program

ERROR = "error: "
GRACE_S = 15  # after Ctrl-C, for the program to remove half-written files


class ProgramError(RuntimeError):
    """The program failed. The text is its own: what was expected, what came, and where."""

    def __init__(self, message: str, exit_code: int, command: list[str]):
        super().__init__(message)
        self.exit_code = exit_code  # 1 failed, 2 wrong usage, -N ended by signal N
        self.command = command


class UsageError(ProgramError, ValueError):
    """The program was asked for something that cannot be: an unknown flag, a value out of range."""


class _Words:
    """Passes on standard error piece by piece, progress lines too, but for the program's last word, its error."""

    def __init__(self, show: Callable[[str], object] | None):
        self.show, self.line, self.held, self.error = show, "", "", ""
        self.last = ""  # the last whole line, should it end without an error line
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, data: bytes) -> None:
        for piece in self.decoder.decode(data).splitlines(keepends=True):
            self.line += piece
            self.held += piece
            if not (ERROR.startswith(self.line) or self.line.startswith(ERROR)):  # is not, nor can become, the error line
                if self.show:
                    self.show(self.held)
                self.held = ""
            if self.line[-1] in "\r\n":
                self.last = self.line.strip() or self.last
                if self.line.startswith(ERROR):
                    self.error = self.line.strip()[len(ERROR):]
                self.line = self.held = ""


def _shown(stream: object) -> Callable[[str], object]:
    def show(text: str) -> None:
        stream.write(text)
        stream.flush()

    return show


def _stop(child: subprocess.Popen) -> None:
    """As Ctrl-C in a terminal would: the program ends its ranks and says what is kept. A second one kills."""
    try:
        os.killpg(child.pid, signal.SIGINT)
        child.wait(GRACE_S)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def _error_pipe(terminal: bool) -> tuple[int, int]:
    """Ends to read from and to write to. On a terminal, the program's end is one, too: its progress is then one line."""
    if not terminal:
        return os.pipe()
    ours, theirs = pty.openpty()
    tty.setraw(theirs)  # newlines stay as they are
    return ours, theirs


def _read(end: int) -> bytes:
    try:
        return os.read(end, 4096)
    except OSError:  # how a terminal ends
        return b""


def run(*arguments: str | os.PathLike, quiet: bool = False) -> str:
    """`dualparal ARGUMENTS...`: waits for its end and returns what it wrote to standard output. Its notes and progress go
    to sys.stderr unless quiet. UsageError or ProgramError if it fails. Ctrl-C ends it in order, then is raised."""
    program = find_program()
    command = [str(program), *map(str, arguments)]
    words = _Words(None if quiet else _shown(sys.stderr))
    output: list[bytes] = []
    ours, theirs = _error_pipe(not quiet and sys.stderr.isatty())
    # A group of its own: Ctrl-C reaches it through us, once, from a terminal and from a notebook alike.
    child = subprocess.Popen(command, env=environment(program), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=theirs, start_new_session=True)
    os.close(theirs)
    said = threading.Thread(target=lambda: output.append(child.stdout.read()), daemon=True)
    said.start()

    def listen() -> None:
        while data := _read(ours):
            words.push(data)

    try:
        listen()
        child.wait()
    except BaseException:
        _stop(child)
        listen()
        raise
    finally:
        said.join()
        child.stdout.close()
        os.close(ours)
    if child.returncode == 0:
        return b"".join(output).decode(errors="replace")
    raise _error_of(child.returncode, words, command)


def _error_of(code: int, words: _Words, command: list[str]) -> ProgramError:
    message = words.error or (words.line or words.last).strip()
    if code < 0:
        message = f"ended by {signal.Signals(-code).name}" + (f": {message}" if message else "")
    kind = UsageError if code == 2 else ProgramError
    return kind(message or f"ended with exit code {code} and no word", code, command)
