"""Two fits at once on all cores, beside two with one thread each: they should take about as long.

python -m tests.bench.two_fits [FILE] [--n-sparse N] [--stride N] [--repeats N]

Processes are started and warmed first, and set off together.  Before each pair of pairs one fit runs alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SILICON = Path(__file__).parents[2] / "data" / "silicon" / "train.extxyz"
CHILD = """
import sys, time
import ase.io
from gapkit import GAP
path, n_sparse, stride, n_jobs = sys.argv[1], *(int(word) for word in sys.argv[2:])
frames = ase.io.read(path, f"::{stride}")
model = GAP(n_sparse=n_sparse or None, n_jobs=n_jobs or None)
GAP(n_sparse=20, n_jobs=1, calibration=None).fit(frames[:20])
print("ready", flush=True)
sys.stdin.readline()
begin = time.perf_counter(), time.process_time()
model.fit(frames)
seconds = model.metadata_["seconds"]
print(time.perf_counter() - begin[0], time.process_time() - begin[1], seconds["calibrate"] / sum(seconds.values()))
"""


def fits(count: int, n_jobs: int, options: argparse.Namespace) -> tuple[float, float, float]:
    """Wall time of the last of some fits at once, their CPU time, and the largest part of calibration."""
    words = [str(options.file), str(options.n_sparse), str(options.stride), str(n_jobs)]
    started = [
        subprocess.Popen([sys.executable, "-c", CHILD, *words], stdin=-1, stdout=-1, text=True) for _ in range(count)
    ]
    for one in started:
        assert one.stdout.readline() == "ready\n"
    for one in started:
        one.stdin.write("go\n")
        one.stdin.flush()
    numbers = np.array([[float(word) for word in one.communicate()[0].split()] for one in started])
    return float(numbers[:, 0].max()), float(numbers[:, 1].sum()), float(numbers[:, 2].max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", default=SILICON)
    parser.add_argument("--n-sparse", type=int, default=0, help="0: chosen from the data")
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    ratios = []
    for _ in range(options.repeats):
        alone, one_each, all_cores = (fits(*how, options) for how in ((1, 0), (2, 1), (2, 0)))
        ratios.append(all_cores[0] / one_each[0])
        for name, (wall, cpu, part) in (("alone", alone), ("two, one thread each", one_each), ("two", all_cores)):
            print(f"{name:22} {wall:8.1f} s, CPU {cpu:8.1f} s, calibration {100 * part:3.0f} %", flush=True)
        load = Path("/proc/loadavg").read_text().split()[0]
        print(f"two over two with one thread each: {ratios[-1]:.2f}; load {load}", flush=True)
    print(f"median of {len(ratios)}: {np.median(ratios):.2f} at {time.ctime()}")


if __name__ == "__main__":
    main()
