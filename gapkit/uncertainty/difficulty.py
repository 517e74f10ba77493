"""How much harder than its standard deviation says a neighbourhood is: known from errors at similar ones.

The posterior of a sparse Gaussian process knows where data are, not where the model fits them badly.  Residuals do: the
factor of a new atom is the geometric mean of |error| / sigma over its nearest neighbours among atoms with known
residuals, in whitened descriptor space, drawn towards 1 as though some neighbours had been exactly as expected.

Source of the idea (normalised conformal prediction with nearest neighbours): Papadopoulos, Vovk and Gammerman,
J. Artif. Intell. Res. 40, 815 (2011).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.neighbourhoods import NO_FRAME, nearest_others

N_NEIGHBOURS = 60
# Leading axes that decide what is similar: more of them, and all neighbours are equally far.
N_AXES = 8
# Weight, in neighbours, of the belief that the factor is 1.
PRIOR_NEIGHBOURS = 5.0
# Factors outside this range are not believed.
LIMITS = (0.2, 5.0)


@dataclass(frozen=True, eq=False)
class Difficulty:
    """Known residuals of one species.

    Attributes
    ----------
    points : ndarray (n, r)
        Whitened descriptor vectors.
    frames : ndarray (n,) of int
        Configuration of each.
    logs : ndarray (n,)
        log(|error| / sigma), zero on average.
    """

    points: FloatArray
    frames: IntArray
    logs: FloatArray

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
        # Weights fall to zero at the last of them, so that factors change smoothly as an atom moves.
        reach = np.maximum(_last_finite(distances), 1e-300)[:, None]
        weights = np.where(np.isfinite(distances), np.maximum(1.0 - (distances / reach) ** 3, 0.0) ** 3, 0.0)
        logs = np.append(self.logs, 0.0)[indices]
        mean = (weights * logs).sum(axis=1) / (weights.sum(axis=1) + PRIOR_NEIGHBOURS)
        return np.clip(np.exp(mean), *LIMITS)


def _last_finite(distances: FloatArray) -> FloatArray:
    """The largest finite distance of each row."""
    return np.asarray(np.where(np.isfinite(distances), distances, 0.0).max(axis=1))
