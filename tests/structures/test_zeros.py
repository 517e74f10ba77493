"""Zeros of energy that do not fit together, and data in which nothing is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit.structures import describe, read_frames, to_batch

SILICON = Path(__file__).parents[2] / "data" / "silicon"


def labelled(atoms, **results):
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def silicon():
    return to_batch(read_frames(SILICON / "train.extxyz"))


def shifted(batch, by, frames):
    energy = batch.labels.energy + by * batch.n_atoms_per_frame * np.isin(np.arange(batch.n_frames), frames)
    values = {**batch.labels.values, "energy": energy}
    return replace(batch, labels=replace(batch.labels, values=values))


def kinds(batch):
    mine = ("energy_zeros", "free_atom_zeros", "species_energies")
    return {fault.kind: fault for fault in describe(batch).warnings if fault.kind in mine}


def test_sound_data():
    assert kinds(silicon()) == {}
    assert kinds(to_batch(read_frames(SILICON / "test.extxyz"))) == {}


@pytest.mark.parametrize("by", [1000.0, 20.0, -50.0])
@pytest.mark.parametrize("which", [slice(1, 30), slice(43, 60), slice(1, None, 3)])
def test_part_of_the_frames_counts_from_another_zero(by, which):
    batch = silicon()
    frames = np.arange(batch.n_frames)[which]
    found = kinds(shifted(batch, by, frames))
    assert found["energy_zeros"].frames == tuple(frames.tolist())
    assert "from different zeros" in found["energy_zeros"].message


def test_three_zeros():
    batch = silicon()
    found = kinds(shifted(shifted(batch, 1000.0, np.arange(10, 30)), -400.0, np.arange(30, 42)))
    assert found["energy_zeros"].frames == tuple(range(10, 42))


def test_a_free_atom_far_from_what_it_makes_up():
    batch = silicon()
    (free,) = describe(batch).isolated_atoms["Si"]
    found = kinds(shifted(batch, 1000.0, [free]))
    assert found["free_atom_zeros"].frames == (free,)
    assert kinds(shifted(batch, 5.0, [free])) == {}


def copper(n, shift, by=2.0):
    """Vibrations around one lattice, some with another zero."""
    rng, frames = np.random.default_rng(1), []
    for k in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += rng.normal(0.0, 0.05, (4, 3))
        atoms.calc = EMT()
        energy = atoms.get_potential_energy() + 4 * by * (k in shift)
        frames.append(labelled(atoms, energy=energy, forces=atoms.get_forces()))
    return to_batch(frames)


def test_energies_that_jump_where_forces_do_no_work():
    assert kinds(copper(20, ())) == {}
    assert kinds(copper(20, range(5, 12)))["energy_zeros"].frames == tuple(range(5, 12))


def dimers():
    """A curve whose short distances are far above the rest."""
    frames = []
    for distance in (0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 2.5, 3.0):
        atoms = Atoms("C2", positions=[[0, 0, 0], [0, 0, distance]])
        frames.append(labelled(atoms, energy=-200.0 + 200.0 * np.exp(-4.0 * (distance - 0.4))))
    return to_batch(frames)


def test_atoms_pressed_together_are_no_other_zero():
    assert kinds(dimers()) == {}


def test_compositions_with_different_zeros():
    names = ("H2O", "CH4", "CO2", "CO", "H2", "O2", "CH3OH", "C2H6")
    zeros = {"H": -13.0, "C": -1030.0, "O": -2040.0}
    frames = []
    for name in names:
        atoms = molecule(name)
        energy = sum(zeros[symbol] for symbol in atoms.symbols) - 4.0 * len(atoms)
        frames.append(labelled(atoms, energy=energy + 300.0 * len(atoms) * (name == "CH3OH")))
    assert 6 in kinds(to_batch(frames))["energy_zeros"].frames
    frames[6].calc.results["energy"] -= 300.0 * 6
    assert kinds(to_batch(frames)) == {}


def test_species_that_the_data_cannot_tell_apart():
    methane = [labelled(molecule("CH4"), energy=-1090.0 + 0.1 * k) for k in range(4)]
    fault = kinds(to_batch(methane))["species_energies"]
    assert "free atoms of H, C apart" in fault.message
    assert "--e0 H=...,C=..." in fault.message
    assert str(fault).endswith("free atoms")
    assert kinds(to_batch([*methane, labelled(Atoms("C"), energy=-1029.0)])) == {}


def test_what_could_not_be_checked():
    assert describe(copper(20, ())).unchecked == ()
    (words,) = describe(copper(3, ())).unchecked
    assert words.startswith("units and sign of forces against energies, for want of neighbouring frames")
    assert f"not checked: {words}" in str(describe(copper(3, ())))
