# SPDX-License-Identifier: Apache-2.0
"""A page that shows results: answer, table, charts, videos beside each other, timelines, provenance.

    python plots/make_page.py RESULTS... [-o FOLDER]

RESULTS: results.jsonl files, or folders in which they are looked for. Writes FOLDER/index.html (if left
out: the folder of the first RESULTS) and FOLDER/page/, which holds the chart library and the timelines. Videos stay
where they are and are linked relative to FOLDER. Nothing is loaded from the network.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from page.write import write  # noqa: E402
from results import ResultsError, read_results  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./run page", description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path, nargs="+", help="results.jsonl files or folders")
    parser.add_argument("-o", "--output", type=Path, help="folder for index.html (default: that of the first results)")
    options = parser.parse_args(arguments)
    first = options.results[0]
    folder = options.output or (first if first.is_dir() else first.parent)
    try:
        lines = read_results(options.results)
        if not lines:
            raise ResultsError(f"{', '.join(map(str, options.results))}: expected result lines, found none")
        print(write(lines, folder))
    except ResultsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
