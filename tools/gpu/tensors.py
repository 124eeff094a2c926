# SPDX-License-Identifier: Apache-2.0
"""Safetensors files with nothing but PyTorch: a machine that has the wheel may lack the package of that name."""
from __future__ import annotations

import ctypes
import json
from pathlib import Path

import torch

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "I64": torch.int64, "I32": torch.int32}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def read(file: Path) -> dict[str, torch.Tensor]:
    content = bytearray(Path(file).read_bytes())
    size = int.from_bytes(content[:8], "little")
    header = json.loads(bytes(content[8:8 + size]))
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        dtype, count = DTYPES[entry["dtype"]], (end - begin) // DTYPES[entry["dtype"]].itemsize
        tensors[name] = (torch.frombuffer(content, dtype=dtype, count=count, offset=8 + size + begin)
                         if count else torch.empty(0, dtype=dtype)).reshape(entry["shape"])
    return tensors


def write(file: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    header: dict = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(file, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            whole = tensor.contiguous()
            out.write(ctypes.string_at(whole.data_ptr(), whole.nbytes) if whole.nbytes else b"")  # NumPy may be missing, too


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference by the largest number of `expected`; infinite where something is not finite."""
    return _relative(got, expected, lambda x: x.abs().max())


def relative_norm(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference by the norm of `expected`; infinite where something is not finite."""
    return _relative(got, expected, torch.linalg.vector_norm)


def _relative(got: torch.Tensor, expected: torch.Tensor, size) -> float:
    if got.shape != expected.shape:
        raise ValueError(f"shape {list(got.shape)}, expected {list(expected.shape)}")
    got, expected = got.double(), expected.double()
    return (size(got - expected) / size(expected)).item() if got.isfinite().all() else float("inf")
