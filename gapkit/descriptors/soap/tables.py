"""Tables of the SOAP kernels: radial functions, spherical harmonics, and the pairs of channels that are multiplied."""

from __future__ import annotations

from math import factorial

import numpy as np

from gapkit._core.soap_tables import Tables
from gapkit.descriptors.soap.compression import Columns
from gapkit.descriptors.soap.radial import RadialTable
from gapkit.typing import FloatArray, IntArray


def n_stride(n_max: int) -> int:
    """Radial functions of one degree as the kernels keep them: a multiple of four."""
    return -(-n_max // 4) * 4


def make_tables(
    radial: RadialTable, n_max: int, l_max: int, n_species: int, centre: FloatArray, *, normalise: bool,
    columns: Columns | None = None,
) -> Tables:  # fmt: skip
    """Tables of the kernels from a radial table whose rows hold n_stride(n_max) functions of each degree.

    With `columns` None they are the channels, in all pairs.
    """
    if columns is None:
        n_columns, mixing = n_species * n_max, np.empty((0, 0, 0))
        first, last, is_symmetric = np.zeros(n_columns, np.int64), np.arange(1, n_columns + 1), True
    else:
        n_columns = columns.mixing.shape[2]
        first, last, is_symmetric = columns.first, columns.last, columns.is_symmetric
        padded = np.zeros((l_max + 1, n_species, n_stride(n_max), -(-n_columns // 4) * 4))
        padded[:, :, :n_max, :n_columns] = columns.mixing.reshape(l_max + 1, n_species, n_max, n_columns)
        mixing = padded.reshape(l_max + 1, -1, padded.shape[3])
    recurrence, diagonal = harmonic_tables(l_max)
    lowest, highest = partners(first, last, n_columns)
    kept = np.tile(last, (l_max + 1, 1))
    factors = pair_factors(first, kept, 4 * len(lowest), is_symmetric=is_symmetric)
    return Tables(
        l_max=l_max, n_max=n_max, n_stride=n_stride(n_max), cutoff=radial.reach, nodes=radial.nodes,
        spacing=radial.spacing, harmonics=recurrence, diagonal=diagonal, centre=centre, mixing=mixing,
        unmixing=np.ascontiguousarray(mixing.transpose(0, 2, 1)), first=first, last=last, kept=kept, lowest=lowest,
        highest=highest, factors=factors, kept_factors=factors, normalise=normalise,
    )  # fmt: skip


def pair_factors(first: IntArray, last: IntArray, n_columns: int, *, is_symmetric: bool = True) -> FloatArray:
    """Factors (l, a, b) of the pairs first[a] <= b < last[l, a]: 1 / sqrt(2 l + 1).

    Times sqrt(2) where a and b differ and (b, a) is a pair of the same product, of which this one `is_symmetric`.
    """
    columns = np.arange(n_columns)
    twice = (columns != np.arange(len(first))[:, None]) & is_symmetric
    inside = (first[:, None] <= columns) & (columns < last[:, :, None])
    return inside * np.where(twice, np.sqrt(2.0), 1.0) / np.sqrt(2.0 * np.arange(len(last)) + 1.0)[:, None, None]


def partners(first: IntArray, last: IntArray, n_columns: int) -> tuple[IntArray, IntArray]:
    """For every group of four columns, the span of the columns that any of them makes a pair with."""
    columns = np.arange(n_columns)
    paired = np.zeros((n_columns, n_columns), bool)
    paired[: len(first)] = (first[:, None] <= columns) & (columns < last[:, None])
    paired |= paired.T
    of_group = np.array([paired[start : start + 4].any(axis=0) for start in range(0, n_columns, 4)])
    highest = np.where(of_group.any(axis=1), n_columns - of_group[:, ::-1].argmax(axis=1), 0)
    return of_group.argmax(axis=1), highest


def harmonic_tables(l_max: int) -> tuple[FloatArray, FloatArray]:
    """Coefficients (4, l, m) of the normalised recurrence in l and of the gradient, and its start (m,).

    Q[l, m] = c0 z Q[l - 1, m] - c1 Q[l - 2, m]; the gradient needs c2 Q[l - 1, m + 1] and c3 Q[l - 1, m].
    """
    norms = np.zeros((l_max + 1, l_max + 1))
    for degree in range(l_max + 1):
        for m in range(degree + 1):
            ratio = factorial(degree - m) / factorial(degree + m) * (2 if m else 1)
            norms[degree, m] = np.sqrt((2 * degree + 1) / (4 * np.pi) * ratio)
    table = np.zeros((4, l_max + 1, l_max + 1))
    for l in range(1, l_max + 1):
        a, b = np.arange(l), np.arange(l - 1)  # m of the terms from l - 1, and of those that need m + 1 or l - 2
        table[0, l, a] = (2 * l - 1) / (l - a) * norms[l, a] / norms[l - 1, a]
        table[3, l, a] = (l + a) * norms[l, a] / norms[l - 1, a]
        table[1, l, b] = (l + b - 1) / (l - b) * norms[l, b] / norms[l - 2, b]
        table[2, l, b] = norms[l, b] / norms[l - 1, b + 1]
    start = np.array([norms[m, m] * np.prod(np.arange(1.0, 2 * m, 2)) for m in range(l_max + 1)])
    return table, start
