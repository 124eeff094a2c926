# SPDX-License-Identifier: Apache-2.0
"""Numbers in documents, held against the result lines that they come from.

    python tools/document_numbers.py check     # exit code 1 and a list of what a document says otherwise than the lines
    python tools/document_numbers.py write     # put the lines' numbers into the documents

docs/numbers.yaml says which: a document, a text with places for numbers ({:.1f}), and expressions over result lines.
`where` names fields of the lines, `cluster`, and options of the strategy; an option that it does not name has its default. What
it leaves must be one configuration, of which prompts, seeds and repeats may differ: in an expression, a name is the median of
that field over them, or their mean (`over: mean`, of an ablation's samples). `base.NAME` is that of the lines that they are
compared with (`against`), `of(world_size=2, ...).NAME` that of others, told from `where` by these, `least_ratio` and `most_ratio`
what latency_s / base.latency_s is at the ends of the simulated shares' ranges. Of a text that stands at several places, `below` names another that is only before the right one.
"""
from __future__ import annotations

import argparse
import functools
import math
import re
import statistics
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "plots"))
from defaults import chosen_options  # noqa: E402
from results import cluster_of, read_results, value  # noqa: E402

PLACE = re.compile(r"\{(:[^{}]*)?\}")
NUMBER = r"[-+]?[\d,]*\.?\d+(?:[eE][-+]?\d+)?"
# With its options, what makes a configuration; and of `config`, what samples of one differ in.
FIELDS = ("kind", "strategy", "model", "device", "dtype", "world_size", "frames", "height", "width", "steps")
SAMPLES = ("prompt", "negative_prompt", "prompt_embeds", "initial_noise", "image", "last_image", "image_embeds", "seed")
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "million": 1e6, "sqrt": math.sqrt}


class NumbersError(ValueError):
    """An entry that cannot be computed; says which and why."""


def options_of(line: dict) -> dict[str, str]:
    """Of the strategy and the run, without those that have their defaults."""
    return chosen_options(line["strategy"], {**((line.get("config") or {}).get("strategy_options") or {}),
                                             **(line.get("options") or {})})


def configuration(line: dict) -> dict[str, object]:
    """All that makes figures of two lines no samples of one."""
    config = {f"config {name}": value for name, value in (line.get("config") or {}).items()
              if name not in (*SAMPLES, *FIELDS, "strategy_options", "nproc")}
    return {**config, **{name: line.get(name) for name in FIELDS}, "cluster": cluster_of(line), **options_of(line)}


def differing(lines: list[dict]) -> list[str]:
    """Names in which the configurations of lines differ; of `config`, which grew, only where both lines have it."""
    found = [configuration(line) for line in lines]

    def differs(name: str) -> bool:
        values = [one.get(name) for one in found if name in one or not name.startswith("config ")]
        return any(value != values[0] for value in values)

    return list(filter(differs, dict.fromkeys(name for one in found for name in one)))


def matches(line: dict, where: dict) -> bool:
    """Whether fields, `cluster` and options are what `where` says; an option that it does not name must have its default."""
    fields = {name: wanted for name, wanted in where.items() if name in (*FIELDS, "cluster") or name in line}
    options = chosen_options(line["strategy"], {name: wanted for name, wanted in where.items() if name not in fields})
    own = {**line, "cluster": cluster_of(line)}
    return all(own.get(name) == wanted for name, wanted in fields.items()) and options_of(line) == options


@functools.cache
def lines_of(folder: str) -> list[dict]:
    return [line for line in read_results([ROOT / folder]) if line["status"] == "ok"]


class Lines:
    """Those result lines of a folder that have certain properties; fields are medians or means over them."""

    def __init__(self, folder: str, where: dict, over: str):
        self.folder, self.where, self.over = folder, where, over
        self.middle = {"median": statistics.median, "mean": statistics.fmean}[over]
        self.chosen = [line for line in lines_of(folder) if matches(line, where)]
        self.name = f"{folder} with {where}"
        if not self.chosen:
            raise NumbersError(f"{self.name}: no such line (options that are not named have their defaults)")
        if names := differing(self.chosen):
            raise NumbersError(f"{self.name}: lines of several configurations, which differ in {', '.join(names)}: name one")

    def of(self, **others) -> "Lines":
        return Lines(self.folder, {**self.where, **others}, self.over)

    def get(self, name: str) -> float:
        values = [v for line in self.chosen if (v := value(line, name)) is not None]
        if not values:
            raise NumbersError(f"{self.name}: no line has {name}")
        return self.middle(values)

    def sweep(self) -> dict[str, float]:
        """Latency with each share at an end of its range."""
        sweeps = [line["sweep"] for line in self.chosen if line.get("sweep")]
        if not sweeps:
            raise NumbersError(f"{self.name}: no line has a sweep (`bands: true` in an experiment)")
        return {corner: self.middle([one[corner] for one in sweeps]) for corner in sweeps[0]}

    def __getattr__(self, name: str) -> float:
        return self.get(name)


def ratios(lines: Lines, base: Lines) -> list[float]:
    """Of latencies, as simulated and at every end of the shares' ranges, as in reports."""
    ours, theirs = lines.sweep(), base.sweep()
    return [lines.get("latency_s") / base.get("latency_s"), *(ours[c] / theirs[c] for c in ours if c in theirs)]


class Names(dict):
    """Names of an expression: units, `base`, else fields of the lines."""

    def __init__(self, lines: Lines, base: Lines | None):
        super().__init__(UNITS, get=lines.get, of=lines.of, n=len(lines.chosen), **({"base": base} if base else {}))
        self.lines, self.base = lines, base

    def __missing__(self, name: str) -> float:
        if name in ("least_ratio", "most_ratio") and self.base:
            return (min if name == "least_ratio" else max)(ratios(self.lines, self.base))
        return self.lines.get(name)


def entries(file: Path):
    """(document, template, text with the lines' numbers, text above it) of every entry; rows are entries that share the rest."""
    for entry in yaml.safe_load(file.read_text(encoding="utf-8")):
        for row in entry.get("rows", [{}]):
            one = {**entry, **row, "where": {**entry.get("where", {}), **row.get("where", {})}}
            over = one.get("over", "median")
            try:
                lines = Lines(one["lines"], one["where"], over)
                base = Lines(one["lines"], one["against"], over) if "against" in one else None
                names = Names(lines, base)
                values = [eval(text, {"__builtins__": {}}, names) for text in one["values"]]  # noqa: S307: our own file
                yield one["document"], one["text"], one["text"].format(*values), one.get("below", "")
            except (ValueError, SyntaxError, IndexError, KeyError, TypeError, ZeroDivisionError) as error:
                raise NumbersError(f"{file.name}: {one.get('text')!r}: {error}") from error


def pattern(template: str) -> re.Pattern:
    """Finds the template with any numbers in its places."""
    parts, end = [], 0
    for place in PLACE.finditer(template):
        parts += [re.escape(template[end:place.start()]), NUMBER]
        end = place.end()
    return re.compile("".join([*parts, re.escape(template[end:])]))


def go_through(file: Path, root: Path, write: bool) -> tuple[int, list[str]]:
    """How many texts there are, and what is wrong; with `write`, what could not be mended."""
    wrong, count = [], 0
    for count, (document, template, expected, below) in enumerate(entries(file), 1):
        path = root / document
        text = path.read_text(encoding="utf-8")
        if below and below not in text:
            wrong.append(f"{document}: has no text {below!r}, below which the lines say {expected!r}")
            continue
        found = list(pattern(template).finditer(text, text.find(below)))[:1 if below else None]
        if found and all(place[0] == expected for place in found):
            continue
        if write and len(found) == 1:
            path.write_text(text[:found[0].start()] + expected + text[found[0].end():], encoding="utf-8")
        else:
            wrong.append(f"{document}: the lines say {expected!r}, the document " +
                         (" and ".join(repr(place[0]) for place in found) if found else "has no such text"))
    return count, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["check", "write"])
    parser.add_argument("--numbers", type=Path, default=ROOT / "docs" / "numbers.yaml")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the documents")
    args = parser.parse_args()
    try:
        count, wrong = go_through(args.numbers, args.root, args.what == "write")
    except (NumbersError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for text in wrong:
        print(text)
    print(f"{count} texts of numbers, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
