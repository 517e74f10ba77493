"""A linear ACE potential of ace-jax, with the force uncertainty that it calibrates on clusters left out.

The fit and the predictions are processes of their own.  Energies have no std there, and what is compiled for every new
size of cell takes longer than the predictions.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ase.io
import numpy as np
from comparison.process import installed, program, run

from gapkit.potential.defaults import default_cutoff
from gapkit.structures import to_batch
from trusting.methods import Frames, Judge, Judgement, Method, Training, bare, of_atoms

ORDER, DEGREE = 3, 12  # correlation order and total degree of the basis


class LinearACE(Method):
    """Linear ACE by evidence (`aj fit --uq ard`); stds are roots of the diagonals of its `forces_cov`."""

    name = "ACE"

    def missing(self) -> str | None:
        if program("aj") and installed("ace_jax"):
            return None
        return "ACE is not installed and left out (pip install ace-jax)"

    def fit(self, training: Training) -> Judge:
        labelled, output = training.folder / "ace.extxyz", training.folder / "ace"
        keys = write_labels(labelled, training.frames)
        run([
            str(program("aj")), "fit", "--train", str(labelled), "--out", str(output), "--order", str(ORDER),
            "--max-degree", str(DEGREE), "--rcut", str(default_cutoff(to_batch(training.frames))), "--e0", "lsq",
            "--uq", "ard", "--no-ard-support", "--seed", str(training.seed), *keys,
        ])  # fmt: skip

        def judge(frames: Frames) -> Judgement:
            structures, predicted = training.folder / "ace.traj", training.folder / "ace.npz"
            ase.io.write(structures, bare(frames))
            run([sys.executable, "-m", "trusting.ace", str(output), str(structures), str(predicted)])
            with np.load(predicted) as found:
                stds = found["forces_std"]
                return Judgement(found["energy"], found["forces"], None, stds, of_atoms(stds))

        return judge


def write_labels(path: Path, frames: Frames) -> list[str]:
    """Write frames with their labels under names that no reader rewrites; the options that tell these names."""
    batch = to_batch(frames)
    labels, written, keys = batch.all_labels, bare(frames), dict[str, str]()
    for k, atoms in enumerate(written):
        own = batch.atoms_of(k)
        if labels.has_energy[k]:
            atoms.info["ace_energy"] = labels.energy[k]
            keys["--energy-key"] = "ace_energy"
        if labels.has_forces[own].all():
            atoms.arrays["ace_forces"] = labels.forces[own]
            keys["--force-key"] = "ace_forces"
        if labels.has_virial[k]:
            atoms.info["ace_virial"] = labels.virial[k]
            keys["--virial-key"] = "ace_virial"
    ase.io.write(path, written, format="extxyz")
    return [word for pair in keys.items() for word in pair]


def main(model: str, structures: str, output: str) -> None:
    """Evaluate a fit on frames; write energies, forces and their stds."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from ace_jax import ACECalculator

    # without a skin and choices by timing little is compiled for each frame
    calculator = ACECalculator(
        str(Path(model) / "model.npz"), posterior=str(Path(model) / "posterior.npz"), shape_path="committee", skin=0.0,
        layout="sparse", edge_a_kind="gather",
    )  # fmt: skip
    energy, forces, stds = [], [], []
    for atoms in ase.io.read(structures, ":"):
        atoms.calc = calculator
        energy.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        covariances = calculator.get_property("forces_cov", atoms)
        stds.append(np.sqrt(np.einsum("nii->ni", covariances)))
    np.savez(output, energy=energy, forces=np.concatenate(forces), forces_std=np.concatenate(stds))


if __name__ == "__main__":
    main(*sys.argv[1:])
