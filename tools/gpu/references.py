# SPDX-License-Identifier: Apache-2.0
"""Results of model parts and strategies on a CPU in fp32, to hold other devices to. The parts of the embedded model are
held to diffusers and transformers by tests/parity; `wide` is one layer of Wan2.1-1.3B's width with random weights, written
anew on every machine from its seed.

    python references.py PROGRAM PROBE FOLDER     makes them: index.json and safetensors files, a few MB
"""
from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import tensors

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ROOT / "models/moving-shapes"
WIDE = {"num_layers": 1}  # what differs from Wan2.1-1.3B
STEPS, FRAMES = 4, 33  # of the strategies: 9 latent frames

# name: strategy, its flags, ranks
STRATEGIES = {
    "single": ("single", [], [1]),
    "ring": ("ring", [], [1, 2]),
    "ring-guidance": ("ring", ["--guidance-parallel", "on"], [2]),
    "ulysses": ("ulysses", [], [1, 2]),
    "usp": ("usp", [], [1, 2]),
    "naive_pipeline": ("naive_pipeline", ["--guidance-micro-batches", "2"], [1, 2]),
    "video_infinity": ("video_infinity", ["--context-frames", "2", "--global-frames", "4"], [1, 2]),
    "context_windows": ("context_windows", ["--window-frames", "5", "--overlap-frames", "2"], [1]),
    "fifo": ("fifo", ["--window-frames", "4"], [1, 2]),
    "pipefusion": ("pipefusion", ["--patches", "3"], [1, 2]),
    "dualparal": ("dualparal", ["--block-frames", "3", "--context-frames", "1"], [1, 2]),
    "dualparal-matched": ("dualparal", ["--block-frames", "3", "--context-frames", "1", "--previous-context", "matched"], [2]),
    "dualparal-matched_kv": ("dualparal", ["--block-frames", "3", "--context-frames", "1", "--previous-context", "matched_kv"], [2]),
}
EXACT = {"single", "ring", "ulysses", "usp", "naive_pipeline"}


def strategy_flags(reference: dict) -> list:
    return ["--model", EMBEDDED, "--strategy", reference["strategy"], *reference["flags"], "--nproc", reference["ranks"],
            "--frames", FRAMES, "--steps", STEPS, "--seed", 3, "--prompt", "a red circle bounces over a dark blue background",
            "--warmup-steps", 0, "--no-quality"]


def numbers(seed: int, *shape: int) -> torch.Tensor:
    """Of mean 0 and deviation 1, uniform: made of whole numbers, so that every processor draws the same."""
    drawn = torch.randint(-2**20, 2**20 + 1, shape, generator=torch.Generator().manual_seed(seed))
    return (drawn.double() / 2**20 * math.sqrt(3)).float()


def write_wide(folder: Path) -> Path:
    """A transformer of one layer at Wan2.1-1.3B's width."""
    config = json.loads((ROOT / "configs/models/wan2.1-t2v-1.3b/transformer/config.json").read_text()) | WIDE
    d, text, freq, ffn = config["num_attention_heads"] * config["attention_head_dim"], config["text_dim"], config["freq_dim"], config["ffn_dim"]
    patch = [config["in_channels"], *config["patch_size"]]
    linear = {"condition_embedder.text_embedder.linear_1": (d, text), "condition_embedder.text_embedder.linear_2": (d, d),
              "condition_embedder.time_embedder.linear_1": (d, freq), "condition_embedder.time_embedder.linear_2": (d, d),
              "condition_embedder.time_proj": (6 * d, d), "patch_embedding": (d, *patch),
              "proj_out": (config["out_channels"] * math.prod(config["patch_size"]), d),
              "blocks.0.ffn.net.0.proj": (ffn, d), "blocks.0.ffn.net.2": (d, ffn)}
    for attention in ("attn1", "attn2"):
        linear |= {f"blocks.0.{attention}.{name}": (d, d) for name in ("to_q", "to_k", "to_v", "to_out.0")}
    weights = {"scale_shift_table": 0.5 * numbers(1, 1, 2, d), "blocks.0.scale_shift_table": 0.5 * numbers(2, 1, 6, d),
               "blocks.0.norm2.weight": 1 + 0.2 * numbers(3, d), "blocks.0.norm2.bias": 0.1 * numbers(4, d)}
    for seed, name in enumerate(["attn1.norm_q", "attn1.norm_k", "attn2.norm_q", "attn2.norm_k"], 5):
        weights[f"blocks.0.{name}.weight"] = 1 + 0.2 * numbers(seed, d)
    for seed, (name, shape) in enumerate(linear.items(), 20):
        weights[f"{name}.weight"] = numbers(seed, *shape) / math.sqrt(math.prod(shape[1:]))
        weights[f"{name}.bias"] = 0.1 * numbers(100 + seed, shape[0])
    transformer = folder / "wide/transformer"
    transformer.mkdir(parents=True, exist_ok=True)
    (transformer / "config.json").write_text(json.dumps(config))
    tensors.write(transformer / "diffusion_pytorch_model.safetensors", {name: w.bfloat16() for name, w in weights.items()})
    return folder / "wide"


def parts() -> dict[str, tuple]:
    """name: part, model, inputs, metadata. Sizes that are no multiple of anything."""
    prompts = {"prompts": json.dumps(["a red circle moves to the left", "", "two words " * 30])}
    one = torch.tensor([640.0])
    return {
        "transformer": ("transformer", "moving-shapes", {"hidden_states": numbers(1, 2, 16, 3, 10, 6), "timestep": one,
                                                         "encoder_hidden_states": numbers(2, 2, 7, 64)}, None),
        "transformer-timesteps": ("transformer", "moving-shapes", {
            "hidden_states": numbers(3, 2, 16, 5, 4, 6), "timestep": torch.tensor([3.0, 250.0, 251.0, 700.0, 999.0]),
            "encoder_hidden_states": numbers(4, 2, 5, 64)}, None),
        "transformer-wide": ("transformer", "wide", {"hidden_states": numbers(5, 2, 16, 3, 22, 26), "timestep": one,
                                                     "encoder_hidden_states": numbers(6, 2, 37, 4096)}, None),
        "vae-decode": ("vae_decode", "moving-shapes", {"latents": numbers(7, 1, 16, 3, 7, 5)}, None),
        "vae-encode": ("vae_encode", "moving-shapes", {"video": numbers(8, 1, 3, 9, 40, 24) / math.sqrt(3)}, None),
        "text": ("text", "moving-shapes", {"none": torch.zeros(1)}, prompts),
    }


def floating(found: dict[str, torch.Tensor]) -> list[str]:
    return [name for name, tensor in found.items() if tensor.is_floating_point()]


def noise(got: dict, expected: dict) -> float:
    return max(tensors.relative_norm(got[name], expected[name]) for name in floating(expected))


def run_part(context, reference: dict, dtype: str) -> dict[str, torch.Tensor]:
    model = EMBEDDED
    if reference["model"] == "wide":
        model = context.scratch / "wide"
        if not model.exists():
            write_wide(context.scratch)
    inputs = context.data / "references" / f"{reference['name']}.inputs.safetensors"
    outputs = context.scratch / "outputs.safetensors"
    context.call(context.probe, reference["part"], model, inputs, outputs, "--dtype", dtype, "--device", context.device)
    return tensors.read(outputs)


class OnCpu:
    """What run_part() asks of a context, while the references are made."""

    device = "cpu"

    def __init__(self, probe: Path, folder: Path, scratch: Path):
        self.probe, self.data, self.scratch = probe, folder.parent, scratch

    def call(self, *arguments) -> None:
        done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"error: {' '.join(map(str, arguments))}: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")


def make_parts(cpu: OnCpu, folder: Path) -> list[dict]:
    made = []
    for name, (part, model, inputs, metadata) in parts().items():
        reference = {"name": name, "part": part, "model": model}
        tensors.write(folder / f"{name}.inputs.safetensors", inputs, metadata)
        exact = run_part(cpu, reference, "fp32")
        tensors.write(folder / f"{name}.outputs.safetensors", exact)
        made.append(reference | {"bf16_noise": noise(run_part(cpu, reference, "bf16"), exact)})
    return made


def make_strategies(cpu: OnCpu, program: Path, folder: Path) -> list[dict]:
    def latents(reference: dict, dtype: str, file: Path, *more) -> torch.Tensor:
        cpu.call(program, "generate", "--quiet", "--threads", 1, *strategy_flags(reference), "--no-decode", "--dtype", dtype,
                 "--save-latents", file, *more)
        return tensors.read(file)["latents"]

    made = []
    for name, (strategy, flags, all_ranks) in STRATEGIES.items():
        for ranks in all_ranks:
            reference = {"name": f"{name}-{ranks}", "strategy": strategy, "flags": flags, "ranks": ranks, "exact": strategy in EXACT,
                         "noise": name, "bf16_noise": None}
            noise_file = folder / f"{name}.noise.safetensors"
            given = ["--initial-noise", noise_file] if noise_file.exists() else ["--save-noise", noise_file]
            exact = latents(reference, "fp32", folder / f"{reference['name']}.latents.safetensors", *given)
            if reference["name"] in ("single-1", "dualparal-2"):
                narrow = latents(reference, "bf16", cpu.scratch / "narrow.safetensors", "--initial-noise", noise_file)
                reference["bf16_noise"] = tensors.relative_norm(narrow, exact)
            made.append(reference)
    return made


def main() -> None:
    program, probe, folder = (Path(argument).absolute() for argument in sys.argv[1:4])
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    with tempfile.TemporaryDirectory() as scratch:
        cpu = OnCpu(probe, folder, Path(scratch))
        index = {"parts": make_parts(cpu, folder), "strategies": make_strategies(cpu, program, folder)}
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
