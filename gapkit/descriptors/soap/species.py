"""SOAP vectors for more species: those of the old ones, with further features that are zero where there are none."""

from __future__ import annotations

import numpy as np

from gapkit._core.soap_tables import Tables
from gapkit.typing import FloatArray, IntArray


def grown_rotation(
    rotation: FloatArray, kept: IntArray, channels: IntArray, n_channels: int
) -> tuple[FloatArray, IntArray]:
    """Rotation and pairs kept for more channels; all pairs with new channels are kept.

    Parameters
    ----------
    rotation, kept : ndarray (l, n, n), (l, n)
        Of the old engine.
    channels : ndarray (n,) of int
        Where its channels are among the `n_channels` new ones.
    """
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
    starts = (np.cumsum(lengths) - lengths.ravel()).reshape(lengths.shape)
    found = []
    for degree, row in enumerate(old.kept):
        for a, last in enumerate(row):
            b = columns[int(old.first[a]) : int(last)]
            found.append(starts[degree, columns[a]] + b - new.first[columns[a]])
    return np.concatenate(found)
