# SPDX-License-Identifier: Apache-2.0
"""What does a receive that spins cost the stage beside it? spin_test.py, with the library that spin.cu becomes."""
from __future__ import annotations

import shutil

from calls import Failed
from context import Context, Piece, Step


def library(context: Context) -> str:
    """The bundle's, or made here where there is a compiler."""
    ready = context.data / "libspin.so"
    if ready.exists():
        return str(ready)
    if not shutil.which("nvcc"):
        raise Failed(f"{ready} is missing (./run bundle makes it where nvcc is), and there is no nvcc here")
    made = context.scratch / "libspin.so"
    context.call("nvcc", "-O2", "-arch=native", "-shared", "-Xcompiler", "-fPIC", "-o", made, context.root / "tools/gpu/spin.cu")
    return str(made)


def run(context: Context) -> dict:
    if context.rehearsal:
        return context.script("spin_test.py", "busy", "--device", context.device, "--blocks", "0,2")
    return context.script("spin_test.py", library(context), "--device", context.device, "--blocks", "0,1,2,4", "--carve-out", "0,4")


def piece(context: Context) -> Piece:
    return Piece("spin", "what blocks that spin on a stream of high priority cost the work beside them", 240,
                 [Step("beside-a-stage", "measured", run, 200)])
