"""Error bars of a silicon potential: how good they are, where they do not hold, and what they mean for a property."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.eos import EquationOfState

from gapkit import GAP, read_frames
from gapkit.report import uncertainty_figure
from gapkit.validation import compare, uncertainty_of

DATA = Path(__file__).parents[1] / "data" / "silicon"


def bulk_modulus(model: GAP) -> float:
    """GPa, from nine volumes of the diamond structure."""
    crystals = [bulk("Si", a=a) for a in np.linspace(5.35, 5.60, 9)]
    volumes = [atoms.get_volume() for atoms in crystals]
    return float(EquationOfState(volumes, model.predict(crystals).energy).fit()[2] / units.GPa)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, help="where to draw parity, reliability, errors and coverage")
    arguments = parser.parse_args()

    train, test = read_frames(DATA / "train.extxyz"), read_frames(DATA / "test.extxyz")
    model = GAP().fit(train)
    assert model.calibration_ is not None
    print(model.calibration_.summary())

    comparison = compare(model, test, uncertainty=True)
    print(uncertainty_of(comparison))
    if arguments.picture is not None:
        uncertainty_figure(comparison).savefig(arguments.picture, dpi=150)

    # Calibrated error bars hold for structures like the training set.  Others are flagged.
    for name, atoms in (
        ("diamond, 1 % strained", bulk("Si", a=5.47 * 1.01)),
        ("diamond, 15 % compressed", bulk("Si", a=5.47 * 0.85)),
        ("dimer", Atoms("Si2", [[0.0, 0.0, 0.0], [2.3, 0.0, 0.0]])),
    ):
        p = model.predict(atoms, return_std=True)
        assert p.energy_std is not None
        verdict = "extrapolation" if model.is_extrapolating(atoms)[0] else "known"
        print(f"{name:25s} {p.energy[0]:9.3f} ± {p.energy_std[0]:.3f} eV   {verdict}")

    # Draws from the posterior share descriptors; deviations are enlarged as the calibration of the energies says.
    committee = model.sample(16, inflation=model.calibration_.scales["energy"].b)
    mean, std = committee.error_bar(bulk_modulus)
    print(f"bulk modulus {float(mean):.1f} ± {float(std):.1f} GPa ({len(committee)} draws)")


if __name__ == "__main__":
    main()
