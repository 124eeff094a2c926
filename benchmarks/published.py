# SPDX-License-Identifier: Apache-2.0
"""Simulated times beside published ones (configs/published.yaml): every row with its error; docs/simulation.md has what it
shows. --calibrate first fits the cluster files' shares to the rows that say so; the others judge them."""
from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from scipy.optimize import least_squares

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT / "configs/published.yaml"
EXPERIMENT = ROOT / "configs/experiments/published.yaml"
TYPICAL, WORST = 0.10, 0.25  # errors of rows that were not fitted: the median, and any
SHARES = ("matmul", "attention", "memory")


def simulate(folder: Path) -> list[dict]:
    """Result lines of the experiment: traces, and their simulations on every cluster."""
    done = subprocess.run([ROOT / "build/dualparal", "bench", EXPERIMENT, "--output", folder, "--restart"], cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def line_of(row: dict, lines: list[dict], cluster: str | None) -> dict:
    """The line of a row's point: its simulation on a cluster, or its trace."""
    found = [line for line in lines if (line["cluster"] or {}).get("name") == cluster and line["model"] == row["model"]
             and line["world_size"] == row["ranks"] and line["frames"] == row["frames"] and line["height"] == row["height"]]
    if len(found) != 1:
        raise SystemExit(f"error: {EXPERIMENT}: {len(found)} points for {row}, expected one")
    return found[0]


def compute_s(trace: dict, device: dict, shares: dict) -> float:
    """As Cluster::compute_seconds, of the slowest rank (host time left out: it is hidden)."""
    rate, bandwidth = float(device["flops_per_s"]["bf16"]), float(device["memory_bytes_per_s"])
    return max(rank["matmul_flops"] / (rate * shares["matmul"]) + rank["attention_flops"] / (rate * shares["attention"])
               + rank["moved_bytes"] / (bandwidth * shares["memory"]) for rank in trace["per_rank"])


def fit(rows: list[dict], lines: list[dict], clusters: dict[str, dict]) -> tuple[dict, dict]:
    """Shares by cluster, and seconds beside denoising. The A100, of which there are most rows, has three shares of its own;
    the other devices have those times one factor. Communication is what the simulation had beyond computing."""
    names = sorted({row["cluster"] for row in rows})
    others = [name for name in names if name != "8x-a100"]
    chosen = [row for row in rows if row.get("calibrates")]
    communication = {}
    for row in chosen:
        cluster = clusters[row["cluster"]]
        known = {name: cluster["efficiency"][name] for name in SHARES}
        simulated = line_of(row, lines, row["cluster"])["latency_without_memory_limit_s"]
        communication[id(row)] = max(0.0, simulated - compute_s(line_of(row, lines, None), cluster["device"], known))

    def unpack(x: np.ndarray) -> tuple[dict, dict]:
        base = dict(zip(SHARES, x[:3]))
        factor = {"8x-a100": 1.0} | dict(zip(others, x[3:3 + len(others)]))
        shares = {name: {key: min(1.0, value * factor[name]) for key, value in base.items()} for name in names}
        return shares, dict(zip(names, x[3 + len(others):]))

    def errors(x: np.ndarray) -> list[float]:
        shares, beside = unpack(x)
        out = []
        for row in chosen:
            seconds = compute_s(line_of(row, lines, None), clusters[row["cluster"]]["device"], shares[row["cluster"]])
            seconds += communication[id(row)] + (beside[row["cluster"]] if row.get("whole") else 0)
            out.append(seconds / row["seconds"] - 1)
        return out

    count = len(others)
    found = least_squares(errors, [0.8, 0.7, 0.6] + [1.0] * count + [30.0] * len(names), x_scale=[0.1] * (3 + count) + [10.0] * len(names),
                          bounds=([0.1] * (3 + count) + [0.0] * len(names), [1.0] * 3 + [2.0] * count + [200.0] * len(names)))
    return unpack(found.x)


def write_shares(shares: dict, beside: dict) -> None:
    for name, values in shares.items():
        file = ROOT / f"configs/clusters/{name}.yaml"
        text = re.sub(r"basis: .*", "basis: calibrated to published times (./run published --calibrate)", file.read_text())
        for key, value in values.items():
            text = re.sub(rf"^(  {key}:) .*", rf"\1 {value:.3f}", text, flags=re.M)
        file.write_text(text)
    text = ", ".join(f"{name}: {seconds:.0f}" for name, seconds in beside.items())
    ROWS.write_text(re.sub(r"^beside_denoising_s: .*", f"beside_denoising_s: {{{text}}}", ROWS.read_text(), flags=re.M))


def table(rows: list[dict], lines: list[dict], beside: dict) -> tuple[str, list[float]]:
    """Markdown, and the errors of the rows that were not fitted."""
    text = ["| device | model, height | frames | GPUs | published s | simulated denoising s | and beside it s | error | used for |",
            "|---|---|---:|---:|---:|---:|---:|---:|---|"]
    held_out = []
    for row in rows:
        denoising = line_of(row, lines, row["cluster"])["latency_without_memory_limit_s"]
        more = beside[row["cluster"]] if row.get("whole") else 0
        error = (denoising + more) / row["seconds"] - 1
        if not row.get("calibrates"):
            held_out.append(error)
        text.append(f"| {row['cluster'].removeprefix('8x-')} | {row['model']} {row['height']} | {row['frames']} | {row['ranks']} | "
                    f"{row['seconds']:,.0f} | {denoising:,.0f} | {more or ''} | {100 * error:+.1f} % | "
                    f"{'fitted' if row.get('calibrates') else 'judging'} ({row['source']}) |")
    return "\n".join(text), held_out


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run published", description=__doc__)
    parser.add_argument("--calibrate", action="store_true", help="fit the cluster files before")
    parser.add_argument("--output", type=Path, default=ROOT / "results/published", help="folder")
    options = parser.parse_args()
    lines = simulate(options.output)
    published = yaml.safe_load(ROWS.read_text())
    if options.calibrate:
        names = {row["cluster"] for row in published["rows"]}
        clusters = {name: yaml.safe_load((ROOT / f"configs/clusters/{name}.yaml").read_text()) for name in names}
        write_shares(*fit(published["rows"], lines, clusters))
        lines, published = simulate(options.output), yaml.safe_load(ROWS.read_text())
    text, errors = table(published["rows"], lines, published["beside_denoising_s"])
    sizes = sorted(abs(error) for error in errors)
    summary = (f"{len(errors)} rows that were not fitted: median error {100 * statistics.median(sizes):.1f} %, "
               f"largest {100 * sizes[-1]:.1f} %")
    sources = "\n".join(f"- {name}: {source}" for name, source in published["sources"].items())
    (options.output / "published.md").write_text(
        f"# Simulated beside published\n\nRegenerated by `./run published`.\n\n{text}\n\n{summary}.\n\n{sources}\n")
    print(f"{text}\n\n{summary}")
    return int(statistics.median(sizes) > TYPICAL or sizes[-1] > WORST)


if __name__ == "__main__":
    sys.exit(main())
