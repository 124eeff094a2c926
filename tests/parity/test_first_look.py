# SPDX-License-Identifier: Apache-2.0
"""The table that ./run bench ends with."""
from __future__ import annotations

from pathlib import Path

from plot_lines import failed, line, write

import first_look


def tell_exact(lines: list[dict]) -> list[dict]:
    """As the program's lines do."""
    return [{"exact": one["strategy"] in ("single", "ring"), **one} for one in lines]


def results() -> list[dict]:
    content = {"quality": {"content": 0.97, "content_first_frame": 0.0}}
    return tell_exact([
            line("single", 257, 10.0, world_size=1, samples=[9.0, 10.0, 12.0], **content), line("single", 33, 1.0, world_size=1),
            line("ring", 257, 5.0, world_size=2, error_vs_single=3e-6), line("ring", 257, 8.0, world_size=4),
            line("fifo", 257, 20.0, world_size=2, quality={"content": 0.5, "psnr_db": 21.4}),
            line("dualparal", 257, 4.0, world_size=2, peak_memory_bytes=64 * 2**20, quality={"content": 1.0}),
            line("dualparal", 257, 4.5, world_size=2, options={"feature_cache": "off"}),
            failed("pipefusion", 257)])


def cells(text: str) -> dict[str, list[str]]:
    return {row.split()[0]: row.split() for row in text.splitlines()}


def test_a_row_a_strategy_at_the_longest_length_fastest_first() -> None:
    text = first_look.table(results())
    rows = text.splitlines()
    assert [row.split()[0] for row in rows[1:6]] == ["strategy", "dualparal", "ring", "single", "fifo"]
    assert rows[0].startswith("257 frames of wan2.1-t2v-1.3b, measured, GPU A")
    of = cells(text)
    assert of["dualparal"][1:7] == ["2", "4", "-", "0.40", "0.80", "64.0"]
    assert of["ring"][1:6] == ["2", "5", "-", "0.50", "1.00"]  # of its two, the faster
    assert of["single"][1:6] == ["1", "10", "9-12", "1.00", "2.00"]
    assert "single's, to 3e-06" in text and "its own, 21 dB from single's, 50% of frames as asked" in text
    assert "the reference, 97% of frames as asked (not the first)" in text and "its own, 100% of frames as asked" in text
    assert rows[-1] == "no result: pipefusion on 8: out of memory"


def test_all_strategies_fit_into_fifteen_lines() -> None:
    names = ("single", "ring", "ulysses", "usp", "video_infinity", "context_windows", "fifo", "naive_pipeline", "pipefusion",
             "dualparal")
    assert len(first_look.table([line(name, 257) for name in names]).splitlines()) <= 13  # and where the page is


def test_without_single_and_without_times(tmp_path: Path, capsys) -> None:
    assert cells(first_look.table([line("ring", 257, 5.0)]))["ring"][4] == "-"
    nothing = write(tmp_path / "results.jsonl", [failed("ring", 257)])
    assert first_look.main([str(nothing)]) == 0 and "nothing was timed" in capsys.readouterr().out
    assert first_look.main([str(tmp_path / "absent")]) == 1 and capsys.readouterr().err.startswith("error: ")
