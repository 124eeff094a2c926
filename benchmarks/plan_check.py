# SPDX-License-Identifier: Apache-2.0
"""Whether `dualparal plan` chooses well on this machine: its first choice beside what the clock says.

    python benchmarks/plan_check.py [--frames N ...] [--rounds N] [--cluster FILE] [--result FILE]

The embedded model on two ranks of one thread each. The machine is measured first (`dualparal calibrate --probe`) unless --cluster
says what it is. Then the first rows of the plan's ranking and the usual form of every other strategy are run, all in one run,
turn by turn; who takes more than twice the least so far is run no more. Prints medians in seconds, and the plan's first choice
against the fastest. Exit code 1 if it is more than 10 % slower. Wants a quiet machine.
"""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "build/dualparal"
ROWS = 3  # of the ranking
RIVALS = (("ring", "--guidance-parallel", "on"), ("ulysses", "--guidance-parallel", "on"), ("pipefusion", "--guidance-micro-batches", "2"),
          ("context_windows",), ("video_infinity",), ("fifo",), ("naive_pipeline", "--guidance-micro-batches", "2"), ("dualparal",),
          ("dualparal", "--previous-context", "matched_kv", "--guidance-micro-batches", "2"),
          ("dualparal", "--previous-context", "matched_kv", "--guidance-parallel", "on"))


def ranking(cluster: str, frames: int, folder: Path) -> list[tuple[float, tuple[str, ...]]]:
    """The plan's rows, fastest first: seconds predicted, and the flags of `generate`."""
    done = subprocess.run([PROGRAM, "plan", "--cluster", cluster, "--frames", str(frames), "--rows", str(ROWS), "--quiet"], cwd=folder,
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    rows = [line.split("--strategy ", 1) for line in done.stdout.splitlines() if "--strategy " in line and line.split()[0].isdigit()]
    return [(float(left.split()[1]), tuple(right.split())) for left, right in rows]


def latency(flags: tuple[str, ...], frames: int, folder: Path) -> float:
    lines = folder / "line.jsonl"
    lines.unlink(missing_ok=True)
    nproc = () if "--nproc" in flags else ("--nproc", "2")
    done = subprocess.run([PROGRAM, "generate", "--strategy", *flags, *nproc, "--threads", "1", "--frames", str(frames), "--prompt",
                           "a red circle bounces over a dark blue background", "--no-decode", "--no-quality", "--quiet", "--result",
                           str(lines)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(lines.read_text(encoding="utf-8"))["latency_s"]


def check(cluster: str, frames: int, rounds: int, folder: Path) -> dict:
    rows = ranking(cluster, frames, folder)
    predicted = {flags: seconds for seconds, flags in rows}
    times: dict[tuple[str, ...], list[float]] = {flags: [] for flags in [*predicted, *RIVALS]}
    for turn in range(rounds):
        for flags, taken in times.items():
            least = min((min(other) for other in times.values() if other), default=None)
            if turn and min(taken) > 2 * least:
                continue
            taken.append(latency(flags, frames, folder))
    medians = {flags: statistics.median(taken) for flags, taken in times.items()}
    print(f"\n{frames} frames\n{'measured s':>10} {'runs':>4} {'planned s':>9}  flags")
    for flags, median in sorted(medians.items(), key=lambda item: item[1]):
        planned = f"{predicted[flags]:.2f}" if flags in predicted else "-"
        print(f"{median:10.2f} {len(times[flags]):4} {planned:>9}  --strategy {' '.join(flags)}", flush=True)
    first = rows[0][1]
    ratio = medians[first] / min(medians.values())
    print(f"the plan's first choice takes {ratio:.3f} times the fastest")
    return {"frames": frames, "rounds": rounds, "first_choice": " ".join(first), "against_fastest": ratio,
            "measured_s": {" ".join(flags): taken for flags, taken in times.items()},
            "planned_s": {" ".join(flags): seconds for flags, seconds in predicted.items()}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[81, 301, 1025])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cluster", help="a cluster's name or file, instead of measuring this machine")
    parser.add_argument("--result", type=Path, help="JSON file for all figures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cluster = args.cluster
        if not cluster:
            cluster = str(folder / "this-machine.yaml")
            subprocess.run([PROGRAM, "calibrate", "--probe", "--nproc", "2", "--threads", "1", "--output", cluster], check=True,
                           stdout=subprocess.DEVNULL)
        checked = [check(cluster, frames, args.rounds, folder) for frames in args.frames]
    if args.result:
        args.result.write_text(json.dumps(checked, indent=1) + "\n", encoding="utf-8")
    return int(any(one["against_fastest"] > 1.1 for one in checked))


if __name__ == "__main__":
    sys.exit(main())
