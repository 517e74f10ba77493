"""The table of targets: Voigt order, what is shown, and a further target that is one row and one functional."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from gapkit import LabelKeys, Noise, load
from gapkit.curation import influence
from gapkit.exceptions import InputError
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.noise import row_sigmas
from gapkit.gp.rows import FUNCTIONALS
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.metadata import training_digest
from gapkit.structures import concatenate, describe, to_batch
from gapkit.targets import TARGETS, Target, from_voigt, shown_quantities, to_voigt
from tests.potential.models import NOISE, make_frames, small_model


@pytest.fixture
def charge(monkeypatch):
    """A charge of every atom, in a table of its own."""
    target = Target("charge", "e", per_atom=True, noise=0.01)
    monkeypatch.setitem(TARGETS, "charge", target)
    return target


def test_voigt_order_is_that_of_ase():
    full = np.array([[[1.0, 6, 5], [6, 2, 4], [5, 4, 3]]])
    np.testing.assert_array_equal(to_voigt(full)[0], full_3x3_to_voigt_6_stress(full[0]))
    np.testing.assert_array_equal(from_voigt(to_voigt(full))[0], voigt_6_to_full_3x3_stress(to_voigt(full)[0]))


def test_what_is_shown():
    n_atoms, volumes = np.array([2, 4]), np.array([10.0, np.nan])
    factors = {name: shown.factor(n_atoms, volumes) for name, shown in shown_quantities().items()}
    np.testing.assert_array_equal(factors["energy"], [0.5, 0.25])
    np.testing.assert_array_equal(factors["forces"], [1.0, 1.0])
    np.testing.assert_array_equal(factors["stress"], [-0.1, np.nan])
    assert [shown.printed(0.01234567) for shown in shown_quantities().values()] == ["12.35", "0.0123", "12.346"]


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_components_keep_all_of_a_label(target):
    values = np.random.default_rng(0).normal(size=(5, *target.shape))
    values = values + values.swapaxes(1, 2) if len(target.shape) == 2 else values
    components = target.to_components(values)
    assert components.shape == (5, target.components)
    np.testing.assert_array_equal(target.from_components(components), values)


def charged(charges=(-0.8, 0.4, 0.4), **more):
    atoms = molecule("H2O")
    atoms.arrays["charge"] = np.array(charges)
    for name, value in more.items():
        (atoms.arrays if np.ndim(value) else atoms.info)[name] = value
    return atoms


def test_labels_of_a_further_target_are_read(charge):
    batch = to_batch([charged(), bulk("Cu"), charged(charge_mask=np.array([0, 1, 0]), charge_sigma=0.2)])
    labels = batch.labels
    np.testing.assert_array_equal(labels.charge, [-0.8, 0.4, 0.4, np.nan, -0.8, np.nan, 0.4])
    np.testing.assert_array_equal(labels.has["charge"], [1, 1, 1, 0, 1, 0, 1])
    np.testing.assert_array_equal(labels.charge_sigma, [np.nan] * 4 + [0.2] * 3)
    np.testing.assert_array_equal(batch.select([2]).labels.charge, labels.charge[4:])
    np.testing.assert_array_equal(
        concatenate([batch.select([1]), batch.select([0])]).labels.charge, labels.charge[[3, 0, 1, 2]]
    )
    assert describe(batch).unlabelled == (1,)
    assert describe(batch).config_types[0].n_labels["charge"] == 5


def test_digests_do_not_depend_on_the_rows_of_the_table(monkeypatch):
    frames = [molecule("H2O"), bulk("Cu")]
    before = training_digest(to_batch(frames))
    monkeypatch.setitem(TARGETS, "charge", Target("charge", "e", per_atom=True))
    assert training_digest(to_batch(frames)) == before
    assert training_digest(to_batch([charged(), frames[1]])) != before


def test_labels_of_a_further_target_under_another_name(charge):
    atoms = charged()
    atoms.arrays["q"] = np.array([-0.6, 0.3, 0.3])
    labels = to_batch(atoms, keys=LabelKeys(others={"charge": "q"})).labels
    np.testing.assert_array_equal(labels.charge, [-0.6, 0.3, 0.3])
    assert not to_batch(atoms, keys=LabelKeys(others={"charge": None})).labels.has["charge"].any()
    with pytest.raises(InputError, match=r"`charge` of LabelKeys.*'nope', found in none"):
        to_batch(atoms, keys=LabelKeys(others={"charge": "nope"}))
    with pytest.raises(InputError, match=r"must name targets.*dipole"):
        LabelKeys(others={"dipole": "mu"})


@pytest.mark.parametrize(
    ("charges", "message"), [((0.1, np.nan, 0.0), "must be finite"), ((0.1, 0.2), "must have shape")]
)
def test_unusable_labels_of_a_further_target(charge, charges, message):
    atoms = charged()
    del atoms.arrays["charge"]
    atoms.info["charge"] = np.array(charges)
    with pytest.raises(InputError, match=f"`charge` {message}"):
        to_batch(atoms)


def test_noise_of_a_further_target(charge):
    labels = to_batch([charged(), charged(charge_sigma=0.2)]).labels
    n_atoms = np.array([3, 3])
    noise = Noise(others={"charge": 0.05}, per_config_type={"default": Noise(others={"charge": 0.1})})
    np.testing.assert_allclose(row_sigmas(noise, labels, "charge", n_atoms), [2.0] * 3 + [4.0] * 3)
    assert noise.as_dict() == {"charge": 0.05}
    assert Noise().filled().of("charge") == 0.01
    with pytest.raises(InputError, match=r"`others\['charge'\]` of Noise must be a number > 0"):
        Noise(others={"charge": -1.0})
    with pytest.raises(InputError, match="must name targets"):
        Noise(others={"dipole": 1.0})


def local_energies(applied, atoms):
    """Rows (n, 1, M) of the contributions of atoms: what a per-atom scalar would be trained with."""
    rows = np.zeros((applied.batch.n_atoms, applied.basis.n_columns))
    for block in applied.basis.blocks:
        for chunk in applied.walk(block):
            np.add.at(rows[:, block.columns], chunk.centres, chunk.features.factors[:, None] * chunk.kernel())
    return rows[:, None] if atoms is None else rows[atoms, None]


def test_a_further_target_is_fitted_with_its_functional(charge, monkeypatch):
    """Local energies of a model, given as labels of each atom, bring back that model's local energies."""
    monkeypatch.setitem(FUNCTIONALS, "charge", local_energies)
    train, test = make_frames(6), make_frames(9)[6:]
    truth = small_model(calibration=None).fit(train)
    offset = truth.reference_energies_["Cu"]
    # before any is labelled: the truth is to learn nothing from charges
    for atoms in train:
        atoms.arrays["charge"] = truth.predict(atoms).local_energies - offset
        atoms.calc = None
    noise = Noise(NOISE.energy, NOISE.forces, NOISE.virial, others={"charge": 1e-5})
    model = small_model(noise=noise, calibration=None, reference_energies={"Cu": offset}).fit(train)
    assert set(model.state_.factors) == {"charge"}
    assert model.state_.factors["charge"].n_rows == sum(map(len, train))
    wanted, found = truth.predict(test).local_energies, model.predict(test).local_energies
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted - wanted.mean()).max()


def test_residuals_of_a_further_target_are_those_of_its_rows(charge, monkeypatch):
    monkeypatch.setitem(FUNCTIONALS, "charge", local_energies)
    frames = make_frames(14)
    for atoms in frames[:12]:
        atoms.arrays["charge"] = np.linspace(-0.1, 0.1, len(atoms))
    noise = Noise(NOISE.energy, NOISE.forces, NOISE.virial, others={"charge": 2e-3})
    model = small_model(noise=noise, calibration="leave-one-out").fit(frames)
    found, sparse, batch = model.leave_one_out(frames).of(charge), model.model_, to_batch(frames)
    assert found.errors.shape == (sum(len(atoms) for atoms in frames[:12]), 1)
    np.testing.assert_array_equal(found.rows, np.flatnonzero(batch.labels.has["charge"]))
    rows = local_energies(AppliedBasis.of(sparse.basis, batch, build_neighbour_list(batch, sparse.basis.reach)), None)
    direct = (rows[:, 0] @ sparse.weights)[found.rows] - batch.labels.charge[found.rows]
    # a frame that is left out is predicted worse than with its own labels
    assert np.sum(found.errors**2) > 1.05 * np.sum(direct**2)
    assert model.calibration_.scales.keys() == {"energy", "forces", "stress", "charge"}
    assert model.predict(frames[:2], return_std=True).forces_std is not None
    assert np.corrcoef(found.errors[:, 0], direct)[0, 1] > 0.5


def test_evidence_files_updates_and_influence_know_of_a_further_target(charge, monkeypatch, tmp_path):
    monkeypatch.setitem(FUNCTIONALS, "charge", local_energies)
    rng, frames = np.random.default_rng(0), make_frames(16)
    base = small_model().fit(frames)
    for atoms in frames:
        exact = base.predict(atoms).local_energies - base.reference_energies_["Cu"]
        atoms.arrays["charge"] = exact + rng.normal(scale=0.02, size=len(atoms))
    model = small_model(calibration="leave-one-out").fit(frames[:14])
    assert model.noise_.of("charge") == pytest.approx(0.02, rel=0.3)
    assert "charge: a = " in model.calibration_.summary()
    ranked = influence(model, frames[:14])
    assert {frame.kinds["charge"].n_rows for frame in ranked.frames} == {4}
    model.save(tmp_path / "m.gapkit", factors=True)
    loaded = load(tmp_path / "m.gapkit")
    assert loaded.noise_ == model.noise_
    loaded.partial_fit(frames[14:15])
    assert loaded.state_.factors["charge"].n_rows == 4 * 15
    loaded.partial_fit(frames[15:], n_new=2, training_frames=frames[:15])
    assert loaded.n_sparse_ == model.n_sparse_ + 2
    assert loaded.state_.factors["charge"].n_rows == 4 * 16
