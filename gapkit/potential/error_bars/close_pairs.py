"""Pairs closer than any of the training set: what their repulsion may hide.

Descriptors say ever less of two atoms that merge, and the posterior's variance falls again where the truth rises
steepest.  So the bar of a pair that is closer than the closest known one, at d_0, holds the repulsion gained since,

    (Z(d) - Z(d_0))^2 for the energy,  (Z'(d) - Z'(d_0))^2 along the pair for forces,

Z that of Ziegler, Biersack and Littmark, The Stopping and Range of Ions in Matter (1985).  Both grow as the pair
closes.  Pairs of an atom count as wholly correlated.
"""

from __future__ import annotations

import numpy as np

from gapkit.gp.instances import AppliedBasis
from gapkit.terms.pairs import screened_repulsion
from gapkit.typing import FloatArray
from gapkit.uncertainty.novelty import NoveltyDetector


def closer_than_known(applied: AppliedBasis, detector: NoveltyDetector | None) -> dict[str, FloatArray]:
    """Variances (n, c) by target: of energies (eV^2), force components ((eV/Å)^2) and virials (eV^2)."""
    batch, neighbours = applied.batch, applied.neighbours
    shapes = {"energy": (batch.n_frames, 1), "forces": (batch.n_atoms, 3), "virial": (batch.n_frames, 6)}
    found: dict[str, FloatArray] = {kind: np.zeros(shape) for kind, shape in shapes.items()}
    if detector is None:
        return found
    z1, z2 = batch.numbers[neighbours.centres], batch.numbers[neighbours.indices]
    known = detector.closest(z1, z2, neighbours.cutoff)
    close = np.flatnonzero(neighbours.distances < known)
    if len(close) == 0:
        return found
    d, d0 = neighbours.distances[close], known[close]
    charges = z1[close].astype(np.float64), z2[close].astype(np.float64)
    (energy, slope), (energy_0, slope_0) = screened_repulsion(d, *charges), screened_repulsion(d0, *charges)
    centres, frames = neighbours.centres[close], batch.frame_of_atom[neighbours.centres[close]]
    along, steeper = np.abs(neighbours.vectors[close]) / d[:, None], slope_0 - slope
    found["energy"][:, 0] = np.bincount(frames, 0.5 * (energy - energy_0), batch.n_frames) ** 2
    for component in range(3):
        found["forces"][:, component] = np.bincount(centres, steeper * along[:, component], batch.n_atoms) ** 2
    found["virial"][:] = np.bincount(frames, 0.5 * steeper * d, batch.n_frames)[:, None] ** 2
    return found
