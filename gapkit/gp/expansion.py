"""Sums over sparse points without their cancellation.

Weights of a smooth kernel are large and of both signs: sums of millions of eV give a tenth of one, and the rounding of
each kernel value is felt a million times over.  Where a kernel allows it, most of the sum is written as a polynomial,
in whose coefficients the weights have cancelled already, before any atom is looked at.

Inner products.  With the p leading directions of the points, x.x_s = a + b, a the part within them and b the rest, and

    k = a^z + z a^(z - 1) b + (what is left, of the order b^2).

The first two are a polynomial in the leading features alone, times one that is linear in all: a few dozen coefficients
for each feature, whatever the number of points.  Only what is left is summed over the points.

One feature (pairs).  The sum is a function of one number: polynomials on pieces of its range.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations_with_replacement
from math import comb, factorial, prod
from typing import Any

import numpy as np

from gapkit._core.power import contract_remainder
from gapkit._core.series import local_polynomials
from gapkit.gp.basis import SparseBlock
from gapkit.gp.instances import InnerProducts
from gapkit.kernels import DotProduct
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace

# Leading directions, which the compiled kernel knows, and the most monomials in them.
N_LEADING = 4
MAX_MONOMIALS = 80
# Degree of a local polynomial, and the width of a piece in length scales: the error is 1e-16 of the sum of the
# weights' absolute values, or less.
DEGREE, WIDTH = 11, 0.25
MAX_PIECES = 2000
# Sparse points taken together: more leave the cache.
POINTS_PER_TILE = 1024

_NO_VALUES = np.empty((0, 0))


@dataclass(frozen=True, eq=False)
class Series:
    """The sum over the sparse points of a block of one feature, as local polynomials."""

    block: SparseBlock
    width: float
    table: FloatArray  # (n_pieces, DEGREE + 1)

    @classmethod
    def of(cls, block: SparseBlock, weights: FloatArray) -> Series | None:
        """For weights (m,); None where the kernel or the range of the feature does not allow it."""
        limit, kernel = block.engine.largest_feature, block.kernel
        if limit is None or block.scaled.shape[1] != 1 or not kernel.uses_norms:
            return None
        high = float(kernel.scale_features(np.array([[limit]]))[0, 0])
        n_pieces = int(np.ceil(high / WIDTH))
        if not 0 < n_pieces <= MAX_PIECES:
            return None
        # in extended precision where there is one: the weights cancel here
        width, pi = high / n_pieces, np.arccos(np.longdouble(-1.0))
        t = np.cos(pi * (np.arange(DEGREE + 1) + np.longdouble(0.5)) / (DEGREE + 1))
        x: Any = (width * (np.arange(n_pieces)[:, None] + 0.5 * (t + 1.0))).ravel()
        points: Any = block.scaled[:, 0].astype(np.longdouble)
        k = kernel.value(x[:, None] * points, x**2, points**2, overwrite_q=True)
        chebyshev = (k @ weights.astype(np.longdouble)).reshape(n_pieces, -1) @ _chebyshev(t)
        return cls(block, width, np.asarray(chebyshev @ _monomials(DEGREE), np.float64))

    def contract(
        self, y: FloatArray, norms: FloatArray, out: FloatArray, values: FloatArray | None, column: int, *,
        single: bool, workspace: Workspace,
    ) -> FloatArray:  # fmt: skip
        """Energies (n,) at features y (n, 1); slopes into `out` (n, 1), kernel values into the columns of `values`."""
        if values is not None:
            q = np.dot(y, self.block.scaled.T, out=workspace.array("q", len(y), len(self.block.scaled)))
            k = self.block.kernel.value(q, norms, self.block.norms, overwrite_q=True)
            values[:, column : column + k.shape[1]] = k
        energies = np.empty(len(y))
        local_polynomials(y[:, 0], 0.0, self.width, self.table, energies, out[:, 0])
        return energies


@dataclass(frozen=True, eq=False)
class Expansion:
    """The sum over the sparse points of a block whose kernel is an integer power of inner products."""

    block: SparseBlock  # with what is left of its points, (m, r), outside of the leading directions
    weights: FloatArray  # (m,)
    directions: FloatArray  # (r, p)
    lead_points: FloatArray  # (m, p)
    exponents: IntArray  # (n_monomials, p or p + 1): of the leading features, and of one for sigma0
    linear: FloatArray  # (n_monomials, r)
    constant: FloatArray  # (n_monomials,)

    @classmethod
    def of(cls, block: SparseBlock, weights: FloatArray) -> Expansion | None:
        """For weights (m,); None where the kernel does not allow it."""
        kernel, (m, r) = block.kernel, block.scaled.shape
        zeta = kernel.integer_zeta() if isinstance(kernel, DotProduct) else None
        if not isinstance(kernel, DotProduct) or zeta is None or zeta < 2 or r <= N_LEADING or m <= N_LEADING:
            return None
        offset = kernel.sigma0**2
        n_variables = N_LEADING + (offset > 0.0)
        if comb(n_variables + zeta - 2, zeta - 1) > MAX_MONOMIALS:
            return None
        # whatever the weights: kernel values of models with the same points are the same to the last digit
        _, vectors = np.linalg.eigh(block.scaled.T @ block.scaled)
        V = np.ascontiguousarray(vectors[:, : -N_LEADING - 1 : -1])
        lead = block.scaled @ V
        along = lead @ V.T
        rest = np.ascontiguousarray(block.scaled - along)
        extended = np.concatenate([lead, np.full((m, int(offset > 0.0)), offset)], axis=1)
        exponents = _exponents(n_variables, zeta - 1)
        multiplicity = [factorial(zeta - 1) // prod(map(factorial, e)) for e in exponents.tolist()]
        of_points = np.asarray(weights, np.longdouble)[:, None] * np.prod(
            extended.astype(np.longdouble)[:, None, :] ** exponents, axis=2
        )
        of_points *= kernel.delta**2 * np.array(multiplicity)
        linear = np.asarray(of_points.T @ (along + zeta * rest).astype(np.longdouble), np.float64)
        constant = np.asarray(offset * of_points.sum(axis=0), np.float64)
        left = replace(block, scaled=rest, share=block.share_of(rest))
        return cls(left, weights, V, lead, exponents, np.ascontiguousarray(linear), constant)

    @cached_property
    def _tiles(self) -> list[tuple[slice, FloatArray]]:
        """Points that are taken together, and their leading features, (p, m)."""
        return [(tile, np.ascontiguousarray(self.lead_points[tile].T)) for tile in self.block.tiles(POINTS_PER_TILE)]

    def contract(
        self, y: FloatArray, norms: FloatArray, out: FloatArray, values: FloatArray | None, column: int, *,
        single: bool, workspace: Workspace,
    ) -> FloatArray:  # fmt: skip
        """Energies (n,) at reduced features y (n, r); slopes into `out`, kernel values into the columns of `values`."""
        kernel = self.block.kernel
        assert isinstance(kernel, DotProduct)
        zeta = kernel.integer_zeta()
        assert zeta is not None
        lead = y @ self.directions
        rest = np.dot(lead, self.directions.T, out=workspace.array("rest", *y.shape))
        np.subtract(y, rest, out=rest)
        monomials, changes = self._monomials(lead)
        along = y @ self.linear.T
        along += self.constant
        energies = np.einsum("nm,nm->n", monomials, along)
        lead_slopes = np.einsum("pnm,nm->np", changes, along)
        np.dot(monomials, self.linear, out=out)
        piece, offset = workspace.array("piece", *y.shape), float(kernel.sigma0) ** 2
        products = InnerProducts(self.block, rest, single=single, workspace=workspace)
        for tile, points in self._tiles:
            b = products.forward(tile)
            contract_remainder(
                b, lead, points, offset, float(kernel.delta) ** 2, zeta, self.weights[tile], energies, lead_slopes,
                _NO_VALUES if values is None else values, column + tile.start,
            )  # fmt: skip
            products.backward(b, tile, piece)
            out += piece
        out += np.dot(lead_slopes, self.directions.T, out=piece)
        return energies

    def _monomials(self, lead: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Monomials (n, n_monomials) of the leading features, and their derivatives by these (p, n, n_monomials)."""
        e = self.exponents
        powers = lead[:, :, None] ** np.arange(e.max() + 1)
        factors = [powers[:, i][:, e[:, i]] for i in range(lead.shape[1])]
        changes = np.empty((lead.shape[1], len(lead), len(e)))
        for i in range(lead.shape[1]):
            changes[i] = e[:, i] * powers[:, i][:, np.maximum(e[:, i] - 1, 0)]
            for j, factor in enumerate(factors):
                if j != i:
                    changes[i] *= factor
        return np.asarray(prod(factors[1:], start=factors[0])), changes


def expand(block: SparseBlock, weights: FloatArray) -> Series | Expansion | None:
    """The sum over the points of a block with weights (m,) as far as it can be written without cancellation."""
    return Series.of(block, weights) or Expansion.of(block, weights)


def _exponents(n_variables: int, degree: int) -> IntArray:
    """Of all monomials of a degree, (n, n_variables)."""
    chosen = combinations_with_replacement(range(n_variables), degree)
    return np.array([[which.count(i) for i in range(n_variables)] for which in chosen])


def _chebyshev(t: np.ndarray) -> np.ndarray:
    """Matrix (n, n) from values at the nodes t (n,) to coefficients of Chebyshev polynomials."""
    n = len(t)
    polynomials = [np.ones_like(t), t]
    for _ in range(n - 2):
        polynomials.append(2.0 * t * polynomials[-1] - polynomials[-2])
    matrix = np.stack(polynomials, axis=1) * (2.0 / n)
    matrix[:, 0] *= 0.5
    return matrix


def _monomials(degree: int) -> np.ndarray:
    """Matrix from coefficients of Chebyshev polynomials to those of powers."""
    matrix = np.zeros((degree + 1, degree + 1), np.longdouble)
    matrix[0, 0] = matrix[1, 1] = 1.0
    for k in range(2, degree + 1):
        matrix[k, 1:] = 2.0 * matrix[k - 1, :-1]
        matrix[k] -= matrix[k - 2]
    return matrix
