# SPDX-License-Identifier: Apache-2.0
"""Options of strategies and their defaults, as `dualparal strategies` lists them. Lines name every option that their program
had; older ones lack those that came later, whose default is what they ran with."""
from __future__ import annotations

PARALLEL, MICRO = {"guidance-parallel": "off"}, {"guidance-micro-batches": "1"}
DEFAULTS: dict[str, dict[str, str]] = {
    "single": MICRO,
    "ring": PARALLEL | MICRO,
    "ulysses": PARALLEL | MICRO,
    "usp": {"ulysses-degree": "0", "ring-degree": "0"} | PARALLEL | MICRO,
    "video_infinity": {"context-frames": "8", "global-frames": "16", "phase-timestep": "800", "phase-bias": "0",
                       "window-position": "absolute"} | MICRO,
    "context_windows": {"window-frames": "21", "overlap-frames": "4", "window-weights": "pyramid", "free-noise": "off",
                        "first-frame-fix": "on"} | MICRO,
    "fifo": {"window-frames": "16", "lookahead": "on"} | MICRO,
    "naive_pipeline": {"sequence-degree": "1", "partition": "layers"} | PARALLEL | MICRO,
    "pipefusion": {"patches": "16", "synchronous-steps": "1", "partition": "layers"} | MICRO,
    "dualparal": {"block-frames": "8", "context-frames": "4", "feature-cache": "on", "noise-sharing": "on",
                  "previous-context": "synchronous", "window-position": "local", "boundary-cache": "recompute",
                  "cache-memory": "auto", "partition": "layers", "sequence-degree": "1"} | PARALLEL | MICRO,
}


def chosen_options(strategy: str, options: dict) -> dict[str, str]:
    """Those that are not the strategy's defaults, sorted by name."""
    named = {name.replace("_", "-"): str(value) for name, value in options.items()}
    defaults = DEFAULTS.get(strategy, {})
    return {name: value for name, value in sorted(named.items()) if defaults.get(name) != value}
