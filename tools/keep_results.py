# SPDX-License-Identifier: Apache-2.0
"""Makes kept results anew, all of them by one program from one clean commit.

    python tools/keep_results.py [NAME...] [--kind simulated|measured] [--list]

For whoever keeps results/ up to date (everybody else: `./run reproduce NAME`, which leaves results/ alone). The program must be
built of a clean commit, after which nothing but results and documents has changed. Experiments whose lines are of that commit go
on where they were cut off, all others begin anew; old lines go only when the new ones are there. It ends with the first command
that fails; a result that misses its mark and failed points of an experiment are results. Measured ones want a quiet machine.
Then the numbers in the documents are written (tools/document_numbers.py); texts beside them want reading.
"""
from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "build/dualparal"
# The shortest first. Not kept: quick (whoever runs ./run bench has it).
SIMULATED = ("cost_table", "bubble", "headline", "host_caches", "four_steps", "ablations_simulated", "wan22_a14b",
             "minute_clusters", "hour_clusters", "mlperf_like", "scaling_vs_gpus", "latency_memory_vs_frames", "published")
MEASURED = ("simulator_validation", "compare_diffusers", "plan_check", "pipeline", "two_ranks", "half_layers", "frames",
            "quick_all", "hour", "ablation_previous_context", "ablation_cache_noise", "ablation_block", "ablation_context",
            "ablation-position", "quality_vs_frames")
# What is no experiment file: the command, of which {} is the folder.
COMMANDS = {
    "published": ["benchmarks/published.py", "--output", "{}"],
    "simulator_validation": ["benchmarks/validate_simulator.py", "--output", "{}"],
    "plan_check": ["benchmarks/plan_check.py", "--result", "{}/plan_check.json"],
    "compare_diffusers": ["benchmarks/compare_diffusers.py", "--build", str(ROOT / "build"), "--json", "{}/cpu.new.jsonl"],
}
JUDGED = ("published", "plan_check")  # exit code 1, too, when what they find misses its mark
FIGURES = {  # that documents show
    "frames": ["latency_moving-shapes_measured.png"],
    "latency_memory_vs_frames": ["latency_wan2.1-t2v-1.3b_8x-rtx4090_simulated.png"],
}


def commit() -> str:
    """That of which the program was built; an error if anything but results and documents was changed since, or is new."""
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    built = re.search(r"\(commit (\w+)\)", said)
    if not built:
        sys.exit(f"error: results are kept from a clean commit, and {PROGRAM} says that it is of: {said}")
    beside = ("--", ".", ":!results", ":!docs", ":!*.md")
    changed = "".join(subprocess.run(["git", *command, *beside], cwd=ROOT, capture_output=True, text=True, check=True).stdout
                      for command in (("diff", "--name-only", built[1]), ("ls-files", "--others", "--exclude-standard")))
    if changed:
        sys.exit(f"error: {PROGRAM} is of commit {built[1]}, and these have changed since (build it anew):\n{changed}")
    return built[1]


def are_of(folder: Path, wanted: str) -> bool:
    """Whether the lines in `folder` are of this commit, without changes. A last one that was cut off is none: `bench` sets it
    aside."""
    lines = folder / "results.jsonl"
    if not lines.exists():
        return False
    try:
        made = [json.loads(row) for row in lines.read_text(encoding="utf-8").split("\n")[:-1]]
        codes = [line["provenance"]["code"] for line in made]
        return bool(codes) and all(code["commit"] == wanted and not code["dirty"] for code in codes)
    except (ValueError, KeyError, TypeError):
        return False


def run(*command, allowed: tuple[int, ...] = (0,)) -> None:
    print("#", *command, file=sys.stderr)
    done = subprocess.run([str(part) for part in command], cwd=ROOT)
    if done.returncode not in allowed:
        sys.exit(f"error: exit code {done.returncode}")


def remove_old(folder: Path, wanted: str) -> None:
    """The lines that were set aside, once the new ones are known to be there."""
    if not are_of(folder, wanted):
        sys.exit(f"error: {folder}/results.jsonl is not of commit {wanted} throughout: older lines were left where they are")
    for before in folder.glob("results.before-*.jsonl"):
        before.unlink()


def make_by_command(name: str, folder: Path, wanted: str) -> None:
    folder.mkdir(exist_ok=True)
    appended = folder / "cpu.new.jsonl"
    appended.unlink(missing_ok=True)
    began = time.time()
    run(sys.executable, *(part.format(folder) for part in COMMANDS[name]), allowed=(0, 1) if name in JUDGED else (0,))
    if not any(file.stat().st_mtime >= began for file in folder.iterdir()):
        sys.exit(f"error: {COMMANDS[name][0]} wrote nothing")
    if appended.exists():
        appended.replace(folder / "cpu.jsonl")
    if (folder / "results.jsonl").exists():
        remove_old(folder, wanted)


def make(name: str, wanted: str) -> None:
    folder = ROOT / "results" / name
    if name in COMMANDS:
        return make_by_command(name, folder, wanted)
    file = ROOT / f"configs/experiments/{name}.yaml"
    bench = [PROGRAM, "bench", file, "--output", folder]
    run(*bench, *([] if are_of(folder, wanted) else ["--restart"]), allowed=(0, 1))  # 1: points failed, which their lines say
    points = subprocess.run([*bench, "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    if re.search(r": to (do|be skipped.*)$", points, re.M):  # 1 is an error of its own, too
        sys.exit(f"error: {folder}: points are missing; the same command goes on with them")
    remove_old(folder, wanted)
    run(PROGRAM, "report", folder, "--experiment", file, "--output", folder)
    shutil.rmtree(folder / "figures", ignore_errors=True)
    if name in FIGURES:
        run(sys.executable, ROOT / "plots/make.py", folder, "-o", folder / "figures")
        for figure in (folder / "figures").iterdir():
            if figure.name not in FIGURES[name]:
                figure.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *SIMULATED, *MEASURED], help="these; else all")
    parser.add_argument("--kind", choices=["simulated", "measured"])
    parser.add_argument("--list", action="store_true", help="list them, with whether they are of this commit")
    args = parser.parse_args()
    wanted = commit()
    names = args.names or [*(SIMULATED if args.kind != "measured" else ()), *(MEASURED if args.kind != "simulated" else ())]
    for name in names:
        if args.list:
            print(f"{name:28}{'of this commit' if are_of(ROOT / 'results' / name, wanted) else 'to be made'}")
            continue
        began = time.monotonic()
        make(name, wanted)
        print(f"# {name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0 if args.list else subprocess.run([sys.executable, ROOT / "tools/document_numbers.py", "write"]).returncode


if __name__ == "__main__":
    sys.exit(main())
