# SPDX-License-Identifier: Apache-2.0
"""Where the program is, and with what environment it starts."""
from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
INSTALLED = HERE / "_program"  # in the wheel: what cmake --install puts there
BUILT = HERE.parents[1] / "build" / "dualparal"  # in the repository
VARIABLE = "DUALPARAL_PROGRAM"


class ProgramNotFound(FileNotFoundError):
    """There is no program to start; says where it was looked for."""


def find_program() -> Path:
    """$DUALPARAL_PROGRAM, else the wheel's own, else the one built in the repository, else the one in $PATH."""
    named = os.environ.get(VARIABLE)
    own = INSTALLED / "lib" / "dualparal" / "dualparal"
    in_path = shutil.which("dualparal")
    for candidate in [Path(named)] if named else [own, BUILT, *([Path(in_path)] if in_path else [])]:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    where = f"{VARIABLE}={named}" if named else f"neither {own} nor {BUILT} nor in PATH"
    raise ProgramNotFound(f"no dualparal program: {where}; in the repository, ./run build makes it")


def data_dir() -> Path:
    """The folder with the program's configs/ and models/ (models/moving-shapes is the embedded model)."""
    program = find_program().resolve()
    for folder in program.parents:
        for data in (folder, folder / "share" / "dualparal"):
            if (data / "configs").is_dir() and (data / "models").is_dir():
                return data
    raise ProgramNotFound(f"{program}: no configs/ and models/ in the folders above it")


def environment(program: Path) -> dict[str, str]:
    """The caller's, and for the wheel's program the libraries it needs: LibTorch's, wherever torch is, and its own."""
    variables = dict(os.environ)
    if INSTALLED not in program.parents:
        return variables
    torch = importlib.util.find_spec("torch")
    if torch is None or not torch.submodule_search_locations:
        raise ProgramNotFound("no torch in this Python: pip install the version that dualparal asks for")
    folders = [Path(torch.submodule_search_locations[0]) / "lib", program.parent / "libraries"]
    before = variables.get("LD_LIBRARY_PATH")
    variables["LD_LIBRARY_PATH"] = os.pathsep.join([*map(str, folders), *([before] if before else [])])
    return variables


def main() -> None:
    """The command `dualparal` of the wheel: becomes the program."""
    try:
        program = find_program()
        variables = environment(program)
    except ProgramNotFound as error:
        sys.exit(f"error: {error}")
    os.execve(program, ["dualparal", *sys.argv[1:]], variables)
