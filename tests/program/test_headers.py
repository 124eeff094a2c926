# SPDX-License-Identifier: Apache-2.0
"""Every header compiles alone: it includes what it uses, and can be included first."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("DUALPARAL_BUILD", ROOT / "build"))


def test_every_header_compiles_alone():
    done = subprocess.run(["cmake", "--build", BUILD, "--target", "header_tests"], capture_output=True, text=True,
                          check=False)
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert done.returncode == 0, "\n".join(errors[:20] or done.stdout.splitlines()[-20:])
