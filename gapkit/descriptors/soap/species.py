"""SOAP vectors for more species: those of the old ones, with further features that are zero where there are none."""

from __future__ import annotations

import numpy as np

from gapkit.descriptors.soap.descriptor import SOAPEngine
from gapkit.descriptors.soap.truncation import rotate
from gapkit.exceptions import InputError
from gapkit.typing import IntArray


def grow(old: SOAPEngine, whole: SOAPEngine) -> tuple[SOAPEngine, IntArray]:
    """The engine for more species, and where the features of the old one stand among its own.

    Channels of a truncated engine keep their rotation, and all pairs with channels of new species are kept.

    Parameters
    ----------
    whole : SOAPEngine
        Of the same descriptor, for all species, not truncated.

    Raises
    ------
    InputError
        If the vectors are compressed: then every feature depends on the list of species.
    """
    if len(whole.tables.mixing) or len((old.whole or old).tables.mixing):
        raise InputError(
            "species can't be added to a SOAP term with `compression` or `centre_channels='all'`: its features depend "
            "on the list of species; fit again, or give the descriptor all `species` from the start"
        )
    n_max, n_old, n_new = old.tables.n_max, len(old.tables.first), len(whole.tables.first)
    place = np.array([whole.species.index(z) for z in old.species])
    channels = (n_max * place[:, None] + np.arange(n_max)).ravel()
    if old.rotation is None:
        return whole, _features(old, whole, channels)
    rotation = np.zeros((len(old.rotation), n_new, n_new))
    rotation[:, channels, :n_old] = old.rotation
    others = np.setdiff1d(np.arange(n_new), channels)
    rotation[:, others, np.arange(n_old, n_new)] = 1.0
    kept = np.tile(np.arange(1, n_new + 1), (len(rotation), 1))
    kept[:, :n_old] = old.tables.kept
    engine = rotate(whole, rotation, kept)
    return engine, _features(old, engine, np.arange(n_old))


def _features(old: SOAPEngine, new: SOAPEngine, columns: IntArray) -> IntArray:
    """Index in the new vector of every feature (l, a, b) of the old one; column a has become columns[a]."""
    lengths = np.maximum(new.tables.kept - new.tables.first, 0)
    starts = (np.cumsum(lengths) - lengths.ravel()).reshape(lengths.shape)
    found = []
    for degree, row in enumerate(old.tables.kept):
        for a, last in enumerate(row):
            b = columns[int(old.tables.first[a]) : int(last)]
            found.append(starts[degree, columns[a]] + b - new.tables.first[columns[a]])
    return np.concatenate(found)
