# SPDX-License-Identifier: Apache-2.0
"""The program elsewhere: as a wheel, under a prefix, with packages unpacked by who may not install them."""
import os
import pathlib
import re
import subprocess
import sys

import pytest
import torch
from test_program import FAST, PROGRAM, ROOT
from test_run import run

built = pytest.mark.skipif(PROGRAM.parent != ROOT / "build", reason="./run works with the program of build/")
BARE = {"PATH": "/usr/bin:/bin"}


def call(*command, **kwargs):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel_env(tmp_path_factory):
    """A fresh environment with the wheel, and this one's torch in the place of PyPI's."""
    folder = tmp_path_factory.mktemp("wheel")
    done = run("wheel", "made", cwd=folder)
    assert done.returncode == 0, done.stderr
    wheel, = (folder / "made").iterdir()
    call(sys.executable, "-m", "venv", "--without-pip", folder / "env")
    call(sys.executable, "-m", "pip", "-q", "--python", folder / "env/bin/python", "install", "--no-deps", "--no-index", wheel)
    site, = (folder / "env/lib").glob("python*/site-packages")
    (site / "torch.pth").write_text(str(pathlib.Path(torch.__file__).parents[1]))
    return folder


@built
def test_a_wheel_gives_command_and_module(wheel_env):
    assert re.fullmatch(r"dualparal-[\d.]+-py3-none-manylinux_2_\d+_x86_64\.whl", next((wheel_env / "made").iterdir()).name)
    command = wheel_env / "env/bin/dualparal"
    call(command, "generate", *FAST, "--strategy", "ring", "--nproc", 2, "--frames", 5, "--output", "v.mp4", cwd=wheel_env, env=BARE)
    assert (wheel_env / "v.mp4").stat().st_size > 500
    doctor = call(command, "doctor", env=BARE)
    site, = (wheel_env / "env/lib").glob("python*/site-packages")
    for part in ("share/dualparal/models/moving-shapes", "lib/dualparal/libdualparal_nccl.so"):
        assert part not in doctor or f"{site}/dualparal/_program/{part}" in doctor
    assert "share/dualparal/models/moving-shapes" in doctor
    code = ("import dualparal; made = dualparal.generate('a', frames=5, steps=1, threads=1, latents='torch', quiet=True); "
            "print(tuple(made.latents.shape), dualparal.find_program())")
    shape, program = call(wheel_env / "env/bin/python", "-c", code, env=BARE).rsplit(" ", 1)
    assert shape == "(1, 16, 2, 8, 12)" and program.startswith(str(site))


@built
def test_a_wheel_asks_for_the_torch_it_was_built_with(wheel_env):
    site, = (wheel_env / "env/lib").glob("python*/site-packages")
    metadata = next(site.glob("dualparal-*.dist-info/METADATA")).read_text()
    assert f"Requires-Dist: torch=={torch.__version__.split('+')[0]}\n" in metadata
    (site / "torch.pth").rename(site / "torch.off")
    done = subprocess.run([wheel_env / "env/bin/dualparal", "strategies"], capture_output=True, text=True, env=BARE)
    (site / "torch.off").rename(site / "torch.pth")
    assert done.returncode == 1 and done.stderr.startswith("error: no torch") and len(done.stderr.splitlines()) == 1


def test_a_library_that_nothing_supplies_is_found_out(tmp_path):
    tag = [sys.executable, ROOT / "tools/run/platform_tag.py", tmp_path, "--torch", pathlib.Path(torch.__file__).parent]
    (tmp_path / "program").write_bytes(PROGRAM.read_bytes())
    done = subprocess.run(tag, capture_output=True, text=True)
    assert done.returncode == 1 and "program needs libavcodec.so" in done.stderr and "libc10" not in done.stderr
    (tmp_path / "program").write_text("#!/bin/sh\n")
    done = subprocess.run(tag, capture_output=True, text=True)
    assert done.returncode == 1 and "no programs or libraries" in done.stderr


@built
def test_cmake_installs_a_program_that_finds_its_data(tmp_path):
    call("cmake", "--install", PROGRAM.parent, "--prefix", tmp_path / "opt", "--component", "program")
    command = tmp_path / "opt/bin/dualparal"
    assert str(tmp_path / "opt/share/dualparal/models/moving-shapes") in call(command, "doctor")
    call(command, "generate", *FAST, "--frames", 5, "--output", "v.mp4", cwd=tmp_path)
    assert "M parameters" in call(command, "inspect", "configs/models/wan2.1-t2v-1.3b", cwd=tmp_path)
    call("cmake", "--install", PROGRAM.parent, "--prefix", "/usr", "--component", "program",
         env=dict(os.environ, DESTDIR=str(tmp_path / "staged")))
    assert (tmp_path / "staged/usr/bin/dualparal").resolve() == tmp_path / "staged/usr/lib/dualparal/dualparal"


def no_root(folder, commands):
    """Runs them with ./run's functions for who is not root, and an apt-get that `downloads` what lies in debs/."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/apt-get").write_text(
        f"#!/bin/sh\necho \"$@\" >>{folder}/asked\ncase \"$*\" in *\" install \"*) cp {folder}/debs/* {folder}/.debian/apt/cache/archives/ ;; esac\n")
    (folder / "bin/apt-get").chmod(0o755)
    script = (f"here={folder}; say() {{ :; }}; stop() {{ echo \"error: $1\" >&2; exit 1; }}; configure_flags=(); set -euo pipefail\n"
              f". {ROOT}/tools/run/no_root.sh\n{commands}")
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True,
                          env={"PATH": f"{folder}/bin:/usr/bin:/bin", "DUALPARAL_NO_ROOT": "1"})


def make_package(folder):
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text("Package: libthing-dev\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: x\n")
    (tree / "usr/include").mkdir(parents=True)
    (tree / "usr/include/thing.h").write_text("#define THING 42\n")
    (tree / "usr/lib/x86_64-linux-gnu/pkgconfig").mkdir(parents=True)
    (tree / "usr/lib/x86_64-linux-gnu/pkgconfig/thing.pc").write_text(
        "prefix=/usr\nlibdir=${prefix}/lib\nincludedir = /usr/include\nName: thing\nDescription: x\nVersion: 1\nCflags: -I${includedir}/thing\n")
    (folder / "debs").mkdir()
    call("dpkg-deb", "--build", "--root-owner-group", tree, folder / "debs/libthing-dev_1_all.deb")


def test_packages_are_unpacked_and_found_without_root(tmp_path):
    make_package(tmp_path)
    program = tmp_path / "thing.cpp"
    program.write_text("#include <thing.h>\nint main() { return THING - 42; }\n")
    done = no_root(tmp_path, "may_install && exit 9\nunpacked libthing-dev && exit 8\nunpack_packages libthing-dev\nunpacked libthing-dev\n"
                   f"find_unpacked\npkg-config --cflags thing\ng++ {program} -o {tmp_path}/thing\n{tmp_path}/thing\n"
                   "echo \"${configure_flags[@]}\"")
    assert done.returncode == 0, done.stderr
    cflags, flags = done.stdout.splitlines()
    assert cflags.strip() == f"-I{tmp_path}/.debian/usr/include/thing"
    assert flags.startswith(f"-DCMAKE_BUILD_RPATH={tmp_path}/.debian/usr/lib/x86_64-linux-gnu;")
    assert "libthing-dev" in (tmp_path / "asked").read_text() and "--download-only" in (tmp_path / "asked").read_text()


def test_without_root_and_compiler_it_says_what_to_do(tmp_path):
    done = no_root(tmp_path, "CXX=g++-of-nobody; unpack_packages x")
    assert done.returncode == 1 and "no C++ compiler (g++-of-nobody)" in done.stderr and "module load gcc" in done.stderr
