"""Table of the largest differences from quippy: `python -m tests.interop.quip.parity`."""

# ruff: noqa: T201
from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np

from gapkit.interop.quip import load, write
from tests.interop.quip.models import GAP_FIT, GAPKIT, Errors, errors, gap_fit, gapkit_model

HEADER = (
    "| model | species | energy (eV) | forces (eV/Å) | virial (eV) | local variance (eV²) |\n|---|---|---|---|---|---|"
)


def row(name: str, n_species: int, found: Errors) -> str:
    numbers = (found.energy, found.forces, found.virial, found.variance)
    return f"| {name} | {n_species} | {' | '.join('–' if np.isnan(x) else f'{x:.0e}' for x in numbers)} |"


def main() -> None:
    warnings.simplefilter("ignore")
    print(f"Fitted by gap_fit, read by gapkit:\n\n{HEADER}")
    for name, case in GAP_FIT.items():
        with tempfile.TemporaryDirectory() as folder:
            path = gap_fit(Path(folder), case)
            print(row(name, case.n_species, errors(path, load(path), case.n_species, variance=case.has_variance)))
    print(f"\nFitted by gapkit, read by quippy:\n\n{HEADER}")
    for name, (n_species, _, _) in GAPKIT.items():
        with tempfile.TemporaryDirectory() as folder:
            path, model = Path(folder) / "gap.xml", gapkit_model(name)
            write(model, path)
            print(row(name, n_species, errors(path, model, n_species, variance="sigma0" not in name)))


if __name__ == "__main__":
    main()
