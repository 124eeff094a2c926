# SPDX-License-Identifier: Apache-2.0
"""report.md of a batch, from its lines alone. A rehearsal says in every part that it is none of a GPU."""
from __future__ import annotations

from pathlib import Path

from record import Record, write_whole

GIB = 2**30
REHEARSAL = ("> **REHEARSAL ON A CPU.** The embedded model, small sizes, {name}: no figure here is a GPU's or Wan's. "
             "It shows that the pieces run, nothing else.\n")


def number(value, digits: int = 3) -> str:
    return "" if value is None else f"{value:,.{digits}g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"


def gib(value) -> str:
    return "" if value is None else f"{value / GIB:.3f}"


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |\n" for line in lines)


def of(lines: dict[str, dict], piece: str) -> list[dict]:
    return [line for line in lines.values() if line["piece"] == piece]


def ok(lines: list[dict]) -> list[dict]:
    return [line for line in lines if line["status"] == "ok"]


def probe(lines: dict) -> str:
    rows = [[line["step"], line["status"], number(line["figures"].get("error")), number(line["figures"].get("limit"))]
            for line in of(lines, "probe") if "error" in line["figures"]]
    text = table(["check", "", "error", "limit"], rows) if rows else ""
    for line in of(lines, "probe"):
        if "passed" in line["figures"]:
            text += f"\nUnit tests: {line['figures']['passed']} of {line['figures']['of']} passed (suites: {line['figures']['suites']}).\n"
    return text


def single(lines: dict) -> str:
    found = [line for line in ok(of(lines, "single")) if "s_per_step" in line["figures"]]
    own = next((line["figures"] for line in found if line["step"] == "as-it-is"), None)

    def row(line: dict) -> list[str]:
        f = line["figures"]
        part = f.get("layers") == 1  # a rehearsal's: no ratio to a whole model
        return [line["step"], number(f["s_per_step"], 4), "of one layer" if part else number(f["s_per_step"] / own["s_per_step"]) if own else "",
                gib(f.get("peak_memory_bytes"))]

    text = f"{own['model']}, {own['frames']} frames, {own['dtype']}, seconds of a guided step.\n\n" if own else ""
    text += table(["", "s", "by `as-it-is`", "peak memory GiB"], [row(line) for line in found]) if found else ""
    for line in ok(of(lines, "single")):
        if "share_by_kind" in line["figures"]:
            text += "\nTime by kind of kernel: " + ", ".join(f"{kind} {share:.1%}" for kind, share in line["figures"]["share_by_kind"].items()) + ".\n"
    return text


def emulated(lines: dict) -> str:
    found = [line for piece in ("emulated", "middle", "long", "whole") for line in ok(of(lines, piece))]
    rows = [[f["strategy"], " ".join(map(str, f["flags"])), f["ranks"], f["frames"], f["steps"], gib(f["peak_memory_bytes"]), gib(f["reserved_bytes"]),
             gib(f["device_used_bytes"]), number(f["slowest_stage_s"]), number(sum(f["stage_s"]))]
            for f in (line["figures"] for line in sorted(found, key=lambda line: (line["figures"]["frames"], line["step"])))]
    return table(["strategy", "options", "ranks", "frames", "steps", "allocated GiB", "reserved GiB", "device's count GiB", "slowest stage s",
                  "all stages s"], rows) if rows else ""


def calibrate(lines: dict) -> str:
    text = ""
    for line in ok([*of(lines, "calibrate"), *of(lines, "headline")]):
        f = line["figures"]
        if "fitted_to" in f:
            text += f"`cluster.yaml` is fitted to {len(f['fitted_to'])} points; links: {f['links']}.\n\n"
        elif "judged_by" in f:
            text += (f"Stage times of {len(f['judged_by'])} other points, simulated: median error {f['median_absolute_error']:.1%}, largest "
                     f"{f['largest_absolute_error']:.1%}.\n\n")
            text += table(["point", "slowest stage emulated s", "simulated s", "error"], [
                [r["point"], number(r["slowest_stage_emulated_s"]), number(r["slowest_stage_simulated_s"]), f"{r['error_of_the_slowest']:+.1%}"]
                for r in f["rows"]]) + "\n"
        elif "rows" in f:
            text += "Simulated latency with the stage times that were emulated, for the few steps of each point:\n\n"
            text += table(["point", "ranks", "frames", "steps", "latency s", "idle"], [
                [r["point"], r["ranks"], r["frames"], r["steps"], number(r["latency_s"]) or r["reason"], f"{r['bubble_ratio']:.1%}" if r["bubble_ratio"] is not None else ""]
                for r in f["rows"]])
    return text


def spin(lines: dict) -> str:
    text = ""
    for line in ok(of(lines, "spin")):
        f = line["figures"]
        if f["stands_for_blocks"]:
            text += f"In place of blocks: {f['stands_for_blocks']}.\n\n"
        text += table(["work", "blocks", "carve-out", "ms", "slow-down", "blocks there to the end"], [
            [r["work"], r["blocks"], r["carve_out"], number(1e3 * r["s"]), f"{r['slowdown']:.2f}", "yes" if r["blocks_were_there_to_the_end"] else "NO"]
            for r in f["rows"]])
        text += "\n" + table(["call beside a block", "s", "waits for it"], [
            [name, number(call["s"]), "YES" if call["waits_for_the_blocks"] else "no"] for name, call in f["calls_beside_a_block"].items()])
    return text


def parts(lines: dict) -> str:
    rows = []
    for line in ok(of(lines, "parts")):
        f = line["figures"]
        rows.append([line["step"], number(f.get("decode_s", f.get("text_encode_s"))), number(f.get("frames_per_s")),
                     gib(f.get("decode_peak_memory_bytes", f.get("text_peak_memory_bytes")))])
    return table(["", "s", "frames/s", "peak memory GiB"], rows) if rows else ""


def sanitizer(lines: dict) -> str:
    return "".join(f"{line['step']}: {line['figures']['errors']} errors.\n\n" for line in ok(of(lines, "sanitizer")))


PARTS = [("Is it right?", probe), ("One device", single), ("Ranks, emulated one after the other", emulated), ("The simulator against this device", calibrate),
         ("Beside blocks that spin", spin), ("Beside denoising", parts), ("compute-sanitizer", sanitizer)]


def text_of(batch: dict, lines: dict[str, dict]) -> str:
    mark = REHEARSAL.format(name=batch["device_name"]) if batch["rehearsal"] else ""
    facts = batch["facts"]
    commit = next((own["provenance"]["code"] for line in lines.values() for own in line["lines"]), {})
    text = f"# {'REHEARSAL on a CPU' if batch['rehearsal'] else 'One GPU'}: {batch['device_name']}\n\n{mark}\n"
    text += (f"Device {facts['device']}, PyTorch {facts['torch']} (CUDA {facts['torch_cuda']}), program {batch['program_sha256']}, commit "
             f"{(commit.get('commit') or 'not known')[:12]}{' with changes' if commit.get('dirty') else ''}, begun {batch['begun']}. "
             "How to read this: docs/run-gpu.md. Every line with its log: steps.jsonl, logs/.\n")
    for title, part in PARTS:
        if found := part(lines):
            text += f"\n## {title}{' (rehearsal on a CPU)' if batch['rehearsal'] else ''}\n\n{found}"
    others = [line for line in lines.values() if line["status"] != "ok"]
    if others:
        text += "\n## Failed and skipped\n\n" + table(["step", "", "reason"], [[f"{x['piece']}/{x['step']}", x["status"], x["reason"]] for x in others])
    return text


def write(folder: Path, record: Record) -> None:
    write_whole(folder / "report.md", text_of(record.batch, record.latest()))
