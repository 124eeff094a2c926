# SPDX-License-Identifier: Apache-2.0
"""The program `dualparal` from Python: it is started, and what it writes is read. Nothing is computed here.

    import dualparal
    made = dualparal.generate("a red circle bounces over a dark blue background", frames=33, output="out.mp4", latents="torch")
    made.result.latency_s, made.latents.shape

docs/python.md has more.
"""
from .generation import Generation, bench, generate, simulate
from .process import ProgramError, UsageError, run
from .program import ProgramNotFound, data_dir, find_program
from .results import RankResult, Result, ResultsError, read_results
from .tensors import load_tensors, save_tensors

__all__ = ["Generation", "ProgramError", "ProgramNotFound", "RankResult", "Result", "ResultsError", "UsageError", "bench",
           "data_dir", "find_program", "generate", "load_tensors", "read_results", "run", "save_tensors", "simulate"]
