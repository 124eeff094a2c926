# SPDX-License-Identifier: Apache-2.0
"""Figures from invented result lines: grouping, medians, and the files that come out."""
from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "plots"))
import contact_sheet  # noqa: E402
import make  # noqa: E402
from results import ResultsError, group, read_results  # noqa: E402

OOM = "rank 0: CUDA out of memory"


def line(strategy="dualparal", frames=81, latency=10.0, **changes) -> dict:
    return {"schema": 1, "kind": "measured", "experiment": "e", "strategy": strategy, "options": {}, "world_size": 8,
            "model": "wan2.1-t2v-1.3b", "dtype": "bf16", "frames": frames, "height": 480, "width": 832, "steps": 50,
            "seed": 0, "latency_s": latency, "peak_memory_bytes": int(4e9 + 1e6 * frames), "status": "ok",
            "error": None, "quality": {"flicker": 0.98, "seam_ratio": None}, "provenance": {"gpu": "GPU A"}} | changes


def failed(strategy: str, frames: int, error: str = OOM, status: str = "failed", **changes) -> dict:
    """As a run leaves it that never started: no size, no options, no machine."""
    return {"schema": 1, "kind": "measured", "strategy": strategy, "options": {}, "world_size": 8,
            "model": "wan2.1-t2v-1.3b", "dtype": "bf16", "frames": frames, "status": status, "error": error,
            "provenance": {"cpu": "some processor"}} | changes


def sweep() -> list[dict]:
    lines = []
    for frames in (81, 161, 301, 513, 769, 1025):
        for repeat, factor in enumerate((1.0, 1.3, 0.95)):
            own = {"block_frames": "8", "feature_cache": "on"}
            lines.append(line("dualparal", frames, 0.20 * frames * factor, options=own, seed=repeat))
            lines.append(line("dualparal", frames, 0.26 * frames * factor, options={**own, "feature_cache": "off"}))
            lines.append(line("video_infinity", frames, 0.3 * frames * factor))
            if frames <= 513:
                lines.append(line("ring", frames, 0.002 * frames**2 * factor, peak_memory_bytes=2e10 + 3e7 * frames))
            if frames <= 301:
                lines.append(line("single", frames, 0.01 * frames**2 * factor, peak_memory_bytes=2e10 + 5e7 * frames))
    lines += [failed("ring", 769), failed("ring", 1025), failed("single", 513), failed("single", 769),
              failed("single", 1025, "longer than the time allowed", "skipped")]
    return lines


def write(path: Path, lines: list[dict]) -> Path:
    path.write_text("# results\n" + "".join(json.dumps(row) + "\n" for row in lines))
    return path


def run(folder: Path, lines: list[dict]) -> set[str]:
    results = write(folder / "results.jsonl", lines)
    assert make.main([str(results), "-o", str(folder / "figures")]) == 0
    for path in (folder / "figures").glob("*.png"):
        with Image.open(path) as image:
            assert image.width == pytest.approx(1020, abs=2), path  # 3.4 inches at 300 dpi
            assert image.convert("L").getextrema()[0] < 50, f"{path} is empty"
    return {path.name for path in (folder / "figures").iterdir()} if (folder / "figures").exists() else set()


def test_repeats_are_one_point_with_median_and_range() -> None:
    panel, = group([line(latency=v, seed=i) for i, v in enumerate((10.0, 30.0, 11.0))])
    series, = panel.series
    assert series.xy("latency_s") == [(81, 11.0, 10.0, 30.0)]
    assert series.xy("quality.flicker") == [(81, 0.98, 0.98, 0.98)]
    assert not panel.has("quality.seam_ratio")


def test_a_retried_point_counts_as_done() -> None:
    panel, = group([failed("dualparal", 81), line(latency=12.0)])
    point = panel.series[0].points[81]
    assert point.reason is None and point.median("latency_s") == 12.0


def test_series_and_panels() -> None:
    panels = group(sweep() + [line(kind="simulated", cluster="8x H100"), line(provenance={"gpu": "GPU B"}),
                              line(kind="simulated", cluster="8x RTX 4090")])
    assert len(panels) == 4  # neither kinds nor machines are mixed
    first = panels[0]
    assert sorted(first.labels()) == ["dualparal (feature-cache off)", "dualparal (feature-cache on)", "ring",
                                      "single", "video_infinity"]
    ring = first.series[first.labels().index("ring")]
    assert {f: p.reason for f, p in ring.points.items() if p.reason} == {769: "out of memory", 1025: "out of memory"}
    single = first.series[first.labels().index("single")]
    assert single.points[1025].reason == "skipped"


def test_a_failed_point_finds_its_series_by_what_was_asked_for() -> None:
    panel, = group([line(options={"feature_cache": v}) for v in ("on", "off")]
                   + [failed("dualparal", 513, config={"feature-cache": "off"})])
    assert [sorted(s.points) for s in panel.series] == [[81], [81, 513]]


def test_memory_of_the_largest_rank() -> None:
    ranks = [{"peak_memory_bytes": 5}, {"peak_memory_bytes": 9}, {"peak_memory_bytes": None}]
    panel, = group([line(peak_memory_bytes=None, per_rank=ranks)])
    assert panel.series[0].xy("peak_memory_bytes")[0][1] == 9


def test_figures_of_a_sweep(tmp_path: Path) -> None:
    names = run(tmp_path, sweep())
    stem = "measured-wan2.1-t2v-1.3b-480x832-bf16-50steps-gpu-a"
    assert names == {f"{what}_{stem}.{ending}" for what in ("latency", "memory", "flicker") for ending in ("png", "pdf")}


def test_figures_against_ranks(tmp_path: Path) -> None:
    lines = [line(s, 301, 100 / n**p, world_size=n) for n in (1, 2, 4, 8) for s, p in (("dualparal", 0.95), ("ring", 0.8))]
    names = run(tmp_path, lines + [failed("ring", 301, world_size=16)])
    assert any(name.startswith("latency_vs_ranks_301frames") for name in names)


def test_one_point_is_enough(tmp_path: Path) -> None:
    assert {n.split("_")[0] for n in run(tmp_path, [line("single", 17, 0.8)])} == {"latency", "memory", "flicker"}


def test_no_value_at_all_is_no_error(tmp_path: Path, capsys) -> None:
    assert run(tmp_path, [failed("single", 81)]) == set()
    assert "no figure" in capsys.readouterr().out


@pytest.mark.parametrize("change, words", [
    ({"schema": 2}, "schema 1, got 2"), ({"kind": "guessed"}, "'guessed'"), ({"strategy": None}, "without strategy"),
    ({"status": "fine"}, "'fine'")])
def test_wrong_lines_are_named(change: dict, words: str, tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [line(), line() | change])
    with pytest.raises(ResultsError, match="r.jsonl:3.*" + words):
        read_results([path])


def test_an_unfinished_last_line_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "results.jsonl", [line()])
    path.write_text(path.read_text() + '{"schema": 1, "ki')
    assert len(read_results([tmp_path])) == 1


def test_contact_sheet(tmp_path: Path) -> None:
    for name in ("single", "dualparal"):
        (tmp_path / name).mkdir()
        for i in range(9):
            picture = np.full((64, 96, 3), 20 + 25 * i, np.uint8)
            Image.fromarray(picture).save(tmp_path / name / f"{i:04d}.png")
    assert contact_sheet.evenly(9, 5) == [0, 2, 4, 6, 8] and contact_sheet.evenly(1, 8) == [0]
    figure = contact_sheet.contact_sheet([tmp_path / "single", tmp_path / "dualparal"], 5)
    figure.savefig(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 2000
    with pytest.raises(ValueError, match="no such file"):
        contact_sheet.read_frames(tmp_path / "missing.mp4", 3)
