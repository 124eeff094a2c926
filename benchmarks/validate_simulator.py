# SPDX-License-Identifier: Apache-2.0
"""How far the simulator is from the clock of this machine.

    ./run validate --output results/simulator_validation

Runs the embedded model on one and two ranks of one thread each, calibrates configs/clusters/2x-cpu-core.yaml with the traces of
some lengths, then measures other lengths, other strategies (`ulysses`) and four ranks, which share the two cores and the way
between them, traces and simulates them, and compares. A length is measured `--repeat` times, its latency is the median; what is
simulated never enters the calibration. Writes cluster.yaml, results.jsonl (every measured and
simulated line) and report.md.
"""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STRATEGIES = ("single", "naive_pipeline", "ring", "ulysses", "usp", "dualparal")
DEVICES = 2  # of the cluster file: more ranks share them
# Strategy, ranks: lengths in frames.
CALIBRATION = {("single", 1): (49, 97, 193, 321), ("naive_pipeline", 2): (97, 257), ("ring", 2): (97, 257),
               ("dualparal", 2): (97, 257)}
VALIDATION = {("single", 1): (65, 129, 257), ("naive_pipeline", 2): (129, 193), ("ring", 2): (129, 193),
              ("ulysses", 2): (129, 193), ("dualparal", 2): (129, 193), ("ring", 4): (129, 193), ("ulysses", 4): (129, 193),
              ("usp", 4): (129, 193), ("naive_pipeline", 4): (129, 193), ("dualparal", 4): (129, 193)}



class Runner:
    def __init__(self, program: Path, steps: int):
        self.program, self.steps = program, steps

    def call(self, *arguments) -> None:
        done = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"error: {' '.join(map(str, arguments))}: {done.stderr.strip().splitlines()[-1]}")

    def generate(self, strategy: str, frames: int, result: Path, *more) -> dict:
        """The result line of one run, trace or emulation."""
        self.call("generate", "--strategy", strategy, "--frames", frames, "--steps", self.steps, "--threads", 1, "--quiet",
                  "--prompt", "a red circle bounces over a dark blue background", "--result", result, *more)
        return json.loads(result.read_text().splitlines()[-1])

    def measure(self, strategy: str, ranks: int, frames: int, result: Path, *more) -> dict:
        return self.generate(strategy, frames, result, "--no-decode", "--no-quality", "--warmup-steps", 1,
                             "--nproc", ranks, *more)


def table(rows: list[dict]) -> str:
    text = "| strategy | ranks | frames | measured s (min-max) | simulated s | error | idle measured | idle simulated |\n"
    text += "|---|---:|---:|---:|---:|---:|---:|---:|\n"
    for r in rows:
        text += (f"| {r['strategy']} | {r['ranks']} | {r['frames']} | {r['measured']:.3f} ({r['least']:.3f}-{r['most']:.3f}) | "
                 f"{r['simulated']:.3f} | {r['error']:+.1%} | {r['idle_measured']:.1%} | {r['idle_simulated']:.1%} |\n")
    return text + "\nFour ranks share two cores, and the way between them.\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", type=Path, default=ROOT / "build/dualparal")
    parser.add_argument("--output", type=Path, default=ROOT / "results/simulator_validation")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    runner, described = Runner(options.program, options.steps), ROOT / "configs/clusters/2x-cpu-core.yaml"
    lines, rows = [], []
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        folders = []
        for (strategy, ranks), lengths in CALIBRATION.items():
            for frames in lengths:
                print(f"# calibration: {strategy} x{ranks}, {frames} frames", file=sys.stderr)
                folders.append(scratch / f"{strategy}-{frames}")
                runner.measure(strategy, ranks, frames, scratch / "line.jsonl", "--traces", folders[-1])
        runner.call("calibrate", *folders, "--cluster", described, "--output", options.output / "cluster.yaml")
        for (strategy, ranks), lengths in VALIDATION.items():
            for frames in lengths:
                print(f"# validation: {strategy} x{ranks}, {frames} frames", file=sys.stderr)
                measured = [runner.measure(strategy, ranks, frames, scratch / "line.jsonl") for _ in range(options.repeat)]
                runner.generate(strategy, frames, scratch / "line.jsonl", "--mode", "trace", "--traces", scratch / "traces",
                                "--world-size", ranks)
                result = scratch / "simulated.jsonl"
                result.unlink(missing_ok=True)
                runner.call("simulate", scratch / "traces", "--cluster", options.output / "cluster.yaml", "--result", result,
                            *(["--share-devices"] if ranks > DEVICES else []))
                simulated = json.loads(result.read_text())
                lines += measured + [simulated]
                seconds = [line["latency_s"] for line in measured]
                middle = statistics.median(seconds)
                rows.append({"strategy": strategy, "ranks": ranks, "frames": frames, "measured": middle,
                             "least": min(seconds), "most": max(seconds), "simulated": simulated["latency_s"],
                             "error": simulated["latency_s"] / middle - 1,
                             "idle_measured": statistics.median(line["bubble_ratio"] for line in measured),
                             "idle_simulated": simulated["bubble_ratio"]})
    for line in lines:
        line["experiment"] = "simulator_validation"
    (options.output / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    cluster = (options.output / "cluster.yaml").read_text()
    basis = next(line.split(": ", 1)[1] for line in cluster.splitlines() if "basis:" in line)
    provenance = lines[0]["provenance"]
    (options.output / "report.md").write_text(
        "# The simulator against the clock\n\nEmbedded model, fp32, one thread a rank, "
        f"{options.steps} steps, {options.repeat} runs each (median). Cluster: {basis} ([cluster.yaml](cluster.yaml)), from other "
        f"lengths than these. Regenerate: `./run validate`.\n\n{table(rows)}\n{provenance['cpu']}, commit "
        f"{(provenance['code']['commit'] or 'unknown')[:12]}, {provenance['date'][:10]}.\n")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
