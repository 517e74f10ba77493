"""What the labels bound: error bars far from all data are no wider than what a model without data would have."""

from __future__ import annotations

import numpy as np

from gapkit.potential.state import FittedState
from gapkit.structures import AtomsBatch
from gapkit.targets import TARGETS

# Distance in Å over which forces add up to an energy that is not known.
STEP = 1.0


def label_ceilings(state: FittedState, batch: AtomsBatch) -> dict[str, float]:
    """By quantity, the largest variance that a prior residual may add: mean squares of what was learned.

    For energies per atom and stresses also what the forces do over 1 Å: they are the slope of the energy, and a set of
    one molecule says nothing of other energies.
    """
    targets = state.row_maker.targets(batch)
    found: dict[str, float] = {}
    per_atom = 0.0
    if targets.has["forces"].any():
        found["forces"] = per_atom = float(np.mean(targets.values["forces"][targets.has["forces"]] ** 2))
    of_frames = batch.n_atoms_per_frame / batch.volumes
    density = float(np.nanmean(of_frames)) if np.isfinite(of_frames).any() else 0.0
    for kind, slope in (("energy", STEP**2 * per_atom), ("virial", (STEP * density) ** 2 * per_atom)):
        target, has = TARGETS[kind], targets.has[kind]
        frames = np.flatnonzero(has)
        factor = target.shown.factor(batch.n_atoms_per_frame, batch.volumes)[frames, None]
        values = targets.values[kind][frames] * factor
        values = values[np.isfinite(values)]
        found[target.shown.name] = max(float(np.mean(values**2)) if values.size else 0.0, slope)
    return {name: value for name, value in found.items() if value > 0.0}
