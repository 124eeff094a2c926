# SPDX-License-Identifier: Apache-2.0
"""Writes the trained parts as a checkpoint in diffusers layout (WanPipeline, bf16 safetensors).

    python export.py --vae DIR --transformer DIR --out FOLDER
    python export.py --init MODEL --transformer DIR --out FOLDER      # a training that started from MODEL

DIR holds vae.pt and transformer.pt of the trainings; a part that is missing is written untrained,
so that a loadable checkpoint exists from the first minute on. With --init only the weights of the transformer and of
the text encoder are written; every other file of the checkpoint is MODEL's, byte for byte.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil

import torch
from diffusers import UniPCMultistepScheduler, WanPipeline
from safetensors import safe_open
from safetensors.torch import save_file

import fast_vae
import text
from latents import load_vae
from transformer import build as build_transformer


WEIGHTS = {"transformer": "transformer/diffusion_pytorch_model.safetensors", "encoder": "text_encoder/model.safetensors"}


def scheduler() -> UniPCMultistepScheduler:
    """As published with Wan 2.1 (480p)."""
    return UniPCMultistepScheduler(
        num_train_timesteps=1000, beta_start=0.0001, beta_end=0.02, beta_schedule="linear", solver_order=2,
        prediction_type="flow_prediction", thresholding=False, dynamic_thresholding_ratio=0.995,
        sample_max_value=1.0, predict_x0=True, solver_type="bh2", lower_order_final=True, disable_corrector=[],
        use_karras_sigmas=False, use_flow_sigmas=True, flow_shift=3.0, timestep_spacing="linspace",
        steps_offset=0, final_sigmas_type="zero")


def assemble(vae_folder: str, transformer_folder: str | None, weights: str = "average") -> WanPipeline:
    """The pipeline in fp32 with the averaged (or last) weights of the two trainings."""
    vae = load_vae(vae_folder) if vae_folder else fast_vae.build()
    state = None
    path = os.path.join(transformer_folder or "", "transformer.pt")
    if transformer_folder and os.path.exists(path):
        state = torch.load(path, map_location="cpu")
    tokenizer = text.train_tokenizer(os.path.join(vae_folder or "/tmp", "tokenizer"))
    encoder, transformer = text.build_encoder(len(tokenizer)), build_transformer()
    if state is not None:
        for name, module in (("encoder", encoder), ("transformer", transformer)):
            values = state["average"] if weights == "average" else state["model"]
            prefix = name + "."
            missing = module.load_state_dict(
                {key[len(prefix):]: value for key, value in values.items() if key.startswith(prefix)}, strict=False)
            absent = [key for key in missing.missing_keys if "embed_tokens" not in key]
            assert not absent and not missing.unexpected_keys, (absent, missing.unexpected_keys)
    return WanPipeline(tokenizer=tokenizer, text_encoder=encoder, vae=vae, scheduler=scheduler(),
                       transformer=transformer)


def replace_weights(init: str, transformer_folder: str, out: str) -> None:
    """A copy of the checkpoint `init` in `out` (may be the same folder) with the averaged weights of a training."""
    average = torch.load(os.path.join(transformer_folder, "transformer.pt"), map_location="cpu")["average"]
    if os.path.realpath(init) != os.path.realpath(out):
        shutil.copytree(init, out, dirs_exist_ok=True)
    for name, path in WEIGHTS.items():
        with safe_open(os.path.join(init, path), "pt") as file:
            metadata = file.metadata()
            old = {key: file.get_tensor(key) for key in file.keys()}
        new = {key: average[f"{name}.{key}"].to(old[key].dtype).contiguous() for key in old}
        unused = [key for key in average if key.startswith(name + ".") and key[len(name) + 1:] not in old]
        assert not unused, f"{path} has no place for {unused}"
        for key, value in new.items():
            assert value.shape == old[key].shape, f"{path}: {key} is {tuple(old[key].shape)}, trained {tuple(value.shape)}"
        save_file(new, os.path.join(out, path), metadata)
        os.chmod(os.path.join(out, path), 0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--vae")
    source.add_argument("--init")
    parser.add_argument("--transformer")
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    if options.init:
        if not options.transformer:
            parser.error("--init needs --transformer: the folder of the training that started from it")
        return replace_weights(options.init, options.transformer, options.out)
    pipeline = assemble(options.vae, options.transformer)
    for part in ("vae", "text_encoder", "transformer"):
        for p in getattr(pipeline, part).parameters():  # every tensor, the ones diffusers computes in fp32 too
            p.data = p.data.bfloat16()
    pipeline.save_pretrained(options.out)
    for folder, _, files in os.walk(options.out):
        for file in files:
            os.chmod(os.path.join(folder, file), 0o644)
    shutil.copy(os.path.join(options.vae, "tokenizer", "spiece.model"), os.path.join(options.out, "tokenizer"))
    for part in ("vae", "transformer", "text_encoder"):  # no machine paths in the configurations
        path = os.path.join(options.out, part, "config.json")
        with open(path) as file:
            config = json.load(file)
        config.pop("_name_or_path", None)
        with open(path, "w") as file:
            json.dump(config, file, indent=2, sort_keys=True)
            file.write("\n")


if __name__ == "__main__":
    main()
