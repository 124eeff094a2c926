# SPDX-License-Identifier: Apache-2.0
"""How ranks are arranged, said by the factors of their number: --stages, --guidance-degree; and --partition by a file."""
import json

import pytest

from started_ranks import BLOCKS
from test_program import MODEL, check_refused, run

TRACED = ["generate", "--mode", "trace", "--frames", 97, "--steps", 4, "--prompt", "any", "--quiet"]


def line_of(folder, *arguments):
    result = folder / "line.jsonl"
    result.unlink(missing_ok=True)
    done = run(*arguments, "--result", result)
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())


def test_the_number_of_ranks_is_the_product(tmp_path):
    line = line_of(tmp_path, *TRACED, "--strategy", "dualparal", "--stages", 2, "--sequence-degree", 2, "--guidance-degree", 2)
    assert line["world_size"] == 8 and line["options"]["guidance-parallel"] == "on" and line["options"]["sequence-degree"] == "2"
    same = line_of(tmp_path, *TRACED, "--strategy", "dualparal", "--world-size", 8, "--sequence-degree", 2, "--guidance-parallel", "on")
    assert same["config_hash"] == line["config_hash"] and same["sent_bytes"] == line["sent_bytes"]
    # Without guidance there is one group.
    line = line_of(tmp_path, *TRACED, "--strategy", "naive_pipeline", "--stages", 4, "--guidance-degree", 2, "--guidance-scale", 1)
    assert line["world_size"] == 4


def test_a_run_starts_as_many_ranks(tmp_path):
    latents = tmp_path / "latents.safetensors"
    line = line_of(tmp_path, *BLOCKS, "--frames", 33, "--steps", 2, "--stages", 2, "--save-latents", latents)
    assert line["world_size"] == line["config"]["nproc"] == 2
    first = latents.read_bytes()
    line_of(tmp_path, *BLOCKS, "--frames", 33, "--steps", 2, "--stages", 2, "--nproc", 2, "--save-latents", latents)
    assert latents.read_bytes() == first


@pytest.mark.parametrize("arguments, words", [
    (["--strategy", "dualparal", "--stages", 3, "--world-size", 2], ["--stages 3", "3 ranks", "not 2", "--world-size"]),
    (["--strategy", "ring", "--stages", 2], ["--stages 2", "'ring'"]),
    (["--strategy", "dualparal", "--stages", 0], ["--stages"]),
    (["--strategy", "video_infinity", "--guidance-degree", 2], ["--guidance-degree 2", "'video_infinity'"]),
    (["--strategy", "ring", "--guidance-degree", 3], ["--guidance-degree"]),
    (["--strategy", "ring", "--guidance-degree", 1, "--guidance-parallel", "on"], ["--guidance-degree 1", "--guidance-parallel on"]),
])
def test_what_cannot_be_is_told(arguments, words):
    check_refused(run(*TRACED, *arguments), {2}, words)


def test_a_partition_may_be_in_a_file(tmp_path):
    file = tmp_path / "stages.txt"
    file.write_text("# half of the second layer\n1:cross\n 3, 5:ffn:0.25 # and so on\n")
    flags = ["--strategy", "dualparal", "--world-size", 4, "--partition"]
    line = line_of(tmp_path, *TRACED, *flags, file)
    assert line["options"]["partition"] == "1:cross,3,5:ffn:0.25"
    assert line_of(tmp_path, *TRACED, *flags, "auto")["options"]["partition"] == "balanced"
    shown = [run("inspect", MODEL, "--nproc", 4, "--partition", how) for how in (file, "1:cross,3,5:ffn:0.25", "auto", "balanced")]
    assert all(done.returncode == 0 for done in shown), shown[0].stderr
    assert shown[0].stdout == shown[1].stdout != shown[2].stdout == shown[3].stdout
    file.write_text("# nothing\n")
    check_refused(run(*TRACED, *flags, file), {2}, [str(file), "no place"])
