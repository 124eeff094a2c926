# SPDX-License-Identifier: Apache-2.0
"""What a change of structure must not change: latents and traces of every strategy, kept and compared.

    python tools/fingerprints.py keep PROGRAM FOLDER       # runs everything, keeps hashes and traces in FOLDER; exit code 1 if
                                                           # something failed
    python tools/fingerprints.py compare PROGRAM FOLDER    # runs it again; exit code 1 and the names of what differs, failed, or
                                                           # is there only before or after

PROGRAM is build/dualparal. Latents: the embedded model, every strategy on 1 to 4 ranks, both samplers, fp32 and bf16,
DualParal with cache and noise sharing on and off. Traces: every strategy on 8 ranks of Wan2.1-1.3B, without the clock's
times. Latents are compared bit by bit on the same machine; other processors may round differently.
"""
from __future__ import annotations

import argparse
import concurrent.futures
import hashlib
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "a red circle bounces over a dark blue background"
SHARED = ["ring", "ulysses", "usp", "video_infinity", "fifo", "naive_pipeline", "context_windows", "pipefusion"]


# Of a trace's header: what the machine said, not the strategy.
MACHINE = ("begin_s", "end_s", "process_memory_bytes", "device_used_bytes", "device_allocations", "clock_offset_s", "clock_error_s")


def latents_cases():
    """Name and flags of every run that gives latents."""
    for dtype, sampler in itertools.product(["fp32", "bf16"], ["unipc", "euler"]):
        common = ["--dtype", dtype, "--sampler", sampler]
        yield f"single {dtype} {sampler}", ["--strategy", "single", *common]
        for strategy, ranks in itertools.product(SHARED, [1, 2, 3, 4]):
            yield f"{strategy} {ranks} {dtype} {sampler}", ["--strategy", strategy, "--nproc", str(ranks), *common]
        for cache, noise, ranks in itertools.product(["on", "off"], ["on", "off"], [1, 2, 3, 4]):
            yield (f"dualparal cache={cache} noise={noise} {ranks} {dtype} {sampler}",
                   ["--strategy", "dualparal", "--feature-cache", cache, "--noise-sharing", noise,
                    "--block-frames", "3", "--context-frames", "2", "--nproc", str(ranks), *common])
    for previous, micro, ranks in itertools.product(["synchronous", "matched", "matched_kv"], ["1", "2"], [1, 3]):
        yield (f"dualparal {previous} micro={micro} {ranks}",
               ["--strategy", "dualparal", "--previous-context", previous, "--guidance-micro-batches", micro,
                "--block-frames", "3", "--context-frames", "2", "--nproc", str(ranks)])
    for strategy, ranks in itertools.product(["ring", "ulysses", "usp"], [2, 4]):
        yield (f"{strategy} guidance-parallel {ranks}",
               ["--strategy", strategy, "--guidance-parallel", "on", "--nproc", str(ranks)])
    for flags in (["--guidance-scale", "1"], ["--lookahead", "off"], ["--window-frames", "6"]):
        yield f"fifo {' '.join(flags)}", ["--strategy", "fifo", "--nproc", "2", *flags]
    yield "video_infinity biased", ["--strategy", "video_infinity", "--nproc", "3", "--phase-bias", "2",
                                    "--context-frames", "2", "--global-frames", "3"]
    yield "context_windows options", ["--strategy", "context_windows", "--nproc", "3", "--window-frames", "4",
                                      "--overlap-frames", "1", "--window-weights", "linear", "--free-noise", "on",
                                      "--first-frame-fix", "off"]
    yield "pipefusion options", ["--strategy", "pipefusion", "--nproc", "3", "--patches", "3",
                                 "--synchronous-steps", "2", "--guidance-micro-batches", "2"]
    yield "naive_pipeline micro=2", ["--strategy", "naive_pipeline", "--nproc", "3", "--guidance-micro-batches", "2"]


def trace_cases():
    """Name and flags of every traced run."""
    for strategy in SHARED:
        yield f"trace {strategy}", ["--strategy", strategy, "--world-size", "8"]
    yield "trace single", ["--strategy", "single"]
    for previous, cache in (("synchronous", "on"), ("synchronous", "off"), ("matched", "on"), ("matched_kv", "on")):
        yield (f"trace dualparal {previous} cache={cache}",
               ["--strategy", "dualparal", "--previous-context", previous, "--feature-cache", cache,
                "--world-size", "8"])
    yield "trace dualparal micro=2", ["--strategy", "dualparal", "--guidance-micro-batches", "2", "--world-size", "8"]
    yield "trace ring guidance-parallel", ["--strategy", "ring", "--guidance-parallel", "on", "--world-size", "8"]


def run(program: Path, arguments: list[str]) -> None:
    done = subprocess.run([program, "generate", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(f"{' '.join(arguments)}: {said[-1]}")


def latents_hash(program: Path, flags: list[str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "latents.safetensors"
        run(program, [*flags, "--prompt", PROMPT, "--frames", "45", "--steps", "3", "--threads", "1", "--no-decode",
                      "--no-quality", "--quiet", "--save-latents", str(file)])
        return hashlib.sha256(file.read_bytes()).hexdigest()


def timeless(file: Path) -> str:
    """A rank's trace without what the clock said: a header, then an event a line."""
    lines = file.read_text(encoding="utf-8").splitlines()
    header = {k: v for k, v in json.loads(lines[0]).items() if k not in MACHINE}
    events = [json.loads(line) for line in lines[1:]]
    return "\n".join([json.dumps(header, sort_keys=True), *(json.dumps(e[:6] + e[8:]) for e in events)]) + "\n"


def trace_hash(program: Path, flags: list[str], kept: Path) -> str:
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        run(program, [*flags, "--mode", "trace", "--model", str(ROOT / "configs/models/wan2.1-t2v-1.3b"),
                      "--device", "cuda", "--dtype", "bf16", "--prompt", "any", "--frames", "161", "--steps", "4",
                      "--quiet", "--traces", folder])
        everything = hashlib.sha256()
        files = sorted(Path(folder).glob("rank_*.jsonl"))
        if not files:
            raise RuntimeError(f"{' '.join(flags)}: no traces")
        for file in files:
            text = timeless(file)
            (kept / file.name).write_text(text, encoding="utf-8")
            everything.update(text.encode())
    return everything.hexdigest()


def failed(value: str) -> bool:
    return value.startswith("failed")


def differences(kept: dict[str, str], found: dict[str, str]) -> list[str]:
    """What is not known to be equal, in words: a case that failed says nothing, even if it failed in the same way before."""
    told = []
    for name in dict.fromkeys([*kept, *found]):
        if name not in found:
            told.append(f"{name}: kept, but no case now")
        elif failed(found[name]):
            told.append(f"{name}: {found[name]}")
        elif name not in kept:
            told.append(f"{name}: not among what was kept")
        elif kept[name] != found[name]:
            told.append(name + (" (it failed when it was kept)" if failed(kept[name]) else ""))
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["keep", "compare"])
    parser.add_argument("program", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time")
    parser.add_argument("--only", default="", help="cases whose name has this text")
    options = parser.parse_args()
    file = options.folder / "fingerprints.json"
    program = options.program.resolve()
    traces = options.folder / ("traces" if options.what == "keep" else "traces_now")
    cases = {name: (lambda flags=flags: latents_hash(program, flags)) for name, flags in latents_cases()}
    cases |= {name: (lambda flags=flags, name=name: trace_hash(program, flags, traces / name))
              for name, flags in trace_cases()}
    cases = {name: case for name, case in cases.items() if options.only in name}
    kept = {}
    if options.what == "compare":
        kept = {name: value for name, value in json.loads(file.read_text(encoding="utf-8")).items() if options.only in name}
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = {name: pool.submit(case) for name, case in cases.items()}
        found = {}
        for number, (name, future) in enumerate(futures.items(), 1):
            try:
                found[name] = future.result()
            except (RuntimeError, OSError) as error:
                found[name] = f"failed: {error}"
            print(f"\r\033[K{number}/{len(futures)} {name}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    if options.what == "keep":
        options.folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        without = [name for name, value in found.items() if failed(value)]
        print(f"{len(found)} kept in {file}, {len(without)} of them failed: {without}")
        return 1 if without else 0
    told = differences(kept, found)
    for text in told:
        print(f"differs: {text}")
    print(f"{len(kept.keys() | found.keys()) - len(told)} equal, {len(told)} differ")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
