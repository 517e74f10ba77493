"""Error bars from standard deviations: sigma_cal^2 = a^2 + b^2 sigma^2, fitted to residuals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from gapkit.exceptions import InputError
from gapkit.typing import FloatArray

# Half-width in standard deviations of the central 90 % of a normal distribution: at this level sigma_cal is exact.
LEVEL, Z = 0.9, 1.6448536269514722
# Errors have heavier tails than a normal distribution: beyond three standard deviations there shall be few.
TAIL_LEVEL, TAIL_Z = 0.98, 3.0
# Degrees of freedom of Student's t: gross errors, and sites without any, have a bounded influence.
FREEDOM = 4.0
# Errors are not resolved below this part of their root mean square.
RESOLUTION = 1e-3


@dataclass(frozen=True)
class Scale:
    """sigma_cal^2 = a^2 + b^2 sigma^2."""

    a: float  # error where the epistemic variance vanishes; unit of the target
    b: float  # factor of the epistemic standard deviation: above 1 for an overconfident model

    def __call__(self, variances: FloatArray) -> FloatArray:
        """Calibrated variances for epistemic ones, any shape."""
        return np.asarray(self.a**2 + self.b**2 * variances)

    def times(self, factor: float) -> Scale:
        """Both multiplied by a factor."""
        return Scale(self.a * factor, self.b * factor)


def fit_scale(errors: FloatArray, variances: FloatArray, level: float = LEVEL) -> Scale:
    """Most likely a and b, then both scaled so that a part `level` of the errors is within 1.645 sigma_cal.

    Errors (n, c) are of labels outside the training set, variances (n, c) epistemic; InputError without any.
    """
    if errors.shape != variances.shape or errors.size == 0:
        raise InputError(
            f"calibration needs as many errors as variances, at least one, got {errors.shape} and {variances.shape}"
        )
    mean_square = float(np.mean(errors**2))
    if mean_square == 0.0:
        return Scale(0.0, 1.0)
    known = float(np.mean(variances)) or mean_square
    e2 = errors.ravel() ** 2 / mean_square + RESOLUTION**2
    s2 = variances.ravel() / known

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        """Negative log likelihood of Student's t, variances exp(theta) . (1, s2), and its gradient."""
        parts = np.exp(theta)
        v = parts[0] + parts[1] * s2
        ratio = e2 / (FREEDOM * v)
        slope = (0.5 - 0.5 * (FREEDOM + 1.0) * ratio / (1.0 + ratio)) / v
        value = np.mean(0.5 * np.log(v) + 0.5 * (FREEDOM + 1.0) * np.log1p(ratio))
        return float(value), np.array([np.mean(slope) * parts[0], np.mean(slope * s2) * parts[1]])

    floor = 2.0 * np.log(RESOLUTION)
    starts, bounds = [(floor / 2, 0.0), (0.0, floor), (-1.0, -1.0)], [(floor, 20.0), (-30.0, 20.0)]
    found = (minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds) for start in starts)
    best = min(found, key=lambda result: float(result.fun))
    a, b = np.sqrt(np.array([mean_square, mean_square / known]) * np.exp(best.x)).tolist()
    scale = Scale(a, b)
    return scale.times(level_factor(errors, scale(variances), level))


def scores_of(errors: FloatArray, variances: FloatArray) -> FloatArray:
    """|error| / sigma, zero where the error is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(errors == 0.0, 0.0, np.abs(errors) / np.sqrt(variances))


def level_factor(errors: FloatArray, variances: FloatArray, level: float = LEVEL) -> float:
    """Factor that brings a part `level` of the errors within 1.645 standard deviations, and 98 % within 3.

    1 where all errors are zero.
    """
    scores = scores_of(errors, variances)
    inner, outer = (float(np.quantile(scores, part, method="higher")) for part in (level, TAIL_LEVEL))
    factor = max(inner / Z, outer / TAIL_Z)
    return factor if 0.0 < factor < np.inf else 1.0
