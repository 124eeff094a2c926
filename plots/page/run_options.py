# SPDX-License-Identifier: Apache-2.0
"""Options of a run that change what every strategy computes: attention that sees less, other positions
(docs/strategies.md). The lines have them in their configuration; here they stand with the strategy's options, so that
runs with and without them are not taken for repeats of each other."""
from __future__ import annotations

DENSE = (None, "none", "off")  # said of a run without them


def run_options(line: dict) -> dict:
    """Those in use, named as their flags: {"sparse-attention": "lvsa", "sparse-window": 3}."""
    attention = (line.get("config") or {}).get("attention")
    if not isinstance(attention, dict):
        return {}
    return {name.replace("_", "-"): chosen for name, chosen in attention.items() if chosen not in DENSE}


def with_run_options(line: dict) -> dict:
    used = run_options(line)
    return {**line, "options": {**(line.get("options") or {}), **used}} if used else line
