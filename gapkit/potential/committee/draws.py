"""Committees drawn without the training set: from the posterior of the weights, and from the noise of the labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.utils import check_random_state

from gapkit.exceptions import InputError
from gapkit.potential.committee.committee import Committee, P
from gapkit.potential.state import state_of
from gapkit.targets import TARGETS


def sample_committee(
    model: P, n: int, random_state: int | np.random.RandomState | None, inflation: float = 1.0
) -> Committee[P]:
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
    check_members(n)
    if not (np.isfinite(inflation) and inflation > 0.0):
        raise InputError(f"`inflation` must be a finite number > 0, got {inflation!r}; 1 leaves the posterior as it is")
    sparse = state_of(model).sparse
    return Committee(model, sparse.weights + inflation * sparse.posterior.sample_weights(n, generator(random_state)))


def label_noise_committee(model: P, n: int, random_state: int | np.random.RandomState | None) -> Committee[P]:
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
    check_members(n)
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


def check_members(n: Any) -> None:
    """Raise InputError where `n` is no number of members."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise InputError(f"`n` must be a number of members >= 1, got {n!r}; 8 to 32 are usual")


def generator(random_state: int | np.random.RandomState | None) -> np.random.Generator:
    """A generator that scikit-learn's `random_state` seeds."""
    return np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
