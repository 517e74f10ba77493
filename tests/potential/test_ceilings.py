"""What labels bound of error bars: units and values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit.neighbours import build_neighbour_list
from gapkit.potential.error_bars.ceilings import label_ceilings
from gapkit.potential.training.source import labelled_batch
from gapkit.structures import to_batch
from gapkit.terms import LennardJones
from tests.potential.models import small_model, small_terms


def with_labels(atoms, **results):
    atoms = atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def crystal(n, a, energy=None, force=None, stress=None):
    """A row of `n` cells of four atoms: volume n a^3."""
    atoms = bulk("Cu", cubic=True, a=a) * (n, 1, 1)
    atoms.rattle(0.02, seed=n)
    results = {} if energy is None else {"energy": energy}
    if force is not None:
        results["forces"] = np.full((4 * n, 3), force)
    if stress is not None:
        results["stress"] = np.asarray(stress, dtype=float)
    return with_labels(atoms, **results)


def ceilings(frames, **changes):
    changes = {"reference_energies": {"Cu": 0.5}, "terms": small_terms(4)} | changes
    model = small_model(**changes).fit(frames)
    return label_ceilings(model.state_, labelled_batch(frames, model.label_keys))


def test_mean_squares_per_atom_and_volume():
    """Energies 3 and 1 eV/atom from the reference, forces of 0.2 and 0.4 eV/Å, one component of each stress."""
    frames = [
        crystal(1, 3.6, 4 * 3.5, 0.2, [0.6, 0, 0, 0, 0, 0]),
        crystal(2, 3.7, 8 * 1.5, 0.4, [0, 0, 0, 0, -0.3, 0]),
    ]
    found = ceilings(frames)
    assert set(found) == {"energy", "forces", "stress"}
    assert found["energy"] == pytest.approx((3.0**2 + 1.0**2) / 2, rel=1e-10)
    assert found["forces"] == pytest.approx((4 * 0.2**2 + 8 * 0.4**2) / 12, rel=1e-10)
    assert found["stress"] == pytest.approx((0.6**2 + 0.3**2) / 12, rel=1e-10)


def test_what_forces_do_over_an_angstrom():
    """Energies and stresses that are near zero: the forces are larger, by 1 Å, and by 1 Å times the density."""
    frames = [crystal(1, 3.6, 4 * 0.5, 2.0, np.zeros(6)), crystal(2, 3.7, 8 * 0.5, 2.0, np.zeros(6))]
    found = ceilings(frames)
    density = (4 / 3.6**3 + 4 / 3.7**3) / 2
    assert found["energy"] == pytest.approx(4.0, rel=1e-10)
    assert found["stress"] == pytest.approx(4.0 * density**2, rel=1e-10)


def test_masked_labels_do_not_count():
    frames = [crystal(1, 3.6, 4 * 3.5, 0.2), crystal(2, 3.7, None, 0.2)]
    forces = frames[1].calc.results["forces"]
    forces[:4] = 50.0
    mask = np.zeros(8, bool)
    mask[:4] = True  # not to be used
    frames[1].set_array("force_mask", mask)
    found = ceilings(frames)
    assert found["forces"] == pytest.approx(0.2**2, rel=1e-10)
    assert found["energy"] == pytest.approx(9.0, rel=1e-10)


def test_energies_alone():
    """No forces: nothing is said of them, nor of stresses."""
    found = ceilings([crystal(1, 3.6, 4 * 3.5), crystal(2, 3.7, 8 * 1.5)])
    assert found == {"energy": pytest.approx(5.0, rel=1e-10)}


@pytest.mark.filterwarnings("ignore:`n_sparse`:gapkit.exceptions.DataWarning")
def test_molecules_have_no_stress():
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.4]])
    found = ceilings([with_labels(atoms, energy=4.0, forces=np.array([[0, 0, 3.0], [0, 0, -3.0]]))])
    assert found == {"energy": pytest.approx(3.0, rel=1e-10), "forces": pytest.approx(3.0, rel=1e-10)}


def test_labels_less_what_is_known():
    """Lennard-Jones is taken away before anything is learned: 2 eV/atom and 0.3 eV/Å are left."""
    term, frames = LennardJones({"Cu": 0.4}, {"Cu": 2.3}, 4.0), [crystal(1, 3.6), crystal(2, 3.7)]
    labelled = []
    for atoms in frames:
        batch = to_batch(atoms, labels=False)
        known = term.evaluate(batch, build_neighbour_list(batch, 4.0))
        energy = known.local_energies.sum() + 2.0 * len(atoms)
        labelled.append(with_labels(atoms, energy=energy, forces=known.forces + 0.3))
    found = ceilings(labelled, energy_terms=[term], reference_energies={"Cu": 0.0})
    assert found["energy"] == pytest.approx(4.0, rel=1e-9)
    assert found["forces"] == pytest.approx(0.09, rel=1e-9)
