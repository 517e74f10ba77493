"""Sparse points on regular grids, for descriptors of one to three distances."""

from __future__ import annotations

import functools

import numpy as np

from gapkit.exceptions import InputError
from gapkit.io.registry import registered
from gapkit.sparse.base import RowSelector, Selection, SparseSelector
from gapkit.typing import FloatArray, IntArray


@registered("SparseSelector", "uniform")
class Uniform1D(SparseSelector):
    """Equidistant points from the smallest to the largest value of one feature; no rows, so all indices are -1.

    Fewer points are given where their spacing would fall below `duplicate_tolerance` times the largest value.
    """

    def _choose(self, X: FloatArray, n_select: int, rng: np.random.Generator) -> Selection:
        if X.shape[1] != 1:
            raise InputError(f"Uniform1D needs candidates with one feature, got {X.shape[1]}; use Grid instead")
        low, high = float(X.min()), float(X.max())
        smallest = self.duplicate_tolerance * max(abs(low), abs(high), np.finfo(np.float64).tiny)
        possible = 1 if high <= low + smallest else int(min(n_select, 1 + (high - low) / max(smallest, 1e-300)))
        points = np.linspace(low, high, possible) if possible > 1 else np.array([0.5 * (low + high)])
        return Selection(points[:, None], np.full(possible, -1, dtype=np.int64))


@registered("SparseSelector", "grid")
class Grid(RowSelector):
    """One row from each occupied cell of a regular grid over the data's range, for up to four features.

    The grid is refined, with the same number of cells along each feature, until at least `n_select` cells are occupied;
    of those `n_select` are drawn by `rng`, and each gives the row nearest to its middle.
    """

    def _select(self, X: FloatArray, n_select: int, rng: np.random.Generator) -> IntArray:
        if X.shape[1] > 4:
            raise InputError(f"Grid needs at most 4 features, got {X.shape[1]}; use CUR instead")
        low, span = X.min(axis=0), np.ptp(X, axis=0)
        U = (X - low) / np.where(span > 0, span, 1.0)
        n_cells, step = 1, 1
        n_active = max(int(np.count_nonzero(span > 0)), 1)
        while True:
            n_cells = max(n_cells + step, int(n_select ** (1.0 / n_active)))
            step = max(1, n_cells // 8)
            cell, distance = _cells(U, n_cells)
            if len(np.unique(cell)) >= n_select or n_cells > 10**4:
                break
        order = np.lexsort((distance, cell))
        rows = order[np.unique(cell[order], return_index=True)[1]]
        if len(rows) < n_select:  # rows nearer to each other than any sensible grid: fill up with the others
            rest = np.setdiff1d(np.arange(len(X)), rows)
            return np.sort(np.concatenate([rows, rng.choice(rest, n_select - len(rows), replace=False)]))
        return np.sort(rng.choice(rows, n_select, replace=False))


def _cells(U: FloatArray, n_cells: int) -> tuple[IntArray, FloatArray]:
    """Cell number of each row of U (in the unit cube) and its squared distance from the middle of the cell."""
    cells = np.minimum((U * n_cells).astype(np.int64), n_cells - 1)
    offsets = U * n_cells - cells - 0.5
    number = functools.reduce(lambda number, column: number * n_cells + column, cells.T)
    return number, np.einsum("ij,ij->i", offsets, offsets)
