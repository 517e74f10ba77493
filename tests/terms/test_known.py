"""The sum of reference energies and terms, and terms that depend on what other terms predict."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones as LennardJonesOfASE

from gapkit.exceptions import InputError
from gapkit.structures import to_batch
from gapkit.terms import ZBL, CalculatorTerm, KnownEnergy, LennardJones, known
from tests.descriptors.cases import numerical_forces, numerical_virial, structure
from tests.terms.cases import Coulomb, PairCharges, energies, evaluate
from tests.terms.test_registry import DERIVATIVE, EXACT, assert_close, symmetric

REFERENCE = {8: -3.0, 14: 1.5, 32: 0.25}
SILICON = LennardJones({"Si": 0.3}, {"Si": 2.1}, 4.0)


@pytest.fixture
def atoms():
    return structure("molecule", 3, seed=2)


# ---------------------------------------------------------------------- the sum


def test_sum_of_references_and_terms(atoms):
    sum_of = evaluate(KnownEnergy(REFERENCE, (ZBL(3.0, 1.0), SILICON)), [atoms])
    zbl, pairs = evaluate(ZBL(3.0, 1.0), [atoms]), evaluate(SILICON, [atoms])
    e0 = np.array([REFERENCE[z] for z in atoms.numbers])
    assert_close(sum_of.local_energies, e0 + zbl.local_energies + pairs.local_energies, EXACT)
    assert_close(sum_of.forces, zbl.forces + pairs.forces, EXACT)
    assert_close(sum_of.virials, zbl.virials + pairs.virials, EXACT)


def test_centres_have_their_reference_energy_and_others_none(atoms):
    some = np.arange(len(atoms)) % 2 == 0
    local = evaluate(KnownEnergy(REFERENCE), [atoms], centres=some).local_energies
    np.testing.assert_array_equal(local, np.where(some, [REFERENCE[z] for z in atoms.numbers], 0.0))


@pytest.mark.parametrize("n", [1, 13, 10**6])
def test_targets(monkeypatch, n):
    """The known part of the labels, whatever the frames that are taken together."""
    monkeypatch.setattr(known, "_ATOMS_AT_ONCE", n)
    frames = [structure(kind, 3, seed=s) for s in range(2) for kind in ("bulk", "molecule", "small")]
    model = KnownEnergy(REFERENCE, (SILICON, CalculatorTerm("ase.calculators.lj.LennardJones", {"rc": 3.0})))
    batch = to_batch(frames, labels=False)
    found, whole = model.targets(batch), evaluate(model, frames)
    assert_close(found["energy"], np.add.reduceat(whole.local_energies, batch.offsets[:-1]), EXACT)
    assert_close(found["forces"], whole.forces, EXACT)
    assert_close(found["virial"], symmetric(whole.virials), EXACT)


def test_reach():
    assert KnownEnergy(REFERENCE).reach == 0.0
    assert KnownEnergy(REFERENCE, (Coulomb(),)).reach == 0.0
    assert KnownEnergy(REFERENCE, (ZBL(2.5), SILICON, Coulomb())).reach == 4.0
    assert KnownEnergy(REFERENCE, (ZBL(2.5),)).is_local
    assert not KnownEnergy(REFERENCE, (ZBL(2.5), Coulomb())).is_local


# ---------------------------------------------------------------------- charges that a term predicts


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["charges first", "charges last"])
def test_derivatives_through_predicted_charges(atoms, order):
    terms = (PairCharges(), Coulomb())
    model = KnownEnergy(REFERENCE, tuple(terms[i] for i in order))
    found = evaluate(model, [atoms])
    charges = evaluate(PairCharges(), [atoms]).local_energies
    assert np.abs(charges).max() > 0.05
    alone = evaluate(Coulomb(), [atoms], inputs={"charges": charges})
    assert_close(found.local_energies, alone.local_energies + [REFERENCE[z] for z in atoms.numbers], EXACT)
    forces = numerical_forces(energies(model), atoms)
    assert_close(found.forces, forces, DERIVATIVE)
    assert_close(symmetric(found.virials)[0], numerical_virial(energies(model), atoms), DERIVATIVE)
    assert np.abs(alone.forces - forces).max() > 0.1 * np.abs(forces).max()  # the charges' share is no trifle
    assert not found.input_gradients


def test_some_atoms_through_predicted_charges(atoms):
    model = KnownEnergy(REFERENCE, (PairCharges(), Coulomb(), ZBL(3.0, 1.0)))
    given = {"centres": np.arange(len(atoms)) % 3 == 0, "upstream": np.linspace(0.5, 2.0, len(atoms))}
    found = evaluate(model, [atoms], **given)
    assert_close(found.forces, numerical_forces(energies(model, **given), atoms), DERIVATIVE)
    assert_close(symmetric(found.virials)[0], numerical_virial(energies(model, **given), atoms), DERIVATIVE)


def test_gradient_of_given_charges(atoms):
    """A caller that predicts charges itself, such as the Gaussian process, gets dE/dq to carry on with."""
    model = KnownEnergy(REFERENCE, (Coulomb(), ZBL()))
    charges = np.random.default_rng(3).normal(size=len(atoms))
    gradient = evaluate(model, [atoms], inputs={"charges": charges}).input_gradients["charges"]
    step = 1e-4
    for i in range(len(atoms)):
        up, down = (charges + s * step * (np.arange(len(atoms)) == i) for s in (1, -1))
        difference = energies(model, inputs={"charges": up})([atoms]) - energies(model, inputs={"charges": down})(
            [atoms]
        )
        assert gradient[i] == pytest.approx(difference[0] / (2 * step), rel=1e-6, abs=1e-8)


def test_missing_and_doubled_quantities(atoms):
    with pytest.raises(InputError, match="Coulomb needs charges"):
        evaluate(KnownEnergy(REFERENCE, (Coulomb(),)), [atoms])
    with pytest.raises(InputError, match="each quantity once"):
        KnownEnergy(REFERENCE, (PairCharges(), PairCharges(3.0)))


# ---------------------------------------------------------------------- Lennard-Jones


def test_lennard_jones_formula():
    term = LennardJones({"Ar": 0.0104, "Kr": 0.0140}, {"Ar": 3.4, "Kr": 3.65}, cutoff=12.0, inner=11.0)
    pair = evaluate(term, [Atoms("ArKr", positions=[[0, 0, 0], [0, 0, 4.2]])])
    epsilon, sigma = np.sqrt(0.0104 * 0.0140), 0.5 * (3.4 + 3.65)
    x = (sigma / 4.2) ** 6
    assert pair.local_energies.sum() == pytest.approx(4 * epsilon * (x * x - x), rel=EXACT)
    assert pair.forces[1, 2] == pytest.approx(24 * epsilon * (2 * x * x - x) / 4.2, rel=EXACT)
    lowest = evaluate(term, [Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 2 ** (1 / 6) * 3.4]])])
    assert lowest.local_energies.sum() == pytest.approx(-0.0104, rel=EXACT)
    assert np.abs(lowest.forces).max() < 1e-14
    assert not evaluate(term, [Atoms("ArHe", positions=[[0, 0, 0], [0, 0, 3.0]])]).forces.any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: ZBL(2.0, 2.0),
        lambda: ZBL(np.nan),
        lambda: LennardJones({"Ar": 0.01}, {}),
        lambda: LennardJones({"Ar": -0.01}, {"Ar": 3.4}),
        lambda: LennardJones({"Xx": 0.01}, {"Xx": 3.4}),
    ],
)
def test_bad_pair_terms(make):
    with pytest.raises(InputError):
        make()


# ---------------------------------------------------------------------- calculators


def test_calculator_is_that_of_ase():
    atoms = bulk("Cu", cubic=True) * (1, 1, 2)
    atoms.numbers[:3] = 79
    atoms.rattle(0.1, seed=1)
    for term in (CalculatorTerm("ase.calculators.emt.EMT"), CalculatorTerm(EMT())):
        found = evaluate(term, [atoms])
        calc = EMT()
        energy = calc.get_potential_energy(atoms)
        assert found.local_energies.sum() == pytest.approx(energy, rel=EXACT)
        assert_close(found.local_energies, calc.get_property("energies", atoms), EXACT)
        assert_close(found.forces, calc.get_forces(atoms), EXACT)
        stress = -found.virials[0] / atoms.get_volume()
        assert_close(stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]], calc.get_stress(atoms), EXACT)


class WithoutStress(LennardJonesOfASE):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012


def test_energies_are_shared_evenly_and_periodic_virials_unknown_without_stress(atoms):
    term = CalculatorTerm(f"{__name__}.WithoutStress", {"rc": 4.0, "sigma": 2.1})
    found = evaluate(term, [atoms, structure("bulk", 1)])
    assert len(set(found.local_energies[: len(atoms)])) == 1
    assert_close(found.virials[0], numerical_virial(energies(term), atoms), DERIVATIVE)
    assert np.isnan(found.virials[1]).all()


def test_virial_labels_need_a_calculator_with_stress():
    model = KnownEnergy(REFERENCE, (CalculatorTerm(f"{__name__}.WithoutStress"),))
    atoms = structure("bulk", 1)
    atoms.info["stress"] = np.full(6, 0.01)
    assert np.isfinite(model.targets(to_batch([structure("bulk", 1)]))["forces"]).all()
    with pytest.raises(InputError, match="calculator with stress"):
        model.targets(to_batch([atoms]))


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        ("EMT", {}, "import path"),
        ("os.system('true').x", {}, "import path"),
        ("os.system", {}, "subclass of ASE's Calculator"),
        ("subprocess.Popen", {"args": ["true"]}, "subclass of ASE's Calculator"),
        ("ase.calculators.nothing.Nothing", {}, "cannot be imported"),
        ("ase.calculators.espresso.Espresso", {}, "starts a program"),
        ("ase.calculators.lammpsrun.LAMMPS", {"command": "true"}, "starts a program"),
        ("ase.calculators.emt.EMT", {"asap_cutoff": np.bool_(True)}, "must be numbers, strings"),
    ],
)
def test_only_calculators_by_path(atoms, path, parameters, message):
    with pytest.raises(InputError, match=message):
        evaluate(CalculatorTerm(path, parameters), [atoms])


def test_calculators_by_value():
    with pytest.raises(InputError, match="must be empty"):
        CalculatorTerm(EMT(), {"asap_cutoff": True})
    with pytest.raises(InputError, match="an ASE calculator or its import path, got int"):
        CalculatorTerm(3)
