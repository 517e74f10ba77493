"""Reference energies e0 of the species: what a free atom, or an average one, contributes to every energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from gapkit.exceptions import DataError, InputError
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray

ReferenceEnergies: TypeAlias = str | Mapping[str, float]


def reference_energies(
    batch: AtomsBatch, given: ReferenceEnergies = "auto", isolated_frames: Mapping[str, tuple[int, ...]] | None = None,
    taken: FloatArray | float = 0.0,
) -> dict[int, float]:  # fmt: skip
    """Energies e0 in eV by atomic number, for every species of the batch.

    Given "isolated" they are those of frames of a single atom, "least_squares" the composition's share of the energies,
    "auto" isolated atoms where every species has one, else least squares; species that a mapping leaves out are fitted
    by least squares.  Energies `taken` (n_frames,) in eV, of terms with a zero of their own, come off the labels.
    """
    species = batch.species
    energy = None if batch.labels is None else batch.labels.energy - taken
    if isinstance(given, Mapping):
        for symbol in given:
            if symbol not in atomic_numbers:
                raise InputError(f"`reference_energies` must have chemical symbols as keys, got {symbol!r}")
        fixed = {atomic_numbers[symbol]: float(value) for symbol, value in given.items()}
        return {**_least_squares(batch, energy, fixed), **{z: fixed[z] for z in species if z in fixed}}
    if given not in ("auto", "isolated", "least_squares"):
        raise InputError(
            f'`reference_energies` must be "auto", "isolated", "least_squares" or a mapping such as {{"Si": -1.2}}, '
            f"got {given!r}"
        )
    isolated = energies_of_isolated(batch, energy, isolated_frames or {})
    missing = [chemical_symbols[z] for z in species if z not in isolated]
    if given == "isolated" and missing:
        raise DataError(
            f'`reference_energies="isolated"` needs a frame of one atom with an energy for every species, got none '
            f'for {", ".join(missing)}; add them, use "least_squares", or give the values'
        )
    if given == "least_squares" or missing:
        return _least_squares(batch, energy, {})
    return {z: isolated[z] for z in species}


def energies_of_isolated(
    batch: AtomsBatch, energy: FloatArray | None, frames: Mapping[str, tuple[int, ...]]
) -> dict[int, float]:
    """Mean energy of the isolated atoms of each species."""
    labels = batch.labels
    if labels is None or energy is None:
        return {}
    labelled = {symbol: [f for f in which if labels.has_energy[f]] for symbol, which in frames.items()}
    return {atomic_numbers[s]: float(energy[which].mean()) for s, which in labelled.items() if which}


def _least_squares(batch: AtomsBatch, energy: FloatArray | None, fixed: dict[int, float]) -> dict[int, float]:
    """Least squares per atom over the frames with energy; the smallest deviation from the mean if underdetermined."""
    free = [z for z in batch.species if z not in fixed]
    if not free:
        return {}
    labels = batch.labels
    use = np.zeros(batch.n_frames, bool) if labels is None else labels.has_energy
    counts = batch.compositions(free)[use].astype(float)
    unknown = [chemical_symbols[z] for z, seen in zip(free, counts.sum(axis=0), strict=True) if seen == 0]
    if energy is None or unknown:
        raise DataError(
            f"species {', '.join(unknown) or 'of the data'} must occur in a frame with an energy, found none; add a "
            f'label, or give `reference_energies` such as {{"{(unknown or ["Si"])[0]}": 0.0}}'
        )
    energy = energy[use] - batch.compositions(list(fixed))[use] @ np.array(list(fixed.values()), float)
    n_atoms = counts.sum(axis=1)
    inside = n_atoms > 0
    per_atom, fractions = energy[inside] / n_atoms[inside], counts[inside] / n_atoms[inside, None]
    mean = per_atom.mean()
    deviation, *_ = np.linalg.lstsq(fractions, per_atom - mean, rcond=1e-8)
    return {z: float(mean + d) for z, d in zip(free, deviation, strict=True)}
