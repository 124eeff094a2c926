# SPDX-License-Identifier: Apache-2.0
"""The figures in result lines. They are read by the Python module (python/dualparal/results.py); how they are grouped for
drawing: panels.py."""
from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
from dualparal.results import ResultsError  # noqa: E402, F401
from dualparal.results import read_lines as read_results  # noqa: E402, F401


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
