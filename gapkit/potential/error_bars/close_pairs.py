"""Pairs closer than any of the training set: what their repulsion may hide.

Descriptors say ever less of two atoms that merge, and the posterior's variance falls again where the truth rises
steepest.  So the bar of a pair that is closer than the closest known one, at d_0, holds the repulsion gained since,

    (Z(d) - Z(d_0))^2 for the energy,  (Z'(d) - Z'(d_0))^2 along the pair for forces,

Z that of Ziegler, Biersack and Littmark, The Stopping and Range of Ions in Matter (1985).  Both grow as the pair
closes.  Pairs of an atom count as wholly correlated.  Light atoms repel each other little: there all else that the bar
is made of is wider by d_0 / d of the closest of the pairs, so that what descriptors lose never makes it narrower.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit.gp.instances import AppliedBasis
from gapkit.potential.error_bars.extrapolation import largest_around
from gapkit.terms.pairs import screened_repulsion
from gapkit.typing import FloatArray
from gapkit.uncertainty.novelty import NoveltyDetector

# Name of the local energies beside those of the targets.
LOCAL = "local"


@dataclass(frozen=True, eq=False)
class ClosePairs:
    """What pairs that are closer than known add to standard deviations, and by how much they widen them."""

    gained: dict[str, FloatArray]  # (n, c) by target, and of local energies: energies and virials in eV, forces in eV/Å
    of_atoms: FloatArray  # (n_atoms,), largest d_0 / d of an atom, 1 without closer pairs
    of_forces: FloatArray  # (n_atoms,), of an atom and its neighbours
    of_frames: FloatArray  # (n_frames,)

    def widened(self, kind: str, variances: FloatArray, factor: FloatArray | float = 1.0) -> FloatArray:
        """Variances (n, c) of a target, or of local energies, with both; `factor` turns `gained` into their unit."""
        wider = {LOCAL: self.of_atoms, "forces": self.of_forces}.get(kind, self.of_frames)[:, None]
        return np.asarray(wider**2 * variances + (self.gained[kind] * factor) ** 2)


def closer_than_known(applied: AppliedBasis, detector: NoveltyDetector | None) -> ClosePairs:
    """Pairs of a batch; none is closer where there is no detector."""
    batch, neighbours = applied.batch, applied.neighbours
    shapes = {
        "energy": (batch.n_frames, 1), "forces": (batch.n_atoms, 3), "virial": (batch.n_frames, 6),
        LOCAL: (batch.n_atoms, 1),
    }  # fmt: skip
    gained: dict[str, FloatArray] = {kind: np.zeros(shape) for kind, shape in shapes.items()}
    of_atoms, of_frames = np.ones(batch.n_atoms), np.ones(batch.n_frames)
    if detector is None:
        return ClosePairs(gained, of_atoms, of_atoms, of_frames)
    z1, z2 = batch.numbers[neighbours.centres], batch.numbers[neighbours.indices]
    known = detector.closest(z1, z2, neighbours.cutoff)
    close = np.flatnonzero(neighbours.distances < known)
    if len(close) == 0:
        return ClosePairs(gained, of_atoms, of_atoms, of_frames)
    d, d0 = neighbours.distances[close], known[close]
    charges = z1[close].astype(np.float64), z2[close].astype(np.float64)
    (energy, slope), (energy_0, slope_0) = screened_repulsion(d, *charges), screened_repulsion(d0, *charges)
    centres, frames = neighbours.centres[close], batch.frame_of_atom[neighbours.centres[close]]
    along, steeper = np.abs(neighbours.vectors[close]) / d[:, None], slope_0 - slope
    gained[LOCAL][:, 0] = np.bincount(centres, 0.5 * (energy - energy_0), batch.n_atoms)
    gained["energy"][:, 0] = np.bincount(frames, 0.5 * (energy - energy_0), batch.n_frames)
    for component in range(3):
        gained["forces"][:, component] = np.bincount(centres, steeper * along[:, component], batch.n_atoms)
    gained["virial"][:] = np.bincount(frames, 0.5 * steeper * d, batch.n_frames)[:, None]
    np.maximum.at(of_atoms, centres, d0 / d)
    np.maximum.at(of_frames, frames, d0 / d)
    return ClosePairs(gained, of_atoms, largest_around(of_atoms, neighbours), of_frames)
