"""The estimator: fit, predict, score, masks and sigmas, reference energies, partial_fit, errors."""

from __future__ import annotations

import copy
from dataclasses import is_dataclass

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from sklearn.base import clone

from gapkit import GAP, SOAP, Noise, Term, ThreeBody, TwoBody
from gapkit.exceptions import DataError, DataWarning, InputError, NotFittedModelError, UnknownSpeciesError
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.potential import ZBL
from gapkit.sparse import FromList, Random
from tests.descriptors.cases import numerical_forces, numerical_virial
from tests.potential.models import NOISE, label, make_frames, small_model, small_terms

SAME_FIT = 1e-8  # two ways to the same fit, relative to the largest element
DERIVATIVE = 1e-6
OUTPUTS = ("energy", "forces", "stress", "virial", "local_energies")


def assert_close(p, q, tolerance=SAME_FIT):
    for key in OUTPUTS:
        expected = getattr(p, key)
        np.testing.assert_allclose(
            getattr(q, key), expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=key
        )


def assert_identical(p, q):
    for key, value in (p if isinstance(p, dict) else vars(p)).items():
        other = q[key] if isinstance(q, dict) else getattr(q, key)
        if is_dataclass(value) or isinstance(value, dict):
            assert_identical(value, other)
        else:
            np.testing.assert_array_equal(other, value, err_msg=key)


def difference(p, q):
    return np.abs(p.forces - q.forces).max()


def with_results(atoms, **changes):
    """A copy whose labels are changed; None removes one."""
    new = atoms.copy()
    results = {**atoms.calc.results, **changes}
    new.calc = SinglePointCalculator(new, **{k: v for k, v in results.items() if v is not None})
    return new


@pytest.fixture(scope="module")
def listed_terms(copper):
    """Terms whose sparse points are given, so that fits to different data are fits of the same model."""
    atoms = copper[0]
    two_body = TwoBody(4.0).fit_transform([atoms])[:40:8]
    x = SOAP(4.0, 4, 3, 0.5).fit_transform(copper[:3])
    return [
        Term(TwoBody(4.0), SquaredExponential(1.0, 0.8, delta_bounds="fixed"), len(two_body), FromList(two_body)),
        Term(SOAP(4.0, 4, 3, 0.5), DotProduct(0.5, 3, delta_bounds="fixed"), len(x), FromList(x)),
    ]


@pytest.fixture(scope="module")
def listed(listed_terms):
    """Fits the same model to any frames."""
    return lambda frames, **changes: small_model(terms=listed_terms, reference_energies={"Cu": 0.1}, **changes).fit(
        frames
    )


# ---------------------------------------------------------------------- predictions


def test_learns(fitted, alloy, new_frames):
    assert fitted.score(alloy) > 0.98
    assert fitted.score(new_frames) > 0.9
    p = fitted.predict(new_frames)
    target = np.concatenate([a.calc.results["forces"] for a in new_frames])
    r2 = 1 - ((p.forces - target) ** 2).sum() / ((target - target.mean(axis=0)) ** 2).sum()
    assert fitted.score(new_frames) == pytest.approx(r2, rel=1e-12)
    stress = np.array([a.calc.results["stress"] for a in new_frames])
    assert np.abs(p.stress - stress).max() < 0.3 * np.abs(stress).max()


def test_shapes_and_sums(fitted, new_frames):
    p = fitted.predict([*new_frames, Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.5]])], return_std=True)
    n = [len(a) for a in new_frames] + [2]
    assert p.energy.shape == (4,)
    assert p.forces.shape == (sum(n), 3)
    assert p.stress.shape == (4, 6)
    assert p.virial.shape == (4, 3, 3)
    np.testing.assert_array_equal(p.offsets, np.concatenate([[0], np.cumsum(n)]))
    sums = np.add.reduceat(p.local_energies, p.offsets[:-1])
    np.testing.assert_allclose(p.energy, sums, rtol=1e-13)
    assert np.isnan(p.stress[3]).all()
    assert np.isfinite(p.stress[:3]).all()
    assert np.isfinite(p.virial).all()
    volumes = np.array([a.get_volume() for a in new_frames])
    xx_to_xy = p.virial[:3][:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    np.testing.assert_allclose(p.stress[:3], -xx_to_xy / volumes[:, None], rtol=1e-13)
    variance = p.local_data_variance + p.local_prior_variance
    np.testing.assert_allclose(p.local_energies_std, np.sqrt(variance), rtol=1e-13)
    assert fitted.predict(new_frames).unseen is None


def test_asking_for_uncertainty_changes_no_prediction(fitted, new_frames):
    assert_close(fitted.predict(new_frames), fitted.predict(new_frames, return_std=True), 1e-13)


def assert_derivatives(model, atoms):
    """Check forces and virial against differences of energies; returns the predictions and the numerical virial."""
    p = model.predict([atoms])

    def energies(frames):
        return model.predict(frames).energy

    forces, virial = numerical_forces(energies, atoms), numerical_virial(energies, atoms)
    np.testing.assert_allclose(p.forces, forces, rtol=0, atol=DERIVATIVE * np.abs(forces).max())
    np.testing.assert_allclose(p.virial[0], virial, rtol=0, atol=DERIVATIVE * np.abs(virial).max())
    return p, virial


@pytest.mark.parametrize("energy_terms", [(), ZBL(cutoff=2.8, inner=1.5)], ids=["plain", "zbl"])
def test_derivatives_of_the_whole_model(alloy, energy_terms):
    triplets = SquaredExponential(0.3, (1.0, 2.0, 1.0), delta_bounds="fixed")
    terms = [*small_terms(), Term(ThreeBody(3.2), triplets, n_sparse=24)]
    model = small_model(terms=terms, energy_terms=energy_terms).fit(alloy)
    atoms = alloy[3].copy()
    atoms.numbers[:2] = 79, 29
    p, virial = assert_derivatives(model, atoms)
    ordered = virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    np.testing.assert_allclose(
        p.stress[0] * atoms.get_volume(), -ordered, rtol=0, atol=DERIVATIVE * np.abs(virial).max()
    )


def test_frames_are_left_alone(alloy, new_frames):
    frames = [copy.deepcopy(a) for a in alloy[:5]]
    kept = [copy.deepcopy(a) for a in frames]
    terms = small_terms(8)
    before = clone(small_model(terms=terms)).get_params()
    model = small_model(terms=terms).fit(frames)
    model.predict(frames, return_std=True)
    model.partial_fit(frames[:1])
    for old, new in zip(kept, frames, strict=True):
        assert old == new
        assert old.info == new.info
        assert set(old.arrays) == set(new.arrays)
        assert new.calc.results.keys() == old.calc.results.keys()
        np.testing.assert_array_equal(new.calc.results["forces"], old.calc.results["forces"])
    assert repr(model.get_params()) == repr(before)


# ---------------------------------------------------------------------- scikit-learn's contract, seeds


def test_same_seed_same_model(alloy, new_frames):
    models = [small_model(random_state=3).fit(alloy) for _ in range(2)]
    np.testing.assert_array_equal(models[0].model_.weights, models[1].model_.weights)
    assert_identical(models[0].predict(new_frames, return_std=True), models[1].predict(new_frames, return_std=True))


def test_another_seed_another_draw(alloy, new_frames):
    terms = [Term(SOAP(4.0, 4, 3, 0.5), DotProduct(0.5, 3, delta_bounds="fixed"), 10, Random())]
    models = [small_model(terms=terms, random_state=seed).fit(alloy) for seed in (0, 1)]
    assert difference(*(m.predict(new_frames) for m in models)) > 1e-6


def test_threads_change_nothing(fitted, alloy, new_frames):
    other = clone(fitted).set_params(n_jobs=2).fit(alloy)
    assert_close(fitted.predict(new_frames), other.predict(new_frames))


def test_clone_and_parameters(fitted):
    other = clone(fitted)
    assert not hasattr(other, "model_")
    assert not hasattr(other, "state_")
    assert repr(other.get_params()) == repr(fitted.get_params())
    assert other.set_params(n_sparse=7).n_sparse == 7
    with pytest.raises(ValueError, match="no_such"):
        other.set_params(no_such=1)
    with pytest.raises(TypeError):
        GAP(no_such=1)


def test_fitted_attributes(fitted):
    assert fitted.species_ == ("Cu", "Au")
    assert fitted.scales_ == [1.0, 0.5]
    assert fitted.noise_ == NOISE
    assert fitted.n_sparse_ == len(fitted.model_.weights) == 36
    assert set(fitted.reference_energies_) == {"Cu", "Au"}
    assert np.isfinite(fitted.log_marginal_likelihood_)
    assert "Cu, Au" in fitted.summary()


def test_noise_and_scales_by_evidence(copper):
    terms = [Term(TwoBody(4.0), n_sparse=6), Term(SOAP(4.0, 4, 3, 0.5), n_sparse=15)]
    model = GAP(terms=terms, n_jobs=1, calibration=None).fit(copper)
    given = GAP(terms=terms, n_jobs=1, calibration=None, noise=Noise(forces=0.3)).fit(copper)
    assert 0 < model.noise_.forces < 0.3
    assert given.noise_.forces == 0.3
    assert all(scale > 0 for scale in model.scales_)
    assert model.log_marginal_likelihood_ > given.log_marginal_likelihood_


# ---------------------------------------------------------------------- partial_fit


def test_partial_fit_equals_the_batch_fit(listed, copper, new_frames):
    frames = make_frames(3, seed=5)
    batch = listed(copper)
    parts = listed(copper[:3]).partial_fit(copper[3:6]).partial_fit(copper[6:])
    before = listed(copper[:3])
    assert difference(before.predict(frames), batch.predict(frames)) > 1e-4
    p, q = batch.predict(frames, return_std=True), parts.predict(frames, return_std=True)
    assert_close(p, q)
    np.testing.assert_allclose(q.local_energies_std, p.local_energies_std, rtol=1e-6)
    assert parts.log_marginal_likelihood_ == pytest.approx(batch.log_marginal_likelihood_, rel=SAME_FIT)


def test_partial_fit_with_an_energy_term(listed, copper):
    frames = make_frames(3, seed=5)
    term = ZBL(cutoff=2.8, inner=1.5)
    batch = listed(copper, energy_terms=[term])
    parts = listed(copper[:4], energy_terms=[term]).partial_fit(copper[4:])
    assert_close(batch.predict(frames), parts.predict(frames))
    assert difference(batch.predict(frames), listed(copper).predict(frames)) > 1e-4


def test_partial_fit_of_an_unfitted_model_is_fit(copper):
    model = small_model()
    assert model.partial_fit(copper) is model
    assert_identical(model.predict(copper), small_model().fit(copper).predict(copper))


def test_partial_fit_refuses_new_species_and_stays_as_it_was(listed, copper, alloy):
    model = listed(copper)
    before = model.predict(copper)
    with pytest.raises(UnknownSpeciesError, match="Au"):
        model.partial_fit(alloy)
    assert_identical(before, model.predict(copper))


# ---------------------------------------------------------------------- masks and sigmas


def test_an_absent_energy_is_not_a_zero(listed, copper):
    """Energies on some frames only: the same as energies that weigh nothing, and not the same as all."""
    some = [with_results(a, energy=None) if i % 2 else a for i, a in enumerate(copper)]
    weightless = [with_results(a, energy=a.calc.results["energy"] + 3.0) if i % 2 else a for i, a in enumerate(copper)]
    for atoms in weightless[1::2]:
        atoms.info["energy_sigma"] = 1e7
    frames = make_frames(2, seed=9)
    p = listed(some).predict(frames)
    assert_close(p, listed(weightless).predict(frames), 1e-6)
    assert difference(p, listed(copper).predict(frames)) > 1e-6
    shifted = [with_results(a, energy=a.calc.results["energy"] + 3.0) if i % 2 else a for i, a in enumerate(copper)]
    assert difference(p, listed(shifted).predict(frames)) > 1e-3


def test_masked_forces_are_not_seen(listed, copper):
    def garbage(scale, masked):
        rng = np.random.default_rng(0)
        frames = []
        for atoms in copper:
            forces = atoms.calc.results["forces"].copy()
            forces[1] += scale * rng.normal(size=3)
            new = with_results(atoms, forces=forces)
            if masked:
                new.arrays["force_mask"] = np.arange(4) == 1
            frames.append(new)
        return frames

    frames = make_frames(2, seed=9)
    p = listed(garbage(0.0, True)).predict(frames)
    assert_identical(p, listed(garbage(50.0, True)).predict(frames))
    assert difference(p, listed(garbage(50.0, False)).predict(frames)) > 1e-2
    weightless = garbage(50.0, False)
    for atoms in weightless:
        atoms.arrays["force_sigma"] = np.where(np.arange(4) == 1, 1e7, NOISE.forces)
    assert_close(p, listed(weightless).predict(frames), 1e-6)  # the other atoms' forces count as before


def test_without_stress_and_without_forces(listed, copper):
    frames = make_frames(2, seed=9)
    everything = listed(copper).predict(frames)
    no_stress = listed([with_results(a, stress=None) for a in copper])
    assert no_stress.noise_.virial is None
    assert 1e-6 < difference(everything, no_stress.predict(frames)) < 1.0
    energies = listed([with_results(a, stress=None, forces=None) for a in copper])
    assert energies.noise_.forces is None
    assert np.isfinite(energies.score([with_results(a, forces=None, stress=None) for a in copper]))
    weightless = []
    for atoms in copper:
        new = with_results(atoms)
        new.info["virial_sigma"] = 1e7
        weightless.append(new)
    assert_close(no_stress.predict(frames), listed(weightless).predict(frames), 1e-6)


def test_a_frame_twice_is_a_frame_with_less_noise(listed, copper):
    """Sigmas per frame and per atom: those of one frame divided by sqrt(2) are that frame given twice."""
    atoms = with_results(copper[2])
    n = len(atoms)
    atoms.info["energy_sigma"] = NOISE.energy * np.sqrt(n / 2)
    atoms.info["virial_sigma"] = NOISE.virial * np.sqrt(n / 2)
    atoms.arrays["force_sigma"] = np.full(n, NOISE.forces / np.sqrt(2))
    frames = make_frames(2, seed=9)
    weighted = listed([*copper[:2], atoms, *copper[3:]]).predict(frames)
    twice = listed([*copper, copper[2]]).predict(frames)
    assert_close(twice, weighted)
    assert difference(weighted, listed(copper).predict(frames)) > 1e-5


def test_sigma_by_config_type(listed, copper):
    frames, loose = make_frames(2, seed=9), []
    for i, atoms in enumerate(copper):
        new = with_results(atoms)
        if i % 2:
            new.info["config_type"] = "loose"
        loose.append(new)
    noise = Noise(
        energy=2e-3, forces=0.05, virial=0.05, per_config_type={"loose": Noise(energy=4e-3, forces=0.1, virial=0.1)}
    )
    by_type = listed(loose, noise=noise).predict(frames)
    by_label = []
    for i, atoms in enumerate(copper):
        new = with_results(atoms)
        if i % 2:
            new.info |= {"energy_sigma": 8e-3, "virial_sigma": 0.2, "force_sigma": 0.1}
        by_label.append(new)
    assert_close(by_type, listed(by_label).predict(frames))
    assert difference(by_type, listed(copper).predict(frames)) > 1e-6


# ---------------------------------------------------------------------- reference energies, isolated atoms


def isolated(symbol, energy):
    atoms = Atoms(symbol)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((1, 3)))
    return atoms


def test_reference_energies_of_isolated_atoms(alloy):
    """They are in the training set, too, with forces: frames without any neighbour must not stop the fit."""
    frames = [*alloy, isolated("Cu", 3.5), isolated("Au", 3.8)]
    model = small_model().fit(frames)
    assert model.reference_energies_ == {"Cu": 3.5, "Au": 3.8}
    p = model.predict([Atoms("Cu"), Atoms("Au")])
    np.testing.assert_allclose(p.energy, [3.5, 3.8], atol=0.1)
    assert not p.forces.any()
    with pytest.raises(DataError, match="Au"):
        small_model(reference_energies="isolated").fit([*alloy, isolated("Cu", 3.5)])


def test_only_isolated_atoms_cannot_be_fitted_silently():
    model = small_model(terms=[Term(TwoBody(4.0), n_sparse=2)])
    with pytest.raises((DataError, InputError)):
        model.fit([isolated("Cu", 1.0)])


def test_reference_energies_by_least_squares(alloy):
    """A shift of every copper and gold atom's energy goes into e0 and nowhere else."""
    shifted = [
        with_results(
            a, energy=a.calc.results["energy"] - 100.0 * (a.numbers == 29).sum() - 700.0 * (a.numbers == 79).sum()
        )
        for a in alloy
    ]
    one, other = small_model().fit(alloy), small_model().fit(shifted)
    e0 = {s: other.reference_energies_[s] - one.reference_energies_[s] for s in ("Cu", "Au")}
    assert e0 == pytest.approx({"Cu": -100.0, "Au": -700.0}, abs=1e-6)
    p, q = one.predict(alloy), other.predict(alloy)
    np.testing.assert_allclose(q.forces, p.forces, rtol=0, atol=1e-6)
    counts = np.array([[(a.numbers == z).sum() for z in (29, 79)] for a in alloy])
    np.testing.assert_allclose(q.energy - p.energy, counts @ [-100.0, -700.0], rtol=0, atol=1e-6)


def test_given_reference_energies(alloy, copper):
    assert small_model(reference_energies={"Cu": 1.0, "Au": 2.0}).fit(alloy).reference_energies_ == {
        "Cu": 1.0,
        "Au": 2.0,
    }
    with pytest.raises(InputError, match=r"got none for Au; O is in no frame; add Au=\.\.\."):
        small_model(reference_energies={"Cu": 1.0, "O": 1.0}).fit(alloy)
    more = {"Cu": 1.0, "O": 1.0}  # as in one configuration for several sets
    assert small_model(reference_energies=more).fit(copper).reference_energies_ == {"Cu": 1.0}
    for wrong in ({"Xx": 1.0}, {"X": 1.0}, {29: 1.0}, {"Cu": "1"}, {"Cu": np.nan}, {"Cu": None}):
        with pytest.raises(InputError, match="reference_energies"):
            small_model(reference_energies=wrong).fit(copper)
    with pytest.raises(InputError, match="reference_energies"):
        small_model(reference_energies="nothing").fit(copper)


def test_a_species_without_energy_is_an_error_that_names_it(copper, alloy):
    frames = [*copper, *[with_results(a, energy=None) for a in alloy if (a.numbers == 79).any()]]
    with pytest.raises(DataError, match="Au"):
        small_model().fit(frames)
    small_model(reference_energies={"Cu": 0.0, "Au": 0.0}).fit(frames)


# ---------------------------------------------------------------------- uncertainty


def test_more_data_less_data_variance(listed, copper):
    frames = make_frames(3, seed=9)
    model = listed(copper[:3])
    before = model.predict(frames, return_std=True)
    after = model.partial_fit(copper[3:]).predict(frames, return_std=True)
    assert (after.local_data_variance < before.local_data_variance).all()
    assert after.local_data_variance.mean() < 0.8 * before.local_data_variance.mean()
    # The prior residual sees only the sparse points, and they are the same.
    np.testing.assert_allclose(after.local_prior_variance, before.local_prior_variance, rtol=1e-10)


def test_novelty():
    frames = make_frames(4, seed=2)
    for atoms in make_frames(4, seed=3):
        gold = atoms.copy()
        gold.numbers[:] = 79
        gold.set_cell(gold.cell.array * 1.12, scale_atoms=True)
        frames.append(label(gold))
    terms = [Term(SOAP(4.0, 4, 3, 0.5, transition=3.0), DotProduct(0.5, 8, delta_bounds="fixed"), n_sparse=32)]
    model = small_model(terms=terms).fit(frames)
    known = model.predict(frames, return_std=True)
    assert known.unseen.max() < 1e-8  # every environment is a sparse point
    assert known.local_prior_variance.max() < 1e-8 * 0.5**2
    # Copper squeezed away from the data, and a gold atom in copper, where each has seen its own kind alone.
    cells = [bulk("Cu", cubic=True) for _ in range(5)]
    for atoms, factor in zip(cells, (1.0, 0.95, 0.9, 0.8, 0.7), strict=True):
        atoms.set_cell(atoms.cell.array * factor, scale_atoms=True)
    squeezed = model.predict(cells, return_std=True).unseen[::4]
    assert (np.diff(squeezed) > 0).all()
    assert squeezed[0] < 1e-3
    assert 0.9 < squeezed[-1] <= 1.0
    stranger = bulk("Cu", cubic=True)
    stranger.numbers[0] = 79
    p = model.predict(stranger, return_std=True)
    assert 0.9 < p.unseen[0] <= 1.0
    np.testing.assert_allclose(p.local_prior_variance, 0.5**2 * p.unseen, rtol=1e-12)


def test_no_novelty_without_an_atomic_term(copper):
    model = small_model(terms=small_terms()[:1]).fit(copper)
    p = model.predict(copper[:1], return_std=True)
    assert np.isnan(p.unseen).all()
    assert (p.local_energies_std > 0).all()


# ---------------------------------------------------------------------- errors


def test_not_fitted(copper):
    for call in (lambda m: m.predict(copper), lambda m: m.score(copper), lambda m: m.summary(), lambda m: m.save("x")):
        with pytest.raises(NotFittedModelError, match="not fitted"):
            call(small_model())


def test_unknown_species(fitted):
    with pytest.raises(UnknownSpeciesError, match="got also Si"):
        fitted.predict([bulk("Cu"), bulk("Si")])


def test_more_sparse_points_than_environments(copper):
    with pytest.warns(DataWarning, match="99 of the SOAP term exceeds the 32 environments"):
        model = small_model(terms=small_terms(99)).fit(copper)
    assert 0 < model.n_sparse_ <= 32 + 12
    with pytest.warns(DataWarning, match="`n_sparse` = 99"):
        small_model(terms=[SOAP(4.0, 4, 3, 0.5)], n_sparse=99).fit(copper)


def test_no_labels(copper):
    bare = [a.copy() for a in copper]
    with pytest.raises(DataError, match="no label at all"):
        small_model().fit(bare)
    with pytest.raises(DataError, match="no label at all"):
        GAP().fit(bare)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_label_that_is_no_number_is_an_error(copper, value):
    forces = copper[0].calc.results["forces"].copy()
    forces[2, 1] = value
    with pytest.raises(DataError, match="frame 1"):
        small_model().fit([copper[1], with_results(copper[0], forces=forces)])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"terms": []}, "terms"), ({"terms": ["soap"]}, "terms"), ({"n_sparse": 0}, "n_sparse"),
        ({"noise": 0.1}, "noise"), ({"terms": [SOAP(1.5, 4, 3, 0.5)]}, "cutoff"),
    ],
)  # fmt: skip
def test_arguments_are_checked(copper, change, name):
    with pytest.raises(InputError, match=f"`{name}"):
        small_model(**change).fit(copper)


def test_single_frame_need_not_be_in_a_list(copper):
    model = small_model(terms=small_terms(4)).fit(copper[0])
    assert_identical(model.predict(copper[0]), model.predict([copper[0]]))


def test_molecules_can_be_fitted():
    frames = [label(Atoms("Cu3", [[0, 0, 0], [2.4, 0, 0], [0.3, 2.3 + 0.02 * k, 0.1 * k]])) for k in range(6)]
    model = small_model(terms=small_terms(8)).fit(frames)
    assert model.score(frames) > 0.9
    assert np.isnan(model.predict(frames).stress).all()


def test_given_points_are_in_the_public_order(listed, copper):
    """An atom that is a sparse point has no prior residual; in the wrong order of components it would."""
    p = listed(copper[:3]).predict(copper[0], return_std=True)
    assert p.unseen.max() < 1e-7


def test_sparse_points_by_species_and_config_type():
    frames = make_frames(6, seed=5)
    for i, atoms in enumerate(frames):
        atoms.info["config_type"] = "hot" if i < 2 else "cold"
        atoms.symbols[:2] = "Au"
        frames[i] = label(atoms)
        frames[i].info["config_type"] = "hot" if i < 2 else "cold"
    soap = SOAP(4.0, 4, 3, 0.5)

    def counts(term):
        basis = small_model(terms=[term]).fit(frames).model_.basis
        return {block.species: len(block.points) for block in basis.terms[0].blocks}

    kernel = DotProduct(0.5, 3, delta_bounds="fixed")
    assert counts(Term(soap, kernel, {"Cu": 7, "Au": 3})) == {(29,): 7, (79,): 3}
    assert sum(counts(Term(soap, kernel, 12, n_sparse_per_config_type={"hot": 4})).values()) == 12
    with pytest.raises(InputError, match="'Si'"):
        counts(Term(soap, kernel, {"Si": 2}))
    with pytest.raises(InputError, match="'warm'"):
        counts(Term(soap, kernel, 12, n_sparse_per_config_type={"warm": 4}))
    with pytest.raises(InputError, match=">= 1"):
        Term(soap, kernel, {"Cu": 0})
