"""Cholesky factors of kernel matrices: with no more regularisation than needed, and pivoted, for a choice of points."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from gapkit.exceptions import ConditioningWarning, InputError
from gapkit.gp.tiles import factor_in_place
from gapkit.typing import FloatArray, IntArray

_MIN_RCOND = 4.0 * np.finfo(np.float64).eps
_SMALLEST_STEP = 1e-14


@dataclass(frozen=True)
class JitteredCholesky:
    """Lower Cholesky factor of a regularised kernel matrix."""

    L: FloatArray  # (m, m), lower triangular, zero above the diagonal: L L^T = K + jitter * mean(diag K) * I
    jitter: float  # what was added, relative to the mean of the diagonal (no unit)


def cholesky(K: FloatArray, *, jitter: float = 1e-10, max_jitter: float = 1e-4, name: str = "K_MM") -> JitteredCholesky:
    """Factorise K + jitter * mean(diag K) * I, with the jitter raised by factors of ten until the factor is sound.

    Sound means: the factorisation succeeds, and the estimated reciprocal condition number in the 1-norm (LAPACK dpocon)
    is above four units of rounding.  Of K (m, m) the lower triangle is read; messages call it `name`.  More than the
    first jitter gives a ConditioningWarning, more than the last an InputError.
    """
    K = np.asarray(K, dtype=np.float64)
    if K.ndim != 2 or K.shape[0] != K.shape[1]:
        raise InputError(f"`{name}` must be a square matrix, got shape {K.shape}")
    if not 0 <= jitter <= max_jitter:
        raise InputError(f"`jitter` must be between 0 and max_jitter = {max_jitter:g}, got {jitter!r}")
    size = K.shape[0]
    if size == 0:
        return JitteredCholesky(np.empty((0, 0)), float(jitter))
    if not np.all(np.isfinite(K)):
        bad = int(np.count_nonzero(~np.isfinite(K).all(axis=1)))
        raise InputError(f"`{name}` must be finite, but {bad} of its {size} rows hold NaN or inf; check the features")
    scale = float(np.mean(np.diagonal(K)))
    if scale <= 0:
        raise InputError(f"the mean diagonal of `{name}` must be > 0, got {scale:g}; check for features that are zero")
    step = float(jitter)
    while (L := _try(K, step * scale)) is None:
        raised = max(10.0 * step, _SMALLEST_STEP)
        if raised > max_jitter * 1.000001:
            raise InputError(
                f"`{name}` ({size} x {size}) is not positive definite even with a relative jitter of {step:g}; "
                "remove duplicate sparse points, take fewer, or raise `max_jitter`"
            )
        step = raised
    if step > jitter:
        warnings.warn(
            f"{name} ({size} x {size}) was numerically singular: a relative jitter of {step:g} was added to its "
            f"diagonal instead of {jitter:g}. Fewer or more distinct sparse points avoid this.",
            ConditioningWarning,
            stacklevel=2,
        )
    return JitteredCholesky(L, step)


def pivoted_cholesky(
    diagonal: FloatArray, row: Callable[[int], FloatArray], limit: float, n_most: int
) -> tuple[IntArray, FloatArray]:
    """Greedy choice of points (p,) of the largest variance given those chosen before, and these variances (p,).

    `diagonal` (n,) are the variances of all candidates, `row` gives the covariances (n,) of one with all; no point of a
    variance up to `limit` is chosen.
    Source: Harbrecht, Peters and Schneider, Appl. Numer. Math. 62, 428 (2012), algorithm 1.
    """
    residual = np.array(diagonal, dtype=np.float64)
    factors = np.empty((min(n_most, len(residual)), len(residual)))
    chosen: list[int] = []
    variances: list[float] = []
    while len(chosen) < len(factors) and residual[pivot := int(np.argmax(residual))] > limit:
        n = len(chosen)
        factors[n] = (row(pivot) - factors[:n, pivot] @ factors[:n]) / np.sqrt(residual[pivot])
        chosen.append(pivot)
        variances.append(float(residual[pivot]))
        residual -= factors[n] ** 2
        residual[pivot] = 0.0
    return np.array(chosen, dtype=int), np.array(variances)


def _try(K: FloatArray, shift: float) -> FloatArray | None:
    """The lower factor of K + shift * I, or None where it fails or is too ill-conditioned to be used."""
    A = np.array(K, order="F")
    A[np.diag_indices_from(A)] += shift
    norm = np.abs(A).sum(axis=0).max()
    if not factor_in_place(A):
        return None
    rcond, info = lapack.dpocon(A, norm, uplo="L")
    return A if info == 0 and rcond >= _MIN_RCOND else None
