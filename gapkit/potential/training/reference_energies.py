"""Reference energies e0 of the species: what a free atom, or an average one, contributes to every energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from gapkit.descriptors.species import Element
from gapkit.exceptions import DataError, InputError
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray

ReferenceEnergies: TypeAlias = Literal["auto", "isolated", "least_squares"] | Mapping[Element, float]


def reference_energies(
    batch: AtomsBatch, given: ReferenceEnergies = "auto", isolated_frames: Mapping[str, tuple[int, ...]] | None = None,
    taken: FloatArray | float = 0.0,
) -> dict[int, float]:  # fmt: skip
    """Energies e0 in eV by atomic number, for every species of the batch.

    Given "isolated" they are those of frames of a single atom, "least_squares" the composition's share of the energies,
    "auto" isolated atoms where every species has one, else least squares.  A mapping must have every species: a fit of
    the others would put into them what the given ones are off; it may have more.  Energies `taken` (n_frames,) in
    eV, of terms with a zero of their own, come off the labels.
    """
    species = batch.species
    energy = None if batch.labels is None else batch.labels.energy - taken
    if isinstance(given, Mapping):
        return _given(given, species)
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


def _given(given: Mapping[str, float], species: Sequence[int]) -> dict[int, float]:
    """The given energies of the species, or an error that names what is missing."""
    energies = by_number(given)
    missing = [chemical_symbols[z] for z in species if z not in energies]
    if missing:
        unused = [chemical_symbols[z] for z in energies if z not in species]
        also = f"; {', '.join(unused)} is in no frame" if unused else ""
        raise InputError(
            f"`reference_energies` (e0) must have a value for every species of the frames, got none for "
            f"{', '.join(missing)}{also}; add {', '.join(f'{symbol}=...' for symbol in missing)} in eV, or use "
            f'"least_squares" or "isolated" for all'
        )
    return {z: energies[z] for z in species}


def by_number(given: Mapping[str, float]) -> dict[int, float]:
    """Energies by atomic number from those by chemical symbol."""
    return {atomic_numbers[symbol]: float(energy) for symbol, energy in given.items()}


def with_new_species(batch: AtomsBatch, known: Mapping[int, float]) -> dict[int, float]:
    """Energies by atomic number of a batch: `known` ones as they are, those of other species by least squares."""
    energy = None if batch.labels is None else batch.labels.energy
    return {**_least_squares(batch, energy, known), **{z: known[z] for z in batch.species if z in known}}


def energies_of_isolated(
    batch: AtomsBatch, energy: FloatArray | None, frames: Mapping[str, tuple[int, ...]]
) -> dict[int, float]:
    """Mean energy of the isolated atoms of each species."""
    labels = batch.labels
    if labels is None or energy is None:
        return {}
    labelled = {symbol: [f for f in which if labels.has_energy[f]] for symbol, which in frames.items()}
    return {atomic_numbers[s]: float(energy[which].mean()) for s, which in labelled.items() if which}


def _least_squares(batch: AtomsBatch, energy: FloatArray | None, fixed: Mapping[int, float]) -> dict[int, float]:
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
    if fixed and len(free) > 1 and np.linalg.matrix_rank(fractions) < len(free):
        names = ", ".join(chemical_symbols[z] for z in free)
        raise DataError(
            f"`reference_energies` must name also {names}, which the data cannot tell apart: all frames have them in "
            'the same ratios; give the energy of every species, or leave all to "auto"'
        )
    mean = per_atom.mean()
    deviation, *_ = np.linalg.lstsq(fractions, per_atom - mean, rcond=1e-8)
    return {z: float(mean + d) for z, d in zip(free, deviation, strict=True)}
