"""Autocorrelation times that are known, and trajectories thinned by them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit.exceptions import DataWarning, InputError
from gapkit.sampling import autocorrelation_time, decorrelated


def ar1(phi: float, n: int, seed: int) -> np.ndarray:
    """x_t = phi x_{t-1} + noise, from its stationary distribution on: rho(t) = phi^t."""
    rng = np.random.default_rng(seed)
    x = np.empty(n)
    x[0] = rng.normal() / np.sqrt(1 - phi**2)
    for t, noise in enumerate(rng.normal(size=n - 1), start=1):
        x[t] = phi * x[t - 1] + noise
    return x


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, 0.97])
def test_autocorrelation_time_of_ar1(phi: float) -> None:
    exact = 0.5 + phi / (1 - phi)
    found = [autocorrelation_time(7.0 + 0.1 * ar1(phi, 20000, seed)) for seed in range(4)]
    # Sokal: the relative error is sqrt(2 (2 W + 1) / n), W = 5 tau; half of that for the mean of four.
    error = 0.5 * np.sqrt(2 * (10 * exact + 1) / 20000)
    assert np.mean(found) == pytest.approx(exact, rel=4 * error + 0.01)


def test_anticorrelated_series_are_not_thinned() -> None:
    assert autocorrelation_time(ar1(-0.6, 2000, 0)) == 0.5


def test_thinned_by_the_statistical_inefficiency() -> None:
    energies = ar1(0.9, 4000, 1)
    frames = [Atoms("Cu", positions=[(t, 0, 0)], info={"REF_energy": e}) for t, e in enumerate(energies)]
    kept = decorrelated(frames, energies)
    stride = kept[0].info["sampling"]["parameters"]["stride"]
    assert stride == np.ceil(2 * autocorrelation_time(energies))
    assert 15 <= stride <= 24  # 2 tau = 19
    at = [m.info["sampling"]["details"]["snapshot"] for m in kept]
    assert at[-1] == 3999
    assert at[0] < stride
    assert set(np.diff(at)) == {stride}
    assert [m.positions[0, 0] for m in kept] == at
    left = energies[at] - energies[at].mean()
    assert abs(left[1:] @ left[:-1] / (left @ left)) < 0.3  # of 0.9 before
    assert "sampling" not in frames[-1].info


def test_independent_snapshots_are_all_kept() -> None:
    energies = ar1(-0.5, 300, 0)
    assert len(decorrelated([Atoms("Cu")] * 300, energies)) == 300


def test_labels_and_config_types_stay() -> None:
    frame = Atoms("Cu", info={"config_type": "liquid", "REF_energy": -3.0})
    frame.calc = SinglePointCalculator(frame, energy=-3.0)
    made = decorrelated([frame] * 99 + [Atoms("Cu")], ar1(-0.5, 100, 0))
    assert [made[at].info["config_type"] for at in (0, -1)] == ["liquid", "md"]
    assert (made[0].get_potential_energy(), made[0].info["REF_energy"]) == (-3.0, -3.0)


def test_short_series() -> None:
    with pytest.warns(DataWarning, match="60 snapshots are fewer than 50 autocorrelation times"):
        decorrelated([Atoms("Cu")] * 60, ar1(0.95, 60, 0))


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"shape \(5,\), got \(4,\)"):
        decorrelated([Atoms("Cu")] * 5, np.arange(4.0))
    with pytest.raises(InputError, match="must vary, got 5 times -3"):
        decorrelated([Atoms("Cu")] * 5, [-3.0] * 5)
    with pytest.raises(InputError, match="at least 4 finite values"):
        autocorrelation_time([1.0, np.nan, 2.0, 3.0, 4.0])
    with pytest.raises(InputError, match="at least 4 finite values"):
        autocorrelation_time([1.0, 2.0])
