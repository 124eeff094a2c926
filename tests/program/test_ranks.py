# SPDX-License-Identifier: Apache-2.0
"""Several ranks as a user starts them, and what happens when one fails."""
import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import termios
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


PATIENCE = 240  # seconds, on a busy machine; nothing waits that long when it works


def wait_until(condition):
    deadline = time.time() + PATIENCE
    while not (result := condition()) and time.time() < deadline:
        time.sleep(0.05)
    return result


def start(*arguments, **kwargs):
    """The launcher of three ranks, and their process ids by rank."""
    kwargs = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True, **kwargs}
    child = subprocess.Popen([PROGRAM, *map(str, arguments), "--nproc", "3"], **kwargs)
    assert wait_until(lambda: len(ranks_of(child.pid)) == 3 or child.poll() is not None)
    ranks = ranks_of(child.pid)
    assert len(ranks) == 3, child.communicate(timeout=PATIENCE)
    return child, ranks


def wait_for_latents(child, folder):
    wait_until(lambda: list(folder.glob("0*.safetensors")) or child.poll() is not None)
    time.sleep(0.5)  # what a rank is doing is told to the others a few times a second
    assert list(folder.glob("0*.safetensors")) and child.poll() is None


def end_of(child):
    """What it said on standard error."""
    return child.communicate(timeout=PATIENCE)[1]


def shared_memory():
    return {name for name in os.listdir("/dev/shm") if name.startswith(("gloo", "nccl", "torch", "dualparal"))}


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_latents_are_the_same_on_any_number_of_ranks(tmp_path):
    files, weights = [], []
    for ranks in (1, 3):
        latents, result = tmp_path / f"{ranks}.safetensors", tmp_path / f"{ranks}.jsonl"
        done = run(*BLOCKS, "--frames", 81, "--steps", 8, "--nproc", ranks, "--save-latents", latents, "--result", result,
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
        weights.append([rank["weights_bytes"] for rank in line["per_rank"]])
    assert files[0] == files[1]
    # A third of the layers each; what every rank holds (time and text embedding) is small.
    assert max(weights[1]) < 0.45 * weights[0][0] and sum(weights[1]) < 1.3 * weights[0][0], weights


@pytest.mark.parametrize("sig, timeout, words", [(signal.SIGKILL, 60, "rank 1 was killed by signal 9"),
                                                 (signal.SIGSTOP, 15, "rank 1 does not run any more")])
def test_a_lost_rank_is_named_and_finished_latents_stay(tmp_path, sig, timeout, words):
    latents = tmp_path / "latents.safetensors"
    before = shared_memory()
    child, ranks = start(*BLOCKS, "--frames", 1025, "--steps", 6, "--timeout", timeout, "--save-latents", latents)
    pieces = tmp_path / "latents.safetensors.partial"
    wait_for_latents(child, pieces)
    os.kill(ranks[1], sig)
    errors = end_of(child)
    assert child.returncode == 1
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: ") and words in last, errors
    for word in ("block", "step", "layers"):
        assert word in last, errors
    assert errors.count("error: ") == 1
    assert not latents.exists() and list(pieces.glob("0*.safetensors"))
    assert not any(alive(pid) for pid in ranks.values())
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
    child = as_rank(0, 2, free_port(), *BLOCKS, "--frames", 33, "--steps", 2, "--timeout", 4)
    errors = end_of(child)
    assert child.returncode == 1 and "rank(s) 1 of 2 did not join within 4 s" in errors, errors


def test_a_rank_without_the_others_says_so_once():
    child = as_rank(1, 2, free_port(), *BLOCKS, "--frames", 33, "--steps", 2, "--timeout", 4)
    errors = end_of(child)
    assert child.returncode == 1 and "could not reach the rendezvous store of rank 0" in errors, errors
    assert len(errors.splitlines()) == 1, errors


def all_name_rank_1(ranks, word):
    for child in ranks:
        errors = end_of(child)
        assert child.returncode == 1 and word in errors and "rank 1" in errors, errors


def test_ranks_with_other_options_are_refused():
    port = free_port()
    ranks = [as_rank(r, 2, port, *BLOCKS, "--frames", 33, "--steps", 2, "--seed", r) for r in range(2)]
    all_name_rank_1(ranks, "seed")


def test_ranks_with_another_model_are_refused(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    config = json.loads((model / "transformer/config.json").read_text())
    (model / "transformer/config.json").write_text(json.dumps(config | {"eps": 1e-5}))
    port = free_port()
    ranks = [as_rank(r, 2, port, *BLOCKS, "--frames", 33, "--steps", 2, "--model", folder)
             for r, folder in enumerate((MODEL, model))]
    all_name_rank_1(ranks, "model configuration")


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
    errors = [end_of(child) for child in ranks]
    assert [child.returncode for child in ranks] == [1, 1]
    for error in errors:
        assert "rank 1" in error and weights.name in error, errors


def test_a_port_in_use_is_named():
    import socket
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        child = as_rank(0, 2, busy.getsockname()[1], *BLOCKS, "--frames", 33, "--steps", 2, "--timeout", 3)
        errors = end_of(child)
    assert child.returncode == 1 and "in use" in errors, errors


def three_at_work(latents):
    """Three ranks without a launcher, some blocks of theirs finished."""
    port = free_port()
    ranks = [as_rank(r, 3, port, *BLOCKS, "--frames", 1025, "--steps", 6, "--timeout", 60, "--save-latents", latents)
             for r in range(3)]
    wait_for_latents(ranks[0], latents.with_name(latents.name + ".partial"))
    return ranks


def test_a_rank_that_dies_without_a_launcher_of_ours_is_named(tmp_path):
    ranks = three_at_work(tmp_path / "latents.safetensors")
    ranks[2].kill()
    for child in ranks[:2]:
        errors = end_of(child)
        assert child.returncode == 1 and "rank 2 does not run any more" in errors and "layers" in errors, errors
        assert errors.count("error: ") == 1, errors


def test_without_the_rank_that_holds_the_store_all_end(tmp_path):
    ranks = three_at_work(tmp_path / "latents.safetensors")
    ranks[0].kill()
    for child in ranks[1:]:
        errors = end_of(child)
        assert child.returncode == 1 and "rank 0" in errors, errors


LAUNCHED = [*BLOCKS, "--frames", 33, "--steps", 2]


def check_launched(command, tmp_path, ranks=2, **variables):
    """The latents that a foreign launcher's ranks write are those of one rank."""
    alone, together, result = (tmp_path / name for name in ("alone.safetensors", "together.safetensors", "r.jsonl"))
    assert run(*LAUNCHED, "--save-latents", alone).returncode == 0
    arguments = [PROGRAM, *map(str, LAUNCHED), "--save-latents", together, "--result", result]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=2 * PATIENCE,
                          env={**os.environ, **variables})
    assert done.returncode == 0, done.stderr
    assert together.read_bytes() == alone.read_bytes()
    assert json.loads(result.read_text())["world_size"] == ranks


def test_torchrun_starts_ranks(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--nproc-per-node", "2", "--master-port",
                str(free_port())]
    check_launched(torchrun, tmp_path)


@pytest.mark.skipif(not shutil.which("mpirun"), reason="no mpirun (Debian: openmpi-bin)")
def test_mpirun_starts_ranks(tmp_path):
    check_launched(["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", "2"], tmp_path)


def test_variables_of_srun_make_ranks(tmp_path):
    # As srun does it for a step of two tasks on one node.
    script = ('trap "kill 0" TERM; tasks=; for r in 0 1; do SLURM_PROCID=$r SLURM_LOCALID=$r "$@" & tasks="$tasks $!"; '
              'done; for task in $tasks; do wait $task || exit; done')
    check_launched(["bash", "-c", script, "srun"], tmp_path, SLURM_STEP_NUM_TASKS="2", SLURM_STEP_TASKS_PER_NODE="2",
                   SLURM_JOB_ID=str((free_port() - 20000) % 40000), SLURM_STEP_ID="0", TORCH_CPP_LOG_LEVEL="ERROR")


@pytest.mark.parametrize("frames", [81, 85])
def test_every_frame_that_was_asked_for_is_there(tmp_path, frames):
    arguments = [a for a in BLOCKS if a != "--no-decode"]
    done = run(*arguments, "--frames", frames, "--steps", 1, "--nproc", 2, "--save-frames", tmp_path / "png")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "png").glob("*.png"))) == frames
