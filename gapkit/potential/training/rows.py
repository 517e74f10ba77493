"""Streaming of training frames into triangular factors, one for each kind of target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain, islice
from threading import Event
from typing import Any, TypeAlias

import numpy as np

from gapkit.exceptions import ModelFileError
from gapkit.gp.basis import SparseBasis
from gapkit.gp.chunks import frame_chunks, frame_parts
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.noise import Noise, row_sigmas
from gapkit.gp.rows import DesignRows, design_rows
from gapkit.neighbours import build_neighbour_list
from gapkit.parallel import Stopped, resolve_n_jobs, run_workers, stopping_when
from gapkit.potential.training.accumulator import ATOMS_PER_CHUNK, ROWS_AT_ONCE, RowAccumulator, merge_shares
from gapkit.potential.training.checkpoint import Checkpoint, Rows
from gapkit.potential.training.estimate import Resources
from gapkit.potential.training.types_of_noise import key_of, kinds_by_type
from gapkit.progress import track, write_line
from gapkit.structures import AtomsBatch
from gapkit.targets import TARGETS
from gapkit.terms.known import KnownEnergy
from gapkit.typing import BoolArray, FloatArray, IntArray
from gapkit.workspace import Workspace

# Name of the triangle, rows (n, M), targets (n,) and relative sigmas (n,).
KindRows: TypeAlias = tuple[str, FloatArray, FloatArray, FloatArray]


@dataclass(frozen=True, eq=False)
class TrainingTargets:
    """Labels less the known energies, by target; n frames or atoms of c components."""

    values: Mapping[str, FloatArray]  # (n, c), eV for energies and virials, eV/Å for forces
    has: Mapping[str, BoolArray]  # (n,)
    sigmas: Mapping[str, FloatArray]  # (n,), relative
    types: Mapping[str, IntArray] = field(default_factory=dict)  # (n,), of triangles; -1: that of the kind

    def by_triangle(self, kind: str) -> Iterator[tuple[str, BoolArray]]:
        """Names of the triangles that labels of a kind go into, with masks (n,) of these."""
        has, types = self.has[kind], self.types.get(kind)
        for index in [-1] if types is None else np.unique(types[has]).tolist():
            yield key_of(kind, index), has if types is None else has & (types == index)

    def of_frames(self, offsets: IntArray, start: int, stop: int) -> TrainingTargets:
        """Those of a range of frames."""
        spans = {kind: target.span(offsets, start, stop) for kind, target in TARGETS.items()}
        wholes: tuple[Mapping[str, Any], ...] = (self.values, self.has, self.sigmas, self.types)
        parts = ({kind: whole[kind][own] for kind, own in spans.items() if kind in whole} for whole in wholes)
        return TrainingTargets(*parts)


@dataclass(frozen=True, eq=False)
class RowMaker:
    """Makes training rows of labelled frames."""

    basis: SparseBasis
    known: KnownEnergy  # subtracted from the labels
    noise: Noise  # as given to the fit: sigmas of rows are relative to it
    types: tuple[str, ...] = ()  # configuration types with triangles of their own

    @property
    def n_triangles(self) -> int:
        """Triangles of a share, at most."""
        return len(TARGETS) + len(self.types) * len(kinds_by_type(self.noise))

    def targets(self, batch: AtomsBatch) -> TrainingTargets:
        """Labels less the known energies, with masks and relative sigmas."""
        labels, part = batch.all_labels, self.known.targets(batch)
        return TrainingTargets(
            {kind: target.to_components(labels.values[kind] - part.get(kind, 0.0)) for kind, target in TARGETS.items()},
            labels.has,
            {kind: row_sigmas(self.noise, labels, kind, batch.n_atoms_per_frame) for kind in TARGETS},
            {kind: self._types_of(batch, kind) for kind in kinds_by_type(self.noise)} if self.types else {},
        )

    def _types_of(self, batch: AtomsBatch, kind: str) -> IntArray:
        """Index of the type of every label (n,); -1: none, or the label has a sigma of its own."""
        labels, target = batch.all_labels, TARGETS[kind]
        index = {name: i for i, name in enumerate(self.types)}
        of_frames = np.array([index.get(name, -1) for name in labels.config_type], dtype=np.int64)
        found = of_frames[batch.frame_of_atom] if target.per_atom else of_frames
        return np.where(np.isnan(getattr(labels, target.sigma)), found, -1)

    def fold(
        self, batch: AtomsBatch, factors: dict[str, TriangularFactor], resources: Resources, *,
        targets: TrainingTargets | None = None, checkpoint: Checkpoint | None = None,
    ) -> None:  # fmt: skip
        """Fold all labelled rows of a batch into `factors` (made where a kind is new).

        The frames are dealt out in shares, always the same for the same `n_jobs`, each with triangles of its own, which
        are merged at the end: the order of threads does not change the result, and memory does not grow with the data.
        Frames too large for the memory of a thread are taken in parts.

        A checkpoint, only with `factors` that are empty, has shares saved at intervals; those it has go on where they
        were, so that the result is the same to the last bit.  On a Ctrl-C or SIGTERM the state between two chunks is
        saved first.
        """
        targets = self.targets(batch) if targets is None else targets
        chunks, n = list(frame_chunks(batch, ATOMS_PER_CHUNK)), self.basis.n_columns
        n_threads = min(resolve_n_jobs(resources.n_jobs), len(chunks))
        state = None if checkpoint is None else checkpoint.rows()
        if state is not None and resources.progress:
            done = sum(
                len(c) for i, share in enumerate(state.shares) for c in chunks[i :: len(state.shares)][: share.position]
            )
            write_line(
                f"fit: goes on after {batch.n_frames if state.complete else done:,} of {batch.n_frames:,} frames"
            )
        if state is None:
            plan = plan_memory(n, n_threads, resources.memory_for_rows(n), self.n_triangles)
            sinks = [RowAccumulator(n) for _ in range(plan.n_threads)]
        else:  # as many shares, and parts of frames, as at the start: others would round otherwise
            sinks = state.shares
            check_resumed(state, batch, targets, chunks)
            plan = MemoryPlan(min(n_threads, len(sinks)), max(state.atoms_at_once, 1))
        if state is None or not state.complete:
            show = resources.progress
            with nullcontext() if checkpoint is None else checkpoint.signals():
                fill_shares(self.basis, batch, targets, chunks, sinks, plan, progress=show, checkpoint=checkpoint)
                if checkpoint is not None and checkpoint.interrupted:
                    checkpoint.save(sinks, plan.atoms_at_once)
        merge_shares(sinks, factors, resources.n_jobs)
        if checkpoint is not None and (state is None or not state.complete):
            checkpoint.save([RowAccumulator(n, factors)], plan.atoms_at_once, complete=True)


def fill_shares(
    basis: SparseBasis, batch: AtomsBatch, targets: TrainingTargets, chunks: list[range],
    sinks: Sequence[RowAccumulator], plan: MemoryPlan, *, progress: bool = False, checkpoint: Checkpoint | None = None,
) -> None:  # fmt: skip
    """Take every share of the chunks to its end, or until a checkpoint is interrupted."""
    shares = [chunks[i :: len(sinks)] for i in range(len(sinks))]
    with track(batch.n_frames, "training rows", "frame", progress) as bar:
        bar.update(sum(len(c) for chunk, sink in zip(shares, sinks, strict=True) for c in chunk[: sink.position]))

        def work(worker: int, stop: Event) -> None:
            workspace = Workspace()
            for share, sink in list(zip(shares, sinks, strict=True))[worker :: plan.n_threads]:
                while sink.position < len(share):
                    if stop.is_set() or (checkpoint is not None and checkpoint.interrupted):
                        return
                    chunk = share[sink.position]
                    options = plan.atoms_at_once, workspace, sink.design
                    making = training_rows(basis, batch, targets, chunk, *options)
                    try:  # most of the time goes into the first rows, until which the share is as it was
                        with stopping_when(lambda: checkpoint is not None and checkpoint.interrupted):
                            first = list(islice(making, 1))
                    except Stopped:
                        return
                    with sink.changing():
                        for rows in chain(first, making):
                            sink.add(*rows)
                        sink.position += 1
                    bar.update(len(chunk))
                    if checkpoint is not None:
                        checkpoint.save_if_due(sinks, plan.atoms_at_once)
                with sink.changing():
                    sink.flush()

        run_workers(work, plan.n_threads)


def check_resumed(state: Rows, batch: AtomsBatch, targets: TrainingTargets, chunks: list[range]) -> None:
    """ModelFileError unless the shares of a checkpoint hold the labels of the chunks that they say they hold."""
    for i, share in enumerate(state.shares):
        all_of_share = chunks if state.complete else chunks[i :: len(state.shares)]
        frames = [part for part in all_of_share[: None if state.complete else share.position] if len(part)]
        expected: dict[str, FloatArray] = {}  # by triangle
        for span in frames:
            part = targets.of_frames(batch.offsets, span.start, span.stop)
            for kind, target in TARGETS.items():
                for key, use in part.by_triangle(kind):
                    sigmas, c = part.sigmas[kind][use], target.components
                    squares = ((part.values[kind][use] / sigmas[:, None]) ** 2).sum()
                    of_part = np.array([c * len(sigmas), c * np.log(sigmas).sum(), squares])
                    expected[key] = expected.get(key, np.zeros(3)) + of_part
        for key in {**expected, **share.factors, **share.waiting}:
            wanted, found = expected.get(key, np.zeros(3)), np.zeros(3)
            if key in share.factors:
                factor = share.factors[key]
                found += factor.n_rows, factor.log_weights, (factor.R[:, -1] ** 2).sum()
            for _, y, sigmas in share.waiting.get(key, ()):
                found += len(y), np.log(sigmas).sum(), ((y / sigmas) ** 2).sum()
            if len(all_of_share) < share.position or not np.allclose(found, wanted, rtol=1e-6, atol=1e-6):
                raise ModelFileError(
                    f"the checkpoint does not hold the {int(wanted[0])} labels ({key}) of share {i}, at its chunk "
                    f"{share.position}, got {int(found[0])}; delete it to begin anew"
                )


def training_rows(
    basis: SparseBasis, batch: AtomsBatch, targets: TrainingTargets, frames: range, atoms_at_once: int,
    workspace: Workspace, design: Callable[..., DesignRows] = design_rows,
) -> Iterator[KindRows]:  # fmt: skip
    """Labelled design rows of a range of frames."""
    own = targets.of_frames(batch.offsets, frames.start, frames.stop)
    part = batch.select(np.arange(frames.start, frames.stop))
    applied = AppliedBasis.of(basis, part, build_neighbour_list(part, basis.reach))

    def labelled(kind: str, design: FloatArray, which: IntArray | slice = slice(None)) -> Iterator[KindRows]:
        for key, mask in own.by_triangle(kind):
            use = mask[which]
            if use.any():
                rows = (design if use.all() else design[use]).reshape(-1, basis.n_columns)
                sigmas = np.repeat(own.sigmas[kind][which][use], TARGETS[kind].components)
                yield key, rows, own.values[kind][which][use].ravel(), sigmas

    kinds = [kind for kind, mask in own.has.items() if mask.any()]
    of_frames: dict[str, FloatArray] = {}
    for atoms in frame_parts(part, atoms_at_once):
        for kind, rows in design(applied, kinds, atoms=atoms, workspace=workspace).rows.items():
            if TARGETS[kind].per_atom:
                yield from labelled(kind, rows, slice(None) if atoms is None else atoms)
            else:
                of_frames[kind] = of_frames[kind] + rows if kind in of_frames else rows
    for kind, rows in of_frames.items():
        yield from labelled(kind, rows)


@dataclass(frozen=True)
class MemoryPlan:
    """How many threads run, and how many atoms' rows each of them holds at once."""

    n_threads: int
    atoms_at_once: int


def plan_memory(n_columns: int, n_threads: int, memory: float | None, n_triangles: int = len(TARGETS)) -> MemoryPlan:
    """Threads and atoms at once for a number of bytes; None: no limit."""
    if memory is None:
        return MemoryPlan(n_threads, 2**62)
    triangles = n_triangles * 8.0 * (n_columns + 1) ** 2  # of a thread; rows exist in some four copies in the fold
    per_atom = 4.0 * 3.0 * 8.0 * n_columns
    least = triangles + per_atom * 2 * ATOMS_PER_CHUNK + 4.0 * 8.0 * ROWS_AT_ONCE * n_columns
    n_threads = int(np.clip(memory // least, 1, n_threads))
    atoms = (memory / n_threads - triangles - 4.0 * 8.0 * ROWS_AT_ONCE * n_columns) / per_atom
    return MemoryPlan(n_threads, max(int(atoms), ATOMS_PER_CHUNK))
