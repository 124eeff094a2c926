# SPDX-License-Identifier: Apache-2.0
"""Does it touch what it must not? compute-sanitizer over the smallest case."""
from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from calls import Failed, Skipped
from context import Context, Piece, Step


def errors_in(text: str) -> int:
    found = re.search(r"ERROR SUMMARY: (\d+) error", text)
    if not found:
        raise Failed("compute-sanitizer printed no ERROR SUMMARY: see the log")
    return int(found[1])


def checked(tool: str, *more):
    def run(context: Context) -> dict:
        smallest = [context.program, "generate", "--quiet", "--device", context.device, "--model", context.embedded, "--strategy", "single",
                    "--frames", 5, "--steps", 1, "--warmup-steps", 0, "--prompt", "a", "--no-quality", "--output", context.scratch / "v.mp4", *more]
        if not context.on_gpu:
            context.call(*smallest, "--threads", 1)
            raise Skipped("the smallest case runs; compute-sanitizer checks GPUs alone")
        sanitizer = shutil.which("compute-sanitizer") or next(
            (str(p) for p in [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin/compute-sanitizer"] if p.exists()), None)
        if not sanitizer:
            raise Failed("compute-sanitizer is not installed: it is part of the CUDA toolkit")
        # The caching allocator would hide what lies beyond a tensor.
        count = errors_in(context.call(sanitizer, "--tool", tool, "--error-exitcode", 0, *smallest,
                                       environment={"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}))
        if count:
            raise Failed(f"{tool}: {count} errors, see the log")
        return {"errors": count}
    return run


def piece(context: Context) -> Piece:
    return Piece("sanitizer", "compute-sanitizer over the smallest case", 420, [
        Step("memcheck", "check", checked("memcheck"), 200), Step("racecheck", "check", checked("racecheck"), 200)])
