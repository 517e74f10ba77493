"""Committees: one pass for all members, the spreads that their constructors promise, members as potentials."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from scipy.linalg import block_diag, cho_solve

from gapkit import GAP, SOAP, GAPCalculator, Term, ThreeBody, TwoBody, load
from gapkit.exceptions import DataError, InputError, NotFittedModelError, UnknownSpeciesError
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.rows import design_rows
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.potential import ZBL
from gapkit.potential.committee import (
    Committee,
    bootstrap_committee,
    committee,
    draws,
    label_noise_committee,
    sample_committee,
)
from gapkit.potential.committee.draws import reweighted
from gapkit.sparse import FromList
from gapkit.structures import to_batch
from tests.descriptors.cases import numerical_forces, numerical_virial
from tests.potential.models import label, make_frames, small_model, small_terms

SAME = 1e-10  # the same sums in another order, relative to the largest element
SAME_FIT = 1e-7  # two ways to the same fit, likewise
DERIVATIVE = 1e-6
DRAWS = 400
STATISTICAL = 0.2  # of covariances of that many draws, relative: elements of a whitened one have a std of 0.05 to 0.07
OUTPUTS = ("energy", "forces", "stress")


def soap(zeta, *, n_max=4, l_max=3):
    return Term(SOAP(4.0, n_max, l_max, 0.5), DotProduct(0.5, zeta, sigma0=0.2, delta_bounds="fixed"), n_sparse=30)


def triplets():
    return Term(ThreeBody(3.2), SquaredExponential(0.3, (1.0, 2.0, 1.0), delta_bounds="fixed"), n_sparse=24)


# the last entry: whether quadratic forms are taken
MODELS = {
    "pairs and soap": ({"terms": small_terms(30)}, False),
    "pairs alone": ({"terms": small_terms()[:1]}, False),
    "not truncated": ({"terms": small_terms(30), "truncation": 0.0}, False),
    "real exponent": ({"terms": [soap(2.5)]}, False),
    "triplets and zbl": ({"terms": [*small_terms(), triplets()], "energy_terms": [ZBL(cutoff=2.8, inner=1.5)]}, False),
    "form": ({"terms": [soap(2, n_max=2, l_max=1)]}, True),
    "form not truncated": ({"terms": [soap(2, n_max=2, l_max=0)], "truncation": 0.0}, True),
    "no form": ({"terms": [soap(2)], "truncation": 0.0}, False),
}


def some_members(model, n=3):
    """Members that are far apart."""
    weights = model.model_.weights
    return Committee(model, weights * np.random.default_rng(7).normal(1.0, 0.5, (n, len(weights))))


def close(actual, expected, tolerance, name=""):
    scale = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale, err_msg=name)


def rows_of(model, frames):
    """Unit-scale rows of the frames: energies (n, M), forces (n, M), virials (n, M)."""
    state = model.model_
    batch = to_batch(frames)
    neighbours = model.state_.neighbours(batch)
    rows = design_rows(AppliedBasis.of(state.basis, batch, neighbours), single=False)
    return rows.energy, rows.forces.reshape(-1, state.basis.n_columns), rows.virial.reshape(-1, state.basis.n_columns)


def assert_covariance(values, expected):
    """Draws (n, k) have the covariance (k, k), in all directions alike."""
    deviations = values - values.mean(axis=0)
    white = np.linalg.solve(np.linalg.cholesky(expected), deviations.T)
    np.testing.assert_allclose(white @ white.T / (len(values) - 1), np.eye(len(expected)), atol=STATISTICAL)


# ---------------------------------------------------------------------- predictions


@pytest.mark.parametrize("name", MODELS)
def test_members_predict_what_they_predict_alone(alloy, new_frames, name):
    arguments, forms = MODELS[name]
    model = small_model(**arguments).fit(alloy)
    members = some_members(model)
    assert any(of_block is not None for of_block in members._plan.forms) == forms
    molecule = Atoms("Cu2Au", positions=[[0, 0, 0], [0, 0, 2.5], [0, 2.3, 0.4]])
    frames = [*new_frames, molecule, new_frames[0] * (4, 3, 3)]  # more atoms than one block of them
    p = members.predict(frames)
    assert p.energy.shape == (3, 5)
    assert p.forces.shape == (3, sum(map(len, frames)), 3)
    assert p.stress.shape == (3, 5, 6)
    assert np.isnan(p.stress[:, 3]).all()
    for i in range(3):
        alone = members[i].predict(frames)
        for key in OUTPUTS:
            close(getattr(p, key)[i], getattr(alone, key), SAME, key)
    assert np.abs(p.forces[0] - p.forces[1]).max() > 1e-2 * np.abs(p.forces).max()


def test_frames_are_taken_some_at_a_time(fitted, new_frames, monkeypatch):
    members = some_members(fitted)
    together = members.predict(new_frames)
    monkeypatch.setattr(committee, "ATOMS_AT_ONCE", 4)
    for key, value in vars(members.predict(new_frames)).items():
        np.testing.assert_allclose(value, getattr(together, key), rtol=1e-13, atol=1e-13)


def test_threads_change_nothing(fitted, new_frames):
    members = some_members(fitted)
    batch = to_batch([new_frames[0] * (4, 4, 4)], labels=False)
    neighbours = fitted.state_.neighbours(batch)
    one, two = (members.evaluate(fitted.state_.apply(batch, neighbours), n_jobs=n) for n in (1, 2))
    for key in OUTPUTS:
        np.testing.assert_array_equal(getattr(one, key), getattr(two, key))


def test_means_and_standard_deviations(fitted, new_frames):
    p = some_members(fitted, 4).predict(new_frames)
    for key in OUTPUTS:
        values = getattr(p, key)
        mean = sum(values) / 4
        close(getattr(p, f"{key}_mean"), mean, 1e-12)
        close(getattr(p, f"{key}_std"), np.sqrt(sum((values - mean) ** 2) / 3), 1e-12)


@pytest.mark.parametrize("name", ["pairs and soap", "form", "triplets and zbl"])
def test_derivatives_of_a_member(alloy, name):
    members = some_members(small_model(**MODELS[name][0]).fit(alloy), 2)
    atoms = alloy[3].copy()

    def energies(frames):
        return members.predict(frames).energy[1]

    p = members.predict(atoms)
    close(p.forces[1], numerical_forces(energies, atoms), DERIVATIVE)
    virial = numerical_virial(energies, atoms)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    close(p.stress[1, 0] * atoms.get_volume(), -virial, DERIVATIVE)


# ---------------------------------------------------------------------- members as potentials


def test_a_member_is_a_potential(fitted, new_frames, tmp_path):
    weights, metadata = fitted.model_.weights.copy(), dict(fitted.metadata_)
    members = some_members(fitted)
    assert len(members) == 3
    assert [m.metadata_["committee_member"] for m in members] == [0, 1, 2]
    assert members[-1].metadata_["committee_member"] == 2
    with pytest.raises(IndexError):
        members[3]
    member = members[1]
    expected = member.predict(new_frames)
    assert isinstance(member, GAP)
    np.testing.assert_array_equal(member.model_.weights, members.weights[1])
    assert member.model_.basis is fitted.model_.basis
    assert member.model_.posterior is fitted.model_.posterior
    member.save(tmp_path / "member.gapkit")
    np.testing.assert_array_equal(load(tmp_path / "member.gapkit").predict(new_frames).forces, expected.forces)
    atoms = new_frames[0].copy()
    atoms.calc = GAPCalculator(member, skin=0.0)
    assert atoms.get_potential_energy() == pytest.approx(expected.energy[0], rel=1e-13)
    with pytest.raises(NotFittedModelError, match="factors"):
        member.partial_fit(new_frames)
    np.testing.assert_array_equal(fitted.model_.weights, weights)
    assert fitted.metadata_ == metadata
    assert fitted.state_.factors is not None


def test_weights_cannot_be_changed_behind_the_plan(fitted):
    weights = np.array([fitted.model_.weights])
    members = Committee(fitted, weights)
    weights += 1.0
    np.testing.assert_array_equal(members.weights[0], fitted.model_.weights)
    with pytest.raises(ValueError, match="read-only"):
        members.weights[0, 0] = 1.0


def test_error_bar(fitted, new_frames):
    members = some_members(fitted, 4)
    p = members.predict(new_frames)
    mean, std = members.error_bar(lambda member: member.predict(new_frames).energy)
    close(mean, p.energy_mean, SAME)
    close(std, p.energy_std, SAME)
    mean, std = members.error_bar(lambda member: float(member.model_.weights[0]) ** 2)
    assert mean == pytest.approx((members.weights[:, 0] ** 2).mean(), rel=1e-12)
    assert std == pytest.approx((members.weights[:, 0] ** 2).std(ddof=1), rel=1e-12)
    sizes = iter(range(4))
    with pytest.raises(InputError, match="same shape"):
        members.error_bar(lambda member: np.zeros(next(sizes)))


# ---------------------------------------------------------------------- spreads


def test_samples_have_the_posterior_covariance(fitted, new_frames):
    p = sample_committee(fitted, DRAWS, 0).predict(new_frames)
    rows = rows_of(fitted, new_frames)
    energies = fitted.predict(new_frames)
    expected = fitted.model_.posterior.covariance(rows[0])
    assert_covariance(p.energy, expected)
    deviation = (p.energy_mean - energies.energy) / np.sqrt(np.diagonal(expected) / DRAWS)
    assert np.abs(deviation).max() < 4.0
    variance = fitted.model_.posterior.data_variance(rows[1])
    ratio = p.forces_std.ravel() ** 2 / variance
    assert abs(ratio.mean() - 1.0) < STATISTICAL


def test_inflation_scales_deviations(fitted):
    one, three = (sample_committee(fitted, 5, 3, inflation=b).weights - fitted.model_.weights for b in (1.0, 3.0))
    assert np.abs(one).min() > 0.0
    np.testing.assert_allclose(three, 3.0 * one, rtol=0, atol=1e-9 * np.abs(three).max())


def test_label_noise_has_its_covariance(copper):
    model = small_model(terms=small_terms(8)).fit(copper[:2])  # few labels: the prior matters
    state, frames = model.model_, make_frames(3, seed=21, size=0.2)
    own = to_batch(copper[:2])
    energy, forces, virial = rows_of(model, copper[:2])
    noise, n_atoms = model.noise_, own.n_atoms_per_frame
    sigmas = np.concatenate(
        [
            noise.energy * np.sqrt(n_atoms),
            np.full(len(forces), noise.forces),
            np.repeat(noise.virial * np.sqrt(n_atoms), 6),
        ]
    )
    K = np.concatenate([energy, forces, virial]) / sigmas[:, None]
    prior = block_diag(
        *(b.L @ b.L.T / s**2 for b, s in zip(state.posterior.prior, state.posterior.scales, strict=True))
    )
    A = K.T @ K + prior
    np.testing.assert_allclose(state.posterior.R.T @ state.posterior.R, A, rtol=0, atol=1e-6 * np.abs(A).max())
    spread = cho_solve((state.posterior.R, False), rows_of(model, frames)[0].T)
    expected = spread.T @ K.T @ K @ spread
    p = label_noise_committee(model, DRAWS, 1).predict(frames)
    assert_covariance(p.energy, expected)
    with pytest.raises(AssertionError):  # it is not the posterior's
        assert_covariance(p.energy, state.posterior.covariance(rows_of(model, frames)[0]))


def test_label_noise_of_a_loaded_model(fitted, tmp_path):
    fitted.save(tmp_path / "with.gapkit", factors=True)
    fitted.save(tmp_path / "without.gapkit")
    loaded = label_noise_committee(load(tmp_path / "with.gapkit"), 2, 0)
    np.testing.assert_array_equal(loaded.weights, label_noise_committee(fitted, 2, 0).weights)
    with pytest.raises(NotFittedModelError, match="factors=True"):
        label_noise_committee(load(tmp_path / "without.gapkit"), 2, 0)


# ---------------------------------------------------------------------- bootstrap


@pytest.mark.parametrize("atoms_per_fold", [4, 512])
def test_every_frame_once_is_the_model(alloy, fitted, new_frames, monkeypatch, atoms_per_fold):
    monkeypatch.setattr(draws, "ATOMS_PER_FOLD", atoms_per_fold)
    weights = reweighted(fitted.state_, to_batch(alloy), np.ones((2, len(alloy)), int), 1)
    p, expected = Committee(fitted, weights).predict(new_frames), fitted.predict(new_frames)
    for key in OUTPUTS:
        for i in range(2):
            close(getattr(p, key)[i], getattr(expected, key), SAME_FIT, key)


def test_counts_are_those_of_frames(copper, monkeypatch):
    """A frame that counts twice was there twice, one that counts zero times was not."""
    monkeypatch.setattr(draws, "ATOMS_PER_FOLD", 8)
    x = SOAP(4.0, 4, 3, 0.5).fit_transform(copper[:3])
    pairs = TwoBody(4.0).fit_transform([copper[0]])[:40:8]
    terms = [
        Term(TwoBody(4.0), SquaredExponential(1.0, 0.8, delta_bounds="fixed"), len(pairs), FromList(pairs)),
        Term(SOAP(4.0, 4, 3, 0.5), DotProduct(0.5, 3, delta_bounds="fixed"), len(x), FromList(x)),
    ]
    frames = [*copper[:3], label(copper[3], "energy"), label(copper[4], "forces"), *copper[5:]]
    frames[1].info["config_type"] = "liquid"
    arguments = {
        "terms": terms,
        "truncation": 0.0,
        "reference_energies": {"Cu": 0.1},
        "energy_terms": [ZBL(2.8, inner=1.5)],
    }
    expected = small_model(**arguments).fit(frames[:6])
    model = small_model(**arguments).fit(frames)
    counts = np.array([[2, 1, 1, 1, 1, 3, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0]])
    p = Committee(model, reweighted(model.state_, to_batch(frames), counts, 1)).predict(copper)
    for i, frames_again in ((1, []), (0, [frames[0], frames[5], frames[5]])):
        if frames_again:
            expected.partial_fit(frames_again)
        alone = expected.predict(copper)
        for key in OUTPUTS:
            close(getattr(p, key)[i], getattr(alone, key), SAME_FIT, key)
    assert np.abs(p.forces[0] - p.forces[1]).max() > 100 * SAME_FIT * np.abs(p.forces).max()


def test_draws_of_the_bootstrap(fitted, alloy, new_frames, monkeypatch):
    seen = []
    original = draws.reweighted
    monkeypatch.setattr(
        draws, "reweighted", lambda s, b, counts, n: (seen.append(counts), original(s, b, counts, n))[1]
    )
    p = bootstrap_committee(fitted, alloy, 4, 0).predict(new_frames)
    (counts,) = seen
    assert counts.shape == (4, len(alloy))
    assert (counts.sum(axis=1) == len(alloy)).all()
    assert counts.min() == 0
    assert counts.max() > 1
    assert (p.forces_std > 0.0).all()
    assert len(np.unique(p.energy[:, 0])) == 4


def test_frames_of_the_bootstrap_are_checked(fitted, alloy):
    with pytest.raises(DataError, match="no label"):
        bootstrap_committee(fitted, [Atoms("Cu")], 2, 0)
    silicon = Atoms("Si", info={"energy": 1.0})
    with pytest.raises(UnknownSpeciesError, match="Si"):
        bootstrap_committee(fitted, [silicon], 2, 0)


# ---------------------------------------------------------------------- arguments

CONSTRUCTORS = {
    "sample": lambda model, frames, n, seed: sample_committee(model, n, seed),
    "label noise": lambda model, frames, n, seed: label_noise_committee(model, n, seed),
    "bootstrap": bootstrap_committee,
}


@pytest.mark.parametrize("make", CONSTRUCTORS.values(), ids=CONSTRUCTORS)
def test_the_seed_makes_the_committee(fitted, alloy, make):
    first = make(fitted, alloy, 3, 5).weights
    assert first.shape == (3, fitted.n_sparse_)
    np.testing.assert_array_equal(make(fitted, alloy, 3, 5).weights, first)
    np.testing.assert_array_equal(make(fitted, alloy, 3, np.random.RandomState(5)).weights, first)
    for other in (make(fitted, alloy, 3, 6).weights[0], first[1], fitted.model_.weights):
        assert np.abs(other - first[0]).max() > 0.0


@pytest.mark.parametrize("make", CONSTRUCTORS.values(), ids=CONSTRUCTORS)
def test_constructors_check_their_arguments(fitted, alloy, make):
    for n in (0, -1, 2.5, True):
        with pytest.raises(InputError, match=r"`n` must be .* >= 1"):
            make(fitted, alloy, n, 0)
    with pytest.raises(NotFittedModelError, match="not fitted"):
        make(small_model(), alloy, 2, 0)


def test_other_arguments_are_checked(fitted, new_frames):
    for inflation in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="`inflation`"):
            sample_committee(fitted, 2, 0, inflation)
    good = fitted.model_.weights
    for weights in (good, good[None, :-1], np.empty((0, len(good))), good[None] * np.nan):
        with pytest.raises(InputError, match="`weights`"):
            Committee(fitted, weights)
    with pytest.raises(NotFittedModelError):
        Committee(small_model(), good[None])
    alone = Committee(fitted, good[None])
    p = alone.predict(new_frames)
    for key in OUTPUTS:
        close(getattr(p, f"{key}_mean"), getattr(p, key)[0], SAME)
        with pytest.raises(InputError, match="at least 2 members"):
            getattr(p, f"{key}_std")
    with pytest.raises(InputError, match="at least 2 members"):
        alone.error_bar(lambda member: pytest.fail("nothing to be computed"))


def test_unknown_species_before_anything_is_computed(fitted, new_frames, monkeypatch):
    monkeypatch.setattr(committee, "ATOMS_AT_ONCE", 4)
    monkeypatch.setattr(committee, "predict", lambda *a, **k: pytest.fail("something was computed"))
    with pytest.raises(UnknownSpeciesError, match="Si"):
        some_members(fitted).predict([*new_frames, Atoms("Si")])
