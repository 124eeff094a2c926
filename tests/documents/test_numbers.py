# SPDX-License-Identifier: Apache-2.0
"""Numbers in documents are those of the kept result lines (tools/document_numbers.py)."""
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted({entry["document"] for entry in yaml.safe_load((ROOT / "docs/numbers.yaml").read_text())})


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
    entry = {"document": "README.md", "lines": "results/frames", "where": {}, "values": ["latency_s"],
             "text": "about {:.1f} s", **change}
    (tmp_path / "numbers.yaml").write_text(yaml.safe_dump([entry]))
    done = numbers("check", "--numbers", tmp_path / "numbers.yaml")
    assert done.returncode == 1 and words in done.stderr and "about" in done.stderr, done.stderr
