"""What calls share: reused arrays, so that a step of molecular dynamics allocates nothing large, and who uses them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from gapkit.typing import FloatArray


class Workspace:
    """Named arrays of one thread; asking for a name again gives the same memory."""

    def __init__(self) -> None:
        self._buffers: dict[str, FloatArray] = {}

    def array(self, name: str, *shape: int) -> FloatArray:
        """An array (shape) of float64, arbitrary contents; the memory of `name` grows to the largest one asked for."""
        size = int(np.prod(shape))
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[name] = np.empty(size)
        return buffer[:size].reshape(shape)

    def single(self, name: str, *shape: int) -> NDArray[np.float32]:
        """The same of float32."""
        return self.array(name, int(np.prod(shape)) // 2 + 1).view(np.float32)[: int(np.prod(shape))].reshape(shape)


class WorkspacePool:
    """Idle workspaces of all threads; they outlive the threads.  A copy starts empty."""

    def __init__(self) -> None:
        self._idle: list[Workspace] = []

    @contextmanager
    def borrow(self) -> Iterator[Workspace]:
        """A workspace for one thread alone, returned at the end."""
        try:
            workspace = self._idle.pop()  # atomic
        except IndexError:
            workspace = Workspace()
        try:
            yield workspace
        finally:
            self._idle.append(workspace)

    def __reduce__(self) -> tuple[type[WorkspacePool], tuple[()]]:
        return WorkspacePool, ()


class Turns:
    """A lock of one object: threads take turns, as often as they like one inside another.

    Copies have a lock of their own, and so has a forked process, where the thread that held it is not.
    """

    def __init__(self) -> None:
        self._lock, self._process = RLock(), os.getpid()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn, and pass it on at the end."""
        if self._process != os.getpid():
            self._lock, self._process = RLock(), os.getpid()
        with self._lock:
            yield

    def __reduce__(self) -> tuple[type[Turns], tuple[()]]:
        return Turns, ()
