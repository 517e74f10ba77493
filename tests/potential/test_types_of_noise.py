"""The noise of every configuration type by evidence: what is found, and that all that follows knows of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit import GAP, Noise, load
from gapkit.exceptions import HyperparameterWarning, InputError, Interrupted
from gapkit.gp.solver import solve_weights
from gapkit.potential.training import accumulator, checkpoint, types_of_noise
from gapkit.potential.training import rows as training
from gapkit.potential.training.estimate import Resources
from gapkit.potential.training.fit import ENERGY_TO_FORCE
from gapkit.potential.training.rows import RowMaker
from gapkit.structures import to_batch
from tests.potential.models import make_frames, small_model

PLANTED = {"cold": 0.02, "hot": 0.3}  # eV/Å
FEW = 3  # frames of a type that keeps the common noise


def noisy_frames(n=60, seed=0):
    """Two types in turn with planted force noise, and a few frames of a third with the larger one."""
    rng = np.random.default_rng(seed)
    frames = make_frames(n, seed=seed, size=0.05)
    for i, atoms in enumerate(frames):
        name = "few" if i < FEW else ("cold", "hot")[i % 2]
        sigma = PLANTED.get(name, 0.3)
        atoms.info["config_type"] = name
        results = dict(atoms.calc.results)
        results["forces"] = results["forces"] + sigma * rng.normal(size=(len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, **results)
    return frames


@pytest.fixture(scope="module")
def frames():
    return noisy_frames()


@pytest.fixture(scope="module")
def model(frames):
    return by_type().fit(frames)


def by_type(**changes):
    return small_model(noise=Noise(by_config_type=True), **changes)


def triangles_by_type(model, frames):
    """Rows with relative sigmas of the reference, in triangles of types that are made here."""
    found = {}
    for name in ("cold", "few", "hot"):
        batch = to_batch([atoms for atoms in frames if atoms.info["config_type"] == name])
        own = {}
        RowMaker(model.model_.basis, model.state_.known, Noise()).fold(batch, own, Resources(n_jobs=1))
        found |= {(kind, name): factor for kind, factor in own.items()}
    return found


def log_p(model, triangles, noise):
    """By the solver, with a noise for every triangle."""
    posterior = model.model_.posterior
    return solve_weights(triangles, noise, posterior.prior, posterior.scales).log_marginal_likelihood


def noise_of(model, triangles):
    table = model.noise_.per_config_type
    return {(kind, name): table.get(name, Noise()).of(kind) or model.noise_.of(kind) for kind, name in triangles}


def test_planted_noise_is_found(model, frames, monkeypatch):
    common = small_model(noise=None).fit(frames)
    assert model.noise_.as_dict()["forces"] == pytest.approx(common.noise_.forces, rel=1e-3)
    assert 2 * PLANTED["cold"] < common.noise_.forces < PLANTED["hot"]
    monkeypatch.setattr(types_of_noise, "PSEUDO_ROWS", 1.0)
    found = by_type().fit(frames).noise_.per_config_type
    assert set(found) == set(PLANTED)
    for name, sigma in PLANTED.items():  # 29 and 28 frames of 12 rows; the model's misfit adds to the smaller one
        assert found[name].forces == pytest.approx(sigma, rel=0.15)
        assert found[name].energy == pytest.approx(ENERGY_TO_FORCE * found[name].forces, rel=1e-9)
    assert found["cold"].virial is None


def test_types_shrink_to_the_common_noise(model, monkeypatch, frames):
    found, common = model.noise_.per_config_type, model.noise_.forces
    assert PLANTED["cold"] < found["cold"].forces < common < found["hot"].forces < PLANTED["hot"]
    monkeypatch.setattr(types_of_noise, "PSEUDO_ROWS", 1e9)
    stiff = by_type().fit(frames)
    for own in stiff.noise_.per_config_type.values():
        assert own.forces == pytest.approx(common, rel=1e-4)


def test_it_is_where_the_evidence_of_triangles_made_here_is_largest(model, frames):
    triangles = triangles_by_type(model, frames)
    noise = noise_of(model, triangles)
    assert log_p(model, triangles, noise) == pytest.approx(model.log_marginal_likelihood_, rel=1e-9)
    n_rows = sum(factor.n_rows for factor in triangles.values())
    for name in PLANTED:

        def value(x, name=name):
            scaled = {key: sigma * np.exp(x * (key[1] == name and key[0] != "virial")) for key, sigma in noise.items()}
            off = np.log(scaled["forces", name] / model.noise_.forces)
            shrinkage = -0.5 * types_of_noise.PSEUDO_ROWS * (2 * off + np.exp(-2 * off))
            return log_p(model, triangles, scaled) + shrinkage

        assert abs(value(1e-3) - value(-1e-3)) / 2e-3 < 0.05 * np.sqrt(n_rows)  # tolerance of the search
        assert value(0.0) > max(value(-0.1), value(0.1))


def test_a_fit_with_what_was_found_is_the_same_model(model, frames):
    again = small_model(noise=model.noise_).fit(frames)
    np.testing.assert_allclose(again.model_.weights, model.model_.weights, rtol=1e-6, atol=1e-9)
    assert again.log_marginal_likelihood_ == pytest.approx(model.log_marginal_likelihood_, rel=1e-9)
    plain = small_model(noise=None).fit(frames)
    assert np.abs(plain.model_.weights - model.model_.weights).max() > 1e-3


def test_same_seed_same_model_whatever_the_threads_and_the_order_of_types(model, frames):
    np.testing.assert_array_equal(by_type().fit(frames).model_.weights, model.model_.weights)
    two = by_type(n_jobs=2).fit(frames)
    np.testing.assert_allclose(two.model_.weights, model.model_.weights, rtol=1e-5, atol=1e-8)


def test_updates_weigh_new_frames_by_their_type(frames):
    first, second = frames[:44], frames[44:]
    model = by_type().fit(first)
    noise = model.noise_
    model.partial_fit(second)
    other = small_model(noise=noise).fit(first).partial_fit(second)
    np.testing.assert_allclose(model.model_.weights, other.model_.weights, rtol=1e-6, atol=1e-9)
    folded = {}
    model.state_.row_maker.fold(to_batch(frames), folded, Resources(n_jobs=1))
    for kind, factor in folded.items():
        own = model.state_.factors[kind]
        scale = np.abs(own.R).max() ** 2
        np.testing.assert_allclose(own.R.T @ own.R, factor.R.T @ factor.R, rtol=0, atol=1e-12 * scale)
        assert own.n_rows == factor.n_rows
        assert own.log_weights == pytest.approx(factor.log_weights, abs=1e-8)


def test_round_trip(model, frames, tmp_path):
    model.save(tmp_path / "m.gapkit", factors=True)
    again = load(tmp_path / "m.gapkit")
    assert again.noise_ == model.noise_
    assert again.noise == Noise(by_config_type=True)
    assert again.summary() == model.summary()
    assert "of 'cold': energy" in model.summary()
    new = noisy_frames(6, seed=5)
    a, b = again.partial_fit(new), model.with_state(model.state_).partial_fit(new)
    np.testing.assert_array_equal(a.model_.weights, b.model_.weights)


def test_a_checkpoint_goes_on_to_the_same_bits(frames, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "ATOMS_PER_CHUNK", 16)
    monkeypatch.setattr(accumulator, "ROWS_AT_ONCE", 40)
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    monkeypatch.setattr(checkpoint, "WRITING", 1e9)
    plain = by_type().fit(frames)
    original, calls = training.training_rows, []

    def failing(*arguments):
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(training, "training_rows", failing)
    with pytest.raises(Interrupted):
        by_type().fit(frames, checkpoint=tmp_path / "c")
    resumed = by_type().fit(frames, checkpoint=tmp_path / "c")
    assert resumed.noise_ == plain.noise_
    np.testing.assert_array_equal(resumed.model_.weights, plain.model_.weights)
    complete = by_type().fit(frames, checkpoint=tmp_path / "c")
    np.testing.assert_array_equal(complete.model_.weights, plain.model_.weights)
    with pytest.raises(InputError, match="other parameters"):
        small_model(noise=None).fit(frames, checkpoint=tmp_path / "c")


def test_labels_with_their_own_sigma_and_given_types_stay_out(frames):
    batch = to_batch(frames)
    sigma = np.full(batch.n_atoms, np.nan)
    sigma[batch.frame_of_atom == 10] = 0.07
    labels = batch.all_labels
    batch = replace(batch, labels=replace(labels, sigmas={**labels.sigmas, "forces": sigma}))
    maker = RowMaker(None, None, Noise(by_config_type=True), ("cold", "hot"))
    types = maker._types_of(batch, "forces")
    assert (types[batch.frame_of_atom == 10] == -1).all()
    assert set(types[batch.frame_of_atom == 12]) == {0}
    noise = Noise(by_config_type=True, per_config_type={"hot": Noise(forces=0.2)})
    model = small_model(noise=noise).fit(frames)
    assert set(model.evidence_.config_types) == {"cold"}
    ratio = model.noise_.per_config_type["hot"].forces / model.noise_.forces
    assert ratio == pytest.approx(0.2 / noise.filled().forces)


def test_energies_alone_have_types_of_their_own(monkeypatch):
    monkeypatch.setattr(types_of_noise, "PSEUDO_ROWS", 1.0)
    rng = np.random.default_rng(1)
    frames = make_frames(200, seed=1, size=0.05)
    for i, atoms in enumerate(frames):
        name, sigma = ("cold", 0.002) if i % 2 else ("hot", 0.05)
        atoms.info["config_type"] = name
        energy = atoms.calc.results["energy"] + 2.0 * sigma * rng.normal()  # sigma sqrt(4)
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
    model = by_type().fit(frames)
    found = model.noise_.per_config_type
    assert found["hot"].energy == pytest.approx(0.05, rel=0.3)
    assert found["cold"].energy < 0.01
    # no other type has the common noise, which is that of a fit without types all the same
    assert model.noise_.energy == pytest.approx(small_model(noise=None).fit(frames).noise_.energy, rel=1e-2)


@pytest.mark.parametrize("given", [{"energy": 0.002}, {"virial": 0.1}])
def test_given_noise_stays(given, frames):
    model = small_model(noise=Noise(**given, by_config_type=True)).fit(frames)
    for kind, sigma in given.items():
        assert model.noise_.of(kind) == sigma
        assert all(own.of(kind) is None for own in model.noise_.per_config_type.values())
    assert model.noise_.per_config_type["cold"].forces < model.noise_.forces


def test_kept_rows_are_refused(frames):
    with pytest.raises(InputError, match="`keep_rows` must be False with"):
        by_type().fit(frames, keep_rows=True)


def test_which_types_have_their_own_noise_is_said(frames, capsys):
    by_type(progress=True).fit(frames)
    assert "noise of their own for 'cold', 'hot'; common or given for 'few'" in capsys.readouterr().err
    with pytest.warns(HyperparameterWarning, match=r"`by_config_type` has no effect.*'default'"):
        model = by_type().fit(make_frames(20))
    assert model.noise_.per_config_type == {}
    assert model.noise_.forces == small_model(noise=None).fit(make_frames(20)).noise_.forces


def test_estimates_count_the_triangles(frames):
    assert by_type().estimate(frames).memory > small_model(noise=None).estimate(frames).memory
    assert isinstance(by_type(), GAP)
