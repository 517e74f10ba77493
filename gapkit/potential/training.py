"""Streaming of training frames into triangular factors, one for each kind of target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit.gp.basis import SparseBasis
from gapkit.gp.design import DesignRows, design_rows, views_of
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.noise import KINDS, Noise, row_sigmas
from gapkit.neighbours import build_neighbour_list
from gapkit.parallel import limit_blas, map_blocks
from gapkit.potential.linear_model import VOIGT
from gapkit.potential.sparsify import waves
from gapkit.progress import track
from gapkit.structures import AtomsBatch, Labels
from gapkit.typing import BoolArray, FloatArray

# Bytes of design rows that are held before they are folded into the factors.
ROW_BYTES = 96_000_000


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
    n_jobs: int | None = None,
    progress: bool = False,
) -> None:
    """Fold all labelled rows of `batch` into `factors` (made where a kind is new)."""
    width = 8.0 * basis.n_columns
    n_rows = max(int(ROW_BYTES / width), 500)
    with track(batch.n_frames, "training rows", "frame", progress) as bar:
        for frames in waves(batch, max(n_rows // 4, 1)):
            part = batch.select(np.arange(frames.start, frames.stop))
            neighbours = build_neighbour_list(part, basis.reach)
            views = views_of(basis, part, neighbours)
            local = _Slice(targets, frames, range(int(batch.offsets[frames.start]), int(batch.offsets[frames.stop])))

            def rows_of(chunk: range, part=part, neighbours=neighbours, views=views, local=local) -> DesignRows:  # type: ignore[no-untyped-def]
                wants = local.wants(chunk, part)
                return design_rows(basis, views, part, neighbours, chunk, forces=wants[0], virial=wants[1])

            chunks = list(waves(part, max(min(128, part.n_atoms // 8), 1)))
            done = map_blocks(rows_of, chunks, n_jobs)
            with limit_blas(n_jobs, basis.n_columns):
                _fold(list(zip(chunks, done, strict=True)), part, local, factors, basis.n_columns)
            bar.update(len(frames))


@dataclass(frozen=True, eq=False)
class _Slice:
    """Targets of a contiguous range of frames."""

    targets: Targets
    frames: range
    atoms: range

    def of(self, kind: str) -> tuple[BoolArray, FloatArray, FloatArray]:
        span = self.atoms if kind == "forces" else self.frames
        here = slice(span.start, span.stop)
        return self.targets.has[kind][here], getattr(self.targets, kind)[here], self.targets.sigmas[kind][here]

    def wants(self, chunk: range, part: AtomsBatch) -> tuple[bool, bool]:
        atoms = slice(int(part.offsets[chunk.start]), int(part.offsets[chunk.stop]))
        return bool(self.of("forces")[0][atoms].any()), bool(self.of("virial")[0][chunk.start : chunk.stop].any())


def _fold(
    done: list[tuple[range, DesignRows]],
    part: AtomsBatch,
    local: _Slice,
    factors: dict[str, TriangularFactor],
    n_columns: int,
) -> None:
    for kind in KINDS:
        mask, values, sigmas = local.of(kind)
        rows, targets, relative = [], [], []
        for chunk, of_chunk in done:
            design: FloatArray | None = getattr(of_chunk, kind)
            span = slice(chunk.start, chunk.stop)
            if kind == "forces":
                span = slice(int(part.offsets[chunk.start]), int(part.offsets[chunk.stop]))
            use = mask[span]
            if design is None or not use.any():
                continue
            chosen = design if use.all() else design[use]
            rows.append(chosen.reshape(-1, n_columns))
            targets.append(values[span][use].ravel())
            relative.append(np.repeat(sigmas[span][use], chosen.shape[1] if chosen.ndim == 3 else 1))
        if rows:
            factor = factors.setdefault(kind, TriangularFactor(n_columns))
            factor.update(np.concatenate(rows), np.concatenate(targets), np.concatenate(relative))
