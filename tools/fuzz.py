# SPDX-License-Identifier: Apache-2.0
"""Fuzzes everything that reads files, with libFuzzer under address and undefined-behaviour sanitizers.

    python tools/fuzz.py [--runs 1000000] [--only READER...] [--seconds S] [--compiler clang++-16] [--built]

Builds build/sanitize-address with clang (Debian: clang-16 libclang-rt-16-dev), then gives every reader of
tests/fuzz/readers.cpp that many mutated inputs, from the files in tests/fuzz/corpus on. What was found lies in
build/sanitize-address/found/READER-*; a file that was mended belongs into the corpus. New inputs stay in
build/sanitize-address/corpus, so that a later call goes on. Exit code 1 if anything crashed, hung, took more than 2 GB,
threw what is none of the project's errors, or did not name its file.
"""
from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import sanitized

CORPUS = sanitized.ROOT / "tests/fuzz/corpus"
LIMITS = ["-max_len=16384", "-timeout=20", "-rss_limit_mb=2048", "-malloc_limit_mb=1024", "-close_fd_mask=3"]


def fuzz(folder: Path, reader: str, runs: int, seconds: int) -> tuple[int, str]:
    """Executions done, and the last of what libFuzzer said if something was found."""
    found, grown = folder / "found", folder / "corpus" / reader
    found.mkdir(exist_ok=True)
    grown.mkdir(parents=True, exist_ok=True)
    environment = {**sanitized.environment(), "DUALPARAL_FUZZ_READER": reader, "DUALPARAL_FUZZ_BESIDE": str(CORPUS / "beside")}
    done = subprocess.run([folder / "tests/fuzz/fuzz_reader", *LIMITS, f"-runs={runs}", f"-max_total_time={seconds}",
                           f"-artifact_prefix={found}/{reader}-", "-print_final_stats=1", grown, CORPUS / reader],
                          capture_output=True, text=True, errors="replace", env=environment)
    count = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    text = "" if done.returncode == 0 else "\n".join(done.stderr.strip().splitlines()[-40:])
    return int(count.group(1)) if count else 0, text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000_000, help="executions of each reader")
    parser.add_argument("--seconds", type=int, default=0, help="at most, of each reader; 0: no limit")
    parser.add_argument("--only", nargs="+", help="these readers")
    parser.add_argument("--compiler", default="clang++-16")
    parser.add_argument("--built", action="store_true", help="take the program as it is")
    args = parser.parse_args()
    known = sorted(folder.name for folder in CORPUS.iterdir() if folder.name != "beside")
    if unknown := sorted(set(args.only or []) - set(known)):
        parser.error(f"--only {', '.join(unknown)}: the readers are {', '.join(known)}")
    folder = sanitized.tree("address") if args.built else sanitized.build("address", args.compiler, ["fuzz_reader"])
    faults = 0
    for reader in args.only or known:
        print(f"{reader}: ...", end="", flush=True)
        count, text = fuzz(folder, reader, args.runs, args.seconds)
        print(f"\r{reader}: {count:,} executions, {'nothing found' if not text else 'FOUND'}", flush=True)
        if text:
            print(text, flush=True)
            faults += 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
