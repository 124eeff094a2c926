# SPDX-License-Identifier: Apache-2.0
"""`dualparal generate`, `bench` and `simulate` as functions."""
from __future__ import annotations

import dataclasses
import fcntl
import functools
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from .process import ProgramError, run
from .results import Result, read_results
from .tensors import check_kind, load_tensors, save_tensors

AnyPath = str | os.PathLike
Prompts = str | list[str] | tuple[str, ...] | None


@dataclasses.dataclass(frozen=True)
class Generation:
    """What a run gave."""

    result: Result
    latents: Any = None  # [1, channels, latent frames, h, w], fp32, if asked for
    output: Path | None = None  # the mp4 file, if asked for


@functools.cache
def _switches() -> frozenset[str]:
    """Flags of generate that take no value, from the program's own table."""
    rows = (row.split("\t") for row in run("completion", "list", quiet=True).splitlines())
    return frozenset(row[1] for row in rows if row[0] == "generate" and row[2] == "switch")


def flags_of(values: dict[str, Any]) -> list[str]:
    """guidance_scale=4 becomes --guidance-scale 4, a list the flag several times; None is left out. True and False turn
    a switch (--no-decode) on or leave it out, and are on and off to a flag with a value (--feature-cache)."""
    flags = []
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        if value is None:
            continue
        if isinstance(value, bool) and flag in _switches():
            flags += [flag] if value else []
            continue
        for one in value if isinstance(value, (list, tuple)) else [value]:
            text = ("on" if one else "off") if isinstance(one, bool) else str(one)
            flags.append(f"{flag}={text}")  # a value may begin with a dash
    return flags


def _checkpoint(model: Any, scratch: Path) -> AnyPath | None:
    """A folder as it is; a diffusers pipeline is saved to one."""
    if model is None or isinstance(model, (str, os.PathLike)):
        return model
    if not hasattr(model, "save_pretrained"):
        raise TypeError(f"model: expected a folder or a diffusers pipeline, got {type(model).__name__}")
    model.save_pretrained(scratch / "model")
    return scratch / "model"


def _tensor_file(value: Any, name: str, scratch: Path) -> AnyPath | None:
    """A file as it is; an array or a tensor is saved to one, under this name."""
    if value is None or isinstance(value, (str, os.PathLike)):
        return value
    file = scratch / f"{name}.safetensors"
    save_tensors(file, {name: value})
    return file


def _append(lines: Path, target: AnyPath) -> None:
    """As the program appends its own: whole lines, under a lock."""
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    with open(target, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(lines.read_bytes())


def _numbered(file: AnyPath | None, count: int) -> list[Path | None]:
    """The names that the program gives to the files of a list of prompts."""
    if file is None:
        return [None] * count
    path, digits = Path(file), len(str(count))
    return [path.with_name(f"{path.stem}-{number:0{digits}}{path.suffix}") for number in range(1, count + 1)]


def _prompt_flags(prompt: Prompts, scratch: Path) -> dict[str, Any]:
    if prompt is None or isinstance(prompt, str):
        return {"prompt": prompt}
    for one in prompt:
        if not one.strip() or "\n" in one or one.startswith("#"):
            raise ValueError(f"prompt: expected texts of one line that do not begin with #, got {one!r}")
    (scratch / "prompts.txt").write_text("".join(one + "\n" for one in prompt), encoding="utf-8")
    return {"prompt_list": scratch / "prompts.txt"}


def _embeds_file(prompt: Any, negative: Any, scratch: Path) -> AnyPath | None:
    if negative is None:
        return _tensor_file(prompt, "prompt_embeds", scratch)
    if isinstance(prompt, (str, os.PathLike)) or prompt is None:
        raise TypeError("negative_prompt_embeds: goes with prompt_embeds as an array or a tensor")
    file = scratch / "prompt_embeds.safetensors"
    save_tensors(file, {"prompt_embeds": prompt, "negative_prompt_embeds": negative})
    return file


def generate(prompt: Prompts = None, *, model: Any = None, initial_noise: Any = None, prompt_embeds: Any = None,
             negative_prompt_embeds: Any = None, latents: str | None = None, output: AnyPath | None = None,
             result: AnyPath | None = None, quiet: bool = False, **flags: Any) -> Generation | list[Generation]:
    """Generates a video in processes of the program, waits, and returns its result line (and, on request, its latents).

    prompt                  a text; or a list of texts: a video each, the model loaded once, and a list is returned
    model                   checkpoint folder, or a diffusers pipeline; None: the embedded model
    initial_noise           [1, channels, latent frames, h, w] as an array, a tensor or a safetensors file; None: the seed
    prompt_embeds, negative_prompt_embeds   each [1, tokens, text_dim], instead of the prompt; or one file with both
    latents                 "numpy" or "torch": return them
    output                  an mp4 file (of a list: out-1.mp4, out-2.mp4, ...); None: no video is written
    result                  a file to which the result lines are appended too
    quiet                   no progress
    flags                   every other flag of `dualparal generate`, with underscores: strategy="dualparal", nproc=4,
                            frames=129, save_latents="latents.safetensors", feature_cache=False

    UsageError and ProgramError carry the program's own message.
    """
    if latents is not None:
        check_kind(latents)
    if "scenario" in flags:
        raise ValueError("scenario: all videos have one result; run('generate', ...) takes it, and read_results its file")
    with tempfile.TemporaryDirectory(prefix="dualparal-") as folder:
        scratch = Path(folder)
        lines = scratch / "result.jsonl"
        kept = flags.pop("save_latents", None) or (scratch / "latents.safetensors" if latents else None)
        given = flags_of({"model": _checkpoint(model, scratch), **_prompt_flags(prompt, scratch),
                          "prompt_embeds": _embeds_file(prompt_embeds, negative_prompt_embeds, scratch),
                          "initial_noise": _tensor_file(initial_noise, "noise", scratch), "output": output,
                          "save_latents": kept, "result": lines, **flags})
        told = run("generate", *given, *(["--quiet"] if quiet else []), quiet=quiet)
        if not quiet:
            print("".join(row for row in told.splitlines(True) if folder not in row), end="", file=sys.stderr)
        if result is not None:
            _append(lines, result)
        results = read_results(lines)
        several = isinstance(prompt, (list, tuple))
        files = zip(*[_numbered(file, len(results)) if several else [file and Path(file)] for file in (kept, output)])
        made = [Generation(one, load_tensors(tensors, latents)["latents"] if latents else None, video)
                for one, (tensors, video) in zip(results, files, strict=True)]
        return made if several else made[0]


def bench(experiment: AnyPath, output: AnyPath, *, quiet: bool = False, **flags: Any) -> list[Result]:
    """`dualparal bench`: runs what is missing of an experiment (a YAML file, or a name of configs/experiments) into the
    folder `output`. All its lines, failed points among them; an experiment that cannot run raises."""
    try:
        run("bench", experiment, *flags_of({"output": output, **flags}), *(["--quiet"] if quiet else []), quiet=quiet)
    except ProgramError as error:
        if error.exit_code != 1 or not (Path(output) / "results.jsonl").exists():
            raise
    return read_results(Path(output) / "results.jsonl")


def simulate(traces: AnyPath, cluster: str, **flags: Any) -> Result:
    """`dualparal simulate`: traces of a run (traces="DIR" of generate) replayed on a described cluster."""
    with tempfile.TemporaryDirectory(prefix="dualparal-") as folder:
        lines = Path(folder) / "result.jsonl"
        run("simulate", traces, *flags_of({"cluster": cluster, "result": lines, **flags}), quiet=True)
        return read_results(lines)[-1]
