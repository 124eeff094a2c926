# SPDX-License-Identifier: Apache-2.0
"""Whether memory grows with the length of a video: runs of the embedded model, decoded to an mp4.

    python benchmarks/long_videos.py [--frames 4097 57601] [--steps 10] [--program build/dualparal] [-- FLAGS]

A line a run: peak of the memory that its ranks allocate, peak resident memory of a rank while it denoised and of rank 0
in all, frames in the mp4. Exit code 1 if a peak is more than 1.05 times that of the first run, or frames are missing.
57,601 frames, an hour at 16 a second, take about an hour and a half on two cores.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import av

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLAGS = ["--strategy", "dualparal", "--nproc", "2", "--threads", "1", "--prompt",
         "a red circle bounces over a dark blue background", "--no-quality", "--quiet"]
PEAKS = {"peak_memory_bytes": "allocated", "process_memory_bytes": "resident while denoising",
         "peak_resident_bytes": "resident in all"}
MOST = 1.05


def frames_in(file: pathlib.Path) -> int:
    with av.open(str(file)) as video:
        return sum(1 for _ in video.decode(video=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[4097, 57601])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/dualparal")
    parser.add_argument("flags", nargs="*")
    arguments = parser.parse_args()
    first, good = None, True
    for frames in arguments.frames:
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            subprocess.run([arguments.program, "generate", *FLAGS, *arguments.flags, "--steps", str(arguments.steps), "--frames",
                            str(frames), "--output", folder / "v.mp4", "--result", folder / "r.jsonl"], check=True)
            line, decoded = json.loads((folder / "r.jsonl").read_text()), frames_in(folder / "v.mp4")
        first = first or line
        ratios = {name: line[name] / first[name] for name in PEAKS}
        good = good and decoded == frames and max(ratios.values()) <= MOST
        texts = [f"{text} {line[name] / 2**20:.1f} MiB ({ratios[name]:.3f})" for name, text in PEAKS.items()]
        print(f"{frames} frames: {'; '.join(texts)}; {decoded} in the mp4; denoised in {line['latency_s']:.1f} s, decoded in "
              f"{line['decode_s']:.1f} s", flush=True)
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
