# SPDX-License-Identifier: Apache-2.0
"""How fast is one GPU? `single` on Wan2.1-1.3B (random weights; in a rehearsal the embedded model), with and without the
kernel module where the program has one, where its time goes by kernel, and PyTorch's own transformer beside it."""
from __future__ import annotations

from pathlib import Path

import torch

import kernels
import tensors
from calls import Failed, Skipped
from context import Context, Piece, Step

STEPS = 3


def model_flags(context: Context) -> list:
    """Of the model that this batch measures, and the type that it computes in."""
    if context.rehearsal:
        return ["--model", context.embedded, "--prompt", "a red circle"]
    return [*wan(context), "--dtype", "bf16"]


def wan(context: Context) -> list:
    return ["--model", context.root / "configs/models/wan2.1-t2v-1.3b", "--random-weights"]


def prompt_embeds(context: Context) -> list:
    """Instead of a text encoder of 5.7e9 random weights."""
    if context.rehearsal:
        return []
    file = context.scratch / "prompt.safetensors"
    if not file.exists():
        drawn = torch.randn(2, 1, 512, 4096, generator=torch.Generator().manual_seed(0))
        tensors.write(file, {"prompt_embeds": drawn[0], "negative_prompt_embeds": drawn[1]})
    return ["--prompt-embeds", file]


def size(context: Context) -> list:
    return ["--frames", 17 if context.rehearsal else 81, "--steps", STEPS]


def run_single(context: Context, *more, environment: dict[str, str] | None = None) -> dict:
    return context.generate("--strategy", "single", *model_flags(context), *prompt_embeds(context), *size(context), "--no-decode", *more,
                            environment=environment)


def figures_of(line: dict) -> dict:
    return {"s_per_step": line["latency_s"] / line["steps"], "samples_s": line["samples"], "model": line["model"],
            "frames": line["frames"], "dtype": line["dtype"],
            **{name: line[name] for name in ("peak_memory_bytes", "reserved_bytes", "device_used_bytes", "process_memory_bytes")}}


def timed(*more, flag: str | None = None):
    """flag: the program must know it."""
    def run(context: Context) -> dict:
        if flag and not context.knows(flag):
            raise Skipped(f"this program has no {flag}")
        return figures_of(run_single(context, "--warmup-steps", 1, "--repeats", 3, *more))
    return run


def kernel_table(context: Context) -> dict:
    """The step of warm-up is in the table, too."""
    if not context.on_gpu:
        raise Skipped("a CPU runs no CUDA kernels")
    library = context.data / "libkernel_trace.so"
    if not library.exists():
        raise Failed(f"{library} is missing: it is built where CUPTI's headers are (./run bundle says so)")
    table = context.folder / "tables" / "kernels.csv"
    table.parent.mkdir(exist_ok=True)
    table.unlink(missing_ok=True)
    cupti = Path(torch.__file__).parents[1] / "nvidia/cu13/lib"  # the wheel's
    paths = ":".join(filter(None, [context.environment.get("LD_LIBRARY_PATH"), str(cupti)]))
    run_single(context, "--warmup-steps", 1, environment={"CUDA_INJECTION64_PATH": str(library), "LD_LIBRARY_PATH": paths,
                                                          "DUALPARAL_KERNEL_TABLE": str(table)})
    if not table.exists():
        raise Failed("the program ended without a table of kernels: see the log")
    return kernels.summary(table) | {"table": str(table.relative_to(context.folder))}


def plain(how: str):
    """Seconds for the same two predictions, in PyTorch; beside `single`'s own."""
    def run(context: Context) -> dict:
        config = (context.embedded if context.rehearsal else context.root / "configs/models/wan2.1-t2v-1.3b") / "transformer/config.json"
        sizes = ["--dtype", "bf16", "--latents", "21,60,104", "--text-tokens", 512]
        if context.rehearsal:
            sizes = ["--dtype", "fp32", "--latents", "5,8,12", "--text-tokens", 32]
            sizes += ["--layers", 1] if how == "compiled" else []  # compiling takes minutes on CPUs
        found = context.script("plain_transformer.py", how, config, "--device", context.device, *sizes,
                               environment={"TORCHINDUCTOR_CACHE_DIR": str(context.scratch / "inductor")})
        if "missing" in found:
            raise Skipped(found["missing"])
        return found
    return run


def piece(context: Context) -> Piece:
    return Piece("single", "how fast is one device? `single`, its kernels, PyTorch's transformer beside it", 540, [
        Step("as-it-is", "measured", timed(), 120),
        Step("kernels-aten", "measured", timed("--kernels", "aten", flag="--kernels"), 120),
        Step("plain-pytorch", "measured", plain("plain"), 90),
        Step("diffusers", "measured", plain("diffusers"), 90),
        Step("kernel-table", "measured", kernel_table, 90),
        Step("halves-in-turn", "measured", timed("--guidance-micro-batches", "2"), 120),
        Step("plain-pytorch-compiled", "measured", plain("compiled"), 180),
    ])
