"""Updates of a fitted model: further frames, further sparse points, or both, equal to a fit with all of them.

Noise, kernel scales and reference energies of known species stay as they are.  New points need new columns of all old
rows.  Kept rows (see `KeptRows`) give them for the price of the new columns; without them the rows of the training
frames are made again, and folded again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gapkit.descriptors.species import check_species
from gapkit.exceptions import InputError
from gapkit.gp.basis import SparseBasis
from gapkit.gp.extension import change_of_features, extend_basis
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.instances import AppliedBasis, local_vectors
from gapkit.neighbours import build_neighbour_list
from gapkit.parallel import limit_blas
from gapkit.potential.error_bars.extrapolation import closest_pairs
from gapkit.potential.error_bars.learn import learn_uncertainty
from gapkit.potential.metadata import training_digest, training_set
from gapkit.potential.model import SparseModel
from gapkit.potential.state import FittedState
from gapkit.potential.training.estimate import Resources
from gapkit.potential.training.new_points import NewPoints, Number, choose_points, grow_energies, scales_of_terms
from gapkit.potential.training.rows import RowMaker
from gapkit.sparse import SparseSelector
from gapkit.structures import AtomsBatch, concatenate
from gapkit.terms.known import KnownEnergy
from gapkit.typing import FloatArray


@dataclass(frozen=True)
class Update:
    """What is wanted of an update; names are those of `GAP.partial_fit`, and the truncation of the fit."""

    n_new: Number | None = None
    selector: SparseSelector | None = None
    reference_energies: Mapping[str, float] | None = None
    calibrate: bool = False
    truncation: float = 0.0

    def apply(
        self, state: FittedState, found: AtomsBatch | NewPoints, labelled: AtomsBatch | None,
        training: AtomsBatch | None, rng: np.random.Generator, resources: Resources,
    ) -> FittedState:  # fmt: skip
        """Labelled frames, and sparse points given or among the environments found.

        `training`: all frames so far, where the model keeps none.
        """
        known, new = state.known, found if isinstance(found, NewPoints) else None
        if isinstance(found, AtomsBatch) and (self.n_new is not None or labelled is None):
            if set(found.species) - set(state.species):
                known = grow_energies(state, found, self.reference_energies)
            new = choose_points(state, found, self.n_new, self.selector, rng)
        updated = state
        if new is not None and not (not any(new.points) and (labelled is None or known is state.known)):
            updated = add_points(state, new, known, self.truncation, resources, labelled=labelled, training=training)
        elif labelled is not None:
            if self.n_new is None and self.selector is not None:
                raise InputError("`selector` needs the number of points, `n_new`")
            check_species(labelled.species, state.species)
            updated = add_frames(state, labelled, resources)
        if labelled is not None and new is not None:
            updated = remember(updated, labelled)
        if not self.calibrate:
            return updated
        frames = updated.rows.batch if updated.rows is not None else training_batch(state, training)
        if updated.rows is None and labelled is not None:
            frames = concatenate([frames, labelled])
        begin = time.perf_counter()
        updated = learn_uncertainty(updated, frames, rng, resources.n_jobs)
        learned = {"calibrate": round(time.perf_counter() - begin, 3), "n_frames": frames.n_frames}
        return replace(updated, metadata={**updated.metadata, "calibrated": learned})


def training_batch(state: FittedState, batch: AtomsBatch | None) -> AtomsBatch:
    """The frames of the fit and of all updates: kept ones, or `batch` after a check."""
    if state.rows is not None:
        return state.rows.batch
    if batch is None:
        raise InputError(
            "this needs the frames that the model was fitted to, and this model does not keep them: pass them as "
            "`training_frames`, or fit with `keep_rows`"
        )
    parts = _parts(state)
    stops = np.cumsum([part.get("n_frames", 0) for part in parts])
    digests = [
        training_digest(batch.select(np.arange(stop - part.get("n_frames", 0), stop)))
        for part, stop in zip(parts, stops, strict=True)
        if stop <= batch.n_frames
    ]
    if stops[-1] != batch.n_frames or digests != [part.get("sha256") for part in parts]:
        raise InputError(
            f"`training_frames` must be the {stops[-1]} frames that the model was fitted to, and those of each "
            f"`partial_fit`, in the same order, got {batch.n_frames} frames that are not the same"
        )
    return batch


def n_training_frames(state: FittedState) -> int:
    """Frames of the fit and of all updates."""
    return sum(part.get("n_frames", 0) for part in _parts(state))


def _parts(state: FittedState) -> list[dict[str, Any]]:
    """Digest and size of the training set of the fit, and of each update."""
    return [state.metadata.get("training_set", {}), *state.metadata.get("partial_fit", [])]


def add_frames(state: FittedState, batch: AtomsBatch, resources: Resources) -> FittedState:
    """Further labelled frames of known species, the sparse points staying as they are."""
    if state.rows is not None:
        rows = state.rows.with_frames(state.row_maker, batch, resources)
        factors = rows.model_factors()
    else:
        factors = {kind: factor.copy() for kind, factor in state.factors_for("`partial_fit`").items()}
        rows = None
        state.row_maker.fold(batch, factors, resources)
    with limit_blas(resources.n_jobs, state.sparse.basis.n_columns):
        state = replace(state.solved(factors), rows=rows)
    return _noted(state, "partial_fit", training_set(batch))


def add_points(
    state: FittedState, new: NewPoints, known: KnownEnergy, tolerance: float, resources: Resources, *,
    labelled: AtomsBatch | None = None, training: AtomsBatch | None = None,
) -> FittedState:  # fmt: skip
    """Further sparse points and, with them, labelled frames; `known` with reference energies of new species."""
    times = [time.perf_counter()]
    vectors = [{block: found.x for block, found in of_term.items()} for of_term in new.points]
    extension = extend_basis(state.sparse.basis, new.grown, vectors, tolerance)
    basis, scales = extension.basis, scales_of_terms(state)
    maker = RowMaker(basis, known, state.given_noise)
    rows = state.rows
    factors: dict[str, TriangularFactor] = {}
    if rows is not None:
        rows = rows.with_columns(extension, state.given_noise, resources.n_jobs)
        if labelled is not None:
            rows = rows.with_frames(maker, labelled, resources)
        factors = rows.model_factors()
    else:
        maker.fold(training_batch(state, training), factors, resources)
        if labelled is not None:
            maker.fold(labelled, factors, resources)
    times.append(time.perf_counter())
    with limit_blas(resources.n_jobs, basis.n_columns):
        of_block = [scales[term] for term in basis.term_of_block]
        sparse, evidence = SparseModel.solve(basis, basis.prior(), factors, state.noise, of_block)
    times.append(time.perf_counter())
    frames, atoms = new.origins(extension.added)
    origins, origin_atoms = np.empty((2, basis.n_columns), dtype=int)
    origins[extension.old_columns], origin_atoms[extension.old_columns] = state.origins, state.origin_atoms
    origins[extension.new_columns] = np.where(frames < 0, -1, frames + n_training_frames(state))
    origin_atoms[extension.new_columns] = atoms
    steps = dict(zip(("rows", "solve"), np.diff(times).round(3).tolist(), strict=True))
    entry: dict[str, Any] = {"new_points": extension.added.n_columns, "seconds": steps}
    kind = "extend"
    if labelled is not None:
        kind, entry = "partial_fit", training_set(labelled) | entry
    state = replace(
        _with_old_axes(state, extension.basis, new), sparse=sparse, known=known, origins=origins,
        origin_atoms=origin_atoms, factors=factors, rows=rows, log_marginal_likelihood=evidence,
    )  # fmt: skip
    return _noted(state, kind, entry)


def remember(state: FittedState, batch: AtomsBatch) -> FittedState:
    """Neighbourhoods and pairs of further training frames are no longer far from all data; thresholds stay."""
    detector = state.detector
    if detector is None:
        return state
    neighbours = build_neighbour_list(batch, state.reach)
    first = n_training_frames(state) - batch.n_frames
    vectors = local_vectors(AppliedBasis.of(state.sparse.basis, batch, neighbours))
    pairs = closest_pairs(batch, neighbours)
    return replace(state, detector=detector.with_known(vectors, batch.frame_of_atom, batch.n_frames, first, pairs))


def _with_old_axes(state: FittedState, basis: SparseBasis, new: NewPoints) -> FittedState:
    """Detector and calibration for the vectors of another basis: whitened coordinates stay what they were."""
    maps: dict[int, FloatArray] = {}
    for term, wider, (engine, indices) in zip(state.sparse.basis.terms, basis.terms, new.grown, strict=True):
        if term.engine.is_atomic:
            blocks = {block.species: block for block in wider.blocks}
            maps = {
                block.species[0]: change_of_features(block, blocks[block.species], indices, engine.n_features)
                for block in term.blocks
            }
            break
    detector, calibration = state.detector, state.calibration
    return replace(
        state, detector=detector and detector.turned(maps), calibration=calibration and calibration.turned(maps)
    )


def _noted(state: FittedState, kind: str, entry: Mapping[str, Any]) -> FittedState:
    return replace(state, metadata={**state.metadata, kind: [*state.metadata.get(kind, []), dict(entry)]})
