"""Committees: several weight vectors over one sparse basis, so that any property of a potential gets an error bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from gapkit.descriptors.species import check_species
from gapkit.exceptions import InputError
from gapkit.gp.chunks import frame_chunks
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.prediction import PredictionPlan, predict
from gapkit.options.checked import check_fields, checked
from gapkit.potential.predictions import Predictions
from gapkit.potential.state import Potential, state_of
from gapkit.printing import columns
from gapkit.structures import to_batch
from gapkit.typing import FloatArray, IntArray

# Every member has gradients of all edges at hand: frames are taken together up to this many atoms.
ATOMS_AT_ONCE = 4096

P = TypeVar("P", bound=Potential)


@dataclass(frozen=True, eq=False, repr=False)
class CommitteePredictions:
    """Predictions of all members for a list of frames, atoms of all frames one after another; units as `Predictions`.

    =========  ==========================  =======  ===============================================================
    name       shape                       unit     meaning and sign
    =========  ==========================  =======  ===============================================================
    energy     (n_members, n_frames)       eV       total, reference energies included
    forces     (n_members, n_atoms, 3)     eV/Å     -dE/dr
    stress     (n_members, n_frames, 6)    eV/Å^3   dE/d(strain)/V, order xx, yy, zz, yz, xz, xy; NaN without a
                                                    three-dimensional cell
    offsets    (n_frames + 1,)             1        atoms of frame f are offsets[f] .. offsets[f + 1] - 1
    =========  ==========================  =======  ===============================================================

    Means and standard deviations (with n_members - 1) are over members, and have these shapes without the first axis;
    a standard deviation of fewer than two members is an InputError.
    """

    energy: FloatArray
    forces: FloatArray
    stress: FloatArray
    offsets: IntArray

    @classmethod
    def of(cls, parts: Sequence[Any], offsets: IntArray, join: Callable[..., FloatArray]) -> CommitteePredictions:
        """Joined from parts that have energies, forces and stresses."""
        joined = {name: join([getattr(part, name) for part in parts]) for name in ("energy", "forces", "stress")}
        return cls(**joined, offsets=offsets)

    def __repr__(self) -> str:
        n_members, n_frames = self.energy.shape
        alone, first = n_members < 2, self.offsets[:-1]
        named = {
            "frame": map(str, range(n_frames)), "atoms": map(str, np.diff(self.offsets)),
            "energy, eV": (f"{value:.6f}" for value in self.energy.mean(axis=0)),
        }  # fmt: skip
        if not alone:
            forces = np.maximum.reduceat(self.forces_std.max(axis=1), first)
            named["std, meV/atom"] = (f"{value:.3g}" for value in 1e3 * self.energy_std / np.diff(self.offsets))
            named["largest std, eV/Å"] = (f"{value:.3g}" for value in forces)
        head = f"predictions of {n_members} members for {n_frames} frames, {self.forces.shape[1]} atoms"
        return "\n".join([head, *columns(list(named), list(zip(*named.values(), strict=True)))])

    energy_mean = property(lambda self: self.energy.mean(axis=0), doc="(n_frames,), eV.")
    energy_std = property(lambda self: spread(self.energy), doc="(n_frames,), eV.")
    forces_mean = property(lambda self: self.forces.mean(axis=0), doc="(n_atoms, 3), eV/Å.")
    forces_std = property(lambda self: spread(self.forces), doc="(n_atoms, 3), eV/Å.")
    stress_mean = property(lambda self: self.stress.mean(axis=0), doc="(n_frames, 6), eV/Å^3.")
    stress_std = property(lambda self: spread(self.stress), doc="(n_frames, 6), eV/Å^3.")


@dataclass(frozen=True, eq=False)
class Committee(Generic[P]):
    """Several weight vectors around a fitted potential.

    Descriptors, inner products and kernel values are made once for all members.  The spread of any property over them,
    such as an elastic constant, is what the data leave open of it.

    Attributes
    ----------
    model : GAP
        The potential itself, whose basis, posterior and known energies all members share.  It is not one of them, nor
        their average.
    weights : ndarray (n_members, M)
        Of the members, for unit-scale kernels, eV; read-only.

    Raises
    ------
    InputError
        If the weights are not finite or do not have the shape (n_members, M) with at least one member.
    NotFittedModelError
        If the model is not fitted.

    Examples
    --------
    >>> committee = sample_committee(model, 16, random_state=0)  # doctest: +SKIP
    >>> committee.predict(frames).forces_std  # doctest: +SKIP
    >>> mean, std = committee.error_bar(lambda member: bulk_modulus(GAPCalculator(member)))  # doctest: +SKIP
    """

    model: P
    weights: FloatArray

    def __post_init__(self) -> None:
        check_fields(self)
        weights = np.array(self.weights, dtype=np.float64, order="C")
        expected = state_of(self.model).sparse.basis.n_columns
        if weights.ndim != 2 or len(weights) < 1 or weights.shape[1] != expected or not np.isfinite(weights).all():
            raise InputError(
                f"`weights` must be finite and of shape (n_members, {expected}) with at least one member, as the model "
                f"has {expected} sparse points, got shape {weights.shape}; make committees with `sample_committee`, "
                "`bootstrap_committee` or `label_noise_committee`"
            )
        weights.flags.writeable = False
        object.__setattr__(self, "weights", weights)

    @cached_property
    def _plan(self) -> PredictionPlan:
        return PredictionPlan.of(self.model.state_.sparse.basis, self.weights)

    def __repr__(self) -> str:
        return f"Committee(n_members={len(self)}, model={self.model!r})"

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, index: int) -> P:
        """Member `index` as a fitted potential, for whatever takes one: `predict`, `GAPCalculator`, `save`.

        Basis, posterior and noise are the model's own; it has no factors of training rows, which would lead
        `partial_fit` back to the model's weights.
        """
        state = self.model.state_
        # a read-only array is another type to compiled kernels, and would have them compiled anew
        sparse = replace(state.sparse, weights=self.weights[index].copy())
        metadata = {**state.metadata, "committee_member": int(range(len(self))[index])}
        return self.model.with_state(replace(state, sparse=sparse, factors=None, rows=None, metadata=metadata))

    def __iter__(self) -> Iterator[P]:
        return (self[i] for i in range(len(self)))

    @checked
    def predict(self, frames: Atoms | Sequence[Atoms]) -> CommitteePredictions:
        """Energies, forces and stresses of every member, in one pass over the descriptors.

        Raises
        ------
        UnknownSpeciesError
            If a frame holds a species that was not in the training set; nothing is computed then.
        """
        state = self.model.state_
        batch = to_batch(frames, labels=False)
        check_species(batch.species, state.species)
        parts = (batch.select(np.asarray(some)) for some in frame_chunks(batch, ATOMS_AT_ONCE))
        found = [self.evaluate(AppliedBasis.of(state.sparse.basis, part, state.neighbours(part))) for part in parts]
        return CommitteePredictions.of(found, batch.offsets, partial(np.concatenate, axis=1))

    def evaluate(self, applied: AppliedBasis, *, n_jobs: int | None = None) -> CommitteePredictions:
        """The same where the sparse basis has been applied to a batch; `n_jobs` None: as the model."""
        state = self.model.state_
        n_jobs = self.model.n_jobs if n_jobs is None else n_jobs
        learned = predict(applied, self._plan, n_jobs=n_jobs, workspaces=state.sparse.workspaces)
        known = state.known.evaluate(applied.batch, applied.neighbours)
        members = [Predictions.of(applied.batch, member, known) for member in learned]
        return CommitteePredictions.of(members, applied.batch.offsets, np.stack)

    @checked
    def error_bar(self, function: Callable[[P], ArrayLike]) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (with n_members - 1) over members of any property.

        Parameters
        ----------
        function : callable
            Takes a fitted GAP, returns a number or an array, of the same shape for all members.

        Raises
        ------
        InputError
            If the committee has fewer than two members, or results differ in shape.
        """
        check_spread(len(self))
        values = [np.asarray(function(member), dtype=np.float64) for member in self]
        shapes = sorted({value.shape for value in values})
        if len(shapes) > 1:
            raise InputError(
                f"`function` must return the same shape for every member, got {shapes}; return what can be averaged"
            )
        stack = np.stack(values)
        return np.asarray(stack.mean(axis=0)), spread(stack)


def spread(values: FloatArray) -> FloatArray:
    """Standard deviation over members, the first axis; InputError for fewer than two."""
    check_spread(len(values))
    return np.asarray(values.std(axis=0, ddof=1))


def check_spread(n_members: int) -> None:
    """Raise InputError where a standard deviation has too few members."""
    if n_members < 2:
        raise InputError(f"a standard deviation needs at least 2 members, got {n_members}; make a larger committee")
