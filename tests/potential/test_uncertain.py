"""Error bars of fitted potentials: what they are, whether they hold, and where the model says that they do not."""

from __future__ import annotations

import warnings
from dataclasses import is_dataclass, replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.neighborlist import neighbor_list
from sklearn.base import clone

from gapkit import load
from gapkit.exceptions import CalibrationError, CalibrationWarning, InputError, NotFittedModelError
from gapkit.gp.instances import local_vectors
from gapkit.potential.error_bars import learn, training_set
from gapkit.structures import to_batch
from gapkit.uncertainty.calibration import NEGLIGIBLE
from tests.potential.models import NOISE, label, make_frames, small_model, small_terms

SAME = 1e-8  # the same numbers by another order of sums, relative to the largest
STDS = ("energy_std", "forces_std", "stress_std")
INTERVALS = ("energy_interval", "forces_interval", "stress_interval")


def calibrated(**changes):
    return small_model(calibration="leave-one-out", **changes)


@pytest.fixture(scope="module")
def copper_frames():
    return make_frames(20)


@pytest.fixture(scope="module")
def copper_model(copper_frames):
    """One species; tests must not change it."""
    return calibrated().fit(copper_frames)


@pytest.fixture(scope="module")
def alloy_model():
    """Two species; tests must not change it."""
    return calibrated().fit(make_frames(20, n_gold=3, seed=1))


@pytest.fixture(scope="module", params=["one species", "two species"])
def model(request, copper_model, alloy_model):
    return copper_model if request.param == "one species" else alloy_model


@pytest.fixture(scope="module")
def fresh(model):
    """Frames like the training set of `model` that it has not seen."""
    return make_frames(40, n_gold=3 * (len(model.species_) - 1), seed=6)


def labels_of(frames):
    return {
        "energy": np.array([a.calc.results["energy"] for a in frames]),
        "forces": np.concatenate([a.calc.results["forces"] for a in frames]),
        "stress": np.array([a.calc.results["stress"] for a in frames]),
    }


def assert_identical(p, q):
    for key, value in (p if isinstance(p, dict) else vars(p)).items():
        other = q[key] if isinstance(q, dict) else getattr(q, key)
        if is_dataclass(value) or isinstance(value, dict):
            assert_identical(value, other)
        else:
            np.testing.assert_array_equal(other, value, err_msg=key)


def squeezed(factor, symbol="Cu"):
    atoms = bulk(symbol, cubic=True)
    atoms.set_cell(atoms.cell.array * factor, scale_atoms=True)
    return atoms


# ---------------------------------------------------------------------- what comes back


@pytest.mark.parametrize("std", ["calibrated", "epistemic", "total"])
def test_shapes_and_signs(model, fresh, std):
    p = model.predict(fresh, return_std=True, std=std)
    assert p.std == std
    for name, shape in zip(STDS, [(40,), (160, 3), (40, 6)], strict=True):
        values = getattr(p, name)
        assert values.shape == shape
        assert np.isfinite(values).all()
        assert (values > 0).all()
    assert p.extrapolating.shape == (160,)
    assert p.extrapolating.dtype == bool
    assert (p.variances is None) == (std == "calibrated")
    assert all(getattr(p, name) is None for name in INTERVALS)


def test_nothing_is_added_unasked(copper_model, copper_frames):
    for asked in (False, "local"):
        p = copper_model.predict(copper_frames[:2], return_std=asked)
        assert (p.std, p.extrapolating, p.variances) == (None, None, None)
        assert all(getattr(p, name) is None for name in STDS + INTERVALS)


def test_energies_are_total_energies(model, fresh):
    """A crystal twice as large: std of the total energy doubles, as atoms of equal neighbourhoods err alike."""
    atoms = fresh[0]
    twice = atoms * (2, 1, 1)
    one, two = (model.predict(a, return_std=True, std="epistemic", interval=None) for a in (atoms, twice))
    assert two.energy_std[0] == pytest.approx(2 * one.energy_std[0], rel=1e-6)
    np.testing.assert_allclose(two.stress_std, one.stress_std, rtol=1e-6)
    np.testing.assert_allclose(two.forces_std, np.tile(one.forces_std, (2, 1)), rtol=1e-6)
    one, two = (model.predict(a, return_std=True, interval=0.9) for a in (atoms, twice))
    for name in ("energy_std", "energy_interval"):
        assert getattr(two, name)[0] == pytest.approx(2 * getattr(one, name)[0], rel=1e-6)
    for name in ("forces_std", "forces_interval"):
        np.testing.assert_allclose(getattr(two, name), np.tile(getattr(one, name), (2, 1)), rtol=1e-6)


def test_total_is_epistemic_and_the_noise_of_labels(model, fresh):
    epistemic, total = (model.predict(fresh, return_std=True, std=std) for std in ("epistemic", "total"))
    volumes = np.array([a.get_volume() for a in fresh])[:, None]
    for name, noise in (
        ("energy_std", np.full(40, 4 * NOISE.energy**2)),
        ("forces_std", np.full((160, 3), NOISE.forces**2)),
        ("stress_std", 4 * NOISE.virial**2 / volumes**2 * np.ones(6)),
    ):
        expected = getattr(epistemic, name) ** 2 + noise
        np.testing.assert_allclose(getattr(total, name) ** 2, expected, rtol=1e-10, err_msg=name)


def test_calibrated_is_the_default_and_not_the_posterior(model, fresh):
    default, named, epistemic = (
        model.predict(fresh, return_std=True, std=s) for s in (None, "calibrated", "epistemic")
    )
    assert_identical(default, named)
    for name in (*STDS, "local_energies_std"):
        assert (getattr(default, name) != getattr(epistemic, name)).all()
    for name in ("local_data_variance", "local_prior_variance", "unseen", "novelty"):
        np.testing.assert_array_equal(getattr(default, name), getattr(epistemic, name))


def g(t):
    """Share of the prior."""
    return t**8 / (1 + t**8)


def saturated(x, ceiling):
    return x * ceiling / (x + ceiling)


def with_large_factors(model):
    """Difficulties larger than they are, a factor of the kind, and scales of the prior that are not 1.

    Thresholds of novelty are a twelfth of what they are, so that stretched frames are beyond them.
    """
    known, calibration, detector = model.calibration_.difficulty, model.calibration_, model.novelty_detector_
    species = {
        z: replace(of, novelty=replace(of.novelty, start=of.novelty.start / 12.0)) for z, of in detector.species.items()
    }
    harder = {z: (whitening, replace(of, logs=15 * of.logs)) for z, (whitening, of) in known.items()}
    priors = {name: replace(of, factor=1.7, n_kinds=3) for name, of in calibration.priors.items()}
    factors = {name: np.array([1.3 + 0.2 * i]) for i, name in enumerate(calibration.scales)}
    kinds = replace(calibration.kinds, factors=factors)
    calibration = replace(calibration, difficulty=harder, priors=priors, kinds=kinds)
    detector = replace(detector, species=species)
    return model.with_state(replace(model.state_, calibration=calibration, detector=detector))


@pytest.fixture(scope="module")
def enlarged(alloy_model):
    assert alloy_model.calibration_.kinds.names == ("default",)
    return with_large_factors(alloy_model)


@pytest.fixture(scope="module")
def from_known_to_new():
    """Three frames like the training set, three that are stretched; no pair is closer than the closest known one."""
    frames = make_frames(6, n_gold=3, seed=6, size=0.06)
    for k, atoms in enumerate(frames[3:]):
        atoms.set_cell(atoms.cell.array * (1.04 + 0.04 * k), scale_atoms=True)
    return frames


def test_calibrated_energies_by_the_formula(enlarged, from_known_to_new):
    """m^2 (a^2 + b^2 of the data part) per atom, plus the share of the prior below its ceiling."""
    found = enlarged.predict(from_known_to_new, return_std=True)
    parts = enlarged.predict(from_known_to_new, return_std=True, std="epistemic").variances.energy
    signs, calibration = enlarged.extrapolation(from_known_to_new), enlarged.calibration_
    assert (signs.pair > 1).all()
    t = np.maximum(signs.novelty.reshape(-1, 4).max(axis=1), signs.average**2)
    assert t.max() > 1 > 0.5 > t.min()
    scale, prior = calibration.scales["energy"], calibration.priors["energy"]
    data, unseen = parts.data[:, 0, 0] / 16, parts.prior[:, 0, 0] / 16
    least = 1.3**2 * (scale.a**2 + scale.b**2 * data)
    expected = least + saturated(1.7**2 * g(t) * unseen, prior.ceiling)
    known = t < NEGLIGIBLE
    assert 0 < known.sum() < 4
    np.testing.assert_allclose((found.energy_std / 4)[~known] ** 2, expected[~known], rtol=SAME)
    np.testing.assert_allclose((found.energy_std / 4)[known] ** 2, least[known], rtol=SAME)


def test_calibrated_local_energies_by_the_formula(enlarged, from_known_to_new):
    """As energies per atom, with the atom's own novelty and variances; alone they stay epistemic."""
    found = enlarged.predict(from_known_to_new, return_std=True)
    scale, prior = enlarged.calibration_.scales["energy"], enlarged.calibration_.priors["energy"]
    unseen = saturated(1.7**2 * g(found.novelty) * found.local_prior_variance, prior.ceiling)
    expected = 1.3**2 * (scale.a**2 + scale.b**2 * found.local_data_variance) + unseen
    np.testing.assert_allclose(found.local_energies_std**2, expected, rtol=1e-10)
    assert (unseen > 0.02 * expected).any()
    for asked in ({"return_std": "local"}, {"return_std": True, "std": "epistemic"}):
        p = enlarged.predict(from_known_to_new, **asked)
        np.testing.assert_allclose(
            p.local_energies_std**2, found.local_data_variance + found.local_prior_variance, rtol=1e-3
        )


def test_calibrated_forces_by_the_formula(enlarged, from_known_to_new):
    """As energies, times the difficulty of every atom's neighbourhood, as novel as the most novel atom around."""
    frames, calibration = from_known_to_new, enlarged.calibration_
    found = enlarged.predict(frames, return_std=True)
    parts = enlarged.predict(frames, return_std=True, std="epistemic").variances.forces
    data, prior = (np.einsum("ncc->nc", part) for part in (parts.data, parts.prior))
    batch = to_batch(frames, labels=False)
    vectors = local_vectors(enlarged.state_.apply(batch))
    m = calibration.factors("forces", vectors, np.repeat(np.arange(6), 4), np.zeros(6, int))[:, None]
    np.testing.assert_allclose(
        m, 1.5 * calibration.factors("forces", vectors, np.repeat(np.arange(6), 4), -np.ones(6, int))[:, None]
    )
    assert m.max() > 1.65 > 1.35 > m.min()
    scale = calibration.scales["forces"]
    least = m**2 * (scale.a**2 + scale.b**2 * data)
    signs = enlarged.extrapolation(frames)
    t = np.concatenate([largest_nearby(a, signs.novelty[4 * k : 4 * k + 4]) for k, a in enumerate(frames)])
    t = np.maximum(t, np.repeat(signs.average**2, 4))[:, None]
    expected = least + saturated(1.7**2 * g(t) * prior, calibration.priors["forces"].ceiling)
    known = t[:, 0] < NEGLIGIBLE
    np.testing.assert_allclose(found.forces_std[known] ** 2, least[known], rtol=SAME)
    assert (~known).sum() > 8
    np.testing.assert_allclose(found.forces_std[~known] ** 2, expected[~known], rtol=SAME)
    assert (expected[12:] > 1.1 * least[12:]).any()


def largest_nearby(atoms, values, cutoff=4.0):
    """Largest value of every atom and its neighbours."""
    largest = values.copy()
    for i, j in zip(*neighbor_list("ij", atoms, cutoff), strict=True):
        largest[i] = max(largest[i], values[j])
    return largest


def test_asking_changes_no_prediction(model, fresh):
    plain, full = model.predict(fresh), model.predict(fresh, return_std=True, interval=0.9)
    for name in ("energy", "forces", "stress", "local_energies"):
        expected = getattr(plain, name)
        np.testing.assert_allclose(getattr(full, name), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_frames_do_not_influence_each_other(model, fresh):
    together = model.predict(fresh[:5], return_std=True, interval=0.9)
    for i, atoms in enumerate(fresh[:5]):
        alone = model.predict(atoms, return_std=True, interval=0.9)
        for name in (*STDS, *INTERVALS, "extrapolating", "extrapolating_frames", "local_energies_std"):
            all_of_them = getattr(together, name)
            mine = all_of_them[4 * i : 4 * i + 4] if len(all_of_them) == 20 else all_of_them[[i]]
            np.testing.assert_allclose(getattr(alone, name), mine, rtol=1e-7, err_msg=name)


def test_no_stress_without_a_cell(copper_model, fresh):
    molecule = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])
    p = copper_model.predict([molecule, squeezed(1.0)], return_std=True, interval=0.9)
    for name in ("stress_std", "stress_interval"):
        assert np.isnan(getattr(p, name)[0]).all()
        assert (getattr(p, name)[1] > 0).all()
    assert copper_model.predict(molecule, return_std=True).stress_std is None
    assert np.isfinite(p.energy_std).all()


def test_a_lone_atom(copper_model):
    p = copper_model.predict(Atoms("Cu"), return_std=True, interval=0.9)
    assert np.isfinite(p.energy_std).all()
    assert np.isfinite(p.forces_std).all()
    assert p.extrapolating.all()


# ---------------------------------------------------------------------- intervals


def test_intervals_cover(model, fresh):
    """Most of what they should, and without being so wide that they could not fail: normal errors have 2.06."""
    p = model.predict(fresh, return_std=True, interval=0.9)
    for name, values in labels_of(fresh).items():
        errors, widths = np.abs(getattr(p, name) - values), getattr(p, f"{name}_interval")
        assert 0.75 <= np.mean(errors <= widths) <= 1.0
        own = ~(p.extrapolating if name == "forces" else p.extrapolating_frames)  # others have the prior's bars
        assert own.mean() > 0.5
        assert widths[own].mean() < 4.0 * errors[own].mean()


def test_intervals_grow_with_the_level(model, fresh):
    levels = (0.2, 0.5, 0.68, 0.9, 0.95)
    found = [model.predict(fresh[:3], return_std=True, interval=level) for level in levels]
    for name in INTERVALS:
        widths = np.array([getattr(p, name) for p in found])
        assert widths.shape[1:] == getattr(found[0], name.replace("interval", "std")).shape
        assert (np.diff(widths, axis=0) > 0).all()
    for p in found:
        assert_identical_stds(p, found[0])


def assert_identical_stds(p, q):
    for name in STDS:
        np.testing.assert_array_equal(getattr(p, name), getattr(q, name))


def test_levels_that_twenty_configurations_cannot_give(model, fresh):
    with pytest.raises(CalibrationError, match=r"of level 0\.99 need more configurations than the 20"):
        model.predict(fresh[0], return_std=True, interval=0.99)
    for level in (0.0, 1.0, 90):
        with pytest.raises(InputError, match="`interval` must be a number > 0 and < 1"):
            model.predict(fresh[0], return_std=True, interval=level)


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"std": "epistemic"}, "`std` and `interval` need `return_std=True`"),
        ({"interval": 0.9}, "`std` and `interval` need `return_std=True`"),
        ({"return_std": "local", "std": "calibrated"}, "need `return_std=True`"),
        ({"return_std": True, "std": "aleatoric"}, "`std` must be one of calibrated, epistemic, total"),
        ({"return_std": "yes"}, "`return_std` must be"),
        ({"return_std": True, "std": "epistemic", "interval": 0.9}, "`interval` needs calibrated"),
        ({"return_std": True, "std": "total", "interval": 0.9}, "`interval` needs calibrated"),
    ],
)
def test_arguments_are_checked(copper_model, copper_frames, asked, message):
    with pytest.raises(InputError, match=message):
        copper_model.predict(copper_frames[0], **asked)


def test_uncalibrated_models(copper_frames):
    model = small_model().fit(copper_frames)
    assert (model.calibration_, model.novelty_detector_) == (None, None)
    p = model.predict(copper_frames[:2], return_std=True)
    assert p.std == "epistemic"
    assert p.extrapolating is None
    with pytest.raises(NotFittedModelError, match="no calibration"):
        model.predict(copper_frames[0], return_std=True, std="calibrated")
    with pytest.raises(InputError, match="`interval` needs calibrated"):
        model.predict(copper_frames[0], return_std=True, interval=0.9)
    for call in (model.is_extrapolating, model.extrapolation, model.calibrate):
        with pytest.raises(NotFittedModelError, match="thresholds of novelty"):
            call(copper_frames)


def test_unfitted_models(copper_frames):
    for name in ("calibrate", "leave_one_out", "extrapolation", "is_extrapolating", "covariance"):
        with pytest.raises(NotFittedModelError, match="not fitted"):
            getattr(calibrated(), name)(copper_frames)
    with pytest.raises(InputError, match="`calibration` must be"):
        small_model(calibration="frames").fit(copper_frames)


def test_too_few_frames_warn(copper_frames):
    with pytest.warns(CalibrationWarning, match="not calibrated.*at least 10 labelled configurations.*got 9 frames"):
        model = calibrated().fit(copper_frames[:9])
    assert model.calibration_ is None
    assert model.predict(copper_frames[12], return_std=True).std == "epistemic"
    assert model.is_extrapolating(squeezed(0.85)).all()  # thresholds need no labels
    assert calibrated().fit(copper_frames[:10]).calibration_.n_configurations == 10


def test_a_second_fit_forgets_the_first(copper_frames):
    model = calibrated(terms=small_terms(12)).fit(copper_frames)
    with pytest.warns(CalibrationWarning):
        model.fit(copper_frames[:5])
    assert model.calibration_ is None


# ---------------------------------------------------------------------- calibration


def test_what_the_fit_learns(copper_model, alloy_model):
    for model in (copper_model, alloy_model):
        assert model.calibration_.source == "leave-one-out"
        assert model.calibration_.n_configurations == 20
        assert set(model.calibration_.scales) == {"energy", "forces", "stress"}
        assert set(model.calibration_.difficulty) == set(model.state_.species)
        assert set(model.novelty_detector_.species) == set(model.state_.species)
    assert list(copper_model.novelty_detector_.pairs) == [(29, 29)]
    assert set(alloy_model.novelty_detector_.pairs) == {(29, 29), (29, 79), (79, 79)}


def test_closest_pairs(copper_model, copper_frames):
    shortest = min((a * (2, 2, 2)).get_all_distances(mic=True)[np.triu_indices(32, 1)].min() for a in copper_frames)
    assert copper_model.novelty_detector_.pairs[29, 29] == pytest.approx(shortest, rel=1e-10)


def test_training_sets_are_read_in_parts(copper_model, copper_frames, monkeypatch):
    """Frames by frames, as large sets are: the same thresholds."""
    monkeypatch.setattr(training_set, "ATOMS_PER_WAVE", 8)
    model = calibrated().fit(copper_frames)
    assert model.novelty_detector_.pairs == copper_model.novelty_detector_.pairs
    one, other = (m.novelty_detector_.thresholds()[29] for m in (model, copper_model))
    assert one == pytest.approx(other, rel=1e-6)
    np.testing.assert_array_equal(
        model.novelty_detector_.species[29].frames, copper_model.novelty_detector_.species[29].frames
    )


def test_kinds_without_labels_have_no_error_bars(copper_frames):
    model = calibrated().fit([label(a, "energy", "stress") for a in copper_frames])
    p = model.predict(copper_frames[:2], return_std=True, interval=0.9)
    assert (p.forces_std, p.forces_interval) == (None, None)
    assert np.isfinite([p.energy_std, p.energy_interval]).all()
    assert np.isfinite(p.stress_std).all()
    few_energies = [label(a, "forces", "stress") if i > 5 else a for i, a in enumerate(copper_frames)]
    p = calibrated().fit(few_energies).predict(copper_frames[:2], return_std=True, interval=0.9)
    assert np.isnan(p.energy_std).all()
    assert p.energy_interval is None
    assert np.isfinite(p.forces_std).all()


def with_noise(frames, size, seed):
    """Forces that are wrong by `size` at random."""
    rng = np.random.default_rng(seed)
    noisy = []
    for atoms in frames:
        new = atoms.copy()
        forces = atoms.calc.results["forces"] + rng.normal(scale=size, size=(len(atoms), 3))
        new.calc = SinglePointCalculator(new, **{**atoms.calc.results, "forces": forces})
        noisy.append(new)
    return noisy


def test_calibrate_on_frames_held_out(copper_frames):
    """Their forces are wrong by 0.5 eV/Å: that is what the forces' error bars become, and no other's."""
    model = calibrated().fit(copper_frames)
    new = make_frames(40, seed=6)
    before, thresholds = model.predict(new, return_std=True), model.novelty_detector_.thresholds()
    assert model.calibrate(with_noise(new, 0.5, 0)) is model
    assert model.calibration_.source == "frames"
    assert model.calibration_.n_configurations == 40
    assert model.calibration_.scales["forces"].a == pytest.approx(0.5, rel=0.15)
    after = model.predict(new, return_std=True, interval=0.95)
    assert np.median(after.forces_std) == pytest.approx(0.5, rel=0.15)
    assert np.median(before.forces_std) < 0.1
    assert (after.energy_std < 5 * before.energy_std).all()
    assert model.novelty_detector_.thresholds() == thresholds
    held_out = with_noise(make_frames(40, seed=7), 0.5, 1)
    p = model.predict(held_out, return_std=True, interval=0.9)
    errors = np.abs(p.forces - labels_of(held_out)["forces"])
    assert np.mean(errors <= p.forces_interval) == pytest.approx(0.9, abs=0.05)
    np.testing.assert_array_equal(after.energy, before.energy)


def test_calibrate_with_the_signs_and_units_of_labels(copper_frames):
    """Of all three kinds: with a wrong sign or unit the error bars would be as large as the labels."""
    model = calibrated().fit(copper_frames)
    new = make_frames(40, seed=6)
    model.calibrate(new)
    p = model.predict(make_frames(40, seed=7), return_std=True, interval=0.9)
    for name, values in labels_of(make_frames(40, seed=7)).items():
        errors, widths = np.abs(getattr(p, name) - values), getattr(p, f"{name}_interval")
        assert 0.75 <= np.mean(errors <= widths) <= 1.0
        assert widths.mean() < 4.0 * errors.mean()


def test_calibrate_sees_every_component_of_the_stress(copper_frames):
    """A sixth of the errors is large whichever component is wrong, and 90 % must be within 1.645 stds."""
    model, new = calibrated(terms=small_terms(12)).fit(copper_frames), make_frames(20, seed=6)
    plain = np.median(model.calibrate(new).predict(new, return_std=True).stress_std)
    for component in range(6):
        wrong = []
        for i, atoms in enumerate(new):
            stress = atoms.calc.results["stress"].copy()
            stress[component] += 0.5 * (-1) ** i
            wrong.append(atoms.copy())
            wrong[-1].calc = SinglePointCalculator(wrong[-1], **{**atoms.calc.results, "stress": stress})
        stds = model.calibrate(wrong).predict(new, return_std=True).stress_std
        assert np.median(stds) > 10 * plain


def test_calibrate_on_too_few_frames_changes_nothing(copper_frames):
    model = calibrated(terms=small_terms(12)).fit(copper_frames)
    kept = model.calibration_
    with pytest.raises(CalibrationError, match="at least 10 labelled configurations of a kind, got 9 frames"):
        model.calibrate(make_frames(9, seed=6))
    assert model.calibration_ is kept


def test_partial_fit_keeps_the_calibration(copper_frames):
    model = calibrated(terms=small_terms(12)).fit(copper_frames)
    kept = model.calibration_, model.novelty_detector_
    model.partial_fit(make_frames(3, seed=9))
    assert (model.calibration_, model.novelty_detector_) == kept
    assert model.predict(copper_frames[0], return_std=True).std == "calibrated"


def test_leave_one_out_refuses_other_frames(copper_model, copper_frames):
    found = copper_model.leave_one_out(copper_frames)
    assert len(found.forces.errors) == 80
    for frames in (copper_frames[:-1], copper_frames[::-1], make_frames(20, seed=3)):
        with pytest.raises(InputError, match="needs the frames that the model was fitted to"):
            copper_model.leave_one_out(frames)


# ---------------------------------------------------------------------- the same model again


def assert_same_calibration(one, other, tolerance):
    for before, after in (
        (one.calibration_.to_arrays(), other.calibration_.to_arrays()),
        (one.novelty_detector_.to_arrays(), other.novelty_detector_.to_arrays()),
    ):
        assert before.keys() == after.keys()
        for name, array in before.items():
            if tolerance == 0.0:
                np.testing.assert_array_equal(after[name], array, err_msg=name)
            elif not name.startswith(("axes", "points")):  # signs of principal axes are arbitrary
                largest = np.abs(array[np.isfinite(array)]).max(initial=0.0)
                np.testing.assert_allclose(after[name], array, rtol=0, atol=tolerance * largest, err_msg=name)


def test_same_seed_same_calibration(alloy_model, fresh):
    other = calibrated().fit(make_frames(20, n_gold=3, seed=1))
    assert_same_calibration(alloy_model, other, 0.0)


def test_threads_change_nothing(alloy_model):
    frames = make_frames(5, n_gold=3, seed=6)
    other = calibrated(n_jobs=2).fit(make_frames(20, n_gold=3, seed=1))
    assert_same_calibration(alloy_model, other, SAME)
    p, q = (m.predict(frames, return_std=True, interval=0.9) for m in (alloy_model, other))
    for name in STDS + INTERVALS:
        expected = getattr(p, name)
        np.testing.assert_allclose(getattr(q, name), expected, rtol=0, atol=SAME * expected.max(), err_msg=name)
    np.testing.assert_array_equal(q.extrapolating, p.extrapolating)
    np.testing.assert_array_equal(q.extrapolating_frames, p.extrapolating_frames)


@pytest.mark.parametrize("std", [None, "epistemic", "total"])
def test_saved_and_loaded(model, fresh, tmp_path, std):
    model.save(tmp_path / "m.gapkit")
    other = load(tmp_path / "m.gapkit")
    interval = None if std else 0.9
    frames = [*fresh[:5], squeezed(0.9)]
    assert_identical(*(m.predict(frames, return_std=True, std=std, interval=interval) for m in (model, other)))
    assert_identical(*(m.extrapolation(frames, 0.02) for m in (model, other)))
    assert_same_calibration(model, other, 0.0)
    assert (other.calibration_.source, other.calibration_.n_configurations) == ("leave-one-out", 20)


def test_an_uncalibrated_model_stays_so_in_a_file(copper_frames, tmp_path):
    small_model(terms=small_terms(8)).fit(copper_frames[:5]).save(tmp_path / "m.gapkit")
    other = load(tmp_path / "m.gapkit")
    assert (other.calibration_, other.novelty_detector_) == (None, None)
    assert other.predict(copper_frames[0], return_std=True).std == "epistemic"


def test_clone_and_parameters(copper_model):
    other = clone(copper_model)
    assert other.get_params()["calibration"] == "leave-one-out"
    assert not hasattr(other, "calibration_")
    assert other.set_params(calibration=None).calibration is None
    assert copper_model.calibration == "leave-one-out"


def test_summary_tells_the_calibration(copper_model):
    assert "calibrated on 20 configurations (leave-one-out)" in copper_model.calibration_.summary()


# ---------------------------------------------------------------------- extrapolation


def test_structures_like_the_training_set_are_mostly_known(copper_model, alloy_model):
    for model, n_gold, most in ((copper_model, 0, 0.02), (alloy_model, 3, 0.2)):  # the alloy has few of each kind
        frames = make_frames(40, n_gold=n_gold, seed=6)
        found = model.extrapolation(frames)
        assert found.atoms.mean() <= most
        of_average = found.average > 1
        assert of_average.mean() <= most
        np.testing.assert_array_equal(found.frames, found.atoms.reshape(-1, 4).any(axis=1) | of_average)
        np.testing.assert_array_equal(model.is_extrapolating(frames), found.frames)
        p = model.predict(frames, return_std=True)
        np.testing.assert_array_equal(p.extrapolating, found.forces)
        np.testing.assert_array_equal(p.extrapolating_frames, found.frames)


def test_forces_that_depend_on_what_is_unlike_the_training_set(copper_model):
    """A strange atom flags its neighbours' forces; a frame that is strange as a whole flags all."""
    wide = squeezed(1.0) * (4, 2, 2)
    wide.rattle(0.03, seed=0)
    wide.positions[0] += [0.0, 0.5, 0.0]
    strained = squeezed(1.0) * (3, 1, 1)
    strained.set_cell(strained.cell.array * 1.025, scale_atoms=True)
    frames = [wide, strained]
    found = copper_model.extrapolation(frames)
    own, mine = found.atoms[:64], found.forces[:64]
    assert 0 < own.sum() < mine.sum() < 64
    np.testing.assert_array_equal(mine, largest_nearby(wide, own.astype(float)) > 0)
    np.testing.assert_array_equal(found.average > 1, [False, True])
    assert not found.atoms[64:].any()
    assert found.forces[64:].all()
    assert found.frames.all()
    p = copper_model.predict(frames, return_std=True)
    np.testing.assert_array_equal(p.extrapolating, found.forces)
    np.testing.assert_array_equal(p[1].extrapolating_frames, [True])


STRANGE = {
    "compressed": lambda: squeezed(0.88),
    "stretched": lambda: squeezed(1.12),
    "dimer": lambda: Atoms("Cu2", [[0, 0, 0], [0, 0, 2.4]]),
    "close dimer": lambda: Atoms("Cu2", [[0, 0, 0], [0, 0, 1.4]]),
    "diamond": lambda: bulk("Cu", "diamond", a=5.5),
    "simple cubic": lambda: bulk("Cu", "sc", a=2.5),
    "vacancies": lambda: squeezed(1.0)[:2],
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_structures_are_flagged(copper_model, copper_frames, name):
    atoms = STRANGE[name]()
    found = copper_model.extrapolation([copper_frames[0], atoms, copper_frames[1]])
    np.testing.assert_array_equal(found.frames, [False, True, False])
    np.testing.assert_array_equal(found.atoms, [False] * 4 + [True] * len(atoms) + [False] * 4)


@pytest.mark.parametrize("factor", [0.9, 0.94, 1.06, 1.1])
def test_strained_perfect_crystals(copper_model, factor):
    """Forces vanish by symmetry, and with them their stds: it takes other signs to tell that strains are new."""
    strained, rattled = squeezed(factor), squeezed(factor)
    rattled.rattle(0.05, seed=1)
    stds = [copper_model.predict(a, return_std=True, std="epistemic").forces_std for a in (strained, rattled)]
    assert stds[0].max() < 1e-3 * np.median(stds[1])
    assert copper_model.is_extrapolating(strained).all()
    assert not copper_model.is_extrapolating(squeezed(1.0 + (factor - 1.0) / 5)).any()


def test_extrapolation_in_numbers(copper_model):
    cells = [squeezed(factor) for factor in (1.0, 0.97, 0.94, 0.91, 0.88)]
    found = copper_model.extrapolation(cells)
    assert found.false_alarm == 1e-3
    for name in ("novelty", "distance", "pair", "atoms"):
        assert getattr(found, name).shape == (20,)
    assert found.frames.shape == (5,)
    assert (np.diff(found.distance[::4][1:]) > 0).all()
    assert (np.diff(found.novelty[::4][1:]) > 0).all()
    closest = copper_model.novelty_detector_.pairs[29, 29]
    np.testing.assert_allclose(found.pair[::4], [a.cell[0, 0] / np.sqrt(2) / closest for a in cells], rtol=1e-10)
    flagged = (found.novelty > 1) | (found.distance > 1) | (found.pair < 0.98)
    np.testing.assert_array_equal(found.atoms, flagged)
    # novelty is that of the prediction over its threshold
    limit, _ = copper_model.novelty_detector_.thresholds()[29]
    p = copper_model.predict(cells, return_std=True)
    np.testing.assert_array_equal(p.novelty, p.unseen / limit)
    np.testing.assert_allclose(found.novelty, p.novelty, rtol=1e-6, atol=1e-9)  # another order of sums


def test_more_false_alarms_more_flags(model, fresh):
    flags = [model.extrapolation(fresh, rate).atoms for rate in (1e-6, 1e-3, 0.05)]
    assert (flags[0] <= flags[1]).all()
    assert (flags[1] <= flags[2]).all()
    assert flags[0].sum() < flags[2].sum()
    assert model.is_extrapolating(squeezed(0.85), 1e-6).all()
    with pytest.raises(InputError, match="`false_alarm`"):
        model.is_extrapolating(fresh, 0.1)


@pytest.mark.parametrize("symbols", ["Cu2", "CuAu", "AuCu", "Au2"])
def test_pairs_are_told_by_species(alloy_model, symbols):
    atoms = Atoms(symbols, [[0, 0, 0], [0, 0, 2.2]])
    closest = alloy_model.novelty_detector_.pairs
    assert len(set(closest.values())) == 3
    expected = 2.2 / closest[tuple(sorted(atoms.numbers.tolist()))]
    np.testing.assert_allclose(alloy_model.extrapolation(atoms).pair, expected, rtol=1e-12)


def test_a_pair_that_was_never_seen():
    """Gold atoms that have only copper around them: two of them side by side are new at any distance."""
    frames = []
    for atoms in make_frames(10, seed=4):
        wide = atoms * (2, 2, 2)
        wide.numbers[0] = 79
        frames.append(label(wide))
    model = calibrated(terms=small_terms()[:1]).fit(frames)
    assert set(model.novelty_detector_.pairs) == {(29, 29), (29, 79)}
    found = model.extrapolation([Atoms("Au2", [[0, 0, 0], [0, 0, 3.9]]), Atoms("CuAu", [[0, 0, 0], [0, 0, 3.9]])])
    np.testing.assert_array_equal(found.pair[:2], 0.0)
    np.testing.assert_array_equal(found.frames, [True, False])


def test_error_bars_grow_far_from_the_data(copper_model, copper_frames):
    """The prior's share: stds of what is flagged are many times those of the training set."""
    known = copper_model.predict(copper_frames, return_std=True)
    atoms = squeezed(0.85)
    atoms.rattle(0.1, seed=1)
    new = copper_model.predict([atoms, Atoms("Cu2", [[0, 0, 0], [0, 0, 1.6]])], return_std=True)
    assert (new.energy_std[0] / 4 > 10 * known.energy_std.max() / 4) & (new.energy_std[1] / 2 > known.energy_std.max())
    assert new.forces_std[:4].mean() > 5 * known.forces_std.mean()


def test_a_model_of_pairs_alone(copper_frames, tmp_path):
    """No atomic term, no novelty: pairs that are too close are flagged, and nothing else."""
    model = calibrated(terms=small_terms()[:1]).fit(copper_frames)
    new = make_frames(20, seed=6)
    p = model.predict(new, return_std=True, interval=0.9)
    assert not p.extrapolating.any()
    for name in STDS + INTERVALS:
        assert np.isfinite(getattr(p, name)).all()
    covered = np.abs(p.forces - labels_of(new)["forces"]) <= p.forces_interval
    assert covered.mean() > 0.75
    found = model.extrapolation([squeezed(1.1), Atoms("Cu2", [[0, 0, 0], [0, 0, 1.4]])])
    np.testing.assert_array_equal(found.frames, [False, True])
    assert np.isnan(found.novelty).all()
    assert np.isnan(found.distance).all()
    assert np.isfinite(found.pair).all()
    model.save(tmp_path / "m.gapkit")
    assert_identical(load(tmp_path / "m.gapkit").predict(new, return_std=True), model.predict(new, return_std=True))


# ---------------------------------------------------------------------- covariances


KINDS = ("energy", "forces", "virial")


def test_covariance(model, fresh):
    frames = fresh[:3]
    matrix = model.covariance(frames, KINDS)
    assert matrix.shape == (3 + 36 + 18,) * 2
    np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-12 * matrix.max())
    values = np.linalg.eigvalsh(matrix)
    assert values.min() > -1e-9 * values.max()
    p = model.predict(frames, return_std=True, std="epistemic")
    volumes = np.array([a.get_volume() for a in frames])[:, None]
    expected = [p.energy_std**2, p.forces_std.ravel() ** 2, ((p.stress_std * volumes) ** 2).ravel()]
    # blocks of one kind at a time: their variances are of different sizes
    for part, diagonal in zip(np.split(np.diagonal(matrix), [3, 39]), expected, strict=True):
        np.testing.assert_allclose(part, diagonal, rtol=1e-6)
    np.testing.assert_allclose(model.covariance(frames), matrix[:3, :3], rtol=1e-9, atol=1e-12 * matrix[0, 0])


def test_a_frame_does_not_differ_from_itself(model, fresh):
    matrix = model.covariance([fresh[0], fresh[0], fresh[1]])
    assert np.array([1, -1, 0]) @ matrix @ [1, -1, 0] == pytest.approx(0.0, abs=1e-9 * matrix[0, 0])
    assert np.array([1, 0, -1]) @ matrix @ [1, 0, -1] > 1e-6 * matrix[0, 0]


@pytest.mark.parametrize("kinds", [(), ("stress",), ("energy", "force")])
def test_kinds_are_checked(copper_model, copper_frames, kinds):
    with pytest.raises(InputError, match="`kinds` must name energy, forces or virial"):
        copper_model.covariance(copper_frames, kinds)


# ---------------------------------------------------------------------- training sets that are hard to learn from


def isolated(symbol, energy):
    atoms = Atoms(symbol)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((1, 3)))
    return atoms


def test_free_atoms_in_the_training_set(copper_frames):
    model = calibrated().fit([*copper_frames, isolated("Cu", 3.5)])
    assert model.is_extrapolating([squeezed(0.85), *copper_frames]).tolist() == [True] + [False] * 20


def test_large_frames_alone(copper_frames, monkeypatch):
    """As though every frame had more than a thousand atoms."""
    monkeypatch.setattr(learn, "LARGEST_FRAME", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        model = calibrated(terms=small_terms(8)).fit(copper_frames)
    assert np.isfinite(model.predict(copper_frames[0], return_std=True).energy_std).all()


@pytest.mark.filterwarnings("ignore::gapkit.exceptions.DataWarning")
def test_a_species_of_free_atoms_alone(copper_frames):
    model = calibrated().fit([*copper_frames, isolated("Au", 3.8), isolated("Au", 3.8)])
    assert not model.is_extrapolating(copper_frames).any()


def test_novelty_can_be_exceeded_whatever_the_training_set():
    frames = [*make_frames(20, n_gold=3, seed=1), isolated("Cu", 3.5), isolated("Au", 3.8)]
    thresholds = calibrated().fit(frames).novelty_detector_.thresholds()
    assert all(limit < 1.0 for limit, _ in thresholds.values())
