"""Shorter SOAP vectors for many species: fewer products of the density's channels, or products of mixtures of them.

A channel A = (s, n) is a radial function of a neighbour species.  Coefficients c[A, lm] become columns
d[a, lm] = sum_A W[l, A, a] c[A, lm], the same for every m, so that sum_m d[a, lm] d[b, lm] / sqrt(2 l + 1) stays
invariant.  Which columns, and which pairs (a, b) of them, is all that a compression says.

Inner products of vectors run over all ordered pairs of a column of the one density and one of the other.  Where both
densities have the same columns, (a, b) and (b, a) are the same number, and sqrt(2) times one of them stands for both;
where they differ, every pair counts as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Protocol, runtime_checkable

import numpy as np

from gapkit.exceptions import InputError
from gapkit.io.registry import registered
from gapkit.options.checked import Checked
from gapkit.options.kinds import Count, SeedNumber
from gapkit.options.values import whole_from
from gapkit.typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns made of the channels, and their pairs first[a] <= b < last[a], both (n,).

    As the kernels want it, first[a] is a multiple of four, and both ascend within each group of four a.
    """

    mixing: FloatArray  # (l_max + 1, n_species * n_max, n_columns): W[l, A, a], n fastest within species
    first: IntArray
    last: IntArray
    is_symmetric: bool  # both densities have the same columns, so that a pair off the diagonal stands for two


@runtime_checkable
class Compression(Protocol):
    """How a SOAP vector is made shorter."""

    def columns(self, species: Sequence[int], n_max: int, l_max: int) -> Columns | None:
        """Columns for channels of the atomic numbers `species`; None: the channels themselves, all pairs."""
        ...


@registered("Compression")
@dataclass(frozen=True)
class Channels(Checked):
    """Product of two densities, each of which keeps or loses its radial and its species index.

    p[a, b, l] = sum_m d1[a, lm] d2[b, lm] / sqrt(2 l + 1), where density i keeps n if nu_R >= i, s if nu_S >= i, and is
    summed over an index that it does not keep.  (2, 2) is SOAP itself; (1, 1) multiplies every channel by the sum of
    all; (2, 0) sees no species and (0, 2) sums over all n.  With one species nu_S makes no difference.

    Order of the vector: b, a, l fastest, in b and a n fastest within species; where both densities keep the same, pairs
    as in SOAP.  Length (l_max + 1) K1 K2, or (l_max + 1) K (K + 1) / 2 where both keep the same; K is the product of
    n_max and n_species, as far as they are kept.  The radial functions are summed as they are: what that means depends
    on `basis`.
    Source: Darby, Kermode and Csányi, npj Comput. Mater. 8, 166 (2022), the generalised kernel.

    Parameters
    ----------
    nu_R, nu_S : {0, 1, 2}
        Densities that keep the radial index, and the species.
    """

    nu_R: Annotated[int, whole_from(0, 2)] = 2
    nu_S: Annotated[int, whole_from(0, 2)] = 2

    def columns(self, species: Sequence[int], n_max: int, l_max: int) -> Columns | None:
        """Columns of the second density, the shorter, then from a multiple of four on those of the first."""
        kept = (np.ones((len(species), 1)), np.eye(len(species))), (np.ones((n_max, 1)), np.eye(n_max))
        first, second = (np.kron(kept[0][self.nu_S >= i], kept[1][self.nu_R >= i]) for i in (1, 2))
        n_first, n_second = first.shape[1], second.shape[1]
        if n_second == len(first):
            return None
        if n_first == n_second:
            return _all_pairs(np.tile(first, (l_max + 1, 1, 1)))
        start = -(-n_second // 4) * 4
        mixing = np.zeros((l_max + 1, len(first), start + n_first))
        mixing[:, :, :n_second], mixing[:, :, start:] = second, first
        return Columns(mixing, np.full(n_second, start), np.full(n_second, start + n_first), False)


@dataclass(frozen=True)
class _Random(Checked):
    """A compression by normal weights."""

    n_channels: Count
    seed: SeedNumber = 0

    def _check(self, most: int, what: str) -> None:
        if self.n_channels > most:
            raise InputError(
                f"`n_channels` of {type(self).__name__} must be at most the {most} {what}, got {self.n_channels}; "
                "lower it, or leave `compression` out"
            )

    def _weights(self, number: int, species: Sequence[int], n_max: int, l_max: int) -> FloatArray:
        """Independent weights (number, l_max + 1, channels, n_channels), of each species from its atomic number.

        By `RandomState`, whose numbers no version of NumPy changes: a model file holds the seed, not the weights.
        """
        shape = number, l_max + 1, n_max, self.n_channels
        weights = [np.random.RandomState([self.seed, z]).standard_normal(shape) for z in species]
        return np.concatenate(weights, axis=2)


@registered("Compression")
class Mixing(_Random):
    """All pairs of a few random combinations of the channels.

    d[k, lm] = sum_A W[l, A, k] c[A, lm], where the K columns of W[l] are orthonormal and span a random subspace, one
    for each l; then as SOAP without compression.  With as many columns as channels, inner products are SOAP's.

    Order of the vector: k, k' <= k, l fastest. Length (l_max + 1) K (K + 1) / 2.
    Source: Darby, Kermode and Csányi, npj Comput. Mater. 8, 166 (2022).

    Parameters
    ----------
    n_channels : int
        K, at most n_species * n_max.
    seed : int
        Of the weights.
    """

    def columns(self, species: Sequence[int], n_max: int, l_max: int) -> Columns:
        """Gaussian weights made orthonormal."""
        self._check(len(species) * n_max, "channels, n_species * n_max")
        axes, triangle = np.linalg.qr(self._weights(1, species, n_max, l_max)[0])
        # the one factor with a positive diagonal: no matter of the LAPACK in use
        return _all_pairs(axes * np.sign(np.diagonal(triangle, axis1=1, axis2=2))[:, None, :])


@registered("Compression")
class TensorReduced(_Random):
    """Products of two random combinations of the channels, each with its own partner only.

    p[k, l] = sum_m u[k, lm] v[k, lm] / sqrt(2 l + 1) for k < K, where u and v are two independent Gaussian mixtures of
    all channels, others for each l.  The inner product of two vectors is an unbiased estimate of SOAP's (before they
    are normalised), with an error that falls as 1 / sqrt(K).  The weights of a species do not depend on the others.

    Order of the vector: k, l fastest. Length (l_max + 1) K.
    Source: Darby et al., Phys. Rev. Lett. 131, 028001 (2023).

    Parameters
    ----------
    n_channels : int
        K, at most the number of pairs of channels.
    seed : int
        Of the weights.
    """

    def columns(self, species: Sequence[int], n_max: int, l_max: int) -> Columns:
        """Four columns for each k: v, u and two that are zero.

        The partners of a column start at a multiple of four, and no two u share a partner: every v needs a group of
        four, so that no arrangement takes fewer than 4 K columns.  With u beside its v, products stay within groups.
        """
        n = self.n_channels
        size = len(species) * n_max
        self._check(size * (size + 1) // 2, "pairs of channels")
        # each a quarter power, so that the sum over K products is a mean
        u, v = self._weights(2, species, n_max, l_max) / n**0.25
        # rows a multiple of 2 kB apart would share a few places of the cache
        mixing = np.zeros((l_max + 1, size, 4 * n + 4 if n % 64 == 0 else 4 * n))
        mixing[:, :, 0 : 4 * n : 4], mixing[:, :, 1 : 4 * n : 4] = v, u
        group = 4 * np.arange(n)[:, None]
        first, last = group + np.array([0, 0, 4, 4]), group + np.array([0, 1, 4, 4])
        return Columns(mixing, first.ravel(), last.ravel(), False)


def with_central_density(columns: Columns | None, n_species: int, n_max: int, l_max: int) -> Columns:
    """Columns with one density more, that of the central atom, which counts as part of every species' density."""
    if columns is None:
        columns = _all_pairs(np.tile(np.eye(n_species * n_max), (l_max + 1, 1, 1)))
    central = columns.mixing.reshape(l_max + 1, n_species, n_max, -1).sum(axis=1)
    return replace(columns, mixing=np.concatenate([columns.mixing, central], axis=1))


def _all_pairs(mixing: FloatArray) -> Columns:
    n = mixing.shape[2]
    return Columns(mixing, np.zeros(n, np.int64), np.arange(1, n + 1), True)
