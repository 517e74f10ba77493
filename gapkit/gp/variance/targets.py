"""Posterior covariances of energies, forces and virials: the data part and what the sparse points cannot see.

For targets with rows phi, and functionals of every block with prior covariance K (`functionals`),

    data part        phi C phi^T,  C = (R^T R)^-1 the posterior covariance of the weights,
    prior residual   sum over blocks of delta^2 (K - phi (L L^T)^-1 phi^T).

Both are matrices where a target has several components: 3 x 3 for the force of an atom, 6 x 6 for a virial.

The data part takes rows as independent and misfit as noise, and is too small for both reasons (measured on silicon,
lithium and an alloy): rows of one frame count for a third to a tenth of their number, and the misfit of the sparse
points, which evidence calls noise, is left by any number of rows.  `uncertainty.calibration` brings it to scale.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from gapkit.descriptors.base import View
from gapkit.exceptions import VarianceWarning
from gapkit.gp.basis import SparseBasis, SparseBlock
from gapkit.gp.chunks import frame_chunks, frame_parts
from gapkit.gp.instances import AppliedBasis, between, chunks
from gapkit.gp.lapack import solve_lower
from gapkit.gp.posterior import Posterior
from gapkit.gp.rows import FUNCTIONALS, centres_seeing, design_rows
from gapkit.gp.variance.functionals import Functional, InstanceDerivatives, prior_covariance
from gapkit.gp.variance.prior_residual import ResidualBasis
from gapkit.neighbours import NeighbourList
from gapkit.parallel import map_blocks, resolve_n_jobs
from gapkit.targets import TARGETS
from gapkit.typing import BoolArray, FloatArray, IntArray

# A prior residual below zero by more than this part of the prior is reported.  Less is rounding, with matrices K_MM as
# ill-conditioned as those of smooth kernels are: residual stds below some 0.003 of the prior's are not resolved.
ROUNDING = 1e-5
SMALLEST = 1e-10  # (eV, eV/Å)^2
# Atoms of small frames that are taken together, and of a frame whose derivatives are held together.
ATOMS_PER_CHUNK = 48
ATOMS_OF_A_FRAME = 256
# Targets whose rows are whitened together, whatever the number of threads.
TARGETS_AT_ONCE = 64
# Numbers in the rows of the parts of a large frame.
NUMBERS_OF_ROWS = 25_000_000


@dataclass(frozen=True, eq=False)
class VarianceParts:
    """The two parts of the covariances of one kind of target."""

    data: FloatArray  # (n, c, c), what the weights still have after the data; the square of the target's unit
    prior: FloatArray  # (n, c, c), prior residual: what the sparse points cannot see

    @property
    def total(self) -> FloatArray:
        """The sum of both, (n, c, c)."""
        return self.data + self.prior

    @property
    def std(self) -> FloatArray:
        """Standard deviations of the components, (n, c)."""
        return np.sqrt(np.maximum(np.einsum("ncc->nc", self.total), 0.0))


@dataclass(frozen=True, eq=False)
class TargetVariances:
    """Posterior covariances of the targets of a batch."""

    parts: dict[str, VarianceParts]  # by target.  Those of `gapkit.gp.rows.FUNCTIONALS` have a data part alone.

    @property
    def energy(self) -> VarianceParts:
        """(n_frames, 1, 1), eV^2, of total energies."""
        return self.parts["energy"]

    @property
    def forces(self) -> VarianceParts | None:
        """(n_atoms, 3, 3), (eV/Å)^2."""
        return self.parts.get("forces")

    @property
    def virial(self) -> VarianceParts | None:
        """(n_frames, 6, 6), eV^2, in Voigt order."""
        return self.parts.get("virial")

    def take(self, frames: IntArray, atoms: IntArray) -> TargetVariances:
        """Those of some frames, and of their atoms."""
        chosen = {kind: atoms if TARGETS[kind].per_atom else frames for kind in self.parts}
        return TargetVariances(
            {
                kind: VarianceParts(part.data[chosen[kind]], part.prior[chosen[kind]])
                for kind, part in self.parts.items()
            }
        )

    @classmethod
    def join(cls, parts: Sequence[TargetVariances]) -> TargetVariances:
        """Those of frames one part after another."""
        joined = {}
        for kind in parts[0].parts:
            if all(kind in part.parts for part in parts):
                data, prior = zip(*((part.parts[kind].data, part.parts[kind].prior) for part in parts), strict=True)
                joined[kind] = VarianceParts(np.concatenate(data), np.concatenate(prior))
        return cls(joined)


@dataclass(frozen=True, eq=False)
class TargetRows:
    """What the covariances of some frames' targets are made of, by kind; c components each."""

    rows: dict[str, FloatArray]  # (n, c, M), design rows
    hidden: dict[str, FloatArray]  # (n, c, p), factors of the prior residual of terms that are not atomic, eV
    prior: dict[str, FloatArray]  # (n, c, c), prior covariance of the atomic terms, eV^2

    @classmethod
    def of(
        cls, applied: AppliedBasis, posterior: Posterior, kinds: Collection[str], prior_of: BoolArray,
        n_jobs: int | None = 1,
    ) -> TargetRows:  # fmt: skip
        """Targets of a batch; forces of the mask `prior_of` of atoms, energy and virial of their frames get a prior."""
        rows = target_rows(applied, kinds, n_jobs=n_jobs)
        extra = ResidualBasis.of(applied, posterior) if prior_of.any() else None
        n_columns = 0 if extra is None else extra.applied.basis.n_columns
        hidden = {kind: np.zeros((*part.shape[:2], n_columns)) for kind, part in rows.items()}
        if extra is not None:
            for kind, part in target_rows(extra.applied, kinds).items():
                flat = rows[kind].reshape(-1, applied.basis.n_columns)
                hidden[kind] = extra.whiten(part.reshape(-1, n_columns), flat).T.reshape(part.shape)
        prior = {kind: np.zeros((len(part), part.shape[1], part.shape[1])) for kind, part in rows.items()}
        for found in functionals(applied, posterior, kinds, prior_of):
            prior[found.kind][found.index] += found.covariance(found)
        return cls(rows, hidden, prior)

    def residual(self, basis: SparseBasis, posterior: Posterior, kind: str, which: IntArray) -> tuple[FloatArray, int]:
        """Prior residuals (n, c, c) of some targets of a kind, and how many were clipped."""
        rows = self.rows[kind][which]
        seen = inner(seen_by_points(basis, posterior, rows.reshape(-1, basis.n_columns)), rows.shape)
        prior, hidden = self.prior[kind][which], self.hidden[kind][which]
        residual, n_clipped = clipped(prior - seen, prior)
        return residual + hidden @ hidden.transpose(0, 2, 1), n_clipped


def target_rows(
    applied: AppliedBasis, kinds: Collection[str], *, single: bool = False, n_jobs: int | None = 1
) -> dict[str, FloatArray]:
    """Design rows (n, c, M) by kind, energies among them; large frames in parts, options as for `design_rows`."""
    parts = frame_parts(applied.batch, max(ATOMS_OF_A_FRAME, NUMBERS_OF_ROWS // (3 * applied.basis.n_columns)))
    made = [design_rows(applied, kinds, atoms=atoms, single=single, n_jobs=n_jobs).rows for atoms in parts]
    pieces = {kind: [rows[kind] for rows in made] for kind in made[0]}
    place = [atoms for atoms in parts if atoms is not None]
    order = np.argsort(np.concatenate(place)) if place else slice(None)
    return {
        kind: np.concatenate(found)[order] if TARGETS[kind].per_atom else sum(found[1:], found[0])
        for kind, found in pieces.items()
    }


def seen_by_points(basis: SparseBasis, posterior: Posterior, rows: FloatArray) -> FloatArray:
    """Delta L^-1 phi^T of the atomic terms, (m, n): columns whose inner products the sparse points take away, eV^2."""
    white = [np.zeros((0, len(rows)))]
    for block in basis.blocks:
        if block.is_atomic:
            L, phi = posterior.prior[block.index].L, rows[:, block.columns]
            part = np.array(phi.T, order="F")
            solve_lower(L, part)
            white.append(part * np.sqrt(posterior.variance_scale(block.index)))
    return np.concatenate(white)


@dataclass(frozen=True, eq=False)
class TargetFunctional:
    """A target as a functional of the function of one block."""

    kind: str
    index: int  # frame of an energy or virial, atom of a force
    block: SparseBlock  # with the engine of all features: what a truncated one leaves out is a part of the prior, too
    scale: float  # delta^2, eV^2
    functional: Functional

    def covariance(self, other: TargetFunctional) -> FloatArray:
        """Prior covariance (T, T') with another of the same block, eV^2."""
        return self.scale * prior_covariance(self.block.kernel, self.functional, other.functional)


def functionals(
    applied: AppliedBasis, posterior: Posterior, kinds: Collection[str], wanted: BoolArray
) -> Iterator[TargetFunctional]:
    """Functionals of the atomic terms: forces of the atoms of the mask `wanted`, energy and virial of their frames."""
    batch, neighbours = applied.batch, applied.neighbours
    for term in applied.basis.terms if wanted.any() else ():
        if not (term.engine.is_atomic and term.blocks):
            continue
        engine = term.engine.whole
        scale = posterior.variance_scale(term.blocks[0].index)
        view = engine.view(batch.numbers, neighbours)
        for like in (*term.blocks, *term.unseen_blocks):
            block = replace(like, engine=engine)
            centres = view.centres(block.species)
            for frame in np.unique(batch.frame_of_atom[wanted]):
                own = between(centres, batch.offsets[frame], batch.offsets[frame + 1])
                for kind, functional in _of_frame(view, block, own, neighbours, virial="virial" in kinds):
                    yield TargetFunctional(kind, frame, block, scale, functional)
            for part in frame_parts(batch, ATOMS_OF_A_FRAME) if "forces" in kinds else ():
                atoms = np.flatnonzero(wanted) if part is None else part[wanted[part]]
                if len(atoms) == 0:
                    continue
                seeing = centres_seeing(atoms, neighbours, engine.n_layers)
                found = InstanceDerivatives.of(chunks(view, block, np.intersect1d(centres, seeing, assume_unique=True)))
                for atom, functional in () if found is None else found.forces(atoms, neighbours):
                    yield TargetFunctional("forces", atom, block, scale, functional)


def _of_frame(
    view: View, block: SparseBlock, centres: IntArray, neighbours: NeighbourList, *, virial: bool
) -> Iterator[tuple[str, Functional]]:
    """Energy and virial of a frame, as far as they depend on the instances of a block with these centres."""
    parts: dict[str, list[Functional]] = {"energy": [], "virial": []}
    for chunk in chunks(view, block, centres):
        parts["energy"].append(Functional(np.array(chunk.x), chunk.features.factors[None]))
        found = InstanceDerivatives.of([chunk]) if virial else None
        part = None if found is None else found.virial(neighbours)
        parts["virial"] += [] if part is None else [part]
    yield from ((kind, Functional.join(of_kind)) for kind, of_kind in parts.items() if of_kind)


def target_variances(
    applied: AppliedBasis, posterior: Posterior, *, kinds: Collection[str] = ("forces", "virial"),
    prior_of: BoolArray | None = None, n_jobs: int | None = None,
) -> TargetVariances:  # fmt: skip
    """Posterior covariances of the energy and these targets of a batch.

    `prior_of` (n_atoms,) is a mask of atoms: their forces, and energy and virial of their frames, get a prior residual,
    which is zero for the others.  A VarianceWarning counts those that were negative by more than rounding.
    """
    batch = applied.batch
    spans = list(frame_chunks(batch, ATOMS_PER_CHUNK))
    n_inside = max(1, resolve_n_jobs(n_jobs) // len(spans))  # a single structure is shared by all threads

    def of_chunk(frames: range) -> tuple[TargetVariances, int]:
        part, own = applied.of_frames(frames), slice(int(batch.offsets[frames.start]), int(batch.offsets[frames.stop]))
        chosen = np.ones(own.stop - own.start, bool) if prior_of is None else prior_of[own]
        targets, atoms = TargetRows.of(part, posterior, kinds, chosen, n_inside), np.flatnonzero(chosen)
        found, n_clipped = {}, 0
        for kind, rows in targets.rows.items():
            some = [rows[start : start + TARGETS_AT_ONCE] for start in range(0, len(rows), TARGETS_AT_ONCE)]
            data = np.concatenate(map_blocks(data_part, some, n_inside))
            unseen = np.zeros_like(data)
            which = atoms if TARGETS[kind].per_atom else np.unique(part.batch.frame_of_atom[atoms])
            if len(which) and kind not in FUNCTIONALS:
                unseen[which], n = targets.residual(part.basis, posterior, kind, which)
                n_clipped += n
            found[kind] = VarianceParts(data, unseen)
        return TargetVariances(found), n_clipped

    def data_part(rows: FloatArray) -> FloatArray:
        return inner(posterior.whiten(rows.reshape(-1, rows.shape[2])), rows.shape)

    found = map_blocks(of_chunk, spans, n_jobs)
    warn_of_clipped(sum(n for _, n in found))
    return TargetVariances.join([part for part, _ in found])


def covariance_of(applied: AppliedBasis, posterior: Posterior, kinds: Sequence[str]) -> FloatArray:
    """Posterior covariances (n, n) of all targets of a batch with each other, kind after kind."""
    data, prior = covariance_parts(applied, posterior, kinds)
    return data + prior


def covariance_parts(
    applied: AppliedBasis, posterior: Posterior, kinds: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """Their data part and their prior residual, (n, n) each."""
    basis, everything = applied.basis, np.ones(applied.batch.n_atoms, bool)
    targets = TargetRows.of(applied, posterior, kinds, everything)
    starts, start = {}, 0
    for kind in kinds:
        starts[kind], start = start, start + targets.rows[kind][..., 0].size
    prior = np.zeros((start, start))
    found = (one for one in functionals(applied, posterior, kinds, everything) if one.kind in starts)
    for _, of_block in groupby(found, lambda one: (one.block.term, one.block.species)):
        parts = []
        for one in of_block:
            at = starts[one.kind] + one.index * one.functional.n_targets
            parts.append((slice(at, at + one.functional.n_targets), one))
        for n, (rows, one) in enumerate(parts):
            for columns, other in parts[n:]:
                part = one.covariance(other)
                prior[rows, columns] += part
                if columns != rows:
                    prior[columns, rows] += part.T
    flat = np.concatenate([targets.rows[kind].reshape(-1, basis.n_columns) for kind in kinds])
    n_hidden = targets.hidden["energy"].shape[2]
    hidden = np.concatenate([np.zeros((0, n_hidden)), *(row for kind in kinds for row in targets.hidden[kind])])
    white, seen = posterior.whiten(flat), seen_by_points(basis, posterior, flat)
    residual, n_clipped = clipped((prior - seen.T @ seen)[None], prior[None])
    warn_of_clipped(n_clipped)
    return np.asarray(white.T @ white), np.asarray(residual[0] + hidden @ hidden.T)


def inner(white: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Covariances (n, c, c) from whitened columns (m, n * c)."""
    columns = white.T.reshape(shape[0], shape[1], -1)
    return np.asarray(columns @ columns.transpose(0, 2, 1))


def clipped(residual: FloatArray, prior: FloatArray) -> tuple[FloatArray, int]:
    """Residual covariances (n, c, c) without negative eigenvalues; how many had any by more than rounding."""
    values, vectors = np.linalg.eigh(residual)
    # of the largest prior: at symmetric sites that of a force is zero itself
    limit = ROUNDING * np.einsum("ncc->n", prior).max(initial=0.0) + SMALLEST
    n_clipped = int(np.count_nonzero(values[:, 0] < -limit))
    negative = values[:, 0] < 0.0
    out = residual.copy()
    kept = np.maximum(values[negative], 0.0)
    out[negative] = np.einsum("nab,nb,ncb->nac", vectors[negative], kept, vectors[negative])
    return out, n_clipped


def warn_of_clipped(n_clipped: int) -> None:
    """Say that prior residuals were negative."""
    if n_clipped:
        warnings.warn(
            f"{n_clipped} prior residual covariances had negative eigenvalues, which were set to zero; K_MM is "
            "ill-conditioned",
            VarianceWarning,
            stacklevel=3,
        )
