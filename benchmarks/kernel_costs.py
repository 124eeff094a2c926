# SPDX-License-Identifier: Apache-2.0
"""What one layer of Wan2.1-1.3B costs, kernel by kernel, and how long each kernel takes at least on a GPU: the larger of
FLOPs / peak rate and bytes / bandwidth. Both halves of guidance as a batch, bf16.

    python benchmarks/kernel_costs.py [--check build/dualparal]

--check traces the same layer with the program: FLOPs and moved bytes must be those of the table.
"""
import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODEL = ROOT / "configs/models/wan2.1-t2v-1.3b"
# Peak rate (bf16, dense, fp32 accumulation) and bandwidth: as configs/clusters/ says, H200: NVIDIA's data sheet.
DEVICES = {"RTX 4090": (165.2e12, 1008e9), "H100": (989.4e12, 3.35e12), "H200": (989.4e12, 4.8e12)}
DIM, HEADS, HEAD_DIM, FFN, TEXT, LAYERS = 1536, 12, 128, 8960, 512, 30
BATCH, BYTES, FRAME = 2, 2, 30 * 52  # guidance; a bf16 number; tokens of a latent frame at 480x832


@dataclasses.dataclass
class Kernel:
    name: str
    flops: float = 0
    read: float = 0
    written: float = 0
    calls: int = 1
    counted: bool = True  # moved bytes in a trace; products and attention count as FLOPs

    @property
    def bytes(self) -> float:
        return self.read + self.written

    def seconds(self, device: tuple) -> float:
        return max(self.flops / device[0], self.bytes / device[1])


def product(name: str, tokens: int, inside: int, outside: int) -> Kernel:
    return Kernel(name, 2 * tokens * inside * outside, BYTES * (tokens * inside + inside * outside + outside),
                  BYTES * tokens * outside, counted=False)


def attention(name: str, queries: int, keys: int) -> Kernel:
    return Kernel(name, 4 * BATCH * queries * keys * DIM, BATCH * BYTES * DIM * (queries + 2 * keys),
                  BATCH * BYTES * DIM * queries, counted=False)


def layer(window: int, behind: int) -> list:
    """Of `window` latent frames that also see `behind` frames' kept keys and values, and keep as many."""
    positions = window * FRAME
    tokens = BATCH * positions
    row, table = BYTES * DIM, 2 * HEAD_DIM // 2 * 4
    kept = BATCH * behind * FRAME
    norm = Kernel("modulated_norm", 9 * 3 * tokens * DIM, 3 * (tokens * row + 2 * 4 * DIM), 3 * tokens * row, calls=3)
    place = Kernel("norm_rotary: q, k", (4 + 3) * 2 * tokens * DIM, 2 * (tokens * row + row + positions * table),
                   2 * tokens * row, calls=2)
    if behind:
        place.read += kept * row + row + behind * FRAME * table
        place.written += kept * row
        place.calls += 1
    kernels = [
        norm,
        product("product: q, k, v", tokens, DIM, 3 * DIM),
        place,
        attention("self-attention", positions, positions + behind * FRAME),
        product("product: out", tokens, DIM, DIM),
        Kernel("add_gated", 2 * 2 * tokens * DIM, 2 * (2 * tokens * row + 4 * DIM), 2 * tokens * row, calls=2),
        product("product: cross q", tokens, DIM, DIM),
        Kernel("norm_rotary: cross q (norm alone)", 4 * tokens * DIM, tokens * row + row, tokens * row),
        attention("cross-attention", positions, TEXT),
        product("product: cross out", tokens, DIM, DIM),
        Kernel("residual (ATen)", tokens * DIM, 2 * tokens * row, tokens * row),
        product("product: up, with GELU", tokens, DIM, FFN),
        product("product: down", tokens, FFN, DIM),
    ]
    if behind:
        copied = 2 * kept + tokens + kept  # keys and values kept for the next; all values into one tensor
        kernels.append(Kernel("copies: kept keys and values (ATen)", 0, copied * row, copied * row, calls=4))
    return kernels


def table(kernels: list) -> str:
    lines = ["| kernel | launches | GFLOP | MB | " + " | ".join(f"{name}, ms" for name in DEVICES) + " |",
             "|---|" + "---:|" * (3 + len(DEVICES))]

    def line(name, calls, flops, size, seconds):
        times = " | ".join(f"{1e3 * s:.3f}" for s in seconds)
        lines.append(f"| {name} | {calls} | {flops / 1e9:.1f} | {size / 1e6:.0f} | {times} |")

    for k in kernels:
        line(k.name, k.calls, k.flops, k.bytes, [k.seconds(d) for d in DEVICES.values()])
    for name, those in (("**all**", kernels), ("of these, bound by memory", [k for k in kernels if k.counted])):
        line(name, sum(k.calls for k in those), sum(k.flops for k in those), sum(k.bytes for k in those),
             [sum(k.seconds(d) for k in those) for d in DEVICES.values()])
    return "\n".join(lines)


def traced(program: pathlib.Path, kernels: str, *flags) -> tuple:
    """Numbers of one layer in a trace, as the difference of two lengths of denoising: (FLOPs, moved bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, "generate", "--mode", "trace", "--model", MODEL, "--device", "cuda", "--dtype", "bf16",
                        "--prompt", "none", "--quiet", "--steps", "1", "--kernels", kernels, "--traces", folder,
                        *map(str, flags)], check=True)
        lines = (pathlib.Path(folder) / "rank_00000.jsonl").read_text().splitlines()[1:]
    events = [e for e in map(json.loads, lines) if e[0] == 0]
    return sum(e[9] + e[10] for e in events), sum(e[12] for e in events)


def check(program: pathlib.Path, kernels: list, frames: int) -> bool:
    flops, moved = traced(program, "own", "--strategy", "single", "--frames", frames)
    expected = LAYERS * sum(k.flops for k in kernels if not k.counted)
    expected_bytes = LAYERS * sum(k.bytes for k in kernels if k.counted)
    aten = traced(program, "aten", "--strategy", "single", "--frames", frames)[1]
    elements = BATCH * (frames + 3) // 4 * FRAME * DIM * LAYERS
    print(f"\ntraced: {flops / expected:.3f} of the table's FLOPs, {moved / expected_bytes:.3f} of its moved bytes (embedding, "
          f"head and sampler are in the trace alone); {moved / elements:.1f} bytes a number and layer, by ATen's "
          f"operations {aten / elements:.1f}")
    return 1 <= flops / expected < 1.02 and 1 <= moved / expected_bytes < 1.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=pathlib.Path, metavar="PROGRAM")
    args = parser.parse_args()
    whole, block = layer(21, 0), layer(12, 4)
    print(f"One layer at 81 frames (21 latent frames, {21 * FRAME:,} tokens, batch of 2):\n\n{table(whole)}\n")
    print(f"One layer at a block of `dualparal` (8 latent frames and 4 before them, {12 * FRAME:,} tokens, batch of 2; kept "
          f"keys and values of 4 frames behind):\n\n{table(block)}")
    return 0 if not args.check or check(args.check, whole, 81) else 1


if __name__ == "__main__":
    sys.exit(main())
