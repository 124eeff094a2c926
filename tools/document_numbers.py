# SPDX-License-Identifier: Apache-2.0
"""Numbers in documents, held against the result lines that they come from.

    python tools/document_numbers.py check     # exit code 1 and a list of what a document says otherwise than the lines
    python tools/document_numbers.py write     # put the lines' numbers into the documents

docs/numbers.yaml says which: a document, a text with places for numbers ({:.1f}), and expressions over result lines.
In an expression, a name is the median of that field over the lines that were chosen (`where`), or their mean (`over:
mean`, of an ablation's samples); `base.NAME` is that of the lines that they are compared with (`against`).
"""
from __future__ import annotations

import argparse
import math
import re
import statistics
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "plots"))
from results import cluster_of, read_results, value  # noqa: E402

PLACE = re.compile(r"\{(:[^{}]*)?\}")
NUMBER = r"[-+]?[\d,]*\.?\d+(?:[eE][-+]?\d+)?"
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "million": 1e6, "sqrt": math.sqrt}


class NumbersError(ValueError):
    """An entry that cannot be computed; says which and why."""


class Lines:
    """Result lines of one folder with certain properties; fields are medians or means over them."""

    def __init__(self, folder: str, where: dict, over: str):
        self.middle = {"median": statistics.median, "mean": statistics.fmean}[over]
        self.chosen = [line for line in read_results([ROOT / folder]) if line["status"] == "ok" and matches(line, where)]
        self.name = f"{folder} with {where}"
        if not self.chosen:
            raise NumbersError(f"{self.name}: no such line")

    def get(self, name: str) -> float:
        values = [v for line in self.chosen if (v := value(line, name)) is not None]
        if not values:
            raise NumbersError(f"{self.name}: no line has {name}")
        return self.middle(values)

    def __getattr__(self, name: str) -> float:
        return self.get(name)


def matches(line: dict, where: dict) -> bool:
    """Fields of the line, `cluster`, and options by their names; an option that is None must not be given."""
    for name, wanted in where.items():
        flag = name.replace("_", "-")
        options = {**((line.get("config") or {}).get("strategy_options") or {}), **(line.get("options") or {})}
        got = cluster_of(line) if name == "cluster" else line[name] if name in line else options.get(flag)
        if got != wanted and str(got) != str(wanted):
            return False
    return True


class Names(dict):
    """Names of an expression: units, `base`, else fields of the lines."""

    def __init__(self, lines: Lines, base: Lines | None):
        super().__init__(UNITS, get=lines.get, n=len(lines.chosen), **({"base": base} if base else {}))
        self.lines = lines

    def __missing__(self, name: str) -> float:
        return self.lines.get(name)


def entries(file: Path):
    """(document, template, text with the lines' numbers) of every entry; rows are entries that share the rest."""
    for entry in yaml.safe_load(file.read_text(encoding="utf-8")):
        for row in entry.get("rows", [{}]):
            one = {**entry, **row, "where": {**entry.get("where", {}), **row.get("where", {})}}
            over = one.get("over", "median")
            try:
                lines = Lines(one["lines"], one["where"], over)
                base = Lines(one["lines"], one["against"], over) if "against" in one else None
                names = Names(lines, base)
                values = [eval(text, {"__builtins__": {}}, names) for text in one["values"]]  # noqa: S307: our own file
                yield one["document"], one["text"], one["text"].format(*values)
            except (NumbersError, SyntaxError, IndexError, KeyError, TypeError) as error:
                raise NumbersError(f"{file.name}: {one['text']!r}: {error}") from error


def pattern(template: str) -> re.Pattern:
    """Finds the template with any numbers in its places."""
    parts, end = [], 0
    for place in PLACE.finditer(template):
        parts += [re.escape(template[end:place.start()]), NUMBER]
        end = place.end()
    return re.compile("".join([*parts, re.escape(template[end:])]))


def go_through(file: Path, root: Path, write: bool) -> list[str]:
    """What is wrong; with `write`, what could not be mended."""
    wrong = []
    for document, template, expected in entries(file):
        path = root / document
        text = path.read_text(encoding="utf-8")
        if expected in text:
            continue
        found = pattern(template).findall(text)
        if write and len(found) == 1:
            path.write_text(text.replace(found[0], expected), encoding="utf-8")
        else:
            wrong.append(f"{document}: the lines say {expected!r}, the document " +
                         (" and ".join(map(repr, found)) if found else "has no such text"))
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["check", "write"])
    parser.add_argument("--numbers", type=Path, default=ROOT / "docs" / "numbers.yaml")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the documents")
    args = parser.parse_args()
    try:
        wrong = go_through(args.numbers, args.root, args.what == "write")
    except NumbersError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for text in wrong:
        print(text)
    print(f"{len(list(entries(args.numbers)))} texts of numbers, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
