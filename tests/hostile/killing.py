"""A process that forks commands and has them killed: at a time, or before or after a call that matters.

Fits have chunks of two frames there, and write a checkpoint after each of them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

# Where a command may be killed: module or class, its function, and how often it is called in a whole run.
PLACES = {
    "fit": {
        "chunk": ("gapkit.potential.training.rows", "training_rows", 6),
        "on the disk": ("os", "fsync", 16),
        "replace": ("os", "replace", 8),
        "model": ("gapkit.potential.fitted", "write_state", 1),
        "removal": ("gapkit.potential.training.checkpoint.Done", "remove", 1),
        "unlink": ("pathlib.Path", "unlink", 9),
    },
    "curate": {
        "rename": ("os", "rename", 3),
        "on the disk": ("os", "fsync", 6),
        "mkdir": ("pathlib.Path", "mkdir", 2),
        "text": ("pathlib.Path", "write_text", 2),
        "removal": ("shutil", "rmtree", 3),
        "unlink": ("os", "unlink", 12),
    },
}


@dataclass(frozen=True)
class Aim:
    """The `count`-th call of a place, before it or after it."""

    place: str
    count: int
    after: bool


class Killer:
    """The process that forks; leave its `with` to end it."""

    def __enter__(self) -> Killer:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.killing"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2], env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def run(self, folder: Path, *words: str, seconds: float | None = None, aim: Aim | None = None) -> tuple[int, float]:
        """Exit code of a command, or minus its signal, and its seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"folder": str(folder), "words": words, "seconds": seconds, "aim": aim and vars(aim)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        code, took = json.loads(self._process.stdout.readline())
        return code, took


def _serve() -> None:
    from gapkit.potential.training import accumulator, checkpoint, rows

    rows.ATOMS_PER_CHUNK, accumulator.ROWS_AT_ONCE, checkpoint.INTERVAL, checkpoint.WRITING = 8, 60, 0.0, 1e9
    for line in sys.stdin:
        request = json.loads(line)
        begin = time.monotonic()
        child = os.fork()
        if child == 0:
            _child(request)
        code = _wait(child, None if request["seconds"] is None else begin + request["seconds"])
        print(json.dumps([code, time.monotonic() - begin]), flush=True)  # noqa: T201


def _wait(child: int, until: float | None) -> int:
    while until is not None:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            os.kill(child, signal.SIGKILL)
            break
        time.sleep(1e-3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _child(request: dict[str, Any]) -> None:
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(2, 1)
        os.chdir(request["folder"])
        words = request["words"]
        if request["aim"] is not None:
            _arm(PLACES[words[0]], Aim(**request["aim"]))
        from gapkit.cli import main

        sys.argv = ["gapkit", *words]
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        os._exit(code)


def _arm(places: dict[str, tuple[str, str, int]], aim: Aim) -> None:
    """Have this process killed at the aim."""
    import importlib

    where, name, _ = places[aim.place]
    module, _, cls = (where, "", "") if where in sys.modules else where.rpartition(".")
    held = importlib.import_module(module)
    held = getattr(held, cls) if cls else held
    original: Callable[..., Any] = getattr(held, name)
    calls = []

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        last = len(calls) == aim.count
        if last and not aim.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **options)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(held, name, counted)


def copied(source: Path, folder: Path) -> Path:
    """A copy of a folder, to be killed in."""
    return Path(shutil.copytree(source, folder))


if __name__ == "__main__":
    _serve()
