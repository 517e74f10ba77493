"""Commands and calls on hostile input, each in a process of its own whose memory and time are measured.

A process that has imported gapkit forks for every trial, so that one takes milliseconds.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MEMORY = 1e9  # bytes, the imports among them
SECONDS = 10.0  # of the processor
PATIENCE = 60.0  # seconds on the clock, of a machine with other work
ALLOWED = 8 << 30  # bytes of data, beyond which a trial runs out of memory and not the machine


@dataclass(frozen=True)
class Outcome:
    """What a trial did."""

    code: int  # exit code; minus the signal that ended it
    out: str
    err: str
    seconds: float
    memory: float  # bytes
    before: Mapping[str, str]  # digest of every file of the folder
    after: Mapping[str, str]

    def assert_bounded(self) -> None:
        """At most `MEMORY` and `SECONDS`, and no traceback."""
        assert "Traceback" not in self.out + self.err, self.err
        assert self.memory <= MEMORY, f"{self.memory / 1e9:.2f} GB\n{self.err}"
        assert self.seconds <= SECONDS, f"{self.seconds:.1f} s\n{self.err}"

    def assert_refused(self, *words: str) -> None:
        """Exit code 2, one paragraph with all of `words`, and all files as they were."""
        self.assert_bounded()
        assert self.code == 2, f"exit code {self.code}\n{self.out}\n{self.err}"
        paragraph = self.err.strip().splitlines()[-1] if self.err.strip() else ""
        assert "Usage:" in self.err or paragraph.startswith("Error: "), self.err
        missing = [word for word in words if word not in self.err]
        assert not missing, f"without {missing}: {self.err}"
        assert self.after == self.before, "files changed"

    def assert_raised(self, *words: str) -> None:
        """An error of gapkit's own, with all of `words`; only for `Server.call`."""
        self.assert_bounded()
        assert self.code == 2, f"exit code {self.code}\n{self.out}\n{self.err}"
        missing = [word for word in words if word not in self.err]
        assert not missing, f"without {missing}: {self.err}"
        assert self.after == self.before, "files changed"


class Server:
    """The process that forks; close it at the end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.trial"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def run(self, folder: Path, *words: object) -> Outcome:
        """The command `gapkit WORDS` in a folder."""
        return self._ask(folder, {"argv": [os.fsdecode(str(word)) for word in words]})

    def call(self, folder: Path, code: str) -> Outcome:
        """Python lines in a folder; an error of gapkit's own is exit code 2, with its text on stderr."""
        return self._ask(folder, {"code": code})

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, folder: Path, request: Mapping[str, object]) -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = digests(folder)
        self._process.stdin.write(json.dumps({"folder": str(folder), **request}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Outcome(before=before, after=digests(folder), **answer)


def digests(folder: Path) -> dict[str, str]:
    """Kind, and digest or target, of everything in a folder, by its name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        elif path.is_file() and path.stat().st_size < 1 << 28:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = str(path.stat().st_mode)
    return found


def _serve() -> None:
    """Fork for every request on stdin."""
    _warm_up()
    for line in sys.stdin:
        request = json.loads(line)
        output, errors = (os.memfd_create(name) for name in ("out", "err"))
        begin = time.monotonic()
        child = os.fork()
        if child == 0:
            _child(request, output, errors)
        status, usage = _wait(child, begin + PATIENCE)
        answer = {
            "code": os.waitstatus_to_exitcode(status),
            "out": _read(output), "err": _read(errors),
            "seconds": usage.ru_utime + usage.ru_stime if time.monotonic() < begin + PATIENCE else PATIENCE,
            "memory": 1024.0 * usage.ru_maxrss,
        }  # fmt: skip
        print(json.dumps(answer), flush=True)  # noqa: T201


def _warm_up() -> None:
    """Import what trials import, and load the kernels of a small fit and its predictions."""
    import gapkit.cli.fit
    import gapkit.cli.predict
    import gapkit.curation
    import gapkit.interop.quip
    import gapkit.sampling
    import gapkit.validation
    from gapkit import GAP, SOAP, TwoBody
    from tests.cli.conftest import copper_frames

    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        sys.argv = ["gapkit", "--version"]
        with contextlib.suppress(SystemExit):
            gapkit.cli.main()
    terms = [TwoBody(cutoff=4.0), SOAP(cutoff=4.0, n_max=2, l_max=1)]
    frames = copper_frames(12, seed=1)
    GAP(terms=terms, n_sparse=5, n_jobs=1).fit(frames).predict(frames, return_std=True)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page


def _wait(child: int, until: float) -> tuple[int, resource.struct_rusage]:
    pause = 1e-3
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            return status, usage
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            until = float("inf")
        time.sleep(pause)
        pause = min(2.0 * pause, 0.02)


def _child(request: Mapping[str, object], output: int, errors: int) -> None:
    """Do what was asked for, and end the process."""
    code = 1
    try:
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        resource.setrlimit(resource.RLIMIT_DATA, (ALLOWED, ALLOWED))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chdir(str(request["folder"]))
        code = _command(request["argv"]) if "argv" in request else _code(str(request["code"]))  # type: ignore[arg-type]
    except BaseException:  # noqa: BLE001  (a trial must never go on as the server)
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _command(words: Sequence[str]) -> int:
    from gapkit.cli import main

    sys.argv = ["gapkit", *words]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _code(lines: str) -> int:
    from gapkit.exceptions import GapkitError

    try:
        exec(lines, {})
    except GapkitError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 2
    return 0


def _read(file: int) -> str:
    os.lseek(file, 0, os.SEEK_SET)
    with os.fdopen(file, "rb") as stream:
        return stream.read(1 << 20).decode(errors="replace")


if __name__ == "__main__":
    _serve()
