# SPDX-License-Identifier: Apache-2.0
"""What do eight GPUs need and do? Every rank of an 8-rank run, one after the other on this device: peak memory in all counts
that there are, and the time of each stage. Traces of all points are kept: calibrate.py replays them.

The work of a step does not depend on how many there are, so there are few. Rehearsed with 4 ranks, by whose number the
embedded model's 6 heads can be divided as Wan's 12 can by 8's.
"""
from __future__ import annotations

import shutil
from functools import partial as given_first

from context import Context, Piece, Step

from .single import model_flags

COUNTS = ("peak_memory_bytes", "reserved_bytes", "device_used_bytes", "process_memory_bytes")
FRAMES = {81: 17, 301: 33, 1025: 65}  # of the GPU: of the rehearsal
REHEARSED = {"--block-frames": {8: 2}, "--context-frames": {4: 1, 8: 2}, "--global-frames": {16: 4}, "--window-frames": {16: 4},
             "--ulysses-degree": {4: 2}}

DUALPARAL = {"dualparal": ["--block-frames", 8, "--context-frames", 4],
             "dualparal-wide-context": ["--block-frames", 8, "--context-frames", 8],
             "dualparal-matched_kv": ["--block-frames", 8, "--context-frames", 4, "--previous-context", "matched_kv"]}
VIDEO_INFINITY = ["--context-frames", 8, "--global-frames", 16]


def point(context: Context, name: str, strategy: str, flags: list, frames: int, steps: int, warmup: int = 1, limit_s: float = 120) -> Step:
    """frames: on a GPU. The name has those that there really are."""
    frames = FRAMES[frames] if context.rehearsal else frames

    def run(context: Context) -> dict:
        traces, partial = context.folder / "traces" / f"{name}-{frames}", context.scratch / "traces"
        shutil.rmtree(partial, ignore_errors=True)
        given = flags
        if context.rehearsal:
            given = [REHEARSED.get(flags[i - 1], {}).get(flag, flag) if i else flag for i, flag in enumerate(flags)]
        line = context.generate("--mode", "emulate", "--world-size", 4 if context.rehearsal else 8, "--strategy", strategy, *given,
                                *model_flags(context), "--frames", frames,
                                "--steps", steps, "--warmup-steps", warmup, "--traces", partial)
        shutil.rmtree(traces, ignore_errors=True)
        shutil.move(partial, traces)
        stages = [rank["compute_s"] for rank in line["per_rank"]]
        return {"strategy": strategy, "flags": given, "ranks": line["world_size"], "frames": line["frames"], "steps": steps,
                "warmup_steps": warmup, **{count: line[count] for count in COUNTS}, "stage_s": stages,
                "slowest_stage_s": max(stages), "traces": str(traces.relative_to(context.folder))}

    return Step(f"{name}-{frames}", "emulated", run, limit_s)


def question(context: Context, frames: int) -> str:
    ranks, frames = (4, FRAMES[frames]) if context.rehearsal else (8, frames)
    return f"memory and stage times of {ranks} ranks, {frames:,} frames"


def first_pieces(context: Context) -> list[Piece]:
    at = given_first(point, context)
    short = [at(name, "dualparal", flags, 81, 3) for name, flags in DUALPARAL.items()]
    short += [at("ring", "ring", [], 81, 1),
              at("ulysses-guidance", "ulysses", ["--guidance-parallel", "on"], 81, 1),
              at("usp", "usp", ["--ulysses-degree", 4], 81, 1),
              at("video_infinity", "video_infinity", VIDEO_INFINITY, 81, 1),
              at("naive_pipeline", "naive_pipeline", [], 81, 1),
              at("fifo", "fifo", ["--window-frames", 16], 81, 8, 0)]
    middle = [at(name, "dualparal", flags, 301, 3) for name, flags in DUALPARAL.items()]
    middle += [at("ring-guidance", "ring", ["--guidance-parallel", "on"], 301, 1, 0),
               at("video_infinity", "video_infinity", VIDEO_INFINITY, 301, 1),
               at("ulysses-guidance", "ulysses", ["--guidance-parallel", "on"], 301, 1, 0),
               at("usp", "usp", ["--ulysses-degree", 4], 301, 1, 0),
               at("naive_pipeline", "naive_pipeline", [], 301, 1, 0)]
    long = [at("dualparal", "dualparal", DUALPARAL["dualparal"], 1025, 3, 0, 240),
            at("video_infinity", "video_infinity", VIDEO_INFINITY, 1025, 1, 0, 180),
            at("dualparal-matched_kv", "dualparal", DUALPARAL["dualparal-matched_kv"], 1025, 3, 0, 240),
            at("dualparal-wide-context", "dualparal", DUALPARAL["dualparal-wide-context"], 1025, 2, 0, 240)]
    return [Piece("emulated", question(context, 81), 540, short),
            Piece("long", question(context, 1025) + ", strategies by blocks and clips", 540, long),
            Piece("middle", question(context, 301), 540, middle)]


def whole_piece(context: Context) -> Piece:
    """Without guidance: half of the work of a step that takes minutes; memory as with the halves in turn."""
    at = given_first(point, context)
    alone = ["--guidance-scale", 1]
    return Piece("whole", question(context, 1025) + ", strategies that attend to the whole video", 540, [
        at("ring-alone", "ring", alone, 1025, 1, 0, 240),
        at("usp-alone", "usp", ["--ulysses-degree", 4, *alone], 1025, 1, 0, 240),
        at("naive_pipeline-alone", "naive_pipeline", alone, 1025, 1, 0, 240),
        at("ulysses-guidance", "ulysses", ["--guidance-parallel", "on"], 1025, 1, 0, 300)])
