# SPDX-License-Identifier: Apache-2.0
"""The shared libraries that a bundle carries beside its programs.

    python3 tools/run/bundle_libraries.py [--whole] PROGRAM... FOLDER

Copies what the programs need besides LibTorch, CUDA and the C library. A distribution's FFmpeg is linked with every codec,
display and network library there is (X11, OpenCL, cairo, x265, ...: 100 MB and more), although writing mp4 and PNG calls
none of them but x264 and zlib; its SimGrid is linked with another simulator, ns-3 (30 MB), which only a model of networks
calls that is never chosen here. The loader wants to see them all the same, so each of these is replaced by a stand-in: a
library of the same name whose functions return 0. Whether the programs still write the same files is for the caller to
try; with --whole, everything is copied as it is.
"""
from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

# Come with the machine: LibTorch, CUDA, the C library.
FOREIGN = re.compile(r"/torch/lib/|/nvidia/|/ld-linux|/lib(c|m|dl|rt|pthread|resolv|gcc_s|stdc\+\+)\.so")
# Libraries whose own needs are stood in for: all but these.
USED_BY = {re.compile(r"lib(avformat|avcodec|avutil|swscale|swresample)\.so"):
           re.compile(r"lib(avformat|avcodec|avutil|swscale|swresample|x264|z)\.so"),
           re.compile(r"libsimgrid\.so"): re.compile(r"libboost_")}


def readelf(flag: str, file: Path) -> str:
    return subprocess.run(["readelf", "-W", flag, file], capture_output=True, text=True, check=True).stdout


def needed(file: Path) -> list[str]:
    return re.findall(r"\(NEEDED\).*\[(.+?)\]", readelf("-d", file))


def libraries(program: Path) -> dict[str, Path]:
    """By the name under which they are needed."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return {name: Path(path) for name, path in re.findall(r"(\S+) => (/\S+)", text) if not FOREIGN.search(path)}


def uses(name: str, other: str) -> bool:
    return all(used.match(other) for library, used in USED_BY.items() if library.match(name))


def called(programs: list[Path], have: dict[str, Path]) -> set[str]:
    """What is reached without passing through a library to one that it does not use."""
    reached: set[str] = set()
    todo = [name for program in programs for name in needed(program) if name in have]
    while todo:
        name = todo.pop()
        if name in reached:
            continue
        reached.add(name)
        todo += [other for other in needed(have[name]) if other in have and uses(name, other)]
    return reached


def symbols(file: Path) -> list[tuple[str, str, str, bool]]:
    """(name, version, type, defined here) of the dynamic symbols."""
    found = []
    for row in readelf("--dyn-syms", file).splitlines():
        parts = row.split()
        if len(parts) < 8 or not parts[0].rstrip(":").isdigit() or parts[4] == "LOCAL":
            continue
        name, _, version = parts[7].partition("@")
        found.append((name, version.lstrip("@").split(" ")[0], parts[3], parts[6] != "UND"))
    return found


def stand_in(name: str, real: Path, wanted: set[str], target: Path, scratch: Path) -> None:
    """A library of this name that has those of the real one's symbols, in all their versions, that are wanted."""
    versions: dict[str, list[str]] = defaultdict(list)
    code = ['.section .note.GNU-stack,"",@progbits', ".text"]
    for number, (symbol, version, kind, defined) in enumerate(symbols(real)):
        if not defined or symbol not in wanted or kind == "TLS":
            continue
        label = f"stand_in_{number}" if version else symbol
        code += [f".globl {label}", f".symver {label}, {symbol}@{version}" if version else ""]
        if kind == "OBJECT":
            code += [".data", f".type {label}, @object", f".size {label}, 256", f"{label}: .zero 256", ".text"]
        else:
            code += [f".type {label}, @function", f"{label}: xorl %eax, %eax", "ret"]
        versions[version].append(symbol)
    (scratch / "code.s").write_text("\n".join(code) + "\n")
    (scratch / "versions").write_text(
        "".join(f"{version} {{ global: {'; '.join(names)}; }};\n" for version, names in versions.items() if version))
    script = [f"-Wl,--version-script={scratch / 'versions'}"] if any(versions) else []
    subprocess.run(["gcc", "-shared", "-nostdlib", f"-Wl,-soname,{name}", *script, "-o", target, scratch / "code.s"],
                   check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("programs", type=Path, nargs="+")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--whole", action="store_true", help="no stand-ins")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    have = {name: path for program in options.programs for name, path in libraries(program).items()}
    kept = set(have) if options.whole else called(options.programs, have)
    for name in kept:
        shutil.copy(have[name], options.folder / name)
    wanted = {symbol for name in kept for symbol, _, _, defined in symbols(have[name]) if not defined}
    direct = {other for name in kept for other in needed(have[name])} & set(have) - kept  # a stand-in needs none itself
    with tempfile.TemporaryDirectory() as scratch:
        for name in direct:
            stand_in(name, have[name], wanted, options.folder / name, Path(scratch))
    print(f"# {len(kept)} libraries, {len(direct)} stand-ins", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
