"""Difficulty of a neighbourhood: |error| / sigma of similar ones.

The posterior of a sparse Gaussian process knows the places of data, not the places of misfit.  Residuals do: the factor
of an atom is the geometric mean of |error| / sigma over the nearest atoms with residuals, in whitened descriptor space,
shrunk towards 1.

Source: Papadopoulos, Vovk and Gammerman, J. Artif. Intell. Res. 40, 815 (2011), normalised conformal prediction with
nearest neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit.io.arrays import Array
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.neighbourhoods import FRAMES, NO_FRAME, nearest_others

N_NEIGHBOURS = 60
# Leading axes of the distance: with more of them all neighbours are equally far.
N_AXES = 8
# Weight of the prior factor 1, in neighbours.
PRIOR_NEIGHBOURS = 5.0
# Factors outside this range are not believed.
LIMITS = (0.2, 5.0)


DIFFICULTY = {"points": Array(("n", "leading")), "frames": FRAMES, "logs": Array(("n",))}


@dataclass(frozen=True, eq=False)
class Difficulty:
    """Known residuals of one species."""

    points: FloatArray  # (n, r) whitened descriptor vectors
    frames: IntArray  # (n,) configuration of each
    logs: FloatArray  # (n,) log(|error| / sigma), zero on average

    @classmethod
    def of(cls, points: FloatArray, frames: IntArray, errors: FloatArray, variances: FloatArray) -> Difficulty:
        """From errors and variances (n, c) at whitened vectors (n, >= r)."""
        floor = 1e-3 * np.mean(errors**2) + 1e-300
        square, expected = (errors**2).mean(axis=1) + floor, variances.mean(axis=1) + floor
        logs = 0.5 * np.log(square / expected)
        logs -= logs.mean()
        return cls(points[:, :N_AXES].copy(), frames, logs)

    def factors(self, queries: FloatArray, own: IntArray | None = None) -> FloatArray:
        """Factors (n,) for whitened vectors (n, >= r); `own`: frames whose residuals must not be used."""
        own = np.full(len(queries), NO_FRAME) if own is None else own
        if len(self.points) < 2:
            return np.ones(len(queries))
        distances, indices = nearest_others(self.points, self.frames, queries[:, :N_AXES], own, N_NEIGHBOURS + 1)
        found = np.isfinite(distances)
        # Weights fall to zero at the last neighbour, so that factors change smoothly as an atom moves.
        reach = np.maximum(np.where(found, distances, 0.0).max(axis=1, keepdims=True), 1e-300)
        weights = np.where(found, np.maximum(1.0 - (distances / reach) ** 3, 0.0) ** 3, 0.0)
        logs = np.append(self.logs, 0.0)[indices]
        mean = (weights * logs).sum(axis=1) / (weights.sum(axis=1) + PRIOR_NEIGHBOURS)
        return np.clip(np.exp(mean), *LIMITS)
