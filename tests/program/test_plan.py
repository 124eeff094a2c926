# SPDX-License-Identifier: Apache-2.0
"""`dualparal plan`: its ranking is what `simulate` says of the same flags, and what is left out cannot be faster."""
import json
import re
import shlex
import shutil

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


def simulated(flags, folder):
    """The line of `simulate` of a run with these flags."""
    flags = ["--world-size" if flag == "--nproc" else flag for flag in flags]
    done = run("generate", "--mode", "trace", "--frames", 97, "--steps", 8, "--prompt", "any", *flags, "--quiet",
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


def test_the_paper_and_every_strategy_have_a_word(small):
    _, text = small
    for name in ("single", "ring", "ulysses", "usp", "video_infinity", "context_windows", "fifo", "naive_pipeline", "pipefusion",
                 "dualparal"):
        assert re.search(rf"^  {name} +\S", text, re.M), text


@pytest.mark.parametrize("arguments, words", [
    (["--cluster", "no-such"], ["no-such", "8x-h100"]),
    (["--cluster", "8x-h100", "--size", "wide"], ["--size", "832x480", "wide"]),
    (["--cluster", "8x-h100", "--memory-limit", "-1"], ["--memory-limit", "-1"]),
    (["--cluster", "8x-h100", "--size", "64x64", "--height", 64], ["--size", "--height"]),
    (["--cluster", "8x-h100", "--devices", 9], ["--devices 9", "8"]),
    (["--cluster", "8x-h100", "--frames", 0], ["--frames"]),
    ([], ["--cluster"]),
])
def test_wrong_calls_are_told(arguments, words):
    check_refused(run("plan", WAN, *arguments, "--quiet"), {2}, words)


def test_a_model_from_images_is_planned_with_its_image(tmp_path):
    model = tmp_path / "my model"
    shutil.copytree(ROOT / "configs/models/wan2.1-i2v-14b-480p", model)
    config = json.loads((model / "transformer/config.json").read_text()) | {"num_layers": 2}
    (model / "transformer/config.json").write_text(json.dumps(config))
    rows, text = plan("--model", model, "--frames", 33, "--height", 64, "--width", 96, "--steps", 4, "--cluster", "8x-h100", "--devices", 2,
                      "--memory-limit", 60, "--exact")
    command = shlex.split(text.split("The first choice:\n")[1].splitlines()[0])
    assert command[:3] == ["dualparal", "generate", "--model"] and command[3] == str(model)
    assert command[command.index("--height") + 1] == "64" and command[command.index("--width") + 1] == "96"
    assert "--image" in command and all(row["exact"] and row["memory_gib"] <= 60 for row in rows)
