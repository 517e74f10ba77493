"""Training rows folded into triangular factors, share by share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

import numpy as np

from gapkit.gp.factors import TriangularFactor
from gapkit.gp.rows import DesignRows, design_rows
from gapkit.parallel import map_blocks
from gapkit.potential.training.types_of_noise import in_order
from gapkit.typing import FloatArray

# Atoms whose design rows a thread holds together, and rows that it folds at once.
ATOMS_PER_CHUNK = 64
ROWS_AT_ONCE = 500


def merge_shares(sinks: Sequence[RowAccumulator], factors: dict[str, TriangularFactor], n_jobs: int | None) -> None:
    """All shares into `factors`, in order; each is given up, so that no triangle is copied.

    Kinds run side by side with one BLAS thread each: the fold's narrow panels leave nothing for more to share, and on a
    busy machine two were ten times slower than one.
    """
    kinds = list(dict.fromkeys(kind for sink in sinks for kind in sink.factors))

    def merged(kind: str) -> TriangularFactor:
        parts = [sink.factors.pop(kind) for sink in sinks if kind in sink.factors]
        total = factors[kind] if kind in factors else parts.pop(0)
        while parts:
            total.merge(parts.pop(0), overwrite_other=True)
        return total

    factors.update(zip(kinds, map_blocks(merged, kinds, n_jobs), strict=True))


class RowAccumulator:
    """Triangles of one share of the frames; rows wait until there are enough of them to be folded at speed."""

    def __init__(self, n_columns: int, factors: dict[str, TriangularFactor] | None = None) -> None:
        self.factors: dict[str, TriangularFactor] = {} if factors is None else factors
        # rows (n, M), targets (n,) and relative sigmas (n,) for every triangle
        self.waiting: dict[str, list[tuple[FloatArray, FloatArray, FloatArray]]] = {}
        self.position = 0  # chunks of the share that are done
        self.sound = True  # not while a chunk is half in, and never more if it failed there
        self.lock = Lock()
        self.n_columns = n_columns
        self.design: Callable[..., DesignRows] = design_rows

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock while a chunk goes in."""
        with self.lock:
            self.sound = False
            yield
            self.sound = True

    def add(self, kind: str, rows: FloatArray, targets: FloatArray, sigmas: FloatArray) -> None:
        """Take rows (n, M), targets (n,) and relative sigmas (n,) of one kind, or of a type's triangle of it."""
        waiting = self.waiting.setdefault(kind, [])
        waiting.append((rows, targets, sigmas))
        if sum(len(own) for _, own, _ in waiting) >= ROWS_AT_ONCE:
            self._fold(kind)

    def new_factor(self) -> TriangularFactor:
        """An empty factor."""
        return TriangularFactor(self.n_columns)

    def flush(self) -> None:
        """Fold what waits."""
        for kind in in_order(self.waiting):
            self._fold(kind)

    def _fold(self, kind: str) -> None:
        if self.waiting[kind]:
            rows, targets, sigmas = (np.concatenate(parts) for parts in zip(*self.waiting[kind], strict=True))
            if kind not in self.factors:
                self.factors[kind] = self.new_factor()
            self.factors[kind].update(rows, targets, sigmas)
            self.waiting[kind] = []
