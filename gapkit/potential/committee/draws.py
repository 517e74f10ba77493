"""Committees drawn from the posterior of the weights, the noise of the labels, or configurations with replacement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular
from sklearn.utils import check_random_state

from gapkit.descriptors.species import check_species
from gapkit.exceptions import InputError
from gapkit.gp.chunks import frame_chunks
from gapkit.gp.factors import TriangularFactor
from gapkit.options.checked import checked
from gapkit.options.kinds import Count, Positive, Seed
from gapkit.parallel import limit_blas, map_blocks
from gapkit.potential.committee.committee import Committee, P
from gapkit.potential.state import FittedState, state_of
from gapkit.potential.training.rows import training_rows
from gapkit.potential.training.source import labelled_batch
from gapkit.structures import AtomsBatch
from gapkit.targets import TARGETS
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import WorkspacePool

# Atoms whose design rows are made before the members of a bootstrap fold them.
ATOMS_PER_FOLD = 512

# Rows (n, M), targets (n,) and absolute sigmas (n,).
_Rows: TypeAlias = tuple[FloatArray, FloatArray, FloatArray]


@checked
def sample_committee(model: P, n: Count, random_state: Seed, inflation: Positive = 1.0) -> Committee[P]:
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
    sparse = state_of(model).sparse
    return Committee(model, sparse.weights + inflation * sparse.posterior.sample_weights(n, generator(random_state)))


@checked
def label_noise_committee(model: P, n: Count, random_state: Seed) -> Committee[P]:
    """`n` members as though all labels had been measured again, with the model's noise; no pass over the data.

    The weights are linear in the labels.  With R_k the triangle of the rows of kind k, sigma_k its noise, and R^T R the
    posterior precision, new labels change them by

        (R^T R)^-1 sum_k R_k^T z_k / sigma_k,   z_k ~ N(0, 1).

    The spread is smaller than the posterior's, which also counts what the prior leaves open.

    Parameters
    ----------
    model : GAP
        Fitted here, or saved with `factors=True`.
    n, random_state
        As for `sample_committee`.

    Raises
    ------
    InputError
        If `n` < 1.
    NotFittedModelError
        If the model is not fitted, or was loaded from a file that was saved without its factors.
    """
    state = state_of(model)
    factors = state.factors_for("`label_noise_committee`")
    rng = generator(random_state)
    R = state.sparse.posterior.R
    changes = np.zeros((len(R), n))
    for kind in TARGETS:  # in a fixed order: a file does not keep that of the fit
        if kind in factors:
            triangle = factors[kind].R[:-1, :-1]
            changes += triangle.T @ rng.standard_normal((len(R), n)) / state.noise[kind]
    changes = solve_triangular(R, solve_triangular(R, changes, trans="T"))
    return Committee(model, state.sparse.weights + changes.T)


@checked
def bootstrap_committee(model: P, frames: Atoms | Sequence[Atoms], n: Count, random_state: Seed) -> Committee[P]:
    """`n` members, each fitted to as many configurations as there are, drawn from `frames` with replacement.

    Basis, noise, scales and reference energies stay those of the model.  Design rows are made once, in one pass over
    the frames; a frame that was drawn c times enters with its sigmas divided by sqrt(c).  Memory is that of `n`
    triangles of M^2 numbers, 8 MB each for a thousand sparse points (one for all kinds of labels, as the noise is
    known), and time that of `n` folds of two thirds of the rows.

    Parameters
    ----------
    frames : list of Atoms
        Labelled frames of the fit.
    n, random_state
        As for `sample_committee`.

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
    state = state_of(model)
    batch = labelled_batch(frames, model.label_keys)
    check_species(batch.species, state.species)
    counts = generator(random_state).multinomial(batch.n_frames, np.full(batch.n_frames, 1.0 / batch.n_frames), size=n)
    return Committee(model, reweighted(state, batch, counts, model.n_jobs))


def reweighted(state: FittedState, batch: AtomsBatch, counts: IntArray, n_jobs: int | None) -> FloatArray:
    """Weights (n, M) of fits to a labelled batch whose frames count `counts` (n, n_frames) times."""
    sparse, maker = state.sparse, state.row_maker
    targets = maker.targets(batch)
    unknown = [kind for kind, has in targets.has.items() if has.any() and kind not in state.noise]
    if unknown:
        raise InputError(
            f"`frames` must have labels of the kinds that the model was fitted to ({', '.join(state.noise)}), got "
            f"also {unknown[0]!r}, of which it knows no noise; take the frames of the fit"
        )
    factors = [TriangularFactor(sparse.basis.n_columns) for _ in counts]
    pool = WorkspacePool()

    def rows_of(frame: int) -> list[_Rows]:
        with pool.borrow() as workspace:
            made = training_rows(sparse.basis, batch, targets, range(frame, frame + 1), batch.n_atoms, workspace)
            return [(rows, wanted, state.noise[kind] * sigmas) for kind, rows, wanted, sigmas in made]

    for some in frame_chunks(batch, ATOMS_PER_FOLD):
        made = map_blocks(rows_of, some, n_jobs)
        parts = [part for of_frame in made for part in of_frame]
        if not parts:
            continue
        frame_of_row = np.repeat(list(some), [sum(len(wanted) for _, wanted, _ in of_frame) for of_frame in made])
        rows, wanted, sigmas = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        _fold(factors, counts[:, frame_of_row], (rows, wanted, sigmas), n_jobs)

    def solve(factor: TriangularFactor) -> FloatArray:
        return sparse.solved({"all": factor}, {"all": 1.0})[0].weights

    if len(factors) > 1:
        return np.stack(map_blocks(solve, factors, n_jobs))
    with limit_blas(n_jobs, sparse.basis.n_columns):
        return np.stack([solve(factor) for factor in factors])


def _fold(factors: list[TriangularFactor], counts: IntArray, made: _Rows, n_jobs: int | None) -> None:
    """Rows into the factor of every member, with its counts (n, B)."""
    rows, targets, sigmas = made

    def fold(member: int) -> None:
        use = np.flatnonzero(counts[member])
        factors[member].update(rows[use], targets[use], sigmas[use] / np.sqrt(counts[member, use]))

    map_blocks(fold, range(len(factors)), n_jobs)


def generator(random_state: Seed) -> np.random.Generator:
    """A generator that scikit-learn's `random_state` seeds."""
    return np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
