# SPDX-License-Identifier: Apache-2.0
"""compare-results on real runs: nothing for the same program, a regression for a slowed one, wrong for another picture."""
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_program import MODEL, check_refused, generate, run


def lines_of(folder, *arguments):
    generate("--strategy", "dualparal", "--nproc", 2, "--repeats", 3, "--seed", 1, "--result", folder / "results.jsonl",
             "--prompt", "a red circle", *arguments, frames=17)
    return folder


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    return lines_of(tmp_path_factory.mktemp("before"))


def test_the_same_program_is_the_same(before):
    done = run("compare-results", before, before)
    assert done.returncode == 0 and "same" in done.stdout.splitlines()[-1], done.stderr
    assert {"sent_bytes", "latency_s", "flicker", "content"} <= {row.split("|")[2].strip() for row in done.stdout.splitlines()[2:-2]}


def test_a_slowed_program_is_a_regression(before, tmp_path):
    line = json.loads((before / "results.jsonl").read_text())
    slowed = [2 * max(line["samples"]) + time for time in line["samples"]]
    (tmp_path / "results.jsonl").write_text(json.dumps(line | {"samples": slowed, "latency_s": sorted(slowed)[1]}) + "\n")
    done = run("compare-results", before, tmp_path)
    check_refused(done, [1], ["1 figures are wrong or got worse"])
    row, = [row for row in done.stdout.splitlines() if "REGRESSION |" in row]
    assert "latency_s" in row
    assert run("compare-results", tmp_path, before).returncode == 0  # faster is no failure


def test_another_picture_is_wrong(before, tmp_path):
    """Weights that are a little off: as fast, as large, and every message as long."""
    model = tmp_path / MODEL.name
    shutil.copytree(MODEL, model)
    file = model / "transformer/diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    generator = torch.Generator().manual_seed(1)
    save_file({name: w + 0.2 * w.std() * torch.randn(w.shape, generator=generator) if w.dim() > 1 else w
               for name, w in weights.items()}, file)
    # However loaded the machine is, and differently each time, latencies are no matter here.
    done = run("compare-results", before, lines_of(tmp_path, "--model", model), "--absolute", 1e6)
    check_refused(done, [1], ["wrong or got worse"])
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in done.stdout.splitlines() if row.startswith("| dualparal")]
    wrong = {figure for _, figure, _, _, verdict in rows if verdict == "WRONG"}
    assert wrong and wrong <= {"flicker", "content"} and "sent_bytes" in {row[1] for row in rows}
