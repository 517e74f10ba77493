"""Energy differences: their value, the coefficients that balance atoms, and error bars that hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100
from scipy.stats import binom

from gapkit.exceptions import InputError, NotFittedModelError
from gapkit.gp.variance.targets import covariance_parts
from gapkit.structures import to_batch
from gapkit.uncertainty.calibration import NEGLIGIBLE
from tests.potential.models import label, make_frames, small_model

# Pairs whose error bars are checked, and the chance that as few or as many are covered though the level is right.
N_PAIRS, CHANCE = 60, 1e-3


@pytest.fixture(scope="module")
def copper():
    """A model of copper; tests must not change it."""
    return small_model(calibration="leave-one-out").fit(make_frames(40))


@pytest.fixture(scope="module")
def alloy():
    return small_model(calibration="leave-one-out").fit(make_frames(20, n_gold=3, seed=1))


def energies(model, frames):
    return model.predict(frames).energy


def test_value(copper):
    a, b = make_frames(2, seed=6), make_frames(3, seed=7)
    found = copper.difference(a, b, [0.5, -1.0, 2.0])
    expected = energies(copper, a).sum() - energies(copper, b) @ [0.5, -1.0, 2.0]
    assert found.value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(found.coefficients, [0.5, -1.0, 2.0])
    assert not found.extrapolating
    assert str(found) == f"{found.value:.6g} ± {found.std:.3g} eV"
    far = bulk("Cu", cubic=True, a=3.1)
    assert copper.difference(a, far, [2.0]).extrapolating
    assert copper.difference(far, a, [0.5, 0.5]).extrapolating
    assert str(copper.difference(far, a[0])).endswith(", extrapolation")


def test_single_frames_are_lists_of_one(copper):
    a, b = make_frames(2, seed=6)
    one, other = copper.difference(a, b), copper.difference([a], [b], [1.0])
    assert (one.value, one.std) == (other.value, other.std)


BALANCED = {
    "slab and crystal": (lambda: (fcc100("Cu", (2, 2, 3), vacuum=6.0), bulk("Cu", cubic=True)), [3.0]),
    "vacancy": (lambda: ((bulk("Cu", cubic=True) * 2)[:31], bulk("Cu", cubic=True) * 2), [31 / 32]),
    "alloy and elements": (
        lambda: (with_gold(bulk("Cu", cubic=True), 1), [bulk("Au", cubic=True), bulk("Cu")]), [0.25, 3.0],
    ),
    "two alloys and elements": (
        lambda: (
            [with_gold(bulk("Cu", cubic=True), 1), with_gold(bulk("Cu", cubic=True), 2)], [bulk("Cu"), bulk("Au")],
        ),
        [5.0, 3.0],
    ),
    "alloy and another alloy": (
        lambda: (with_gold(bulk("Cu", cubic=True), 2), with_gold(bulk("Cu", cubic=True) * (2, 1, 1), 4)), [0.5],
    ),
}  # fmt: skip


def with_gold(atoms, n):
    atoms.numbers[:n] = 79
    return atoms


@pytest.mark.parametrize("name", BALANCED)
def test_default_coefficients_leave_no_atom_over(alloy, name):
    make, expected = BALANCED[name]
    a, b = make()
    found = alloy.difference(a, b)
    np.testing.assert_allclose(found.coefficients, expected, rtol=1e-10)
    assert found.value == pytest.approx(alloy.difference(a, b, expected).value, rel=1e-9, abs=1e-9)
    # a constant of every atom changes no such difference
    known = alloy.state_.known
    shifted = replace(known, reference={z: energy + 100.0 for z, energy in known.reference.items()})
    other = alloy.with_state(replace(alloy.state_, known=shifted)).difference(a, b)
    assert other.value == pytest.approx(found.value, abs=1e-8)
    assert other.std == pytest.approx(found.std, rel=1e-9)


NOT_BALANCED = {
    "two crystals of one element": lambda: (bulk("Cu"), [bulk("Cu"), bulk("Cu", cubic=True)]),
    "an element is missing": lambda: (with_gold(bulk("Cu", cubic=True), 1), bulk("Cu")),
    "an element is too many": lambda: (bulk("Cu"), with_gold(bulk("Cu", cubic=True), 1)),
    "other parts of both": lambda: (with_gold(bulk("Cu", cubic=True), 1), with_gold(bulk("Cu", cubic=True), 2)),
}


@pytest.mark.parametrize("name", NOT_BALANCED)
def test_coefficients_must_be_given_where_they_do_not_follow(alloy, name):
    a, b = NOT_BALANCED[name]()
    with pytest.raises(
        InputError, match=r"`coefficients` must be given where .* do not balance the atoms of `frames_a`"
    ):
        alloy.difference(a, b)
    n = 1 if isinstance(b, Atoms) else len(b)
    assert np.isfinite(alloy.difference(a, b, [0.5] * n).std)


@pytest.mark.parametrize("coefficients", [[1.0], [1.0, 2.0, 3.0], []])
def test_one_coefficient_for_each(copper, coefficients):
    a, b = make_frames(1, seed=6), make_frames(2, seed=7)
    with pytest.raises(
        InputError, match="`coefficients` must be a finite number for each of the 2 frames of `frames_b`"
    ):
        copper.difference(a, b, coefficients)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_coefficients_are_finite(copper, value):
    a, b = make_frames(1, seed=6), make_frames(2, seed=7)
    with pytest.raises(InputError, match=r"`coefficients\[1\]` must be a finite number"):
        copper.difference(a, b, [1.0, value])


def test_uncalibrated_models():
    frames = make_frames(12)
    few_energies = [label(a, "forces", "stress") if i > 5 else a for i, a in enumerate(frames)]
    for model in (
        small_model().fit(frames),
        small_model(calibration="leave-one-out").fit(few_energies),
    ):
        with pytest.raises(NotFittedModelError, match="no calibration of energies"):
            model.difference(frames[0], frames[1])


def test_errors_of_similar_structures_cancel(copper):
    atoms = make_frames(1, seed=6)[0]
    for other in (moved(atoms, 0.01), moved(atoms, 0.05)):
        independent = np.linalg.norm(copper.predict([atoms, other], return_std=True).energy_std)
        assert copper.difference(atoms, other).std < independent
    near, far = (copper.difference(atoms, moved(atoms, size)).std for size in (0.005, 0.08))
    assert near < far


def moved(atoms, size):
    new = atoms.copy()
    new.positions[0] += [size, 0.0, -size]
    return new


def test_a_frame_less_itself(alloy):
    """Nothing is left but the errors that every energy has of its own, a."""
    calibration = alloy.calibration_
    frames = [make_frames(1, n_gold=3, seed=6)[0], bulk("Au", cubic=True, a=3.0)]  # known; novel, with close pairs
    for atoms in frames:
        found = alloy.difference(atoms, atoms)
        closer = 1.0 if atoms is frames[0] else alloy.novelty_detector_.pairs[79, 79] / (3.0 / np.sqrt(2))
        kind = calibration.factors("energy", {}, np.zeros(4, int), alloy.extrapolation(atoms).kinds)[0]
        assert found.value == 0.0
        expected = np.sqrt(2) * 4 * calibration.scales["energy"].a * calibration.difference * kind * closer
        assert found.std**2 == pytest.approx(expected**2, abs=1e-10 * 4)  # rounding of the prior's 4 eV^2
        assert found.std < 0.01 * alloy.predict(atoms, return_std=True).energy_std[0] or closer == 1.0


def test_by_the_formula(alloy):
    """Of three frames, one of them novel, from the covariance of the posterior."""
    frames = [*make_frames(2, n_gold=3, seed=6, size=0.06), bulk("Au", "diamond", a=7.0) * (2, 1, 1)]
    weights = np.array([1.0, -0.7, -0.4])
    calibration = alloy.calibration_
    factors = replace(calibration.kinds, factors={"energy": np.array([1.3])})
    priors = {"energy": replace(calibration.priors["energy"], factor=20.0)}
    calibration = replace(calibration, kinds=factors, priors=priors, difference=1.2)
    # thresholds of novelty are a quarter of what they are, so that the last frame is beyond them
    detector = alloy.novelty_detector_
    species = {
        z: replace(of, novelty=replace(of.novelty, start=of.novelty.start / 4.0)) for z, of in detector.species.items()
    }
    state = replace(alloy.state_, calibration=calibration, detector=replace(detector, species=species))
    model = alloy.with_state(state)
    signs = model.extrapolation(frames)
    assert (signs.pair > 1).all()
    t = np.maximum(signs.novelty.reshape(-1, 4).max(axis=1), signs.average**2)
    assert t.max() > NEGLIGIBLE
    parts = model.predict(frames, return_std=True, std="epistemic").variances.energy
    whole = model.covariance(frames)
    data, prior = covariance_parts(
        model.state_.apply(to_batch(frames, labels=False)), model.model_.posterior, ("energy",)
    )
    np.testing.assert_allclose(data + prior, whole)
    np.testing.assert_allclose(np.diagonal(data), parts.data[:, 0, 0], rtol=1e-6)
    scale, ceiling = calibration.scales["energy"], calibration.priors["energy"].ceiling
    known = 1.2**2 * 1.3**2 * (scale.a**2 * np.sum((4 * weights) ** 2) + scale.b**2 * weights @ data @ weights)
    shared = weights * np.sqrt(t**8 / (1 + t**8))
    size = np.sum((4 * weights) ** 2)
    unseen = 20.0**2 * shared @ prior @ shared / size
    expected = known + size * unseen * ceiling / (unseen + ceiling)
    found = model.difference(frames[0], frames[1:], [0.7, 0.4])
    assert found.std**2 == pytest.approx(expected, rel=1e-6)
    assert expected > 1.05 * known


def test_error_bars_hold_for_fresh_pairs(copper):
    """Of as many pairs as chance allows nine in ten are within 1.645 standard deviations."""
    frames = make_frames(2 * N_PAIRS, seed=8)
    covered, sizes = 0, []
    for a, b in zip(frames[::2], frames[1::2], strict=True):
        found = copper.difference(a, b)
        error = found.value - (a.calc.results["energy"] - b.calc.results["energy"])
        covered += abs(error) <= 1.645 * found.std
        sizes.append(abs(error) / found.std)
    assert binom.ppf(CHANCE, N_PAIRS, 0.9) <= covered <= N_PAIRS
    assert np.mean(sizes) > 0.3  # of a normal distribution 0.8: not so wide that they could not fail
