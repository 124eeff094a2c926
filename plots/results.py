# SPDX-License-Identifier: Apache-2.0
"""Result lines, read and checked, and the figures in them. How they are grouped for drawing: panels.py."""
from __future__ import annotations

import json
import sys
from pathlib import Path

SCHEMAS = (1, 2)  # lines of 1 lack some fields
KINDS = ("measured", "emulated", "traced", "simulated")
STATUSES = ("ok", "failed", "skipped")
REQUIRED = ("kind", "strategy", "status")


class ResultsError(ValueError):
    """A line that is no result line; says which and why."""


def find_files(paths: list[Path]) -> list[Path]:
    """Files as they are; in folders, every results.jsonl below."""
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(path.rglob("results.jsonl"))
            if not inside:
                raise ResultsError(f"{path}: no results.jsonl in this folder")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ResultsError(f"{path}: no such file or folder")
    return list(dict.fromkeys(found))


def check_line(line: object, where: str) -> dict:
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


def read_results(paths: list[Path]) -> list[dict]:
    """All lines. A last line that was cut off while it was written is left out, and one in between that is not JSON (a disk
    was full, then went on) with a warning."""
    lines = []
    for path in find_files(paths):
        text = path.read_text(encoding="utf-8")
        rows = text.split("\n")
        for number, row in enumerate(rows[:-1], 1):  # after the last newline: nothing, or an unfinished line
            if not row.strip() or row.startswith("#"):
                continue
            try:
                parsed = json.loads(row)
            except json.JSONDecodeError as error:
                print(f"warning: {path}:{number}: left out, not JSON: {error}", file=sys.stderr)
                continue
            lines.append({**check_line(parsed, f"{path}:{number}"), "folder": str(path.parent)})
    return lines


def cluster_of(line: dict) -> str | None:
    """The name of the cluster that a simulated line describes."""
    cluster = line.get("cluster") or (line.get("provenance") or {}).get("cluster")
    return cluster.get("name") if isinstance(cluster, dict) else cluster


def device_memory(line: dict) -> float | None:
    """Bytes that a device of the simulated cluster has for a run, where the line says so."""
    cluster = line.get("cluster")
    if not isinstance(cluster, dict) or not cluster.get("device_memory_bytes"):
        return None
    return cluster["device_memory_bytes"] - (cluster.get("device_reserved_bytes") or 0)


def hardware(line: dict) -> str | None:
    """The machine: a simulated cluster's name, else the GPU's, else the processor's. None of what was only traced."""
    provenance = line.get("provenance") or {}
    if line["kind"] == "traced":
        return None
    return cluster_of(line) or provenance.get("gpu") or provenance.get("cpu")


def prompt_of(line: dict) -> str | None:
    return (line.get("config") or {}).get("prompt")


LARGEST_OF_RANKS = {"peak_memory_bytes": "peak_memory_bytes", "compute_s": "compute_s", "rank_flops": "flops"}


def value(line: dict, name: str) -> float | None:
    """A number of a line by its dotted name, for instance "quality.drift"; None where there is none."""
    found: object = line
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if name in LARGEST_OF_RANKS and found is None:
        ranks = [rank.get(LARGEST_OF_RANKS[name]) for rank in line.get("per_rank") or []]
        found = max((r for r in ranks if r is not None), default=None)
    return float(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def reason(line: dict) -> str:
    """Why a point is missing, in a word or two."""
    error = str(line.get("error") or "").lower()
    if line["status"] == "skipped":
        return "skipped"
    if "out of memory" in error or "bad_alloc" in error or "cannot allocate" in error:
        return "out of memory"
    if "timeout" in error or "timed out" in error or "time-out" in error:
        return "time-out"
    return "failed"
