"""Potentials with energies that are not learned: by hand, delta learning, model files."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from sklearn.base import clone

from gapkit import load
from gapkit.calculator import GAPCalculator
from gapkit.exceptions import InputError, NotFittedModelError, UnknownSpeciesError
from gapkit.potential import ZBL, CalculatorTerm, LennardJones, ModelTerm, sample_committee
from gapkit.structures import to_batch
from gapkit.terms import KnownEnergy
from tests.potential.models import label, make_frames, small_model, small_terms
from tests.potential.test_gap import assert_close, assert_derivatives, assert_identical

PAIRS = LennardJones({"Cu": 0.2, "Au": 0.3}, {"Cu": 2.3, "Au": 2.6}, 4.5)
TERMS = [ZBL(2.8, 1.5), PAIRS]


@pytest.fixture(scope="module")
def frames():
    return make_frames(8, n_gold=3, seed=1)


@pytest.fixture(scope="module")
def unseen():
    return make_frames(4, n_gold=3, seed=7)


def relabelled(frames, known: KnownEnergy, sign: float) -> list[Atoms]:
    """Copies of the frames with a known energy added to their labels, or taken from them."""
    found = known.targets(to_batch(frames))
    copies, start = [], 0
    for i, atoms in enumerate(frames):
        copy, results = atoms.copy(), atoms.calc.results
        virial = found["virial"][i][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        copy.calc = SinglePointCalculator(
            copy, energy=results["energy"] + sign * found["energy"][i],
            forces=results["forces"] + sign * found["forces"][start : start + len(atoms)],
            stress=results["stress"] - sign * virial / atoms.get_volume(),
        )  # fmt: skip
        start += len(atoms)
        copies.append(copy)
    return copies


def errors(model, frames) -> float:
    """Root mean square error of the forces, eV/Å."""
    forces = np.concatenate([atoms.get_forces() for atoms in frames])
    return float(np.sqrt(np.mean((model.predict(frames).forces - forces) ** 2)))


def test_terms_by_hand(frames, unseen):
    """The same as to subtract the terms from the labels, fit, and add them to the predictions."""
    given = {"reference_energies": {"Cu": 0.1, "Au": -0.2}}
    model = small_model(energy_terms=TERMS, **given).fit(frames)
    known = KnownEnergy(dict.fromkeys((29, 79), 0.0), tuple(TERMS))
    by_hand = small_model(**given).fit(relabelled(frames, known, -1.0))
    p, q = model.predict(unseen), by_hand.predict(unseen)
    found = known.targets(to_batch(unseen, labels=False))
    for key, name in (("energy", "energy"), ("forces", "forces"), ("virial", "virial")):
        expected = getattr(q, key) + found[name]
        np.testing.assert_allclose(getattr(p, key), expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    assert_close(p, small_model(energy_terms=TERMS[::-1], **given).fit(frames).predict(unseen))
    assert np.abs(p.forces - small_model(**given).fit(frames).predict(unseen).forces).max() > 1e-3


def test_one_term_needs_no_list(frames, unseen):
    one, listed = (small_model(energy_terms=terms).fit(frames) for terms in (PAIRS, [PAIRS]))
    assert_identical(one.predict(unseen), listed.predict(unseen))


def test_terms_that_are_right_leave_nothing_to_learn(unseen):
    """Labels of EMT, and EMT as a term: a fit to three frames is exact."""
    few = make_frames(3, n_gold=2, seed=2)
    model = small_model(terms=small_terms(6), energy_terms=CalculatorTerm("ase.calculators.emt.EMT")).fit(few)
    assert errors(model, unseen) < 1e-6
    assert errors(small_model(terms=small_terms(6)).fit(few), unseen) > 0.05
    assert np.abs(list(model.reference_energies_.values())).max() < 1e-8


@pytest.mark.parametrize("terms", [TERMS, [ZBL(2.8, 1.5), CalculatorTerm("ase.calculators.emt.EMT")]])
def test_derivatives(frames, terms):
    model = small_model(energy_terms=terms).fit(frames)
    assert_derivatives(model, frames[3].copy())


def test_committees_and_calculators_have_the_terms_too(frames, unseen):
    model = small_model(energy_terms=TERMS).fit(frames)
    members = sample_committee(model, 3, 0)
    p = members.predict(unseen)
    for i, member in enumerate(members):
        np.testing.assert_allclose(p.forces[i], member.predict(unseen).forces, rtol=0, atol=1e-9)
    atoms = unseen[0].copy()
    atoms.calc = GAPCalculator(model)
    np.testing.assert_allclose(atoms.get_forces(), model.predict([atoms]).forces, rtol=0, atol=1e-10)


# ---------------------------------------------------------------------- delta learning


@pytest.fixture(scope="module")
def base():
    """A model of many labels that are cheap and wrong."""
    cheap = KnownEnergy({29: 0.7, 79: -0.4}, (LennardJones({"Cu": 0.01, "Au": 0.01}, {"Cu": 2.4, "Au": 2.6}, 4.0),))
    return small_model(terms=small_terms(60)).fit(relabelled(make_frames(40, n_gold=3, seed=5), cheap, 1.0))


def test_delta_learning(base, unseen):
    """Few labels of the right kind on top of many of another are better than either alone."""
    few = make_frames(4, n_gold=3, seed=1)
    delta = small_model(terms=small_terms(8), energy_terms=ModelTerm(base)).fit(few)
    plain = small_model(terms=small_terms(8)).fit(few)
    assert errors(delta, unseen) < 0.6 * min(errors(base, unseen), errors(plain, unseen))
    p, of_base = delta.predict(unseen), base.predict(unseen)
    corrected = delta.state_.sparse.predict(delta.state_.apply(to_batch(unseen, labels=False)))
    np.testing.assert_allclose(p.forces, of_base.forces + corrected.forces, rtol=0, atol=1e-10)


def test_pair_potentials_leave_reference_energies_as_they_are(frames):
    assert small_model(energy_terms=TERMS).fit(frames).reference_energies_ == pytest.approx(
        small_model().fit(frames).reference_energies_, rel=1e-14
    )


def test_reference_energies_are_those_of_the_difference(base):
    """Isolated atoms: what the base says of them is not counted twice."""
    free = [label(Atoms(symbol, cell=[12.0] * 3, pbc=True)) for symbol in ("Cu", "Au")]
    delta = small_model(terms=small_terms(8), energy_terms=[ModelTerm(base)], reference_energies="isolated")
    delta.fit([*make_frames(4, 2), *free])
    of_base = base.predict(free).energy
    for atoms, energy in zip(free, of_base, strict=True):
        expected = atoms.get_potential_energy() - energy
        assert delta.reference_energies_[str(atoms.symbols)] == pytest.approx(expected, abs=1e-10)


def test_species_that_the_base_does_not_know():
    copper = small_model().fit(make_frames(6))
    with pytest.raises(UnknownSpeciesError, match="Au"):
        small_model(energy_terms=ModelTerm(copper)).fit(make_frames(4, n_gold=3, seed=1))


def test_the_base_must_be_fitted():
    with pytest.raises(NotFittedModelError):
        ModelTerm(small_model())


# ---------------------------------------------------------------------- copies and files


@pytest.mark.parametrize("by_path", [False, True])
def test_model_files_hold_the_terms(base, frames, unseen, tmp_path, by_path):
    base.save(tmp_path / "base.gapkit")
    of_model = ModelTerm(tmp_path / "base.gapkit" if by_path else base, n_jobs=1)
    terms = [*TERMS, CalculatorTerm("ase.calculators.emt.EMT", {"asap_cutoff": True}), of_model]
    model = small_model(energy_terms=terms).fit(frames)
    model.save(tmp_path / "model.gapkit")
    expected = model.predict(unseen)
    (tmp_path / "base.gapkit").unlink()
    loaded = load(tmp_path / "model.gapkit")
    assert_identical(expected, loaded.predict(unseen))
    loaded.save(tmp_path / "again.gapkit")
    assert_identical(expected, load(tmp_path / "again.gapkit").predict(unseen))
    assert [type(term) for term in loaded.energy_terms] == [type(term) for term in terms]


def test_a_calculator_without_path_cannot_be_saved(frames, tmp_path):
    model = small_model(energy_terms=CalculatorTerm(EMT())).fit(frames)
    with pytest.raises(InputError, match="import path and parameters"):
        model.save(tmp_path / "model.gapkit")
    assert not list(tmp_path.iterdir())


def test_clones_are_fitted_alike(base, frames, unseen):
    model = small_model(energy_terms=[ZBL(2.8, 1.5), ModelTerm(base)])
    assert_close(clone(model).fit(frames).predict(unseen), model.fit(frames).predict(unseen), 1e-13)


def test_what_is_no_term(frames):
    for wrong in ("ZBL", [3.0], [ZBL]):
        with pytest.raises(InputError, match="energy_terms"):
            small_model(energy_terms=wrong).fit(frames)
