# SPDX-License-Identifier: Apache-2.0
"""Several ranks as a user starts them, and what happens when one fails."""
import fcntl
import json
import os
import resource
import signal
import termios
import time

import pytest

from started_ranks import BLOCKS, PATIENCE, SHORT, alive, end_of, shared_memory, start, wait_for_latents, wait_until
from test_program import run


def test_latents_are_the_same_on_any_number_of_ranks(tmp_path):
    files, weights, sent = [], [], []
    for ranks, ahead in ((1, 2), (3, 2), (3, 0)):
        kept = ["--timeline", tmp_path / "timeline.json"] if ahead else []  # else events are added up as they come
        latents, result = tmp_path / f"{ranks}.safetensors", tmp_path / "result.jsonl"
        result.unlink(missing_ok=True)
        done = run(*BLOCKS, "--frames", 81, "--steps", 8, "--nproc", ranks, "--receive-ahead", ahead, "--save-latents", latents, "--result", result,
                   *kept)
        assert done.returncode == 0, done.stderr
        files.append(latents.read_bytes())
        line = json.loads(result.read_text())
        assert line["world_size"] == len(line["per_rank"]) == ranks
        for rank in line["per_rank"]:
            parts = rank["compute_s"] + rank["communication_s"] + rank["idle_s"]
            assert parts == pytest.approx(line["latency_s"], rel=0.1)
            assert rank["compute_s"] > 0 and (ranks == 1 or rank["communication_s"] > 0)
        assert 0 < line["first_block_s"] < line["latency_s"] and 0 <= line["bubble_ratio"] < 1
        sent.append(line["sent_bytes"])
        events = json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
        assert {e["pid"] for e in events} == set(range(ranks))
        weights.append([rank["weights_bytes"] for rank in line["per_rank"]])
    assert files[0] == files[1] == files[2]
    assert 0 == sent[0] < sent[1] == sent[2]
    # A third of the layers each; what every rank holds (time and text embedding) is small.
    assert max(weights[1]) < 0.45 * weights[0][0] and sum(weights[1]) < 1.3 * weights[0][0], weights


LOSSES = {signal.SIGKILL: (60, "rank 1 was killed by signal 9"), signal.SIGSTOP: (15, "rank 1 does not run any more")}


def errors_of_a_lost_rank(folder, sig, nproc, *flags):
    """What is said of the loss of rank 1, in whose last line it is named."""
    latents = folder / "latents.safetensors"
    timeout, words = LOSSES[sig]
    child, ranks = start(*BLOCKS, *flags, "--frames", 1025, "--steps", 6, "--timeout", timeout, "--save-latents", latents,
                         nproc=nproc)
    wait_for_latents(child, folder / "latents.safetensors.partial")
    os.kill(ranks[1], sig)
    errors = end_of(child)
    assert child.returncode == 1 and not latents.exists()
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: ") and words in last, errors
    assert not any(alive(pid) for pid in ranks.values())
    return errors


@pytest.mark.parametrize("sig", LOSSES, ids=["killed", "stopped"])
@pytest.mark.parametrize("stages, sequence, guidance", [(1, 2, 1), (2, 2, 1), (2, 1, 2), (1, 2, 2), (4, 2, 1), (2, 2, 2)])
def test_a_lost_rank_of_a_group_is_named(tmp_path, sig, stages, sequence, guidance):
    errors = errors_of_a_lost_rank(tmp_path, sig, stages * sequence * guidance, "--stages", stages, "--sequence-degree", sequence,
                                   "--guidance-degree", guidance)
    where = {(2, 2, 1): ["layers"], (2, 1, 2): ["block", "step"]}.get((stages, sequence, guidance), [])
    assert all(word in errors.strip().splitlines()[-1] for word in where), errors


def test_a_lost_rank_of_a_part_of_a_layer_is_named(tmp_path):
    errors = errors_of_a_lost_rank(tmp_path, signal.SIGKILL, 3, "--partition", "2:cross:0.5,6")
    assert "layers 2..5 (from cross-attention of 2 to feed-forward of 5)" in errors.strip().splitlines()[-1]


@pytest.mark.parametrize("sig", LOSSES, ids=["killed", "stopped"])
def test_a_lost_rank_is_named_and_finished_latents_stay(tmp_path, sig):
    before = shared_memory()
    errors = errors_of_a_lost_rank(tmp_path, sig, 3)
    for word in ("block", "step", "layers"):
        assert word in errors.strip().splitlines()[-1], errors
    assert errors.count("error: ") == 1
    assert list((tmp_path / "latents.safetensors.partial").glob("0*.safetensors"))
    assert shared_memory() <= before


@pytest.mark.parametrize("flags, words", [
    (["context_windows", "--window-frames", 5, "--overlap-frames", 2], ["frames", "step"]),
    (["pipefusion"], ["block", "step", "layers"])], ids=lambda x: x[0])
def test_a_lost_rank_of_a_strategy_that_finishes_all_at_once_is_named(tmp_path, flags, words):
    arguments = [a for a in SHORT if a != "--quiet"]
    with open(tmp_path / "errors", "w+") as file:
        child, ranks = start(*arguments, "--strategy", *flags, "--frames", 513, "--steps", 500, "--timeout", 60, stderr=file)
        assert wait_until(lambda: ": step " in (tmp_path / "errors").read_text() or child.poll() is not None)
        assert child.poll() is None
        time.sleep(1)  # what a rank is doing is told to the others a few times a second
        os.kill(ranks[1], signal.SIGKILL)
        assert child.wait(timeout=PATIENCE) == 1
    errors = (tmp_path / "errors").read_text()
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: ") and "rank 1 was killed by signal 9" in last, errors
    assert all(word in last for word in words), errors
    assert not any(alive(pid) for pid in ranks.values())


LONG = [*BLOCKS, "--frames", 1025, "--steps", 50]


def test_an_interrupt_ends_every_rank():
    child, ranks = start(*LONG)
    child.send_signal(signal.SIGINT)
    errors = end_of(child)
    assert child.returncode == 1 and "Interrupt" in errors
    assert not any(alive(pid) for pid in ranks.values())


def test_control_c_reaches_launcher_and_ranks_at_once(tmp_path):
    video = tmp_path / "video.mp4"
    arguments = [a for a in LONG if a != "--no-decode"]
    child, ranks = start(*arguments, "--output", video, start_new_session=True)
    wait_until(lambda: list(tmp_path.iterdir()))  # the unfinished video
    os.killpg(child.pid, signal.SIGINT)
    errors = end_of(child)
    assert child.returncode == 1 and errors.count("error: ") == 1 and "Interrupt" in errors, errors
    assert not any(alive(pid) for pid in ranks.values())
    assert not list(tmp_path.iterdir())


def test_a_closed_terminal_ends_every_rank():
    terminal, inner = os.openpty()

    def own_the_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    child, ranks = start(*[a for a in LONG if a != "--quiet"], stdin=inner, stdout=inner, stderr=inner,
                         preexec_fn=own_the_terminal)
    os.close(inner)
    os.close(terminal)  # whoever has it as its terminal gets SIGHUP
    assert child.wait(timeout=PATIENCE) != 0
    assert wait_until(lambda: not any(alive(pid) for pid in ranks.values()))


def test_ranks_do_not_outlive_a_killed_launcher():
    child, ranks = start(*LONG)
    child.kill()
    child.communicate(timeout=PATIENCE)
    assert wait_until(lambda: not any(alive(pid) for pid in ranks.values()))


def test_a_rank_without_memory_is_named(tmp_path):
    # What a rank of a small video maps, libraries and weights most of it, and some more, is not enough for a large one.
    child, ranks = start(*BLOCKS, "--frames", 1025, "--steps", 6, "--save-latents", tmp_path / "small.safetensors")
    wait_for_latents(child, tmp_path / "small.safetensors.partial")
    with open(f"/proc/{ranks[1]}/statm") as sizes:
        limit = int(sizes.read().split()[0]) * resource.getpagesize() + (96 << 20)
    child.send_signal(signal.SIGINT)
    end_of(child)
    child, ranks = start(*BLOCKS, "--height", 512, "--width", 768, "--frames", 257, "--steps", 2)
    resource.prlimit(ranks[1], resource.RLIMIT_AS, (limit, limit))
    errors = end_of(child)
    assert child.returncode == 1
    last = errors.strip().splitlines()[-1]
    assert "rank 1" in last and "memory" in last and "block" in last, errors
    assert not any(alive(pid) for pid in ranks.values())


def test_ranks_say_nothing_of_their_own():
    done = run(*[a for a in BLOCKS if a != "--quiet"], "--frames", 33, "--steps", 2, "--nproc", 3)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()  # of one rank: others would have their number before them
    assert lines and all(line.startswith("dualparal: step ") for line in lines), done.stderr


def test_memory_of_a_rank_does_not_grow_with_the_video(tmp_path):
    peaks = []
    for frames in (257, 1025):
        result = tmp_path / f"{frames}.jsonl"
        done = run(*BLOCKS, "--frames", frames, "--steps", 4, "--nproc", 2, "--result", result)
        assert done.returncode == 0, done.stderr
        peaks.append([rank["peak_memory_bytes"] for rank in json.loads(result.read_text())["per_rank"]])
    for shorter, longer in zip(*peaks):
        assert longer < 1.01 * shorter, peaks


def test_computing_goes_on_while_messages_travel(tmp_path):
    """ring: keys and values are sent before the layer's own are attended to, and waited for after that."""
    done = run(*SHORT, "--strategy", "ring", "--frames", 33, "--steps", 2, "--nproc", 2, "--timeline", tmp_path / "t.json")
    assert done.returncode == 0, done.stderr
    events = [e for e in json.loads((tmp_path / "t.json").read_text())["traceEvents"] if e["ph"] == "X"]
    for rank in range(2):
        own = sorted((e for e in events if e["pid"] == rank), key=lambda e: e["ts"])
        hops = 0
        for i, event in enumerate(own):
            layers = event["args"].get("layers", [0, 1])
            if event["cat"] != "receive" or layers[0] != layers[1]:
                continue  # not a hop within a layer
            computed, posted = own[i - 1], own[i - 2]
            assert computed["cat"] == "compute" and computed["dur"] > 0
            assert posted["cat"] == "send" and posted["args"]["layers"] == layers
            hops += 1
        assert hops == 2 * 8  # steps x layers of the embedded model


@pytest.mark.parametrize("frames", [81, 85])
def test_every_frame_that_was_asked_for_is_there(tmp_path, frames):
    arguments = [a for a in BLOCKS if a != "--no-decode"]
    done = run(*arguments, "--frames", frames, "--steps", 1, "--nproc", 2, "--save-frames", tmp_path / "png")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "png").glob("*.png"))) == frames
