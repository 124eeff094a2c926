# SPDX-License-Identifier: Apache-2.0
"""--replicas: groups of ranks that share a list of prompts, each a run of its own."""
import json
import os
import signal

import pytest
from safetensors.torch import load_file
from started_ranks import BLOCKS, alive, end_of, start, wait_for_latents
from test_program import FAST, ROOT, check_refused, run
from test_scenarios import PROMPTS, SIZE, line_of, listed

DUALPARAL = ["--strategy", "dualparal", *SIZE]


def made_by(folder, *flags):
    folder.mkdir()
    done = run(*listed(folder, *DUALPARAL, *flags), "--save-latents", folder / "l.safetensors", "--result", folder / "r.jsonl",
               "--timeline", folder / "t.json")
    assert done.returncode == 0, done.stderr
    return line_of(folder / "r.jsonl"), [load_file(folder / f"l-{n}.safetensors")["latents"] for n in (1, 2, 3)]


@pytest.mark.parametrize("scenario", ["offline", "single-stream"])
def test_videos_are_those_of_one_replica(tmp_path, scenario):
    def output(folder):
        return ["--output", folder / "v.mp4"] if scenario == "offline" else ["--no-decode"]
    alone, expected = made_by(tmp_path / "alone", "--nproc", 2, "--scenario", scenario, *output(tmp_path / "alone"))
    line, latents = made_by(tmp_path / "two", "--nproc", 4, "--replicas", 2, "--scenario", scenario, *output(tmp_path / "two"))
    assert all(made.equal(one) for made, one in zip(latents, expected))
    assert not latents[0].equal(latents[1])
    videos = ["v-1.mp4", "v-2.mp4", "v-3.mp4"] if scenario == "offline" else []
    assert sorted(p.name for p in (tmp_path / "two").glob("v*")) == videos
    assert line["world_size"] == 4 and line["options"]["replicas"] == "2" and line["config"]["replicas"] == 2
    assert line["videos"] == 3 and line["videos_per_s"] == pytest.approx(3 / line["latency_s"])
    assert [len(l["per_rank"]) for l in (alone, line)] == [2, 4] and "replicas" not in alone["config"]
    # Bytes and work are of videos, not of replicas, but for what is sent while the pipeline fills.
    assert line["sent_bytes"] == pytest.approx(line["analytic_cost"]["sent_bytes"], rel=0.01)
    assert line["sent_bytes"] == alone["sent_bytes"]
    assert [video["quality"] for video in line["per_video"]] == [video["quality"] for video in alone["per_video"]]
    begins = [video["begin_s"] for video in line["per_video"]]
    assert begins[1] < 0.5 * line["per_video"][0]["latency_s"] < begins[2] if scenario == "single-stream" else begins[1] < begins[2]
    assert line["first_block_s"] == pytest.approx(min(v["begin_s"] + v["first_block_s"] for v in line["per_video"]))
    pids = {(e["pid"], e["args"]["peer"]) for e in json.loads((tmp_path / "two/t.json").read_text())["traceEvents"]
            if "peer" in e["args"]}
    assert pids and all(pid // 2 == peer // 2 for pid, peer in pids) and (2, 3) in pids


def test_a_lost_rank_of_the_second_replica_is_named_and_ends_all(tmp_path):
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    flags = [a for a in BLOCKS if a not in ("--prompt", "a red circle")]
    child, ranks = start(*flags, "--prompt-list", tmp_path / "prompts.txt", "--scenario", "offline", "--replicas", 2, "--frames", 1025,
                         "--steps", 6, "--timeout", 60, "--save-latents", tmp_path / "l.safetensors", nproc=4)
    wait_for_latents(child, tmp_path / "l-2.safetensors.partial")
    os.kill(ranks[3], signal.SIGKILL)
    errors = end_of(child)
    last = errors.strip().splitlines()[-1]
    assert child.returncode == 1 and last.startswith("error: ") and "rank 3 was killed by signal 9" in last, errors
    assert "block" in last and not any(alive(pid) for pid in ranks.values())


def traced(folder, *flags):
    done = run("generate", "--quiet", "--mode", "trace", "--model", ROOT / "configs/models/wan2.1-t2v-1.3b", "--device", "cuda",
               "--dtype", "bf16", "--steps", 4, "--frames", 33, "--strategy", "dualparal", "--block-frames", 4, "--context-frames", 1,
               "--prompt-list", folder / "prompts.txt", "--scenario", "offline", *flags, "--traces", folder / "traces")
    assert done.returncode == 0, done.stderr


def simulated(folder, cluster):
    result = folder / "simulated.jsonl"
    result.unlink(missing_ok=True)
    done = run("simulate", folder / "traces", "--cluster", cluster, "--result", result)
    assert done.returncode == 0, done.stderr
    return line_of(result), done.stdout


def test_replicas_that_share_nothing_are_simulated_once(tmp_path):
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS[:2]))
    traced(tmp_path, "--world-size", 2)
    one, _ = simulated(tmp_path, "8x-h100")
    (tmp_path / "prompts.txt").write_text("\n".join(2 * PROMPTS[:2]))
    traced(tmp_path, "--world-size", 4, "--replicas", 2)
    both, said = simulated(tmp_path, "8x-h100")
    assert both["provenance"]["replicas"] == {"simulated": 1, "of": 2} and "1 of 2 replicas simulated" in said
    assert both["latency_s"] == pytest.approx(one["latency_s"]) and both["videos_per_s"] == pytest.approx(2 * one["videos_per_s"])
    assert both["sent_bytes"] == 2 * one["sent_bytes"] and both["peak_memory_bytes"] == one["peak_memory_bytes"]
    assert both["bubble_ratio_slots"] == pytest.approx(one["bubble_ratio_slots"])
    shared, _ = simulated(tmp_path, "8x-rtx4090")  # through one host
    assert shared["provenance"]["replicas"] == {"simulated": 2, "of": 2}


@pytest.mark.parametrize("flags, words", [
    (["--replicas", 2, "--nproc", 2], ["--replicas 2", "--prompt-list", "--scenario"]),
    (["--scenario", "offline", "--replicas", 2, "--nproc", 3, "--strategy", "dualparal"], ["--replicas 2", "3 ranks", "--nproc"]),
    (["--scenario", "offline", "--replicas", 4, "--nproc", 4], ["--replicas 4", "3 prompts"]),
    (["--scenario", "offline", "--replicas", 0], ["--replicas", "1 to 4096"]),
    (["--scenario", "offline", "--replicas", 2, "--nproc", 2, "--snapshot", "s"], ["--prompt-list", "--snapshot"]),
    (["--scenario", "offline", "--replicas", 2, "--nproc", 2, "--frames", "endless", "--strategy", "dualparal"],
     ["--frames endless", "--prompt-list"]),
])
def test_replicas_that_cannot_be_are_refused(tmp_path, flags, words):
    check_refused(run(*listed(tmp_path, *flags), cwd=tmp_path), [2], words)


def test_one_video_has_no_replicas():
    check_refused(run("generate", *FAST, "--replicas", 2, "--nproc", 2), [2], ["--replicas 2", "--prompt-list"])
