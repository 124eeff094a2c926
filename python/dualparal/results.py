# SPDX-License-Identifier: Apache-2.0
"""Result lines, read and checked: as they are (read_lines) or as objects (read_results). Every field with its unit:
docs/metrics.md; the program's own list of them: harness/record/result_line.h."""
from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SCHEMAS = (1, 2)  # lines of 1 lack some fields
KINDS = ("measured", "emulated", "traced", "simulated")
STATUSES = ("ok", "failed", "skipped")
REQUIRED = ("kind", "strategy", "status")

Paths = str | os.PathLike | Iterable[str | os.PathLike]


class ResultsError(ValueError):
    """A line that is no result line; says which and why."""


@dataclasses.dataclass(frozen=True)
class RankResult:
    """One rank's part: seconds; bytes are peaks while it denoised. None: not measured."""

    compute_s: float | None = None
    communication_s: float | None = None
    idle_s: float | None = None
    sent_bytes: int | None = None
    peak_memory_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    process_memory_bytes: int | None = None
    device_used_bytes: int | None = None
    device_allocations: int | None = None
    host_cache_bytes: int | None = None
    weights_bytes: int | None = None
    flops: float | None = None
    matmul_flops: float | None = None
    attention_flops: float | None = None
    moved_bytes: float | None = None
    clock_offset_s: float | None = None
    clock_error_s: float | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """A result line. None where a field does not apply or was not measured."""

    schema: int
    kind: str  # one of KINDS
    strategy: str
    status: str  # one of STATUSES
    experiment: str | None = None
    exact: bool | None = None
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    world_size: int | None = None
    model: str | None = None
    device: str | None = None
    dtype: str | None = None
    frames: int | None = None
    latent_frames: int | None = None
    height: int | None = None
    width: int | None = None
    steps: int | None = None
    seed: int | None = None
    latency_s: float | None = None
    first_block_s: float | None = None
    samples: list[float] = dataclasses.field(default_factory=list)
    interval: float | None = None
    per_rank: list[RankResult] = dataclasses.field(default_factory=list)
    peak_memory_bytes: int | None = None
    reserved_bytes: int | None = None
    process_memory_bytes: int | None = None
    device_used_bytes: int | None = None
    host_cache_bytes: int | None = None
    sent_bytes: int | None = None
    flops: float | None = None
    bubble_ratio: float | None = None
    text_encode_s: float | None = None
    load_s: float | None = None
    decode_s: float | None = None
    total_s: float | None = None
    text_peak_memory_bytes: int | None = None
    decode_peak_memory_bytes: int | None = None
    peak_resident_bytes: int | None = None
    analytic_cost: dict[str, int] | None = None
    bubble_ratio_slots: float | None = None
    videos: int | None = None
    videos_per_s: float | None = None
    video_latency_s: dict[str, float] | None = None
    video_first_block_s: dict[str, float] | None = None
    per_video: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    quality: dict[str, Any] | None = None
    error_vs_single: float | None = None
    source_kind: str | None = None
    compute: str | None = None
    cluster: dict[str, Any] | None = None
    latency_without_memory_limit_s: float | None = None
    memory_margin: float | None = None
    sweep: dict[str, Any] | None = None
    error: str | None = None
    config: dict[str, Any] | None = None
    config_hash: str | None = None
    program_hash: str | None = None
    provenance: dict[str, Any] | None = None
    point: str | None = None
    repeat: int | None = None
    video: str | None = None
    timeline: str | None = None
    line: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)  # as the file has it


def _known(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """What a class of this kind takes; null is left to its default."""
    names = {field.name for field in dataclasses.fields(kind)} - {"line"}
    return {name: value for name, value in values.items() if name in names and value is not None}


def result_of(line: dict[str, Any]) -> Result:
    """A checked line as an object; what a newer program adds is in its `line`."""
    values = _known(Result, line)
    values["per_rank"] = [RankResult(**_known(RankResult, rank)) for rank in values.get("per_rank", [])]
    return Result(**values, line=line)


def files_in(folder: Path) -> list[Path]:
    """The folder's own results.jsonl; of a folder without one, those of the folders below, by the same rule. What lies below
    results (set aside, or judged) is made of the same runs."""
    found = []
    for at, folders, files in os.walk(folder):
        folders.sort()
        if "results.jsonl" in files:
            found.append(Path(at) / "results.jsonl")
            folders.clear()
    return found


def find_files(paths: Paths) -> list[Path]:
    """Files as they are; of folders, see files_in."""
    found = []
    for path in map(Path, [paths] if isinstance(paths, (str, os.PathLike)) else paths):
        if path.is_dir():
            inside = files_in(path)
            if not inside:
                raise ResultsError(f"{path}: no results.jsonl in this folder")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ResultsError(f"{path}: no such file or folder")
    return list(dict.fromkeys(found))


def check_line(line: object, where: str) -> dict[str, Any]:
    if not isinstance(line, dict) or line.get("schema") not in SCHEMAS:
        got = line.get("schema", "none") if isinstance(line, dict) else type(line).__name__
        raise ResultsError(f"{where}: expected a result line of schema 1 or 2, got {got}")
    missing = [name for name in REQUIRED if line.get(name) is None]
    if missing:
        raise ResultsError(f"{where}: a result line without {', '.join(missing)}")
    for name, allowed in (("kind", KINDS), ("status", STATUSES)):
        if line[name] not in allowed:
            raise ResultsError(f"{where}: {name} is {line[name]!r}, not one of {', '.join(allowed)}")
    return line


def read_lines(paths: Paths) -> list[dict[str, Any]]:
    """All lines, each with the `folder` it was read from; a point that was run again counts with its last line alone. A last
    line that was cut off while it was written is left out, and one in between that is not JSON (a disk was full, then went on)
    with a warning."""
    lines = []
    for path in find_files(paths):
        text = path.read_text(encoding="utf-8")
        rows = text.split("\n")
        places: dict[str, int] = {}  # point -> its line
        for number, row in enumerate(rows[:-1], 1):  # after the last newline: nothing, or an unfinished line
            if not row.strip() or row.startswith("#"):
                continue
            try:
                parsed = json.loads(row)
            except json.JSONDecodeError as error:
                print(f"warning: {path}:{number}: left out, not JSON: {error}", file=sys.stderr)
                continue
            line = {**check_line(parsed, f"{path}:{number}"), "folder": str(path.parent)}
            point = line.get("point")
            place = len(lines) if point is None else places.setdefault(str(point), len(lines))
            lines[place:place + 1] = [line]
    return lines


def read_results(paths: Paths) -> list[Result]:
    """All lines of result files, and of those in folders, as objects."""
    return [result_of(line) for line in read_lines(paths)]
