"""What a potential predicts: the one table of outputs, with shapes, units and signs."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from ase.units import GPa

from gapkit.exceptions import DataError
from gapkit.gp.prediction import LinearPrediction
from gapkit.gp.variance.targets import TargetVariances
from gapkit.printing import columns
from gapkit.structures import AtomsBatch
from gapkit.structures.arrays import offsets_of
from gapkit.targets import to_voigt
from gapkit.terms import TermValues
from gapkit.typing import BoolArray, FloatArray, IntArray
from gapkit.uncertainty.novelty import NoveltyDetector

# Fields with an entry for every frame; the others have one for every atom.
OF_FRAMES = (
    "energy", "stress", "virial", "energy_std", "stress_std", "energy_interval", "stress_interval",
    "extrapolating_frames",
)  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """Predictions for a list of frames, atoms of all frames one after another.

    ``predictions[i]`` are those of frame i alone, a slice those of some frames; `len` and iteration are over frames,
    and printed they are a table.

    ====================  =================  =========  ==================================================
    name                  shape              unit       meaning and sign
    ====================  =================  =========  ==================================================
    energy                (n_frames,)        eV         total, reference energies included
    forces                (n_atoms, 3)       eV/Å       -dE/dr
    stress                (n_frames, 6)      eV/Å^3     dE/d(strain)/V, order xx, yy, zz, yz, xz, xy; NaN
                                                        without a three-dimensional cell
    virial                (n_frames, 3, 3)   eV         -stress * volume
    local_energies        (n_atoms,)         eV         contributions of the atoms; they sum to `energy`
    offsets               (n_frames + 1,)    1          atoms of frame f are offsets[f] .. offsets[f + 1] - 1
    local_energies_std    (n_atoms,)         eV         of the contributions
    local_data_variance   (n_atoms,)         eV^2       posterior variance that more data would reduce
    local_prior_variance  (n_atoms,)         eV^2       prior variance that the sparse points cannot see
    unseen                (n_atoms,)         1          part of the prior that the sparse points cannot see, 0 to 1
    novelty               (n_atoms,)         1          `unseen` over the model's threshold: beyond it above 1
    energy_std            (n_frames,)        eV         of the total energy
    forces_std            (n_atoms, 3)       eV/Å       of each component
    stress_std            (n_frames, 6)      eV/Å^3     of each component
    energy_interval, ...                                half-widths of intervals, shapes and units of the stds
    extrapolating         (n_atoms,)         bool       whether an atom's force depends on an atom that is unlike the
                                                        training set: itself, a neighbour, or any of a frame
                                                        with the sign of the average
    extrapolating_frames  (n_frames,)        bool       whether a frame has such an atom, or this sign
    ====================  =================  =========  ==================================================

    All from `local_energies_std` on are None unless they were asked for, and NaN or None where the model has no
    calibration of their kind.  `std` says what the stds are:

    "calibrated"  the error to expect against a reference calculation: the posterior brought to scale by residuals of
                  configurations that were left out of the fit.  Not valid where `extrapolating`.
    "epistemic"   the posterior as it is: what the model lacks data for.  It orders errors, it is no error bar.
    "total"       epistemic plus the noise of the labels (aleatoric), as for a new label.

    Of local energies, "calibrated" is the calibration of energies per atom, whose parts they are: no label can check
    it.  With ``return_std="local"``, and as "total", their std is epistemic, the square root of the sum of both
    variances, which always are.  It is large where only sums of local energies are determined.  `variances` holds the
    two parts of epistemic variances: covariances of energies, of the forces of every atom (3 x 3) and of virials
    (6 x 6).  `unseen` is small in absolute terms for the smooth kernels of SOAP; `novelty` is the same on the one scale
    that is used everywhere.  It is None where the model has no thresholds (a fit with ``calibration=None``), infinite
    for a species that has none.
    """

    energy: FloatArray
    forces: FloatArray
    stress: FloatArray
    virial: FloatArray
    local_energies: FloatArray
    offsets: IntArray
    local_energies_std: FloatArray | None = None
    local_data_variance: FloatArray | None = None
    local_prior_variance: FloatArray | None = None
    unseen: FloatArray | None = None
    novelty: FloatArray | None = None
    energy_std: FloatArray | None = None
    forces_std: FloatArray | None = None
    stress_std: FloatArray | None = None
    energy_interval: FloatArray | None = None
    forces_interval: FloatArray | None = None
    stress_interval: FloatArray | None = None
    extrapolating: BoolArray | None = None
    extrapolating_frames: BoolArray | None = None
    std: str | None = None
    variances: TargetVariances | None = None

    @classmethod
    def of(
        cls, batch: AtomsBatch, learned: LinearPrediction, known: TermValues, detector: NoveltyDetector | None = None
    ) -> Predictions:
        """The sum of what was learned and of the known energies of a batch; the detector knows the scale of novelty."""
        local, virials = learned.local_energies + known.local_energies, learned.virials + known.virials
        virials = 0.5 * (virials + virials.transpose(0, 2, 1))
        variances: dict[str, Any] = {}
        if (variance := learned.variance) is not None:
            variances = {
                "local_energies_std": None if variance.total is None else np.sqrt(variance.total),
                "local_data_variance": variance.data, "local_prior_variance": variance.prior_residual,
                "unseen": variance.unseen,
            }  # fmt: skip
            if detector is not None and variance.unseen is not None:
                variances["novelty"] = detector.relative(batch.numbers, variance.unseen)
        return cls(
            energy=np.add.reduceat(local, batch.offsets[:-1]), forces=learned.forces + known.forces,
            stress=-to_voigt(virials) / batch.volumes[:, None], virial=virials, local_energies=local,
            offsets=batch.offsets, **variances,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.energy)

    def __iter__(self) -> Iterator[Predictions]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, which: int | slice) -> Predictions:
        if isinstance(which, slice):
            frames = np.arange(len(self))[which]
        else:
            index = operator.index(which)
            if not -len(self) <= index < len(self):
                raise IndexError(f"predictions are of {len(self)} frames, there is none of index {index}")
            frames = np.array([index % len(self)])
        atoms = np.concatenate(
            [np.zeros(0, int), *(np.arange(self.offsets[f], self.offsets[f + 1]) for f in frames)]
        )  # fmt: skip
        chosen: dict[str, Any] = {"offsets": offsets_of(np.diff(self.offsets)[frames].tolist())}
        for field in fields(self):
            values = getattr(self, field.name)
            if isinstance(values, np.ndarray) and field.name != "offsets":
                chosen[field.name] = values[frames if field.name in OF_FRAMES else atoms]
        if self.variances is not None:
            chosen["variances"] = self.variances.take(frames, atoms)
        return replace(self, **chosen)

    def __repr__(self) -> str:
        n_atoms, first = np.diff(self.offsets), self.offsets[:-1]
        largest = np.maximum.reduceat(np.abs(self.forces).max(axis=1), first) if len(self) else self.energy
        named: dict[str, Iterable[str]] = {
            "frame": map(str, range(len(self))), "atoms": map(str, n_atoms), "energy, eV": _shown(self.energy, ".6f"),
            "eV/atom": _shown(self.energy / n_atoms, ".6f"), "largest force, eV/Å": _shown(largest, ".4f"),
            "pressure, GPa": _shown(-self.stress[:, :3].mean(axis=1) / GPa, ".3f"),
        }  # fmt: skip
        if self.energy_std is not None:
            named["std, meV/atom"] = _shown(1e3 * self.energy_std / n_atoms, ".3g")
        if self.forces_std is not None:
            named["largest std, eV/Å"] = _shown(np.maximum.reduceat(self.forces_std.max(axis=1), first), ".3g")
        if self.novelty is not None:
            named["novelty"] = _shown(np.maximum.reduceat(self.novelty, first), ".3g")
        if self.extrapolating is not None:
            named["extrapolating"] = map(str, np.add.reduceat(self.extrapolating.astype(int), first))
        kind = f"; standard deviations are {self.std}" if self.std else ""
        head = f"predictions for {len(self)} frames, {len(self.forces)} atoms{kind}"
        return "\n".join([head, *columns(list(named), list(zip(*named.values(), strict=True)))])


def _shown(values: FloatArray, how: str) -> list[str]:
    return [format(value, how) if np.isfinite(value) else "-" for value in values]


def coefficient_of_determination(batch: AtomsBatch, p: Predictions) -> float:
    """R^2 of the force components of a labelled batch, or of energies per atom where there are no forces."""
    labels = batch.all_labels
    has = labels.has_forces
    target, predicted = labels.forces[has], p.forces[has]
    if not has.any():
        has = labels.has_energy
        if not has.any():
            raise DataError("`score` needs frames with forces or energies, found only stresses")
        target, predicted = (e[has] / batch.n_atoms_per_frame[has] for e in (labels.energy, p.energy))
    spread = float(((target - target.mean(axis=0)) ** 2).sum())
    return 1.0 - float(((target - predicted) ** 2).sum()) / spread if spread > 0 else float("nan")
