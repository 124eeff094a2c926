# SPDX-License-Identifier: Apache-2.0
"""Relative links of all documents lead somewhere, and what README and docs name in backticks is there."""
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")
# A path of this project: one of its folders, then more; no place holders (NAME) and nothing that a command makes.
FOLDERS = "base baselines benchmarks cmake comm configs cuda docs dualparal examples harness model models plots python " \
          "strategy tests tools".split()
NAMED = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./*-]*)`")


def documents():
    files = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [Path(file) for file in files if not file.endswith("_template.md")]  # its links are those of what is made from it


def anchors(text):
    """As GitHub makes them from headings."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
            for title in re.findall(r"^#+\s+(.*)$", text, re.MULTILINE)}


def broken(root, file):
    """What is linked or named in a document and is not there."""
    text = (root / file).read_text()
    found = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (root / file).parent / path if path else root / file
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            found.append(link)
    if file.parts[0] in ("README.md", "docs"):
        found += [name for name in NAMED.findall(text) if not list(root.glob(name.rstrip("/")))]
    return found


@pytest.fixture(scope="module")
def tracked():
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository")
    return documents()


def test_links_and_named_files_are_there(tracked):
    assert len(tracked) > 20
    assert {str(file): found for file in tracked if (found := broken(ROOT, file))} == {}


def test_what_is_not_there_is_found(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/b.md").write_text("## One, two\n```sh\n# no heading\n```\n")
    (tmp_path / "README.md").write_text("[a](docs/b.md#one-two) [b](docs/b.md#three) [c](c.md) [d](#e) [f](https://f.g)\n"
                                        "[h](docs/b.md#no-heading) `docs/b.*` `docs/x.py` `docs/`\n")
    assert broken(tmp_path, Path("README.md")) == ["docs/b.md#three", "c.md", "#e", "docs/b.md#no-heading", "docs/x.py"]
