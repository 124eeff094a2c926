# SPDX-License-Identifier: Apache-2.0
"""./run: whose folder paths belong to, what it refuses, what it never deletes."""
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import torch

from test_program import FAST, PROGRAM, ROOT, check_refused

COMMANDS = ["bench", "test", "reproduce", "plots", "page", "timeline", "side-by-side", "single-stream", "vbench", "micro", "validate", "setup", "build", "wheel", "bundle", "gpu"]
built = pytest.mark.skipif(PROGRAM.parent != ROOT / "build", reason="./run works with the program of build/")


def run(*arguments, cwd, **kwargs):
    return subprocess.run([ROOT / "run", *map(str, arguments)], capture_output=True, text=True, cwd=cwd, **kwargs)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_its_usage_and_does_nothing(tmp_path, command):
    for arguments in (["--help"], ["-h"], ["surely-nothing", "--help"]):
        done = run(command, *arguments, cwd=tmp_path)
        assert done.returncode == 0 and done.stdout.startswith(f"usage: ./run {command}") and not done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments, words", [
    (["bench", "surplus"], ["'surplus'"]),
    (["bench", "--restrat"], ["--restrat", "did you mean --restart?"]),
    (["test", "-q"], ["-q"]),
    (["build", "--fast"], ["--fast"]),
    (["setup", "now"], ["'now'"]),
    (["bundle", "a", "b"], ["'b'"]),
    (["wheel", "a", "b"], ["'b'"]),
    (["bundle", "--force", "a"], ["--force"]),
    (["gpu", "--rehears"], ["--rehears", "did you mean --rehearse?"]),
    (["plots"], ["results"]),
    (["plots", "--title", "x"], ["--title"]),
    (["reproduce"], ["NAME", "quick"]),
    (["reproduce", "pipelin"], ["pipelin", "did you mean pipeline?", "quick"]),
    (["benhc"], ["benhc", "did you mean bench?", "reproduce"]),
    (["generate"], ["./run dualparal generate"]),
])
def test_surplus_and_unknown_arguments_are_refused(tmp_path, arguments, words):
    check_refused(run(*arguments, cwd=tmp_path), [2], words)
    assert not list(tmp_path.iterdir())


@built
def test_paths_are_the_callers(tmp_path):
    here = tmp_path / "a folder"
    here.mkdir()
    done = run("dualparal", "generate", *FAST, "--frames", 5, "--output", "video.mp4", "--result", "out/results.jsonl",
               "--timeline", "timeline.json", cwd=here)
    assert done.returncode == 0 and "# building" not in done.stderr, done.stderr
    assert sorted(p.name for p in here.iterdir()) == ["out", "timeline.json", "video.mp4"]
    done = run("timeline", "timeline.json", "-o", "pictures/timeline.png", cwd=here)
    assert done.returncode == 0 and (here / "pictures/timeline.png").stat().st_size > 1000, done.stderr
    done = run("plots", "out", cwd=here)
    assert done.returncode == 0, done.stderr
    # The project's own models and experiments are found from anywhere.
    traced = run("dualparal", "generate", "--quiet", "--mode", "trace", "--model", "configs/models/wan2.1-t2v-1.3b", "--frames", 5,
                 "--steps", 1, "--prompt", "any", "--result", "traced.jsonl", cwd=here)
    assert traced.returncode == 0, traced.stderr
    assert json.loads((here / "traced.jsonl").read_text())["config"]["model"] == "configs/models/wan2.1-t2v-1.3b"


def test_a_folder_that_is_no_bundle_is_not_touched(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("years of work")
    check_refused(run("bundle", "mine", cwd=tmp_path), [2], ["mine", "neither", "bundle"])
    assert (tmp_path / "mine/thesis.tex").read_text() == "years of work"
    check_refused(run("bundle", "mine/thesis.tex", cwd=tmp_path), [2], ["thesis.tex"])
    assert (tmp_path / "mine/thesis.tex").read_text() == "years of work"


@built
def test_a_bundle_replaces_its_own_files_alone(tmp_path):
    (tmp_path / "b").mkdir()  # empty: may be one
    done = run("bundle", "b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    bundle = tmp_path / "b"
    (bundle / "models/mine").mkdir()
    (bundle / "models/mine/weights").write_text("mine")
    (bundle / "video.mp4").write_text("mine")
    (bundle / "lib/old.so").write_text("of an older bundle")
    with (bundle / ".dualparal-bundle").open("a") as listed:
        listed.write("lib/old.so\n")
    done = run("bundle", "b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (bundle / "models/mine/weights").read_text() == (bundle / "video.mp4").read_text() == "mine"
    assert not (bundle / "lib/old.so").exists() and (bundle / "run").exists()
    (bundle / ".dualparal-bundle").write_text("../outside\n")
    (tmp_path / "outside").write_text("mine")
    check_refused(run("bundle", "b", cwd=tmp_path), [2], ["outside"])
    assert (tmp_path / "outside").exists()


@built
def test_a_bundle_says_what_it_lacks_and_generates_with_it(tmp_path):
    assert run("bundle", "b", cwd=tmp_path).returncode == 0
    # Lean: what the program never calls is there in name alone.
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "b/lib").iterdir()}
    unused = [name for name in sizes if re.match(r"lib(X11|OpenCL|cairo|x265|va|ns3|gfortran|codec2)", name)]
    assert unused and all(sizes[name] < 200_000 for name in unused) and sum(sizes.values()) < 80e6, sizes
    start = [tmp_path / "b/run", "generate", *FAST, "--frames", "5", "--output", "v.mp4", "--save-frames", "png"]
    without = dict(os.environ, TORCH=str(tmp_path / "nowhere"))
    done = subprocess.run(start, capture_output=True, text=True, env=without, cwd=tmp_path)
    check_refused(done, [1], ["pip install torch==", str(tmp_path / "nowhere")])
    assert len(done.stderr.splitlines()) == 1
    empty = {"PATH": "/usr/bin:/bin"}  # a machine whose python3 has no torch
    done = subprocess.run([tmp_path / "b/run", "strategies"], capture_output=True, text=True, env=empty)
    assert done.returncode in (0, 1) and len(done.stderr.splitlines()) <= 1 and "Traceback" not in done.stderr
    done = subprocess.run([tmp_path / "b/run", "gpu", "--rehearse"], capture_output=True, text=True, env=without, cwd=tmp_path)
    check_refused(done, [1], ["pip install torch=="])
    with_torch = dict(os.environ, TORCH=str(pathlib.Path(torch.__file__).parent), PYTHON=sys.executable)
    done = subprocess.run(start, capture_output=True, text=True, env=with_torch, cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert (tmp_path / "v.mp4").stat().st_size > 500 and len(list((tmp_path / "png").iterdir())) == 5
    # What a machine with a GPU is asked, from the bundle alone: its own tests, references and libraries.
    only = ["--only", "probe/transformer-fp32", "probe/transformer-wide-bf16", "probe/dualparal-2-fp32", "emulated/ring-17"]
    done = subprocess.run([tmp_path / "b/run", "gpu", "--rehearse", "--into", "r", *only], capture_output=True, text=True, env=with_torch, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "r/steps.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["ok"] * 4 and all(line["rehearsal"] for line in lines)
    assert lines[0]["figures"]["error"] < 1e-6
    logs = "".join(path.read_text() for path in (tmp_path / "r/logs").iterdir())
    assert str(tmp_path / "b/dualparal") in logs and str(tmp_path / "b/tests/parity_probe") in logs
