# SPDX-License-Identifier: Apache-2.0
"""The first look at results, in a terminal: a row a strategy, at the longest length, fastest first.

    python plots/first_look.py RESULTS...

Each strategy's fastest run counts. At most 15 lines; the page (./run page) has the rest.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from page.answer import OURS, Answer, Runner, answers, computes_as_single, is_exact, runners  # noqa: E402
from panels import group  # noqa: E402
from results import ResultsError, read_results  # noqa: E402

HEADER = ("strategy", "ranks", "{figure}", "range", "/ single", "/ best other", "memory MiB", "result")
FIGURES = {"latency_s": "latency s", "compute_s": "compute s", "flops": "TFLOP"}  # of an answer's metrics


def best_of_each(answer: Answer) -> list[Runner]:
    """The fastest of every strategy, fastest first."""
    best: dict[str, Runner] = {}
    for runner in runners(answer.panel, answer.metric, answer.frames):
        best.setdefault(runner.strategy, runner)
    return list(best.values())


def samples(runner: Runner, metric: str) -> list[float]:
    """All clock readings behind its figure: repeats within a run, and runs."""
    return [s for line in runner.point.ok for s in line.get("samples") or []] if metric == "latency_s" else []


def made(runner: Runner) -> str:
    """What its video is worth: the same as single's, or its own and how much of it shows what was asked for."""
    error, content = runner.point.median("error_vs_single"), runner.point.median("quality.content")
    shows = f", {content:.0%} of frames as asked" if content is not None else ""
    if runner.point.median("quality.content_first_frame") == 0:
        shows += " (not the first)"
    if runner.strategy == "single":
        return "the reference" + shows
    if error is not None:
        return f"single's, to {error:.0e}"
    if is_exact(runner):
        return "single's, unchecked here"
    psnr = runner.point.median("quality.psnr_db")
    if computes_as_single(runner) is None and psnr is None:
        return "not recorded whether single's" + shows
    return "its own" + (f", {psnr:.0f} dB from single's" if psnr is not None else "") + shows


def number(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def rows(answer: Answer) -> list[tuple[str, ...]]:
    best = best_of_each(answer)
    single = next((r.figure for r in best if r.strategy == "single"), None)
    baseline = next((r.figure for r in best if r.strategy != OURS), None)

    def ratio(runner: Runner, to: float | None) -> str:
        return f"{runner.figure / to:.2f}" if to else "-"

    unit = 1e12 if answer.metric == "flops" else 1
    found = []
    for runner in best:
        readings = samples(runner, answer.metric)
        spread = f"{number(min(readings))}-{number(max(readings))}" if len(readings) > 1 else "-"
        memory = f"{runner.memory / 2**20:,.1f}" if runner.memory else "-"
        found.append((runner.strategy, str(runner.series.world_size), number(runner.figure / unit), spread, ratio(runner, single),
                      ratio(runner, baseline), memory, made(runner)))
    return found


def table(lines: list[dict]) -> str:
    """Empty if nothing was timed."""
    found = answers(group(lines))
    if not found:
        return ""
    answer = found[0][1]
    cells = [tuple(name.format(figure=FIGURES[answer.metric]) for name in HEADER), *rows(answer)]
    left = {0, len(HEADER) - 1}
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEADER))]
    of = answer.panel.settings
    text = [f"{answer.frames:,} frames of {of['model']}, {of['kind']}, {answer.panel.subtitle()}; each strategy's fastest run"]
    for row in cells:
        text.append("  ".join(c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip())
    if answer.missing:
        text.append("no result: " + "; ".join(answer.missing))
    return "\n".join(text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="first_look.py", description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path, nargs="+", help="results.jsonl files or folders")
    try:
        print(table(read_results(parser.parse_args(arguments).results)) or "nothing was timed: report.md says why")
    except ResultsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
