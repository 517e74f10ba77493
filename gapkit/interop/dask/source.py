"""Frames of a fit whose rows are folded on workers."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from distributed import Client, Future

from gapkit.gp.chunks import frame_chunks
from gapkit.interop.dask.connect import given, submit
from gapkit.interop.dask.triangles import Triangles, atoms_per_chunk, fold_chunk, merge_tree
from gapkit.potential.training.accumulator import RowAccumulator, merge_shares
from gapkit.potential.training.checkpoint import Checkpoint
from gapkit.potential.training.estimate import Resources
from gapkit.potential.training.rows import RowMaker
from gapkit.potential.training.source import LocalSource
from gapkit.progress import track
from gapkit.structures import AtomsBatch

# Chunks whose triangles are merged on the workers before this process sees them.
CHUNKS_PER_ROUND = 32


@dataclass(frozen=True, eq=False)
class Cluster:
    """A client, and the atoms of a chunk, which is one task (None: from the sizes of data and model)."""

    client: Client
    atoms_per_chunk: int | None = None


class ClusterSource(LocalSource):
    """Frames of this process whose rows are folded on workers."""

    def __init__(self, cluster: Cluster, batch: AtomsBatch) -> None:
        super().__init__(batch)
        self.cluster = cluster

    @property
    def n_atoms(self) -> int:
        """Atoms of all frames."""
        return self.batch.n_atoms

    def chunks(self, n_atoms: int) -> list[tuple[list[Any], list[range]]]:
        """Batches (or tasks that give them) and the frames of each, chunk by chunk of about `n_atoms` atoms."""
        spans = frame_chunks(self.batch, n_atoms)
        return [([self.batch.select(np.asarray(span))], [range(len(span))]) for span in spans]

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"chunks": [self.cluster.atoms_per_chunk, CHUNKS_PER_ROUND]}

    def accumulate(
        self, maker: RowMaker, factors: Triangles, resources: Resources, checkpoint: Checkpoint | None
    ) -> None:
        client, m = self.cluster.client, maker.basis.n_columns
        chunks = self.chunks(self.cluster.atoms_per_chunk or atoms_per_chunk(self.n_atoms, m))
        rounds = [chunks[i : i + CHUNKS_PER_ROUND] for i in range(0, len(chunks), CHUNKS_PER_ROUND)]
        state = None if checkpoint is None else checkpoint.rows()
        sink = RowAccumulator(m) if state is None else state.shares[0]
        sent = submit(client, given, maker)

        def start(some: list[tuple[list[Any], list[range]]]) -> Future:
            return merge_tree(client, [submit(client, fold_chunk, sent, *chunk) for chunk in some])

        count = [sum(len(span) for _, spans in some for span in spans) for some in rounds]
        # the next round is under way while this one is merged here
        waiting = [start(some) for some in rounds[sink.position : sink.position + 2]]
        signals = nullcontext() if checkpoint is None else checkpoint.signals()
        with track(sum(count), "training rows", "frame", resources.progress) as bar, signals:
            bar.update(sum(count[: sink.position]))
            while waiting and _wait(waiting[0], checkpoint):
                found = waiting.pop(0).result()
                with sink.changing():
                    merge_shares([RowAccumulator(m, found)], sink.factors, resources.n_jobs)
                    sink.position += 1
                bar.update(count[sink.position - 1])
                waiting += [start(some) for some in rounds[sink.position + len(waiting) : sink.position + 2]]
                if checkpoint is not None and (checkpoint.due or not waiting):
                    checkpoint.save([sink], 0, complete=not waiting)
            if checkpoint is not None and checkpoint.interrupted:
                client.cancel(waiting)
                checkpoint.save([sink], 0, complete=not waiting)
        merge_shares([sink], factors, resources.n_jobs)


def _wait(future: Future, checkpoint: Checkpoint | None) -> bool:
    """Whether it is done, or has failed; False after an interruption."""
    while not future.done():
        if checkpoint is not None and checkpoint.interrupted:
            return False
        time.sleep(0.02)
    return True
