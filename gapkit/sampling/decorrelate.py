"""Independent snapshots of a trajectory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import ArrayLike

from gapkit.exceptions import DataWarning, InputError
from gapkit.options.checked import checked
from gapkit.sampling.provenance import record

# Autocorrelation times: end of the sum (Sokal's window), and length of a series that tells its own.
_WINDOW, _ENOUGH = 5.0, 50.0


@checked
def autocorrelation_time(series: ArrayLike) -> float:
    """Integrated autocorrelation time of a stationary series, in steps, at least 1/2.

    tau = 1/2 + sum_{t=1}^{W} rho(t), with the smallest window W >= 5 tau(W); 1/2 where nothing is correlated. The mean
    of N values has the variance of N / (2 tau) independent ones.

    Parameters
    ----------
    series : (n,) float
        At least 4 finite values, not all the same, else InputError.

    Notes
    -----
    Sokal, in Functional Integration, NATO ASI B 361, 131 (1997), section 3.
    """
    values = np.asarray(series, dtype=float)
    if values.ndim != 1 or len(values) < 4 or not np.isfinite(values).all():
        raise InputError(f"`series` must hold at least 4 finite values, shape (n,), got shape {values.shape}")
    centred = values - values.mean()
    if not np.ptp(values) > 1e-12 * float(np.abs(values).max()):
        raise InputError(
            f"`series` must vary, got {len(values)} times {values[0]:g}; pass the potential energy of each step"
        )
    spectrum = np.fft.rfft(centred, n=2 * len(centred))
    # covariances of all lags, with the biased normalisation 1/n that keeps the tail small
    covariance = np.fft.irfft(np.abs(spectrum) ** 2)[: len(centred)]
    rho = covariance / covariance[0]
    tau = 0.5 + np.concatenate([[0.0], np.cumsum(rho[1:])])
    settled = np.flatnonzero(np.arange(len(values)) >= _WINDOW * tau)
    return max(0.5, float(tau[settled[0]] if len(settled) else tau.max()))


@checked
def decorrelated(snapshots: Sequence[Atoms], energies: ArrayLike) -> list[Atoms]:
    """Thin a trajectory until its snapshots are independent of one another.

    The stride is ceil(2 tau), the statistical inefficiency: Chodera et al., J. Chem. Theory Comput. 3, 26 (2007),
    with tau, see `autocorrelation_time`, of the potential energy.

    Parameters
    ----------
    snapshots : sequence of Atoms, length n
        Equally spaced in time and equilibrated; leave the start of the run out.
    energies : (n,) float, eV
        Potential energy of each.

    Returns
    -------
    structures : list of Atoms
        Copies with their labels, the last snapshot always among them; `config_type` is "md" where there was none.

    Raises
    ------
    InputError
        If the lengths differ, or the energies are not a varying series of finite numbers.

    Warns
    -----
    DataWarning
        If the series is shorter than 50 tau, so that tau is but a guess and likely too short.
    """
    frames = list(snapshots)
    series = np.asarray(energies, dtype=float)
    if series.shape != (len(frames),):
        raise InputError(f"`energies` must hold one energy per snapshot, shape ({len(frames)},), got {series.shape}")
    for index, frame in enumerate(frames):
        if not isinstance(frame, Atoms):
            raise InputError(f"`snapshots[{index}]` must be ase.Atoms, got {type(frame).__name__}")
    tau = autocorrelation_time(series)
    if len(frames) < _ENOUGH * tau:
        warnings.warn(
            f"{len(frames)} snapshots are fewer than {_ENOUGH:g} autocorrelation times of {tau:.3g} snapshots, so that "
            "this time is but a guess; sample for longer",
            DataWarning,
            stacklevel=2,
        )
    # Rounding up must not see the rounding errors of 2 tau = 1.
    stride = max(1, int(np.ceil(2.0 * tau - 1e-9)))
    # Counted from the end, where equilibration has gone furthest.
    kept = np.arange(len(frames) - 1, -1, -stride)[::-1]
    parameters = {"tau": tau, "stride": stride, "n_snapshots": len(frames)}
    copies, details = [_labelled_copy(frames[at]) for at in kept], [{"snapshot": at} for at in kept]
    types = [str(copy.info.get("config_type", "md")) for copy in copies]
    return [
        record(copy, "decorrelated", parameters, index, config_type=types[index], details=details[index])
        for index, copy in enumerate(copies)
    ]


def _labelled_copy(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.info = deepcopy(atoms.info)
    if isinstance(atoms.calc, SinglePointCalculator):
        copy.calc = SinglePointCalculator(copy, **atoms.calc.results)
    return copy
