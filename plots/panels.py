# SPDX-License-Identifier: Apache-2.0
"""Result lines grouped for figures.

A *panel* is what may share axes: one experiment, kind (measured, emulated, ...), model, size, step count, dtype and
hardware. Within it, a *series* is one strategy with its options and world size, and a *point* is one frame count of
it: all its repeats, prompts and seeds.
"""
from __future__ import annotations

import re
import statistics
from dataclasses import dataclass, field, replace

from results import device_memory, hardware, reason, value

PANEL_FIELDS = ("experiment", "kind", "model", "dtype", "height", "width", "steps", "hardware")


@dataclass
class Point:
    """The runs of one configuration; `missing` holds those that failed or were skipped."""

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

    def needed(self, name: str) -> float | None:
        """What a run without a result would have needed, for instance memory, where its line says so."""
        return None if self.ok or not self.missing else value(self.missing[-1], name)


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


def differing_options(chosen: dict, all_options: list[dict]) -> dict:
    """Those of the `chosen` options that are not the same in all of `all_options`."""
    return {k: v for k, v in chosen.items() if any(o.get(k) != v for o in all_options)}


@dataclass
class Panel:
    settings: dict  # PANEL_FIELDS; "frames" where a panel has one length
    series: list[Series] = field(default_factory=list)
    name: str = ""  # part of file names, set by `group`

    @property
    def ranks(self) -> int:
        """The world size that goes without saying: the largest."""
        return max((s.world_size for s in self.series), default=1)

    @property
    def frames(self) -> list[int]:
        return sorted({f for s in self.series for f in s.points})

    def labels(self, ranks: bool = True) -> list[str]:
        """Strategy, the options in which its series differ, and the world size if it is not the panel's."""
        labels = []
        for series in self.series:
            same = [s.options for s in self.series if s.strategy == series.strategy]
            text = series.strategy
            if differing := differing_options(series.options, same):
                text += f" ({label_options(differing)})"
            labels.append(text + (f", N={series.world_size}" if ranks and series.world_size != self.ranks else ""))
        return labels

    def title(self) -> str:
        s = self.settings
        size = f", {s['height']}\u00d7{s['width']}" if s["height"] and s["width"] else ""
        ranks = f", N={self.ranks}" if self.series and not s.get("against_ranks") else ""
        frames = f", {s['frames']:,} frames" if s.get("frames") else ""
        return f"{s['kind'].capitalize()}: {s['model']}{'' if frames else size}{ranks}{frames}"

    def subtitle(self) -> str:
        s = self.settings
        steps = f"{s['steps']} steps" if s["steps"] else ""
        return ", ".join(filter(None, [s["hardware"], s["dtype"], steps]))

    def has(self, name: str) -> bool:
        return any(series.xy(name) for series in self.series)

    def lines(self) -> list[dict]:
        return [line for s in self.series for point in s.points.values() for line in point.ok + point.missing]

    def device_memory(self) -> float | None:
        return next(filter(None, map(device_memory, self.lines())), None)

    def only_options_differ(self) -> bool:
        """One strategy with several options at one length: an ablation (ablation.py), nothing to draw against frames."""
        return len(self.frames) == 1 and len(self.series) > 1 and \
            len({(s.strategy, s.world_size) for s in self.series}) == 1

    def largest_ranks(self) -> Panel:
        """Every strategy with the largest world size that it ran with: `single` has one rank, the others eight."""
        most = {s.strategy: max(t.world_size for t in self.series if t.strategy == s.strategy) for s in self.series}
        return replace(self, series=[s for s in self.series if s.world_size == most[s.strategy]])


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
        own = {k.replace("-", "_"): str(v) for k, v in options.items()}
        asked = {**{k.replace("-", "_"): str(v) for k, v in (line.get("config") or {}).items()}, **own}
        for series in alike:
            known = {k.replace("-", "_"): str(v) for k, v in series.options.items()}
            if all(asked.get(k, v) == v for k, v in known.items()) and own.keys() <= known.keys():
                return series
    series = Series(line["strategy"], options, int(line["world_size"]))
    panel.series.append(series)
    return series


def slug(*parts: object) -> str:
    """Parts of a file name: small letters, digits, dots and hyphens, joined by underscores."""
    words = [re.sub(r"[^a-z0-9._]+", "-", str(part).lower()).strip("-") for part in parts if part]
    return "_".join(filter(None, words))


def _name(panels: list[Panel]) -> None:
    """Short names: model, cluster, kind; what else panels differ in only where these are the same."""
    def base(panel: Panel) -> tuple:
        s = panel.settings
        return s["model"], s["hardware"] if s["kind"] == "simulated" else None, s["kind"]

    for panel in panels:
        alike = [p.settings for p in panels if base(p) == base(panel)]
        s = panel.settings

        def where_needed(name: str, text: object) -> object:
            return text if any(other[name] != s[name] for other in alike) else None

        model, cluster, kind = base(panel)
        size = f"{s['height']}x{s['width']}" if s["height"] and s["width"] else None
        panel.name = slug(model, cluster, where_needed("experiment", s["experiment"]),
                          where_needed("height", size) or where_needed("width", size),
                          where_needed("dtype", s["dtype"]), where_needed("steps", f"{s['steps']}steps"),
                          None if cluster else where_needed("hardware", s["hardware"]), kind)


def group(lines: list[dict]) -> list[Panel]:
    """Panels in the order of their first line, series likewise. A point that failed before its model's frames, or the
    number of ranks, were known has no place in a figure."""
    panels: dict[tuple, Panel] = {}
    lines = [line for line in lines if line.get("frames") is not None and line.get("world_size") is not None]
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
    _name(list(panels.values()))
    return list(panels.values())
