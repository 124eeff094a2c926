# SPDX-License-Identifier: Apache-2.0
"""clang-tidy over the tree, with the checks of .clang-tidy.

    python tools/tidy.py [--build build] [--jobs N] [--clang-tidy PROGRAM] [FILES...]   # all of the project's sources unless some are named

Exit code 1 if anything is found. The build's flags are GCC's; what clang does not know of them is left out.
"""
from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_CLANG_S = re.compile(r" (-fpch-preprocess|-Winvalid-pch|-Wno-stringop-overflow|-Wno-restrict)(?= )")


def clang_database(build: Path, folder: Path) -> list[Path]:
    """Writes compile_commands.json for clang into `folder`; the project's sources in it."""
    commands = json.loads((build / "compile_commands.json").read_text())
    sources = []
    # Clang would take GCC's precompiled header, which lies beside the plain one: a copy is alone.
    header = build.resolve() / "base/CMakeFiles/dualparal_base.dir/cmake_pch.hxx"
    shutil.copy(header, folder)
    for entry in commands:
        entry["command"] = NOT_CLANG_S.sub("", entry["command"]).replace(str(header), str(folder / header.name))
        source = Path(entry["file"])
        if source.is_relative_to(ROOT) and not source.is_relative_to(build.resolve()):
            sources.append(source)
    (folder / "compile_commands.json").write_text(json.dumps(commands))
    return sorted(set(sources))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--clang-tidy", default="clang-tidy", help="16 or newer: C++20 needs it (PyPI: clang-tidy)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    found = 0
    with tempfile.TemporaryDirectory() as folder:
        sources = clang_database(args.build, Path(folder))
        if args.files:
            wanted = {file.resolve() for file in args.files}
            sources = [source for source in sources if source in wanted]
            if len(sources) != len(wanted):
                parser.error("not sources of this build: " +
                             ", ".join(map(str, sorted(wanted - set(sources)))))

        def tidy(source: Path) -> str:
            done = subprocess.run([args.clang_tidy, "--quiet", "-p", folder, str(source)], capture_output=True, text=True)
            return done.stdout.strip() or (done.stderr.strip() if done.returncode else "")

        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            for number, (source, text) in enumerate(zip(sources, pool.map(tidy, sources)), 1):
                print(f"{number}/{len(sources)} {source.relative_to(ROOT)}: {'found' if text else 'nothing'}", flush=True)
                if text:
                    print(text, flush=True)
                    found += 1
    print(f"{found} of {len(sources)} files with something to mend")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
