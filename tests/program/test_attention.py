# SPDX-License-Identifier: Apache-2.0
"""Sparse attention and RIFLEx as a user asks for them: flags, refusals, result lines."""
import json

import pytest
import torch
from safetensors.torch import load_file

from test_program import check_refused, generate, run

LVSA = ["--sparse-attention", "lvsa"]
RIFLEX = ["--rope-riflex", "on"]
QUIET = ["--prompt", "a red circle", "--no-decode", "--no-quality"]


def latents(path, *arguments, frames):
    generate(*QUIET, "--save-latents", path, *arguments, frames=frames)
    return load_file(path)["latents"]


def asked(line):
    """Its options without the strategy's own."""
    return {flag: value for flag, value in line["options"].items() if flag.startswith(("sparse", "rope"))}


def line(path, *arguments, frames):
    generate(*QUIET, "--result", path, *arguments, frames=frames)
    return json.loads(path.read_text().splitlines()[-1])


@pytest.mark.parametrize("strategy", ["video_infinity", "fifo", "dualparal", "context_windows", "pipefusion"])
@pytest.mark.parametrize("flags", [LVSA, RIFLEX])
def test_strategies_without_the_whole_sequence_refuse(strategy, flags):
    check_refused(run("generate", "--strategy", strategy, *flags), [2],
                  [" ".join(flags), f"'{strategy}'", "windows", "single", "ring", "ulysses", "usp", "naive_pipeline"])


@pytest.mark.parametrize("flags, words", [
    (["--sparse-attention", "radial"], ["--sparse-attention", "lvsa", "radial"]),
    (["--sparse-window", "2"], ["--sparse-window", "--sparse-attention lvsa"]),
    (["--sparse-global-every", "4"], ["--sparse-global-every", "--sparse-attention lvsa"]),
    ([*LVSA, "--sparse-global-every", "0"], ["--sparse-global-every"]),
    (["--rope-riflex", "yes"], ["--rope-riflex", "yes"]),
    (["--rope-riflex-index", "2"], ["--rope-riflex-index", "--rope-riflex on"]),
    ([*RIFLEX, "--rope-riflex-index", "7"], ["--rope-riflex-index", "1 to 6", "7"]),
])
def test_flags_that_cannot_be_are_refused(flags, words):
    check_refused(run("generate", *flags), [2], words)


def test_a_video_no_longer_than_those_trained_on_is_the_same(tmp_path):
    plain = latents(tmp_path / "plain", frames=33)
    assert torch.equal(latents(tmp_path / "both", *LVSA, *RIFLEX, frames=33), plain)
    longer = latents(tmp_path / "longer", frames=129)  # 33 latent frames: past the 29 of the frequency's period
    for flags in (LVSA, RIFLEX):
        assert not torch.equal(latents(tmp_path / "changed", *flags, frames=129), longer)


def test_two_processes_give_what_one_gives(tmp_path):
    flags = [*LVSA, "--sparse-window", 2, "--sparse-global-every", 7, *RIFLEX]
    alone = latents(tmp_path / "alone", *flags, frames=129)
    for strategy in ("ring", "naive_pipeline"):
        ours = latents(tmp_path / strategy, *flags, "--strategy", strategy, "--nproc", 2, frames=129)
        assert (ours - alone).abs().max() < 1e-5 * alone.abs().max()


def test_the_result_line_says_it(tmp_path):
    plain = line(tmp_path / "r", frames=65)
    assert asked(plain) == {}
    assert plain["config"]["attention"]["sparse_attention"] == "none"
    sparse = line(tmp_path / "r", *LVSA, *RIFLEX, "--rope-riflex-index", 3, frames=65)
    assert asked(sparse) == {"sparse-attention": "lvsa", "rope-riflex": "on", "rope-riflex-index": "3"}
    # 17 latent frames; the model was made for 9, 7 of which are the window
    assert sparse["config"]["attention"] == {"sparse_attention": "lvsa", "sparse_window": 3, "sparse_global_every": 9,
                                             "rope_riflex": "on", "rope_riflex_index": 3}
    assert line(tmp_path / "r", *RIFLEX, frames=65)["config"]["attention"]["rope_riflex_index"] == 2


@pytest.mark.parametrize("strategy, ranks", [("single", 1), ("ring", 4), ("ulysses", 4), ("naive_pipeline", 4)])
def test_traced_flops_are_those_of_the_mask(tmp_path, strategy, ranks):
    arguments = ["--mode", "trace", "--strategy", strategy, "--world-size", ranks]

    def attention_flops(*flags):
        return sum(r["attention_flops"] for r in line(tmp_path / "r", *arguments, *flags, frames=257)["per_rank"])

    frames, window, every, steps = 65, 3, 16, 2
    pairs = 0
    for step in range(steps):
        globals_ = {0} | {(step + i) % frames for i in range(0, frames, every)}
        for f in range(frames):
            low = min(max(f - window, 0), frames - 2 * window - 1)
            pairs += len(globals_ | set(range(low, low + 2 * window + 1)))
    # 8 layers, two guidance halves, 192 channels, 24 tokens a frame
    saved = 4 * 8 * 2 * 192 * 24 ** 2 * (steps * frames ** 2 - pairs)
    dense, sparse = attention_flops(), attention_flops(*LVSA, "--sparse-global-every", every)
    assert dense - sparse == pytest.approx(saved, rel=1e-6)


def test_exact_strategies_are_held_to_single_with_the_same_attention(tmp_path):
    experiment = tmp_path / "sparse.yaml"
    experiment.write_text("""
name: sparse
base: {prompt: a red circle, frames: 65, steps: 2, threads: 1, no-decode: true, no-quality: true}
sweep: {sparse-attention: [none, lvsa]}
strategies:
  - single
  - {name: ring, options: {nproc: 2}}
""")
    result = run("bench", experiment, "--output", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    lines = [json.loads(text) for text in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert len(lines) == 4
    for one in lines:
        assert one["status"] == "ok"
        assert one["strategy"] == "single" or 0 < one["error_vs_single"] < 1e-5
    report = (tmp_path / "out/report.md").read_text()
    assert report.count("sparse-attention=lvsa") >= 2  # rows of their own
