# SPDX-License-Identifier: Apache-2.0
"""Means with 95 % intervals over prompts and seeds.

A sample is one prompt with one seed; its repeats are averaged first, since they tell nothing about other prompts.
Intervals are Student's t: they hold for few samples, and assume that the mean of the samples is about normal.
Samples of the same prompt are alike, so with few prompts an interval is a little too narrow for other prompts.
"""
from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from scipy.stats import t as student

from panels import Point
from results import prompt_of, value

LEVEL = 0.95


@dataclass
class Mean:
    mean: float
    half: float | None  # half of the interval's width; None for one sample: nothing is known about its spread
    n: int

    @property
    def low(self) -> float:
        return self.mean - (self.half or 0.0)

    @property
    def high(self) -> float:
        return self.mean + (self.half or 0.0)


def mean_interval(values: list[float]) -> Mean:
    n = len(values)
    if n < 2:
        return Mean(values[0], None, n)
    half = float(student.ppf((1 + LEVEL) / 2, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    return Mean(statistics.fmean(values), half, n)


def samples(point: Point, name: str) -> dict[tuple, float]:
    """By prompt and seed."""
    found: dict[tuple, list[float]] = {}
    for line in point.ok:
        if (v := value(line, name)) is not None:
            found.setdefault((prompt_of(line), line.get("seed")), []).append(v)
    return {key: statistics.fmean(values) for key, values in found.items()}


def mean_of(point: Point, name: str) -> Mean | None:
    values = list(samples(point, name).values())
    return mean_interval(values) if values else None


def difference(point: Point, base: Point, name: str) -> Mean | None:
    """Mean of the differences to `base` for the same prompt and seed: what prompts and seeds have in common cancels."""
    ours, theirs = samples(point, name), samples(base, name)
    paired = [ours[key] - theirs[key] for key in ours if key in theirs]
    return mean_interval(paired) if paired else None
