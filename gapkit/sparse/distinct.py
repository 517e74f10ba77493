"""Rows that are the same but for rounding: a sparse set must hold each environment once."""

from __future__ import annotations

import numpy as np

from gapkit.typing import FloatArray, IntArray


def distinct_rows(X: FloatArray, tolerance: float) -> IntArray:
    """Indices, ascending, of the first of each set of rows that agree to within `tolerance`.

    Two rows of X (n, d) agree when their distance is at most `tolerance` >= 0 times the largest norm of any row. Pairs
    are found by sorting a projection on a fixed random direction: rows that agree are neighbours there, to within the
    same distance.
    """
    if len(X) < 2:
        return np.arange(len(X))
    largest = float(np.sqrt(np.einsum("ij,ij->i", X, X).max()))
    reach = tolerance * largest
    # not the caller's generator: the answer must not depend on it
    direction = np.random.default_rng(0).standard_normal(X.shape[1])
    direction /= np.linalg.norm(direction)
    projection = X @ direction
    slack = reach + 1e-13 * largest  # equal rows may be projected with different rounding
    alive = np.argsort(projection, kind="stable")
    shift = 1
    while shift < len(alive):
        t = projection[alive]
        near = np.flatnonzero(t[shift:] - t[:-shift] <= slack)
        if len(near) == 0:
            break
        first, second = alive[near], alive[near + shift]
        removed = np.maximum(first, second)[_distances(X, first, second) <= reach]
        if len(removed):
            alive = alive[~np.isin(alive, removed)]
            shift = 1
        else:
            shift += 1
    return np.sort(alive)


def _distances(X: FloatArray, first: IntArray, second: IntArray, piece: int = 4096) -> FloatArray:
    """|X[first] - X[second]| without holding all pairs at once."""
    out = np.empty(len(first))
    for start in range(0, len(first), piece):
        part = slice(start, start + piece)
        difference = X[first[part]] - X[second[part]]
        out[part] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return out
