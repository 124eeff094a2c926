# SPDX-License-Identifier: Apache-2.0
"""The ranks that a launcher has started, for the tools that disturb them."""
from __future__ import annotations

import os
from pathlib import Path


def ranks_of(launcher: int) -> dict[int, int]:
    """Process ids of the launcher's ranks."""
    found = {}
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == launcher:
                variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
                found[next(int(v[5:]) for v in variables if v.startswith(b"RANK="))] = int(process)
        except (OSError, StopIteration):
            pass
    return found
