# SPDX-License-Identifier: Apache-2.0
"""Quality metrics against the number of frames: one figure for each metric that has values (docs/metrics.md).

A line is the mean over prompts and seeds, its band the 95 % interval (intervals.py); one sample has no band.
"""
from __future__ import annotations

from pathlib import Path

from figure import finish, frame_axis, look, new_figure, save, value_axis
from intervals import mean_of
from panels import Panel
from results import value

METRICS = {
    "seam_ratio": "seam ratio (1: seamless)", "drift": "drift", "content": "frames as asked for",
    "repetition": "repetition", "flicker": "flicker score (1: none)", "psnr_db": "PSNR against single (dB)",
    "ssim": "SSIM against single", "latent_relative_error": "latent error against single",
    "identity_switches_per_100_frames": "switches per 100 frames",
    "dynamic_degree_px": "motion between frames (px)", "still_frames": "share of still frames",
    "largest_motion_px": "largest motion between frames (px)",
    "border_motion_ratio": "motion at borders of blocks (1: as elsewhere)", "loop": "loop (highest autocorrelation)",
    "first_frame_ratio": "change after the first frame (1: as later)",
    **{f"similarity_{d}": f"similarity {d} frames apart" for d in (2, 5, 10, 20, 50)},
}


def metrics(panel: Panel) -> dict[str, str]:
    """Dotted name: label, of every metric with a value in the panel; VBench's dimensions as they come."""
    lines = [line for line in panel.lines() if line["status"] == "ok"]
    vbench = dict.fromkeys(d for line in lines for d in ((line.get("quality") or {}).get("vbench") or {}))
    names = {f"quality.{m}": label for m, label in METRICS.items()}
    names |= {f"quality.vbench.{d}": f"VBench: {d.replace('_', ' ')}" for d in vbench}
    return {name: label for name, label in names.items() if any(value(line, name) is not None for line in lines)}


def draw(panel: Panel, name: str, label: str):
    figure, axes, _ = new_figure(panel, 0)
    values, ticks, most = [], set(), 1
    for i, (series, text) in enumerate(zip(panel.series, panel.labels())):
        rows = [(frames, mean) for frames, point in sorted(series.points.items()) if (mean := mean_of(point, name))]
        if not rows:
            continue
        x = [frames for frames, _ in rows]
        style = look(panel, i)
        axes.plot(x, [m.mean for _, m in rows], label=text, **style)
        if any(m.half for _, m in rows):
            axes.fill_between(x, [m.low for _, m in rows], [m.high for _, m in rows], color=style["color"], alpha=0.15,
                              linewidth=0)
        values += [v for _, m in rows for v in (m.low, m.high)]
        ticks |= set(x)
        most = max([most, *(m.n for _, m in rows)])
    frame_axis(axes, sorted(ticks))
    value_axis(axes, values, label, zero=False)
    finish(figure, axes, None, panel)
    if most > 1:
        axes.set_title(axes.get_title() + f", mean and 95 % interval, n \u2264 {most}", fontsize=6.5)
    return figure


def make(panels: list[Panel], folder: Path) -> list[Path]:
    written = []
    for panel in (whole.largest_ranks() for whole in panels if not whole.only_options_differ()):
        for name, label in metrics(panel).items():
            written += save(draw(panel, name, label), folder, f"{name.removeprefix('quality.').replace('.', '_')}_{panel.name}")
    return written
