"""Labels under other names, and how they are told."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit import GAP, Noise, TwoBody
from gapkit.exceptions import DataError, DataWarning
from gapkit.structures import LabelKeys, describe, to_batch
from gapkit.structures.checks.unread import unread_labels

RNG = np.random.default_rng(0)
FORCES = RNG.normal(size=(8, 3))
FORCES -= FORCES.mean(axis=0)
SYMMETRIC = np.array([[0.11, 0.2, 0.3], [0.2, 0.4, 0.5], [0.3, 0.5, 0.6]])


def frame(arrays=None, info=None, **results):
    atoms = bulk("Si", cubic=True)
    atoms.arrays.update(arrays or {})
    atoms.info.update(info or {})
    atoms.calc = SinglePointCalculator(atoms, **results) if results else None
    return atoms


def told(*frames, keys=None):
    return [fault.message for fault in unread_labels(to_batch(list(frames), keys=keys))]


ENERGY, FULL = {"energy": -40.5}, {"energy": -40.5, "forces": FORCES, "stress": np.ones(6)}


@pytest.mark.parametrize(
    ("atoms", "name", "option"),
    [
        (frame({"force": FORCES}, **ENERGY), "force", "--forces-key force reads it (LabelKeys(forces=\"force\"))"),
        (frame({"dft_forces": FORCES}, **ENERGY), "dft_forces", "--forces-key dft_forces"),
        (frame({"f": FORCES}, **ENERGY), "f", "--forces-key f "),
        (frame({"quux": FORCES}, **ENERGY), "quux", "--forces-key quux"),
        (frame({"gradient": FORCES}, **ENERGY), "gradient", "negative of a gradient"),
        (frame({"force": np.zeros((8, 3))}, **ENERGY), "force", "--forces-key force"),
        (frame(info={"REF_energy": -40.5}, forces=FORCES), "REF_energy", "--energy-key REF_energy"),
        (frame(info={"TotEnergy": -40}, forces=FORCES), "TotEnergy", "--energy-key TotEnergy"),
        (frame(info={"quux": -40.5}, forces=FORCES), "quux", "--energy-key quux"),
        (frame(free_energy=-40.5, forces=FORCES), "free_energy", "--energy-key free_energy"),
        (frame(info={"virials": SYMMETRIC}, **ENERGY), "virials", "--virial-key virials"),
        (frame(info={"dft_stress": np.arange(6.0)}, **ENERGY), "dft_stress", "--stress-key dft_stress"),
        (frame(info={"quux": SYMMETRIC.ravel()}, **ENERGY), "quux", "--virial-key quux"),
    ],
)  # fmt: skip
def test_what_is_like_a_label_is_told_with_the_option_that_reads_it(atoms, name, option):
    (message,) = told(atoms)
    assert f"hold `{name}`" in message
    assert option in message
    label = next(label for label in ("forces", "energy", "virial", "stress") if f"--{label}-key" in message)
    assert told(atoms, keys=LabelKeys(**{label: name})) == []
    assert told(atoms, keys=LabelKeys(energy=None, forces=None, stress=None, virial=None)) == []


OTHERS = {
    "velocities": FORCES, "momenta": FORCES, "frac_coords": FORCES, "force_std": FORCES, "magmoms": FORCES,
    "gap_forces": FORCES, "count": np.ones((8, 3), int), "drift": FORCES + 1.0, "flags": np.ones((8, 3), bool),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_arrays_are_let_pass(name):
    assert told(frame({name: OTHERS[name]}, **ENERGY)) == []


INFOS = {
    "polarizability": SYMMETRIC, "cellpar": np.arange(6.0) + 0.5, "rotation": np.eye(3), "unsymmetric": FORCES[:3],
    "temperature": 300.5, "interaction_energy": -1.5, "weight": 0.5, "quux": -40.5, "name": "x", "list": [[1], [1, 2]],
}  # fmt: skip


@pytest.mark.parametrize("name", INFOS)
def test_other_entries_are_let_pass(name):
    assert told(frame(info={name: INFOS[name]}, **ENERGY), frame(**FULL)) == []


def test_a_set_that_has_all_labels_is_not_looked_at():
    assert told(frame({"force": FORCES}, {"REF_energy": -1.0, "virials": SYMMETRIC}, **FULL)) == []


def test_only_frames_without_the_label_are_named():
    frames = [frame(**FULL), frame({"force": FORCES}, **ENERGY), frame(**FULL)]
    (fault,) = (fault for fault in describe(to_batch(frames)).warnings if fault.kind == "unread_labels")
    assert fault.frames == (1,)
    assert [fault.frames for fault in unread_labels(to_batch(frames).select([2, 1]))] == [(1,)]


def test_two_energies():
    fault, *_ = unread_labels(to_batch([frame(**FULL), frame(free_energy=-41.3, **FULL)]))
    assert (fault.kind, fault.frames) == ("two_energies", (1,))
    assert "`energy` is used, and `free_energy` differs from it by up to 0.1 eV/atom" in fault.message
    assert told(frame(free_energy=-40.5, **FULL)) == []
    assert told(frame(free_energy=-41.3, **FULL), keys=LabelKeys(energy="free_energy")) == []


@pytest.mark.filterwarnings("ignore::gapkit.exceptions.HyperparameterWarning")
def test_a_fit_warns():
    frames = [frame({"force": FORCES}, **ENERGY), frame({"force": FORCES}, **ENERGY)]
    with pytest.warns(DataWarning, match=r"unread_labels: frames without forces hold `force`"):
        GAP(terms=[TwoBody(cutoff=4.0)], n_sparse=2, calibration=None, noise=Noise(energy=0.01)).fit(frames)


def test_no_label_at_all():
    with pytest.raises(DataError, match=r"found no label at all.*hold `REF_energy`.*hold `force`"):
        GAP().fit([frame({"force": FORCES}, {"REF_energy": -1.5})])
