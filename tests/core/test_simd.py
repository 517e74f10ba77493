"""Groups of doubles in compiled code against NumPy."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from gapkit._core import plain_groups
from gapkit._core.jit import FAST_MATH
from gapkit._core.simd import add, fill4, fill8, fma, load4, load8, mul, store, sub, total4, total8, transpose8

WIDTHS = {4: (load4, fill4), 8: (load8, fill8)}
SHAPES = [(48,), (4, 12), (2, 3, 8), (3, 2, 2, 4)]
BINARY = {add: np.add, sub: np.subtract, mul: np.multiply}
BINARY_IDS = ["add", "sub", "mul"]


def compiled(function):
    """With the flags of the kernels, without their cache."""
    return numba.njit(fastmath=FAST_MATH, error_model="numpy")(function)


def binary(width, operation, left, right):
    """operation(a, b) of the first elements; `left` and `right` tell which are groups, the others are numbers."""
    load = WIDTHS[width][0]
    if left and right:

        @compiled
        def apply(a, b, out):
            store(out, 0, operation(load(a, 0), load(b, 0)))
    elif left:

        @compiled
        def apply(a, b, out):
            store(out, 0, operation(load(a, 0), b[0]))
    else:

        @compiled
        def apply(a, b, out):
            store(out, 0, operation(a[0], load(b, 0)))

    return apply


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_load_and_store_count_from_the_start_of_the_array(width, shape):
    load = WIDTHS[width][0]

    @compiled
    def move(source, start, target, at):
        store(target, at, load(source, start))

    source = np.random.default_rng(0).normal(size=shape)
    for start in (0, 3, np.int32(17), source.size - width):
        for at in (0, np.int32(5), source.size - width):
            target, expected = np.zeros(shape), np.zeros(source.size)
            move(source, start, target, at)
            expected[at : at + width] = source.ravel()[start : start + width]
            np.testing.assert_array_equal(target.ravel(), expected)


def test_an_array_may_be_a_part_of_another():
    @compiled
    def move(source, target):
        for i in range(source.shape[0]):
            part = source[i]
            for j in range(0, part.size, 4):
                store(target[i], j, load4(part, j))

    source = np.random.default_rng(0).normal(size=(3, 2, 4))
    target = np.zeros_like(source)
    move(source, target)
    np.testing.assert_array_equal(target, source)
    move(source[1:], target[:2])
    np.testing.assert_array_equal(target, source[[1, 2, 2]])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("value", [2.5, 3, np.float32(0.25), np.nan])
def test_fill(width, value):
    fill = WIDTHS[width][1]

    @compiled
    def write(value, out):
        store(out, 1, fill(value))

    out = np.zeros(width + 2)
    write(value, out)
    np.testing.assert_array_equal(out, [0.0, *[value] * width, 0.0])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("operation", BINARY, ids=BINARY_IDS)
def test_binary_operations_of_groups_and_numbers(width, operation):
    a, b = np.random.default_rng(1).normal(size=(2, width))
    for left, right in ((True, True), (True, False), (False, True)):
        out = np.empty(width)
        binary(width, operation, left, right)(a, b, out)
        np.testing.assert_array_equal(out, BINARY[operation](a if left else a[0], b if right else b[0]))


def test_an_integer_stands_for_a_group():
    @compiled
    def apply(a, n, out):
        store(out, 0, mul(n, load4(a, 0)))
        store(out, 4, fma(2, load4(a, 0), n))

    a, out = np.arange(4.0) + 0.5, np.empty(8)
    apply(a, 3, out)
    np.testing.assert_array_equal(out, [*(3 * a), *(2 * a + 3)])


@pytest.mark.parametrize("width", WIDTHS)
def test_fma(width):
    load = WIDTHS[width][0]

    @compiled
    def apply(a, b, c, out):
        store(out, 0, fma(load(a, 0), load(b, 0), load(c, 0)))
        store(out, width, fma(a[0], load(b, 0), load(c, 0)))
        store(out, 2 * width, fma(load(a, 0), b[0], load(c, 0)))
        store(out, 3 * width, fma(load(a, 0), load(b, 0), c[0]))
        store(out, 4 * width, fma(a[0], b[0], load(c, 0)))

    a, b, c = np.random.default_rng(2).normal(size=(3, width))
    out = np.empty((5, width))
    apply(a, b, c, out)
    expected = [a * b + c, a[0] * b + c, a * b[0] + c, a * b + c[0], a[0] * b[0] + c]
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-15)  # fused or not


def test_a_group_is_a_variable():
    """It may change in a loop and in a branch."""

    @compiled
    def dot(a, b):
        total = fill4(0.0)
        for i in range(0, a.size, 4):
            term = mul(load4(a, i), load4(b, i))
            if i == 8:
                term = fill4(1.0)
            total = add(total, term)
        return total4(total)

    a, b = np.random.default_rng(3).normal(size=(2, 4, 8))
    assert dot(a, b) == pytest.approx((a * b).sum() - (a * b).ravel()[8:12].sum() + 4.0, rel=1e-13)


@pytest.mark.parametrize(("load", "total", "expected"), [(load4, total4, 4321.0), (load8, total8, 87654321.0)])
def test_total(load, total, expected):
    @compiled
    def apply(a):
        return total(load(a, 1))

    assert apply(np.concatenate([[1e9], np.arange(1.0, 9.0) * 10.0 ** np.arange(8), [1e9]])) == expected


@pytest.mark.parametrize(
    ("start", "stride", "at", "target_stride"),
    [(0, 8, 0, 8), (2, 12, 7, 9), (np.int32(5), 13, 64, np.int32(8)), (1, 8, 1, 17)],
)
def test_transpose(start, stride, at, target_stride):
    @compiled
    def apply(source, start, stride, target, at, target_stride):
        transpose8(source, start, stride, target, at, target_stride)

    source = np.random.default_rng(4).normal(size=(2, 9, 8))
    target, expected = np.zeros((4, 4, 8)), np.zeros(128)
    apply(source, start, stride, target, at, target_stride)
    columns = np.arange(8)
    rows = start + stride * columns[:, None] + columns
    expected[at + target_stride * columns[:, None] + columns] = source.ravel()[rows].T
    np.testing.assert_array_equal(target.ravel(), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("operation", BINARY, ids=BINARY_IDS)
def test_nan_and_infinity_stay_in_their_place(operation, width, bad):
    a, b = np.arange(1.0, width + 1), np.zeros(width)
    a[2] = bad
    out = np.empty(width)
    for one, two in ((a, b), (b, a), (a, a)):
        binary(width, operation, True, True)(one, two, out)
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(out, BINARY[operation](one, two))


def test_nan_is_not_simplified_away():
    @compiled
    def apply(a, out):
        value = load4(a, 0)
        nothing = fill4(0.0)
        store(out, 0, mul(0.0, value))
        store(out, 4, sub(value, value))
        store(out, 8, fma(nothing, value, nothing))
        store(out, 12, fma(value, nothing, fill4(1.0)))
        return total4(mul(nothing, value))

    a, out = np.array([1.0, np.nan, np.inf, -2.0]), np.empty((4, 4))
    assert np.isnan(apply(a, out))
    np.testing.assert_array_equal(np.isnan(out), np.tile([False, True, True, False], (4, 1)))
    np.testing.assert_array_equal(out[:, [0, 3]], [[0.0, 0.0]] * 3 + [[1.0, 1.0]])


def test_nan_is_moved_and_counted():
    @compiled
    def apply(source, target):
        transpose8(source, 0, 8, target, 0, 8)
        return total4(load4(source, 12)), total8(load8(source, 8)), total8(load8(source, 16))

    source, target = np.zeros((8, 8)), np.zeros((8, 8))
    source[1, 6] = np.nan
    np.testing.assert_array_equal(apply(source, target), [np.nan, np.nan, 0.0])
    np.testing.assert_array_equal(target, source.T)


GOOD = np.zeros((2, 64))
REFUSED = {
    "single": np.zeros((2, 64), np.float32), "integer": np.zeros((2, 64), int), "fortran": np.zeros((64, 2)).T,
    "strided": np.zeros((2, 128))[:, ::2],
}  # fmt: skip


@pytest.mark.parametrize("array", REFUSED.values(), ids=REFUSED)
def test_arrays_of_another_kind_are_refused(array):
    @compiled
    def load(a):
        return total4(load4(a, 0)) + total8(load8(a, 0))

    @compiled
    def write(a):
        store(a, 0, fill4(1.0))

    @compiled
    def transpose(a, b):
        transpose8(a, 0, 8, b, 0, 8)

    calls = [(load, (array,)), (write, (array,)), (transpose, (array, GOOD)), (transpose, (GOOD, array))]
    for function, arguments in calls:
        with pytest.raises(TypingError, match="C-contiguous arrays of float64"):
            function(*arguments)


@pytest.mark.parametrize("index", [-1, 121, 10**6])
def test_indices_are_checked_on_demand(index, monkeypatch):
    monkeypatch.setattr(numba.config, "BOUNDSCHECK", 1)

    @compiled
    def move(source, start, target, at):
        store(target, at, load8(source, start))

    good = np.zeros((2, 64))
    move(good, 120, good, 0)
    for start, at in ((index, 0), (0, index)):
        with pytest.raises(IndexError, match="out of bounds"):
            move(good, start, good, at)
        with pytest.raises(IndexError, match="not in an array of 128"):
            plain_groups.store(good, at, plain_groups.load8(good, start))


def test_what_cannot_be_stored_is_refused():
    @compiled
    def write(a, value):
        store(a, 0, value)

    with pytest.raises(TypingError, match="writes groups, got float64"):
        write(GOOD, 1.0)
    fixed = np.zeros(8)
    fixed.flags.writeable = False

    @compiled
    def copy(a):
        store(a, 0, load4(a, 4))

    with pytest.raises(TypingError, match="may be written"):
        copy(fixed)
