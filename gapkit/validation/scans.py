"""Energies along one coordinate, with error bars: the distance of two atoms, and the volume of a crystal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from gapkit.descriptors.species import Element
from gapkit.exceptions import InputError, UnknownSpeciesError
from gapkit.options.checked import checked
from gapkit.potential.state import state_of
from gapkit.typing import BoolArray, FloatArray
from gapkit.validation.crystal import strained

if TYPE_CHECKING:
    from gapkit.potential import GAP

SHORTEST = 0.5  # Å, where a scan over distances begins by default


@dataclass(frozen=True, eq=False)
class Scan:
    """Energies of n structures along one coordinate.

    Attributes
    ----------
    name : str
    x : (n,) float
        The coordinate.
    x_label : str
        Its name and unit.
    energy, energy_std : (n,) float
        In the unit of `energy_label`; the stds are None where the model has none.
    extrapolating : (n,) bool or None
        Frames with an atom unlike the training set; None if the model cannot tell.
    reference : (n,) float or None
        Energies of another method at the same points: ``dataclasses.replace(scan, reference=...)``.
        InputError if it is not one number per point.
    energy_label : str
        Name and unit of the energies.
    std : {"calibrated", "epistemic"}
        Kind of the stds, see `Predictions`.
    """

    name: str
    x: FloatArray
    x_label: str
    energy: FloatArray
    energy_std: FloatArray | None
    extrapolating: BoolArray | None
    reference: FloatArray | None = None
    energy_label: str = "energy, eV"
    std: str = "calibrated"

    def __post_init__(self) -> None:
        if self.reference is not None and np.shape(self.reference) != np.shape(self.x):
            raise InputError(
                f"`reference` must hold one energy per point, expected shape {np.shape(self.x)}, "
                f"got {np.shape(self.reference)}"
            )


@checked
def dimer_scan(model: GAP, first: Element, second: Element, distances: ArrayLike | None = None) -> Scan:
    """Energy of two atoms in a vacuum, in eV, relative to the reference energies e0 of the model.

    These are those of free atoms only after a fit with ``reference_energies="isolated"`` or to frames of single atoms.
    Both atoms are given by chemical symbol; distances (n,) are in Å, by default 200 from 0.5 Å to the longest cutoff of
    the model.

    Raises
    ------
    UnknownSpeciesError
        If the model does not know one of the species.
    InputError
        If a distance is not finite and > 0.
    """
    state = state_of(model)
    unknown = [symbol for symbol in (first, second) if symbol not in model.species_]
    if unknown:
        raise UnknownSpeciesError(
            f"species must be among those of the model, {', '.join(model.species_)}, got {', '.join(unknown)}; "
            "choose one of them or fit a model to structures with it"
        )
    if distances is None:
        distances = np.linspace(SHORTEST, max(state.reach, 2 * SHORTEST), 200)
    r = _points("distances", distances, 0.0, "Å")
    frames = [Atoms([first, second], positions=[(0.0, 0.0, 0.0), (0.0, 0.0, d)]) for d in r]
    apart = model.reference_energies_[first] + model.reference_energies_[second]
    scan = _scan(model, frames, f"{first}-{second}", r, "distance, Å")
    return replace(scan, energy=scan.energy - apart, energy_label="energy of the pair, eV")


@checked
def volume_scan(model: GAP, atoms: Atoms, strains: ArrayLike | None = None) -> Scan:
    """Energy per atom, in eV, of a crystal under isotropic strain, at fixed fractional coordinates.

    Strains (n,) are relative changes of all lengths, by default 41 from -0.1 to 0.1.

    Raises
    ------
    InputError
        If `atoms` is not periodic in three dimensions or a strain is not finite and > -1.
    UnknownSpeciesError
        If the model does not know one of its species.
    """
    if atoms.cell.rank < 3 or not atoms.pbc.all():
        raise InputError(
            f"`atoms` must be periodic in three dimensions, got pbc={atoms.pbc.tolist()} and a cell of rank "
            f"{atoms.cell.rank}; give it a cell and pbc=True"
        )
    x = _points("strains", np.linspace(-0.1, 0.1, 41) if strains is None else strains, -1.0, "")
    volume = (1.0 + x) ** 3 * atoms.get_volume() / len(atoms)
    frames, name = [strained(atoms, e * np.eye(3)) for e in x], atoms.get_chemical_formula()
    return _scan(model, frames, name, volume, "volume, Å³/atom", n_atoms=len(atoms), energy_label="energy, eV/atom")


def _points(name: str, values: ArrayLike, lowest: float, unit: str) -> FloatArray:
    points = np.asarray(values, dtype=np.float64)
    wanted = f"{lowest:g} {unit}".rstrip()
    if points.ndim != 1 or points.size == 0:
        raise InputError(f"`{name}` must have shape (n,) and hold a value, got shape {points.shape}")
    bad = points[~(np.isfinite(points) & (points > lowest))]
    if bad.size:
        raise InputError(f"`{name}` must be finite and > {wanted}, got {bad[0]:g}; leave it out")
    return points


def _scan(
    model: GAP, frames: Sequence[Atoms], name: str, x: FloatArray, x_label: str, n_atoms: int = 1,
    energy_label: str = "energy, eV",
) -> Scan:  # fmt: skip
    """Scan of the energies of frames over `n_atoms`."""
    p = model.predict(frames, return_std=True)
    stds = None if p.energy_std is None or np.isnan(p.energy_std).any() else p.energy_std / n_atoms
    flags = None if p.extrapolating is None else np.logical_or.reduceat(p.extrapolating, p.offsets[:-1])
    std = p.std or "epistemic"
    return Scan(name, x, x_label, p.energy / n_atoms, stds, flags, energy_label=energy_label, std=std)
