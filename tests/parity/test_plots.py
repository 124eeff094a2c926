# SPDX-License-Identifier: Apache-2.0
"""Figures from invented result lines: grouping, medians, and the files that come out."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plot_lines import failed, line, pngs, run, simulated, write

import contact_sheet
import latency_memory
import scaling
from panels import group
from results import ResultsError, read_results


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


def test_a_failed_sparse_run_is_no_dense_one() -> None:
    dense = {"guidance-micro-batches": "1"}
    panel, = group([line("ring", options=dense)]
                   + [failed("ring", 513, schema=2, options={**dense, "sparse-attention": "lvsa"})])
    assert [sorted(s.points) for s in panel.series] == [[81], [513]]


def test_a_point_of_unknown_ranks_has_no_place() -> None:
    panel, = group([line(), failed("ring", 81, world_size=None)])
    assert [s.strategy for s in panel.series] == ["dualparal"]


def test_memory_of_the_largest_rank() -> None:
    ranks = [{"peak_memory_bytes": 5}, {"peak_memory_bytes": 9}, {"peak_memory_bytes": None}]
    panel, = group([line(peak_memory_bytes=None, per_rank=ranks)])
    assert panel.series[0].xy("peak_memory_bytes")[0][1] == 9


def test_figures_of_a_sweep(tmp_path: Path) -> None:
    names = run(tmp_path, [row for row in sweep() if row["options"].get("feature_cache") != "off"])
    assert {f"{what}_wan2.1-t2v-1.3b_measured.{ending}" for what in ("latency", "memory", "flicker")
            for ending in ("png", "pdf")} <= names


def test_names_say_more_only_where_panels_differ() -> None:
    clusters = [simulated(cluster=c) for c in ("8x-rtx4090", "8x-h100")]
    names = [p.name for p in group(clusters + [line(), line(dtype="fp32"), line(kind="traced", experiment="other")])]
    assert names == ["wan2.1-t2v-1.3b_8x-rtx4090_simulated", "wan2.1-t2v-1.3b_8x-h100_simulated",
                     "wan2.1-t2v-1.3b_bf16_measured", "wan2.1-t2v-1.3b_fp32_measured", "wan2.1-t2v-1.3b_traced"]
    gpus = group([line(provenance={"gpu": f"GPU {x}"}, experiment=e) for x in "AB" for e in ("one", "two")])
    assert [p.name for p in gpus] == [f"wan2.1-t2v-1.3b_{e}_gpu-{x}_measured" for x in "ab" for e in ("one", "two")]


def test_a_figure_against_frames_has_every_strategy_at_its_largest_world_size() -> None:
    panel, = group([line("single", world_size=1)] + [line("ring", world_size=n) for n in (2, 4, 8)])
    view = panel.largest_ranks()
    assert view.labels() == ["single, N=1", "ring"] and view.series[1].world_size == 8
    assert view.title().endswith("N=8")


def test_memory_that_a_failed_run_needed_is_a_cross_above_the_limit() -> None:
    needed = simulated("single", 161, None, status="failed", error="out of memory: 30 GiB", peak_memory_bytes=30 * 2**30)
    panel, = group([simulated("single"), needed])
    figure = latency_memory.draw(panel, "peak_memory_bytes", "GiB", 2.0**30,
                                 decorate=latency_memory.memory_limit(panel, 2.0**30))
    crosses = [drawn for drawn in figure.axes[0].lines if drawn.get_marker() == "x" and len(drawn.get_xdata())]
    assert [list(c.get_xydata()[0]) for c in crosses] == [[161, 30]]
    assert any(set(drawn.get_ydata()) == {24} for drawn in figure.axes[0].lines), "no line at the device's memory"
    reserved, = group([line(kind="simulated", cluster={"name": "c", "device_memory_bytes": 24,
                                                       "device_reserved_bytes": 1})])
    assert reserved.device_memory() == 23
    latency = latency_memory.draw(panel, "latency_s", "s")
    strip, axes = latency.axes
    assert [text.get_text() for text in strip.texts] == ["out of memory"]
    assert max(axes.lines[0].get_xdata()) == 81


def test_emulated_and_traced_runs_have_no_latency(tmp_path: Path) -> None:
    ranks = [{"compute_s": 2.0, "flops": 3e15, "peak_memory_bytes": 5e9}, {"compute_s": 4.0, "flops": 1e15}]
    emulated = line(kind="emulated", latency=None, per_rank=ranks, quality=None)
    traced = line(kind="traced", latency=None, per_rank=ranks, flops=4e15, quality=None)
    assert group([emulated])[0].series[0].points[81].median("compute_s") == 4.0
    assert pngs(run(tmp_path, [emulated, traced])) >= {
        f"{what}_wan2.1-t2v-1.3b_{kind}" for what, kind in
        (("compute", "emulated"), ("memory", "emulated"), ("work", "traced"), ("memory", "traced"))}


def test_figures_against_ranks(tmp_path: Path) -> None:
    lines = [line(s, 301, 100 / n**p, world_size=n) for n in (1, 2, 4, 8) for s, p in (("dualparal", 0.95), ("ring", 0.8))]
    lines += [line("single", 301, 120.0, world_size=1), failed("ring", 301, world_size=16)]
    assert {"scaling_latency_301frames_wan2.1-t2v-1.3b_measured",
            "scaling_memory_301frames_wan2.1-t2v-1.3b_measured"} <= pngs(run(tmp_path, lines))
    panel, = scaling.against_ranks(group(lines)[0])
    figure = latency_memory.draw(panel, "latency_s", "s", decorate=scaling.ideal(panel, "latency_s", 1.0))
    ideal, = (drawn for drawn in figure.axes[-1].lines if drawn.get_label() == "ideal, from single")
    assert ideal.get_xydata().tolist() == [[1, 120], [16, 7.5]]


def test_one_point_is_enough(tmp_path: Path) -> None:
    assert {n.split("_")[0] for n in run(tmp_path, [line("single", 17, 0.8, world_size=1)])} == {"latency", "memory", "flicker"}


def test_no_value_at_all_is_no_error(tmp_path: Path, capsys) -> None:
    assert run(tmp_path, [failed("single", 81)]) == set()
    assert "no figure" in capsys.readouterr().out


@pytest.mark.parametrize("change, words", [
    ({"schema": 3}, "schema 1 or 2, got 3"), ({"kind": "guessed"}, "'guessed'"), ({"strategy": None}, "without strategy"),
    ({"status": "fine"}, "'fine'")])
def test_wrong_lines_are_named(change: dict, words: str, tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [line(), line() | change])
    with pytest.raises(ResultsError, match="r.jsonl:3.*" + words):
        read_results([path])


def test_an_unfinished_last_line_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "results.jsonl", [line()])
    path.write_text(path.read_text() + '{"schema": 1, "ki')
    assert len(read_results([tmp_path])) == 1


def test_a_point_that_was_run_again_counts_with_its_last_line(tmp_path: Path) -> None:
    lines = [failed("dualparal", 81, point="a"), line("ring", point="b"), line(point="a"), line("fifo"), line("fifo")]
    write(tmp_path / "one.jsonl", lines)
    write(tmp_path / "two.jsonl", [line("single", point="a")])  # another file's points are others
    read = read_results([tmp_path / "one.jsonl", tmp_path / "two.jsonl"])
    assert [(row["strategy"], row["status"]) for row in read] == [
        ("dualparal", "ok"), ("ring", "ok"), ("fifo", "ok"), ("fifo", "ok"), ("single", "ok")]


def test_what_lies_below_results_is_not_counted_twice(tmp_path: Path) -> None:
    for name in ("a.1-of-2", "a.2-of-2", "a.2-of-2/vbench", "b", "b/before-1"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "results.jsonl", [line(experiment=name)])
    assert [row["experiment"] for row in read_results([tmp_path])] == ["a.1-of-2", "a.2-of-2", "b"]
    assert [row["experiment"] for row in read_results([tmp_path / "b"])] == ["b"]
    assert [row["experiment"] for row in read_results([tmp_path / "b" / "before-1", tmp_path / "b"])] == ["b/before-1", "b"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError, match="no results.jsonl"):
        read_results([tmp_path / "empty"])


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
