# SPDX-License-Identifier: Apache-2.0
"""Our transformer beside diffusers': the same checkpoint, inputs, threads and dtype, alternating in one run.

    python benchmarks/compare_diffusers.py [--build build] [--threads N] [--repeat N] [--device cpu] [--json FILE]

Cases
  embedded   one guided denoising step of the embedded model, 33 frames of 64x96. diffusers predicts the conditional
             and the unconditional half one after the other, as WanPipeline does; ours takes them as a batch of two.
  layer      one layer at Wan2.1-1.3B's width (12 heads x 128), 4,000 tokens, batch of one on both sides.
The outputs are compared before anything is timed. Printed: medians, and the median of the pairwise ratios
(diffusers / ours: above 1 we are faster) with its quartiles.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def embedded_case(folder: pathlib.Path):
    """Returns (transformer folder, inputs, split): split says that diffusers runs the batch in two calls."""
    torch.manual_seed(0)
    directory = ROOT / "models/moving-shapes/transformer"
    config = json.loads((directory / "config.json").read_text())
    latents = torch.randn(1, config["in_channels"], 9, 8, 12).repeat(2, 1, 1, 1, 1)
    text = torch.zeros(2, 32, config["text_dim"])
    text[0, :12].normal_()
    text[1, :1].normal_()
    return directory, latents, text, True


def layer_case(folder: pathlib.Path):
    torch.manual_seed(0)
    model = WanTransformer3DModel(num_attention_heads=12, attention_head_dim=128, num_layers=1, ffn_dim=8960,
                                  text_dim=4096, freq_dim=256)
    model.save_pretrained(folder / "layer")
    # 4 frames x 40 x 25 patches = 4,000 tokens
    return folder / "layer", torch.randn(1, 16, 4, 80, 50), torch.randn(1, 512, 4096), False


CASES = {"embedded": embedded_case, "layer": layer_case}


class Progress:
    """On standard error: one line that renews itself on a terminal, else one when something begins."""

    def __init__(self, what: str):
        self.what, self.terminal = what, sys.stderr.isatty()

    def say(self, text: str, always: bool = True) -> None:
        if self.terminal:
            print(f"\r\033[K# {self.what}: {text}", end="", file=sys.stderr, flush=True)
        elif always:
            print(f"# {self.what}: {text}", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def run_case(name: str, dtype: str, args, folder: pathlib.Path, progress: Progress) -> dict:
    progress.say("loading both, comparing their outputs")
    directory, latents, text, split = CASES[name](folder)
    inputs, output = folder / "inputs.safetensors", folder / "output.safetensors"
    timestep = torch.tensor([500.0])
    save_file({"hidden_states": latents, "timestep": timestep, "encoder_hidden_states": text}, inputs)
    reference = WanTransformer3DModel.from_pretrained(directory, torch_dtype=DTYPES[dtype]).to(args.device).eval()
    latents, text = latents.to(args.device, DTYPES[dtype]), text.to(args.device, DTYPES[dtype])
    timestep = timestep.to(args.device)

    @torch.inference_mode()
    def predict():
        batches = [slice(0, 1), slice(1, 2)] if split else [slice(0, latents.shape[0])]
        parts = [reference(hidden_states=latents[b], timestep=timestep.expand(latents[b].shape[0]),
                           encoder_hidden_states=text[b], return_dict=False)[0] for b in batches]
        if args.device != "cpu":
            torch.cuda.synchronize()
        return torch.cat(parts)

    ours = subprocess.Popen([args.build / "benchmarks/side_by_side", directory, inputs, output, args.device, dtype,
                             str(args.threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert ours.stdout.readline().strip() == "ready", "side_by_side did not start"
        expected = predict().float().cpu()
        error = ((load_file(output)["sample"] - expected).abs().max() / expected.abs().max()).item()

        def time_ours() -> float:
            ours.stdin.write("run\n")
            ours.stdin.flush()
            return float(ours.stdout.readline())

        def time_theirs() -> float:
            start = time.perf_counter()
            predict()
            return time.perf_counter() - start

        for _ in range(3):
            round_s = time_ours() + time_theirs()
        pairs = []
        for done in range(args.repeat):
            progress.say(f"pair {done + 1}/{args.repeat}, about {round_s * (args.repeat - done):.0f} s left",
                         always=done == 0)
            pairs.append((time_ours(), time_theirs()))
    finally:
        ours.stdin.close()
        ours.wait()
    ratios = sorted(theirs / our for our, theirs in pairs)
    quarter = len(ratios) // 4
    return {"case": name, "dtype": dtype, "device": args.device, "threads": args.threads, "repeat": args.repeat,
            "max_relative_error": error, "ours_s": statistics.median(p[0] for p in pairs),
            "diffusers_s": statistics.median(p[1] for p in pairs), "ratio": statistics.median(ratios),
            "ratio_quartiles": [ratios[quarter], ratios[-1 - quarter]], "samples_s": pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=21)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--case", choices=sorted(CASES), action="append")
    parser.add_argument("--json", type=pathlib.Path, help="append one line per case here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{'case':10} {'dtype':5} {'ours ms':>9} {'diffusers ms':>13} {'ratio':>6} {'quartiles':>13} {'error':>9}")
    cases = [(name, dtype) for name in args.case or CASES for dtype in DTYPES]
    for number, (name, dtype) in enumerate(cases, 1):
        progress = Progress(f"case {number}/{len(cases)} ({name}, {dtype})")
        with tempfile.TemporaryDirectory() as folder:
            r = run_case(name, dtype, args, pathlib.Path(folder), progress)
        progress.end()
        low, high = r["ratio_quartiles"]
        print(f"{name:10} {dtype:5} {r['ours_s'] * 1e3:9.2f} {r['diffusers_s'] * 1e3:13.2f} {r['ratio']:6.2f} "
              f"{low:6.2f}-{high:.2f} {r['max_relative_error']:9.1e}", flush=True)
        if args.json:
            with args.json.open("a") as out:
                out.write(json.dumps(r | {"torch": torch.__version__}) + "\n")


if __name__ == "__main__":
    main()
