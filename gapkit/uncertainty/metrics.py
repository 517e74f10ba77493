"""How good predicted standard deviations are: coverage, calibration, proper scores and ranking.

Errors are predicted minus reference values, of shape (n,) for scalars or (n, c) for vectors; stds have the same shape.
Coverage, calibration and scores are taken over components; rankings over rows, by |error| and sqrt(sum of std^2).

Symmetry makes some errors and stds zero up to rounding (forces of a perfect crystal). An error up to 1e-10 is covered
by every interval; likelihood and calibration error leave out components whose std is as small too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.special import erf, ndtri

from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.options.kinds import Count, SeedNumber
from gapkit.typing import BoolArray, FloatArray

_ROUNDING = 1e-10  # errors and stds up to this are zero; far below what matters in eV, eV/Å or eV/Å^3
_MIN_ROWS = 10  # fewer have no largest tenth, and fill no bin of the calibration error
_MAX_BINS = 10


@dataclass(frozen=True)
class UncertaintyMetrics:
    """Measures of predicted stds; None where one is undefined.

    Attributes
    ----------
    n : int
        Number of rows.
    coverage68, coverage90, coverage95 : float
        Fraction of components with |error| <= z std, z the two-sided normal quantile; ideally 0.68, 0.90, 0.95.
    interval_coverage90 : float or None
        Fraction of components within the given half-widths; None without them.
    miscalibration_area : float
        Mean |observed - expected| of `reliability_curve`, from 0 to 0.5 [1]_.
    ence : float or None
        Expected normalised calibration error [2]_: mean |RMV - RMSE| / RMV over bins of equally many components of
        similar std, RMV their root mean variance. There are ten bins, or fewer of at least ten components; None below
        ten components, inf if a bin has errors but only zero stds. Perfect stds still give about
        sqrt(1 / (pi * size of a bin)).
    nll : float or None
        Mean negative log likelihood of N(0, std^2) with its constant, nats per component (for errors in the unit of
        the target). inf if a std is zero and its error is not; None if nothing but zeros is given.
    crps : float
        Mean continuous ranked probability score of N(0, std^2), unit of the target [3]_.
    sharpness : float
        Root mean square std over components, unit of the target.
    spearman : float or None
        Rank correlation of the rows' |error| and std; None if either is the same everywhere.
    spearman_ratio : float or None
        `spearman` over its mean for errors drawn from N(0, std^2), which is far from 1 even for perfect stds [4]_.
        None if that mean is below twice its own sampling error, as of nearly equal stds.
    auroc : float or None
        Area under the ROC curve of the std as a detector of errors above the 90th percentile; chance is 0.5. None
        below ten rows or without such errors (ties).
    enrichment : float or None
        Share of the n // 10 largest errors that are among the n // 10 largest stds, over its value by chance (ties
        count by their probability); at most n / (n // 10), about 10 for many rows. None below ten rows.

    References
    ----------
    .. [1] Tran et al., Mach. Learn.: Sci. Technol. 1, 025006 (2020).
    .. [2] Levi et al., Sensors 22, 5540 (2022).
    .. [3] Gneiting and Raftery, J. Am. Stat. Assoc. 102, 359 (2007), eq. 21 with the opposite sign.
    .. [4] Rasmussen et al., J. Cheminform. 15, 121 (2023).
    """

    n: int
    coverage68: float
    coverage90: float
    coverage95: float
    interval_coverage90: float | None
    miscalibration_area: float
    ence: float | None
    nll: float | None
    crps: float
    sharpness: float
    spearman: float | None
    spearman_ratio: float | None
    auroc: float | None
    enrichment: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Return plain numbers, in the order of the attributes."""
        return asdict(self)


@checked
def uncertainty_metrics(
    errors: FloatArray, stds: FloatArray, *, half_widths: FloatArray | None = None, n_draws: Count = 20,
    random_state: SeedNumber = 0,
) -> UncertaintyMetrics:  # fmt: skip
    """Compare errors with the stds predicted for them.

    Parameters
    ----------
    errors : array of shape (n,) or (n, c)
        Predicted minus reference, in any one unit.
    stds : array of the same shape and unit
        Predicted standard deviations, >= 0.
    half_widths : array of the same shape and unit, optional
        Half-widths of intervals meant to hold 90 % of the components; may be inf.
    n_draws : int
        Number of oracle draws behind `spearman_ratio`, >= 1.
    random_state : int
        Seed of these draws.

    Raises
    ------
    InputError
        If shapes differ, nothing is given, or a value is NaN, infinite or negative where it must not be.
    """
    errors, stds = _checked(errors, stds, "stds")
    row_errors, row_stds = _row_norms(errors), _row_norms(stds)
    known = (np.abs(errors) > _ROUNDING) | (stds > _ROUNDING)
    parts = {level: coverage(errors, ndtri(0.5 + level / 2) * stds) for level in (0.68, 0.90, 0.95)}
    expected, observed = reliability_curve(errors, stds)
    spearman = _spearman(row_errors, row_stds)
    return UncertaintyMetrics(
        n=len(errors),
        coverage68=parts[0.68],
        coverage90=parts[0.90],
        coverage95=parts[0.95],
        interval_coverage90=None if half_widths is None else coverage(errors, half_widths),
        miscalibration_area=float(np.mean(np.abs(observed - expected))),
        ence=_ence(errors[known], stds[known]),
        nll=_nll(errors[known], stds[known]),
        crps=_crps(errors, stds),
        sharpness=float(np.sqrt(np.mean(stds**2))),
        spearman=spearman,
        spearman_ratio=None if spearman is None else _spearman_ratio(spearman, stds, n_draws, random_state),
        auroc=_auroc(row_errors, row_stds),
        enrichment=_enrichment(row_errors, row_stds),
    )


@checked
def reliability_curve(errors: FloatArray, stds: FloatArray, n_levels: Count = 100) -> tuple[FloatArray, FloatArray]:
    """Return the expected and observed coverage (n_levels,) of central normal intervals, for a reliability diagram.

    Components of errors and stds, and what is refused, are those of `uncertainty_metrics`.  Levels are the midpoints of
    equal parts of [0, 1].  Observed below expected means that the stds are too small.  Source: Kuleshov, Fenner and
    Ermon, ICML (2018), here for central intervals.
    """
    errors, stds = _checked(errors, stds, "stds")
    expected = (np.arange(n_levels) + 0.5) / n_levels
    reached = np.sort(erf(_scaled(errors, stds) / np.sqrt(2)), axis=None)  # smallest level that covers each error
    return expected, np.searchsorted(reached, expected, side="right") / errors.size


@checked
def coverage(errors: FloatArray, half_widths: FloatArray) -> float:
    """Return the fraction of components with |error| <= half-width, arrays (n,) or (n, c) of one unit.

    Half-widths may be inf.  InputError if shapes differ, nothing is given, or a value is NaN or negative where it must
    not be.
    """
    return float(np.mean(covered(errors, half_widths)))


def covered(errors: FloatArray, half_widths: FloatArray) -> BoolArray:
    """Whether |error| <= half-width, of the shape of both; arguments and errors are those of `coverage`."""
    errors, half_widths = _checked(errors, half_widths, "half_widths", allow_inf=True)
    return np.abs(errors) <= np.maximum(half_widths, _ROUNDING)


def _checked(
    errors: FloatArray, widths: FloatArray, name: str, allow_inf: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Return errors and stds or half-widths as float arrays of one shape, or raise InputError."""
    errors, widths = np.asarray(errors, dtype=np.float64), np.asarray(widths, dtype=np.float64)
    if errors.ndim not in (1, 2) or errors.size == 0:
        raise InputError(f"`errors` must have shape (n,) or (n, c) and hold a value, got shape {errors.shape}")
    if widths.shape != errors.shape:
        raise InputError(f"`{name}` must have the shape of `errors`, {errors.shape}, got {widths.shape}")
    if not np.isfinite(errors).all():
        raise InputError(f"`errors` must be finite, got {_first(errors, ~np.isfinite(errors))}; drop unlabelled rows")
    bad = ~(widths >= 0) | (np.isinf(widths) & (not allow_inf))
    if bad.any():
        wanted = ">= 0" if allow_inf else "finite and >= 0"
        raise InputError(f"`{name}` must be {wanted}, got {_first(widths, bad)}; pass stds or widths, not variances")
    return errors, widths


def _first(values: FloatArray, bad: BoolArray) -> str:
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    return f"{values[index]} at index {index[0] if len(index) == 1 else index}"


def _row_norms(values: FloatArray) -> FloatArray:
    return np.abs(values) if values.ndim == 1 else np.linalg.norm(values, axis=1)


def _scaled(errors: FloatArray, stds: FloatArray) -> FloatArray:
    """|error| / std: 0 for an error that is zero up to rounding, inf for another one whose std is zero."""
    size = np.abs(errors)
    with np.errstate(divide="ignore", over="ignore"):
        return np.divide(size, stds, out=np.zeros_like(size), where=size > _ROUNDING)


def _nll(errors: FloatArray, stds: FloatArray) -> float | None:
    if errors.size == 0:
        return None
    if np.any(stds == 0):  # log(0) + inf would be NaN
        return float("inf")
    with np.errstate(over="ignore"):
        return float(np.mean(np.log(stds) + 0.5 * _scaled(errors, stds) ** 2) + 0.5 * np.log(2 * np.pi))


def _crps(errors: FloatArray, stds: FloatArray) -> float:
    z = _scaled(errors, stds)
    with np.errstate(over="ignore"):
        density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return float(np.mean(np.abs(errors) * erf(z / np.sqrt(2)) + stds * (2 * density - 1 / np.sqrt(np.pi))))


def rms_in_bins(errors: FloatArray, stds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Root mean square std and error (n_bins,) of components (n,) of similar std; empty below ten components."""
    n_bins = min(_MAX_BINS, errors.size // _MIN_ROWS)
    bins = np.array_split(np.argsort(stds, kind="stable"), n_bins) if n_bins else []
    rms_std, rmse = (np.sqrt([np.mean(values[rows] ** 2) for rows in bins]) for values in (stds, errors))
    return rms_std, rmse


def _ence(errors: FloatArray, stds: FloatArray) -> float | None:
    rmv, rmse = rms_in_bins(errors, stds)
    with np.errstate(divide="ignore"):
        return float(np.mean(np.abs(rmv - rmse) / rmv)) if len(rmv) else None


def _spearman(sizes: FloatArray, stds: FloatArray) -> float | None:
    if np.ptp(sizes) == 0 or np.ptp(stds) == 0:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(sizes, stds).statistic)


def _spearman_ratio(spearman: float, stds: FloatArray, n_draws: int, random_state: int) -> float | None:
    rng = np.random.default_rng(random_state)
    row_stds = _row_norms(stds)
    draws = [_spearman(_row_norms(stds * rng.standard_normal(stds.shape)), row_stds) for _ in range(n_draws)]
    oracle = float(np.mean([0.0 if draw is None else draw for draw in draws]))
    noise = 1 / np.sqrt(n_draws * (len(stds) - 1))  # of the mean, if nothing correlated
    return spearman / oracle if oracle > 2 * noise else None


def _auroc(sizes: FloatArray, stds: FloatArray) -> float | None:
    large = sizes > np.quantile(sizes, 0.9)
    if len(sizes) < _MIN_ROWS or not large.any():
        return None
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(large, stds))


def _enrichment(sizes: FloatArray, stds: FloatArray) -> float | None:
    if (n_top := len(sizes) // 10) == 0:
        return None
    n_found = np.sum(_chance_in_top(sizes, n_top) * _chance_in_top(stds, n_top))
    return float(n_found / n_top * len(sizes) / n_top)


def _chance_in_top(values: FloatArray, n_top: int) -> FloatArray:
    """Probability, ties broken at random, that each value is among the `n_top` largest."""
    last = np.partition(values, -n_top)[-n_top]
    above, tied = values > last, values == last
    return above + tied * ((n_top - above.sum()) / tied.sum())
