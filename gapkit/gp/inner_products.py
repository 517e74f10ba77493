"""Inner products of feature vectors with sparse points, and back: in double precision, or partly in single precision.

Features that are small in all sparse points may be multiplied in single precision at half the price: the rounding of a
product is relative to its own size, and theirs are small.
"""

from __future__ import annotations

import numpy as np

from gapkit.gp.basis import SparseBlock
from gapkit.typing import FloatArray
from gapkit.workspace import Workspace


class InnerProducts:
    """Inner products of reduced vectors y (n, r) with the sparse points of a block, a tile of points at a time."""

    def __init__(self, block: SparseBlock, y: FloatArray, *, single: bool, workspace: Workspace) -> None:
        self._points = block.scaled
        self._split = block.split if single else None
        self._workspace = workspace
        self._large, self._small = y, None
        if self._split is not None:
            n = len(y)
            large = workspace.array("large", n, len(self._split.large))
            self._large = np.take(y, self._split.large, axis=1, out=large, mode="clip")
            self._small = workspace.single("small", n, len(self._split.small))
            self._small[:] = y[:, self._split.small]

    def forward(self, tile: slice) -> FloatArray:
        """Q (n, m) = y . x_s, in memory of the workspace."""
        large, small = self.parts(tile)
        if small is not None:
            large += small
        return large

    def parts(self, tile: slice) -> tuple[FloatArray, np.ndarray | None]:
        """The part in double and that in single precision, both (n, m)."""
        points = self._points if self._split is None else self._split.large_points
        q = self._workspace.array("q", len(self._large), tile.stop - tile.start)
        np.dot(self._large, points[tile].T, out=q)
        if self._split is None or self._small is None:
            return q, None
        small = self._workspace.single("small q", *q.shape)
        return q, np.dot(self._small, self._split.small_points[tile].T, out=small)

    def backward(self, slopes: FloatArray, tile: slice, out: FloatArray) -> None:
        """Write sum_s slopes_s x_s into `out` (n, r)."""
        if self._split is None:
            np.dot(slopes, self._points[tile], out=out)
            return
        single = self._workspace.single("small q", *slopes.shape)
        single[:] = slopes
        out[:, self._split.large] = slopes @ self._split.large_points[tile]
        out[:, self._split.small] = single @ self._split.small_points[tile]
