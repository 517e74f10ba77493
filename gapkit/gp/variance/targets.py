"""Posterior covariances of energies, forces and virials: the data part and what the sparse points cannot see.

For targets with rows phi, and functionals of every block with prior covariance K (`functionals`),

    data part        phi C phi^T,  C = (R^T R)^-1 the posterior covariance of the weights,
    prior residual   sum over blocks of delta^2 (K - phi (L L^T)^-1 phi^T).

Both are matrices where a target has several components: 3 x 3 for the force of an atom, 6 x 6 for a virial.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from gapkit.descriptors.base import Block, Engine, View
from gapkit.exceptions import VarianceWarning
from gapkit.gp.basis import BasisTerm, SparseBasis
from gapkit.gp.chunks import frame_chunks, frame_parts
from gapkit.gp.posterior import Posterior
from gapkit.gp.rows import centres_seeing, design_rows, views_of
from gapkit.gp.variance.functionals import Functional, Instances, prior_covariance
from gapkit.gp.variance.prior_residual import ResidualBasis
from gapkit.kernels.base import GapKernel
from gapkit.neighbours import NeighbourList, build_neighbour_list
from gapkit.parallel import map_blocks
from gapkit.structures import AtomsBatch
from gapkit.typing import BoolArray, FloatArray, IntArray

# A prior residual below zero by more than this part of the prior is reported.  Less is rounding, with matrices K_MM as
# ill-conditioned as those of smooth kernels are: residual stds below some 0.003 of the prior's are not resolved.
ROUNDING = 1e-5
SMALLEST = 1e-10  # (eV, eV/Å)^2
# Atoms of small frames that are taken together, and of a frame whose derivatives are held together.
ATOMS_PER_CHUNK = 48
ATOMS_OF_A_FRAME = 256
# Numbers in the rows of the parts of a large frame.
NUMBERS_OF_ROWS = 25_000_000


@dataclass(frozen=True, eq=False)
class VarianceParts:
    """The two parts of the covariances of one kind of target.

    Attributes
    ----------
    data : ndarray (n, c, c)
        What the weights still have after the data; the square of the target's unit.
    prior : ndarray (n, c, c)
        Prior residual: what the sparse points cannot see.
    """

    data: FloatArray
    prior: FloatArray

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
    """Posterior covariances of the targets of a batch.

    Attributes
    ----------
    energy : VarianceParts
        (n_frames, 1, 1), eV^2, of total energies.
    forces : VarianceParts or None
        (n_atoms, 3, 3), (eV/Å)^2.
    virial : VarianceParts or None
        (n_frames, 6, 6), eV^2, order xx, yy, zz, yz, xz, xy.
    """

    energy: VarianceParts
    forces: VarianceParts | None
    virial: VarianceParts | None


@dataclass(frozen=True, eq=False)
class TargetRows:
    """What the covariances of some frames' targets are made of, by kind; c components each.

    Attributes
    ----------
    rows : dict of str to ndarray (n, c, M)
        Design rows, in double precision.
    hidden : dict of str to ndarray (n, c, p)
        Factors of the prior residual of terms that are not atomic, eV.
    prior : dict of str to ndarray (n, c, c)
        Prior covariance of the atomic terms, eV^2.
    """

    rows: dict[str, FloatArray]
    hidden: dict[str, FloatArray]
    prior: dict[str, FloatArray]

    @classmethod
    def of(
        cls, basis: SparseBasis, posterior: Posterior, batch: AtomsBatch, neighbours: NeighbourList, *,
        forces: bool, virial: bool, prior_of: BoolArray | None = None, single: bool = False,
    ) -> TargetRows:  # fmt: skip
        """Targets of a batch; large frames in parts.

        Parameters
        ----------
        prior_of : ndarray (n_atoms,) of bool or None
            The atoms whose forces, and the frames of which any atom's energy and virial, get a prior; None: all.
        single : bool
            Rows as a fit makes them, small features in single precision.
        """
        views = views_of(basis, batch, neighbours)
        prior_of = np.ones(batch.n_atoms, bool) if prior_of is None else prior_of
        extra = ResidualBasis.of(basis, posterior, views, neighbours) if prior_of.any() else None
        rows = _rows(basis, views, batch, neighbours, forces=forces, virial=virial, single=single)
        n_columns = 0 if extra is None else extra.basis.n_columns
        hidden = {kind: np.zeros((*part.shape[:2], n_columns)) for kind, part in rows.items()}
        if extra is not None:
            more = _rows(extra.basis, extra.views, batch, neighbours, forces=forces, virial=virial, single=False)
            for kind, part in more.items():
                flat = rows[kind].reshape(-1, basis.n_columns)
                hidden[kind] = extra.whiten(part.reshape(-1, n_columns), flat).T.reshape(part.shape)
        prior = {kind: np.zeros((len(part), part.shape[1], part.shape[1])) for kind, part in rows.items()}
        for term, _, scale, kind, i, functional in functionals(
            basis, posterior, batch, neighbours, prior_of, forces=forces, virial=virial
        ):
            prior[kind][i] += scale * prior_covariance(term.kernel, functional, functional)
        return cls(rows, hidden, prior)

    def residual(self, basis: SparseBasis, posterior: Posterior, kind: str, which: IntArray) -> tuple[FloatArray, int]:
        """Prior residuals (n, c, c) of some targets of a kind, and how many were clipped."""
        rows = self.rows[kind][which]
        seen = inner(seen_by_points(basis, posterior, rows.reshape(-1, basis.n_columns)), rows.shape)
        prior, hidden = self.prior[kind][which], self.hidden[kind][which]
        residual, n_clipped = clipped(prior - seen, prior)
        return residual + hidden @ hidden.transpose(0, 2, 1), n_clipped


def _rows(
    basis: SparseBasis, views: list[View], batch: AtomsBatch, neighbours: NeighbourList, *, forces: bool, virial: bool,
    single: bool,
) -> dict[str, FloatArray]:  # fmt: skip
    """Design rows (n, c, M) by kind; large frames in parts."""
    kinds: dict[str, list[FloatArray]] = {}
    parts = frame_parts(batch, max(ATOMS_OF_A_FRAME, NUMBERS_OF_ROWS // (3 * basis.n_columns)))
    for atoms in parts:
        part = design_rows(
            basis, views, batch, neighbours, range(batch.n_frames), forces=forces, virial=virial, atoms=atoms,
            single=single,
        )  # fmt: skip
        kinds.setdefault("energy", []).append(part.energy[:, None])
        if part.forces is not None:
            kinds.setdefault("forces", []).append(part.forces)
        if part.virial is not None:
            kinds.setdefault("virial", []).append(part.virial)
    found = {kind: sum(pieces[1:], pieces[0]) for kind, pieces in kinds.items() if kind != "forces"}
    if forces:
        joined = np.concatenate(kinds["forces"])
        order = [atoms for atoms in parts if atoms is not None]
        found["forces"] = joined[np.argsort(np.concatenate(order))] if order else joined
    return found


def seen_by_points(basis: SparseBasis, posterior: Posterior, rows: FloatArray) -> FloatArray:
    """Delta L^-1 phi^T of the atomic terms, (m, n): columns whose inner products the sparse points take away, eV^2."""
    white = [np.zeros((0, len(rows)))]
    index = -1
    for term in basis.terms:
        for block in term.blocks:
            index += 1
            if term.engine.is_atomic:
                part = solve_triangular(posterior.prior[index].L, rows[:, block.columns].T, lower=True)
                white.append(part * np.sqrt(posterior.variance_scale(index)))
    return np.concatenate(white)


def functionals(
    basis: SparseBasis, posterior: Posterior, batch: AtomsBatch, neighbours: NeighbourList, wanted: BoolArray, *,
    forces: bool, virial: bool,
) -> Iterator[tuple[BasisTerm, Block, float, str, int, Functional]]:  # fmt: skip
    """Functionals of atomic terms: term, block, delta^2, kind of target, its index, functional.

    Of the forces of the atoms `wanted`, a mask, and of the energy and virial of the frames that have such atoms.

    Their features are whole: what a truncated engine leaves out is a part of the prior, too.
    """
    for term, engine, scale in _atomic(basis, posterior):
        view = engine.view(batch.numbers, neighbours)
        for block in engine.blocks:
            centres = view.centres(block)
            for frame in np.unique(batch.frame_of_atom[wanted]):
                own = centres[np.searchsorted(centres, batch.offsets[frame]) :]
                own = own[: np.searchsorted(own, batch.offsets[frame + 1])]
                for kind, functional in _of_frame(term, view, block, own, neighbours, virial=virial):
                    yield term, block, scale, kind, frame, functional
            if forces:
                for part in frame_parts(batch, ATOMS_OF_A_FRAME):
                    atoms = np.flatnonzero(wanted) if part is None else part[wanted[part]]
                    involved = centres if part is None else np.intersect1d(centres, centres_seeing(atoms, neighbours))
                    instances = Instances.collect(term, view, block, involved) if len(atoms) else None
                    if instances is not None:
                        for i, functional in instances.forces(atoms, neighbours):
                            yield term, block, scale, "forces", i, functional


def _atomic(basis: SparseBasis, posterior: Posterior) -> Iterator[tuple[BasisTerm, Engine, float]]:
    """Atomic terms with the engine of all features and their delta^2."""
    index = 0
    for term in basis.terms:
        if term.engine.is_atomic and term.blocks:
            yield term, term.engine.whole, posterior.variance_scale(index)
        index += len(term.blocks)


def _of_frame(
    term: BasisTerm, view: View, block: Block, centres: IntArray, neighbours: NeighbourList, *, virial: bool
) -> Iterator[tuple[str, Functional]]:
    """Energy and virial of a frame, as far as they depend on the instances of a block with these centres."""
    energies, virials = [], []
    for start in range(0, len(centres), view.centres_per_chunk):
        chunk = centres[start : start + view.centres_per_chunk]
        if virial:
            instances = Instances.collect(term, view, block, chunk)
            if instances is not None:
                energies.append(Functional(instances.x, instances.factors[None]))
                part = instances.virial(neighbours)
                if part is not None:
                    virials.append(part)
            continue
        features = view.features(block, chunk)
        if len(features.x):
            energies.append(Functional(np.array(term.kernel.scale_features(features.x)), features.factors[None]))
    if energies:
        yield "energy", Functional.join(energies)
    if virials:
        yield "virial", Functional.join(virials)


def target_variances(
    basis: SparseBasis, posterior: Posterior, batch: AtomsBatch, reach: float, *, forces: bool = True,
    virial: bool = True, prior_of: BoolArray | None = None, n_jobs: int | None = None,
) -> TargetVariances:  # fmt: skip
    """Posterior covariances of all targets of a batch.

    Parameters
    ----------
    reach : float
        Longest edge, Å.
    forces, virial : bool
        Which of the derivatives are wanted.
    prior_of : ndarray (n_atoms,) of bool or None
        The atoms whose forces, and the frames of which any atom's energy and virial, get their prior residual; it is
        zero for the others.  None: all.

    Warns
    -----
    VarianceWarning
        If prior residuals were negative by more than rounding and had to be clipped; the message counts them.
    """
    chunks = list(frame_chunks(batch, ATOMS_PER_CHUNK))

    def of_chunk(frames: range) -> tuple[dict[str, VarianceParts], int]:
        part = batch.select(np.arange(frames.start, frames.stop))
        own = slice(int(batch.offsets[frames.start]), int(batch.offsets[frames.stop]))
        chosen = np.ones(part.n_atoms, bool) if prior_of is None else prior_of[own]
        targets = TargetRows.of(
            basis, posterior, part, build_neighbour_list(part, reach), forces=forces, virial=virial, prior_of=chosen
        )
        found, n_clipped = {}, 0
        for kind, rows in targets.rows.items():
            data = inner(posterior.whiten(rows.reshape(-1, basis.n_columns)), rows.shape)
            unseen = np.zeros_like(data)
            which = np.flatnonzero(chosen) if kind == "forces" else np.unique(part.frame_of_atom[chosen])
            if len(which):
                unseen[which], n = targets.residual(basis, posterior, kind, which)
                n_clipped += n
            found[kind] = VarianceParts(data, unseen)
        return found, n_clipped

    results = map_blocks(of_chunk, chunks, n_jobs)
    warn_of_clipped(sum(n for _, n in results))
    joined = {
        kind: VarianceParts(
            np.concatenate([found[kind].data for found, _ in results]),
            np.concatenate([found[kind].prior for found, _ in results]),
        )
        for kind in results[0][0]
    }
    return TargetVariances(joined["energy"], joined.get("forces"), joined.get("virial"))


def covariance_of(
    basis: SparseBasis, posterior: Posterior, batch: AtomsBatch, reach: float, kinds: tuple[str, ...]
) -> FloatArray:
    """Posterior covariances (n, n) of all targets of a batch with each other, kind after kind."""
    neighbours = build_neighbour_list(batch, reach)
    wanted = {kind: kind in kinds for kind in ("forces", "virial")}
    targets = TargetRows.of(basis, posterior, batch, neighbours, forces=wanted["forces"], virial=wanted["virial"])
    starts, start = {}, 0
    for kind in kinds:
        starts[kind], start = start, start + targets.rows[kind][..., 0].size
    prior = np.zeros((start, start))
    by_block: dict[tuple[int, Block], list[tuple[slice, GapKernel, float, Functional]]] = {}
    everything = np.ones(batch.n_atoms, bool)
    for term, block, scale, kind, i, part in functionals(
        basis, posterior, batch, neighbours, everything, forces=wanted["forces"], virial=wanted["virial"]
    ):
        if kind in starts:
            at = starts[kind] + i * part.n_targets
            where = slice(at, at + part.n_targets)
            by_block.setdefault((id(term), block), []).append((where, term.kernel, scale, part))
    for parts in by_block.values():
        for n, (rows, kernel, scale, one) in enumerate(parts):
            for columns, _, _, other in parts[n:]:
                found = scale * prior_covariance(kernel, one, other)
                prior[rows, columns] += found
                if columns != rows:
                    prior[columns, rows] += found.T
    flat = np.concatenate([targets.rows[kind].reshape(-1, basis.n_columns) for kind in kinds])
    n_hidden = targets.hidden["energy"].shape[2]
    hidden = np.concatenate([np.zeros((0, n_hidden)), *(row for kind in kinds for row in targets.hidden[kind])])
    white, seen = posterior.whiten(flat), seen_by_points(basis, posterior, flat)
    residual, n_clipped = clipped((prior - seen.T @ seen)[None], prior[None])
    warn_of_clipped(n_clipped)
    return np.asarray(white.T @ white + residual[0] + hidden @ hidden.T)


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
