# SPDX-License-Identifier: Apache-2.0
"""What snapshots cost: the same run with and without them, in turn, so that what disturbs the machine meets both.

    python benchmarks/snapshot_cost.py [--every 60 5 1] [--pairs 5] [--program build/dualparal] [-- FLAGS]

A line an interval: snapshots that were kept in a run, the median latency without and with them, the ratio of the two
medians and the ratios of all pairs; the ratio of the medians of processor time, of all ranks from start to end, which
other work on the machine disturbs less. A run must be longer than the interval, else nothing is kept: --frames decides.
FLAGS are more of `dualparal generate`.
"""
import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLAGS = ["--strategy", "dualparal", "--nproc", "2", "--threads", "1", "--steps", "10", "--prompt", "a red circle",
         "--no-decode", "--no-quality", "--quiet"]


def kept_in(folder: pathlib.Path, running) -> set:
    """Names of all snapshots that a run writes; of two at a time only the newest are there."""
    seen = set()
    while running():
        seen |= {p.parent.name for p in folder.glob("snapshot-*/rank-0.safetensors")}
        time.sleep(0.05)
    return seen


def processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def latency(program: pathlib.Path, flags: list, every: float | None) -> tuple:
    """Seconds that denoising took, processor time of the run, and how many snapshots were kept meanwhile."""
    before = processor_time()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        kept = folder / "kept"
        snapshots = [] if every is None else ["--snapshot", kept, "--snapshot-every", every]
        child = subprocess.Popen([str(a) for a in [program, "generate", *flags, *snapshots, "--result", folder / "r.jsonl"]],
                                 stderr=subprocess.PIPE, text=True)
        seen = set()
        watch = threading.Thread(target=lambda: seen.update(kept_in(kept, lambda: child.poll() is None)))
        if every is not None:
            watch.start()
        errors = child.communicate()[1]
        if every is not None:
            watch.join()
        if child.returncode:
            raise SystemExit(f"error: the run failed: {errors.strip()}")
        return json.loads((folder / "r.jsonl").read_text())["latency_s"], processor_time() - before, len(seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=float, nargs="+", default=[60], help="intervals in seconds [60, the default one]")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--frames", type=int, default=4097)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/dualparal")
    parser.add_argument("flags", nargs="*")
    arguments = parser.parse_args()
    flags = [*FLAGS, "--frames", str(arguments.frames), *arguments.flags]
    latency(arguments.program, flags, None)  # files are read from the disk
    for every in arguments.every:
        without, with_them, counts, work = [], [], [], {False: [], True: []}
        for pair in range(arguments.pairs):
            for kept in (True, False) if pair % 2 else (False, True):
                seconds, used, count = latency(arguments.program, flags, every if kept else None)
                work[kept].append(used)
                (with_them if kept else without).append(seconds)
                counts += [count] if kept else []
        medians = statistics.median(without), statistics.median(with_them)
        pairs = ", ".join(f"{a / b:.4f}" for a, b in zip(with_them, without))
        print(f"every {every:g} s: {statistics.median(counts):g} snapshots, {medians[0]:.2f} s without, {medians[1]:.2f} s "
              f"with them, ratio of medians {medians[1] / medians[0]:.4f}, of pairs {pairs}; of processor time "
              f"{statistics.median(work[True]) / statistics.median(work[False]):.4f}", flush=True)


if __name__ == "__main__":
    main()
