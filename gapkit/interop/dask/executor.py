"""Rows of a fit on the workers of a Dask cluster: chunks become triangles, a tree merges them (TSQR).

The chunks depend on the data and the number of sparse points only, and so does the tree: the result is the same for any
number of workers and in whatever order they finish, and a worker that is lost costs its chunk.

Source: Demmel, Grigori, Hoemmen and Langou, SIAM J. Sci. Comput. 34, A206 (2012).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from distributed import Client, Future

from gapkit.gp.basis import SparseBasis
from gapkit.gp.chunks import frame_chunks
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.noise import KINDS, Noise
from gapkit.gp.posterior import Posterior
from gapkit.interop.dask.connect import as_paths, given, submit
from gapkit.potential.model import SparseModel
from gapkit.potential.training.rows import ROWS_AT_ONCE, RowAccumulator, merge_shares
from gapkit.potential.training.source import LocalSource, fold
from gapkit.progress import track
from gapkit.structures import AtomsBatch, LabelKeys, concatenate
from gapkit.terms.pairs import Baseline

if TYPE_CHECKING:
    from gapkit.potential.training.checkpoint import Checkpoint

# Chunks whose triangles are merged on the workers before this process sees them.
CHUNKS_PER_ROUND = 32
# Bytes for the rows of one frame on a worker; larger ones are taken in parts.
ROOM = 1.5e9

Triangles = dict[str, TriangularFactor]


@dataclass(frozen=True, eq=False)
class RowMaker:
    """What a worker has to know of a model to make rows.

    Attributes
    ----------
    basis : SparseBasis
    energies : dict of int to float
        Reference energies in eV by atomic number.
    baseline : Baseline or None
    noise : Noise
    """

    basis: SparseBasis
    energies: dict[int, float]
    baseline: Baseline | None
    noise: Noise

    def triangles(self, batch: AtomsBatch) -> Triangles:
        """Fold all rows of a labelled batch."""
        m = self.basis.n_columns
        # always the same bytes, not those that happen to be free: parts of frames must not depend on the worker
        memory = 8.0 * (len(KINDS) * (m + 1) ** 2 + 4 * ROWS_AT_ONCE * m) + ROOM
        blank = Posterior(np.empty((0, 0)), [], None)  # not asked for
        model = SparseModel(self.basis, blank, np.empty(0), self.energies, self.baseline)
        factors: Triangles = {}
        fold(model, batch, self.noise, factors, memory=memory, n_jobs=1)
        return factors


def fold_chunk(maker: RowMaker, pieces: Sequence[AtomsBatch | LocalSource], spans: Sequence[range]) -> Triangles:
    """Triangles of some frames (`spans`) of each of some batches."""
    batches = [piece if isinstance(piece, AtomsBatch) else piece.batch for piece in pieces]
    parts = [batch.select(np.asarray(span)) for batch, span in zip(batches, spans, strict=True)]
    return maker.triangles(concatenate(parts))


def merge_pair(left: Triangles, right: Triangles) -> Triangles:
    """Both together; a task's arguments may be needed again, and stay as they are."""
    merged = {kind: factor.copy() if kind in right else factor for kind, factor in left.items()}
    for kind, factor in right.items():
        if kind in merged:
            merged[kind].merge(factor)
        else:
            merged[kind] = factor
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


class DaskExecutor:
    """Fits on the workers of a client.

    Parameters
    ----------
    client : distributed.Client
    atoms_per_chunk : int or None
        What is lost with a worker, and one task; None: from the sizes of data and model.
    """

    def __init__(self, client: Client, *, atoms_per_chunk: int | None = None) -> None:
        self.client = client
        self.atoms_per_chunk = atoms_per_chunk

    def source(self, frames: Any, labelled: Callable[[Any], AtomsBatch], keys: LabelKeys) -> LocalSource:
        """A source of frames, or of files, whose rows are folded on the workers."""
        paths = as_paths(frames)
        if paths is None:
            return ClusterSource(self, labelled(frames))
        from gapkit.interop.dask.files import open_files

        return open_files(self, paths, keys)


class ClusterSource(LocalSource):
    """Frames of this process whose rows are folded on workers."""

    def __init__(self, executor: DaskExecutor, batch: AtomsBatch) -> None:
        super().__init__(batch)
        self.executor = executor

    @property
    def n_atoms(self) -> int:
        """Atoms of all frames."""
        return self.batch.n_atoms

    def chunks(self, n_atoms: int) -> list[tuple[list[Any], list[range]]]:
        """Batches (or tasks that give them) and the frames of each, chunk by chunk of about `n_atoms` atoms."""
        spans = frame_chunks(self.batch, n_atoms)
        return [([self.batch.select(np.asarray(span))], [range(len(span))]) for span in spans]

    def identity(self) -> dict[str, Any]:
        chunks = [self.executor.atoms_per_chunk, CHUNKS_PER_ROUND]
        return super().identity() | {"chunks": chunks}

    def accumulate(
        self, model: SparseModel, noise: Noise, factors: Triangles, *, memory: float | None, n_jobs: int | None,
        progress: bool, checkpoint: Checkpoint | None = None,
    ) -> None:  # fmt: skip
        client, m = self.executor.client, model.basis.n_columns
        chunks = self.chunks(self.executor.atoms_per_chunk or atoms_per_chunk(self.n_atoms, m))
        rounds = [chunks[i : i + CHUNKS_PER_ROUND] for i in range(0, len(chunks), CHUNKS_PER_ROUND)]
        state = None if checkpoint is None else checkpoint.rows()
        sink = RowAccumulator(m) if state is None else state.shares[0]
        maker = submit(client, given, RowMaker(model.basis, model.energies, model.baseline, noise))

        def start(some: list[tuple[list[Any], list[range]]]) -> Future:
            return merge_tree(client, [submit(client, fold_chunk, maker, *chunk) for chunk in some])

        count = [sum(len(span) for _, spans in some for span in spans) for some in rounds]
        # the next round is under way while this one is merged here
        waiting = [start(some) for some in rounds[sink.position : sink.position + 2]]
        with (
            track(sum(count), "training rows", "frame", progress) as bar,
            nullcontext() if checkpoint is None else checkpoint.signals(),
        ):
            bar.update(sum(count[: sink.position]))
            while waiting and _wait(waiting[0], checkpoint):
                found = waiting.pop(0).result()
                with sink.changing():
                    merge_shares([RowAccumulator(m, found)], sink.factors, n_jobs)
                    sink.position += 1
                bar.update(count[sink.position - 1])
                for some in rounds[sink.position + len(waiting) : sink.position + 2]:
                    waiting.append(start(some))
                if checkpoint is not None and (checkpoint.due or not waiting):
                    checkpoint.save([sink], 0, complete=not waiting)
            if checkpoint is not None and checkpoint.interrupted:
                client.cancel(waiting)
                checkpoint.save([sink], 0, complete=not waiting)
        merge_shares([sink], factors, n_jobs)


def _wait(future: Future, checkpoint: Checkpoint | None) -> bool:
    """Whether it is done, or has failed; False after an interruption."""
    while not future.done():
        if checkpoint is not None and checkpoint.interrupted:
            return False
        time.sleep(0.02)
    return True
