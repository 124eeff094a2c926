# SPDX-License-Identifier: Apache-2.0
"""Kept results are made anew by one program of one clean commit (tools/keep_results.py); a script stands in for the program."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import keep_results  # noqa: E402

# Makes the lines of lines.json, unless --restart says otherwise behind those that are there; exit code: code.
STAND_IN = """#!{python}
import json, pathlib, sys
command, here = sys.argv[1], pathlib.Path({here!r})
says = json.loads((here / "says.json").read_text())
if command == "--version":
    print(says["version"])
elif "--dry-run" in sys.argv:
    print(says["listed"])
elif command == "bench":
    lines = pathlib.Path(sys.argv[sys.argv.index("--output") + 1]) / "results.jsonl"
    lines.parent.mkdir(exist_ok=True)
    if "--restart" in sys.argv and lines.exists():
        lines.rename(lines.parent / "results.before-1.jsonl")
    with lines.open("a") as file:
        file.write("".join(json.dumps(line) + "\\n" for line in says["lines"]))
    sys.exit(says["code"])
else:
    sys.exit(says["report"])
"""


def line(commit, dirty=False):
    return {"provenance": {"code": {"commit": commit, "dirty": dirty}}}


def text(*lines):
    return "".join(json.dumps(one) + "\n" for one in lines)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with an experiment `e` whose kept lines are of commit `old`; what the program says is set by the function."""
    program = tmp_path / "build/dualparal"
    folder = tmp_path / "results/e"
    for made in (program.parent, folder):
        made.mkdir(parents=True)
    program.write_text(STAND_IN.format(python=sys.executable, here=str(tmp_path)))
    program.chmod(0o755)
    (folder / "results.jsonl").write_text(text(line("old")))
    monkeypatch.setattr(keep_results, "ROOT", tmp_path)
    monkeypatch.setattr(keep_results, "PROGRAM", program)

    def says(**changes):
        (tmp_path / "says.json").write_text(json.dumps({
            "version": "1 (commit new)", "lines": [line("new")], "code": 0, "report": 0,
            "listed": "1/1 ring: done\n0 to run"} | changes))

    says()
    return tmp_path, folder, says


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("code", [0, 1])
def test_old_lines_go_when_the_new_ones_are_there(project, code):
    _, folder, says = project
    says(code=code)
    keep_results.make("e", "new")
    assert names(folder) == ["results.jsonl"] and keep_results.are_of(folder, "new")
    (folder / "results.jsonl").write_text(text(line("new")) + '{"provenance": {"co')  # cut off: goes on
    assert keep_results.are_of(folder, "new")


@pytest.mark.parametrize("changes, words", [
    ({"code": 2}, "exit code 2"), ({"report": 1}, "exit code 1"), ({"lines": [], "code": 1}, "not of commit new"),
    ({"lines": [line("new"), line("older")]}, "not of commit new"), ({"lines": [line("new", dirty=True)]}, "not of commit new"),
    ({"listed": "1/2 ring: done\n2/2 ring: to do\n1 to run", "code": 1}, "points are missing")])
def test_what_went_wrong_ends_it_and_keeps_the_old_lines(project, changes, words):
    _, folder, says = project
    says(**changes)
    with pytest.raises(SystemExit, match=words):
        keep_results.make("e", "new")
    assert changes.get("report") or "old" in "".join(path.read_text() for path in folder.iterdir())


@pytest.mark.parametrize("rows", ["", "{", '{"a": 1}\n', "3\n", '{"provenance": null}\n', text(line("new")) + "{\n"])
def test_lines_that_say_nothing_of_their_commit_are_not_of_it(tmp_path, rows):
    (tmp_path / "results.jsonl").write_text(rows)
    assert not keep_results.are_of(tmp_path, "new")


def by_command(monkeypatch, folder, name, script):
    (folder.parent / "made.py").write_text("import pathlib, sys\nfolder = pathlib.Path(sys.argv[1])\n" + script)
    monkeypatch.setitem(keep_results.COMMANDS, name, [str(folder.parent / "made.py"), "{}"])
    keep_results.make(name, "new")


def test_what_a_command_appends_replaces_what_was_there(project, monkeypatch):
    _, folder, _ = project
    (folder / "results.jsonl").unlink()
    (folder / "cpu.jsonl").write_text("old\n")
    (folder / "cpu.new.jsonl").write_text("of a run that was cut off\n")
    append = "(folder / 'cpu.new.jsonl').open('a').write('new\\n')\n"
    with pytest.raises(SystemExit, match="exit code 1"):
        by_command(monkeypatch, folder, "e", append + "sys.exit(1)\n")
    assert (folder / "cpu.jsonl").read_text() == "old\n"
    by_command(monkeypatch, folder, "e", append)
    assert names(folder) == ["cpu.jsonl"] and (folder / "cpu.jsonl").read_text() == "new\n"
    assert "{}/cpu.new.jsonl" in keep_results.COMMANDS["compare_diffusers"]


def test_a_command_that_sets_lines_aside_leaves_none_behind(project, monkeypatch):
    _, folder, _ = project
    aside = "lines = folder / 'results.jsonl'\nlines.rename(folder / 'results.before-1.jsonl')\n"
    by_command(monkeypatch, folder, "e", aside + f"lines.write_text({text(line('new'))!r})\n")
    assert names(folder) == ["results.jsonl"]
    with pytest.raises(SystemExit, match="not of commit new"):
        by_command(monkeypatch, folder, "e", aside + f"lines.write_text({text(line('other'))!r})\n")
    assert names(folder) == ["results.before-1.jsonl", "results.jsonl"]


def test_only_results_and_documents_may_have_changed(project):
    root, folder, says = project

    def git(*command):
        done = subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=root, capture_output=True,
                              text=True, check=True)
        return done.stdout.strip()

    (root / ".gitignore").write_text("/build/\n/says.json\n")
    (root / "code.cpp").write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    built = git("rev-parse", "HEAD")
    says(version=f"1 (commit {built})")
    (folder / "more.jsonl").write_text("x")
    (root / "docs").mkdir()
    (root / "docs/new.yaml").write_text("x")
    (root / "README.md").write_text("x")
    assert keep_results.commit() == built
    (root / "new.cpp").write_text("x")
    with pytest.raises(SystemExit, match="new.cpp"):
        keep_results.commit()
    git("add", "new.cpp")
    with pytest.raises(SystemExit, match="new.cpp"):
        keep_results.commit()
    says(version=f"1 (commit {built}, with changes)")
    with pytest.raises(SystemExit, match="clean commit"):
        keep_results.commit()


def test_kept_results_are_not_ignored():
    kept = [f"results/{name}/results.jsonl" for name in (*keep_results.SIMULATED, *keep_results.MEASURED)]
    done = subprocess.run(["git", "check-ignore", "--no-index", *kept], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == ""
