"""Coverage of groups, such as species, with what the number of frames can resolve of it.

Components of one frame are not independent: its atoms share their neighbours and their calculation, so they err
together. Frames are taken as independent; snapshots of one trajectory are less than that, and their intervals too
narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
from scipy.special import betaincinv, stdtrit

from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.metrics import covered

TAIL = 0.025  # on both sides of a confidence interval
FINE = 0.1  # narrower intervals are printed with a decimal


@dataclass(frozen=True)
class GroupCoverage:
    """Coverage of a group of components.

    Attributes
    ----------
    coverage : float
        Part of the components within their half-widths.
    lower, upper : float
        95 % confidence interval, see `coverage_by_group`.
    n_frames, n_components : int
        Frames with components in the group, and these components.
    """

    coverage: float
    lower: float
    upper: float
    n_frames: int
    n_components: int

    def excludes(self, level: float) -> bool:
        """Whether `level`, such as 0.9, is outside the confidence interval."""
        return not self.lower <= level <= self.upper

    def to_dict(self) -> dict[str, float]:
        """Return plain numbers, in the order of the attributes."""
        return asdict(self)

    def __str__(self) -> str:
        digits = 1 if self.upper - self.lower < FINE else 0
        middle, low, high = (f"{100 * part:.{digits}f}" for part in (self.coverage, self.lower, self.upper))
        return f"{middle} % ({low}-{high})"


@checked
def coverage_by_group(
    errors: FloatArray, half_widths: FloatArray, groups: Sequence[str], frames: IntArray | None = None
) -> dict[str, GroupCoverage]:
    """Return the coverage of each group of rows with its confidence interval, by the name of the group.

    The interval is the exact one of a binomial proportion [1]_ for an effective number of components [2]_, which is
    between the number of frames and that of components.  It is the smaller of two estimates:

    - p (1 - p) / v, with p the coverage and v its variance as a ratio of sums over frames,
      v = J / (J - 1) sum_j (k_j - p m_j)^2 / (sum_j m_j)^2, where k_j of the m_j components of frame j are covered;
    - sum_j m_j / D with the design effect D = sum_j m_j (1 + (m_j - 1) rho) / sum_j m_j [3]_, rho the intraclass
      correlation from an analysis of variance [4]_.  It sees that large frames may err as the small ones do.

    Few frames leave it uncertain: it is multiplied by the square of the quotient of Student's t for M - 1 and for
    J - 1 degrees of freedom, M the number of components [2]_, which makes it no smaller than its value for rho = 1,
    (sum_j m_j)^2 / sum_j m_j^2.  That value counts for a single frame, and where all or none are covered: nothing
    tells of rho then.

    Parameters
    ----------
    errors : array of shape (n,) or (n, c)
        Predicted minus reference, in any one unit.
    half_widths : array of the same shape and unit
        Half-widths of intervals, may be inf.
    groups : sequence of n str
        Name of the group of each row.
    frames : (n,) int, optional
        Frame of each row; by default each row is a frame of its own.

    Raises
    ------
    InputError
        As `coverage`, or if groups or frames are not one per row.

    References
    ----------
    .. [1] Clopper and Pearson, Biometrika 26, 404 (1934).
    .. [2] Korn and Graubard, Surv. Methodol. 24, 193 (1998).
    .. [3] Kish, Survey Sampling, Wiley (1965).
    .. [4] Ridout, Demetrio and Firth, Biometrics 55, 137 (1999).
    """
    within = covered(errors, half_widths)
    if isinstance(groups, str) or len(groups) != len(within):
        got = repr(groups) if isinstance(groups, str) else len(groups)
        raise InputError(f"`groups` must hold one name per row of `errors`, expected {len(within)}, got {got}")
    owner = np.arange(len(within)) if frames is None else np.asarray(frames)
    if owner.shape != within.shape[:1] or owner.dtype.kind not in "iu":
        raise InputError(
            f"`frames` must hold one whole number per row of `errors`, expected shape {within.shape[:1]}, got "
            f"{owner.shape} of {owner.dtype}; leave it out if each row is a frame of its own"
        )
    names = sorted({str(name) for name in groups})
    index = {name: i for i, name in enumerate(names)}
    group = np.array([index[str(name)] for name in groups])
    owner = np.unique(owner, return_inverse=True)[1]
    parts, part = np.unique(group * (owner.max() + 1) + owner, return_inverse=True)  # frames of each group
    within = within.reshape(len(owner), -1)
    hits = np.asarray(np.bincount(part, weights=within.sum(axis=1)), dtype=np.float64)
    sizes = np.asarray(np.bincount(part) * within.shape[1], dtype=np.float64)
    ends = np.searchsorted(parts, np.arange(len(names) + 1) * (owner.max() + 1))
    return {name: _of_frames(hits[a:b], sizes[a:b]) for name, (a, b) in zip(names, pairwise(ends), strict=True)}


def _of_frames(hits: FloatArray, sizes: FloatArray) -> GroupCoverage:
    part = float(hits.sum() / sizes.sum())
    return GroupCoverage(part, *_interval(part, _effective_number(hits, sizes)), len(sizes), int(sizes.sum()))


def _interval(part: float, number: float) -> tuple[float, float]:
    """Clopper and Pearson's interval; `number` need not be whole."""
    inside, outside = part * number, (1.0 - part) * number
    lower = 0.0 if part == 0.0 else float(betaincinv(inside, outside + 1.0, TAIL))
    upper = 1.0 if part == 1.0 else float(betaincinv(inside + 1.0, outside, 1.0 - TAIL))
    return lower, upper


def _effective_number(hits: FloatArray, sizes: FloatArray) -> float:
    """Independent components that tell as much of the coverage; hits and sizes (n_frames,) count components."""
    n_frames, total = len(sizes), sizes.sum()
    part = hits.sum() / total
    fewest = total**2 / np.sum(sizes**2)
    if n_frames == total or n_frames == 1 or part in (0.0, 1.0):
        return float(fewest)
    between = np.sum((hits - part * sizes) ** 2) / total**2 * n_frames / (n_frames - 1)
    scatter = total if between == 0.0 else min(total, part * (1.0 - part) / between)
    rho = np.clip(_intraclass_correlation(hits, sizes), 0.0, 1.0)
    number = min(scatter, total**2 / np.sum(sizes * (1.0 + (sizes - 1.0) * rho)))
    doubt = (stdtrit(total - 1.0, 1.0 - TAIL) / stdtrit(n_frames - 1.0, 1.0 - TAIL)) ** 2
    return float(max(doubt * number, min(number, fewest)))


def _intraclass_correlation(hits: FloatArray, sizes: FloatArray) -> float:
    """Of being covered, among components of one frame; needs two frames, and one with two components."""
    n_frames, total = len(sizes), sizes.sum()
    part = hits.sum() / total
    within = np.sum(hits * (1.0 - hits / sizes)) / (total - n_frames)
    among = np.sum(sizes * (hits / sizes - part) ** 2) / (n_frames - 1)
    typical = (total - np.sum(sizes**2) / total) / (n_frames - 1)
    return float((among - within) / (among + (typical - 1.0) * within))
