"""Threads that sleep while they wait, stop between pieces of work, and keep within the cores that there are."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from gapkit import parallel
from gapkit.exceptions import InputError
from gapkit.gp.lapack import fold_rows
from gapkit.gp.tiles import factor_in_place, invert_in_place
from gapkit.parallel import Stopped, limit_blas, map_blocks, quota_of_groups, run_workers, share


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


GROUPS = {
    "no-groups": ({}, np.inf),
    "no-limit": ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, np.inf),
    "second": ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "250000 100000\n"}, 2.5),
    "second-outer": (
        {
            "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
            "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
        },
        1.5,
    ),
    "second-container": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1.0),
    "second-of-both": (
        {"proc/self/cgroup": "1:name=systemd:/\n0::/a\n", "sys/fs/cgroup/unified/a/cpu.max": "300000 100000\n"}, 3.0,
    ),
    "first": (
        {
            "proc/self/cgroup": "7:memory:/\n4:cpu,cpuacct:/docker/x\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n",
        },
        0.5,
    ),
    "first-container": (
        {
            "proc/self/cgroup": "4:cpu:/docker/x\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        4.0,
    ),
    "first-no-limit": (
        {
            "proc/self/cgroup": "4:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        np.inf,
    ),
    "damaged": ({"proc/self/cgroup": "0::/a\nnonsense\n", "sys/fs/cgroup/a/cpu.max": "1e5 0\n"}, np.inf),
}  # fmt: skip


@pytest.mark.parametrize("name", list(GROUPS))
def test_quota_of_control_groups(name, tmp_path):
    files, expected = GROUPS[name]
    write(tmp_path, **files)
    assert quota_of_groups(str(tmp_path)) == expected


@pytest.mark.parametrize(("quota", "expected"), [(np.inf, 8), (2.5, 3), (0.5, 1), (40.0, 8)])
def test_threads_are_no_more_than_the_quota_and_the_affinity(quota, expected, monkeypatch):
    monkeypatch.setattr(parallel, "quota_of_groups", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert parallel.resolve_n_jobs(None) == parallel.resolve_n_jobs(-1) == expected
    assert parallel.resolve_n_jobs(5) == 5


def threads_of_blas():
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_blas_has_one_thread_wherever_ours_share_the_work():
    seen = []

    def look(_):
        seen.append((threads_of_blas(), threading.get_ident()))
        time.sleep(0.01)  # so that one thread does not take all pieces

    with limit_blas(3, 10_000):
        share(look, range(12))
    assert all(threads == {1} for threads, _ in seen)
    assert len({thread for _, thread in seen}) == 3
    seen.clear()
    with limit_blas(3, 10):  # a small matrix
        share(look, range(3))
    assert {thread for _, thread in seen} == {threading.get_ident()}


def test_results_do_not_depend_on_the_number_of_threads():
    A = np.random.default_rng(0).standard_normal((700, 700))
    S, found = np.asfortranarray(A @ A.T + np.eye(700)), []
    for n_threads in (1, 2, 5):
        with limit_blas(n_threads, 10_000):
            C, R = S.copy(order="F"), np.zeros((700, 700), order="F")
            fold_rows(R, A.copy(order="F"))
            factor_in_place(C)
            invert_in_place(C)
            found.append((C, R))
    for C, R in found[1:]:
        np.testing.assert_array_equal(C, found[0][0])
        np.testing.assert_array_equal(R, found[0][1])


def pieces(record, n=1000):
    """A long piece of work in short pieces, which counts those that were done."""

    def piece(_):
        time.sleep(0.01)
        record.append(1)

    share(piece, range(n))


LONG = {
    "share": lambda record: pieces(record),
    "blocks": lambda record: map_blocks(lambda _: pieces(record), range(4), 2),
    "workers": lambda record: run_workers(lambda worker, stop: pieces(record), 2),
}


@contextmanager
def ending(event):
    try:
        yield
    finally:
        event.set()


@pytest.mark.parametrize("name", list(LONG))
def test_an_interrupt_is_obeyed_between_pieces(name):
    record = []
    ended = threading.Event()

    def insist():  # Python drops an interrupt that comes while it calls back for garbage
        while not ended.wait(0.4):
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=insist).start()
    begin = time.perf_counter()
    with pytest.raises(KeyboardInterrupt), limit_blas(2, 10_000), ending(ended):
        LONG[name](record)
    assert time.perf_counter() - begin < 5.0  # all pieces take at least that
    done = len(record)
    time.sleep(0.05)
    assert len(record) == done  # no thread goes on


def test_a_failure_ends_the_other_threads_and_is_the_one_that_is_raised():
    record = []

    def block(number):
        if number == 0:
            raise InputError("it failed")
        pieces(record)

    with pytest.raises(InputError, match="it failed"):
        map_blocks(block, range(2), 2)
    assert len(record) < 900


def test_a_thread_that_is_to_stop_or_one_that_waits_for_it():
    with pytest.raises(Stopped), parallel.stopping_when(lambda: True), parallel.stopping_when(lambda: False):
        share(print, [1])
