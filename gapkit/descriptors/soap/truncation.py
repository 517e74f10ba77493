"""Shorter SOAP vectors: channels turned to their principal axes, and pairs that the data never show left out.

For every degree l the channels (radial functions of all neighbour species) are rotated so that their covariance over
the atoms of a sample is diagonal, the strongest first.  Inner products of power spectra do not change under a
rotation, and in the new axes most pairs of channels are zero but for rounding: they are left out up to a tolerance.
The length by which vectors are divided is still that of the whole, so that what is kept is part of the exact unit
vector.

Source of the rotated basis: Goscinski, Musil, Pozdnyakov, Nigam and Ceriotti, J. Chem. Phys. 155, 104106 (2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gapkit.descriptors.base import Block
from gapkit.descriptors.soap.descriptor import SOAPEngine, pair_factors
from gapkit.typing import FloatArray, IntArray


def truncate(engine: SOAPEngine, samples: Sequence[tuple[Block, FloatArray]], tolerance: float) -> SOAPEngine:
    """The engine with the pairs left out whose sum of squares is below tolerance^2 for the atoms of every block.

    Parameters
    ----------
    samples : list of (block, coefficients (n, lm, columns))
        Density coefficients of atoms, each divided by the square root of its vector's length.
    tolerance : float
        Root mean square of what is left out of a unit vector.
    """
    tables = engine.tables
    if len(tables.mixing) or not tables.normalise or not samples:  # compressed by the user's own choice: left as it is
        return engine
    by_block: dict[Block, list[FloatArray]] = {}
    for block, coefficients in samples:
        by_block.setdefault(block, []).append(coefficients)
    groups = [np.concatenate(parts) for parts in by_block.values()]
    size, n = tables.l_max + 1, len(tables.first)
    rotation = np.empty((size, n, n))
    squares = np.zeros((size, n, n))
    for degree in range(size):
        rows = slice(degree**2, (degree + 1) ** 2)
        covariance = sum(np.einsum("ima,imb->ab", c[:, rows], c[:, rows]) / len(c) for c in groups)
        rotation[degree] = _principal_axes(covariance)
        for c in groups:
            turned = c[:, rows] @ rotation[degree]
            products = np.einsum("ima,imb->iab", turned, turned)
            np.maximum(squares[degree], (products**2).mean(axis=0), out=squares[degree])
    squares *= pair_factors(tables.first, np.tile(tables.last, (size, 1)), n) ** 2
    flat = np.sort(squares.ravel())
    left_out = np.searchsorted(np.cumsum(flat), tolerance**2)
    threshold = flat[left_out - 1] if left_out else -1.0
    wanted = (squares > threshold) & (np.arange(n) <= np.arange(n)[:, None])
    kept = np.where(wanted.any(axis=2), n - np.argmax(wanted[:, :, ::-1], axis=2), 0)
    return rotate(engine, rotation, kept)


def _principal_axes(covariance: FloatArray) -> FloatArray:
    """Eigenvectors as columns, the largest eigenvalue first, signs such that the largest component is positive."""
    axes = np.linalg.eigh(covariance)[1][:, ::-1]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(len(axes))])
    return np.asarray(axes * signs)


def rotate(engine: SOAPEngine, rotation: FloatArray, kept: IntArray) -> SOAPEngine:
    """The engine with rotated channels and without the pairs that are not kept.

    Parameters
    ----------
    rotation : ndarray (l_max + 1, n, n)
        Columns are the new channels.
    kept : ndarray (l_max + 1, n) of int
        Pairs (a, b) with b < kept[l, a] stay.
    """
    tables = engine.tables
    size, n = len(kept), len(tables.first)
    stride = 4 * len(tables.lowest)
    changed: dict[str, Any] = {"kept": kept, "kept_factors": pair_factors(tables.first, kept, stride)}
    if len(engine.species) == 1:  # into the radial functions themselves
        nodes = tables.nodes.reshape(*tables.nodes.shape[:2], size, tables.n_stride).copy()
        nodes[..., :n] = np.einsum("pkln,lna->pkla", nodes[..., :n], rotation)
        changed["nodes"] = nodes.reshape(tables.nodes.shape)
        changed["centre"] = tables.centre @ rotation[0]
    else:
        mixing = np.zeros((size, engine.n_channels, stride))
        channels = (np.arange(n) // tables.n_max) * tables.n_stride + np.arange(n) % tables.n_max
        mixing[:, channels, :n] = rotation
        changed["mixing"] = mixing
        changed["unmixing"] = np.ascontiguousarray(mixing.transpose(0, 2, 1))
    return replace(engine, tables=tables._replace(**changed), rotation=rotation, whole=engine)
