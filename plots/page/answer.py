# SPDX-License-Identifier: Apache-2.0
"""The answer that a page opens with: of every setting (a panel), who is fastest at the longest length, by how much."""
from __future__ import annotations

from dataclasses import dataclass

from page.run_options import run_options
from panels import Panel, Point, Series, label_options

OURS = "dualparal"
# What "fast" means, by what a panel's lines hold: traced runs time nothing, emulated ones only each rank's computing.
METRICS = {"latency_s": "latency", "compute_s": "computing time of the busiest rank", "flops": "work of all ranks"}


@dataclass
class Runner:
    """One series at the answer's length."""

    series: Series
    label: str
    point: Point
    figure: float  # of the panel's metric
    memory: float | None  # bytes, of the rank that needs most

    @property
    def strategy(self) -> str:
        return self.series.strategy


@dataclass
class Answer:
    panel: Panel
    metric: str
    frames: int
    fastest: Runner
    baseline: Runner | None  # the best strategy other than the fastest and its variants
    ours: Runner | None  # dualparal's best, where it is neither of the two
    exact: Runner | None  # the fastest exact strategy, where the fastest is not exact
    missing: list[str]  # series that have no result at this length, with the reason


def changed_by(runner: Runner) -> dict:
    """Options of the run with which `single` too gives another result than without."""
    return run_options(runner.point.ok[0])


def computes_as_single(runner: Runner) -> bool | None:
    """Whether the strategy computes what `single` computes with the same options of the run; None: a line of before, which
    does not say, and records no distance from it either."""
    said = runner.point.ok[0].get("exact")
    if said is None and (runner.strategy == "single" or runner.point.median("error_vs_single") is not None):
        return True
    return said


def is_exact(runner: Runner) -> bool:
    """Gives what `single` gives without further options."""
    return bool(computes_as_single(runner)) and not changed_by(runner)


def exactness(runner: Runner) -> str:
    """In words, with the error that was recorded."""
    if computes_as_single(runner) and (changed := changed_by(runner)):
        return f"not exact: single's result with {label_options(changed)}"
    if runner.strategy == "single":
        return "is the reference itself"
    error, psnr = runner.point.median("error_vs_single"), runner.point.median("quality.psnr_db")
    if error is not None:
        return f"exact: differs from single by {error:.1e}"
    if is_exact(runner):
        return "exact by construction, not checked in this run"
    if computes_as_single(runner) is None and psnr is None:
        return "whether it is exact was not recorded"
    return f"not exact: {psnr:.1f} dB from single's video" if psnr is not None else \
        "not exact: no distance from single recorded"


def runners(panel: Panel, metric: str, frames: int) -> list[Runner]:
    """Best first."""
    found = []
    for series, label in zip(panel.series, panel.labels(ranks=False)):
        point = series.points.get(frames)
        if point and (figure := point.median(metric)) is not None:
            found.append(Runner(series, label, point, figure, point.median("peak_memory_bytes")))
    return sorted(found, key=lambda runner: runner.figure)


def answer(panel: Panel) -> Answer | None:
    """At the longest length that two strategies have reached (or that the only one has); None if nothing was timed."""
    metric = next((name for name in METRICS if panel.has(name)), None)
    if metric is None:
        return None
    by_length = {frames: runners(panel, metric, frames) for frames in panel.frames}
    several = [f for f, found in by_length.items() if len({r.strategy for r in found}) > 1]
    frames = max(several or [f for f, found in by_length.items() if found])
    found = by_length[frames]
    fastest, others = found[0], [r for r in found if r.strategy != found[0].strategy]
    ours = next((r for r in others[1:] if r.strategy == OURS), None)
    exact = next((r for r in found if is_exact(r)), None)
    missing = [f"{label} on {series.world_size}: {point.reason}"
               for series, label in zip(panel.series, panel.labels(ranks=False))
               if (point := series.points.get(frames)) and point.reason]
    return Answer(panel, metric, frames, fastest, others[0] if others else None, ours,
                  exact if not is_exact(fastest) else None, missing)


def answers(panels: list[Panel]) -> list[tuple[int, Answer]]:
    """With the panel's number; the one to open with first: clocks before simulations, long videos, many strategies."""
    order = ("measured", "simulated", "emulated", "traced")
    found = [(i, a) for i, panel in enumerate(panels) if (a := answer(panel))]
    return sorted(found, key=lambda ia: (order.index(ia[1].panel.settings["kind"]), ia[1].baseline is None,
                                         -ia[1].frames, -len(ia[1].panel.series)))
