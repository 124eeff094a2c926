# SPDX-License-Identifier: Apache-2.0
"""tools/nsys.sh, with a stand-in for Nsight Systems that notes its command line and runs the program."""
import json
import os
import subprocess

import pytest

from test_program import PROGRAM, ROOT, check_refused

NSYS = """#!/usr/bin/env python3
import json, os, subprocess, sys
output = next(a.split("=", 1)[1] for a in sys.argv if a.startswith("--output="))
command = sys.argv[next(i for i, a in enumerate(sys.argv) if a.endswith("dualparal")):]
with open(output + ".json", "w") as file:
    json.dump({"flags": sys.argv[1:sys.argv.index(command[0])], "command": command,
               "ranks": {k: os.environ.get(k) for k in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}}, file)
sys.exit(subprocess.run(command).returncode)
"""
RUN = ["--frames", 9, "--steps", 1, "--threads", 1, "--no-decode", "--no-quality", "--quiet"]


@pytest.fixture
def nsys(tmp_path):
    """Runs tools/nsys.sh with the stand-in; its notes by rank."""
    fake = tmp_path / "nsys"
    fake.write_text(NSYS)
    fake.chmod(0o755)

    def call(*arguments, **variables):
        environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
        environment |= {"NSYS": str(fake), "DUALPARAL": str(PROGRAM)} | variables
        done = subprocess.run([ROOT / "tools/nsys.sh", "-o", tmp_path / "out", *map(str, arguments)], env=environment,
                              capture_output=True, text=True, timeout=120)
        files = sorted((tmp_path / "out").glob("rank*.json"))
        return done, {file.stem: json.loads(file.read_text()) for file in files}

    return call


def test_one_rank(nsys):
    done, notes = nsys("--", "--stats=true", "--", *RUN)
    assert done.returncode == 0, done.stderr
    assert list(notes) == ["rank0"]
    flags = notes["rank0"]["flags"]
    assert flags[0] == "profile" and any(f.startswith("--trace=") and "nvtx" in f and "cuda" in f for f in flags)
    assert flags[-1] == "--stats=true"
    assert notes["rank0"]["command"] == [str(PROGRAM), "generate", *map(str, RUN)]


def test_every_rank_has_a_report_of_its_own(nsys, tmp_path):
    result = tmp_path / "r.jsonl"
    done, notes = nsys("-n", 2, *RUN, "--strategy", "ring", "--result", result)
    assert done.returncode == 0, done.stderr
    assert list(notes) == ["rank0", "rank1"]
    assert [n["ranks"]["RANK"] for n in notes.values()] == ["0", "1"]
    line, = result.read_text().splitlines()
    assert json.loads(line)["world_size"] == 2


def test_a_rank_of_a_launcher_is_profiled_as_it_is(nsys):
    # As `torchrun --no-python tools/nsys.sh ...` starts it; the other rank does not come.
    done, notes = nsys(*RUN, "--strategy", "ring", "--timeout", 2, RANK="1", LOCAL_RANK="1", WORLD_SIZE="2",
                       MASTER_ADDR="127.0.0.1", MASTER_PORT="9")
    assert done.returncode == 1 and list(notes) == ["rank1"]


@pytest.mark.parametrize("arguments, variables, words, code", [
    (RUN, {"NSYS": "/nowhere/nsys"}, ["/nowhere/nsys is not installed", "--timeline"], 1),
    (RUN, {"DUALPARAL": "/nowhere"}, ["/nowhere does not exist"], 1),
    ([*RUN, "--nproc", 2], {}, ["--nproc", "-n"], 2),
    (["-n", "two", *RUN], {}, ["-n", "two"], 2),
    ([], {}, ["generate"], 2),
])
def test_what_cannot_be_is_told(nsys, arguments, variables, words, code):
    done, notes = nsys(*arguments, **variables)
    check_refused(done, [code], words)
    assert not notes


def test_a_failing_run_fails(nsys):
    done, _ = nsys("-n", 2, "--frames", 9, "--strategy", "nope")
    assert done.returncode != 0 and "nope" in done.stderr
