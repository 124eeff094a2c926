# SPDX-License-Identifier: Apache-2.0
"""Unit tests and runs on two ranks under clang's sanitizers, for nightly use.

    python tools/sanitize.py [--only address thread] [--tests SUITE...] [--compiler clang++-16] [--built]

For each kind - address with undefined behaviour, thread - builds build/sanitize-KIND (Debian: clang-16
libclang-rt-16-dev), runs the unit tests, and every strategy on two ranks (single on one). LibTorch is not instrumented:
what it is known to report is suppressed by name, with the reason, in tests/sanitizers/. Reports lie in
build/sanitize-KIND/reports/; equal ones are counted together. Exit code 1 if there are any, or something failed.
"""
from __future__ import annotations

import argparse
import collections
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import sanitized
from chaos import BLOCKS, OPTIONS, STRATEGIES, with_ranks

KINDS = ("address", "thread")


def unit_tests(folder: Path, suites: list[str], environment: dict[str, str]) -> str:
    """What went wrong; empty if nothing. Says how many tests ran."""
    chosen = [f"--run_test={','.join(suites)}"] if suites else []
    done = subprocess.run([folder / "tests/unit_tests", "--report_level=short", "--color_output=no", *chosen], cwd=sanitized.ROOT,
                          env=environment, capture_output=True, text=True, errors="replace")
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if "out of" in line or "error" in line]
    print("  unit tests: " + "; ".join(line for line in said if "out of" in line)[:300], flush=True)
    return "" if done.returncode == 0 else "\n".join([f"unit tests: exit code {done.returncode}", *said[:40]])


def recipes() -> list[list[str]]:
    def recipe(strategy: str, ranks: int, options: list) -> list[str]:
        return ["--strategy", strategy, *map(str, [*BLOCKS.get(strategy, []), *with_ranks(options, ranks), "--nproc", ranks])]

    return [recipe(strategy, 2 if 2 in ranks else ranks[0], options)
            for strategy, ranks in STRATEGIES.items() for options in OPTIONS.get(strategy, ([],))]


def runs(folder: Path, environment: dict[str, str]) -> list[str]:
    """Those that failed, with the last line that each said."""
    failed = []
    for recipe in recipes():
        with tempfile.TemporaryDirectory() as out:
            kept = [] if "pipefusion" in recipe else ["--snapshot", f"{out}/kept", "--snapshot-every", "0"]  # it has no snapshots
            done = subprocess.run([folder / "dualparal", "generate", "--prompt", "a red circle", *recipe, *kept, "--frames", "33",
                                   "--steps", "4", "--threads", "1", "--timeout", "600", "--no-quality",
                                   "--save-latents", f"{out}/l.safetensors", "--output", f"{out}/v.mp4"],
                                  env=environment, capture_output=True, text=True, errors="replace")
        if done.returncode:
            failed.append(f"{' '.join(recipe)}: exit code {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}")
    print(f"  runs: {len(recipes())}, of which {len(failed)} failed", flush=True)
    return failed


def found(reports: Path) -> collections.Counter[str]:
    """Reports by their summary."""
    counts: collections.Counter[str] = collections.Counter()
    for file in sorted(reports.glob("report*")):
        counts.update(re.findall(r"^SUMMARY: (.*)$", file.read_text(errors="replace"), re.M))
    return counts


def sanitize(kind: str, args: argparse.Namespace) -> bool:
    """Whether all is well."""
    folder = sanitized.tree(kind) if args.built else sanitized.build(kind, args.compiler, ["dualparal", "unit_tests"])
    reports = folder / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    environment = sanitized.environment(reports)
    print(f"{kind}:", flush=True)
    wrong = [text for text in [unit_tests(folder, args.tests, environment), *runs(folder, environment)] if text]
    counts = found(reports)
    print(f"  reports: {sum(counts.values())}" + (f", in {reports}" if counts else ""))
    for text, count in counts.most_common():
        print(f"    {count} x {text}")
    for text in wrong:
        print(f"  FAILED: {text}")
    return not wrong and not counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--tests", nargs="+", default=[], help="these suites of the unit tests, as Boost.Test names them: comm_*")
    parser.add_argument("--compiler", default="clang++-16")
    parser.add_argument("--built", action="store_true", help="take the trees as they are")
    args = parser.parse_args()
    return 0 if all([sanitize(kind, args) for kind in args.only]) else 1


if __name__ == "__main__":
    sys.exit(main())
