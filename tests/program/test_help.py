# SPDX-License-Identifier: Apache-2.0
"""What helps a user along: the first words, the help of generate, completion, doctor."""
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from test_program import PROGRAM, ROOT, check_refused, run


def test_without_a_command_it_says_what_to_do_first():
    done = run()
    assert done.returncode == 0 and not done.stderr
    for words in ("dualparal generate --prompt", "--model DIR", "dualparal doctor", "simulate", "completion"):
        assert words in done.stdout
    assert len(done.stdout.splitlines()) < 40


def flags_in(text):
    return {word.strip(",") for row in text.splitlines() for word in row.split()[:2] if word.startswith("--")}


def test_help_of_generate_has_what_most_runs_need_and_help_all_everything():
    short, whole = run("generate", "--help"), run("generate", "--help-all")
    assert short.returncode == whole.returncode == 0
    some, every = flags_in(short.stdout), flags_in(whole.stdout)
    assert {"--prompt", "--strategy", "--frames", "--output", "--model", "--help-all"} <= some < every
    assert {"--vae-dtype", "--block-frames", "--ulysses-degree", "--warmup-steps"} <= every - some
    assert len(short.stdout.splitlines()) < 45 and "--strategy NAME --help" in short.stdout


@pytest.mark.parametrize("arguments", [["--strategy", "dualparal"], ["--strategy=dualparal"]])
def test_help_of_a_strategy_has_its_flags_in_its_own_words(arguments):
    text = run("generate", *arguments, "--help").stdout
    assert {"--block-frames", "--feature-cache"} <= flags_in(text) and "--ulysses-degree" not in text
    assert "Strategy dualparal" in text and "pipefusion" not in text
    assert "--sparse-attention" not in text and "--sparse-attention" in run("generate", "--strategy", "ring", "--help").stdout


def test_hidden_flags_are_known_all_the_same():
    check_refused(run("generate", "--vae-dtyp", "fp32"), [2], ["--vae-dtyp", "did you mean '--vae-dtype'?"])


def completions(tmp_path, *words):
    """What bash would offer for the last of the words."""
    script = run("completion", "bash")
    assert script.returncode == 0
    (tmp_path / "completion").write_text(script.stdout)
    code = f". {tmp_path}/completion; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _dualparal; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", code, "bash", "dualparal", *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split()


def test_bash_completes_commands_flags_words_and_files(tmp_path):
    assert completions(tmp_path, "ge") == ["generate"]
    assert {"generate", "bench", "doctor", "completion"} <= set(completions(tmp_path, ""))
    assert completions(tmp_path, "generate", "--prompt-e") == ["--prompt-embeds"]
    assert completions(tmp_path, "bench", "--dry") == ["--dry-run"]
    assert {"single", "ring", "dualparal"} <= set(completions(tmp_path, "generate", "--strategy", ""))
    assert completions(tmp_path, "generate", "--feature-cache", "o") in (["off", "on"], ["on", "off"])
    (tmp_path / "prompts.txt").touch()
    assert completions(tmp_path, "generate", "--prompt-list", "pro") == ["prompts.txt"]


def test_scripts_are_read_by_their_shells(tmp_path):
    for shell in ("bash", "zsh"):
        if shutil.which(shell):
            done = subprocess.run([shell, "-n"], input=run("completion", shell).stdout, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    text = run("completion", "zsh").stdout
    assert text.startswith("#compdef dualparal") and text.count("{") == text.count("}")
    check_refused(run("completion", "fish"), [2], ["bash, zsh or list", "fish"])


def test_the_table_for_other_programs():
    rows = [row.split("\t") for row in run("completion", "list").stdout.splitlines()]
    assert all(len(row) == 4 for row in rows)
    table = {(command, flag): (kind, words) for command, flag, kind, words in rows}
    assert table["generate", "--no-decode"] == ("switch", "") and table["generate", "--frames"] == ("value", "")
    assert table["generate", "--feature-cache"][0] == "value" and set(table["generate", "--feature-cache"][1].split("|")) == {"on", "off"}
    assert ("simulate", "--cluster") in table


def test_doctor_says_what_is_there_and_what_is_not(tmp_path):
    models = tmp_path / "hub/models--Wan-AI--Wan/snapshots/1"
    models.mkdir(parents=True)
    (models / "model_index.json").write_text(json.dumps({"_class_name": "WanPipeline"}))
    (tmp_path / "hub/models--other/snapshots/1").mkdir(parents=True)
    (tmp_path / "hub/models--other/snapshots/1/model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    done = run("doctor", env=dict(os.environ, HF_HUB_CACHE=str(tmp_path / "hub")))
    assert done.returncode == 0 and not done.stderr, done.stderr
    rows = {row[8:23].strip(): row for row in done.stdout.splitlines() if row[:7].strip()}
    assert {"LibTorch", "processor", "memory", "links", "CUDA devices", "CUDA kernels", "NCCL module", "FFmpeg", "embedded model", "checkpoint"} <= set(rows)
    assert rows["links"].startswith("ok") and "Gloo between two ranks here" in rows["links"] and "GB/s" in rows["links"]
    assert "libx264 encoder" in rows["FFmpeg"] and rows["embedded model"].startswith("ok")
    assert str(models) in rows["checkpoint"] and "models--other" not in done.stdout
    without = run("doctor", env=dict(os.environ, HF_HUB_CACHE=str(tmp_path / "nowhere")))
    assert "hf download Wan-AI/" in without.stdout
    # A program without its data and module, as a careless copy leaves it.
    alone = tmp_path / "alone"
    for folder in ("configs", "models/moving-shapes"):
        (alone / folder).mkdir(parents=True)
    shutil.copy(PROGRAM, alone)
    broken = subprocess.run([alone / PROGRAM.name, "doctor"], capture_output=True, text=True)
    check_refused(broken, [1], ["embedded model", "install the program again"])
    assert re.search(r"^- +CUDA kernels +not beside the program$", broken.stdout, re.M)
    assert "NCCL module" in broken.stdout and "./run build" in broken.stdout and "BROKEN" in broken.stdout


def test_the_defaults_that_figures_know_are_the_programs():
    sys.path.insert(0, str(ROOT / "plots"))
    from defaults import DEFAULTS

    listed, strategy = {}, None
    for row in run("strategies").stdout.splitlines():
        option = re.match(r"  --(\S+) .* \[(\S+)\]$", row)
        if option:
            listed[strategy][option[1]] = option[2]
        elif not row.startswith(" "):
            listed[strategy := row.split()[0]] = {}
    assert listed == DEFAULTS
