"""QUIP's local variance, for a model of gapkit that QUIP can read.

The model has the terms, scales and noise of gapkit's own fit, and QUIP's cutoff function.  Its local variance says what
the sparse points cannot see and knows no data, so that no calibration and no second choice of hyperparameters goes in.
A process of its own evaluates it: QUIP ends the process where it finds its own variance negative.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
from comparison.process import installed, run

from gapkit import GAP
from gapkit.descriptors import CosineCutoff
from trusting.methods import Frames, Judge, Judgement, Method, Training, bare

MOST_SPARSE = 500


class LocalVariance(Method):
    """QUIP's `local_gap_variance`: summed for energies, and what orders forces, of which it has no std."""

    name = "QUIP variance"

    def missing(self) -> str | None:
        return None if installed("quippy") else "QUIP is not installed and left out (pip install quippy-ase)"

    def fit(self, training: Training) -> Judge:
        own = training.model
        terms = [
            replace(
                term,
                # both fade over the whole cutoff
                descriptor=replace(
                    term.descriptor, transition=None, cutoff_function=CosineCutoff(term.descriptor.cutoff)
                ),
                kernel=replace(term.resolved_kernel(), delta=scale, delta_bounds="fixed"),
            )
            for term, scale in zip(own.terms_, own.scales_, strict=True)
        ]
        model = GAP(
            terms, n_sparse=min(MOST_SPARSE, training.n_sparse or MOST_SPARSE), noise=own.noise_, calibration=None,
            reference_energies=own.reference_energies_, n_jobs=training.n_jobs, random_state=training.seed,
        ).fit(training.frames)  # fmt: skip
        file = training.folder / "gap.xml"
        model.to_quip(file)

        def judge(frames: Frames) -> Judgement:
            structures, output = training.folder / "quip.traj", training.folder / "quip.npz"
            ase.io.write(structures, bare(frames))
            run([sys.executable, "-m", "trusting.quip", str(file), str(structures), str(output)])
            with np.load(output) as found:
                variance = np.maximum(found["variance"], 0.0)
                starts = np.cumsum([0, *map(len, frames[:-1])])
                energy_std = np.sqrt(np.add.reduceat(variance, starts))
                return Judgement(found["energy"], found["forces"], energy_std, None, np.sqrt(variance))

        return judge


def main(model: str, structures: str, output: str) -> None:
    """Evaluate a gap.xml on frames; write energies, forces and local variances."""
    from quippy.potential import Potential

    potential = Potential(param_filename=model, calc_args="local_gap_variance=variance")
    energy, forces, variance = [], [], []
    for atoms in ase.io.read(structures, ":"):
        atoms.calc = potential
        energy.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        variance.append(potential.extra_results["atoms"]["variance"].copy())
    np.savez(Path(output), energy=energy, forces=np.concatenate(forces), variance=np.concatenate(variance))


if __name__ == "__main__":
    main(*sys.argv[1:])
