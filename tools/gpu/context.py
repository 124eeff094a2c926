# SPDX-License-Identifier: Apache-2.0
"""What steps work with: the program, a device, a folder, and a limit."""
from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import calls
from calls import Failed


@dataclass
class Step:
    name: str
    kind: str  # check, measured, emulated, simulated: where its figures come from
    run: Callable[["Context"], dict | None]  # figures; Failed or Skipped with the reason
    limit_s: float = 120
    inputs: Callable[[], list[str]] = lambda: []  # names of what it is made from: another list makes it run again


@dataclass
class Piece:
    name: str
    question: str
    limit_s: float  # at most 540
    steps: list[Step] = field(default_factory=list)


class Context:
    def __init__(self, options, folder: Path, device: str, facts: dict):
        self.program, self.probe, self.unit_tests, self.data = (Path(p).absolute() for p in (
            options.program, options.probe, options.unit_tests, options.data))
        self.folder, self.device, self.facts = folder, device, facts
        self.rehearsal, self.device_name = options.rehearse, facts["name"]
        self.deadline = time.monotonic() + 60 * options.time
        self.scratch = folder / ".scratch"
        self.environment = dict(os.environ)
        if options.libraries:
            self.environment["LD_LIBRARY_PATH"] = ":".join(filter(None, [options.libraries, os.environ.get("LD_LIBRARY_PATH")]))
        self.root = Path(__file__).resolve().parents[2]  # has models/ and configs/
        self.embedded = self.root / "models/moving-shapes"
        self._help: dict[str, str] = {}

    @property
    def on_gpu(self) -> bool:
        return not self.rehearsal

    def prepare(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        (self.folder / "traces").mkdir(exist_ok=True)

    def clean_up(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)

    def begin(self, piece: Piece, step: Step, limit_s: float) -> None:
        self.piece, self.step, self.end = piece, step, time.monotonic() + limit_s
        self.lines: list[dict] = []  # the program's own
        self.figures: dict = {}      # kept even if the step fails
        self.log = self.folder / "logs" / f"{piece.name}.{step.name}.log"
        self.log.unlink(missing_ok=True)

    def call(self, *arguments, environment: dict[str, str] | None = None) -> str:
        """Its output. Failed where it fails or the step's limit is used up."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise Failed(f"longer than {self.step.limit_s:.0f} s")
        return calls.call(list(arguments), self.log, left, self.deadline, {**self.environment, **(environment or {})})

    def script(self, name: str, *arguments, environment: dict[str, str] | None = None) -> dict:
        """The JSON that a script of this folder prints last: in a process of its own, so that the batch holds no device."""
        text = self.call(sys.executable, Path(__file__).with_name(name), *arguments, environment=environment)
        return json.loads(text.strip().splitlines()[-1])

    def knows(self, flag: str, command: str = "generate") -> bool:
        """Whether the program's help names it: programs of several states are measured with one batch."""
        if command not in self._help:
            try:
                self._help[command] = self.call(self.program, command, "--help-all")
            except Failed:  # commands and programs without it show every flag
                self._help[command] = self.call(self.program, command, "--help")
        return f"  {flag} " in self._help[command] or f"  {flag}=" in self._help[command] or f"  {flag},"  in self._help[command]

    def generate(self, *arguments, keep: bool = True, environment: dict[str, str] | None = None) -> dict:
        """The result line of a run on the device; kept among the step's."""
        result = self.scratch / "line.jsonl"
        result.unlink(missing_ok=True)
        threads = [] if self.on_gpu else ["--threads", 1]
        self.call(self.program, "generate", "--quiet", "--device", self.device, *threads, "--result", result, *arguments,
                  environment=environment)
        line = json.loads(result.read_text().splitlines()[-1])
        line["experiment"] = "gpu batch, REHEARSED ON A CPU" if self.rehearsal else "gpu batch"
        line["point"] = f"{self.piece.name}/{self.step.name}" + (f"/{len(self.lines) + 1}" if self.lines else "")
        line["repeat"] = 0
        if line["status"] != "ok":
            raise Failed(f"the program's line says {line['status']}: {line['error']}")
        if keep:
            self.lines.append(line)
        return line
