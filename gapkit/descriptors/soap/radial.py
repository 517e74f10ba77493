"""Radial bases R_nl(r) and the table that serves them to the SOAP kernel.

A basis gives values only; the table takes them to a twice differentiable quintic interpolant, so that every basis costs
the same and the interpolant's own derivative is the exact derivative of the energy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.linalg import cholesky, sqrtm
from scipy.special import erf, gamma, ive

from gapkit.io.registry import registered
from gapkit.typing import FloatArray

_PADDING = np.sqrt(-2.0 * np.log(1e-3))


@dataclass(frozen=True)
class RadialBasis(ABC):
    """The density coefficients of one neighbour at distance r, without Y_lm; `cutoff` in Å."""

    n_max: int
    l_max: int
    sigma: float  # width of the atomic Gaussians, Å
    cutoff: float

    @abstractmethod
    def values(self, distances: FloatArray) -> FloatArray:
        """R_nl(r), shape (n_points, l_max + 1, n_max); `distances` (n_points,) in Å, >= 0."""

    @property
    def reach(self) -> float:
        """Distance in Å up to which neighbours count without a cutoff function; here as in DScribe."""
        return float(self.cutoff + _PADDING * self.sigma)

    @property
    def _alpha(self) -> float:
        return 1.0 / (2.0 * self.sigma**2)

    @property
    def _degrees(self) -> FloatArray:
        return np.arange(self.l_max + 1.0)[None, :, None]


@registered("RadialBasis", "gaussian")
class GaussianBasis(RadialBasis):
    """Orthonormalised Gaussians of the atoms' own width on a uniform grid: the basis of QUIP's `soap`.

    Source: Bartók, Kondor and Csányi, Phys. Rev. B 87, 184115 (2013), section IV, and Caro, Phys. Rev. B 100, 024112.
    """

    def values(self, distances: FloatArray) -> FloatArray:
        alpha = self._alpha
        boundary = self.cutoff + self.sigma * np.sqrt(2.0 * 10.0 * np.log(10.0))
        grid = np.arange(self.n_max) * boundary / self.n_max
        s, d = grid[:, None] + grid, grid[:, None] - grid
        overlap = np.exp(-alpha * (grid[:, None] ** 2 + grid**2)) * np.sqrt(2.0) * alpha**1.5 * s
        gauss = alpha * np.exp(-0.5 * alpha * d**2) * np.sqrt(np.pi)
        overlap += gauss * (1 + alpha * s**2) * (1 + erf(np.sqrt(0.5 * alpha) * s))
        # T = C^-1 L of the overlap S = L L^T
        orthonormal = np.linalg.solve(np.exp(-alpha * d**2), cholesky(overlap / np.sqrt(128.0 * alpha**5), lower=True))
        r = np.asarray(distances, float)[:, None, None]
        scaled = _scaled_bessel(self._degrees, 2.0 * alpha * r * grid)
        return np.asarray(np.exp(-alpha * (r - grid) ** 2) * scaled @ orthonormal)

    @property
    def reach(self) -> float:
        return self.cutoff


def _scaled_bessel(degree: FloatArray, x: FloatArray) -> FloatArray:
    """exp(-x) i_l(x), the modified spherical Bessel function of the first kind."""
    x, degree = np.broadcast_arrays(x, degree)
    safe = np.maximum(x, 1e-12)
    value = np.sqrt(np.pi / (2.0 * safe)) * ive(degree + 0.5, safe)
    return np.where(x < 1e-12, np.where(degree == 0, 1.0, 0.0), value)


@registered("RadialBasis", "gto")
class GTOBasis(RadialBasis):
    """Gaussian-type orbitals r^l exp(-a r^2), Löwdin orthonormalised for each l: DScribe's `gto`.

    Source: Himanen et al., Comput. Phys. Commun. 247, 106949 (2020), eqs 23-25.
    """

    def values(self, distances: FloatArray) -> FloatArray:
        radii, degree = np.linspace(1.0, self.cutoff, self.n_max), np.arange(self.l_max + 1)[:, None]
        exponents = -np.log(1e-3 / radii**degree) / radii**2  # (l, n), 1/Å^2
        mixing = np.empty((self.l_max + 1, self.n_max, self.n_max))
        for l, a in enumerate(exponents):
            overlap = 0.5 * gamma(l + 1.5) / (a[:, None] + a[None, :]) ** (l + 1.5)
            mixing[l] = np.real(sqrtm(np.linalg.inv(overlap)))
        eta, r = self._alpha, np.asarray(distances, float)[:, None, None]
        total = eta + exponents
        primitive = (np.pi / total) ** 1.5 * (eta * r / total) ** degree * np.exp(-exponents * eta / total * r**2)
        return np.einsum("plk,lnk->pln", primitive, mixing)


@registered("RadialBasis", "polynomial")
class PolynomialBasis(RadialBasis):
    """Orthonormalised (r_c - r)^(n + 2), n = 1..n_max, integrated numerically: DScribe's `polynomial`.

    Source: Himanen et al., Comput. Phys. Commun. 247, 106949 (2020), eqs 26-28; Bartók et al. (2013) eq. 25.
    """

    def values(self, distances: FloatArray) -> FloatArray:
        nodes, weights = np.polynomial.legendre.leggauss(100)
        x = 0.5 * self.cutoff * (nodes + 1.0)
        power = np.arange(1, self.n_max + 1)
        total = power[:, None] + power[None, :]
        overlap = 2.0 * self.cutoff ** (total + 7) / ((total + 5) * (total + 6) * (total + 7))
        mixing = np.real(sqrtm(np.linalg.inv(overlap)))
        functions = mixing @ (self.cutoff - x) ** (power[:, None] + 2)
        eta, r = self._alpha, np.asarray(distances, float)[:, None, None]
        bessel = _scaled_bessel(self._degrees, 2.0 * eta * r * x) * np.exp(-eta * (r - x) ** 2)
        measure = 4.0 * np.pi * (0.5 * self.cutoff * weights) * x**2
        return np.asarray((bessel * measure) @ functions.T)


# Nodes per sigma: the error of quintic Hermite interpolation of a Gaussian of width sigma is then below 1e-12.
NODES_PER_SIGMA = 32


class RadialTable(NamedTuple):
    """Values and first two derivatives (times spacing and its square) of R_nl at uniform nodes; lengths in Å."""

    nodes: FloatArray  # (n_nodes, 3, (l_max + 1) * stride)
    spacing: float
    reach: float


def tabulate(basis: RadialBasis, sigma: float, reach: float, stride: int) -> RadialTable:
    """Sample `basis` up to `reach` Å; derivatives come from a degree 7 spline through twice as many samples.

    Every degree takes `stride` places, at least n_max; those beyond n_max are zero.
    """
    n_nodes = int(np.ceil(reach / sigma * NODES_PER_SIGMA)) + 2
    spacing = reach / (n_nodes - 2)
    r = np.arange(-16, 2 * n_nodes + 16) * (0.5 * spacing)
    sampled = basis.values(np.abs(r))
    # R_nl(-r) = (-1)^l R_nl(r): samples beyond the origin keep the spline accurate there
    sampled[r < 0.0] *= ((-1.0) ** np.arange(sampled.shape[1]))[None, :, None]
    spline = make_interp_spline(r, sampled.reshape(r.size, -1), k=7)
    at = np.arange(n_nodes) * spacing
    values = np.stack([spline(at, order) * spacing**order for order in range(3)], axis=1)
    nodes = np.zeros((n_nodes, 3, sampled.shape[1], stride))
    nodes[..., : sampled.shape[2]] = values.reshape(n_nodes, 3, *sampled.shape[1:])
    return RadialTable(nodes.reshape(n_nodes, 3, -1), spacing, reach)
