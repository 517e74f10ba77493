"""Small EMT data sets and models that take a fraction of a second to fit."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit import GAP, SOAP, Noise, Term, TwoBody
from gapkit.kernels import DotProduct, SquaredExponential

NOISE = Noise(energy=2e-3, forces=0.05, virial=0.05)


def label(atoms: Atoms, *kinds: str) -> Atoms:
    """A copy with EMT labels; all of them unless `kinds` names some."""
    atoms = atoms.copy()
    atoms.calc = EMT()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    if atoms.pbc.all():
        results["stress"] = atoms.get_stress()
    atoms.calc = SinglePointCalculator(atoms, **{k: v for k, v in results.items() if not kinds or k in kinds})
    return atoms


def make_frames(n: int, n_gold: int = 0, seed: int = 0, size: float = 0.1) -> list[Atoms]:
    """Strained, rattled copper cells of 4 atoms, some of them gold."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True)
        strain = rng.normal(scale=0.02, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        atoms.positions += rng.normal(scale=size, size=(4, 3))
        if n_gold:
            atoms.numbers[rng.permutation(4)[: rng.integers(0, n_gold + 1)]] = 79
        frames.append(label(atoms))
    return frames


def small_terms(n_sparse: int = 20) -> list[Term]:
    """Two-body and SOAP with fixed scales."""
    return [
        Term(TwoBody(4.0), SquaredExponential(1.0, 0.8, delta_bounds="fixed"), n_sparse=6),
        Term(SOAP(4.0, 4, 3, 0.5), DotProduct(0.5, 3, delta_bounds="fixed"), n_sparse=n_sparse),
    ]


def small_model(**changes) -> GAP:
    """Not calibrated unless `changes` say so: most tests have too few frames, or have no use for it."""
    arguments = {"terms": small_terms(), "noise": NOISE, "n_jobs": 1, "calibration": None} | changes
    return GAP(**arguments)
