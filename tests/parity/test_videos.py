# SPDX-License-Identifier: Apache-2.0
"""Videos side by side, and VBench's scores: from invented result lines and small videos made here."""
from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from plot_lines import line, write

import contact_sheet
import quality
import side_by_side
import vbench
from panels import group
from results import ResultsError, read_results

COLOURS = {"single": (255, 0, 0), "ring": (0, 255, 0), "dualparal": (0, 0, 255)}


def make_video(path: Path, colour: tuple, frames: int) -> None:
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=16, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(frames):
            picture = np.full((64, 96, 3), colour, np.uint8)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        target.mux(stream.encode())


@pytest.fixture
def results(tmp_path: Path) -> Path:
    lines = []
    for strategy, colour in COLOURS.items():
        for frames in (5, 9):
            if (strategy, frames) == ("single", 9):
                continue
            file = f"videos/{strategy}_{frames}.mp4"
            make_video(tmp_path / file, colour, frames)
            lines.append(line(strategy, frames, video=file, config={"prompt": "a circle"},
                              world_size=1 if strategy == "single" else 2))
    return write(tmp_path / "results.jsonl", lines)


def decode(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def test_strategies_stand_side_by_side(results: Path) -> None:
    output = results.parent / "side.mp4"
    assert side_by_side.main([str(results), "-o", str(output)]) == 0
    frames = decode(output)
    assert len(frames) == 5  # three strategies made 5 frames, only two made 9
    choice = side_by_side.choose(read_results([results]))
    assert list(choice.videos) == ["single, N=1", "ring, N=2", "dualparal, N=2"]
    sheet = side_by_side.Sheet(choice, 64, 96)
    for column, colour in enumerate(COLOURS.values()):
        middle = frames[3][sheet.top + sheet.size[1] // 2, sheet.left(column) + sheet.size[0] // 2]
        assert np.abs(middle.astype(int) - colour).max() < 30, column
    assert frames[3][: sheet.top].min() < 100, "no label"


def test_the_number_of_the_frame_is_on_every_video(results: Path) -> None:
    choice = side_by_side.choose(read_results([results]))
    sheet = side_by_side.Sheet(choice, 64, 96)
    black = [np.zeros((64, 96, 3), np.uint8)] * 3
    pages = [np.asarray(sheet.page(black, number)) for number in (3, 4)]
    for column in range(3):
        corner = np.s_[sheet.top + sheet.size[1] - 20:sheet.top + sheet.size[1], sheet.left(column):sheet.left(column) + 30]
        assert pages[0][corner].max() > 200 and (pages[0][corner] != pages[1][corner]).any()


def test_another_set_can_be_chosen(results: Path) -> None:
    assert side_by_side.choose(read_results([results]), frames=9).frames == 9
    with pytest.raises(ResultsError, match='no videos with this.*5 frames, seed 0, "a circle"'):
        side_by_side.choose(read_results([results]), frames=7)


@pytest.mark.parametrize("spoil, words", [
    (lambda path: path.unlink(), "ring_5.mp4: cannot read"), (lambda path: path.write_bytes(b"no video"), "cannot read"),
    (lambda path: make_video(path, (0, 0, 0), 4), "expected 5 frames, as its result line says, found 4")])
def test_a_wrong_video_is_named_and_nothing_is_left(results: Path, spoil, words: str, capsys) -> None:
    spoil(results.parent / "videos" / "ring_5.mp4")
    output = results.parent / "out" / "side.mp4"
    assert side_by_side.main([str(results), "-o", str(output)]) == 1
    assert words in capsys.readouterr().err
    assert list(output.parent.iterdir()) == []


@pytest.fixture
def export(results: Path, tmp_path: Path) -> Path:
    """As `report --vbench-export` leaves it, of three lines; one more line has no video."""
    lines = [row | {"point": f"key{i}", "repeat": 0} for i, row in enumerate(read_results([results]))][:3]
    for row in lines:
        del row["folder"]
    write(results, [*lines, lines[0] | {"video": None, "point": "key0 again", "repeat": 1}])
    folder = tmp_path / "vbench"
    folder.mkdir()
    names = {f"{row['point']}-0.mp4": row for row in lines}
    (folder / "prompts.json").write_text(json.dumps({name: "a circle" for name in names}))
    (folder / "index.json").write_text(json.dumps(
        {name: {"results": str(results), "point": row["point"], "repeat": 0} for name, row in names.items()}))
    return folder


def scores(path: Path, **changes) -> Path:
    """As the vbench package writes them: of single videos, imaging quality in percent and dynamic degree as a truth value."""
    def of(*values):
        return [0.5, [{"video_path": f"/elsewhere/videos/key{i}-0.mp4", "video_results": v} for i, v in enumerate(values)]]

    content = {"subject_consistency": of(0.9, 0.8, 0.7), "imaging_quality": of(60.0, 50.0, 40.0),
               "dynamic_degree": of(True, False, True)} | changes
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_vbench_scores_come_back_into_a_copy(export: Path, results: Path) -> None:
    before = results.read_text()
    scores(export.parent / "scores" / "results_now_eval_results.json")
    (export.parent / "scores" / "results_now_full_info.json").write_text("[]")
    copy = export.parent / "scored" / "results.jsonl"
    assert vbench.main([str(export), str(export.parent / "scores"), "-o", str(copy)]) == 0
    lines = read_results([copy])
    assert [row["quality"].get("vbench") for row in lines] == [
        {"subject_consistency": 0.9, "imaging_quality": 0.6, "dynamic_degree": 1.0},
        {"subject_consistency": 0.8, "imaging_quality": 0.5, "dynamic_degree": 0.0},
        {"subject_consistency": 0.7, "imaging_quality": 0.4, "dynamic_degree": 1.0}, None]
    assert lines[0]["quality"]["flicker"] == 0.98
    assert (copy.parent / lines[0]["video"]).exists()
    assert results.read_text() == before
    panel, = group(lines)
    assert quality.metrics(panel)["quality.vbench.imaging_quality"] == "VBench: imaging quality"


@pytest.mark.parametrize("changes, words", [
    ({"subject_consistency": [0.9, [{"video_path": "key0-0.mp4", "video_results": 0.9}]]}, "no score for key1-0.mp4 .2 miss"),
    ({"subject_consistency": [0.9, [{"video_path": "other.mp4", "video_results": 0.9}]]}, "other.mp4 is no video of"),
    ({"subject_consistency": 0.9}, "expected a mean and a list"),
    ({"subject_consistency": [0.9, [{"video_path": "key0-0.mp4"}]]}, "a number as video_results")])
def test_wrong_scores_are_errors(export: Path, changes: dict, words: str) -> None:
    with pytest.raises(ResultsError, match=words):
        vbench.collect(export, [scores(export.parent / "s" / "eval.json", **changes)])


def test_wrong_files_are_errors(export: Path, results: Path, capsys) -> None:
    good = scores(export.parent / "s" / "a_eval_results.json")
    for arguments, words in (([export / "none", good], "none/index.json: cannot read"),
                             ([export, export / "none.json"], "none.json: cannot read"),
                             ([export, export], "no ..._eval_results.json in this folder")):
        assert vbench.main([*map(str, arguments), "-o", str(export / "copy.jsonl")]) == 1
        assert words in capsys.readouterr().err
    assert vbench.main([str(export), str(good), "-o", str(results)]) == 1
    assert "holds the results themselves" in capsys.readouterr().err
    results.write_text("")
    assert vbench.main([str(export), str(good), "-o", str(export / "copy.jsonl")]) == 1
    assert "expected one line with a video of point key0, repeat 0, for key0-0.mp4; found 0" in capsys.readouterr().err


def test_contact_sheet_reads_videos_with_what_setup_installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                            capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("PATH", "")  # no program's help
    for name, colour in COLOURS.items():
        make_video(tmp_path / f"{name}.mp4", colour, 9)
    frames = contact_sheet.read_frames(tmp_path / "ring.mp4", 3)
    assert [index for index, _ in frames] == [0, 4, 8]
    assert all(picture.shape == (64, 96, 3) and abs(picture.mean((0, 1)) - COLOURS["ring"]).max() < 12 for _, picture in frames)
    monkeypatch.setattr("sys.argv", ["contact_sheet.py", str(tmp_path / "sheet.png"), str(tmp_path / "single.mp4"),
                                     str(tmp_path / "ring.mp4"), "--frames", "3"])
    assert contact_sheet.main() == 0 and (tmp_path / "sheet.png").stat().st_size > 2000
    (tmp_path / "broken.mp4").write_text("no video")
    monkeypatch.setattr("sys.argv", ["contact_sheet.py", str(tmp_path / "none.png"), str(tmp_path / "broken.mp4")])
    assert contact_sheet.main() == 1 and "broken.mp4" in capsys.readouterr().err
