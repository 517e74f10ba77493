"""Processes with a fixed number of threads, their wall time and their peak memory.

Everything that is measured runs in a process of its own, one after another.  The process that starts them imports
nothing large: on Linux the peak memory of a child begins at the size of the parent that started it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read by the libraries when they load, so that they must be set before the process starts.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS")
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class ProcessError(RuntimeError):
    """A process ended with an error; the message holds the end of what it printed."""


@dataclass(frozen=True)
class Usage:
    """What a process took: wall seconds, peak resident memory in GB (10^9 bytes), and the value of its task."""

    seconds: float
    gigabytes: float
    value: Any = None


def run(command: list[str], *, threads: int = 1, folder: str | None = None) -> Usage:
    """Run a command to its end in `folder`; raises ProcessError if it fails."""
    here = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    environment = os.environ | dict.fromkeys(THREADS, str(threads)) | {"PYTHONPATH": path}
    with tempfile.TemporaryFile() as log:
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            end = log.read()[-2000:].decode(errors="replace").strip()
            raise ProcessError(f"{Path(command[0]).name} ended with {process.returncode}:\n{end}")
    return Usage(seconds, usage.ru_maxrss * RSS_UNIT / 1e9)


def task(name: str, *, threads: int = 1, **arguments: Any) -> Usage:
    """Call `module.function` of this package with JSON arguments in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        usage = run(
            [sys.executable, "-m", "comparison", name, json.dumps(arguments), str(output)],
            threads=threads, folder=folder,
        )  # fmt: skip
        return Usage(usage.seconds, usage.gigabytes, json.loads(output.read_text()))


def program(name: str) -> str | None:
    """Path of a command, on PATH or beside this Python."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(name) or shutil.which(name, path=beside)


def installed(module: str) -> bool:
    """Whether a module can be found, without importing it."""
    return importlib.util.find_spec(module) is not None
