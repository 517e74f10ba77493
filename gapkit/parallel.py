"""Threads over blocks of work: kernels release the GIL, and BLAS stays single-threaded.

BLAS' own threads spin while they wait.  Where others want the same cores, each of its many small products then waits
for the scheduler: factorisations were seen a hundred times slower.  Large ones are therefore cut into pieces
(`gp.lapack`, `gp.tiles`) that threads of our own `share`, which sleep while they wait.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from math import ceil
from pathlib import Path
from threading import Event
from typing import TypeVar

from threadpoolctl import ThreadpoolController

from gapkit.options.checked import check_one
from gapkit.options.values import jobs

Item = TypeVar("Item")
Result = TypeVar("Result")

SINGLE_THREAD_BELOW = 1500


def resolve_n_jobs(n_jobs: int | None) -> int:
    """Number of threads: None means all cores that this process may use, -1 likewise (scikit-learn's convention)."""
    if n_jobs is None or n_jobs == -1:
        return available_cores()
    return check_one(jobs, n_jobs, "n_jobs")


def available_cores() -> int:
    """Cores that this process may use: those of its affinity, and no more than the quota of its control groups."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ceil(min(cores, quota_of_groups()))


@lru_cache(maxsize=1)
def quota_of_groups(root: str = "/") -> float:
    """Processors that control groups allow, of version 1 or 2, each with all groups around it; infinite without any.

    Containers see their own group as the root of the file system of groups, others find it by its path.
    """
    found = [float("inf")]
    groups = Path(root, "sys/fs/cgroup")
    for line in _lines(Path(root, "proc/self/cgroup")):
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        second = number == "0" and not controllers
        if not second and "cpu" not in controllers.split(","):
            continue
        names = (".", "unified") if second else (controllers, "cpu", "cpu,cpuacct")
        own = Path(path.lstrip("/"))
        for folder in (groups / name / above for name in names for above in (own, *own.parents)):
            if second:
                words = " ".join(_lines(folder / "cpu.max")).split()
            else:
                words = [*_lines(folder / "cpu.cfs_quota_us"), *_lines(folder / "cpu.cfs_period_us")]
            if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[0]) and int(words[1]):
                found.append(int(words[0]) / int(words[1]))
    return min(found)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):  # there are no groups, or none of this kind
        return []


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


class Stopped(Exception):
    """What a thread raises that finds its `stop` set: the user interrupted, or another thread failed."""


class Team:
    """Threads that share pieces of work, made when first needed."""

    def __init__(
        self, n_threads: int = 1, stopped: Callable[[], bool] | None = None, outer: Team | None = None
    ) -> None:  # fmt: skip
        self.n_threads, self._stop, self._outer = n_threads, Event(), outer
        self._stopped = self._stop.is_set if stopped is None else stopped
        self._pool: ThreadPoolExecutor | None = None

    def look(self) -> None:
        """Raise Stopped where this thread, or one that waits for it, is to stop."""
        if self._stopped():
            raise Stopped
        if self._outer is not None:
            self._outer.look()

    def share(self, function: Callable[[Item], object], items: Sequence[Item]) -> None:
        """Apply `function` to every item, until it is to stop."""

        def one(item: Item) -> None:
            self.look()
            function(item)

        if self.n_threads == 1 or len(items) < 2:
            for item in items:
                one(item)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.n_threads)
        finish([self._pool.submit(one, item) for item in items], self._stop)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


_TEAM: ContextVar[Team] = ContextVar("team")
_ALONE = Team()


def _team() -> Team:
    return _TEAM.get(_ALONE)


def share(function: Callable[[Item], object], items: Sequence[Item]) -> None:
    """Apply `function` to pieces of a long calculation, in the threads of `limit_blas` around it or else in this one.

    Between pieces an interrupt is obeyed, also in threads of `map_blocks` and `run_workers`.
    """
    _team().share(function, items)


def look() -> None:
    """Between two pieces of a long calculation: raise Stopped where this thread is to stop."""
    _team().look()


@contextmanager
def stopping_when(stopped: Callable[[], bool]) -> Iterator[None]:
    """Context in which this thread stops, by raising Stopped between pieces of work, also when `stopped`."""
    token = _TEAM.set(Team(1, stopped, _team()))
    try:
        yield
    finally:
        _TEAM.reset(token)


def finish(futures: Sequence[Future[Result]], stop: Event) -> list[Result]:
    """Results of futures; a failure or an interrupt sets `stop`, drops those that wait and ends the others first."""
    try:
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:  # what failed, and not what stopped because of it
            if (error := future.exception()) is not None and not isinstance(error, Stopped):
                raise error
        return [future.result() for future in futures]
    except BaseException:
        stop.set()
        for future in futures:
            future.cancel()
        wait(futures)
        raise


def map_blocks(function: Callable[[Item], Result], blocks: Iterable[Item], n_jobs: int | None = None) -> list[Result]:
    """Apply `function` to every block in `n_jobs` threads, results in order; BLAS has one thread per block."""
    blocks = list(blocks)
    n_threads = min(resolve_n_jobs(n_jobs), max(len(blocks), 1))
    with _controller().limit(limits=1, user_api="blas"):
        if n_threads == 1:
            return [function(block) for block in blocks]
        stop = Event()
        with ThreadPoolExecutor(n_threads, initializer=_join, initargs=(stop, _team())) as pool:
            return finish([pool.submit(function, block) for block in blocks], stop)


def run_workers(function: Callable[[int, Event], None], n_workers: int) -> None:
    """Call `function(worker, stop)` in a thread of each worker; BLAS runs one thread each.

    Workers look at `stop` between pieces of work: it is set by a failure or an interrupt.
    """
    stop = Event()
    with _controller().limit(limits=1, user_api="blas"):
        if n_workers == 1:
            function(0, stop)
            return
        with ThreadPoolExecutor(n_workers, initializer=_join, initargs=(stop, _team())) as pool:
            finish([pool.submit(function, worker, stop) for worker in range(n_workers)], stop)


def _join(stop: Event, outer: Team) -> None:
    """A new thread does its pieces alone, and stops between them."""
    _TEAM.set(Team(1, stop.is_set, outer))


@contextmanager
def limit_blas(n_jobs: int | None, order: int) -> Iterator[None]:
    """Context for factorisations of matrices of `order`: BLAS has one thread, and `n_jobs` of our own share large ones.

    Results do not depend on the number of threads.
    """
    team = Team(1 if order < SINGLE_THREAD_BELOW else resolve_n_jobs(n_jobs))
    token = _TEAM.set(team)
    try:
        with _controller().limit(limits=1, user_api="blas"):
            yield
    finally:
        _TEAM.reset(token)
        team.close()
