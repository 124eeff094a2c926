# SPDX-License-Identifier: Apache-2.0
"""How far off is the simulator? A cluster file of this device is fitted to every second of the emulated points; the others
are simulated and compared with what was measured, stage by stage. Then what 8 of these devices would take.

Links between devices cannot be measured with one: they are those of the cluster file of the same device, else assumed.
"""
from __future__ import annotations

import json
import re
import statistics

from calls import Failed
from context import Context, Piece, Step
from record import write_whole

from .emulated import whole_piece

PCIE = "  device: {bytes_per_s: 25e9, latency_s: 10e-6}   # assumed: PCIe 4\n  message_s: 10e-6                                # assumed\n"


def traced(context: Context, whole: bool = False) -> list[str]:
    """Points with traces, by name; with those of the piece `whole`, which comes after fitting?"""
    later = set() if whole else {step.name for step in whole_piece(context).steps}
    return sorted(path.name for path in (context.folder / "traces").glob("*") if (path / "run.json").exists() and path.name not in later)


def halves(names: list[str]) -> tuple[list[str], list[str]]:
    """To fit, to judge."""
    return names[::2], names[1::2]


def known_links(context: Context) -> tuple[str, str]:
    """Lines of YAML, and where they are from."""
    if context.rehearsal:
        return "  device: {bytes_per_s: 2e9, latency_s: 50e-6}\n  message_s: 20e-6\n", "assumed, of one machine's processes"
    model = re.search(r"H100|H200|A100|H20|RTX 4090", context.device_name)
    wanted = {"H200": "h100", "RTX 4090": "rtx4090"}.get(model[0], model[0].lower()) if model else ""
    file = context.root / f"configs/clusters/8x-{wanted}.yaml"
    if not wanted or not file.exists():
        return PCIE, "assumed, PCIe"
    return re.search(r"^links:\n((?:  .*\n)+)", file.read_text(), re.M)[1], f"of {file.name}"


def described(context: Context, rates: dict) -> str:
    """A cluster of 8 such devices, its rates as measured, its shares of them to be fitted."""
    links, source = known_links(context)
    memory = context.facts.get("device_memory_bytes") or context.facts["memory_bytes"]
    flops = ", ".join(f"{dtype}: {rate:.4g}" for dtype, rate in rates["flops_per_s"].items())
    word = "REHEARSAL, CPU: " if context.rehearsal else ""
    return (f"# SPDX-License-Identifier: Apache-2.0\nname: \"8x-this-device\"\ndescription: \"{word}eight of the device that a batch ran on; links {source}\"\n"
            f"nodes: 1\ndevices_per_node: 8\ndevice:\n  name: \"{context.device_name}\"\n  memory_bytes: {memory}\n"
            f"  flops_per_s: {{{flops}}}   # largest product that was measured\n  memory_bytes_per_s: {rates['memory_bytes_per_s']:.4g}   # a copy, measured\n"
            "efficiency:\n  basis: assumed, to be fitted\n  matmul: 1\n  attention: 0.6\n  convolution: 0.5\n  memory: 1\n"
            f"  operation_s: 5e-6\n  operation_overlaps: {'false' if context.rehearsal else 'true'}\nlinks:\n{links}")


def fit(context: Context) -> dict:
    chosen, _ = halves(traced(context))
    if len(chosen) < 2:
        raise Failed(f"{len(traced(context))} points with traces, at least 3 are needed: run emulated, middle or long first")
    rates = context.script("machine.py", context.device, "--rates", "fp32" if context.rehearsal else "bf16")
    base = context.folder / "cluster-described.yaml"
    write_whole(base, described(context, rates))
    said = context.call(context.program, "calibrate", *[context.folder / "traces" / name for name in chosen], "--cluster", base,
                        "--output", context.folder / "cluster.yaml")
    return {"fitted_to": chosen, "measured_rates": rates, "links": known_links(context)[1], "said": [line.strip() for line in said.splitlines()]}


def simulated(context: Context, name: str, compute: str) -> dict:
    result = context.scratch / "simulated.jsonl"
    result.unlink(missing_ok=True)
    context.call(context.program, "simulate", context.folder / "traces" / name, "--cluster", context.folder / "cluster.yaml", "--compute",
                 compute, "--quiet", "--result", result)
    line = json.loads(result.read_text().splitlines()[-1])
    line["experiment"] = "gpu batch, REHEARSED ON A CPU" if context.rehearsal else "gpu batch"
    line["point"], line["repeat"] = f"{context.piece.name}/{context.step.name}/{name}", 0
    context.lines.append(line)
    return line


def require_cluster(context: Context) -> None:
    if not (context.folder / "cluster.yaml").exists():
        raise Failed("no cluster.yaml: the step `fit` did not succeed")


def judge(context: Context) -> dict:
    require_cluster(context)
    rows = []
    for name in halves(traced(context))[1]:
        measured = emulated_stages(context, name)
        stages = [rank["compute_s"] for rank in simulated(context, name, "model")["per_rank"]]
        errors = [got / wanted - 1 for got, wanted in zip(stages, measured) if wanted > 0]
        rows.append({"point": name, "slowest_stage_emulated_s": max(measured), "slowest_stage_simulated_s": max(stages),
                     "error_of_the_slowest": max(stages) / max(measured) - 1, "largest_error_of_a_stage": max(errors, key=abs)})
    if not rows:
        raise Failed("no points are left to judge with")
    return {"judged_by": [row["point"] for row in rows], "rows": rows,
            "median_absolute_error": statistics.median(abs(row["error_of_the_slowest"]) for row in rows),
            "largest_absolute_error": max(abs(row["error_of_the_slowest"]) for row in rows)}


def emulated_stages(context: Context, name: str) -> list[float]:
    run = json.loads((context.folder / "traces" / name / "run.json").read_text())
    return [rank["compute_s"] for rank in run["per_rank"]]


def headline(context: Context) -> dict:
    """Latency of 8 such devices, stages as measured, for the steps that were emulated (few): compare per step."""
    require_cluster(context)
    rows = []
    for name in traced(context, whole=True):
        line = simulated(context, name, "measured")
        rows.append({"point": name, "strategy": line["strategy"], "frames": line["frames"], "steps": line["steps"], "ranks": line["world_size"],
                     "latency_s": line["latency_s"], "bubble_ratio": line["bubble_ratio"], "status": line["status"], "reason": line["error"]})
    return {"compute": "measured", "links": known_links(context)[1], "rows": rows}


def pieces(context: Context) -> tuple[Piece, Piece]:
    """To be run before `whole`, and after it."""
    return (Piece("calibrate", "a cluster file of this device from half of the points, the others simulated with it", 300, [
                Step("fit", "measured", fit, 120, lambda: traced(context)), Step("judge", "simulated", judge, 120, lambda: traced(context))]),
            Piece("headline", "what 8 such devices would take, stages as measured", 180, [
                Step("latency", "simulated", headline, 170, lambda: traced(context, whole=True))]))
