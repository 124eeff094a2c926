# SPDX-License-Identifier: Apache-2.0
"""Several ranks as a user starts them, and what happens when one fails."""
import json
import os
import resource
import shutil
import signal
import subprocess
import time

import pytest

from test_program import MODEL, PROGRAM, run

SHORT = ["generate", "--no-decode", "--no-quality", "--quiet", "--threads", 1, "--prompt", "a red circle"]
BLOCKS = [*SHORT, "--strategy", "dualparal", "--block-frames", 4, "--context-frames", 2]


def ranks_of(launcher):
    """Process ids by rank of the launcher's children."""
    out = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/environ") as environ:
                if int(stat.read().rsplit(")", 1)[1].split()[1]) == launcher:
                    variables = dict(v.split("=", 1) for v in environ.read().split("\0") if "=" in v)
                    out[int(variables["RANK"])] = int(pid)
        except (OSError, KeyError):
            pass
    return out


def start(*arguments):
    child = subprocess.Popen([PROGRAM, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.time() + 60
    while len(ranks := ranks_of(child.pid)) < 3 and time.time() < deadline:
        time.sleep(0.05)
    return child, ranks


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_latents_are_the_same_on_any_number_of_ranks(tmp_path):
    files = []
    for ranks in (1, 3):
        latents, result = tmp_path / f"{ranks}.safetensors", tmp_path / f"{ranks}.jsonl"
        done = run(*BLOCKS, "--frames", 81, "--steps", 3, "--nproc", ranks, "--save-latents", latents, "--result", result,
                   "--timeline", tmp_path / "timeline.json")
        assert done.returncode == 0, done.stderr
        files.append(latents.read_bytes())
        line = json.loads(result.read_text())
        assert line["world_size"] == len(line["per_rank"]) == ranks
        for rank in line["per_rank"]:
            parts = rank["compute_s"] + rank["communication_s"] + rank["idle_s"]
            assert parts == pytest.approx(line["latency_s"], rel=0.1)
        events = json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
        assert {e["pid"] for e in events} == set(range(ranks))
    assert files[0] == files[1]
    assert sum(r["weights_bytes"] > 0 for r in line["per_rank"]) == 3


@pytest.mark.parametrize("sig, words", [(signal.SIGKILL, "rank 1 was killed by signal 9"),
                                        (signal.SIGSTOP, "rank 1 does not run any more")])
def test_a_lost_rank_is_named_and_finished_latents_stay(tmp_path, sig, words):
    latents = tmp_path / "latents.safetensors"
    child, ranks = start(*BLOCKS, "--frames", 1025, "--steps", 6, "--nproc", 3, "--timeout", 4, "--save-latents", latents)
    pieces = tmp_path / "latents.safetensors.partial"
    deadline = time.time() + 60
    while not list(pieces.glob("0*.safetensors")) and time.time() < deadline and child.poll() is None:
        time.sleep(0.05)
    os.kill(ranks[1], sig)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 1
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: ") and words in last and "block" in last, errors
    assert errors.count("error: ") == 1
    assert not latents.exists() and list(pieces.glob("0*.safetensors"))
    assert not any(alive(pid) for pid in ranks.values())


def test_an_interrupt_ends_every_rank():
    child, ranks = start(*BLOCKS, "--frames", 1025, "--steps", 50, "--nproc", 3)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 1 and "Interrupt" in errors
    assert len(ranks) == 3 and not any(alive(pid) for pid in ranks.values())


def test_a_rank_without_memory_is_named(tmp_path):
    # Activations of this size are mapped afresh each time, so a limit takes effect at once.
    large = [*BLOCKS, "--height", 256, "--width", 384, "--frames", 257, "--steps", 2]
    child, ranks = start(*large, "--nproc", 3, "--timeout", 20, "--save-latents", tmp_path / "latents.safetensors")
    pieces = tmp_path / "latents.safetensors.partial"
    deadline = time.time() + 90
    while not list(pieces.glob("0*.safetensors")) and time.time() < deadline and child.poll() is None:
        time.sleep(0.05)
    with open(f"/proc/{ranks[1]}/statm") as sizes:
        limit = int(sizes.read().split()[0]) * resource.getpagesize() + (2 << 20)  # room for the error message
    resource.prlimit(ranks[1], resource.RLIMIT_AS, (limit, limit))
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 1
    last = errors.strip().splitlines()[-1]
    assert "rank 1" in last and "memory" in last and "block" in last, errors
    assert not any(alive(pid) for pid in ranks.values())


def as_rank(rank, world_size, port, *arguments, program=PROGRAM):
    environment = dict(os.environ, RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(rank),
                       LOCAL_WORLD_SIZE=str(world_size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
                       TORCH_CPP_LOG_LEVEL="ERROR")
    return subprocess.Popen([program, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                            env=environment)


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_a_peer_that_never_joins_is_named():
    child = as_rank(0, 2, free_port(), *BLOCKS, "--frames", 33, "--steps", 2, "--timeout", 2)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 1 and "rank(s) 1 of 2 did not join within 2 s" in errors, errors


def all_name_rank_1(ranks, word):
    for child in ranks:
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 1 and word in errors and "rank 1" in errors, errors


def test_ranks_with_other_options_are_refused():
    port = free_port()
    ranks = [as_rank(r, 2, port, *BLOCKS, "--frames", 33, "--steps", 2, "--seed", r) for r in range(2)]
    all_name_rank_1(ranks, "seed")


def test_ranks_of_another_build_are_refused(tmp_path):
    other = tmp_path / "dualparal"
    shutil.copy2(PROGRAM, other)
    with open(other, "ab") as file:
        file.write(b"another build")
    port = free_port()
    ranks = [as_rank(r, 2, port, *BLOCKS, "--frames", 33, "--steps", 2, program=program)
             for r, program in enumerate((PROGRAM, other))]
    all_name_rank_1(ranks, "program")


def test_a_rank_with_a_damaged_checkpoint_is_named(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    weights = next((model / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1000])
    port = free_port()
    ranks = [as_rank(r, 2, port, *BLOCKS, "--frames", 33, "--steps", 2, "--model", folder)
             for r, folder in enumerate((MODEL, model))]
    errors = [child.communicate(timeout=60)[1] for child in ranks]
    assert [child.returncode for child in ranks] == [1, 1]
    assert "rank 1" in errors[0] and weights.name in errors[0], errors[0]


def test_a_port_in_use_is_named():
    import socket
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        child = as_rank(0, 2, busy.getsockname()[1], *BLOCKS, "--frames", 33, "--steps", 2, "--timeout", 3)
        _, errors = child.communicate(timeout=60)
    assert child.returncode == 1 and "in use" in errors, errors
