# SPDX-License-Identifier: Apache-2.0
"""What tools/fingerprints.py takes for equal; a script stands in for the program."""
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import fingerprints  # noqa: E402


@pytest.mark.parametrize("kept, found, told", [
    ({"a": "1", "b": "2"}, {"a": "1", "b": "2"}, []),
    ({"a": "1"}, {"a": "2"}, ["a"]),
    ({"a": "failed: x"}, {"a": "failed: x"}, ["a: failed: x"]),
    ({"a": "failed: x"}, {"a": "1"}, ["a (it failed when it was kept)"]),
    ({"a": "1"}, {"a": "failed: x"}, ["a: failed: x"]),
    ({"a": "1", "b": "2"}, {"a": "1"}, ["b: kept, but no case now"]),
    ({"a": "1"}, {"a": "1", "b": "2"}, ["b: not among what was kept"])])
def test_only_what_was_made_twice_and_alike_is_equal(kept, found, told):
    assert fingerprints.differences(kept, found) == told


def test_a_program_that_fails_without_a_word_differs(tmp_path):
    program = tmp_path / "program"

    def tool(what, script, only="trace single"):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return subprocess.run([sys.executable, ROOT / "tools/fingerprints.py", what, program, tmp_path, "--only", only],
                              capture_output=True, text=True)

    kept = tool("keep", "exit 3")
    assert kept.returncode == 1 and "1 of them failed: ['trace single']" in kept.stdout, kept.stderr
    done = tool("compare", "exit 3")
    assert done.returncode == 1 and "exit code 3" in done.stdout and "0 equal, 1 differ" in done.stdout, done.stderr
    assert "no traces" in tool("compare", "exit 0").stdout
    traces = """for last; do :; done; echo '{}' > "$last/rank_0.jsonl\""""
    assert tool("keep", traces).returncode == 0
    same = tool("compare", traces)
    assert same.returncode == 0 and "1 equal, 0 differ" in same.stdout, same.stdout
    more = tool("compare", traces, only="trace dualparal micro")
    assert more.returncode == 1 and "not among what was kept" in more.stdout
