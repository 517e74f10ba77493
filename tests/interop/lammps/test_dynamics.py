"""Dynamics on one rank: conservation, barostats, minimisation, the halt, and errors in a step."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gapkit.calculator import GAPCalculator
from gapkit.exceptions import GapkitError
from gapkit.interop.lammps import attach
from tests.interop.lammps.systems import P, copper_block, triclinic

pytestmark = pytest.mark.lammps


def check_against_ase(here, model, atol=1e-8):
    """What LAMMPS has now is what ASE finds for the atoms as they are now."""
    atoms = here.now()
    atoms.calc = GAPCalculator(model)
    assert_allclose(here.vectors("f"), atoms.get_forces(), rtol=0, atol=atol)
    assert_allclose(here.virial_stress(), atoms.get_stress(), rtol=0, atol=atol)
    return atoms


def test_nve_conserves_energy(start, copper):
    here = start(copper_block(2, size=0.05))
    attachment = attach(here.lmp, copper, novelty_every=0)
    here.commands("velocity all create 1200 4", "timestep 0.001", "fix 1 all nve", P)
    here.commands("thermo_style custom step pe etotal c_p[*]")
    energies = []
    for _ in range(40):
        here.commands("run 5")
        energies.append([here.lmp.get_thermo("etotal"), here.lmp.get_thermo("pe")])
    total, potential = np.transpose(energies) / len(here.atoms)
    assert np.ptp(potential) > 1e-2
    assert np.ptp(total) < 1e-3 * np.ptp(potential)
    assert attachment.work.n_steps == 240
    assert attachment.work.n_builds >= 40
    check_against_ase(here, copper)


@pytest.mark.parametrize(
    "fix", ["nvt temp 600 600 0.05", "npt temp 600 600 0.05 iso 0 0 0.2", "npt temp 600 600 0.05 tri 5000 5000 0.2"]
)
def test_thermostat_and_barostat(fix, start, copper):
    here = start(triclinic(copper_block(2, size=0.05)), None, "neigh_modify every 5 delay 0 check no")
    attachment = attach(here.lmp, copper, novelty_every=0)
    here.commands("velocity all create 900 4", "timestep 0.002", f"fix 1 all {fix}", P)
    here.commands("thermo_style custom step pe press c_p[*]", "run 120")
    atoms = check_against_ase(here, copper)
    kinetic = here.lmp.get_thermo("press") / here.lmp.extract_global("nktv2p") + atoms.get_stress()[:3].mean()
    temperature = here.lmp.extract_compute("thermo_temp", 0, 0)
    expected = (len(atoms) - 1) * here.lmp.extract_global("boltz") * temperature / atoms.get_volume()
    assert_allclose(kinetic, expected, rtol=1e-6)
    assert ("npt" in fix) == (abs(atoms.get_volume() / here.atoms.get_volume() - 1.0) > 1e-3)
    # built every five steps, not in every step, and in the setup
    assert 20 <= attachment.work.n_builds <= 26


def test_minimisation(start, copper):
    here = start(copper_block(2, size=0.1))
    attach(here.lmp, copper, novelty_every=0)
    here.commands(P, "thermo_style custom step pe c_p[*]", "min_style cg", "minimize 0 1e-4 300 1000", "run 0")
    assert np.abs(here.vectors("f")).max() < 1e-3
    check_against_ase(here, copper)


def test_reordered_atoms_are_noticed(start, copper):
    # steps that go on or back, and positions that change between runs
    here = start(copper_block(2, size=0.05))
    attach(here.lmp, copper, novelty_every=0)
    here.commands("velocity all create 900 4", "timestep 0.002", "fix 1 all nve", P)
    here.commands("thermo_style custom step pe c_p[*]", "run 20")
    here.commands("displace_atoms all random 0.3 0.3 0.3 7", "reset_timestep 21", "run 0")
    check_against_ase(here, copper)
    here.commands("run 3", "run 3 pre no")
    check_against_ase(here, copper)


def test_halt_on_novelty(start, cool_copper):
    here = start(copper_block(2, size=0.02))
    attachment = attach(here.lmp, cool_copper, halt_on_novelty=1.0, novelty_every=5)
    here.commands("velocity all create 9000 4", "timestep 0.002", "fix 1 all nve", "run 1000")
    step = here.lmp.extract_global("ntimestep")
    here.commands("run 1000")
    assert here.lmp.extract_global("ntimestep") == step
    assert 0 < step < 1000
    assert step % 5 == 0
    assert attachment.novelty > 1.0
    assert attachment.n_extrapolating >= 1
    assert attachment.error is None
    assert_allclose(cool_copper.extrapolation(here.now()).novelty.max(), attachment.novelty, rtol=1e-6)


def test_no_halt_while_nothing_is_new(start, cool_copper):
    here = start(copper_block(2, size=0.05))
    attachment = attach(here.lmp, cool_copper, halt_on_novelty=1.0)
    here.commands("velocity all create 300 4", "fix 1 all nve", "run 30")
    assert here.lmp.extract_global("ntimestep") == 30
    assert 0.0 < attachment.novelty < 1.0


@pytest.mark.parametrize("error", [GapkitError("no such thing"), RuntimeError("bug"), KeyboardInterrupt()])
def test_an_error_in_a_step_ends_the_run(error, start, copper, monkeypatch, capsys):
    here = start(copper_block(2))
    attachment = attach(here.lmp, copper)
    here.commands("fix 1 all nve", "run 2")
    calls = []

    def fails(*arguments):
        calls.append(arguments)
        raise error

    monkeypatch.setattr(attachment, "_predict", fails)
    with pytest.raises(Exception, match="gapkit_failed_as_printed_above"):
        here.commands("run 1000 pre no")
    assert len(calls) == 1
    assert attachment.error is error
    assert "gapkit at step 3: " in capsys.readouterr().err
