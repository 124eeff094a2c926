# SPDX-License-Identifier: Apache-2.0
"""Speed-up, ablation, quality, bubble and cost figures from invented result lines: the numbers that are drawn."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
from plot_lines import failed, line, pngs, run, simulated

import ablation
import bubble
import cost
import quality
import speedup
import timeline
from intervals import difference, mean_interval, mean_of
from panels import Point, group
from results import ResultsError, read_results


def headline() -> list[dict]:
    lines = []
    for frames in (81, 1025):
        lines += [simulated("dualparal", frames, 10.0), simulated("ring", frames, 40.0, peak_memory_bytes=1e10)]
    return lines + [simulated("single", 81, 90.0, world_size=1),
                    simulated("single", 1025, None, status="failed", error="out of memory", world_size=1)]


def samples(prompts=4, seeds=3, shift=0.0, **changes) -> list[dict]:
    """Prompts and seeds that differ much more than `shift`, and two repeats of each."""
    return [line(quality={"drift": 0.1 * p + 0.03 * s + shift, "content": None}, seed=s, config={"prompt": f"p{p}"},
                 repeat=r, **changes) for p in range(prompts) for s in range(seeds) for r in range(2)]


def test_speedup_is_relative_to_dualparal_at_the_same_point() -> None:
    panel, = group(headline())
    names = [s.strategy for s in panel.series]
    ring, single = names.index("ring"), names.index("single")
    assert speedup.ratios(panel, "latency_s") == {81: {ring: 4.0, single: 9.0}, 1025: {ring: 4.0, single: None}}
    assert speedup.ratios(panel, "peak_memory_bytes")[81][ring] == pytest.approx(1e10 / (4e9 + 81e6))


def test_speedup_is_relative_to_the_default_variant() -> None:
    default = {"block-frames": "8", "context-frames": "4", "guidance-micro-batches": "1", "previous-context": "synchronous"}
    variants = [{**default, "context-frames": "2"}, {**default, "guidance-micro-batches": "2"}, default]
    lines = [simulated("dualparal", 81, latency, options=options) for latency, options in zip((5.0, 8.0, 10.0), variants)]
    lines.append(simulated("ring", 81, 40.0))
    panel, = group(lines)
    assert speedup.ratios(panel, "latency_s") == {81: {0: 0.5, 1: 0.8, 3: 4.0}}
    figure = speedup.draw(panel, ["latency_s"])
    assert figure.axes[0].get_ylabel() == "latency,\ntimes dualparal's"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "dualparal (context-frames 2)", "dualparal (guidance-micro-batches 2)", "ring"]
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.x0 and box.x1 <= figure.bbox.width, "the legend is cut off"
    # It failed: the first that did not is the base, and is named.
    lines[2] = simulated("dualparal", 81, None, options=default, status="failed", error="out of memory")
    panel, = group(lines)
    assert speedup.ratios(panel, "latency_s") == {81: {1: 1.6, 2: 8.0, 3: None}}
    assert speedup.draw(panel, ["latency_s"]).axes[0].get_ylabel() == "latency,\ntimes dualparal's\n(context-frames 2)"


@pytest.mark.parametrize("changes, shown", [({}, True), ({"world_size": 4}, False), ({"frames": 513}, False)])
def test_the_papers_headline_stands_at_its_own_point_only(changes: dict, shown: bool) -> None:
    lines = [row | {k: v for k, v in changes.items() if row["frames"] == 1025 or k != "frames"} for row in headline()]
    panel, = group([row for row in lines if row["strategy"] != "single"])
    figure = speedup.draw(panel, ["latency_s", "peak_memory_bytes"])
    dashed = [drawn.get_ydata()[0] for axes in figure.axes for drawn in axes.lines if drawn.is_dashed()]
    assert dashed == ([6.54, 1.48] if shown else [])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert ("paper, 8x RTX 4090, 1,025 frames: up to" in texts) == shown


def test_interval_is_students_t() -> None:
    mean = mean_interval([1.0, 2.0, 3.0, 4.0])
    # t of 3 degrees of freedom: 3.182; standard deviation 1.291, of the mean 0.6455
    assert (mean.mean, mean.half, mean.n) == (2.5, pytest.approx(3.1824 * 0.64550, rel=1e-4), 4)
    assert mean_interval([5.0]).half is None


def test_repeats_are_no_samples() -> None:
    point = Point(ok=samples(2, 2))
    assert mean_of(point, "quality.drift").n == 4
    assert mean_of(point, "quality.content") is None


def test_the_difference_is_paired() -> None:
    base, moved = Point(ok=samples()), Point(ok=samples(shift=0.01))
    change = difference(moved, base, "quality.drift")
    assert change.mean == pytest.approx(0.01) and change.half < 1e-6 and change.n == 12
    assert mean_of(base, "quality.drift").half > 0.05  # alone, the means could not be told apart
    other = Point(ok=[row | {"config": {"prompt": "another"}} for row in samples(1)])
    assert difference(other, base, "quality.drift") is None


def ablation_lines() -> list[dict]:
    rows = []
    for cache, latency in (("on", 10.0), ("off", 13.0)):
        rows += samples(shift=0.01 * (cache == "off"), latency=latency,
                        options={"feature-cache": cache, "block-frames": "8"})
    return rows


def test_an_ablation_is_found_from_the_lines(tmp_path: Path) -> None:
    lines = ablation_lines()
    panel, = group(lines)
    (strategy, ranks, frames, rows), = ablation.ablations(panel)
    assert (strategy, ranks, frames) == ("dualparal", 8, 81)
    assert [options for options, _ in rows] == [{"feature-cache": "on"}, {"feature-cache": "off"}]
    assert not ablation.ablations(group(lines[:24])[0])
    names = run(tmp_path, lines)
    # One length and one strategy: nothing to draw against frames.
    assert pngs(names) == {f"ablation_{part}_dualparal_wan2.1-t2v-1.3b_measured" for part in ("cost", "quality")}
    table = (tmp_path / "figures" / "ablation_dualparal_wan2.1-t2v-1.3b_measured.md").read_text()
    assert "| drift | feature-cache off | 12 | 0.19 | " in table and "| +0.01 (+0.01 to +0.01) |" in table


def test_ablation_draws_interval_and_change() -> None:
    panel, = group(ablation_lines())
    rows = ablation.ablations(panel)[0][3]
    figure = ablation.draw(panel, ("dualparal", 8, 81), rows, ablation.metrics(rows, quality.metrics(panel)))
    drawn = figure.axes[0].lines
    thick = [line for line in drawn if line.get_linewidth() > 3]
    assert [list(line.get_xdata()) for line in thick] == [[pytest.approx(0.19), pytest.approx(0.19)]]
    thin = [list(line.get_xdata()) for line in drawn if line.get_linewidth() == 0.8 and line.get_linestyle() == "-"]
    expected = mean_of(rows[0][1], "quality.drift")
    assert thin[0] == [expected.low, expected.high]


def test_quality_over_frames_has_a_band_of_the_interval(tmp_path: Path) -> None:
    lines = [row | {"frames": frames} for frames in (81, 161) for row in samples()]
    for row in lines:
        row["quality"] = row["quality"] | {"vbench": {"subject_consistency": 0.9 + 0.01 * row["seed"]}}
    panel, = group(lines)
    assert list(quality.metrics(panel)) == ["quality.drift", "quality.vbench.subject_consistency"]
    axes = quality.draw(panel, "quality.drift", "drift").axes[0]
    expected = mean_of(panel.series[0].points[81], "quality.drift")
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(expected.low) and band[:, 1].max() == pytest.approx(expected.high)
    assert "vbench_subject_consistency_wan2.1-t2v-1.3b_measured" in pngs(run(tmp_path, lines))


def bubbles() -> list[dict]:
    lines = []
    for ranks in (2, 4, 8):
        own = {"world_size": ranks, "options": {"block-frames": "8"}, "frames": 129, "latent_frames": 33,
               "bubble_ratio_slots": ranks / 20, "quality": None}
        lines += [line(**own, bubble_ratio=ranks / 20 + 0.02), simulated(**own, bubble_ratio=ranks / 20 + 0.01)]
    return lines + [line("ring", world_size=4, bubble_ratio=0.3, bubble_ratio_slots=None)]


def test_bubble_joins_kinds_and_leaves_out_what_is_no_pipeline(tmp_path: Path) -> None:
    rows, = bubble.pipelines(group(bubbles())).values()
    track, = bubble.tracks(rows, "ranks")
    assert track.slots == {2: 0.1, 4: 0.2, 8: 0.4} and track.key["blocks"] == 5
    assert track.kinds == {kind: {n: [pytest.approx(n / 20 + more)] for n in (2, 4, 8)}
                           for kind, more in (("measured", 0.02), ("simulated", 0.01))}
    assert bubble.tracks(rows, "frames") == []
    assert "bubble_vs_ranks_wan2.1-t2v-1.3b" in pngs(run(tmp_path, bubbles()))


def test_cost_compares_formula_and_record(tmp_path: Path) -> None:
    ranks = [{"weights_bytes": 900}, {"weights_bytes": 1020}]
    own = {"analytic_cost": {"sent_bytes": 1000, "weights_bytes": 1000, "key_value_bytes": 5}, "per_rank": ranks}
    lines = [line("ring", sent_bytes=1000, **own), line("usp", sent_bytes=990, **own),
             line("single", sent_bytes=0, analytic_cost={"sent_bytes": 0})]
    panel, = group(lines)
    sent = cost.pairs(panel, "sent_bytes")
    assert sent == {"ring": [(1000, 1000)], "usp": [(1000, 990)]} and cost.largest_difference(sent) == pytest.approx(0.01)
    assert cost.pairs(panel, "weights_bytes")["ring"] == [(1000, 1020)]
    assert cost.pairs(panel, "key_value_bytes") == {}
    assert "cost_wan2.1-t2v-1.3b_measured" in pngs(run(tmp_path, lines))


def trace(path: Path, scale: float = 1.0) -> None:
    events = [{"ph": "M", "name": "process_name", "pid": 0}]
    for rank in (0, 1):
        for block in (0, 1):
            events.append({"ph": "X", "cat": "compute", "pid": rank, "ts": 1e6 * scale * (block + rank),
                           "dur": 1e6 * scale, "args": {"block": block}})
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"traceEvents": events}))


def test_timelines_of_measured_and_simulated_runs(tmp_path: Path) -> None:
    trace(tmp_path / "timelines" / "dualparal.json")
    trace(tmp_path / "simulated" / "dualparal.json", 0.5)
    lines = [line(world_size=2, timeline="timelines/dualparal.json"),
             simulated(world_size=2, timeline="simulated"),  # a folder with the one trace
             failed("ring", 81, timeline="timelines/gone.json")]
    ranks, _ = timeline.read(timeline.trace_file(lines[1] | {"folder": str(tmp_path)}))
    assert ranks[1] == [(0.5, 0.5, 0), (1.0, 0.5, 1)]
    results = tmp_path / "results.jsonl"
    results.write_text("".join(json.dumps(row) + "\n" for row in lines))
    names = {path.name for path in timeline.make(read_results([results]), tmp_path / "figures")}
    assert {n for n in names if n.endswith("png")} == {"timeline_dualparal.png", "timeline_dualparal_8x-rtx4090_simulated.png"}
    with pytest.raises(ResultsError, match="nothing.json"):
        timeline.read(tmp_path / "nothing.json")


@pytest.mark.parametrize("content", [None, "{", '{"traceEvents": [{"cat": "compute"}]}', '{"traceEvents": ["x"]}'])
def test_a_timeline_that_cannot_be_read_is_left_out_with_a_warning(content: str | None, tmp_path: Path, capsys) -> None:
    trace(tmp_path / "timelines" / "good.json")
    if content is not None:
        (tmp_path / "timelines" / "gone.json").write_text(content)
    lines = [line("ring", world_size=2, timeline="timelines/gone.json"), line(world_size=2, timeline="timelines/good.json")]
    names = run(tmp_path, lines, width=None)
    assert {"timeline_good.png", "latency_wan2.1-t2v-1.3b_measured.png"} <= names and "timeline_gone.png" not in names
    assert "warning: left out:" in (said := capsys.readouterr().err) and "gone.json" in said
    assert timeline.main([str(tmp_path / "results.jsonl"), "-o", str(tmp_path / "one.png")]) == 0
    (tmp_path / "results.jsonl").write_text(json.dumps(lines[0]) + "\n")
    assert timeline.main([str(tmp_path / "results.jsonl"), "-o", str(tmp_path / "two.png")]) == 1
    assert "name one that is there" in capsys.readouterr().err


def test_timelines_have_a_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    trace(tmp_path / "timelines" / "a.json")
    trace(tmp_path / "timelines" / "b.json", 2)
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    lines = [json.dumps(row) + "\n" for row in (line(world_size=2, timeline="timelines/a.json"),
                                               simulated(world_size=2, timeline="timelines/b.json"), line("ring", 81))]
    one.write_text(lines[0] + lines[2])
    two.write_text("".join(lines))
    for number, source in enumerate((tmp_path / "timelines/a.json", one)):
        assert timeline.main([str(source), "-o", str(tmp_path / f"new/{number}.png")]) == 0
        assert (tmp_path / f"new/{number}.png").stat().st_size > 1000
    assert timeline.main([str(two), "-o", str(tmp_path / "both")]) == 0
    assert len(list((tmp_path / "both").glob("*.png"))) == 2
    capsys.readouterr()
    (tmp_path / "none.jsonl").write_text(lines[2])
    (tmp_path / "empty.json").write_text(json.dumps({"traceEvents": []}))
    for source, output, reason in ((two, "x.png", "do not go into one file"), (tmp_path / "none.jsonl", "x.png", "--timeline"),
                                   (tmp_path / "absent.json", "x.png", "absent.json"),
                                   (tmp_path / "empty.json", "x.png", "no rank computes")):
        assert timeline.main([str(source), "-o", str(tmp_path / output)]) == 1
        assert reason in capsys.readouterr().err and not (tmp_path / output).exists()
