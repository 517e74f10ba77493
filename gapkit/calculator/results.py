"""Predictions of one structure as ASE's calculators hold them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gapkit.potential import Predictions


def plain_results(p: Predictions) -> dict[str, Any]:
    """Energies (eV), forces (n_atoms, 3; eV/Å), and the stress (6,; eV/Å^3) where the cell is three-dimensional."""
    results: dict[str, Any] = {
        "energy": float(p.energy[0]),
        "free_energy": float(p.energy[0]),
        "energies": p.local_energies,
        "forces": p.forces,
    }
    if np.isfinite(p.stress[0]).all():
        results["stress"] = p.stress[0]
    return results
