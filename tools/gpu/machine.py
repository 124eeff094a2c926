# SPDX-License-Identifier: Apache-2.0
"""Facts about the device, as JSON on standard output. A process of its own: the batch itself must hold no CUDA context.

    python machine.py cpu|cuda:K [--rates DTYPE]    (--rates: measured products, attention-free, and copies, per second)
"""
from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from pathlib import Path

import torch

# Named variables and queries only: environments and full listings hold what is nobody's business.
VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_MODULE_LOADING", "OMP_NUM_THREADS", "PYTORCH_CUDA_ALLOC_CONF", "NVIDIA_TF32_OVERRIDE")
QUERIES = ("name", "driver_version", "memory.total", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit", "power.draw",
           "temperature.gpu", "pcie.link.gen.current", "pcie.link.width.current", "compute_mode", "mig.mode.current", "ecc.mode.current",
           "persistence_mode", "clocks_throttle_reasons.active")


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"


def smi(index: int) -> dict[str, str] | str:
    command = ["nvidia-smi", f"--id={index}", f"--query-gpu={','.join(QUERIES)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi: {error}"
    values = [value.strip() for value in done.stdout.strip().split(",")]
    return dict(zip(QUERIES, values)) if len(values) == len(QUERIES) else f"nvidia-smi: {(done.stdout + done.stderr).strip()[:300]}"


def facts(device: torch.device) -> dict:
    found = {"device": str(device), "name": processor(), "cpu": processor(), "cpu_cores": os.cpu_count(),
             "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "torch": torch.__version__,
             "torch_cuda": torch.version.cuda, "python": platform.python_version(), "system": platform.platform(),
             "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ}}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"name": properties.name, "capability": f"{properties.major}.{properties.minor}",
                  "multiprocessors": properties.multi_processor_count, "device_memory_bytes": properties.total_memory,
                  "cudnn": torch.backends.cudnn.version(), "nccl": ".".join(map(str, torch.cuda.nccl.version())), "nvidia_smi": smi(device.index or 0)}
    return found


def per_second(device: torch.device, amount: float, work, seconds: float) -> float:
    """The best of several rounds."""
    wait = (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)
    best, end = 0.0, time.perf_counter() + seconds
    work(), wait()
    while time.perf_counter() < end or not best:
        begin = time.perf_counter()
        work(), wait()
        best = max(best, amount / (time.perf_counter() - begin))
    return best


def rates(device: torch.device, dtype: str) -> dict:
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    n = 8192 if device.type == "cuda" else 1024
    a, b = torch.randn(2, n, n, device=device, dtype=kind)
    source = torch.empty((4 << 30 if device.type == "cuda" else 64 << 20) // 4, device=device)
    target = torch.empty_like(source)
    return {"flops_per_s": {dtype: per_second(device, 2.0 * n**3, lambda: a @ b, 2.0)},
            "memory_bytes_per_s": per_second(device, 2.0 * source.nbytes, lambda: target.copy_(source), 1.0)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("device", type=torch.device)
    parser.add_argument("--rates", choices=["fp32", "bf16"])
    options = parser.parse_args()
    if options.device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit(f"error: no CUDA device that PyTorch {torch.__version__} can use")
    print(json.dumps(rates(options.device, options.rates) if options.rates else facts(options.device)))


if __name__ == "__main__":
    main()
