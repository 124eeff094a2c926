# SPDX-License-Identifier: Apache-2.0
"""What a profiler sees of a run: NVTX ranges that nest, with strategy, block, step and layer, and communication."""
import collections
import os
import re
from dataclasses import dataclass, field

import pytest

from test_program import FAST, PROGRAM, run

LIBRARY = PROGRAM.parent / "tests/libnvtx_log.so"
pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="no NVTX headers when this was built")


@dataclass
class Range:
    name: str
    outer: list = field(default_factory=list)  # names of the ranges around it, outermost first


def read_log(path):
    """All ranges of a process. Fails if they do not nest, thread by thread."""
    ranges, open_ranges = [], collections.defaultdict(list)
    for line in path.read_text().splitlines():
        thread, what, *name = line.split(" ", 2)
        if what == "push":
            ranges.append(Range(name[0], list(open_ranges[thread])))
            open_ranges[thread].append(name[0])
        elif what == "pop":
            assert open_ranges[thread], f"{path}: a pop without a push"
            open_ranges[thread].pop()
    assert not any(open_ranges.values()), f"{path}: never popped: {dict(open_ranges)}"
    return ranges


def ranges_by_rank(folder, *arguments):
    environment = dict(os.environ, NVTX_INJECTION64_PATH=str(LIBRARY), NVTX_LOG=str(folder / "log"))
    done = run("generate", *FAST, *arguments, env=environment)
    assert done.returncode == 0, done.stderr
    by_rank = {}
    for path in folder.glob("log.*"):
        ranges = read_log(path)
        for found in (re.fullmatch(r"\w+: denoise, rank (\d+) of \d+", r.name) for r in ranges):
            if found:
                by_rank[int(found[1])] = ranges
    return by_rank


@pytest.mark.parametrize("strategy, nproc, options", [
    ("single", 1, []),
    ("ring", 2, []),
    ("ulysses", 2, []),
    ("dualparal", 2, ["--block-frames", 2, "--context-frames", 1]),
])
def test_ranges_nest_and_name_the_work(tmp_path, strategy, nproc, options):
    by_rank = ranges_by_rank(tmp_path, "--frames", 21, "--strategy", strategy, "--nproc", nproc, *options)
    assert sorted(by_rank) == list(range(nproc))
    layers, blocks, steps = set(), set(), set()
    for rank, ranges in by_rank.items():
        top = f"{strategy}: denoise, rank {rank} of {nproc}"
        layer_ranges = [r for r in ranges if re.fullmatch(r"layer \d+", r.name)]
        assert layer_ranges
        for r in layer_ranges:
            assert r.outer[0] == top
            work = re.search(r"computing block (\d+), step (\d+), layers (\d+)\.\.(\d+)", " ".join(r.outer))
            assert work, r
            block, step, first, last = map(int, work.groups())
            layer = int(r.name.split()[1])
            assert first <= layer <= last
            layers.add(layer), blocks.add(block), steps.add(step)
        for part in ("self-attention", "cross-attention", "feed-forward"):
            inner = [r for r in ranges if r.name.endswith(part)]
            assert len(inner) == len(layer_ranges) and all(f"layer {r.name.split()[1]}" == r.outer[-1] for r in inner)
        messages = [r for r in ranges if re.match(r"(sending to|waiting for) rank \d+: block \d+, step \d+", r.name)]
        if nproc == 1:
            assert not messages
            continue
        assert all(r.outer[0] == top for r in messages)
        assert {r.name.split(" rank")[0] for r in messages} == {"sending to", "waiting for"}
        assert {int(re.search(r"rank (\d+)", r.name)[1]) for r in messages} == {1 - rank}
        if strategy in ("ring", "ulysses"):  # in the middle of a layer's self-attention, but for the predictions
            inside = [r for r in messages if any(o.endswith("self-attention") for o in r.outer)]
            assert len(inside) >= len(layer_ranges)
    assert layers == set(range(8)) and steps == {0, 1}
    assert blocks == ({0, 1, 2} if strategy == "dualparal" else {0})
    decoding = [r for r in by_rank[0] if r.name == "vae decode"]
    assert decoding and all(r.outer and r.outer[-1].startswith("decode and write") for r in decoding)


def asked(folder, **variables):
    """How often NVTX_INJECTION64_PATH was looked at."""
    folder.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "NVTX_INJECTION64_PATH"}
    done = run("generate", *FAST, "--frames", 5, env=environment | {"LD_PRELOAD": str(LIBRARY), "NVTX_LOG": str(folder / "log")}
               | variables)
    assert done.returncode == 0, done.stderr
    lines = [line for path in folder.glob("log.*") for line in path.read_text().splitlines()]
    return sum(line.endswith(" asked") for line in lines), sum(" push " in line for line in lines)


def test_without_a_profiler_nvtx_is_never_called(tmp_path):
    # The program looks once, at its first range; NVTX would look again when it is called for the first time.
    assert asked(tmp_path / "without") == (1, 0)
    looks, ranges = asked(tmp_path / "with", NVTX_INJECTION64_PATH=str(LIBRARY))
    assert looks > 1 and ranges > 10
