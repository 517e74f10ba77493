"""Clients, and tasks that survive the loss of a worker."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import dask
from dask.sizeof import sizeof
from distributed import Client, Future

from gapkit.exceptions import InputError
from gapkit.gp.factors import TriangularFactor
from gapkit.options.checked import checked
from gapkit.options.kinds import Positive, Text

# Times that a task is tried again when it raises; one whose worker is lost always is, up to Dask's own limit.
RETRIES = 1


# Dask's memory limits would not see the triangles otherwise.
sizeof.register(TriangularFactor, lambda factor: factor.R.nbytes)


@checked
def connect(address: Text, timeout: Positive = 10.0) -> Client:
    """A client of the scheduler at an address such as ``tcp://host:8786``; `timeout` in seconds.

    Raises
    ------
    InputError
        If no scheduler answers.
    """
    try:
        return Client(address, timeout=timeout)
    except (OSError, ValueError) as error:
        remedy = f"start one with `dask scheduler`, and workers with `dask worker {address}`"
        raise InputError(f"`scheduler` must be the address of a scheduler, got {address!r}; {remedy}") from error


def submit(client: Client, function: Callable[..., Any], *arguments: Any, priority: int = 0) -> Future:
    """A task that takes its data with it (or from other tasks).

    Data that were scattered would be lost with the worker that holds them; arguments of a task stay with the scheduler.
    """
    name = f"gapkit-{function.__name__}-{uuid4().hex}"
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
        return client.submit(function, *arguments, key=name, pure=False, retries=RETRIES, priority=priority)


def given(value: Any) -> Any:
    """The value itself, as a task: one copy for each worker instead of one for each task."""
    return value


def as_paths(frames: Any) -> list[str] | None:
    """Absolute names if `frames` are paths, as workers have other working directories; None if they are not."""
    if isinstance(frames, str | os.PathLike):
        frames = [frames]
    if not isinstance(frames, Sequence) or len(frames) == 0:
        return None
    others = [type(item).__name__ for item in frames if not isinstance(item, str | os.PathLike)]
    if len(others) == len(frames):
        return None
    if others:
        raise InputError(f"`frames` must be all Atoms or all paths, got paths and {others[0]}")
    return [os.path.abspath(item) for item in frames]
