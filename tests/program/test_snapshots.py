# SPDX-License-Identifier: Apache-2.0
"""--snapshot, --resume, --restarts: a run that is ended goes on to the same latents, bit by bit."""
import json
import os
import shlex
import signal
import subprocess

import pytest
from started_ranks import PATIENCE, SHORT, ranks_of, torchrun, wait_until
from test_program import PROGRAM, check_refused, run

EVERY = ["--snapshot-every", 0]


def made(folder, *arguments, code=0, **kwargs):
    """Latents of a run, and what it said."""
    done = run(*SHORT, *arguments, "--save-latents", folder / "latents.safetensors", **kwargs)
    assert done.returncode == code, done.stderr
    return (folder / "latents.safetensors").read_bytes() if code == 0 else None, done.stderr


def undisturbed(folder, *arguments):
    (folder / "whole").mkdir()
    return made(folder / "whole", *arguments)[0]


def snapshots(folder):
    return sorted(p for p in folder.glob("snapshot-*") if (p / "rank-0.safetensors").exists())


def ended(folder, *arguments, sig, rank=None, after=2):
    """Starts a run, ends it by a signal when it has kept some snapshots. Exit code, and what it said."""
    kept = folder / "kept"
    child = subprocess.Popen([PROGRAM, *map(str, SHORT), *map(str, arguments), "--snapshot", kept, *map(str, EVERY),
                              "--save-latents", folder / "latents.safetensors"], stderr=subprocess.PIPE, text=True)
    begun = wait_until(lambda: len(snapshots(kept)) >= after or child.poll() is not None)
    assert begun and child.poll() is None, child.communicate()
    os.kill(ranks_of(child.pid)[rank] if rank is not None else child.pid, sig)
    errors = child.communicate(timeout=PATIENCE)[1]
    return child.returncode, errors


RUNS = {"dualparal": ["--strategy", "dualparal", "--block-frames", 3, "--context-frames", 2, "--frames", 97, "--steps", 8],
        "single": ["--strategy", "single", "--frames", 33, "--steps", 40],
        "ring": ["--strategy", "ring", "--frames", 33, "--steps", 40]}


@pytest.mark.parametrize("strategy, nproc, rank", [("single", 1, None), ("ring", 2, 1), ("dualparal", 3, 1)])
def test_a_killed_run_goes_on_to_the_same_latents(tmp_path, strategy, nproc, rank):
    arguments = [*RUNS[strategy], "--nproc", nproc]
    whole = undisturbed(tmp_path, *arguments)
    code, errors = ended(tmp_path, *arguments, sig=signal.SIGKILL, rank=rank)
    assert code == (1 if rank is not None else -signal.SIGKILL)
    if rank is not None:  # a process that is killed alone says nothing
        last = errors.strip().splitlines()[-1]
        assert last.startswith("error: ") and "rank 1 was killed by signal 9" in last and "; to go on: " in last, errors
        command = shlex.split(last.split("; to go on: ")[1])
        assert command[-2:] == ["--resume", str(tmp_path / "kept")]
    latents, said = made(tmp_path, *arguments, "--resume", tmp_path / "kept")
    assert latents == whole
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("strategy, nproc, sig", [("single", 1, signal.SIGTERM), ("dualparal", 2, signal.SIGUSR1)])
def test_a_run_that_is_told_to_stop_keeps_its_state(tmp_path, strategy, nproc, sig):
    arguments = [*RUNS[strategy], "--nproc", nproc]
    whole = undisturbed(tmp_path, *arguments)
    code, errors = ended(tmp_path, *arguments, sig=sig)
    assert code == 75 and "error" not in errors, errors
    command = shlex.split(errors.strip().splitlines()[-1].split("to go on: ")[1])
    assert not (tmp_path / "latents.safetensors").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)  # as it was told
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "latents.safetensors").read_bytes() == whole


def test_a_wish_that_reaches_one_rank_stops_all(tmp_path):
    arguments = [*RUNS["dualparal"], "--nproc", 2]
    code, errors = ended(tmp_path, *arguments, sig=signal.SIGUSR1, rank=1)
    assert code == 75 and len(snapshots(tmp_path / "kept")) == 2, errors


def stopped(tmp_path, *arguments):
    code, errors = ended(tmp_path, *arguments, sig=signal.SIGTERM)
    assert code == 75, errors
    return tmp_path / "kept"


def test_other_ranks_and_stages_give_the_same_within_rounding(tmp_path):
    from safetensors.torch import load_file
    arguments = RUNS["dualparal"]
    whole = undisturbed(tmp_path, *arguments, "--nproc", 2)
    kept = stopped(tmp_path, *arguments, "--nproc", 2)
    made(tmp_path, *arguments, "--nproc", 3, "--partition", "balanced", "--resume", kept)
    (tmp_path / "whole.safetensors").write_bytes(whole)
    ours, expected = [load_file(tmp_path / f"{name}.safetensors")["latents"] for name in ("latents", "whole")]
    assert (ours - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_caches_in_host_memory_are_kept_and_put_back_there(tmp_path):
    arguments = [*RUNS["dualparal"], "--previous-context", "matched_kv", "--cache-memory", "host", "--nproc", 2]
    whole = undisturbed(tmp_path, *arguments)
    latents, _ = made(tmp_path, *arguments, "--resume", stopped(tmp_path, *arguments))
    assert latents == whole


def test_another_run_is_refused_by_name_and_damage_by_file(tmp_path):
    arguments = RUNS["single"]
    whole = undisturbed(tmp_path, *arguments)
    kept = stopped(tmp_path, *arguments)
    for flags, words in [(["--seed", 7], ["--seed: kept 0, given 7"]),
                         (["--prompt", "a blue square"], ["--prompt: kept", "a red circle", "a blue square"]),
                         (["--guidance-scale", 2], ["--guidance-scale: kept", "given 2.0"]),
                         (["--strategy", "ring"], ['--strategy: kept "single", given "ring"']),
                         (["--dtype", "bf16"], ["--dtype"]),
                         (["--snapshot", tmp_path / "other"], ["--resume", "other"])]:
        replaced = [a for i, a in enumerate([*SHORT, *arguments]) if a != flags[0] and [*SHORT, *arguments][i - 1] != flags[0]]
        check_refused(run(*replaced, *flags, "--resume", kept), [2], ["--resume", str(kept), *words])
    check_refused(run(*SHORT, *arguments, "--snapshot", kept), [2], ["--snapshot", "earlier run", "--resume"])
    older, newer = snapshots(kept)
    file = newer / "rank-0.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    latents, said = made(tmp_path, *arguments, "--resume", kept)
    lines = [line for line in said.splitlines() if "damaged" in line]
    assert latents == whole and len(lines) == 1 and str(file) in lines[0] and older.name in lines[0], said


@pytest.mark.parametrize("flags, words", [
    (["--resume", "nowhere"], ["--resume nowhere", "no snapshot"]),
    (["--restarts", 2], ["--restarts 2", "--snapshot"]),
    (["--snapshot", "s", "--mode", "trace"], ["--snapshot", "trace"]),
    (["--snapshot", "s", "--repeats", 2], ["--snapshot", "repeated"]),
    (["--snapshot", "s", "--snapshot-every", -1], ["--snapshot-every"]),
    (["--snapshot", "s", "--strategy", "pipefusion"], ["pipefusion"])])
def test_what_cannot_be_is_refused(tmp_path, flags, words):
    check_refused(run(*SHORT, "--frames", 5, "--steps", 2, *flags, cwd=tmp_path), [2], words)
    assert not list(tmp_path.iterdir())


def check_restarts_go_on(folder, launcher, *flags):
    """A run that is started again when rank 1 is killed ends with an undisturbed one's latents. What was said, and its line."""
    whole = undisturbed(folder, *RUNS["dualparal"], "--nproc", 2)
    kept = folder / "kept"
    command = [*launcher, PROGRAM, *SHORT, *RUNS["dualparal"], *EVERY, "--snapshot", kept, *flags,
               "--save-latents", folder / "latents.safetensors", "--result", folder / "result.jsonl"]
    child = subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True)
    assert wait_until(lambda: len(snapshots(kept)) >= 2 or child.poll() is not None) and child.poll() is None
    os.kill(ranks_of(child.pid)[1], signal.SIGKILL)
    errors = child.communicate(timeout=PATIENCE)[1]
    assert child.returncode == 0, errors
    assert (folder / "latents.safetensors").read_bytes() == whole
    line = json.loads((folder / "result.jsonl").read_text())
    assert line["provenance"]["resumed_after"] > 0 and line["latency_s"] is None  # of a part: no latency of the run
    return errors


def test_restarts_go_on_by_themselves(tmp_path):
    errors = check_restarts_go_on(tmp_path, [], "--nproc", 2, "--restarts", 2)
    assert "rank 1 was killed by signal 9" in errors and "1 more restart" in errors, errors


def test_torchrun_restarts_ranks_which_go_on(tmp_path):
    check_restarts_go_on(tmp_path, torchrun("--max-restarts", 1), "--resume", tmp_path / "kept")
