"""Test energies, forces and stresses against one another: they are derivatives of one function.

For two frames a, b of the same atoms that differ by small displacements u and a small strain e, the trapezoidal rule
gives, exactly for a harmonic solid,

    E_b - E_a = -1/2 (F_a + F_b) . u + 1/2 (V_a + V_b)/2 (s_a + s_b) : e.

Over many pairs the two sides lie on a line of slope 1. Any other slope tells about units, a negative one about signs.
Where the points do not lie on a line (large displacements, floppy molecules) nothing is concluded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from gapkit import units
from gapkit.structures.batch import AtomsBatch
from gapkit.structures.checks import Fault
from gapkit.typing import FloatArray

_MAX_FRAMES = 60  # per group of like frames
_MAX_GROUPS = 20
_MIN_PAIRS = 8
_CORRELATION = 0.97
_TOLERANCE = 1.5
_SAME_CELL = 1e-6
_MAX_STRAIN = 0.1
_MAX_DISPLACEMENT = 0.4  # Å, rms
_STRAINED_DISPLACEMENT = 0.05  # Å, rms, beyond the affine one

# Those that a stress is likely to be left in; the slope is (unit of work) / (unit of energy).
_STRESS_UNITS = ("GPa", "kbar", "Hartree/Bohr^3")

# Slope of energy against work for each group of like frames.
_Slopes = dict[tuple[int, ...], float]


@dataclass(frozen=True, eq=False)
class FramePairs:
    """Energy difference, work of forces and of stress, rms displacement and largest strain of pairs of frames."""

    energy: FloatArray
    force_work: FloatArray
    stress_work: FloatArray
    displacement: FloatArray
    strain: FloatArray


@dataclass(frozen=True)
class Slopes:
    """Slope of energy differences against the work of forces and of stresses, by group of like frames."""

    force: _Slopes
    stress: _Slopes

    @classmethod
    def of(cls, batch: AtomsBatch) -> Slopes:
        """Of every group of like frames whose points lie on a line."""
        force: _Slopes = {}
        stress: _Slopes = {}
        for frames in like_frames(batch):
            pairs = energies_and_work(batch, frames)
            same_cell = (pairs.strain < _SAME_CELL) & (pairs.displacement < _MAX_DISPLACEMENT)
            if (slope := _slope(pairs.force_work, pairs.energy, same_cell)) is not None:
                force[tuple(frames)] = slope
            strained = (pairs.strain > _SAME_CELL) & (pairs.strain < _MAX_STRAIN)
            strained &= pairs.displacement < _STRAINED_DISPLACEMENT
            if (slope := _slope(pairs.stress_work, pairs.energy, strained)) is not None:
                stress[tuple(frames)] = slope
        return cls(force, stress)

    def unchecked(self, batch: AtomsBatch) -> list[str]:
        """What could not be checked, in words."""
        labels = batch.all_labels
        return [
            f"units and sign of {name} against energies, for want of neighbouring frames (like atoms, a little moved)"
            for name, slopes, has in (
                ("forces", self.force, labels.has_forces), ("stresses", self.stress, labels.has_virial),
            )
            if not slopes and has.any() and labels.has_energy.any()
        ]  # fmt: skip


def label_consistency(batch: AtomsBatch, slopes: Slopes | None = None) -> list[Fault]:
    """Compare energy differences with the work of forces and stresses, for every group of like frames."""
    slopes = slopes or Slopes.of(batch)
    return _force_faults(slopes.force) + _stress_faults(slopes.stress, slopes.force)


def same_atoms(batch: AtomsBatch, frames: Iterable[int], least: int) -> list[list[int]]:
    """Groups of at least so many frames with the same species in the same order and the same periodicity."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for frame in frames:
        groups[(batch.numbers[batch.atoms_of(frame)].tobytes(), batch.pbc[frame].tobytes())].append(frame)
    return [group for group in groups.values() if len(group) >= least]


def like_frames(batch: AtomsBatch) -> list[list[int]]:
    """Group frames with energy and the same atoms in the same order, largest groups first, thinned evenly."""
    groups = same_atoms(batch, np.flatnonzero(batch.all_labels.has_energy).tolist(), 5)
    largest = sorted(groups, key=len, reverse=True)[:_MAX_GROUPS]
    return [[g[k] for k in np.unique(np.linspace(0, len(g) - 1, _MAX_FRAMES).astype(int))] for g in largest]


def energies_and_work(batch: AtomsBatch, frames: list[int]) -> FramePairs:
    """Energies (eV) and works of all pairs of like frames, by the trapezoidal rule over forces and stresses."""
    labels = batch.all_labels
    pbc = batch.pbc[frames[0]]
    atoms = np.stack([np.arange(batch.offsets[f], batch.offsets[f + 1]) for f in frames])
    if pbc.any() and not pbc.all():
        return FramePairs(*(np.empty(0) for _ in range(5)))
    # Open directions have no need of a cell: unit vectors stand in, so that fractional coordinates exist.
    cells = np.where(pbc[None, :, None], batch.cells[frames], np.eye(3))
    fractional = np.einsum("fai,fij->faj", batch.positions[atoms], np.linalg.inv(cells))
    forces, virial, energy = labels.forces[atoms], labels.virial[frames], labels.energy[frames]
    rows = []
    for a in range(len(frames) - 1):
        b = slice(a + 1, None)
        cell = 0.5 * (cells[a] + cells[b])
        step = fractional[b] - fractional[a]
        step -= np.round(step) * pbc
        u = np.einsum("fai,fij->faj", step, cell)
        u -= u.mean(axis=1, keepdims=True)  # a common translation is no displacement
        strain = np.linalg.solve(np.broadcast_to(cells[a], cell.shape), cells[b]) - np.eye(3)
        strain_sym = 0.5 * (strain + strain.transpose(0, 2, 1))
        force_work = -0.5 * np.einsum("fai,fai->f", forces[a] + forces[b], u)
        stress_work = -0.5 * np.einsum("fij,fij->f", virial[a] + virial[b], strain_sym)
        displacement = np.sqrt(np.mean(np.sum(u**2, axis=2), axis=1))
        rows.append((energy[b] - energy[a], force_work, stress_work, displacement, np.abs(strain).max(axis=(1, 2))))
    return FramePairs(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def _slope(work: FloatArray, energy: FloatArray, chosen: np.ndarray) -> float | None:
    """Slope of energy against work, or None where they are not on a line."""
    chosen = chosen & np.isfinite(work) & np.isfinite(energy)
    x, y = work[chosen], energy[chosen]
    if len(x) < _MIN_PAIRS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    # Pairs have no direction: correlate through the origin.
    correlation = float(x @ y / np.sqrt((x @ x) * (y @ y)))
    return float(x @ y / (x @ x)) if abs(correlation) > _CORRELATION else None


def _off(slope: float) -> bool:
    return not 1 / _TOLERANCE < abs(slope) < _TOLERANCE


def _force_faults(slopes: _Slopes) -> list[Fault]:
    found = []
    if wrong := _frames_where(slopes, lambda slope: slope < 0):
        message = "energies rise where forces say that they fall: forces have the wrong sign (gradients); negate them"
        found.append(Fault("force_sign", wrong, message))
    if wrong := _frames_where(slopes, _off):
        ratio = float(np.median([abs(slope) for slope in slopes.values() if _off(slope)]))
        guesses = [
            (energy, force)
            for energy, energy_size in units.ENERGY_UNITS.items()
            for force, force_size in units.FORCE_UNITS.items()
            if 1 / 1.2 < ratio / (force_size / energy_size) < 1.2
        ]
        # Likelier mistakes first: one unit off rather than two, and few codes write Rydberg.
        guesses.sort(key=lambda g: ((g[0] != "eV") + (g[1] != "eV/Å"), "Rydberg" in g[0] + g[1]))
        likely = " or ".join(f"energies in {energy} with forces in {force}" for energy, force in guesses[:2])
        message = (
            f"energy differences are {ratio:.3g} times the work of the forces instead of 1"
            f"{', as for ' + likely if likely else ''}; convert to eV and eV/Å"
        )
        found.append(Fault("energy_force_units", wrong, message))
    return found


def _stress_faults(slopes: _Slopes, force_slopes: _Slopes) -> list[Fault]:
    found = []
    if wrong := _frames_where(slopes, lambda slope: slope < 0):
        message = (
            "energies fall where stresses say that they rise: stress (or virial) has the wrong sign; "
            "gapkit and ASE take stress = dE/d(strain)/V, negative under compression; VASP's is opposite"
        )
        found.append(Fault("stress_sign", wrong, message))
    energy_off = [abs(slope) for slope in force_slopes.values() if _off(slope)]

    def off(slope: float) -> bool:
        # An energy in the wrong unit shows in both tests; report it once.
        explained = bool(energy_off) and not _off(abs(slope) / float(np.median(energy_off)))
        return _off(slope) and not explained

    if wrong := _frames_where(slopes, off):
        ratio = float(np.median([abs(slope) for slope in slopes.values() if off(slope)]))
        likely = " or ".join(unit for unit in _STRESS_UNITS if 1 / 1.5 < ratio / units.STRESS_UNITS[unit] < 1.5)
        message = (
            f"energy differences are {ratio:.3g} times the work of the stresses instead of 1"
            f"{', as for stresses in ' + likely if likely else ''}; convert to eV and eV/Å^3"
        )
        found.append(Fault("energy_stress_units", wrong, message))
    return found


def _frames_where(slopes: _Slopes, condition: Callable[[float], bool]) -> tuple[int, ...]:
    return tuple(sorted(frame for frames, slope in slopes.items() if condition(slope) for frame in frames))
