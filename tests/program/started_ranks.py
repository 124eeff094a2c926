# SPDX-License-Identifier: Apache-2.0
"""Starts ranks as a user does, and watches them."""
import os
import socket
import subprocess
import sys
import time

from test_program import PROGRAM, ROOT

sys.path.insert(0, str(ROOT / "tools"))
from rank_processes import ranks_of  # noqa: E402

SHORT = ["generate", "--no-decode", "--no-quality", "--quiet", "--threads", 1, "--prompt", "a red circle"]
BLOCKS = [*SHORT, "--strategy", "dualparal", "--block-frames", 4, "--context-frames", 2]
PATIENCE = 240  # seconds, on a busy machine; nothing waits that long when it works


def wait_until(condition):
    deadline = time.time() + PATIENCE
    while not (result := condition()) and time.time() < deadline:
        time.sleep(0.05)
    return result


def start(*arguments, nproc=3, **kwargs):
    """The launcher of the ranks, and their process ids by rank."""
    kwargs = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True, **kwargs}
    child = subprocess.Popen([PROGRAM, *map(str, arguments), "--nproc", str(nproc)], **kwargs)
    assert wait_until(lambda: len(ranks_of(child.pid)) == nproc or child.poll() is not None)
    ranks = ranks_of(child.pid)
    assert len(ranks) == nproc, child.communicate(timeout=PATIENCE)
    return child, ranks


def wait_for_latents(child, folder):
    wait_until(lambda: list(folder.glob("0*.safetensors")) or child.poll() is not None)
    time.sleep(0.5)  # what a rank is doing is told to the others a few times a second
    assert list(folder.glob("0*.safetensors")) and child.poll() is None


def end_of(child):
    """What it said on standard error."""
    return child.communicate(timeout=PATIENCE)[1]


def shared_memory():
    return {name for name in os.listdir("/dev/shm") if name.startswith(("gloo", "nccl", "torch", "dualparal"))}


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def as_rank(rank, world_size, port, *arguments, program=PROGRAM):
    environment = dict(os.environ, RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(rank),
                       LOCAL_WORLD_SIZE=str(world_size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
                       TORCH_CPP_LOG_LEVEL="ERROR")
    return subprocess.Popen([program, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                            env=environment)


def torchrun(*flags):
    """The command that two ranks' command is put behind."""
    return [sys.executable, "-m", "torch.distributed.run", "--no-python", "--nproc-per-node", "2", "--master-port", str(free_port()),
            *map(str, flags)]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
