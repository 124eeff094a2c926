# SPDX-License-Identifier: Apache-2.0
"""Result lines, read, checked and grouped for figures.

A *panel* is what may share axes: one kind (measured, emulated, ...), model, size, step count, dtype and hardware.
Within it, a *series* is one strategy with its options and world size, and a *point* is one frame count of it:
all its repeats, of which figures show the median and the range.
"""
from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path

SCHEMA = 1
KINDS = ("measured", "emulated", "traced", "simulated")
STATUSES = ("ok", "failed", "skipped")
REQUIRED = ("kind", "strategy", "world_size", "model", "frames", "status")
PANEL_FIELDS = ("kind", "model", "dtype", "height", "width", "steps", "hardware")


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
    if not isinstance(line, dict) or line.get("schema") != SCHEMA:
        got = line.get("schema", "none") if isinstance(line, dict) else type(line).__name__
        raise ResultsError(f"{where}: expected a result line of schema {SCHEMA}, got {got}")
    missing = [name for name in REQUIRED if line.get(name) is None]
    if missing:
        raise ResultsError(f"{where}: a result line without {', '.join(missing)}")
    for name, allowed in (("kind", KINDS), ("status", STATUSES)):
        if line[name] not in allowed:
            raise ResultsError(f"{where}: {name} is {line[name]!r}, not one of {', '.join(allowed)}")
    return line


def read_results(paths: list[Path]) -> list[dict]:
    """All lines. A last line that was cut off while it was written is left out."""
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
                raise ResultsError(f"{path}:{number}: not JSON: {error}") from None
            lines.append({**check_line(parsed, f"{path}:{number}"), "folder": str(path.parent)})
    return lines


def hardware(line: dict) -> str | None:
    """The machine: a simulated cluster's name, else the GPU's, else the processor's."""
    provenance = line.get("provenance") or {}
    cluster = line.get("cluster") or provenance.get("cluster")
    if isinstance(cluster, dict):
        cluster = cluster.get("name")
    return cluster or provenance.get("gpu") or provenance.get("cpu")


def value(line: dict, name: str) -> float | None:
    """A number of a line by its dotted name, for instance "quality.drift"; None where there is none."""
    found: object = line
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if name == "peak_memory_bytes" and found is None:
        ranks = [rank.get(name) for rank in line.get("per_rank") or []]
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


@dataclass
class Point:
    """The repeats of one configuration; `missing` holds those that failed or were skipped."""

    ok: list[dict] = field(default_factory=list)
    missing: list[dict] = field(default_factory=list)

    def values(self, name: str) -> list[float]:
        return [v for line in self.ok if (v := value(line, name)) is not None]

    def median(self, name: str) -> float | None:
        values = self.values(name)
        return statistics.median(values) if values else None

    def spread(self, name: str) -> tuple[float, float] | None:
        values = self.values(name)
        return (min(values), max(values)) if values else None

    @property
    def reason(self) -> str | None:
        """Why nothing came of this point; None if something did."""
        return None if self.ok or not self.missing else reason(self.missing[-1])


@dataclass
class Series:
    strategy: str
    options: dict
    world_size: int
    points: dict[int, Point] = field(default_factory=dict)  # by frames

    def xy(self, name: str) -> list[tuple[int, float, float, float]]:
        """Rows (frames, median, least, largest) of every point that has the figure."""
        return [(frames, point.median(name), *point.spread(name))
                for frames, point in sorted(self.points.items()) if point.values(name)]


def label_options(options: dict) -> str:
    """Options as the figures name them: "feature-cache off, block-frames 8"."""
    return ", ".join(f"{name.replace('_', '-')} {chosen}" for name, chosen in options.items())


@dataclass
class Panel:
    settings: dict  # PANEL_FIELDS
    series: list[Series] = field(default_factory=list)

    def labels(self) -> list[str]:
        """Strategy, the options in which its series differ, and the world size where there are several."""
        sizes = {s.world_size for s in self.series}
        labels = []
        for series in self.series:
            same = [s.options for s in self.series if s.strategy == series.strategy]
            differing = [k for k in series.options if any(o.get(k) != series.options[k] for o in same)]
            text = series.strategy
            if differing:
                text += f" ({label_options({k: series.options[k] for k in differing})})"
            labels.append(text + (f", N={series.world_size}" if len(sizes) > 1 else ""))
        return labels

    def title(self) -> str:
        s = self.settings
        size = f", {s['height']}\u00d7{s['width']}" if s["height"] and s["width"] else ""
        sizes = {x.world_size for x in self.series}
        ranks = f", N={sizes.pop()}" if len(sizes) == 1 else ""
        return f"{s['kind'].capitalize()}: {s['model']}{size}{ranks}"

    def subtitle(self) -> str:
        s = self.settings
        steps = f"{s['steps']} steps" if s["steps"] else ""
        return ", ".join(filter(None, [s["hardware"], s["dtype"], steps]))

    def has(self, name: str) -> bool:
        return any(series.xy(name) for series in self.series)


def _panel_key(line: dict) -> tuple:
    return tuple(hardware(line) if name == "hardware" else line.get(name) for name in PANEL_FIELDS)


def _matches(known: tuple, wanted: tuple) -> bool:
    """A point that never ran may not know its size or machine: what it does not say matches anything."""
    return all(w is None or w == k for k, w in zip(known, wanted))


def _series_for(panel: Panel, line: dict) -> Series:
    options = dict(line.get("options") or {})
    alike = [s for s in panel.series if (s.strategy, s.world_size) == (line["strategy"], line["world_size"])]
    for series in alike:
        if series.options == options:
            return series
    if line["status"] != "ok":  # knows at most those options that were asked for
        asked = {k.replace("-", "_"): str(v) for k, v in {**(line.get("config") or {}), **options}.items()}
        for series in alike:
            if all(asked.get(k.replace("-", "_"), str(v)) == str(v) for k, v in series.options.items()):
                return series
    series = Series(line["strategy"], options, int(line["world_size"]))
    panel.series.append(series)
    return series


def group(lines: list[dict]) -> list[Panel]:
    """Panels in the order of their first line, series likewise."""
    panels: dict[tuple, Panel] = {}
    ok = [line for line in lines if line["status"] == "ok"]
    for line in ok + [line for line in lines if line["status"] != "ok"]:
        key = _panel_key(line)
        if line["status"] == "ok":
            matching = [key]
        else:  # the processor of the machine that started a run says nothing about where it would have run
            key = key[:-1] + (None,) if not line.get("cluster") else key
            matching = [k for k in panels if _matches(k, key)] or [key]
        for k in matching:
            panel = panels.setdefault(k, Panel(dict(zip(PANEL_FIELDS, k))))
            point = _series_for(panel, line).points.setdefault(int(line["frames"]), Point())
            (point.ok if line["status"] == "ok" else point.missing).append(line)
    return list(panels.values())
