"""Chunks of training rows become triangles on the workers, and a tree merges them (TSQR).

The chunks depend on the data and the number of sparse points only, and so does the tree: the result is the same for any
number of workers and in whatever order they finish, and a worker that is lost costs its chunk.

Source: Demmel, Grigori, Hoemmen and Langou, SIAM J. Sci. Comput. 34, A206 (2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from distributed import Client, Future

from gapkit.gp.factors import TriangularFactor
from gapkit.interop.dask.connect import submit
from gapkit.potential.training.accumulator import ROWS_AT_ONCE
from gapkit.potential.training.estimate import PROGRAM, Resources
from gapkit.potential.training.rows import RowMaker
from gapkit.structures import concatenate

# Bytes for the rows of one frame on a worker; larger ones are taken in parts.
ROOM = 1.5e9

Triangles = dict[str, TriangularFactor]


def fold_chunk(maker: RowMaker, pieces: Sequence[Any], spans: Sequence[range]) -> Triangles:
    """Triangles of some frames (`spans`) of each of some batches, or files as `files.read_file` gives them."""
    batches = [piece[0] if isinstance(piece, tuple) else piece for piece in pieces]
    parts = [batch.select(np.asarray(span)) for batch, span in zip(batches, spans, strict=True)]
    m = maker.basis.n_columns
    # always the same bytes, not those that happen to be free: parts of frames must not depend on the worker
    memory = 8.0 * (maker.n_triangles * (m + 1) ** 2 + 4 * ROWS_AT_ONCE * m + 2 * m**2) + ROOM + PROGRAM
    factors: Triangles = {}
    maker.fold(concatenate(parts), factors, Resources(memory / 1e9, n_jobs=1))
    return factors


def merge_pair(left: Triangles, right: Triangles) -> Triangles:
    """The merged triangles; a task's arguments may be needed again, and stay as they are."""
    merged = left | right
    for kind in left.keys() & right.keys():
        merged[kind] = left[kind].copy()
        merged[kind].merge(right[kind])
    return merged


def merge_tree(client: Client, leaves: Sequence[Future]) -> Future:
    """Neighbours in pairs, then pairs of pairs; merging comes first, so that few triangles wait."""
    level = list(leaves)
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [submit(client, merge_pair, *pair, priority=1) if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0]


def atoms_per_chunk(n_atoms: int, n_columns: int) -> int:
    """Enough rows for the fold to be worth the merge, and about 32 chunks where the data are few.

    A chunk of M atoms is folded at 6 M^3 operations or more, and its triangles are merged at 2 M^3.
    """
    return int(np.clip(n_atoms // 32, max(100, n_columns // 2), max(100, 2 * n_columns)))
