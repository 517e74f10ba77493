"""Streaming of training frames into triangular factors, one for each kind of target."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event

import numpy as np

from gapkit.gp.basis import SparseBasis
from gapkit.gp.design import design_rows, views_of
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.noise import KINDS, Noise, row_sigmas
from gapkit.gp.parts import parts_of, waves
from gapkit.neighbours import build_neighbour_list
from gapkit.parallel import resolve_n_jobs, run_workers
from gapkit.potential.linear_model import VOIGT
from gapkit.progress import track
from gapkit.structures import AtomsBatch, Labels
from gapkit.typing import BoolArray, FloatArray, IntArray
from gapkit.workspace import Workspace

# Atoms whose design rows a thread holds together, and rows that it folds at once.
ATOMS_PER_CHUNK = 64
ROWS_AT_ONCE = 500


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels less reference energies and baseline, with masks and relative sigmas.

    Attributes
    ----------
    energy : ndarray (n_frames,), eV;  forces : ndarray (n_atoms, 3), eV/Å;  virial : ndarray (n_frames, 6), eV
    has : dict of kind to mask (n_frames,) or (n_atoms,)
    sigmas : dict of kind to relative sigma of every row of the mask's length
    """

    energy: FloatArray
    forces: FloatArray
    virial: FloatArray
    has: dict[str, BoolArray]
    sigmas: dict[str, FloatArray]


def make_targets(
    batch: AtomsBatch, labels: Labels, offset: FloatArray, baseline: tuple[FloatArray, FloatArray] | None, noise: Noise
) -> Targets:
    """Subtract `offset` (n_frames,) and the baseline's forces and virials from the labels."""
    forces, virial = labels.forces, labels.virial
    if baseline is not None:
        forces, virial = forces - baseline[0], virial - baseline[1]
    return Targets(
        energy=labels.energy - offset,
        forces=forces,
        virial=virial[:, VOIGT[0], VOIGT[1]],
        has={"energy": labels.has_energy, "forces": labels.has_forces, "virial": labels.has_virial},
        sigmas={kind: row_sigmas(noise, labels, kind, batch.n_atoms_per_frame) for kind in KINDS},
    )


def accumulate(
    basis: SparseBasis,
    batch: AtomsBatch,
    targets: Targets,
    factors: dict[str, TriangularFactor],
    *,
    memory: float | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> None:
    """Fold all labelled rows of `batch` into `factors` (made where a kind is new).

    Every thread takes its share of the frames, always the same for the same `n_jobs`, into triangles of its own, which
    are merged at the end: the order of threads does not change the result, and memory does not grow with the data.

    Parameters
    ----------
    memory : float or None
        Bytes that threads may use; frames too large for their share are taken in parts.
    """
    chunks = list(waves(batch, ATOMS_PER_CHUNK))
    plan = plan_memory(basis.n_columns, min(resolve_n_jobs(n_jobs), len(chunks)), memory)
    sinks = [RowSink(basis.n_columns) for _ in range(plan.n_threads)]
    with track(batch.n_frames, "training rows", "frame", progress) as bar:

        def work(share: int, stop: Event) -> None:
            workspace = Workspace()
            for chunk in chunks[share :: len(sinks)]:
                if stop.is_set():
                    return
                _add_rows(basis, batch, targets, chunk, sinks[share], plan.atoms_at_once, workspace)
                bar.update(len(chunk))
            sinks[share].flush()

        run_workers(work, len(sinks))
    for sink in sinks:
        for kind, factor in sink.factors.items():
            if kind in factors:
                factors[kind].merge(factor)
            else:
                factors[kind] = factor


class RowSink:
    """Triangles of one thread; rows wait until there are enough of them to be folded at speed."""

    def __init__(self, n_columns: int) -> None:
        self.factors: dict[str, TriangularFactor] = {}
        self._n_columns = n_columns
        self._waiting: dict[str, list[tuple[FloatArray, FloatArray, FloatArray]]] = {kind: [] for kind in KINDS}

    def add(self, kind: str, rows: FloatArray, targets: FloatArray, sigmas: FloatArray) -> None:
        """Take rows (n, M), targets (n,) and relative sigmas (n,) of one kind."""
        self._waiting[kind].append((rows, targets, sigmas))
        if sum(len(waiting) for _, waiting, _ in self._waiting[kind]) >= ROWS_AT_ONCE:
            self._fold(kind)

    def flush(self) -> None:
        """Fold what waits."""
        for kind in KINDS:
            self._fold(kind)

    def _fold(self, kind: str) -> None:
        if self._waiting[kind]:
            rows, targets, sigmas = (np.concatenate(parts) for parts in zip(*self._waiting[kind], strict=True))
            self.factors.setdefault(kind, TriangularFactor(self._n_columns)).update(rows, targets, sigmas)
            self._waiting[kind] = []


def _add_rows(
    basis: SparseBasis, batch: AtomsBatch, targets: Targets, frames: range, sink: RowSink, atoms_at_once: int,
    workspace: Workspace,
) -> None:  # fmt: skip
    """Design rows of a range of frames, those with labels into the sink."""
    spans = {
        "energy": slice(frames.start, frames.stop),
        "forces": slice(int(batch.offsets[frames.start]), int(batch.offsets[frames.stop])),
        "virial": slice(frames.start, frames.stop),
    }
    has = {kind: targets.has[kind][span] for kind, span in spans.items()}
    wanted = {kind: getattr(targets, kind)[span] for kind, span in spans.items()}
    sigmas = {kind: targets.sigmas[kind][span] for kind, span in spans.items()}
    part = batch.select(np.arange(frames.start, frames.stop))
    neighbours = build_neighbour_list(part, basis.reach)
    views = views_of(basis, part, neighbours)

    def add(kind: str, design: FloatArray | None, which: IntArray | slice) -> None:
        use = has[kind][which]
        if design is None or not use.any():
            return
        chosen = design if use.all() else design[use]
        sink.add(
            kind,
            chosen.reshape(-1, basis.n_columns),
            wanted[kind][which][use].ravel(),
            np.repeat(sigmas[kind][which][use], chosen.shape[1] if chosen.ndim == 3 else 1),
        )

    energy: FloatArray | float = 0.0
    virial: FloatArray | float = 0.0
    for atoms in parts_of(part, atoms_at_once):
        rows = design_rows(
            basis, views, part, neighbours, range(part.n_frames), forces=bool(has["forces"].any()),
            virial=bool(has["virial"].any()), atoms=atoms, workspace=workspace,
        )  # fmt: skip
        energy = rows.energy if atoms is None else energy + rows.energy
        virial = 0.0 if rows.virial is None else rows.virial if atoms is None else virial + rows.virial
        add("forces", rows.forces, slice(None) if atoms is None else atoms)
    add("energy", np.asarray(energy), slice(None))
    if has["virial"].any():
        add("virial", np.asarray(virial), slice(None))


@dataclass(frozen=True)
class MemoryPlan:
    """How many threads run, and how many atoms' rows each of them holds at once."""

    n_threads: int
    atoms_at_once: int


def plan_memory(n_columns: int, n_threads: int, memory: float | None) -> MemoryPlan:
    """Threads and atoms at once for a number of bytes; None: no limit.

    Every thread has a triangle for each kind of label; rows of an atom exist in some four copies while they are folded.
    """
    if memory is None:
        return MemoryPlan(n_threads, 2**62)
    triangles = len(KINDS) * 8.0 * (n_columns + 1) ** 2
    per_atom = 4.0 * 3.0 * 8.0 * n_columns
    least = triangles + per_atom * 2 * ATOMS_PER_CHUNK + 4.0 * 8.0 * ROWS_AT_ONCE * n_columns
    n_threads = int(np.clip(memory // least, 1, n_threads))
    atoms = (memory / n_threads - triangles - 4.0 * 8.0 * ROWS_AT_ONCE * n_columns) / per_atom
    return MemoryPlan(n_threads, max(int(atoms), ATOMS_PER_CHUNK))
