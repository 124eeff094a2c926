# SPDX-License-Identifier: Apache-2.0
"""What the page says, without a browser."""
from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
from page_lines import BLOCKS, EVIL, FRAMES, line, make, make_page, old_line, page_data, some_lines, timeline, \
    write_lines

from page.answer import answers, exactness
from page.data import SYMBOLS, block_borders
from panels import group


def words(html: str) -> str:
    """Of the answer, as a reader sees it."""
    part = html.split('<section id="answer"')[1].split("</section>")[0]
    return re.sub(r"\s+", " ", unescape(re.sub("<[^>]+>", " ", part)))


def test_the_answer_comes_first(tmp_path: Path) -> None:
    said = words(make(tmp_path, some_lines()))
    assert "dualparal is fastest at 61 frames: 5 s on 2 ranks, 1.60× faster than ring (8 s on 2 ranks), the best" in said
    assert "not exact: 21.5 dB from single’s video" in said.replace("'", "’")
    assert "The fastest exact strategy is ring : 8 s on 2 ranks" in said
    assert "fifo on 2: skipped" in said
    assert "The same question in 3 other settings" in said  # emulated, traced, simulated


def test_the_longest_length_is_one_that_two_strategies_reached(tmp_path: Path) -> None:
    lines = [line("ring", 33, 3.0, error_vs_single=2e-7), line("dualparal", 33, 4.0), line("dualparal", 999, 9.0)]
    found = answers(group(lines))[0][1]
    assert (found.frames, found.fastest.strategy, found.baseline.strategy) == (33, "ring", "dualparal")
    assert exactness(found.fastest) == "exact: differs from single by 2.0e-07"
    said = words(make(tmp_path, lines))
    assert "ring is fastest at 33 frames: 3 s on 2 ranks, 1.33× faster than dualparal (4 s on 2 ranks), the next" in said


def test_sparse_attention_is_no_repeat_of_dense_and_not_exact(tmp_path: Path) -> None:
    sparse = {"attention": {"sparse_attention": "lvsa", "sparse_window": 3, "rope_riflex": "off"}}
    dense = {"attention": {"sparse_attention": "none", "rope_riflex": "off"}}
    lines = [line("ring", 33, 2.0, config=sparse, error_vs_single=1e-7), line("ring", 33, 6.0, config=dense)]
    said = words(make(tmp_path, [*lines, line("single", 33, 9.0, config=dense, world_size=1)]))
    assert "ring (sparse-attention lvsa, sparse-window 3) is fastest at 33 frames: 2 s on 2 ranks, 4.50× faster" in said
    assert "not exact: single's result with sparse-attention lvsa, sparse-window 3" in said
    assert "The fastest exact strategy is ring : 6 s" in said


def test_whether_a_strategy_is_exact_is_what_its_line_says() -> None:
    other = line("a strategy of tomorrow", 33, 1.0, exact=True)
    assert exactness(answers(group([other, line("single", 33, 2.0)]))[0][1].fastest) == "exact by construction, not checked in this run"
    assert "not exact" in exactness(answers(group([{**other, "exact": False}, line("single", 33, 2.0)]))[0][1].fastest)
    before = old_line("ring", 33, 1.0)  # said nothing of it
    assert exactness(answers(group([before, line("single", 33, 2.0)]))[0][1].fastest) == "whether it is exact was not recorded"


def test_every_marker_of_the_figures_has_a_symbol() -> None:
    from figure import STRATEGIES
    assert {marker for _, marker in STRATEGIES.values()} <= SYMBOLS.keys()


def test_lines_of_schema_1_are_shown_too(tmp_path: Path) -> None:
    html = make(tmp_path, [old_line("ring", 33, 3.0), old_line("single", 33, 6.0)])
    assert "ring is fastest at 33 frames: 3 s on 2 ranks, 2.00× faster than single" in words(html)
    assert "whether it is exact was not recorded" in words(html)
    assert [row["line"]["schema"] for row in page_data(html)["lines"]] == [1, 1]


def test_nothing_that_was_timed_is_said_so(tmp_path: Path) -> None:
    html = make(tmp_path, [line("fifo", FRAMES, None, status="failed", error="broken", world_size=None)])
    assert "No line holds a figure to compare" in words(html)
    assert page_data(html)["lines"][0]["reason"] == "failed"


@pytest.mark.parametrize("options, frames, latents, expected", [
    # The first block has 4 + 2 latent frames, so the second begins at latent frame 6, which decodes to frame 4·5 + 1.
    (BLOCKS, 61, 16, [21, 37, 53]),
    ({"block_frames": 4, "context_frames": 0}, 33, 9, [13, 29]),  # written with underscores, as numbers
    ({"block-frames": "4"}, 31, 16, [7, 15, 23]),  # a model whose latent frames hold two frames
    ({}, 61, 16, []), ({"block-frames": "many"}, 61, 16, []), ({"block-frames": "0"}, 61, 16, [])])
def test_blocks_begin_where_the_options_say(options: dict, frames: int, latents: int, expected: list[int]) -> None:
    assert block_borders(line(frames=frames, latent_frames=latents, options=options)) == expected


def test_links_are_relative_and_hold_no_protocol(tmp_path: Path) -> None:
    folder = write_lines(tmp_path / "r", [line(video="javascript:alert(1)"), line("ring", video="videos/a b.mp4")])
    for name in ("javascript:alert(1)", "videos/a b.mp4"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no video")
    assert make_page.main([str(folder), "-o", str(tmp_path / "site")]) == 0
    html = (tmp_path / "site" / "index.html").read_text()
    sources = [video["source"] for video in page_data(html)["sets"][0]["videos"]]
    assert sources == ["../r/javascript%3Aalert%281%29", "../r/videos/a%20b.mp4"]
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html), "something comes from the network"


def test_everything_from_lines_is_escaped(tmp_path: Path) -> None:
    where = {"model": EVIL, "experiment": EVIL, "provenance": {"cpu": EVIL}, "config": {"prompt": EVIL}}
    evil = [line(EVIL, 33, 3.0, options={EVIL: EVIL}, **where), line("ring", 33, 5.0, **where),
            line("fifo", 33, None, status="failed", error=EVIL)]
    html = make(tmp_path, evil)
    assert "<img" not in html and html.count("</script>") == 2 and "window.hacked=1</script" not in html
    assert page_data(html)["lines"][0]["line"]["strategy"] == EVIL


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    rows = page_data(make(tmp_path, [line(quality={"psnr_db": float("nan"), "drift": float("inf")})]))["lines"]
    assert rows[0]["line"]["quality"] == {"psnr_db": None, "drift": None}


def test_timelines_are_scripts_beside_the_page(tmp_path: Path) -> None:
    write_lines(tmp_path, [])
    (tmp_path / "timelines").mkdir()
    (tmp_path / "timelines" / "d.json").write_text(json.dumps(timeline()))
    (tmp_path / "timelines" / "bad.json").write_text("{}")
    data = page_data(make(tmp_path, [line(timeline="timelines/d.json"), line("ring", timeline="timelines/bad.json")]))
    assert [entry["script"] for entry in data["timelines"]] == ["page/timeline-0.js", None]
    assert data["timelines"][1]["error"].startswith("bad.json: not a timeline")
    script = (tmp_path / "page" / "timeline-0.js").read_text()
    ranks = json.loads(script.removeprefix("showTimeline(0,").removesuffix(");\n"))["ranks"]
    assert [len(rank["compute"]) for rank in ranks] == [5, 5] and ranks[1]["compute"][2] == [3000, 900, 2, 0]
    assert ranks[1]["waits"] == [[0, 1000, 0]]
    make(tmp_path, [line("ring")])
    assert list((tmp_path / "page").iterdir()) == [tmp_path / "page" / "plotly.min.js"], "an old timeline is left"


@pytest.mark.parametrize("content, said", [
    (None, "no results.jsonl in this folder"), ("", "expected result lines, found none"),
    ('{"schema": 9}\n', "expected a result line of schema 1 or 2, got 9")])
def test_wrong_results_are_errors(tmp_path: Path, content: str | None, said: str, capsys) -> None:
    if content is not None:
        (tmp_path / "results.jsonl").write_text(content)
    assert make_page.main([str(tmp_path)]) == 1
    assert said in capsys.readouterr().err and not (tmp_path / "index.html").exists()
