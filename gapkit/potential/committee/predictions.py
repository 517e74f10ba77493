"""Predictions of all members of a committee, their means and standard deviations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gapkit.exceptions import InputError
from gapkit.typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class CommitteePredictions:
    """Predictions of all members for a list of frames, atoms of all frames one after another; units as `Predictions`.

    =========  ==========================  =======  ===============================================================
    name       shape                       unit     meaning and sign
    =========  ==========================  =======  ===============================================================
    energy     (n_members, n_frames)       eV       total, reference energies included
    forces     (n_members, n_atoms, 3)     eV/Å     -dE/dr
    stress     (n_members, n_frames, 6)    eV/Å^3   dE/d(strain)/V, order xx, yy, zz, yz, xz, xy; NaN without a
                                                    three-dimensional cell
    offsets    (n_frames + 1,)             1        atoms of frame f are offsets[f] .. offsets[f + 1] - 1
    =========  ==========================  =======  ===============================================================

    Means and standard deviations (with n_members - 1) are over members, and have these shapes without the first axis;
    a standard deviation of fewer than two members is an InputError.
    """

    energy: FloatArray
    forces: FloatArray
    stress: FloatArray
    offsets: IntArray

    @classmethod
    def of(cls, parts: Sequence[Any], offsets: IntArray, join: Callable[..., FloatArray]) -> CommitteePredictions:
        """Joined from parts that have energies, forces and stresses."""
        joined = {name: join([getattr(part, name) for part in parts]) for name in ("energy", "forces", "stress")}
        return cls(**joined, offsets=offsets)

    energy_mean = property(lambda self: self.energy.mean(axis=0), doc="(n_frames,), eV.")
    energy_std = property(lambda self: spread(self.energy), doc="(n_frames,), eV.")
    forces_mean = property(lambda self: self.forces.mean(axis=0), doc="(n_atoms, 3), eV/Å.")
    forces_std = property(lambda self: spread(self.forces), doc="(n_atoms, 3), eV/Å.")
    stress_mean = property(lambda self: self.stress.mean(axis=0), doc="(n_frames, 6), eV/Å^3.")
    stress_std = property(lambda self: spread(self.stress), doc="(n_frames, 6), eV/Å^3.")


def spread(values: FloatArray) -> FloatArray:
    """Standard deviation over members, the first axis; InputError for fewer than two."""
    check_spread(len(values))
    return np.asarray(values.std(axis=0, ddof=1))


def check_spread(n_members: int) -> None:
    """Raise InputError where a standard deviation has too few members."""
    if n_members < 2:
        raise InputError(f"a standard deviation needs at least 2 members, got {n_members}; make a larger committee")
