"""Threads over blocks of work: kernels release the GIL, and BLAS stays single-threaded inside a block."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from functools import lru_cache
from threading import Event
from typing import TypeVar, cast

from threadpoolctl import ThreadpoolController

from gapkit.exceptions import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

SINGLE_THREAD_BELOW = 1500


def resolve_n_jobs(n_jobs: int | None) -> int:
    """Number of threads: None means all cores that this process may use, -1 likewise (scikit-learn's convention)."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if n_jobs is None or n_jobs == -1:
        return available
    if n_jobs < 1:
        raise InputError(f"`n_jobs` must be a positive number of threads, -1 or None for all cores, got {n_jobs}")
    return n_jobs


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def map_blocks(function: Callable[[Item], Result], blocks: Iterable[Item], n_jobs: int | None = None) -> list[Result]:
    """Apply `function` to every block in `n_jobs` threads, results in order; BLAS has one thread per block."""
    blocks = list(blocks)
    n_threads = min(resolve_n_jobs(n_jobs), max(len(blocks), 1))
    with _controller().limit(limits=1, user_api="blas"):
        if n_threads == 1:
            return [function(block) for block in blocks]
        with ThreadPoolExecutor(n_threads) as pool:
            return list(pool.map(function, blocks))


def run_workers(function: Callable[[int, Event], None], n_workers: int) -> None:
    """Call `function(worker, stop)` in a thread of each worker; BLAS runs one thread each.

    Workers look at `stop` between pieces of work: it is set by a failure or an interrupt.
    """
    stop = Event()
    with _controller().limit(limits=1, user_api="blas"):
        if n_workers == 1:
            function(0, stop)
            return
        with ThreadPoolExecutor(n_workers) as pool:
            futures = [pool.submit(function, worker, stop) for worker in range(n_workers)]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:  # nothing is left to stop unless a worker failed or the user interrupted the wait
                stop.set()
        for future in futures:
            future.result()


def limit_blas(n_jobs: int | None, order: int) -> AbstractContextManager[object]:
    """Context for factorisations of matrices of `order`: `n_jobs` BLAS threads, but one for small ones.

    Waiting threads spin: on a busy machine small factorisations were seen a hundred times slower with two.
    """
    n_threads = 1 if order < SINGLE_THREAD_BELOW else resolve_n_jobs(n_jobs)
    return cast("AbstractContextManager[object]", _controller().limit(limits=n_threads, user_api="blas"))
