# SPDX-License-Identifier: Apache-2.0
"""The answers as HTML. Everything that comes from a line goes through `text`."""
from __future__ import annotations

from html import escape

from page.answer import METRICS, OURS, Answer, Runner, exactness


def text(anything: object) -> str:
    return escape(str(anything), quote=True)


def badge(kind: str) -> str:
    return f'<span class="badge {text(kind)}">{text(kind)}</span>'


def size(count: float | None) -> str:
    if count is None:
        return "not recorded"
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:,.{0 if count >= 100 * factor else 1}f} {unit}"
    return f"{count:,.0f} B"


def figure(metric: str, number: float) -> str:
    if metric == "flops":
        return f"{number:.3g} FLOP"
    return f"{number:,.0f} s" if number >= 100 else f"{number:.3g} s"


def ranks(runner: Runner) -> str:
    return f"{runner.series.world_size} rank" + ("s" if runner.series.world_size != 1 else "")


def versus(metric: str, runner: Runner, other: Runner) -> str:
    """How much better the runner is than the other."""
    word = "less work than" if metric == "flops" else "faster than"
    factor = f"{other.figure / runner.figure:.2f}×" if runner.figure > 0 else "incomparably"
    return f"{factor} {word} <b>{text(other.label)}</b> ({figure(metric, other.figure)} on {ranks(other)})"


def memory_words(answer: Answer) -> str:
    best, other = answer.fastest, answer.baseline
    words = f"{size(best.memory)} on the rank that needs most"
    if best.memory and other and other.memory:
        words += f", {best.memory / other.memory:.2f}× of {text(other.label)}’s {size(other.memory)}"
    return words


def takes(a: Answer, runner: Runner) -> str:
    return f"{figure(a.metric, runner.figure)} on {ranks(runner)}"


def factor(a: Answer) -> str:
    """How many times as much the next one takes."""
    return f"{a.baseline.figure / a.fastest.figure:.2f}×" if a.baseline and a.fastest.figure > 0 else "–"


def sentence(a: Answer) -> str:
    what = {"latency_s": "is fastest", "flops": "does the least work", "compute_s": "computes least on its busiest rank"}[a.metric]
    words = f"<b>{text(a.fastest.label)}</b> {what} at {a.frames:,} frames: {takes(a, a.fastest)}"
    if a.baseline:
        other = "the best baseline" if a.fastest.strategy == OURS else "the next best"
        words += f", {versus(a.metric, a.fastest, a.baseline)}, {other}"
    return words + "."


def tiles(a: Answer) -> str:
    rows = [(METRICS[a.metric].capitalize(), figure(a.metric, a.fastest.figure),
             f"{text(a.fastest.label)}, {ranks(a.fastest)}")]
    if a.baseline:
        name = "Against the best baseline" if a.fastest.strategy == OURS else "Against the next best"
        rows.append((name, factor(a), f"{text(a.baseline.label)}: {figure(a.metric, a.baseline.figure)}"))
    rows.append(("Peak memory of a rank", size(a.fastest.memory),
                 f"{text(a.baseline.label)}: {size(a.baseline.memory)}" if a.baseline else ""))
    said = exactness(a.fastest)
    short = "reference" if said.startswith("is the reference") else said.split(":")[0].split(" by ")[0]
    rows.append(("Same result as single?", text(short.capitalize()), text(said)))
    return "".join(f'<div class="tile"><dt>{name}</dt><dd><span class="figure">{value}</span>'
                   f'<span class="note">{note}</span></dd></div>' for name, value, note in rows)


def first(a: Answer) -> str:
    more = [f"Memory: {memory_words(a)}."]
    if a.ours:
        times = f", {a.ours.figure / a.fastest.figure:.2f}× of what the fastest takes" if a.fastest.figure > 0 else ""
        more.append(f"<b>{text(a.ours.label)}</b> takes {takes(a, a.ours)}{times}.")
    if a.exact:
        more.append(f"The fastest exact strategy is <b>{text(a.exact.label)}</b>: {takes(a, a.exact)}.")
    if a.missing:
        more.append(f"Without a result at this length: {text('; '.join(a.missing))}.")
    return (f'<p class="setting">{badge(a.panel.settings["kind"])} {text(a.panel.title().split(": ", 1)[1])}'
            f'<span class="muted"> · {text(a.panel.subtitle())}</span></p>'
            f'<p class="answer">{sentence(a)}</p><dl class="tiles">{tiles(a)}</dl><p class="more">{" ".join(more)}</p>')


def others(found: list[tuple[int, Answer]]) -> str:
    """The same in a row for each further setting."""
    if not found:
        return ""
    rows = "".join(
        f'<tr><td>{badge(a.panel.settings["kind"])}</td><th scope="row">{text(a.panel.title().split(": ", 1)[1])}'
        f'<br><span class="muted">{text(a.panel.subtitle())}</span></th><td class="number">{a.frames:,}</td>'
        f'<td>{text(a.fastest.label)}</td><td class="number">{figure(a.metric, a.fastest.figure)}</td>'
        f'<td>{text(a.baseline.label) if a.baseline else "–"}</td>'
        f'<td class="number">{factor(a)}</td>'
        f'<td class="number">{size(a.fastest.memory)}</td>'
        f'<td><button type="button" class="small" data-panel="{number}">charts'
        f'<span class="hidden"> of {text(a.panel.title())}</span></button></td></tr>' for number, a in found)
    return ('<details class="others"><summary>'
            f'The same question in {len(found)} other setting{"s" * (len(found) > 1)}</summary>'
            '<div class="scroll" tabindex="0" role="region" aria-label="Answers in other settings"><table><thead><tr>'
            '<th scope="col">Kind</th><th scope="col">Setting</th><th scope="col" class="number">Frames</th>'
            '<th scope="col">Best</th><th scope="col" class="number">Takes</th><th scope="col">Next best</th>'
            '<th scope="col" class="number">Factor</th><th scope="col" class="number">Memory</th>'
            f'<th scope="col">Charts</th></tr></thead><tbody>{rows}</tbody></table></div></details>')


def answers_html(found: list[tuple[int, Answer]]) -> str:
    if not found:
        return '<p class="answer">No line holds a figure to compare: nothing was done, or nothing was timed.</p>'
    return first(found[0][1]) + others(found[1:])
