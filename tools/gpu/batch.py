# SPDX-License-Identifier: Apache-2.0
"""./run gpu: everything that a machine with one GPU shall answer, in resumable pieces. See docs/run-gpu.md.

Only the standard library and PyTorch are needed. Exit codes: 0 every step of this call is done, 1 some failed or the time
was used up, 2 wrong usage or a folder that is another batch's.
"""
from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", message="Failed to initialize NumPy")  # PyTorch works without it, and so does this
sys.path.insert(0, str(Path(__file__).resolve().parent))
import report  # noqa: E402
from calls import Failed, OutOfTime, Skipped  # noqa: E402
from context import Context, Piece, Step  # noqa: E402
from pieces import all_pieces  # noqa: E402
from record import Record, Refused, hash_of  # noqa: E402

HERE = Path(__file__).resolve().parent
SCHEMA = 1
REHEARSAL_FOLDER = "rehearsal_on_cpu"


def say(text: str) -> None:
    print(f"# {text}", file=sys.stderr, flush=True)


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Parser(argparse.ArgumentParser):
    def error(self, message: str):
        self.exit(2, f"error: {message}\n")


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="./run gpu", description="everything that one GPU shall answer: docs/run-gpu.md")
    parser.add_argument("--into", type=Path, metavar="DIR", help="folder for results [results/gpu_<device>, or "
                        f"results/{REHEARSAL_FOLDER}]")
    parser.add_argument("--rehearse", action="store_true", help="the same pieces on the CPU with the embedded model: no GPU results")
    parser.add_argument("--only", nargs="+", metavar="PIECE", help="these pieces alone, or PIECE/STEP")
    parser.add_argument("--list", action="store_true", help="pieces and steps, and what is done of them; run none")
    parser.add_argument("--time", type=float, default=40, metavar="MINUTES", help="for this call; the next one goes on [40]")
    parser.add_argument("--restart", action="store_true", help="set results that are there aside and begin anew")
    parser.add_argument("--retry-failed", action="store_true", help="run failed and skipped steps again")
    parser.add_argument("--program", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--probe", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--unit-tests", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, required=True, help=argparse.SUPPRESS)  # references, spin and trace libraries
    parser.add_argument("--libraries", default="", help=argparse.SUPPRESS)  # for the program's LD_LIBRARY_PATH
    parser.add_argument("--results", type=Path, required=True, help=argparse.SUPPRESS)  # where --into's default lies
    options = parser.parse_args(arguments)
    if not options.time > 0:
        parser.error(f"--time: expected minutes above 0, got {options.time:g}")
    return options


def device_facts(device: str) -> dict:
    done = subprocess.run([sys.executable, HERE / "machine.py", device], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1].removeprefix("error: ")
        raise Refused(f"{last}: on this machine there is only --rehearse")
    return json.loads(done.stdout)


def chosen(pieces: list[Piece], only: list[str] | None) -> list[tuple[Piece, list[Step]]]:
    known = {piece.name for piece in pieces} | {f"{p.name}/{s.name}" for p in pieces for s in p.steps}
    for word in only or []:
        if word not in known:
            raise Refused(f"--only {word}: no such piece or step; there are: {', '.join(piece.name for piece in pieces)} (--list has the steps)")
    found = [(p, [s for s in p.steps if not only or p.name in only or f"{p.name}/{s.name}" in only]) for p in pieces]
    return [(piece, steps) for piece, steps in found if steps]


def to_do(steps: list[Step], piece: Piece, done: dict[str, dict], retry: bool) -> list[Step]:
    def missing(step: Step) -> bool:
        line = done.get(f"{piece.name}/{step.name}")
        return line is None or line["inputs"] != step.inputs() or (retry and line["status"] != "ok")
    return [step for step in steps if missing(step)]


def list_pieces(pieces: list[tuple[Piece, list[Step]]], done: dict[str, dict]) -> None:
    for piece, steps in pieces:
        print(f"{piece.name}: {piece.question} (at most {piece.limit_s / 60:.0f} min)")
        for step in steps:
            line = done.get(f"{piece.name}/{step.name}")
            print(f"  {step.name}: {line['status'] + (': ' + line['reason'] if line['reason'] else '') if line else 'to do'}")


def run_step(context: Context, piece: Piece, step: Step, limit_s: float) -> dict:
    """Its line. OutOfTime where the batch's time ended it."""
    begin = time.monotonic()
    context.begin(piece, step, limit_s)
    inputs, status, reason, figures = step.inputs(), "ok", None, {}
    try:
        figures = step.run(context) or {}
    except Skipped as error:
        status, reason = "skipped", str(error)
    except Failed as error:
        status, reason = "failed", str(error)
    except OutOfTime:
        raise
    except Exception as error:  # ours: a line, too, and the rest goes on
        status, reason = "failed", f"{type(error).__name__}: {error}"
    if context.figures:  # what a step that failed had found out
        figures = {**context.figures, **figures}
    return {"schema": SCHEMA, "rehearsal": context.rehearsal, "piece": piece.name, "step": step.name, "kind": step.kind,
            "device": context.device, "device_name": context.device_name, "status": status, "reason": reason,
            "seconds": round(time.monotonic() - begin, 3), "figures": figures, "inputs": inputs, "lines": context.lines,
            "log": str(context.log.relative_to(context.folder)), "date": now()}


def run_pieces(context: Context, record: Record, pieces: list[tuple[Piece, list[Step]]], retry: bool) -> bool:
    """Whether the time sufficed."""
    for piece, steps in pieces:
        missing = to_do(steps, piece, record.latest(), retry)
        if missing:
            say(f"{piece.name}: {piece.question}")
        end = time.monotonic() + piece.limit_s
        for step in missing:
            if time.monotonic() >= context.deadline:
                return False
            if time.monotonic() >= end:
                say(f"{piece.name}: its {piece.limit_s / 60:.0f} minutes are used up; the next call goes on with {step.name}")
                break
            try:
                line = run_step(context, piece, step, min(step.limit_s, end - time.monotonic()))
            except OutOfTime:
                return False
            record.append(line)
            report.write(context.folder, record)
            say(f"  {step.name}: {line['status']}, {line['seconds']:.1f} s{': ' + line['reason'] if line['reason'] else ''}")
    return True


def open_batch(options: argparse.Namespace) -> tuple[Context, list[tuple[Piece, list[Step]]], Record | None]:
    """Refused before anything is written. No record: nothing is there to list."""
    device = "cpu" if options.rehearse else "cuda:0"
    facts = device_facts(device)
    name = re.sub(r"[^a-z0-9]+", "_", facts["name"].lower().replace("nvidia", "")).strip("_")
    folder = options.into or options.results / (REHEARSAL_FOLDER if options.rehearse else f"gpu_{name}")
    context = Context(options, folder.absolute(), device, facts)
    pieces = chosen(all_pieces(context), options.only)
    if options.list and not (folder / "batch.json").exists():
        return context, pieces, None
    batch = {"schema": SCHEMA, "rehearsal": options.rehearse, "device_name": facts["name"], "program_sha256": hash_of(options.program),
             "begun": now(), "facts": facts}
    return context, pieces, Record(folder, batch, options.restart and not options.list)


def main(arguments: list[str]) -> int:
    options = options_of(arguments)
    if options.rehearse:
        say("REHEARSAL on the CPU with the embedded model: nothing of this is a GPU's result")
    try:
        context, pieces, record = open_batch(options)
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.list:
        list_pieces(pieces, record.latest() if record else {})
        return 0
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        context.prepare()
        in_time = run_pieces(context, record, pieces, options.retry_failed)
    except KeyboardInterrupt:
        say(f"stopped: finished steps are kept in {context.folder}; the same command goes on")
        return 130
    finally:
        context.clean_up()
        report.write(context.folder, record)
    done = record.latest()
    left = sum(len(to_do(steps, piece, done, False)) for piece, steps in pieces)
    failed = [name for name, line in done.items() if line["status"] == "failed"]
    say(f"{context.folder}/report.md, steps.jsonl, results.jsonl; {len(done) - len(failed)} steps done, {len(failed)} failed, {left} to do")
    if not in_time:
        say("the time of this call is used up: the same command goes on")
    return 1 if failed or left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
