# SPDX-License-Identifier: Apache-2.0
"""A stage's work beside blocks that spin, as receives of NCCL do that were posted ahead: how much slower, does it help to
keep multiprocessors free for them, and do allocations or the first use of a kernel wait for them?

    python spin_test.py LIBRARY|busy --device cuda:0 --blocks 0,1,2,4 --carve-out 0,4

On a CPU (`busy`), processes that count stand for the blocks: the same code is run, nothing is learnt about GPUs. JSON.
"""
from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import statistics
import threading
import time

import torch
from torch.nn import functional as F

THREADS = 640   # of a block, as NCCL's have
MOST_S = 20.0   # then blocks end by themselves
STUCK_S = 2.0   # a call that takes longer waits for the blocks, which are then told to stop
ROUNDS = 15


class Blocks:
    """On a GPU."""

    def __init__(self, library: str, device: torch.device):
        self.library = ctypes.CDLL(library)
        self.library.spin_start.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_double]
        self.library.spin_error.restype = ctypes.c_char_p
        self.check(self.library.spin_prepare(device.index or 0))

    def check(self, error: int) -> None:
        if error:
            raise SystemExit(f"error: spinning blocks: {self.library.spin_error(error).decode()}")

    def start(self, count: int) -> None:
        self.count = count
        self.check(self.library.spin_start(count, THREADS, MOST_S))

    def still_there(self) -> bool:
        return not self.count or bool(self.library.spin_is_running())

    def tell_to_stop(self) -> None:
        self.library.spin_tell_to_stop()

    def stop(self) -> None:
        self.check(self.library.spin_stop())


def count_up() -> None:
    while True:
        pass


class BusyProcesses:
    """On a CPU, in a rehearsal."""

    def start(self, count: int) -> None:
        self.processes = [multiprocessing.get_context("spawn").Process(target=count_up, daemon=True) for _ in range(count)]
        for process in self.processes:
            process.start()

    def still_there(self) -> bool:
        return all(process.is_alive() for process in self.processes)

    def tell_to_stop(self) -> None:
        self.stop()

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()


def stage_work(device: torch.device):
    """What a layer of a stage does most: products and attention, at the sizes of a block of DualParal on Wan2.1-1.3B."""
    on_gpu = device.type == "cuda"
    tokens, heads, head_dim, hidden = (18720, 12, 128, 8960) if on_gpu else (256, 6, 32, 768)
    place = {"device": device, "dtype": torch.bfloat16 if on_gpu else torch.float32}
    x, w1, w2 = (torch.randn(*s, **place) for s in ((tokens, heads * head_dim), (heads * head_dim, hidden), (hidden, heads * head_dim)))
    q = torch.randn(1, heads, tokens, head_dim, **place)
    return {"matmul": lambda: (x @ w1) @ w2, "attention": lambda: F.scaled_dot_product_attention(q, q, q),
            "elementwise": lambda: F.gelu(x) * 1.5 + x}


def seconds(work, device: torch.device) -> float:
    """Of the stream that computes alone: the whole device would wait for the blocks."""
    stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
    samples = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        work()
        if stream:
            stream.synchronize()
        samples.append(time.perf_counter() - begin)
    return statistics.median(samples)


def waits(what, spinner) -> dict:
    """How long a call takes beside the blocks, and whether it took until they were told to stop."""
    told = threading.Event()

    def tell() -> None:
        told.set()
        spinner.tell_to_stop()

    timer = threading.Timer(STUCK_S, tell)
    timer.start()
    begin = time.perf_counter()
    what()
    taken = time.perf_counter() - begin
    timer.cancel()
    return {"s": taken, "waits_for_the_blocks": told.is_set()}


def calls_beside(device: torch.device) -> dict:
    """Calls whose waiting for a spinning receive would stop a rank. Shapes are new to the process: nothing is cached."""
    if device.type == "cpu":
        return {"allocate": lambda: torch.empty(64 << 20)}
    held = [torch.empty(300 << 20, dtype=torch.uint8, device=device)]
    return {"allocate": lambda: torch.empty(700 << 20, dtype=torch.uint8, device=device),
            "free": lambda: (held.clear(), torch.cuda.empty_cache()),
            "first_use_of_a_kernel": lambda: torch.special.bessel_j0(torch.ones(7, device=device)),
            "first_product_of_a_shape": lambda: torch.ones(37, 41, device=device, dtype=torch.float16) @ torch.ones(41, 43, device=device, dtype=torch.float16)}


def set_carve_out(device: torch.device, count: int) -> bool:
    """Multiprocessors that cuBLAS's persistent kernels leave free; whether this PyTorch can."""
    set_it = getattr(torch._C, "_set_sm_carveout_experimental", None)
    if device.type == "cpu" or set_it is None:
        return False
    set_it(count or None)
    return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("--device", type=torch.device, required=True)
    parser.add_argument("--blocks", default="0,1,2,4")
    parser.add_argument("--carve-out", default="0")
    o = parser.parse_args()
    spinner = BusyProcesses() if o.library == "busy" else Blocks(o.library, o.device)
    work, rows = stage_work(o.device), []
    for part in work.values():  # first uses
        seconds(part, o.device)
    for carve_out in map(int, o.carve_out.split(",")):
        if carve_out and not set_carve_out(o.device, carve_out):
            continue
        alone: dict[str, float] = {}
        for blocks in map(int, o.blocks.split(",")):
            for name, part in work.items():
                spinner.start(blocks)
                taken = seconds(part, o.device)
                beside = spinner.still_there()
                spinner.stop()
                alone.setdefault(name, taken)
                rows.append({"work": name, "blocks": blocks, "carve_out": carve_out, "s": taken, "slowdown": taken / alone[name],
                             "blocks_were_there_to_the_end": beside})
    set_carve_out(o.device, 0)
    calls = {}
    for name, what in calls_beside(o.device).items():
        spinner.start(1)
        calls[name] = waits(what, spinner)
        spinner.stop()
    print(json.dumps({"threads_of_a_block": THREADS, "stands_for_blocks": "busy processes on a CPU" if o.library == "busy" else None,
                      "rows": rows, "calls_beside_a_block": calls}))


if __name__ == "__main__":
    main()
