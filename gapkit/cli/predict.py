"""`gapkit predict`: structures with the model's results beside whatever labels they have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit.cli.console import say
from gapkit.cli.inputs import files_of, read_model, read_structures
from gapkit.exceptions import ConfigError, InputError
from gapkit.io.atomic import check_output, replacing
from gapkit.potential import Predictions
from gapkit.structures import LabelKeys, write_extxyz
from gapkit.structures.frame_labels import results_of
from gapkit.targets import TARGETS

PREFIX = "gap_"
# What is written, of frames into `info` and of atoms into `arrays`, and what it is called among `Predictions`.
OF_FRAMES = {
    "energy": "energy", "stress": "stress", "energy_std": "energy_std", "stress_std": "stress_std",
    "extrapolating_frame": "extrapolating_frames",
}  # fmt: skip
OF_ATOMS = {
    "forces": "forces", "local_energy": "local_energies", "local_energy_std": "local_energies_std",
    "forces_std": "forces_std", "novelty": "novelty", "extrapolating": "extrapolating",
}  # fmt: skip
KIND = "std"  # of the standard deviations, "calibrated" or "epistemic"
# Results that ASE's readers take for those of a calculator: without a prefix they are one's, and others go.
RESULTS = ("energy", "free_energy", "forces", "stress", "virial")


def run(
    model: Path, structures: Sequence[Path], output: Path, *, std: bool = False, prefix: str = PREFIX,
    n_jobs: int | None = None,
) -> None:  # fmt: skip
    """Predict `structures` and write them to `output` with the results, under names that begin with `prefix`."""
    if not re.fullmatch(r"([A-Za-z]\w*)?", prefix, re.ASCII):
        raise ConfigError(f"`--prefix` must be letters, digits and underscores, such as {PREFIX}, got {prefix!r}")
    inputs = [model, *files_of(structures)]
    check_output(output, *inputs)
    potential = read_model(model, structures, n_jobs)
    frames = read_structures(structures)
    _check_names(frames, prefix, potential.label_keys or LabelKeys())
    predictions = potential.predict(frames, return_std=std)
    with replacing(output, *inputs) as temporary:
        write_extxyz(temporary, [_with_results(atoms, i, predictions, prefix) for i, atoms in enumerate(frames)])
    say(f"Wrote {len(frames)} frames to {output}, with {prefix}energy, {prefix}forces, ...")


def _names(prefix: str) -> set[str]:
    return {prefix + name for name in (*OF_FRAMES, *OF_ATOMS, KIND)}


def _check_names(frames: Iterable[Atoms], prefix: str, keys: LabelKeys) -> None:
    """Raise InputError where a label would be overwritten: only the default prefix is known to be ours."""
    if prefix == "":
        return
    held = {name for atoms in frames for name in (*atoms.info, *atoms.arrays, *results_of(atoms))} & _names(prefix)
    labels = {keys.of(kind) for target in TARGETS.values() for kind in (target.name, target.shown.name)}
    if clash := sorted(held if prefix != PREFIX else held & labels):
        raise InputError(f"the frames hold {', '.join(clash)}, which would be overwritten; give another --prefix")


def _with_results(atoms: Atoms, i: int, predictions: Predictions, prefix: str) -> Atoms:
    mine = slice(predictions.offsets[i], predictions.offsets[i + 1])
    result = atoms.copy()
    result.calc = atoms.calc
    for name in {*_names(prefix), *(() if prefix else RESULTS)}:
        result.info.pop(name, None)
        result.arrays.pop(name, None)
    of_frame, of_atoms = (
        {name: values for name, own in names.items() if (values := getattr(predictions, own)) is not None}
        for names in (OF_FRAMES, OF_ATOMS)
    )
    of_frame = {name: values[i] for name, values in of_frame.items() if np.isfinite(values[i]).all()}  # without a cell
    of_atoms = {name: values[mine] for name, values in of_atoms.items()}
    if not prefix:
        held = {name: of.pop(name) for of in (of_frame, of_atoms) for name in RESULTS if name in of}
        result.calc = SinglePointCalculator(result, **held)
    for name, value in of_frame.items():
        result.info[prefix + name] = value if np.ndim(value) else value.item()
    for name, value in of_atoms.items():
        result.set_array(prefix + name, value)
    if predictions.std is not None:
        result.info[prefix + KIND] = predictions.std
    return result
