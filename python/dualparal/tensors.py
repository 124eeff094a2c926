# SPDX-License-Identifier: Apache-2.0
"""The safetensors files that the program reads and writes (latents, noise, embeddings), as arrays or tensors and back."""
from __future__ import annotations

import os
from typing import Any

KINDS = ("numpy", "torch")


def check_kind(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"expected 'numpy' or 'torch', got {kind!r}")
    return kind


def load_tensors(path: str | os.PathLike, kind: str = "numpy") -> dict[str, Any]:
    """The tensors of a file by name, as numpy arrays or torch tensors on the CPU."""
    if check_kind(kind) == "torch":
        from safetensors.torch import load_file
    else:
        from safetensors.numpy import load_file
    return load_file(path)


def save_tensors(path: str | os.PathLike, tensors: dict[str, Any]) -> None:
    """Writes numpy arrays, or torch tensors of any device and layout, in their own types."""
    if all(hasattr(tensor, "detach") for tensor in tensors.values()):
        from safetensors.torch import save_file

        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    else:
        import numpy
        from safetensors.numpy import save_file

        save_file({name: numpy.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path)
