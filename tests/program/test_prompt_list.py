# SPDX-License-Identifier: Apache-2.0
"""--prompt-list: the same videos as one by one, the model loaded once."""
import json

import pytest
from safetensors.torch import load_file
from test_program import FAST, check_refused, run

PROMPTS = ["a red circle bounces over a dark blue background", "a green square moves to the left", "a blue triangle"]


def listed(folder, text):
    (folder / "prompts.txt").write_text(text)
    return ["generate", *FAST, "--frames", 5, "--prompt-list", folder / "prompts.txt"]


@pytest.mark.parametrize("strategy, nproc", [("single", 1), ("ring", 2), ("dualparal", 2)])
def test_each_prompt_gives_what_it_gives_alone(tmp_path, strategy, nproc):
    flags = ["--strategy", strategy, "--nproc", nproc]
    text = f"# three prompts\n{PROMPTS[0]}\n\n{PROMPTS[1]}\r\n{PROMPTS[2]}"
    done = run(*listed(tmp_path, text), *flags, "--output", tmp_path / "v.mp4", "--save-latents", tmp_path / "l.safetensors",
               "--result", tmp_path / "r.jsonl", "--save-prompt-embeds", tmp_path / "e.safetensors")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.glob("[vle]*")) == sorted(
        f"{name}-{n}.{kind}" for name, kind in (("v", "mp4"), ("l", "safetensors"), ("e", "safetensors")) for n in (1, 2, 3))
    lines = [json.loads(row) for row in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [line["config"]["prompt"] for line in lines] == PROMPTS
    assert lines[0]["load_s"] > 0 and lines[1]["load_s"] < lines[0]["load_s"] / 10
    assert all(line["text_encode_s"] > 0 and line["latency_s"] > 0 for line in lines)
    for number, prompt in enumerate(PROMPTS, 1):
        alone = run("generate", *FAST, "--frames", 5, *flags, "--prompt", prompt, "--no-decode", "--result", tmp_path / "one.jsonl",
                    "--save-latents", tmp_path / "alone.safetensors")
        assert alone.returncode == 0, alone.stderr
        made, expected = [load_file(tmp_path / f"{name}.safetensors")["latents"] for name in (f"l-{number}", "alone")]
        assert made.equal(expected)
    assert not load_file(tmp_path / "l-1.safetensors")["latents"].equal(load_file(tmp_path / "l-2.safetensors")["latents"])


def test_numbers_are_as_wide_as_the_last_and_defaults_are_told(tmp_path):
    done = run(*[a for a in listed(tmp_path, "a\n" * 10) if a != "--quiet"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = sorted(p.name for p in tmp_path.glob("*.mp4"))
    assert names[0] == "single_5-frames_seed-0-01.mp4" and names[-1] == "single_5-frames_seed-0-10.mp4" and len(names) == 10
    assert done.stdout.count("wrote ") == 10 and "the model's own" not in done.stderr


@pytest.mark.parametrize("text, flags, words", [
    ("\n# nothing\n", [], ["prompts.txt", "no prompt in it"]),
    ("a", ["--prompt", "b"], ["--prompt-list", "--prompt "]),
    ("a", ["--mode", "trace"], ["--prompt-list", "trace"]),
    ("a", ["--reference-latents", "x"], ["--prompt-list", "--reference-latents"]),
])
def test_lists_that_cannot_be_are_refused(tmp_path, text, flags, words):
    check_refused(run(*listed(tmp_path, text), *flags), [2], words)


def test_a_list_that_is_not_there(tmp_path):
    check_refused(run("generate", "--prompt-list", tmp_path / "absent"), [1, 2], ["absent"])


def test_a_failure_in_the_middle_keeps_what_is_done(tmp_path):
    (tmp_path / "v-2.mp4").mkdir()  # nothing can be written there
    done = run(*listed(tmp_path, "a\nb\nc"), "--output", tmp_path / "v.mp4", "--result", tmp_path / "r.jsonl")
    check_refused(done, [1], ["v-2.mp4"])
    assert (tmp_path / "v-1.mp4").stat().st_size > 500 and not (tmp_path / "v-3.mp4").exists()
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 1
