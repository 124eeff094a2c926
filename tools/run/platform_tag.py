# SPDX-License-Identifier: Apache-2.0
"""The platform tag of a wheel: the oldest glibc that its files run with.

    python3 tools/run/platform_tag.py FOLDER [--torch FOLDER]

Prints the tag (manylinux_2_34_x86_64). With --torch, checks first that the files need no library but those in FOLDER,
LibTorch's, NVIDIA's and the C and C++ libraries.
"""
from __future__ import annotations

import argparse
import platform
import re
import subprocess
import sys
from pathlib import Path

# What PyTorch's own wheels take from the system.
SYSTEM = re.compile(r"ld-linux-.*|lib(c|m|dl|rt|pthread|resolv|util|gcc_s|stdc\+\+)\.so\.\d+")


def readelf(*arguments: object) -> str:
    return subprocess.run(["readelf", "-W", *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def elf_files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file() and file.read_bytes()[:4] == b"\x7fELF"]


def newest_glibc(files: list[Path]) -> tuple[int, int]:
    versions = {(2, 28)}  # PyTorch's
    for file in files:
        versions |= {(int(a), int(b)) for a, b in re.findall(r"Name: GLIBC_(\d+)\.(\d+)", readelf("--version-info", file))}
    return max(versions)


def missing(files: list[Path], torch: Path) -> list[str]:
    """"FILE needs LIBRARY" for each that nothing will supply."""
    own = {file.name for file in files}
    others = {file.name for file in (torch / "lib").iterdir()}
    others |= {file.name for file in (torch.parent / "nvidia").glob("*/lib/*")}
    return [f"{file.name} needs {name}" for file in files
            for name in re.findall(r"\(NEEDED\).*\[(.+?)\]", readelf("-d", file))
            if name not in own | others and not SYSTEM.fullmatch(name)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch", type=Path)
    options = parser.parse_args()
    files = elf_files(options.folder)
    if not files:
        sys.exit(f"error: {options.folder}: no programs or libraries in it")
    if options.torch and (lacking := missing(files, options.torch)):
        sys.exit("error: the wheel would not run elsewhere: " + "; ".join(lacking))
    print("manylinux_{}_{}_{}".format(*newest_glibc(files), platform.machine()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
