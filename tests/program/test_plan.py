# SPDX-License-Identifier: Apache-2.0
"""`dualparal plan`: its ranking is what `simulate` says of the same flags, and what is left out cannot be faster."""
import json
import re

import pytest

from test_program import ROOT, check_refused, run

WAN = ROOT / "configs/models/wan2.1-t2v-1.3b"
CORES = ROOT / "configs/clusters/2x-cpu-core.yaml"
ROW = re.compile(r"^ +(\d+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +(yes|no) +(--strategy .*)$", re.M)


def plan(*arguments):
    done = run("plan", *arguments, "--quiet")
    assert done.returncode == 0, done.stderr
    rows = [{"latency_s": float(r[1]), "memory_gib": float(r[3]), "exact": r[5] == "yes", "flags": r[6].split()}
            for r in ROW.findall(done.stdout)]
    assert rows, done.stdout
    return rows, done.stdout


@pytest.fixture(scope="module")
def small():
    return plan("--frames", 97, "--steps", 8, "--cluster", CORES, "--rows", 1000)


def simulated(flags, folder, frames=97, steps=8):
    """The line of `simulate` of a run with these flags."""
    flags = ["--world-size" if flag == "--nproc" else flag for flag in flags]
    done = run("generate", "--mode", "trace", "--frames", frames, "--steps", steps, "--prompt", "any", *flags, "--quiet",
               "--traces", folder / "traces")
    assert done.returncode == 0, done.stderr
    result = folder / "line.jsonl"
    result.unlink(missing_ok=True)
    done = run("simulate", folder / "traces", "--cluster", CORES, "--quiet", "--result", result)
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())


def test_the_ranking_is_what_simulations_say(small, tmp_path):
    rows, text = small
    assert [row["latency_s"] for row in rows] == sorted(row["latency_s"] for row in rows)
    for row in (rows[0], next(row for row in rows if row["exact"]), rows[-1]):
        line = simulated(row["flags"], tmp_path)
        assert row["latency_s"] == pytest.approx(line["latency_s"], abs=0.006)
        assert row["memory_gib"] == pytest.approx(line["peak_memory_bytes"] / 2**30, abs=0.006)
    assert "dualparal generate" in text and " ".join(rows[0]["flags"]) in text


def test_what_is_left_out_is_slower(small, tmp_path):
    rows, text = small
    bounds = re.findall(r"^  (\S+) +at least ([\d.]+) s", text, re.M)
    assert len(bounds) > 2, text
    for strategy, bound in bounds:
        latency = simulated(["--strategy", strategy, "--nproc", 1 if strategy == "single" else 2], tmp_path)["latency_s"]
        assert latency >= float(bound) - 0.006 and latency > rows[0]["latency_s"], strategy


def test_caches_that_do_not_fit_go_into_host_memory_and_no_others(small, tmp_path):
    assert not any("--cache-memory" in row["flags"] for row in small[0])
    memory = 0.017
    rows, _ = plan("--frames", 161, "--steps", 12, "--cluster", CORES, "--memory", memory, "--rows", 1000)
    best = rows[0]["flags"]
    assert best[best.index("--cache-memory") + 1] == "host"
    on_host = simulated(best, tmp_path, 161, 12)
    assert rows[0]["latency_s"] == pytest.approx(on_host["latency_s"], abs=0.006)
    place = best.index("--cache-memory")
    on_device = simulated(best[:place] + best[place + 2:], tmp_path, 161, 12)
    assert on_host["peak_memory_bytes"] < memory * 2**30 < on_device["peak_memory_bytes"]
    assert on_device["latency_s"] <= on_host["latency_s"] < rows[1]["latency_s"]


def test_the_paper_and_every_strategy_have_a_word(small):
    _, text = small
    for name in ("single", "ring", "ulysses", "usp", "video_infinity", "context_windows", "fifo", "naive_pipeline", "pipefusion",
                 "dualparal"):
        assert re.search(rf"^  {name} +\S", text, re.M), text


@pytest.mark.parametrize("arguments, words", [
    (["--cluster", "no-such"], ["no-such", "8x-h100"]),
    (["--cluster", "8x-h100", "--size", "wide"], ["--size", "832x480", "wide"]),
    (["--cluster", "8x-h100", "--memory", "-1"], ["--memory", "-1"]),
    (["--cluster", "8x-h100", "--devices", 9], ["--devices 9", "8"]),
    (["--cluster", "8x-h100", "--frames", 0], ["--frames"]),
    ([], ["--cluster"]),
])
def test_wrong_calls_are_told(arguments, words):
    check_refused(run("plan", WAN, *arguments, "--quiet"), {2}, words)
