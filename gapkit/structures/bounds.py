"""Bounds on memory and time of code that is not ours, such as readers that believe what a header claims."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # not on Windows, where there are no bounds
    resource = None  # type: ignore[assignment]

STATUS = Path("/proc/self/status")


@contextmanager
def bounded(memory: int, seconds: float) -> Iterator[None]:
    """Raise MemoryError beyond `memory` more bytes, and TimeoutError beyond so many seconds of the processor.

    Both are of the process: there are none where it has other threads of Python.
    """
    alone = threading.active_count() == 1 and threading.current_thread() is threading.main_thread()
    if not alone or resource is None:
        yield
        return
    with _data(memory), _timer(seconds):
        yield


@contextmanager
def _data(more: int) -> Iterator[None]:
    held = 0
    with suppress(OSError):  # no /proc: no bound
        held = next((int(line.split()[1]) for line in STATUS.read_text().splitlines() if line[:7] == "VmData:"), 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = 1024 * held + more
    if not held or (soft != resource.RLIM_INFINITY and soft < limit):
        yield
        return
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextmanager
def _timer(seconds: float) -> Iterator[None]:
    def late(*_: Any) -> None:
        raise TimeoutError(f"it takes more than {seconds:.0f} seconds, as no file of its size should")

    before = signal.getsignal(signal.SIGVTALRM)
    if before is None:  # of a handler in C, which could not be put back
        yield
        return
    signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 1.0)  # again and again: a reader may catch everything
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)
