"""One rank: the same energies, forces, pressures and novelties as in ASE."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gapkit.calculator import GAPCalculator
from gapkit.interop.lammps import attach
from tests.interop.lammps.systems import P, copper_block, triclinic, with_gold

pytestmark = pytest.mark.lammps

ATOL = 1e-8


def slab():
    atoms = copper_block(2)
    atoms.center(vacuum=6.0, axis=2)
    atoms.pbc = [True, True, False]
    return atoms


def cluster():
    atoms = with_gold(copper_block(2))
    atoms.center(vacuum=7.0)
    atoms.pbc = False
    return atoms


SYSTEMS = {
    "copper": copper_block,
    "triclinic copper": lambda: triclinic(copper_block(2)),
    "alloy": lambda: with_gold(copper_block(2)),
    "triclinic alloy": lambda: with_gold(triclinic(copper_block(3))),
    "cell below the cutoff": lambda: with_gold(triclinic(copper_block(1))),
    "slab": slab,
    "cluster": cluster,
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_equals_ase(name, start, alloy):
    atoms = SYSTEMS[name]()
    types = sorted(set(atoms.symbols))
    here = start(atoms)
    attachment = attach(here.lmp, alloy, types)
    here.commands("compute e all pe/atom", "compute sum all reduce sum c_e", P)
    here.commands("thermo_style custom step pe c_sum c_p[*]", "run 0")
    atoms.calc = GAPCalculator(alloy)
    energy = atoms.get_potential_energy()
    assert_allclose(here.lmp.get_thermo("pe"), energy, rtol=0, atol=ATOL)
    assert_allclose(attachment.energy, energy, rtol=0, atol=ATOL)
    assert_allclose(here.vectors("f"), atoms.get_forces(), rtol=0, atol=ATOL)
    assert_allclose(here.scalars("c_e"), atoms.get_potential_energies(), rtol=0, atol=ATOL)
    assert_allclose(here.lmp.extract_compute("sum", 0, 0), energy, rtol=0, atol=ATOL)
    assert np.isnan(here.scalars("d_novelty")).all()  # the model has no thresholds
    if atoms.pbc.all():
        assert np.abs(atoms.get_stress()).max() > 1e-4
        assert_allclose(here.virial_stress(), atoms.get_stress(), rtol=0, atol=ATOL)


def test_no_local_energy_is_computed_for_the_halo(start, alloy):
    here = start(copper_block(2))
    attachment = attach(here.lmp, alloy, ["Cu"])
    here.commands("run 0")
    assert here.lmp.extract_setting("nghost") > 3 * len(here.atoms)
    assert (attachment.work.n_local, attachment.work.n_foreign) == (len(here.atoms), 0)


def test_types_may_share_a_species_and_default_to_the_only_one(start, copper, alloy):
    atoms = with_gold(copper_block(2))  # two types, both called copper
    energies = []
    for model, types in ((copper, ["Cu", 29]), (copper, None), (alloy, ["Cu", "Au"])):
        here = start(atoms, ["Cu", "Au"])
        attach(here.lmp, model, types, per_atom=False)
        here.commands("run 0")
        energies.append(here.lmp.get_thermo("pe"))
    atoms.numbers[:] = 29
    atoms.calc = GAPCalculator(copper)
    assert_allclose(energies[:2], atoms.get_potential_energy(), rtol=0, atol=ATOL)
    assert abs(energies[2] - energies[0]) > 0.1


def test_novelty_is_that_of_extrapolation(start, cool_copper):
    atoms = copper_block(2, size=0.5)
    here = start(atoms)
    attachment = attach(here.lmp, cool_copper)
    here.commands("thermo_style custom step f_gapkit[1] f_gapkit[2]", "run 0")
    expected = cool_copper.extrapolation(atoms).novelty
    assert_allclose(here.scalars("d_novelty"), expected, rtol=1e-6)
    assert expected.max() > 1.0
    assert_allclose(attachment.novelty, expected.max(), rtol=1e-6)
    found = [here.lmp.extract_fix("gapkit", 0, 1, i) for i in range(2)]
    assert_allclose(found, [expected.max(), np.count_nonzero(expected > 1.0)], rtol=1e-6)


def test_atoms_in_one_place(start, alloy):
    """LAMMPS has its own neighbour lists; what they hold is checked as everywhere."""
    atoms = copper_block(2)
    atoms.positions[1] = atoms.positions[0]
    here = start(atoms)
    attachment = attach(here.lmp, alloy, ["Cu"])
    with pytest.raises(Exception, match="gapkit"):
        here.commands("run 0")
    assert "apart, got 0 Å" in str(attachment.error)
