# SPDX-License-Identifier: Apache-2.0
"""Is it right? Model parts and strategies on the device against fp32 results of a CPU (references.py), and the unit tests.

Tolerances. fp32: PART_LIMIT of the largest number, for parts; LATENTS_LIMIT of the norm for latents after several steps,
through which differences of one step grow. bf16 has no tolerance of its own, rounding depends on the network: the device
may be BF16_FACTOR times as far from fp32 as bf16 on the CPU is.
"""
from __future__ import annotations

import json
import re

import references
import tensors
from calls import Failed
from context import Context, Piece, Step

PART_LIMIT, LATENTS_LIMIT, BF16_FACTOR = 1e-4, 1e-3, 2.0


def judge(context: Context, error: float, limit: float, **more) -> None:
    context.figures |= {"error": error, "limit": limit, **more}
    if not error <= limit:
        raise Failed(f"error {error:.2e}, at most {limit:.2e} expected")


def part(reference: dict, dtype: str) -> Step:
    def run(context: Context) -> None:
        got = references.run_part(context, reference, dtype)
        expected = tensors.read(context.data / "references" / f"{reference['name']}.outputs.safetensors")
        if dtype == "fp32":
            judge(context, max(tensors.relative_error(got[name], expected[name]) for name in references.floating(expected)), PART_LIMIT)
        else:
            noise = references.noise(got, expected)
            judge(context, noise, BF16_FACTOR * reference["bf16_noise"], bf16_noise_of_a_cpu=reference["bf16_noise"])

    return Step(f"{reference['name']}-{dtype}", "check", run, 60)


def strategy(reference: dict, dtype: str) -> Step:
    def run(context: Context) -> None:
        folder = context.data / "references"
        latents = context.scratch / "latents.safetensors"
        context.generate(*references.strategy_flags(reference), "--dtype", dtype, "--no-decode", "--initial-noise",
                         folder / f"{reference['noise']}.noise.safetensors", "--save-latents", latents)
        got = tensors.read(latents)["latents"]
        error = tensors.relative_norm(got, tensors.read(folder / f"{reference['name']}.latents.safetensors")["latents"])
        limit = LATENTS_LIMIT if dtype == "fp32" else BF16_FACTOR * reference["bf16_noise"]
        judge(context, error, limit, strategy=reference["strategy"], ranks=reference["ranks"], exact=reference["exact"])

    return Step(f"{reference['name']}-{dtype}", "check", run, 60)


def unit_tests(context: Context) -> dict:
    # In a rehearsal a part: on two cores, all of them take longer than the rest of it.
    part = "attention,model_ops,model_rotary,sampler,naive_pipeline,dualparal_strategy_on_ranks" if context.rehearsal else "*"
    text = context.call(context.unit_tests, "--report_level=short", f"--run_test={part}", environment={"OMP_NUM_THREADS": "1"})
    found = re.search(r"(\d+) test cases? out of (\d+) passed", text)
    if not found:
        raise Failed("the unit tests did not say how many passed")
    return {"passed": int(found[1]), "of": int(found[2]), "suites": part}


def piece(context: Context) -> Piece:
    index = context.data / "references/index.json"
    known = json.loads(index.read_text()) if index.exists() else {"parts": [], "strategies": []}
    steps = [part(reference, dtype) for reference in known["parts"] for dtype in ("fp32", "bf16")]
    steps += [strategy(reference, "fp32") for reference in known["strategies"]]
    steps += [strategy(reference, "bf16") for reference in known["strategies"] if reference["bf16_noise"]]
    if not steps:
        def missing(context: Context) -> None:
            raise Failed(f"no references in {index.parent}: ./run bundle makes them")
        steps = [Step("references", "check", missing)]
    return Piece("probe", "is it right? parts and strategies against fp32 on a CPU, unit tests", 540,
                 [*steps, Step("unit-tests", "check", unit_tests, 240)])
