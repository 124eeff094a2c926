# SPDX-License-Identifier: Apache-2.0
"""Build trees with clang's sanitizers, build/sanitize-KIND, for fuzz.py and sanitize.py."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPRESSIONS = ROOT / "tests/sanitizers"


def tree(kind: str) -> Path:
    return ROOT / f"build/sanitize-{kind}"


def build(kind: str, compiler: str, targets: list[str]) -> Path:
    """kind: address (and undefined behaviour) or thread. The tree in which the targets are built."""
    # Little optimisation and line numbers alone: these builds take long, and their stacks are to be readable.
    subprocess.run(["cmake", "-G", "Ninja", "-S", ROOT, "-B", tree(kind), f"-DCMAKE_CXX_COMPILER={compiler}",
                    f"-DCMAKE_C_COMPILER={compiler.replace('clang++', 'clang')}", f"-DDUALPARAL_SANITIZE={kind}",
                    "-DDUALPARAL_BENCHMARKS=OFF", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                    "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1 -DNDEBUG", f"-DPython3_EXECUTABLE={sys.executable}"],
                   check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", tree(kind), "--target", *targets], check=True)
    return tree(kind)


def environment(reports: Path | None = None) -> dict[str, str]:
    """What the sanitizers are told. reports: each process that finds something writes a file of its own there."""
    log = [f"log_path={reports}/report"] if reports else []
    options = {
        # Tests ask for more memory than there is; a reader must not. Each fuzzed reading would look for leaks of all before.
        "ASAN_OPTIONS": [*(["detect_leaks=1", "allocator_may_return_null=1"] if reports else ["detect_leaks=0"]), *log],
        "LSAN_OPTIONS": [f"suppressions={SUPPRESSIONS}/leak.txt", "print_suppressions=0"],
        "UBSAN_OPTIONS": ["print_stacktrace=1", f"suppressions={SUPPRESSIONS}/undefined.txt",
                          "halt_on_error=0" if reports else "halt_on_error=1", *log],
        # LibTorch is not instrumented: what its own code does with memory and locks is not seen.
        "TSAN_OPTIONS": ["ignore_noninstrumented_modules=1", f"suppressions={SUPPRESSIONS}/thread.txt", "die_after_fork=0",
                         "halt_on_error=0", *log],
    }
    symbolizer = {"ASAN_SYMBOLIZER_PATH": "/usr/bin/llvm-symbolizer-16"} if Path("/usr/bin/llvm-symbolizer-16").exists() else {}
    # One thread computes: LibTorch's OpenMP threads synchronise in ways that ThreadSanitizer does not see.
    return {**os.environ, **symbolizer, **{name: ":".join(values) for name, values in options.items()}, "OMP_NUM_THREADS": "1"}
