"""What is measured of a judgement: whether error bars hold, flags are where errors are, and scores find both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from gapkit.structures import AtomsBatch
from trusting.methods import Judgement

Z90 = 1.645  # standard deviations that hold 90 %
MISSED = 3.0  # an error beyond so many is missed where nothing is flagged
LARGE = 3.0  # an error beyond so many RMSEs of known structures is large
ROUNDING = 1e-10  # eV, eV/Å: errors that symmetry makes zero are within any std


@dataclass(frozen=True)
class Figures:
    """Figures of one method and one split; None where there is nothing to measure.

    Pairs are of frames in distribution and of frames out of kind.

    Attributes
    ----------
    forces_coverage, energy_coverage : pair of float
        Part of the force components, or of the energies, within 1.645 std.
    flagged : pair of float
        Part of the frames with a flagged atom.
    missed_energies : float
        Frames that are not flagged with an energy beyond 3 std, as part of all out of kind.
    missed_forces, missed_forces_by_frame : float
        Force components beyond 3 std of atoms that are not flagged, or of frames without a flag, as part of all out of
        kind.
    auroc_kind : float
        Area under the ROC curve of the score of frames (the largest sign of their atoms; without signs their largest
        std) as a detector of frames out of kind; chance is 0.5.
    auroc_std, auroc_sign : float
        The same of the std, and of the sign, of atoms as a detector of force errors above 3 RMSEs in distribution.
    forces_rmse : pair of float
        eV/Å.
    energy_rmse : pair of float
        eV/atom.
    """

    forces_coverage: list[float | None]
    energy_coverage: list[float | None]
    flagged: list[float | None]
    missed_energies: float | None
    missed_forces: float | None
    missed_forces_by_frame: float | None
    auroc_kind: float | None
    auroc_std: float | None
    auroc_sign: float | None
    forces_rmse: list[float | None]
    energy_rmse: list[float | None]


def figures(said: Judgement, batch: AtomsBatch, is_unknown: np.ndarray) -> Figures:
    """Compare a judgement with the labels of its frames, of which `is_unknown` (n_frames,) are out of kind."""
    labels, of_atom = batch.all_labels, batch.frame_of_atom
    sides = (~is_unknown, is_unknown)
    atoms = [side[of_atom] for side in sides]
    energy = Errors(said.energy - labels.energy, said.energy_std)
    forces = Errors(said.forces - labels.forces, said.forces_std)
    per_atom = energy.values / batch.n_atoms_per_frame
    flagged = np.zeros(batch.n_atoms, bool) if said.flagged is None else said.flagged
    frame_flagged = np.bincount(of_atom[flagged], minlength=batch.n_frames) > 0
    score = said.atom_std if said.sign is None else said.sign
    forces_rmse = [_rms(forces.values[own]) for own in atoms]

    def finds_large_errors(of_atoms: np.ndarray | None) -> float | None:
        sizes = np.sqrt(np.mean(forces.values**2, axis=1))
        known = np.isfinite(sizes)
        if of_atoms is None or forces_rmse[0] is None:
            return None
        return _auroc(sizes[known] > LARGE * forces_rmse[0], of_atoms[known])

    return Figures(
        forces_coverage=[forces.within(Z90, own) for own in atoms],
        energy_coverage=[energy.within(Z90, own) for own in sides],
        flagged=[None if said.flagged is None else _mean(frame_flagged[own].astype(float)) for own in sides],
        missed_energies=energy.missed(sides[1], ~frame_flagged),
        missed_forces=forces.missed(atoms[1], ~flagged),
        missed_forces_by_frame=forces.missed(atoms[1], ~frame_flagged[of_atom]),
        auroc_kind=_auroc(is_unknown, np.maximum.reduceat(score, batch.offsets[:-1])),
        auroc_std=finds_large_errors(said.atom_std),
        auroc_sign=finds_large_errors(said.sign),
        forces_rmse=forces_rmse,
        energy_rmse=[_rms(per_atom[own]) for own in sides],
    )


@dataclass(frozen=True)
class Errors:
    """Errors (n,) or (n, 3), NaN without a label, and their stds; None: there are none."""

    values: np.ndarray
    stds: np.ndarray | None

    def within(self, factor: float, own: np.ndarray) -> float | None:
        """Part of the components of the rows `own` (n,) within so many stds."""
        beyond = _mean(self._beyond(factor)[own])
        return None if beyond is None else 1.0 - beyond

    def missed(self, own: np.ndarray, trusted: np.ndarray) -> float | None:
        """Components beyond MISSED stds of rows that are `trusted` as well (n,), as part of those of the rows `own`."""
        beyond = self._beyond(MISSED)
        beyond[~trusted] *= 0.0  # NaN stays
        return _mean(beyond[own])

    def _beyond(self, factor: float) -> np.ndarray:
        """Whether each component is, as 0 or 1; NaN where that is not known."""
        if self.stds is None:
            return np.full(self.values.shape, np.nan)
        known = np.isfinite(self.values) & ~np.isnan(self.stds)
        return np.where(known, np.abs(self.values) > np.maximum(factor * self.stds, ROUNDING), np.nan)


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if len(known) else None


def _rms(values: np.ndarray) -> float | None:
    square = _mean(values**2)
    return None if square is None else float(np.sqrt(square))


def _auroc(is_wanted: np.ndarray, scores: np.ndarray) -> float | None:
    """Probability that a wanted one scores higher, None where all or none are wanted; scores may be infinite."""
    n = np.count_nonzero(is_wanted)
    if n in (0, len(is_wanted)) or np.isnan(scores).any():
        return None
    ranks = rankdata(scores)[is_wanted]
    return float((ranks.sum() - n * (n + 1) / 2) / (n * (len(is_wanted) - n)))
