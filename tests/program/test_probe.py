# SPDX-License-Identifier: Apache-2.0
"""calibrate --probe: a machine measured, and described as a cluster that simulate reads."""
import json

import yaml

from test_program import ROOT, check_refused, run

QUICK = ["calibrate", "--probe", "--seconds", 0.01]


def test_a_machine_is_measured_and_simulated(tmp_path):
    cluster = tmp_path / "cluster.yaml"
    done = run(*QUICK, "--nproc", 2, "--output", cluster)
    assert done.returncode == 0, done.stderr
    for words in ("2 rank(s) on", "products fp32", "attention fp32", "copies", "gloo between ranks 0 and 1", "4 KiB", "64 MiB", "latency"):
        assert words in done.stdout
    made = yaml.safe_load(cluster.read_text())
    assert (made["nodes"], made["devices_per_node"], made["name"]) == (1, 2, "2x-probed")
    assert set(made["device"]["flops_per_s"]) == {"fp32", "bf16"} and made["device"]["memory_bytes_per_s"] > 1e6
    assert made["efficiency"]["basis"].startswith("calibrated by a probe in fp32")
    assert made["links"]["device"]["bytes_per_s"] > 1e6 and made["links"]["message_s"] > 0
    done = run("generate", "--mode", "trace", "--world-size", 2, "--strategy", "ring", "--frames", 33, "--steps", 2, "--prompt", "x",
               "--traces", tmp_path / "traces", "--quiet")
    assert done.returncode == 0, done.stderr
    done = run("simulate", tmp_path / "traces", "--cluster", cluster, "--result", tmp_path / "line.jsonl", "--quiet")
    assert done.returncode == 0, done.stderr
    line = json.loads((tmp_path / "line.jsonl").read_text())
    assert line["latency_s"] > 0 and line["cluster"]["name"] == "2x-probed" and line["exact"] is True


def test_one_rank_has_no_links(tmp_path):
    done = run(*QUICK, "--nproc", 1)
    assert done.returncode == 0 and "1 rank(s) on" in done.stdout and "between ranks" not in done.stdout, done.stderr
    check_refused(run(*QUICK, "--nproc", 1, "--output", tmp_path / "c.yaml"), [2], ["--output", "--nproc 2"])


def test_what_cannot_be_probed_is_refused(tmp_path):
    check_refused(run(*QUICK, tmp_path), [2], ["--probe", "traces"])
    check_refused(run(*QUICK, "--backend", "nccl"), [2], ["--backend nccl", "--device cuda"])
    check_refused(run(*QUICK, "--dtype", "int8"), [2], ["--dtype", "int8"])
    check_refused(run("calibrate", "--output", "x", "--cluster", "2x-cpu-core"), [2], ["traces", "--probe"])
    check_refused(run("calibrate", ROOT, "--output", "x"), [2], ["--cluster is required"])
