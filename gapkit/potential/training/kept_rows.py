"""Training frames and the reflectors of their rows, kept so that sparse points can be added without a new fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from gapkit.gp.chunks import frame_chunks
from gapkit.gp.extension import Extension
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.few_columns import FewColumns
from gapkit.gp.noise import Noise
from gapkit.gp.rows import design_rows
from gapkit.gp.tape import ArrayStore, RecordedFactor
from gapkit.parallel import resolve_n_jobs
from gapkit.potential.training.accumulator import ATOMS_PER_CHUNK, RowAccumulator, merge_shares
from gapkit.potential.training.estimate import Resources
from gapkit.potential.training.rows import MemoryPlan, RowMaker, fill_shares, plan_memory
from gapkit.structures import AtomsBatch, concatenate
from gapkit.terms.known import KnownEnergy
from gapkit.typing import FloatArray, IntArray

# Frames that come one by one are kept together up to so many atoms.
ATOMS_TOGETHER = 20_000


@dataclass(frozen=True, eq=False)
class KeptRows:
    """Frames and factors of a training set; updates make new ones and leave the old as they were.

    Rows are made in double precision throughout: single precision of small features would tell columns that are made
    later from those made with the others.
    """

    store: ArrayStore  # 8 bytes for every row and sparse point
    # frames that were folded together, and the shares in which they were: rows have that order
    frames: tuple[tuple[AtomsBatch, MemoryPlan], ...] = ()
    factors: Mapping[str, RecordedFactor] = field(default_factory=dict)
    order: IntArray | None = None  # column (M,) of the model for each column of the factors; None: the same

    @property
    def batch(self) -> AtomsBatch:
        """All frames."""
        return concatenate([batch for batch, _ in self.frames])

    def model_factors(self) -> dict[str, TriangularFactor]:
        """Factors with their columns in the order of the model."""
        return {kind: factor.in_model_order() for kind, factor in self.factors.items()}

    def with_frames(self, maker: RowMaker, batch: AtomsBatch, resources: Resources) -> KeptRows:
        """Further labelled frames."""
        n, n_jobs = maker.basis.n_columns, resources.n_jobs
        chunks = list(frame_chunks(batch, ATOMS_PER_CHUNK))
        plan = plan_memory(n, min(resolve_n_jobs(n_jobs), len(chunks)), resources.memory_for_rows(n))
        factors: dict[str, TriangularFactor] = {kind: factor.copy() for kind, factor in self.factors.items()}
        # a single share goes straight into the factors
        own = [factors] if plan.n_threads == 1 else [{} for _ in range(plan.n_threads)]
        shares = [_Recorder(n, self.store, self.order, into) for into in own]
        fill_shares(maker.basis, batch, maker.targets(batch), chunks, shares, plan, progress=resources.progress)
        if plan.n_threads > 1:
            merge_shares(shares, factors, n_jobs)
        recorded = {kind: factor for kind, factor in factors.items() if isinstance(factor, RecordedFactor)}
        frames = (*self.frames, (batch, plan))
        if len(frames) > 1 and frames[-2][1] == plan == replace(plan, n_threads=1):
            before = frames[-2][0]
            if before.n_atoms < ATOMS_TOGETHER:  # one share after another is one share
                frames = (*frames[:-2], (concatenate([before, batch]), plan))
        return replace(self, frames=frames, factors=recorded)

    def with_columns(self, extension: Extension, noise: Noise, n_jobs: int | None) -> KeptRows:
        """Columns of p new sparse points, in memory of n_rows x p numbers; `noise` as given to the fit."""
        if extension.added.n_columns == 0:
            return self
        order = np.arange(len(extension.old_columns)) if self.order is None else self.order
        order = np.concatenate([extension.old_columns[order], extension.new_columns])
        found: dict[str, list[FloatArray]] = {kind: [] for kind in self.factors}
        for batch, plan in self.frames:
            # targets do not matter here, and the known energy may be dear
            maker = RowMaker(extension.added, KnownEnergy(dict.fromkeys(batch.species, 0.0)), noise)
            chunks = list(frame_chunks(batch, ATOMS_PER_CHUNK))
            of_chunk = [_Collector(extension.added.n_columns) for _ in chunks]
            workers = replace(plan, n_threads=min(len(chunks), resolve_n_jobs(n_jobs)))
            fill_shares(extension.added, batch, maker.targets(batch), chunks, of_chunk, workers)
            for share in range(plan.n_threads):
                for collected in of_chunk[share :: plan.n_threads]:
                    for kind, rows in collected.rows.items():
                        found[kind] += rows
        factors = {}
        for kind, factor in self.factors.items():
            factors[kind] = factor.copy()
            factors[kind].append_columns(np.concatenate(found[kind]), order)
        return replace(self, factors=factors, order=order)


class _Recorder(RowAccumulator):
    """A share whose factors keep their reflectors."""

    def __init__(
        self, n_columns: int, store: ArrayStore, order: IntArray | None, factors: dict[str, TriangularFactor]
    ) -> None:
        super().__init__(n_columns, factors)
        self._store, self._order = store, order
        self.design = partial(design_rows, single=False)

    def new_factor(self) -> TriangularFactor:
        return RecordedFactor(self.n_columns, self._store, self._order)


class _Collector(RowAccumulator):
    """A chunk that keeps its rows, divided by their relative sigmas."""

    def __init__(self, n_columns: int) -> None:
        super().__init__(n_columns)
        self.rows: dict[str, list[FloatArray]] = {}
        self.design = FewColumns()

    def add(self, kind: str, rows: FloatArray, targets: FloatArray, sigmas: FloatArray) -> None:
        self.rows.setdefault(kind, []).append(rows / sigmas[:, None])
