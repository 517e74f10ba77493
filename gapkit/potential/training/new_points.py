"""Choice of sparse points for a fitted model: the environments that it knows least of, or those that a user gives."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase.data import chemical_symbols

from gapkit.descriptors.base import Block, Engine
from gapkit.exceptions import DataWarning, InputError, NotFittedModelError
from gapkit.gp.basis import SparseBasis, SparseBlock
from gapkit.gp.extension import extend_basis, most_novel
from gapkit.options.kinds import Count
from gapkit.potential.state import FittedState
from gapkit.potential.training.reference_energies import by_number, energies_of_isolated, with_new_species
from gapkit.potential.training.sparse_points import Environments, sample_environments
from gapkit.sparse import SparseSelector, allocate
from gapkit.structures import AtomsBatch, describe
from gapkit.terms.known import KnownEnergy
from gapkit.typing import FloatArray, IntArray

# Novelty below which an environment is as good as a sparse point: K_MM is regularised by 1e-10.
LEAST_NOVELTY = 1e-9
# The most points of a block that are taken because they are novel.
MOST_NOVEL = 2000

Number = Count | Literal["novel"]
"""How many sparse points: a number, or all whose novelty is above the threshold of the model."""

# Sparse points of a block, and the Cholesky factor of their K_MM.
_Known = tuple[SparseBlock, FloatArray]
# Index of a term, and one of its blocks.
_Key = tuple[int, Block]


@dataclass(frozen=True, eq=False)
class NewPoints:
    """Sparse points to be added to a model."""

    grown: Sequence[tuple[Engine, IntArray]]  # of every term, and where the features of the old engine are among its
    points: Sequence[Mapping[Block, Environments]]  # of every term

    def origins(self, added: SparseBasis) -> tuple[IntArray, IntArray]:
        """Frame of the batch, and atom in it, (p,) each, of every column of the new points' basis; -1: none."""
        parts = [
            of_term[block.species]
            for term, of_term in zip(added.terms, self.points, strict=True)
            for block in term.blocks
        ]
        none = np.zeros(0, int)
        frames = np.concatenate([none, *(part.frames for part in parts)])
        return frames, np.concatenate([none, *(part.atoms for part in parts)])


def scales_of_terms(state: FittedState) -> list[float]:
    """Delta of every term in eV, that of its kernel where it has no points."""
    return [
        scale if np.isfinite(scale) else float(term.resolved_kernel().delta)
        for term, scale in zip(state.terms, state.scales, strict=True)
    ]


def grow_engines(state: FittedState, species: Sequence[int]) -> list[tuple[Engine, IntArray]]:
    """Engines of all terms for the species of the model and more, and where the old features are among theirs."""
    union = tuple(sorted({*state.species, *species}))
    grown = []
    for term, basis in zip(state.terms, state.sparse.basis.terms, strict=True):
        old, new = (term.descriptor.resolve_species(found) for found in (state.species, union))
        same = basis.engine, np.arange(basis.engine.n_features)
        grown.append(same if old == new else basis.engine.grow(term.descriptor.engine(new)))
    return grown


def grow_energies(state: FittedState, batch: AtomsBatch, given: Mapping[str, float] | None) -> KnownEnergy:
    """Reference energies of new species: given, of isolated atoms in the batch, or by least squares."""
    isolated = energies_of_isolated(batch, batch.all_labels.energy, describe(batch).isolated_atoms)
    found = with_new_species(batch, isolated | by_number(given or {}) | dict(state.known.reference))
    return KnownEnergy({**found, **state.known.reference}, state.known.terms)


def choose_points(
    state: FittedState, batch: AtomsBatch, n_new: Number | None, selector: SparseSelector | None,
    rng: np.random.Generator,
) -> NewPoints:  # fmt: skip
    """Sparse points among the environments of a batch.

    Without a selector a point is the environment with the largest prior residual (eV^2) given the points before it,
    over all terms; with one, points are those of the atomic terms.
    """
    if n_new == "novel":
        if selector is not None:
            raise InputError('`selector` needs a number of points `n_new`, got "novel"')
        if state.detector is None:
            raise NotFittedModelError(
                '`n_new="novel"` needs thresholds of novelty, which this model does not have; give a number, or fit '
                'with `calibration="leave-one-out"`'
            )
    elif n_new is None:
        raise InputError('`n_new` must be a whole number >= 1 or "novel", got None')
    grown = grow_engines(state, batch.species)
    known = _known_blocks(state, grown)
    found = {
        (i, block): points
        for i, (engine, _) in enumerate(grown)
        for block, points in sample_environments(engine, batch, rng)[0].items()
    }
    if selector is not None:
        points = _selected(known, found, int(n_new), selector, rng)
    else:
        points = _most_novel(state, known, found, n_new)
    chosen = sum(len(part.x) for part in points.values())
    if n_new != "novel" and chosen < n_new:
        message = (
            f"`n_new` = {n_new} sparse points were asked for, but only {chosen} environments are not known already; "
            "all of them are taken"
        )
        warnings.warn(message, DataWarning, stacklevel=3)
    of_terms = [{block: part for (i, block), part in points.items() if i == term} for term in range(len(grown))]
    return NewPoints(grown, of_terms)


def given_points(state: FittedState, points: Sequence[Mapping[str, Any]]) -> NewPoints:
    """Sparse points that a user gives: for every term a mapping of species ("Si" or "O-Si") to vectors (m, d)."""
    terms = state.sparse.basis.terms
    if len(points) != len(terms):
        raise InputError(f"points must be one mapping for each of the {len(terms)} terms, got {len(points)}")
    found = []
    for term, given in zip(terms, points, strict=True):
        names = {"-".join(chemical_symbols[z] for z in block): block for block in term.engine.blocks}
        of_term = {}
        for name, vectors in given.items():
            x = np.atleast_2d(np.asarray(vectors, dtype=np.float64))
            if name not in names or x.ndim != 2 or x.shape[1] != term.engine.n_features or not np.isfinite(x).all():
                raise InputError(
                    f"points of {name!r} must be finite vectors of {term.engine.n_features} features of one of "
                    f"{', '.join(names)}, got shape {x.shape}; a model fitted with `truncation=0` takes whole vectors"
                )
            if term.engine.whole is not term.engine:
                raise InputError("points can be given to models fitted with `truncation=0`; give frames instead")
            internal = np.empty_like(x)
            internal[:, term.engine.public_order] = term.engine.scale * x
            if len(x):
                of_term[names[name]] = Environments(internal, *np.full((2, len(x)), -1))
        found.append(of_term)
    return NewPoints([(term.engine, np.arange(term.engine.n_features)) for term in terms], found)


def _known_blocks(state: FittedState, grown: Sequence[tuple[Engine, IntArray]]) -> dict[_Key, _Known]:
    """What the model has of every block of every term, in the features of the grown engines."""
    basis = extend_basis(state.sparse.basis, grown, [{} for _ in grown]).basis
    known: dict[_Key, _Known] = {}
    for i, term in enumerate(basis.terms):
        none = np.zeros((0, term.engine.n_features))
        for species in term.engine.blocks:
            empty = SparseBlock(i, -1, species, term.engine, term.kernel, none, none, np.zeros(0), slice(0, 0))
            known[i, species] = empty, np.zeros((0, 0))
    prior = state.sparse.posterior.prior
    return known | {(block.term, block.species): (block, prior[block.index].L) for block in basis.blocks}


def _most_novel(
    state: FittedState, known: Mapping[_Key, _Known], found: Mapping[_Key, Environments], n_new: Number
) -> dict[_Key, Environments]:
    limits = {} if n_new != "novel" or state.detector is None else state.detector.thresholds()
    least = min((novelty for novelty, _ in limits.values()), default=LEAST_NOVELTY)
    scales = scales_of_terms(state)
    ranked: list[tuple[float, _Key, int]] = []
    for key, points in found.items():
        block, L = known[key]
        limit = limits.get(block.species[0], (least, 0.0))[0] if block.is_atomic else least
        n_most = MOST_NOVEL if n_new == "novel" else int(n_new)
        chosen, novelty = most_novel(block, L, points.x, limit=limit, n_most=n_most)
        # a later point of a block is no reason to leave out an earlier one
        variances = np.minimum.accumulate(scales[block.term] ** 2 * novelty)
        ranked += [(variance, key, row) for variance, row in zip(variances, chosen, strict=True)]
    ranked.sort(key=lambda item: -item[0])
    rows: dict[_Key, list[int]] = {}
    for _, key, row in ranked if n_new == "novel" else ranked[: int(n_new)]:
        rows.setdefault(key, []).append(row)
    return {key: found[key].take(np.array(chosen)) for key, chosen in rows.items()}


def _selected(
    known: Mapping[_Key, _Known], found: Mapping[_Key, Environments], n_new: int, selector: SparseSelector,
    rng: np.random.Generator,
) -> dict[_Key, Environments]:  # fmt: skip
    strange: dict[_Key, Environments] = {}
    for key, points in found.items():
        block, L = known[key]
        if block.is_atomic:
            rows, _ = most_novel(block, L, points.x, limit=LEAST_NOVELTY, n_most=len(points.x))
            if len(rows):
                strange[key] = points.take(np.sort(rows))
    share = allocate({key: len(points.x) for key, points in strange.items()}, n_new)
    chosen: dict[_Key, Environments] = {}
    for key, points in strange.items():
        if share[key]:
            selection = selector.select(points.x, share[key], rng=rng)
            chosen[key] = points.selected(selection)
    return chosen
