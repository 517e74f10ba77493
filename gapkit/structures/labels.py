"""Reference labels of many frames, by target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gapkit.structures.arrays import frozen
from gapkit.structures.unread import Unread
from gapkit.targets import TARGETS
from gapkit.typing import BoolArray, FloatArray, IntArray


def labelled(values: FloatArray) -> BoolArray:
    """Whether each row of values (n, ...) is a label: all its components are finite."""
    return np.asarray(np.isfinite(values).all(axis=tuple(range(1, values.ndim))))


@dataclass(frozen=True, eq=False)
class FrameLabels:
    """Labels of one frame, as in `Labels`; `found` are the names of the `LabelKeys` that it holds."""

    values: dict[str, FloatArray]
    sigmas: dict[str, FloatArray]
    config_type: tuple[str]
    unread: tuple[tuple[Unread, ...]]
    found: frozenset[str]


@dataclass(frozen=True, eq=False)
class Labels:
    """Reference labels of a batch, by name of the target; an absent label is NaN, never zero.

    The value, mask and sigma of every row of `gapkit.targets.TARGETS` are attributes too, under the names in the table.

    Attributes
    ----------
    values : mapping of str to (n_frames, ...) or (n_atoms, ...) float
        eV for energies and virials (symmetric, 3 x 3), eV/Å for forces.
    sigmas : mapping of str to (n_frames,) or (n_atoms,) float
        Standard deviations of the labels, absolute for the whole frame; NaN where not given.
    config_type : tuple of str, length n_frames
        "default" where absent.
    unread : tuple of tuple of Unread, length n_frames
        Entries that have the shape of a label which the frame lacks.
    has : mapping of str to (n_frames,) or (n_atoms,) bool
        Whether the label is there; per atom, since a `force_mask` leaves single atoms out.
    """

    values: Mapping[str, FloatArray]
    sigmas: Mapping[str, FloatArray]
    config_type: tuple[str, ...]
    unread: tuple[tuple[Unread, ...], ...] = ()
    has: Mapping[str, BoolArray] = field(init=False)
    energy: FloatArray = field(init=False)
    forces: FloatArray = field(init=False)
    virial: FloatArray = field(init=False)
    has_energy: BoolArray = field(init=False)
    has_forces: BoolArray = field(init=False)
    has_virial: BoolArray = field(init=False)
    energy_sigma: FloatArray = field(init=False)
    force_sigma: FloatArray = field(init=False)
    virial_sigma: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        n_frames, n_atoms = len(self.config_type), self.n_atoms
        values, sigmas, has = {}, {}, {}
        for target in TARGETS.values():
            name, n = target.name, target.length(n_frames, n_atoms)
            values[name] = frozen(self.values[name], float, (n, *target.shape), name)
            sigmas[name] = frozen(self.sigmas[name], float, (n,), target.sigma)
            has[name] = frozen(labelled(values[name]), bool, (n,), target.has)
            vars(self).update({name: values[name], target.sigma: sigmas[name], target.has: has[name]})
        vars(self).update(values=values, sigmas=sigmas, has=has, config_type=tuple(self.config_type))
        vars(self)["unread"] = tuple(self.unread) or ((),) * n_frames

    @property
    def n_atoms(self) -> int:
        """Number of atoms of all frames together."""
        return len(self.sigmas["forces"])

    @classmethod
    def empty(cls, n_frames: int, n_atoms: int) -> Labels:
        """Return labels of the given lengths in which every label is absent."""
        lengths = {name: target.length(n_frames, n_atoms) for name, target in TARGETS.items()}
        values = {name: np.full((n, *TARGETS[name].shape), np.nan) for name, n in lengths.items()}
        sigmas = {name: np.full(n, np.nan) for name, n in lengths.items()}
        return cls(values, sigmas, ("default",) * n_frames)

    def select(self, frames: IntArray, atoms: IntArray) -> Labels:
        """Labels of some frames and their atoms, in the given order."""
        rows = {name: atoms if target.per_atom else frames for name, target in TARGETS.items()}
        values, sigmas = ({name: held[name][own] for name, own in rows.items()} for held in (self.values, self.sigmas))
        config_type = tuple(self.config_type[f] for f in frames)
        return Labels(values, sigmas, config_type, tuple(self.unread[f] for f in frames))

    @classmethod
    def join(cls, parts: Sequence[Labels] | Sequence[FrameLabels]) -> Labels:
        """Labels of batches, or of frames, one after another."""
        return cls(
            {name: np.concatenate([part.values[name] for part in parts]) for name in TARGETS},
            {name: np.concatenate([part.sigmas[name] for part in parts]) for name in TARGETS},
            tuple(config_type for part in parts for config_type in part.config_type),
            tuple(unread for part in parts for unread in part.unread),
        )
