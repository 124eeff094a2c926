# SPDX-License-Identifier: Apache-2.0
"""The folder of a batch: one line for each finished step in steps.jsonl, which all other files are made from.

A folder is of one program on one device, and either a rehearsal or not: batch.json says of which. Lines are appended whole
and synchronised, so a batch may be killed at any moment: a line that was cut off is set aside when it goes on.
"""
from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from pathlib import Path

IDENTITY = ("rehearsal", "device_name", "program_sha256")


class Refused(Exception):
    """The folder is not this batch's: the reason."""


def write_whole(file: Path, text: str) -> None:
    """Complete or not at all."""
    scratch = file.with_name(f".{file.name}.partial")
    scratch.write_text(text)
    os.replace(scratch, file)


def hash_of(file: Path) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]


class Record:
    def __init__(self, folder: Path, batch: dict, restart: bool):
        """batch: what batch.json holds, with the fields of IDENTITY."""
        self.folder, self.batch = folder, batch
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = open(folder / ".lock", "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(f"{folder}: another batch is at work in it") from None
        self.file = folder / "steps.jsonl"
        self._claim(restart)
        self.lines = self._read()

    def _claim(self, restart: bool) -> None:
        identity = self.folder / "batch.json"
        if identity.exists():
            there = json.loads(identity.read_text())
            if restart:
                self._set_aside()
            else:
                for name in IDENTITY:
                    if there.get(name) != self.batch[name]:
                        raise Refused(f"{self.folder}: has results of another batch ({name} {there.get(name)}, this one's is "
                                      f"{self.batch[name]}): choose another folder (--into), or set them aside (--restart)")
                self.batch = {**self.batch, "begun": there.get("begun", self.batch["begun"])}
        elif any(path.name != ".lock" for path in self.folder.iterdir()):
            raise Refused(f"{self.folder}: neither empty nor the folder of a batch (no batch.json in it): nothing was changed")
        write_whole(identity, json.dumps(self.batch, indent=1) + "\n")

    def _set_aside(self) -> None:
        number = 1
        while (aside := self.folder / f"before-{number}").exists():
            number += 1
        aside.mkdir()
        for path in list(self.folder.iterdir()):
            if path.name != ".lock" and not path.name.startswith("before-"):
                shutil.move(path, aside / path.name)

    def _read(self) -> list[dict]:
        if not self.file.exists():
            return []
        text = self.file.read_text()
        whole, _, rest = text.rpartition("\n")
        if rest:  # a kill cut it off
            with open(self.folder / "steps.jsonl.unfinished", "a") as out:
                out.write(rest + "\n")
            write_whole(self.file, whole + "\n" if whole else "")
        return [json.loads(line) for line in whole.splitlines()]

    def latest(self) -> dict[str, dict]:
        """The last line of each step, by PIECE/STEP."""
        return {f"{line['piece']}/{line['step']}": line for line in self.lines}

    def append(self, line: dict) -> None:
        with open(self.file, "a") as out:
            out.write(json.dumps(line) + "\n")
            out.flush()
            os.fsync(out.fileno())
        self.lines.append(line)
        self.write_results()

    def write_results(self) -> None:
        """results.jsonl: the program's own lines, for its reports and figures."""
        write_whole(self.folder / "results.jsonl",
                    "".join(json.dumps(own) + "\n" for line in self.latest().values() for own in line["lines"]))
