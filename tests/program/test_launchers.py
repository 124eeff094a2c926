# SPDX-License-Identifier: Apache-2.0
"""Ranks that other launchers start, and what happens where they do not find each other."""
import json
import os
import shutil
import socket
import subprocess

import pytest

from started_ranks import BLOCKS, PATIENCE, as_rank, end_of, free_port, torchrun, wait_for_latents
from test_program import MODEL, PROGRAM, run


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
    check_launched(torchrun(), tmp_path)


@pytest.mark.skipif(not shutil.which("mpirun"), reason="no mpirun (Debian: openmpi-bin)")
def test_mpirun_starts_ranks(tmp_path):
    check_launched(["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", "2"], tmp_path)


def test_variables_of_srun_make_ranks(tmp_path):
    # As srun does it for a step of two tasks on one node.
    script = ('trap "kill 0" TERM; tasks=; for r in 0 1; do SLURM_PROCID=$r SLURM_LOCALID=$r "$@" & tasks="$tasks $!"; '
              'done; for task in $tasks; do wait $task || exit; done')
    check_launched(["bash", "-c", script, "srun"], tmp_path, SLURM_STEP_NUM_TASKS="2", SLURM_STEP_TASKS_PER_NODE="2",
                   SLURM_JOB_ID=str((free_port() - 20000) % 40000), SLURM_STEP_ID="0", TORCH_CPP_LOG_LEVEL="ERROR")
