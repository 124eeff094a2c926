# SPDX-License-Identifier: Apache-2.0
"""Reports from invented result lines: samples and repeats, speed-ups, what is never mixed, the export for VBench."""
import csv
import json
import math

import pytest

from test_program import MODEL, check_refused, run


def line(strategy="dualparal", latency=10.0, memory=1 << 30, seed=0, prompt="a red circle", **changes):
    return {"schema": 1, "kind": "measured", "strategy": strategy, "options": {}, "world_size": 8, "model": "small",
            "device": "cpu", "dtype": "fp32", "frames": 1025, "height": 64, "width": 96, "steps": 10, "seed": seed,
            "latency_s": latency, "peak_memory_bytes": memory, "status": "ok", "error": None, "quality": None,
            "config": {"prompt": prompt}} | changes


def report(folder, lines, *arguments):
    """The program's exit, then its Markdown tables, row by row as dictionaries (figures of videos with those of their runs),
    then its LaTeX."""
    folder.mkdir(exist_ok=True)
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    done = run("report", folder, "--output", folder, *arguments)
    if done.returncode != 0:
        return done, [], ""
    tables, rows, heading = [], [], ""
    for text in (folder / "report.md").read_text().splitlines() + [""]:
        if text.startswith("## "):
            heading = text
        if text.startswith("|"):
            rows.append([c.strip() for c in text.strip("|").split(" | ")])
        elif rows:
            assert all(len(row) == len(rows[0]) for row in rows[2:])
            table = [dict(zip(rows[0], row)) for row in rows[2:]]
            if heading == "## Quality":
                tables[-1] = [run | video for run, video in zip(tables[-1], table, strict=True)]
            else:
                tables.append(table)
            rows = []
    return done, tables, (folder / "report.tex").read_text()


def test_samples_have_an_interval_and_repeats_do_not(tmp_path):
    def drift(value):
        return {"drift": value, "psnr_db": None, "seam_ratio_in_phase": 1.5, "repetition": 0.25}

    lines = [line(quality=drift(0.2), latency=9.0), line(quality=drift(0.4), latency=11.0),  # repeats: one sample, 0.3
             line(quality=drift(0.5), seed=1), line(quality=drift(0.7), prompt="a blue square"),
             line("ring", quality=drift(0.2)), line("ring", quality=drift(0.4))]
    _, (rows,), latex = report(tmp_path, lines)
    ring, blocks = rows  # in the order of the table of strategies, whatever that of the lines
    # Student's t at 0.975 with 2 degrees of freedom has a closed form.
    t = 0.95 / math.sqrt(2 * 0.975 * 0.025)
    half = t * math.sqrt(((0.3 - 0.5)**2 + 0.2**2) / 2 / 3)
    assert blocks["drift"] == f"0.5000 ± {half:.4f}" and blocks["runs"] == "4" and blocks["samples"] == "3"
    assert ring["drift"] == "0.3000" and ring["samples"] == "1"
    assert blocks["latency s"] == "10.000 (9.000-11.000) ~"
    assert blocks["seam in phase"] == "1.500 ± 0.000" and ring["repetition"] == "0.250"
    assert "PSNR dB" not in blocks  # no line has one
    assert f"0.5000 $\\pm$ {half:.4f}" in latex and "Student" in (tmp_path / "report.md").read_text()


def test_noise_is_marked_and_defaults_have_a_name(tmp_path):
    lines = [line(latency=10.0), line(latency=10.9), line("ring", 10.0), line("ring", 11.1),
             line(options={"block-frames": "3"}), line("ulysses", quality={"drift": 0.1})]
    _, (rows,), latex = report(tmp_path, lines)
    assert {(row["strategy"], row["options"]): row["latency s"] for row in rows} == {
        ("ring", ""): "10.550 (10.000-11.100) ~", ("ulysses", ""): "10.000", ("dualparal", "default"): "10.450 (10.000-10.900)",
        ("dualparal", "block-frames=3"): "10.000"}
    tables = (tmp_path / "report.md").read_text().split("## Quality")
    assert "drift" not in tables[0] and "latency s" not in tables[1] and latex.count("\\begin{tabular}") == 2


def test_speed_ups_against_a_baseline(tmp_path):
    oom = {"status": "failed", "error": "rank 1: out of memory_100%", "latency_s": None, "peak_memory_bytes": None}
    lines = [line(latency=10.0, memory=2 << 30), line("ring", 65.4, 3 << 30), line("ulysses", **oom),
             line(options={"cache": "off"}, latency=15.0),
             line(frames=513, latency=5.0), line("ring", 15.0, frames=513),
             line("ring", 7.0, frames=81)]  # nothing to compare with
    _, (_, rows), latex = report(tmp_path, lines, "--baseline", "dualparal")
    at = {(r["strategy"], r["options"], r["frames"]): r for r in rows}
    assert len(rows) == len(at) == 6
    assert at["dualparal", "", "1025"]["latency / base"] == "1.00" and at["dualparal", "", "1025"]["note"] == "base"
    ring = at["ring", "", "1025"]
    assert ring["latency / base"] == "6.54" and ring["memory / base"] == "1.50" and ring["paper's"] == "up to 1.48"
    assert at["dualparal", "cache=off", "1025"]["latency / base"] == "1.50"
    assert at["dualparal", "cache=off", "1025"]["paper's"] == ""
    assert at["ring", "", "513"]["latency / base"] == "3.00" and at["ring", "", "513"]["paper's"] == ""
    assert "out of memory" in at["ulysses", "", "1025"]["note"] and at["ulysses", "", "1025"]["latency / base"] == ""
    assert latex.count("\\begin{tabular}") == 2 and "up to 6.54" in latex and "memory\\_100\\%" in latex
    done, *_ = report(tmp_path, lines, "--baseline", "usp")
    check_refused(done, [1], ["--baseline usp", "dualparal, ring, ulysses"])


def test_variants_are_compared_pair_by_pair(tmp_path):
    lines = []
    for seed in range(12):  # the variant is worse by 0.1 of its own, whatever the seed
        own = 0.1 + 0.07 * seed
        for options, content in ({}, own), ({"feature-cache": "off"}, own - 0.1 + 0.001 * (seed % 2)):
            lines.append(line(seed=seed, options=options, quality={"content": content, "dynamic_degree_px": 2.0}))
    _, (_, rows), latex = report(tmp_path, lines, "--baseline-variant", "dualparal")
    content, motion = sorted(rows, key=lambda row: row["figure"])
    assert content["variant"] == "feature-cache=off" and content["pairs"] == "12" and content["verdict"] == "worse"
    assert content["difference"].startswith("-0.100 ± 0.000") or content["difference"].startswith("-0.099 ± 0.000")
    assert motion["verdict"] == "no difference shown" and "no difference shown" in latex
    _, (_, rows), _ = report(tmp_path, lines, "--baseline-variant", "dualparal", "--min-pairs", "20")
    assert {row["verdict"] for row in rows} == {"cannot tell (12 of 20 pairs)"}
    done, *_ = report(tmp_path, lines, "--baseline-variant", "ring")
    check_refused(done, [1], ["--baseline-variant ring", "dualparal"])


def test_kinds_clusters_and_machines_are_kept_apart(tmp_path):
    def simulated(name, latency, strategy="dualparal"):
        return line(strategy, latency, kind="simulated", cluster={"name": name})

    lines = [line(latency=1.0), line("ring", 3.0), simulated("8x A", 10.0), simulated("8x A", 20.0, "ring"),
             simulated("8x B", 7.0), simulated("8x B", 70.0, "ring"),
             line(latency=2.0, device="cuda", provenance={"gpu": "GPU C", "cpu": "c", "code": {"commit": None, "dirty": False}}),
             line("ring", device="cuda", status="failed", error="out of memory", latency_s=None,
                  provenance={"gpu": None, "cpu": "c", "code": {"commit": None, "dirty": False}})]
    _, (rows, ratios), latex = report(tmp_path, lines, "--baseline", "dualparal")
    assert len(rows) == 8
    assert [r["kind"] for r in rows] == ["measured"] * 4 + ["simulated on 8x A"] * 2 + ["simulated on 8x B"] * 2
    assert [r["strategy"] for r in rows] == ["ring", "dualparal"] * 4
    assert [r["latency / base"] for r in ratios] == ["3.00", "1.00", "", "1.00", "2.00", "1.00", "10.00", "1.00"]
    assert [r["machine"] for r in ratios] == ["", "", "", "GPU C", "", "", "", ""]
    assert "simulated on 8x B" in latex


def test_a_point_that_was_run_again_counts_once(tmp_path):
    failed = line(status="failed", error="out of memory", latency_s=None, point="a")
    _, (rows,), _ = report(tmp_path, [failed, line("ring", point="b"), line(point="a")])
    assert [(r["strategy"], r["runs"]) for r in rows] == [("ring", "1"), ("dualparal", "1")]


@pytest.mark.parametrize("provenance", [{}, {"code": None}, {"gpu": None}, {"code": {"commit": None, "dirty": None}},
                                        {"cpu": 3, "date": "2025"}, "a text", None])
def test_a_line_that_says_little_of_where_it_comes_from_is_reported(tmp_path, provenance):
    done, (rows,), _ = report(tmp_path, [line(provenance=provenance)])
    assert done.returncode == 0, done.stderr
    assert rows[0]["latency s"] == "10.000"


EXPERIMENT = """
name: tiny
videos: {no-decode: "false"}
base: {steps: 1, threads: 1, prompt: "a red circle", model: MODEL}
sweep: {frames: [1, 5]}
strategies:
  - {name: single, sweep: {no-decode: ["false", "true"]}}
  - {name: ring, options: {nproc: 2, initial-noise: /nowhere.safetensors}}
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "e.yaml").write_text(EXPERIMENT.replace("MODEL", str(MODEL)))
    done = run("bench", folder / "e.yaml", "--output", folder / "out", "--quiet")
    assert done.returncode == 1 and "2 point(s) failed" in done.stderr, done.stderr
    return folder / "out"


def test_a_failed_point_says_all_that_is_known(experiment):
    lines = [json.loads(text) for text in (experiment / "results.jsonl").read_text().splitlines()]
    done = next(r for r in lines if r["status"] == "ok" and r["frames"] == 5)
    failed = next(r for r in lines if r["status"] == "failed" and r["frames"] == 5)
    assert failed["strategy"] == "ring" and failed["world_size"] == 2 and "/nowhere" in failed["error"]
    for name in ("schema", "kind", "model", "device", "dtype", "frames", "latent_frames", "height", "width", "steps", "seed"):
        assert failed[name] == done[name], name
    assert failed["config"]["prompt"] == "a red circle"


def test_a_failed_emulation_or_trace_is_of_its_kind(tmp_path):
    for mode, kind in (("emulate", "emulated"), ("trace", "traced")):
        (tmp_path / "e.yaml").write_text(f"name: x\nmode: {mode}\nbase: {{frames: 9, world-size: 3, "
                                         f"initial-noise: /nowhere.safetensors}}\nstrategies: [ring]")
        assert run("bench", tmp_path / "e.yaml", "--output", tmp_path / mode, "--quiet").returncode == 1
        failed = json.loads((tmp_path / mode / "results.jsonl").read_text())
        assert (failed["kind"], failed["world_size"], failed["latent_frames"]) == (kind, 3, 3)
        assert "/nowhere" in failed["error"]


def test_the_export_for_vbench(experiment, tmp_path):
    target = tmp_path / "vbench"
    done = run("report", experiment, "--vbench-export", target)
    assert done.returncode == 0 and "2 videos" in done.stdout and "4 result lines without one" in done.stdout, done.stderr
    prompts, index = (json.loads((target / name).read_text()) for name in ("prompts.json", "index.json"))
    videos = sorted(file.name for file in (target / "videos").iterdir())
    # VBench joins the names of the prompt file to the folder of the videos, and wants one for every video.
    assert sorted(prompts) == sorted(index) == videos and set(prompts.values()) == {"a red circle"}
    for name, entry in index.items():
        source, = [r for r in map(json.loads, open(entry["results"])) if r["point"] == entry["point"]]
        assert name == f"{entry['point']}-0.mp4" and entry["repeat"] == source["repeat"] == 0
        assert (target / "videos" / name).read_bytes() == (experiment / source["video"]).read_bytes()
    (target / "videos/other.mp4").touch()
    check_refused(run("report", experiment, "--vbench-export", target), [1], ["other.mp4", "empty folder"])


def test_an_export_without_videos_is_an_error(tmp_path):
    (tmp_path / "results.jsonl").write_text(json.dumps(line(point="a")) + "\n")
    check_refused(run("report", tmp_path, "--vbench-export", tmp_path / "v"), [1], ["none of 1", "videos: true"])
    (tmp_path / "results.jsonl").write_text(json.dumps(line(point="a", video="videos/gone.mp4")) + "\n")
    check_refused(run("report", tmp_path, "--vbench-export", tmp_path / "v"), [1], ["gone.mp4", "missing"])
    assert not (tmp_path / "v").exists()


def test_csv_has_every_field_of_every_line(tmp_path):
    awkward = 'a "red", circle\non blue'
    lines = [line(prompt=awkward, options={"block-frames": "4"}, quality={"psnr_db": 20.5, "ssim": None}, samples=[10.0, 9.5]),
             line("ring", status="failed", error="out of memory, rank 1", latency_s=None)]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    done = run("report", tmp_path, "--csv", tmp_path / "all.csv")
    assert done.returncode == 0 and sorted(f.name for f in tmp_path.iterdir()) == ["all.csv", "results.jsonl"], done.stderr
    with (tmp_path / "all.csv").open(newline="") as file:
        blocks, ring = list(csv.DictReader(file))
    assert blocks["config.prompt"] == awkward and blocks["options.block-frames"] == "4" and blocks["samples"] == "10.0 9.5"
    assert float(blocks["latency_s"]) == 10 and float(blocks["quality.psnr_db"]) == 20.5 and blocks["quality.ssim"] == ""
    assert (ring["latency_s"], ring["error"], ring["quality.psnr_db"], ring["samples"]) == ("", "out of memory, rank 1", "", "")
    assert "quality" not in blocks and "per_rank" not in blocks and None not in blocks and None not in ring
    check_refused(run("report", tmp_path, "--csv", tmp_path / "b.csv", "--output", tmp_path), [2], ["--csv", "--output"])


def test_rates_are_of_frames_and_of_a_rank(tmp_path):
    lines = [line(latency=10.0, flops=8e14), line("ring", None, flops=8e14), line("ulysses", 20.0)]
    _, (rows,), _ = report(tmp_path, lines)
    found = {row["strategy"]: (row["frames/s"], row["TFLOP/s a rank"]) for row in rows}
    assert found == {"dualparal": ("102.50", "10.000"), "ring": ("", ""), "ulysses": ("51.25", "")}
