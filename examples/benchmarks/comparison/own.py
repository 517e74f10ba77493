"""Tasks of gapkit."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from ase.calculators.calculator import all_changes
from ase.io import read

from comparison import setting, steps, structures
from gapkit import GAP, SOAP, GAPCalculator, LabelKeys, Noise, Term, load
from gapkit.descriptors import CosineCutoff
from gapkit.kernels import DotProduct
from gapkit.sparse import CUR, Random

QUANTITIES = {
    "E+F": ["energy", "forces"],
    "E+F+stress": ["energy", "forces", "stress"],
    "with std": ["energy", "forces", "stress", "energies_std"],
}


def warm_up() -> None:
    """Fit and predict something small, so that no later process compiles."""
    with tempfile.TemporaryDirectory() as folder:
        train, model = str(Path(folder) / "train.extxyz"), str(Path(folder) / "model.gapkit")
        e0 = structures.training_set(train, ["Cu", "Ag"], 9, [1, 1, 1])["e0"]
        fit(train, model, {"Cu": 4, "Ag": 4}, e0, 2)
        predict(model, {"elements": ["Cu", "Ag"], "repeat": [2, 2, 2]}, list(QUANTITIES), 0.0, 2)


def fit(train: str, output: str, n_sparse: dict[str, int], e0: dict[str, float], n_jobs: int, cur: bool = True) -> None:
    """Fit energies and forces at the setting of the comparison."""
    soap = SOAP(**setting.SOAP, cutoff_function=CosineCutoff(setting.TRANSITION))
    kernel = DotProduct(zeta=setting.ZETA, delta_bounds="fixed")
    model = GAP(
        [Term(soap, kernel, n_sparse, selector=CUR() if cur else Random())],
        noise=Noise(setting.SIGMA_ENERGY, setting.SIGMA_FORCES),
        reference_energies=e0,
        label_keys=LabelKeys(energy="dft_energy", forces="dft_forces", stress=None, virial=None),
        n_jobs=n_jobs,
    )
    model.fit(read(train, ":")).save(output)


def errors(model: str, test: str) -> dict[str, float]:
    """Errors on a test set."""
    return steps.errors(GAPCalculator(load(model)), test)


def predict(
    model: str, structure: dict[str, Any], quantities: list[str], budget: float, n_jobs: int = 1
) -> dict[str, Any]:
    """Time per atom and step of each of `quantities`, in about `budget` seconds each."""
    atoms = structures.make(**structure)
    calculator = GAPCalculator(load(model), n_jobs=n_jobs)
    result: dict[str, Any] = {"atoms": len(atoms)}
    for name in quantities:
        step = steps.one_by_one(calculator)
        if name in QUANTITIES:
            step = partial(calculator.calculate, properties=QUANTITIES[name], system_changes=all_changes)
        result[name] = steps.time_steps(atoms, step, budget)
    return result


def dynamics(model: str, structure: dict[str, Any], n_steps: int) -> dict[str, Any]:
    """Time per atom and step of molecular dynamics in ASE, with gapkit and with stored forces."""
    atoms = structures.make(**structure)
    calculator = GAPCalculator(load(model), n_jobs=1)
    return {
        "atoms": len(atoms),
        "gapkit": steps.time_dynamics(atoms, calculator, n_steps),
        "stored": steps.time_dynamics(atoms, steps.Stored(), n_steps),
    }
