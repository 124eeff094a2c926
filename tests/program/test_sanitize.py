# SPDX-License-Identifier: Apache-2.0
"""What tools/sanitize.py makes of the reports and exit codes of the programs that it runs; here scripts in their place."""
import argparse
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import sanitize  # noqa: E402
import sanitized  # noqa: E402

RUNS = len(sanitize.recipes())
REPORT = 'reports="${ASAN_OPTIONS##*log_path=}"; echo "SUMMARY: ThreadSanitizer: data race x.cpp:1 in f" > "${reports%%:*}.$$"\n'


@pytest.mark.parametrize("tests, program, told", [
    ("", "", ["reports: 0", "of which 0 failed"]),
    (REPORT, REPORT, [f"reports: {RUNS + 1}", f"{RUNS + 1} x ThreadSanitizer: data race x.cpp:1 in f"]),
    ("exit 3", "", ["FAILED: unit tests: exit code 3"]),
    ("", "echo 'error: x' >&2; exit 1", [f"of which {RUNS} failed", "FAILED: --strategy single --nproc 1: exit code 1: error: x"])])
def test_what_is_reported_or_fails_is_told(tmp_path, monkeypatch, capsys, tests, program, told):
    (tmp_path / "tests").mkdir()
    for name, script in {"tests/unit_tests": tests, "dualparal": program}.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(sanitized, "tree", lambda kind: tmp_path)
    well = sanitize.sanitize("thread", argparse.Namespace(built=True, tests=[], compiler=""))
    said = capsys.readouterr().out
    assert well == (not tests and not program) and all(words in said for words in told), said


def test_every_suppression_has_its_reason():
    for file in sanitized.SUPPRESSIONS.glob("*.txt"):
        before = "#"
        for line in filter(None, map(str.strip, file.read_text().splitlines())):
            assert line.startswith("#") or before.startswith("#"), f"{file.name}: {line}"
            before = line
