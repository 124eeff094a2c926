# SPDX-License-Identifier: Apache-2.0
"""Numbers in documents are those of the kept result lines (tools/document_numbers.py)."""
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import document_numbers  # noqa: E402
from defaults import DEFAULTS  # noqa: E402

ENTRIES = yaml.safe_load((ROOT / "docs/numbers.yaml").read_text())
DOCUMENTS = sorted({entry["document"] for entry in ENTRIES})


def line(strategy="dualparal", latency=10.0, **changes):
    return {"schema": 2, "kind": "simulated", "strategy": strategy, "options": {}, "world_size": 8, "model": "m",
            "device": "cuda", "dtype": "bf16", "frames": 81, "height": 480, "width": 832, "steps": 50, "seed": 0,
            "latency_s": latency,
            "config": {"prompt": "a", "guidance_scale": 5}, "cluster": {"name": "c"}, "status": "ok"} | changes


def lines_that_would_be(experiment):
    """As `bench` would make them of an experiment file, as far as `where` can ask."""
    file = yaml.safe_load((ROOT / f"configs/experiments/{experiment}.yaml").read_text())
    kind = {"trace": "traced", "emulate": "emulated"}.get(file.get("mode"), "measured")
    for entry in file["strategies"]:
        entry = {"name": entry} if isinstance(entry, str) else entry
        axes = {**file.get("sweep", {}), **entry.get("sweep", {})}
        for values in itertools.product(*axes.values()):
            flags = {"model": file.get("model", "moving-shapes"), "world-size": 1, **file.get("base", {}),
                     **entry.get("options", {}), **dict(zip(axes, values))}
            options = {name: str(value) for name, value in flags.items()
                       if name in DEFAULTS[entry["name"]] or name in ("kernels", "sparse-attention", "scenario")}
            if "prompt-list" in flags:
                listed = (ROOT / flags["prompt-list"]).read_text().splitlines()
                options["prompts"] = str(sum(1 for text in listed if text.strip() and not text.startswith("#")))
            for cluster in [None, *file.get("clusters", [])]:
                yield line(entry["name"], kind="simulated" if cluster else kind, model=Path(flags["model"]).name,
                           frames=flags.get("frames"), world_size=flags.get("nproc", flags["world-size"]),
                           options=DEFAULTS[entry["name"]] | options, cluster={"name": cluster} if cluster else None,
                           config={"prompt": flags.get("prompt"), "seed": flags.get("seed")})


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Writes lines as results/made of a root of their own; (exit code, what is said) of `check` on an entry of them."""
    def check(lines, **entry):
        (tmp_path / "results/made").mkdir(parents=True, exist_ok=True)
        (tmp_path / "results/made/results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
        (tmp_path / "numbers.yaml").write_text(yaml.safe_dump([{"document": "d.md", "lines": "results/made", "where": {},
                                                                "values": ["latency_s"], "text": "{:.1f} s"} | entry]))
        monkeypatch.setattr(document_numbers, "ROOT", tmp_path)
        document_numbers.lines_of.cache_clear()
        try:
            return document_numbers.go_through(tmp_path / "numbers.yaml", tmp_path, write=False)
        except document_numbers.NumbersError as error:
            return str(error)

    yield check
    document_numbers.lines_of.cache_clear()


def numbers(*arguments):
    return subprocess.run([sys.executable, ROOT / "tools/document_numbers.py", *map(str, arguments)], capture_output=True,
                          text=True)


@pytest.fixture
def documents(tmp_path):
    for name in DOCUMENTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_documents_say_what_the_lines_say():
    done = numbers("check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith(" 0 wrong")


def test_another_number_is_found_and_put_right(documents):
    readme = documents / "README.md"
    right = readme.read_text()
    row = next(line for line in right.splitlines() if line.startswith("| `single`, one rank |"))
    wrong = row.replace(row.split("|")[2], " 1.5 ")
    readme.write_text(right.replace(row, wrong))
    done = numbers("check", "--root", documents)
    assert done.returncode == 1 and wrong[:-5] in done.stdout and "1 wrong" in done.stdout, done.stdout
    assert numbers("write", "--root", documents).returncode == 0
    assert readme.read_text() == right


def test_a_text_that_is_gone_is_found(documents):
    readme = documents / "README.md"
    readme.write_text(readme.read_text().replace("one rank |", "one process |"))
    done = numbers("check", "--root", documents)
    assert done.returncode == 1 and "has no such text" in done.stdout, done.stdout


@pytest.mark.parametrize("change, words", [({"where": {"strategy": "nothing"}}, "no such line"),
                                           ({"values": ["latency_hours"]}, "no line has latency_hours"),
                                           ({"values": []}, "Replacement index 0")])
def test_an_entry_that_cannot_be_computed_is_named(tmp_path, change, words):
    entry = {"document": "README.md", "lines": "results/frames", "where": {"strategy": "single", "frames": 33},
             "values": ["latency_s"], "text": "about {:.1f} s", **change}
    (tmp_path / "numbers.yaml").write_text(yaml.safe_dump([entry]))
    done = numbers("check", "--numbers", tmp_path / "numbers.yaml")
    assert done.returncode == 1 and words in done.stderr and "about" in done.stderr, done.stderr


@pytest.mark.parametrize("experiment", sorted({Path(entry["lines"]).name for entry in ENTRIES}))
def test_entries_name_one_configuration_of_the_experiments_as_they_are(experiment):
    made = list(lines_that_would_be(experiment))
    for entry in ENTRIES:
        if entry["lines"] == f"results/{experiment}":
            wheres = [{**entry.get("where", {}), **row.get("where", {})} for row in entry.get("rows", [{}])]
            for where in [*wheres, *([entry["against"]] if "against" in entry else [])]:
                chosen = [one for one in made if document_numbers.matches(one, where)]
                assert chosen and not document_numbers.differing(chosen), f"{entry['document']}: {where}"


@pytest.mark.parametrize("change, name", [
    ({"kind": "traced"}, "kind"), ({"strategy": "ring"}, "strategy"), ({"world_size": 4}, "world_size"),
    ({"frames": 161}, "frames"), ({"model": "n"}, "model"), ({"dtype": "fp32"}, "dtype"), ({"steps": 4}, "steps"),
    ({"width": 1280}, "width"),
    ({"cluster": {"name": "d"}}, "cluster"), ({"config": {"prompt": "a", "guidance_scale": 1}}, "config guidance_scale")])
def test_lines_of_several_configurations_are_refused(results, change, name):
    said = results([line(), line(**change)])
    assert "several configurations" in said and said.split("differ in ")[1].startswith(f"{name}: name one"), said


def test_prompts_seeds_and_repeats_are_samples_of_one_configuration(results, tmp_path):
    (tmp_path / "d.md").write_text("about 20.0 s of it")
    later = DEFAULTS["dualparal"]  # an older line lacks options that came later, and fields of config
    lines = [line(latency=10.0), line(latency=20.0, seed=1, options=later), line(latency=40.0, config={"prompt": "b"})]
    assert results(lines) == (1, [])


def test_an_option_that_is_not_named_has_its_default(results, tmp_path):
    (tmp_path / "d.md").write_text("10.0 s")
    lines = [line(options={"context-frames": "2"}, latency=5.0), line(options={"kernels": "aten"}, latency=90.0), line()]
    assert results(lines) == results(lines, where={"context_frames": 4}) == (1, [])
    assert "the lines say '5.0 s'" in results(lines, where={"context_frames": 2})[1][0]
    assert "the lines say '90.0 s'" in results(lines, where={"kernels": "aten"})[1][0]
    assert "no such line" in results(lines, where={"kernels": "aten", "context_frames": 2})
    assert "no such line" in results(lines, where={"contextframes": 2})


def test_bands_are_of_the_ends_of_the_shares(results, tmp_path):
    (tmp_path / "d.md").write_text("4.0 (2.0 to 6.0) times")
    ring = line("ring", 40.0, sweep={"matmul low": 50.0, "links low": 24.0, "memory low": 1.0})
    ours = line(latency=10.0, sweep={"matmul low": 25.0, "links low": 4.0})
    entry = dict(where={"strategy": "ring"}, against={"strategy": "dualparal"}, text="{:.1f} ({:.1f} to {:.1f}) times",
                 values=["latency_s / base.latency_s", "least_ratio", "most_ratio"])
    assert results([ring, ours], **entry) == (1, [])
    ours["sweep"]["links low"] = 3.0
    assert "(2.0 to 8.0)" in results([ring, ours], **entry)[1][0]
    assert "no line has a sweep" in results([ring, line()], **entry)


def test_a_row_that_two_tables_have_is_looked_for_in_its_own(results, tmp_path):
    (tmp_path / "d.md").write_text("| A |\n| `ring` | 3.0 |\n\n| B |\n| `ring` | 5.0 |\n")
    ring = dict(lines=[line("ring", 5.0)], where={"strategy": "ring"}, text="| `ring` | {:.1f} |")
    assert results(**ring, below="| B |") == (1, [])
    count, (wrong,) = results(**ring, below="| A |")
    assert "3.0" in wrong and "5.0" in wrong
    assert "no text '| C |'" in results(**ring, below="| C |")[1][0]


def test_other_lines_are_told_by_what_differs(results, tmp_path):
    (tmp_path / "d.md").write_text("| 10.0 | 7.0 |")
    lines = [line(), line(world_size=2, latency=7.0), line(frames=33, latency=1.0)]
    entry = dict(where={"frames": 81, "world_size": 8}, text="| {:.1f} | {:.1f} |")
    assert results(lines, **entry, values=["latency_s", "of(world_size=2).latency_s"]) == (1, [])
    assert "no such line" in results(lines, **entry, values=["latency_s", "of(world_size=3).latency_s"])


def test_a_text_that_stands_twice_is_right_at_both_places(results, tmp_path):
    (tmp_path / "d.md").write_text("10.0 s, then 11.0 s")
    count, (wrong,) = results([line()])
    assert "'10.0 s' and '11.0 s'" in wrong
