"""Committees: several weight vectors over one sparse basis, so that any property of a potential gets an error bar.

Members differ in their weights alone.  Descriptors, inner products and kernel values are therefore made once for all of
them, and an average over members says how far what the data leave open carries through to a property, however
indirect: an elastic constant, a phonon, a barrier, a melting point.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular
from sklearn.utils import check_random_state

from gapkit.descriptors.base import check_species
from gapkit.exceptions import InputError, NotFittedModelError
from gapkit.gp.chunks import frame_chunks
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.noise import KINDS, Noise
from gapkit.gp.prediction import CommitteePlan, predict_committee
from gapkit.gp.solver import solve_weights
from gapkit.neighbours import NeighbourList
from gapkit.parallel import limit_blas, map_blocks
from gapkit.potential.training.rows import RowAccumulator, _add_rows, make_targets
from gapkit.structures import AtomsBatch, to_batch
from gapkit.targets import to_voigt
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import WorkspacePool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gapkit.potential.gap import GAP

# Every member has gradients of all edges at hand: frames are taken together up to this many atoms.
ATOMS_AT_ONCE = 4096
# Atoms whose design rows are made before the members of a bootstrap fold them.
ATOMS_PER_FOLD = 512


@dataclass(frozen=True, eq=False)
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

    @property
    def energy_mean(self) -> FloatArray:
        """(n_frames,), eV."""
        return self.energy.mean(axis=0)

    @property
    def energy_std(self) -> FloatArray:
        """(n_frames,), eV."""
        return _std(self.energy)

    @property
    def forces_mean(self) -> FloatArray:
        """(n_atoms, 3), eV/Å."""
        return self.forces.mean(axis=0)

    @property
    def forces_std(self) -> FloatArray:
        """(n_atoms, 3), eV/Å."""
        return _std(self.forces)

    @property
    def stress_mean(self) -> FloatArray:
        """(n_frames, 6), eV/Å^3."""
        return self.stress.mean(axis=0)

    @property
    def stress_std(self) -> FloatArray:
        """(n_frames, 6), eV/Å^3."""
        return _std(self.stress)


@dataclass(frozen=True, eq=False)
class Committee:
    """Several weight vectors around a fitted potential.

    Attributes
    ----------
    model : GAP
        The potential itself: basis, posterior, reference energies and baseline are shared by all members.  It is not
        one of them, nor their average.
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

    model: GAP
    weights: FloatArray

    def __post_init__(self) -> None:
        self.model._check_fitted()
        weights = np.array(self.weights, dtype=np.float64, order="C")
        expected = self.model.n_sparse_
        if weights.ndim != 2 or len(weights) < 1 or weights.shape[1] != expected or not np.isfinite(weights).all():
            raise InputError(
                f"`weights` must be finite and of shape (n_members, {expected}) with at least one member, as the model "
                f"has {expected} sparse points, got shape {weights.shape}; make committees with `sample_committee`, "
                "`bootstrap_committee` or `label_noise_committee`"
            )
        weights.flags.writeable = False
        object.__setattr__(self, "weights", weights)

    @cached_property
    def _plan(self) -> CommitteePlan:
        return CommitteePlan.of(self.model.model_.basis, self.weights)

    def __repr__(self) -> str:
        return f"Committee(n_members={len(self)}, model={self.model!r})"

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, index: int) -> GAP:
        """Member `index` as a fitted potential, for whatever takes one: `predict`, `GAPCalculator`, `save`.

        Basis, posterior and noise are the model's own; it has no factors of training rows, which would lead
        `partial_fit` back to the model's weights.
        """
        member = copy.copy(self.model)
        # a read-only array is another type to compiled kernels, and would have them compiled anew
        state = replace(self.model.model_, weights=self.weights[index].copy())
        member._restore(state, self.model._noise, None)
        member.metadata_ = {**self.model.metadata_, "committee_member": int(range(len(self))[index])}
        return member

    def __iter__(self) -> Iterator[GAP]:
        return (self[i] for i in range(len(self)))

    def predict(self, frames: Atoms | Sequence[Atoms]) -> CommitteePredictions:
        """Energies, forces and stresses of every member, in one pass over the descriptors.

        Raises
        ------
        UnknownSpeciesError
            If a frame holds a species that was not in the training set; nothing is computed then.
        """
        model = self.model.model_
        batch = to_batch(frames, labels=False)
        check_species(batch.species, model.species)
        found = []
        for some in frame_chunks(batch, ATOMS_AT_ONCE):
            part = batch.select(np.arange(some.start, some.stop))
            found.append(self.evaluate(part, model.neighbours(part), n_jobs=self.model.n_jobs))
        return CommitteePredictions(
            np.concatenate([p.energy for p in found], axis=1),
            np.concatenate([p.forces for p in found], axis=1),
            np.concatenate([p.stress for p in found], axis=1),
            batch.offsets,
        )

    def evaluate(
        self, batch: AtomsBatch, neighbours: NeighbourList, *, n_jobs: int | None = None
    ) -> CommitteePredictions:
        """The same for a batch with its neighbour list, whose cutoff is at least the model's reach."""
        model = self.model.model_
        members = predict_committee(
            model.basis, self._plan, batch, neighbours, n_jobs=n_jobs, workspaces=model._workspaces
        )
        offset, baseline = model.offsets(batch)
        extra_forces, extra_virials = (0.0, 0.0) if baseline is None else baseline
        energy, forces, stress = [], [], []
        for member in members:
            assert member.forces is not None
            assert member.virials is not None
            virials = member.virials + extra_virials
            virials = 0.5 * (virials + virials.transpose(0, 2, 1))
            energy.append(np.add.reduceat(member.local_energies, batch.offsets[:-1]) + offset)
            forces.append(member.forces + extra_forces)
            stress.append(-to_voigt(virials) / batch.volumes[:, None])
        return CommitteePredictions(np.stack(energy), np.stack(forces), np.stack(stress), batch.offsets)

    def error_bar(self, function: Callable[[GAP], ArrayLike]) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation over members of any property.

        Parameters
        ----------
        function : callable
            Takes a fitted GAP, returns a number or an array, of the same shape for all members.

        Returns
        -------
        mean, std : ndarray
            Of the shape that `function` returns, over members, the std with n_members - 1.

        Raises
        ------
        InputError
            If the committee has fewer than two members, or results differ in shape.
        """
        _check_spread(len(self))
        values = [np.asarray(function(member), dtype=np.float64) for member in self]
        shapes = sorted({value.shape for value in values})
        if len(shapes) > 1:
            raise InputError(
                f"`function` must return the same shape for every member, got {shapes}; return what can be averaged"
            )
        stack = np.stack(values)
        return np.asarray(stack.mean(axis=0)), _std(stack)


def sample_committee(
    model: GAP, n: int, random_state: int | np.random.RandomState | None, inflation: float = 1.0
) -> Committee:
    """Draw `n` members from the posterior of the weights.

    Their spread is the data part of the variance alone, |R^-T phi|^2: what more data on the same sparse points would
    reduce.  It knows nothing of what the sparse points cannot represent, so that it is too small far from the data.

    Parameters
    ----------
    model : GAP
        Fitted.
    n : int
        Members, >= 1; sixteen give standard deviations to about a fifth.
    random_state : int, RandomState or None
        The same seed gives the same committee.
    inflation : float
        Factor on the deviations from the mean, the factor b of a calibration; > 0.

    Raises
    ------
    InputError
        If `n` or `inflation` is out of range.
    NotFittedModelError
        If the model is not fitted.
    """
    _check(model, n)
    if not (np.isfinite(inflation) and inflation > 0.0):
        raise InputError(f"`inflation` must be a finite number > 0, got {inflation!r}; 1 leaves the posterior as it is")
    state = model.model_
    return Committee(model, state.weights + inflation * state.posterior.sample_weights(n, _generator(random_state)))


def label_noise_committee(model: GAP, n: int, random_state: int | np.random.RandomState | None) -> Committee:
    """`n` members as though all labels had been measured again, with the model's noise; no pass over the data.

    The weights are linear in the labels.  With R_k the triangle of the rows of kind k, sigma_k its noise, and R^T R the
    posterior precision, new labels change them by

        (R^T R)^-1 sum_k R_k^T z_k / sigma_k,   z_k ~ N(0, 1).

    The spread is smaller than the posterior's, which also counts what the prior leaves open.

    Parameters
    ----------
    model : GAP
        Fitted here, or saved with `factors=True`.
    n : int
        Members, >= 1.
    random_state : int, RandomState or None
        The same seed gives the same committee.

    Raises
    ------
    InputError
        If `n` < 1.
    NotFittedModelError
        If the model is not fitted, or was loaded from a file that was saved without its factors.
    """
    _check(model, n)
    if model._factors is None:
        raise NotFittedModelError(
            "`label_noise_committee` needs the factors of the training rows, which this model does not hold; save the "
            "model with `factors=True`"
        )
    rng = _generator(random_state)
    R = model.model_.posterior.R
    changes = np.zeros((len(R), n))
    for kind in KINDS:  # in a fixed order: a file does not keep that of the fit
        if kind in model._factors:
            triangle = model._factors[kind].R[:-1, :-1]
            changes += triangle.T @ rng.standard_normal((len(R), n)) / model._noise[kind]
    changes = solve_triangular(R, solve_triangular(R, changes, trans="T"))
    return Committee(model, model.model_.weights + changes.T)


def bootstrap_committee(
    model: GAP, frames: Atoms | Sequence[Atoms], n: int, random_state: int | np.random.RandomState | None
) -> Committee:
    """`n` members, each fitted to as many configurations as there are, drawn from `frames` with replacement.

    Basis, noise, scales and reference energies stay those of the model.  Design rows are made once, in one pass over
    the frames; a frame that was drawn c times enters with its sigmas divided by sqrt(c).  Memory is that of `n`
    triangles of M^2 numbers, 8 MB each for a thousand sparse points (one for all kinds of labels, as the noise is
    known), and time that of `n` folds of two thirds of the rows.

    Parameters
    ----------
    model : GAP
        Fitted.
    frames : list of Atoms
        Labelled: those that the model was fitted to.
    n : int
        Members, >= 1.
    random_state : int, RandomState or None
        The same seed gives the same committee.

    Raises
    ------
    InputError
        If `n` < 1.
    DataError
        If a label is unusable or no frame has any.
    UnknownSpeciesError
        If a frame holds a species that the model does not know.
    NotFittedModelError
        If the model is not fitted.
    """
    _check(model, n)
    batch = model._labelled(frames)
    check_species(batch.species, model.model_.species)
    counts = _generator(random_state).multinomial(batch.n_frames, np.full(batch.n_frames, 1.0 / batch.n_frames), size=n)
    return Committee(model, reweighted(model, batch, counts))


def reweighted(model: GAP, batch: AtomsBatch, counts: IntArray) -> FloatArray:
    """Weights (n, M) of fits to a labelled batch whose frames count `counts` (n, n_frames) times."""
    state = model.model_
    assert batch.labels is not None
    targets = make_targets(batch, batch.labels, *state.offsets(batch), model.noise or Noise())
    factors = [TriangularFactor(state.basis.n_columns) for _ in counts]
    pool = WorkspacePool()

    def rows_of(frame: int) -> _FrameRows:
        sink = _FrameRows(state.basis.n_columns, model._noise)
        with pool.borrow() as workspace:
            _add_rows(state.basis, batch, targets, range(frame, frame + 1), sink, batch.n_atoms, workspace)
        return sink

    for some in frame_chunks(batch, ATOMS_PER_FOLD):
        made = map_blocks(rows_of, some, model.n_jobs)
        parts = [part for sink in made for part in sink.parts]
        if not parts:
            continue
        frame_of_row = np.repeat(list(some), [sum(len(wanted) for _, wanted, _ in sink.parts) for sink in made])
        rows, wanted, sigmas = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        _fold(factors, counts[:, frame_of_row], rows, wanted, sigmas, model.n_jobs)

    def solve(factor: TriangularFactor) -> FloatArray:
        return solve_weights({"all": factor}, {"all": 1.0}, state.posterior.prior, state.posterior.scales or ()).weights

    if len(factors) > 1:
        return np.stack(map_blocks(solve, factors, model.n_jobs))
    with limit_blas(model.n_jobs, state.basis.n_columns):
        return np.stack([solve(factor) for factor in factors])


def _fold(
    factors: list[TriangularFactor], counts: IntArray, rows: FloatArray, targets: FloatArray, sigmas: FloatArray,
    n_jobs: int | None,
) -> None:  # fmt: skip
    """Rows (B, M), targets and absolute sigmas (B,) into the factor of every member, with its counts (n, B)."""

    def fold(member: int) -> None:
        use = np.flatnonzero(counts[member])
        factors[member].update(rows[use], targets[use], sigmas[use] / np.sqrt(counts[member, use]))

    map_blocks(fold, range(len(factors)), n_jobs)


class _FrameRows(RowAccumulator):
    """Keeps the design rows of one frame: (rows, targets, absolute sigmas) of every kind."""

    def __init__(self, n_columns: int, noise: dict[str, float]) -> None:
        super().__init__(n_columns)
        self._noise = noise
        self.parts: list[tuple[FloatArray, FloatArray, FloatArray]] = []

    def add(self, kind: str, rows: FloatArray, targets: FloatArray, sigmas: FloatArray) -> None:
        if kind not in self._noise:
            raise InputError(
                f"`frames` must have labels of the kinds that the model was fitted to ({', '.join(self._noise)}), got "
                f"also {kind!r}, of which it knows no noise; take the frames of the fit"
            )
        self.parts.append((rows, targets, self._noise[kind] * sigmas))


def _check(model: GAP, n: Any) -> None:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise InputError(f"`n` must be a number of members >= 1, got {n!r}; 8 to 32 are usual")
    model._check_fitted()


def _check_spread(n_members: int) -> None:
    if n_members < 2:
        raise InputError(f"a standard deviation needs at least 2 members, got {n_members}; make a larger committee")


def _generator(random_state: int | np.random.RandomState | None) -> np.random.Generator:
    return np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))


def _std(values: FloatArray) -> FloatArray:
    """Standard deviation over members, the first axis."""
    _check_spread(len(values))
    return np.asarray(values.std(axis=0, ddof=1))
