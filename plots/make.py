# SPDX-License-Identifier: Apache-2.0
"""Every figure that result lines allow.

    python plots/make.py RESULTS... -o FOLDER

RESULTS: results.jsonl files, or folders in which they are looked for. Prints the files that it wrote. What each figure
shows: docs/figures.md.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import ablation  # noqa: E402
import bubble  # noqa: E402
import cost  # noqa: E402
import latency_memory  # noqa: E402
import quality  # noqa: E402
import ranks  # noqa: E402
import scaling  # noqa: E402
import speedup  # noqa: E402
import timeline  # noqa: E402
from panels import group  # noqa: E402
from results import ResultsError, read_results  # noqa: E402

FIGURES = (latency_memory, scaling, speedup, ranks, quality, ablation, bubble, cost)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path, nargs="+", help="results.jsonl files or folders")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the figures (PNG and PDF)")
    options = parser.parse_args(arguments)
    try:
        lines = read_results(options.results)
        panels = group(lines)
        written = [path for figures in FIGURES for path in figures.make(panels, options.output)]
        written += timeline.make(lines, options.output)
    except ResultsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in written:
        print(path)
    if not written:
        print(f"# no figure: {len(lines)} lines, none of them with a value to draw")
    return 0


if __name__ == "__main__":
    sys.exit(main())
