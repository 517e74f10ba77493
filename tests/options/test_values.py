"""Checks of single values: what each takes and what not, for values of every type that a file can hold."""

from __future__ import annotations

import os

import pytest

from gapkit.options.values import count, file_name, flag, jobs, number, positive, seed, symbol, text

ANY = [
    None, True, False, 0, 1, -1, 2**31, 2**70, 10**5000, 0.5, -0.0, 1e-160, 1e200, 1e308, float("inf"), float("nan"),
    "", "x", "Si", "a\nb", "a\x1b[31m", "a\0b", "\ud800", [], [1], {}, {"a": 1}, (), b"x",
]  # fmt: skip
TAKEN = {
    flag: [True, False],
    number: [0, 1, -1, 2**31, 2**70, 0.5, -0.0, 1e-160, 1e200, 1e308],
    positive: [1, 2**31, 2**70, 0.5],
    count: [1],
    seed: [0, 1, 2**31],
    jobs: [1, -1],
    text: ["x", "Si", "a\nb"],
    file_name: ["x", "Si", "a\nb", "a\x1b[31m"],
    symbol: ["Si"],
}


@pytest.mark.parametrize("check", TAKEN, ids=lambda check: check.__name__)
def test_a_check_takes_what_it_should_and_nothing_else(check) -> None:
    for value in ANY:
        known = any(value is each or (type(value) is type(each) and value == each) for each in TAKEN[check])
        if known:
            assert check(value) == value
            continue
        with pytest.raises(ValueError, match=r"."):
            check(value)


def test_names_of_files_may_hold_any_bytes() -> None:
    name = os.fsdecode(b"\xff.extxyz")
    assert file_name(name) == name
    with pytest.raises(ValueError, match="without control characters and halves of characters"):
        text(name)


def test_what_is_too_large_is_said() -> None:
    for check, value, words in (
        (seed, 2**32, ">= 0 and <= 4,294,967,295"), (count, 10**12, ">= 1 and <="),
        (positive, 1e150, "from 1e-100 to 1e"), (jobs, 10**6, "4,096, or -1 for all cores"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            check(value)
