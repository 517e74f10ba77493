"""Shorter SOAP vectors: channels turned to their principal axes, and pairs that the data never show left out.

For every degree l the channels (radial functions of all neighbour species) are rotated so that their covariance over
the atoms of a sample is diagonal, the strongest first.  Inner products of power spectra do not change under a
rotation, and in the new axes most pairs of channels are zero but for rounding: they are left out up to a tolerance.
Vectors are still divided by the length of the whole, so that what is kept is part of the exact unit vector.

Source of the rotated basis: Goscinski, Musil, Pozdnyakov, Nigam and Ceriotti, J. Chem. Phys. 155, 104106 (2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gapkit._core.soap_tables import Tables
from gapkit.descriptors.soap.tables import pair_factors
from gapkit.typing import FloatArray, IntArray


def principal_products(
    tables: Tables, coefficients: Sequence[FloatArray], tolerance: float
) -> tuple[FloatArray, IntArray]:
    """Rotation (l, n, n) and pairs kept (l, n) for `coefficients` (n_atoms, lm, n) of a sample, by central species.

    These are density coefficients over the square root of the vectors' lengths; `tolerance` is the root mean square of
    what is left out of a unit vector, in every block.
    """
    size, n = tables.l_max + 1, len(tables.first)
    rotation, squares = np.zeros((2, size, n, n))
    for degree in range(size):
        rows = slice(degree**2, (degree + 1) ** 2)
        covariance = sum(np.einsum("ima,imb->ab", c[:, rows], c[:, rows]) / len(c) for c in coefficients)
        axes = np.linalg.eigh(covariance)[1][:, ::-1]
        # signs such that the largest component is positive
        rotation[degree] = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(n)])
        for c in coefficients:
            turned = c[:, rows] @ rotation[degree]
            spectra = np.einsum("ima,imb->iab", turned, turned)
            np.maximum(squares[degree], (spectra**2).mean(axis=0), out=squares[degree])
    squares *= pair_factors(tables.first, np.tile(tables.last, (size, 1)), n) ** 2
    flat = np.sort(squares.ravel())
    left_out = np.searchsorted(np.cumsum(flat), tolerance**2)
    threshold = flat[left_out - 1] if left_out else -1.0
    wanted = (squares > threshold) & (np.arange(n) <= np.arange(n)[:, None])
    return rotation, np.where(wanted.any(axis=2), n - np.argmax(wanted[:, :, ::-1], axis=2), 0)


def rotated_tables(tables: Tables, n_channels: int | None, rotation: FloatArray, kept: IntArray) -> Tables:
    """Tables of rotated channels: mixing matrices for `n_channels` channels; None: into the radial functions."""
    size, n = len(kept), len(tables.first)
    stride = 4 * len(tables.lowest)
    tables = tables._replace(kept=kept, kept_factors=pair_factors(tables.first, kept, stride))
    if n_channels is None:
        nodes = tables.nodes.reshape(*tables.nodes.shape[:2], size, tables.n_stride).copy()
        nodes[..., :n] = np.einsum("pkln,lna->pkla", nodes[..., :n], rotation)
        return tables._replace(nodes=nodes.reshape(tables.nodes.shape), centre=tables.centre @ rotation[0])
    mixing = np.zeros((size, n_channels, stride))
    mixing[:, (np.arange(n) // tables.n_max) * tables.n_stride + np.arange(n) % tables.n_max, :n] = rotation
    return tables._replace(mixing=mixing, unmixing=np.ascontiguousarray(mixing.transpose(0, 2, 1)))


def grown_rotation(
    rotation: FloatArray, kept: IntArray, channels: IntArray, n_channels: int
) -> tuple[FloatArray, IntArray]:
    """Rotation and pairs kept when n channels become `channels` (n,) of more; all pairs with new ones are kept."""
    n_old = len(channels)
    grown = np.zeros((len(rotation), n_channels, n_channels))
    grown[:, channels, :n_old] = rotation
    others = np.setdiff1d(np.arange(n_channels), channels)
    grown[:, others, np.arange(n_old, n_channels)] = 1.0
    pairs = np.tile(np.arange(1, n_channels + 1), (len(rotation), 1))
    pairs[:, :n_old] = kept
    return grown, pairs


def feature_places(old: Tables, new: Tables, columns: IntArray) -> IntArray:
    """Index in the new vector of every feature (l, a, b) of the old one; column a has become columns[a]."""
    lengths = np.maximum(new.kept - new.first, 0)
    starts = (np.cumsum(lengths) - lengths.ravel()).reshape(lengths.shape) - new.first
    return np.concatenate([
        starts[degree, columns[a]] + columns[old.first[a] : last] for degree, a in np.ndindex(old.kept.shape)
        for last in [old.kept[degree, a]]
    ])  # fmt: skip
