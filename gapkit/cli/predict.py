"""`gapkit predict`: structures with the model's results in place of whatever labels they had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from gapkit.cli.console import say
from gapkit.io.atomic import check_output, replacing
from gapkit.potential import Predictions, load
from gapkit.structures import read_frames

RESULTS = ("energy", "free_energy", "forces", "stress", "virial", "local_energy")
# "std" tells the kind of the standard deviations, "calibrated" or "epistemic".
UNCERTAINTIES = ("local_energy_std", "novelty", "energy_std", "forces_std", "stress_std", "std", "extrapolating")


def run(model: Path, structures: Path, output: Path, *, std: bool = False) -> None:
    """Predict `structures` and write them with the results to `output`; with `std` also `UNCERTAINTIES`."""
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
        for name in ("local_energies_std", "novelty", "forces_std", "extrapolating"):
            if (of_atoms := getattr(predictions, name)) is not None:
                result.set_array(name.replace("energies", "energy"), of_atoms[mine])
        result.info["std"] = predictions.std
        for name in ("energy_std", "stress_std"):
            of_frames = getattr(predictions, name)
            if of_frames is not None and np.isfinite(of_frames[i]).all():
                result.info[name] = of_frames[i]
    return result
