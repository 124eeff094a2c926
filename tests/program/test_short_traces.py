# SPDX-License-Identifier: Apache-2.0
"""Short traces give the lines and the simulations of whole ones."""
import json

import pytest

from test_program import ROOT, check_refused, run

WAN = ROOT / "configs/models/wan2.1-t2v-1.3b"
EXPERTS = ROOT / "configs/models/wan2.2-t2v-a14b"
# What differs between two runs of one thing.
OWN = {"total_s", "provenance", "config", "config_hash", "program_hash"}


def lines_of(tmp_path, flags, short, timeline=True):
    result = tmp_path / f"lines_{short}.jsonl"
    done = run("generate", "--mode", "trace", "--prompt", "any", "--quiet", *flags, *(["--short-traces"] if short else []),
               "--traces", tmp_path / "traces", "--result", result)
    assert done.returncode == 0, done.stderr
    size = sum(file.stat().st_size for file in (tmp_path / "traces").glob("rank_*"))
    cluster = "8x-h100" if "cuda" in flags else ROOT / "configs/clusters/2x-cpu-core.yaml"
    done = run("simulate", tmp_path / "traces", "--cluster", cluster, "--share-devices", "--result", result, "--quiet",
               *(["--timeline", tmp_path / f"timeline_{short}.json"] if timeline else []))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in result.read_text().splitlines()], size


def check_same(a, b, where="", memory=1e-6):
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a.keys() - OWN:
            check_same(a[key], b[key], f"{where}.{key}", memory)
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b)):
            check_same(x, y, f"{where}[{i}]", memory)
    elif isinstance(a, float) or isinstance(b, float):
        assert b == pytest.approx(a, rel=1e-6, abs=1e-7), where
    elif where.endswith(("peak_memory_bytes", "reserved_bytes")) and a is not None:
        assert b == pytest.approx(a, rel=memory), where  # a few numbers for each step are elsewhere than the rest
    else:
        assert a == b, where


@pytest.mark.parametrize("flags", [
    ["--frames", 61, "--steps", 30, "--strategy", "ring", "--world-size", 2],
    ["--frames", 61, "--steps", 30, "--strategy", "pipefusion", "--world-size", 2, "--patches", 4],
    ["--frames", 241, "--steps", 9, "--strategy", "fifo", "--world-size", 2, "--window-frames", 4],
    ["--frames", 961, "--steps", 6, "--strategy", "dualparal", "--world-size", 4, "--sequence-degree", 2],
    ["--frames", 241, "--steps", 40, "--strategy", "dualparal", "--world-size", 2, "--previous-context", "matched_kv",
     "--partition", "balanced"],
    ["--model", EXPERTS, "--device", "cuda", "--dtype", "bf16", "--frames", 577, "--steps", 5, "--strategy", "dualparal",
     "--world-size", 2],
    ["--model", EXPERTS, "--device", "cuda", "--dtype", "bf16", "--frames", 241, "--steps", 9, "--strategy", "fifo",
     "--world-size", 2, "--window-frames", 4],
    ["--model", WAN, "--device", "cuda", "--dtype", "bf16", "--frames", 301, "--strategy", "dualparal", "--world-size", 4],
    ["--frames", 161, "--steps", 16, "--strategy", "dualparal", "--world-size", 2, "--block-frames", 2, "--context-frames", 2,
     "--previous-context", "matched_kv", "--cache-memory", "host"],
], ids=lambda flags: "-".join(map(str, flags[-3:])))
def test_short_traces_give_the_same_lines(tmp_path, flags):
    whole, whole_size = lines_of(tmp_path, flags, short=False)
    short, short_size = lines_of(tmp_path, flags, short=True)
    assert [line["kind"] for line in short] == ["traced", "simulated"]
    # Caches in host memory leave nothing on the device that grows by far the most: small things then grow side by side.
    check_same(whole, short, memory=2e-3 if "host" in flags else 1e-6)
    assert "steady_state" not in whole[1]["provenance"]
    if "ring" in flags:  # 8 of 30 steps were traced, four more and the last section replayed
        steady = short[1]["provenance"]["steady_state"]
        assert 1 < steady["times"] < 23
        assert 29 * steady["period_s"] < short[1]["latency_s"] < 31 * steady["period_s"]
    if "dualparal" not in flags or 961 in flags:
        assert short_size < whole_size / 2
    events = [sorted(json.loads((tmp_path / f"timeline_{s}.json").read_text())["traceEvents"],
                     key=lambda e: (e["pid"], e.get("ts", -1), e.get("dur", 0))) for s in (False, True)]
    assert len(events[0]) == len(events[1])
    assert sum(e.get("dur", 0) for e in events[1]) == pytest.approx(sum(e.get("dur", 0) for e in events[0]), rel=1e-4)


def test_an_hour_of_video_on_many_ranks_is_traced_and_simulated(tmp_path):
    flags = ["--model", WAN, "--device", "cuda", "--dtype", "bf16", "--frames", 57601, "--strategy", "dualparal",
             "--world-size", 8, "--steps", 12]
    (traced, simulated), size = lines_of(tmp_path, flags, short=True, timeline=False)
    assert traced["frames"] == simulated["frames"] == 57601
    assert size < 5_000_000  # a whole trace has 1,800 blocks in 12 steps on 8 ranks
    assert simulated["latency_s"] > 100


def test_only_traces_can_be_short():
    check_refused(run("generate", "--short-traces", "--prompt", "any", "--frames", 5), {2}, ["--short-traces", "--mode trace"])
    check_refused(run("generate", "--mode", "emulate", "--short-traces", "--prompt", "any", "--frames", 5), {2},
                  ["--short-traces", "emulate"])


def test_stages_as_one_take_as_long_as_all_their_ranks(tmp_path):
    lines = {}
    for name, flags in (("whole", []), ("one", ["--stages-as-one"])):
        done = run("generate", "--mode", "trace", "--prompt", "any", "--quiet", "--model", WAN, "--device", "cuda", "--dtype", "bf16",
                   "--frames", 97, "--steps", 6, "--strategy", "dualparal", "--previous-context", "matched_kv", "--guidance-parallel",
                   "on", "--sequence-degree", 8, "--world-size", 32, "--partition", "balanced", *flags, "--traces", tmp_path / name)
        assert done.returncode == 0, done.stderr
        done = run("simulate", tmp_path / name, "--cluster", "8x8-h100", "--result", tmp_path / "r.jsonl")
        assert done.returncode == 0, done.stderr
        assert ("8 ranks of a stage as one" in done.stdout) == (name == "one")
        lines[name] = json.loads((tmp_path / "r.jsonl").read_text().splitlines()[-1])
    whole, one = lines["whole"], lines["one"]
    assert len(list((tmp_path / "one").glob("rank_*"))) == 4 and len(one["per_rank"]) == one["world_size"] == 32
    assert one["latency_s"] == pytest.approx(whole["latency_s"], rel=0.01)
    assert one["first_block_s"] == pytest.approx(whole["first_block_s"], rel=0.01)
    assert one["peak_memory_bytes"] == pytest.approx(whole["peak_memory_bytes"], rel=0.02)
    assert one["analytic_cost"] == whole["analytic_cost"]
    for field in ("flops", "sent_bytes"):  # 12 heads on 8 ranks: the first has two
        assert whole[field] <= one[field] < 1.5 * whole[field]
    assert one["provenance"]["stages_as_one"] == 8 and "stages_as_one" not in whole["provenance"]


@pytest.mark.parametrize("flags, words", [
    (["--world-size", 2], ["--stages-as-one", "--sequence-degree"]),
    (["--world-size", 4, "--sequence-degree", 2, "--mode", "emulate"], ["--stages-as-one", "emulate"]),
])
def test_stages_that_cannot_be_one_are_refused(flags, words):
    mode = [] if "--mode" in flags else ["--mode", "trace"]
    check_refused(run("generate", *mode, "--prompt", "any", "--strategy", "dualparal", "--stages-as-one", *flags), {2}, words)


def test_stages_whose_ranks_do_not_do_the_same_are_refused(tmp_path):
    flags = ["generate", "--mode", "trace", "--quiet", "--prompt", "any", "--frames", 97, "--steps", 3, "--strategy", "dualparal",
             "--world-size", 8, "--sequence-degree", 4, "--stages-as-one"]
    check_refused(run(*flags, "--previous-context", "synchronous"), {1}, ["--stages-as-one", "matched_kv"])
    done = run(*flags, "--previous-context", "matched_kv", "--traces", tmp_path / "t")
    assert done.returncode == 0, done.stderr
    check_refused(run("simulate", tmp_path / "t", "--cluster", "8x-rtx4090"), {1}, ["links.host", "--stages-as-one"])
