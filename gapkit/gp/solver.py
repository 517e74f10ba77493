"""The weights of the sparse Gaussian process, from triangular factors: all linear algebra of the model in one place.

Convention of scales. Kernel rows and K_MM are kept at unit scale (delta = 1) and the scale delta of each prior block
enters here: the weights a = delta^2 alpha multiply unit-scale kernel values, and their prior is
a_b ~ N(0, delta_b^2 (L_b L_b^T)^-1) with L_b L_b^T the unit-scale K_MM of the block. Nothing has to be recomputed when
a delta or a noise changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular

from gapkit.exceptions import InputError
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.lapack import fold_rows
from gapkit.typing import FloatArray


@dataclass(frozen=True)
class PriorBlock:
    """The prior of the weights of one kernel matrix on the block diagonal."""

    columns: slice  # the weights it covers, contiguous
    factor: FloatArray | Callable[[], FloatArray]  # L, or what makes it when it is first needed
    nugget: FloatArray | None = None  # (m,), added to the diagonal of K_MM; None: as little as it needs
    given: bool = False  # another matrix than `SparseBasis.prior` makes, so that L belongs into a model file

    @cached_property
    def L(self) -> FloatArray:
        """(m, m), lower Cholesky factor of the unit-scale K_MM of the block."""
        return self.factor() if callable(self.factor) else self.factor

    @property
    def size(self) -> int:
        """Number of its weights, m."""
        return self.columns.stop - self.columns.start


@dataclass(frozen=True)
class Solution:
    """The posterior of the weights."""

    weights: FloatArray  # (M,), posterior mean a = delta^2 alpha, to be multiplied with unit-scale kernel values; eV
    R: FloatArray  # (M, M), upper triangular, diagonal > 0; R^T R is the posterior precision of the weights, eV^-2
    log_marginal_likelihood: float  # log p(y | noise, scales), all constants included, in the units of the targets
    residual_norms: dict[str, float]  # of each kind, |y - K a| of rows over their relative sigmas, unit of the target


def solve_weights(
    factors: Mapping[str, TriangularFactor], noise: Mapping[str, float], prior: Sequence[PriorBlock],
    scales: Sequence[float],
) -> Solution:  # fmt: skip
    """Posterior of the weights by QR of all stacked triangles: no normal equations, no inverse.

    Minimises sum_kind |R_kind a - z_kind|^2 / sigma_kind^2 + sum_b |L_b^T a_b|^2 / delta_b^2 by folding each factor,
    which stays as it is, into the block-diagonal triangle of the prior.  `noise` has the sigma of each kind, `scales`
    the delta of each block.

    Source: Foster et al., J. Mach. Learn. Res. 10, 857 (2009), the V method, with QR; evidence: Rasmussen and Williams
    (2006), eq. 2.30, for the covariance K_NM K_MM^-1 K_MN + Lambda.
    """
    n_columns = check_problem(factors, noise, prior, scales)
    T: FloatArray = np.zeros((n_columns + 1, n_columns + 1), order="F")
    log_det_prior = 0.0
    for block, delta in zip(prior, scales, strict=True):
        T[block.columns, block.columns] = block.L.T / delta
        log_det_prior += 2.0 * float(np.sum(np.log(np.diagonal(block.L))) - len(block.L) * np.log(delta))
    for kind, factor in factors.items():
        fold_rows(T, np.asfortranarray(factor.R / noise[kind]), len(T))
    signs = np.where(np.diagonal(T) < 0, -1.0, 1.0)
    T *= signs[:, None]
    R, z, corner = np.asfortranarray(T[:-1, :-1]), T[:-1, -1].copy(), float(T[-1, -1])
    del T  # as large as R, and of no more use
    weights = solve_triangular(R, z)
    log_det = 2.0 * float(np.sum(np.log(np.diagonal(R))))
    log_p = -0.5 * (row_constants(factors, noise) + log_det - log_det_prior + corner**2)
    residuals = {
        kind: float(np.linalg.norm(factor.R[:, :-1] @ weights - factor.R[:, -1])) for kind, factor in factors.items()
    }
    return Solution(weights, R, log_p, residuals)


def row_constants(factors: Mapping[str, TriangularFactor], noise: Mapping[str, float]) -> float:
    """The part of -2 log p(y) that belongs to the noise alone: sum over rows of log(2 pi sigma_row^2)."""
    terms = (
        factor.n_rows * (np.log(2.0 * np.pi) + 2.0 * np.log(noise[kind])) + 2.0 * factor.log_weights
        for kind, factor in factors.items()
    )
    return float(sum(terms))


def check_problem(
    factors: Mapping[str, TriangularFactor], noise: Mapping[str, float], prior: Sequence[PriorBlock],
    scales: Sequence[float],
) -> int:  # fmt: skip
    """Check that factors, noise, prior and scales belong together; return the number of columns M."""
    stop = 0
    for i, block in enumerate(prior):
        size = block.size
        if block.columns.start != stop or block.columns.step not in (None, 1) or block.L.shape != (size, size):
            raise InputError(
                f"`prior` must be blocks that tile the columns in order; block {i} covers {block.columns} with L of "
                f"shape {block.L.shape} where columns from {stop} were expected"
            )
        stop = block.columns.stop
    if len(scales) != len(prior):
        raise InputError(f"`scales` must hold one delta for each of the {len(prior)} prior blocks, got {len(scales)}")
    for i, delta in enumerate(scales):
        if not (np.isfinite(delta) and delta > 0):
            raise InputError(f"`scales` must be finite and > 0 eV, got {delta!r} for block {i}")
    for kind, factor in factors.items():
        if factor.n_columns != stop:
            raise InputError(f"the factor of {kind!r} has {factor.n_columns} columns, the prior {stop}")
        if kind not in noise:
            raise InputError(f"`noise` must hold a sigma for {kind!r}, got only {sorted(noise)}")
        if not (np.isfinite(noise[kind]) and noise[kind] > 0):
            raise InputError(f"`noise` of {kind!r} must be finite and > 0, got {noise[kind]!r}")
    return stop
