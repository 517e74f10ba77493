"""`gapkit predict`: structures with the model's results in place of whatever labels they had."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from gapkit.cli.console import say
from gapkit.io.atomic import check_output, replacing
from gapkit.potential import load
from gapkit.structures import read_frames

if TYPE_CHECKING:
    from ase import Atoms

    from gapkit.potential import Predictions

RESULTS = ("energy", "free_energy", "forces", "stress", "virial", "local_energy")
UNCERTAINTIES = ("local_energy_std", "novelty", "energy_std", "forces_std", "stress_std", "std", "extrapolating")


def run(model: Path, structures: Path, output: Path, *, std: bool = False) -> None:
    """Predict `structures` and write them with energy, forces, stress and local energies to `output`.

    With `std` also local_energy_std, novelty, energy_std, forces_std, stress_std, extrapolating (per atom), and what
    kind of standard deviations the three are ("calibrated" or "epistemic").
    """
    check_output(output, model, structures)
    potential = load(model)
    frames = read_frames(structures)
    predictions = potential.predict(frames, return_std=std)
    with replacing(output) as temporary:
        write(temporary, [_with_results(atoms, i, predictions) for i, atoms in enumerate(frames)], format="extxyz")
    say(f"Wrote {len(frames)} frames to {output}")


def _with_results(atoms: Atoms, i: int, predictions: Predictions) -> Atoms:
    mine = slice(predictions.offsets[i], predictions.offsets[i + 1])
    result = atoms.copy()
    for name in RESULTS + UNCERTAINTIES:
        result.info.pop(name, None)
        result.arrays.pop(name, None)
    results: dict[str, Any] = {"energy": float(predictions.energy[i]), "forces": predictions.forces[mine]}
    if np.isfinite(predictions.stress[i]).all():
        results["stress"] = predictions.stress[i]
    result.calc = SinglePointCalculator(result, **results)
    result.set_array("local_energy", predictions.local_energies[mine])
    if predictions.std is not None:
        per_atom = {
            "local_energy_std": predictions.local_energies_std,
            "novelty": predictions.novelty,
            "forces_std": predictions.forces_std,
            "extrapolating": predictions.extrapolating,
        }
        for name, values in per_atom.items():
            if values is not None:
                result.set_array(name, values[mine])
        result.info["std"] = predictions.std
        for name, of_frames in (("energy_std", predictions.energy_std), ("stress_std", predictions.stress_std)):
            if of_frames is not None and np.isfinite(of_frames[i]).all():
                result.info[name] = of_frames[i]
    return result
