# SPDX-License-Identifier: Apache-2.0
"""A table of CUDA kernels (kernel_trace.cpp writes it): what kind each is, and the shares of the time."""
from __future__ import annotations

import csv
import re
from pathlib import Path

# The first that matches. Names of cuBLAS, cuDNN, ATen and of the module's own kernels.
KINDS = [
    ("module's own", r"dualparal"),
    ("attention", r"flash|fmha|sdpa|attention|_mha_|softmax_fprop"),
    ("matrix product", r"gemm|cutlass|xmma|nvjet|cublas|splitK|matmul"),
    ("convolution", r"conv|implicit|winograd"),
    ("copy", r"memcpy|memset|copy_kernel|CatArray|direct_copy"),
    ("norm", r"norm"),
    ("elementwise", r"elementwise|vectorized|unrolled|index|reduce|gelu|silu"),
]


def kind_of(name: str) -> str:
    return next((kind for kind, pattern in KINDS if re.search(pattern, name, re.IGNORECASE)), "other")


def summary(table: Path) -> dict:
    """Shares by kind, and the ten longest kernels. Columns of the table: name, calls, total_ns."""
    with open(table, newline="") as file:
        rows = [(row["name"], int(row["calls"]), int(row["total_ns"])) for row in csv.DictReader(file)]
    total = sum(row[2] for row in rows)
    if not total:
        raise ValueError(f"{table}: no kernels in it")
    shares: dict[str, float] = {}
    for name, _, ns in rows:
        shares[kind_of(name)] = shares.get(kind_of(name), 0) + ns / total
    longest = sorted(rows, key=lambda row: -row[2])[:10]
    return {"kernels_s": total / 1e9, "calls": sum(row[1] for row in rows),
            "share_by_kind": {kind: round(share, 4) for kind, share in sorted(shares.items(), key=lambda item: -item[1])},
            "longest": [{"name": name[:120], "calls": calls, "share": round(ns / total, 4)} for name, calls, ns in longest]}
