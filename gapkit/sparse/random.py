"""Sparse points drawn at random."""

from __future__ import annotations

import numpy as np

from gapkit.io.registry import registered
from gapkit.sparse.base import RowSelector, draw_without_replacement
from gapkit.typing import FloatArray, IntArray


@registered("SparseSelector", "random")
class Random(RowSelector):
    """Draws distinct rows without replacement, uniformly."""

    def _select(self, X: FloatArray, n_select: int, rng: np.random.Generator) -> IntArray:
        return draw_without_replacement(np.ones(len(X)), n_select, rng)
