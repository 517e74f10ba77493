"""Frozen flat arrays for many frames: what every module below `structures` sees instead of `ase.Atoms`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.structures.arrays import frozen, offsets_of, read_only, volumes_of
from gapkit.structures.labels import Labels
from gapkit.targets import TARGETS
from gapkit.typing import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class AtomsBatch:
    """Many frames as flat, read-only arrays.

    Attributes
    ----------
    offsets : (n_frames + 1,) int
        The atoms of frame f are offsets[f] .. offsets[f + 1] - 1.
    numbers : (n_atoms,) int
        Atomic numbers.
    positions : (n_atoms, 3) float, Å
    cells : (n_frames, 3, 3) float, Å
        Rows are lattice vectors; zero where there is none.
    pbc : (n_frames, 3) bool
    labels : Labels or None
    frames : (n_frames,) int
        Numbers by which messages call the frames: those of the batch that this one was selected from.
    """

    offsets: IntArray
    numbers: IntArray
    positions: FloatArray
    cells: FloatArray
    pbc: BoolArray
    labels: Labels | None = None
    frames: IntArray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        n_frames, n_atoms = len(self.offsets) - 1, len(self.numbers)
        for name, dtype, shape in (
            ("offsets", np.int64, (n_frames + 1,)),
            ("numbers", np.int64, (n_atoms,)),
            ("positions", float, (n_atoms, 3)),
            ("cells", float, (n_frames, 3, 3)),
            ("pbc", bool, (n_frames, 3)),
        ):
            vars(self)[name] = frozen(getattr(self, name), dtype, shape, name)
        own = np.arange(n_frames) if self.frames is None else self.frames
        vars(self)["frames"] = frozen(own, np.int64, (n_frames,), "frames")
        if n_frames < 0 or self.offsets[0] != 0 or self.offsets[-1] != n_atoms or np.any(np.diff(self.offsets) < 0):
            raise InputError(
                f"`offsets` must rise from 0 to the number of atoms ({n_atoms}), got {self.offsets.tolist()[:5]}...; "
                "build batches with `to_batch`"
            )
        if self.labels is not None:
            lengths = (len(self.labels.config_type), self.labels.n_atoms)
            if lengths != (n_frames, n_atoms):
                raise InputError(
                    f"`labels` must be for {n_frames} frames and {n_atoms} atoms, got {lengths[0]} and {lengths[1]}; "
                    "build batches with `to_batch`"
                )

    def __len__(self) -> int:
        return self.n_frames

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.offsets) - 1

    @property
    def n_atoms(self) -> int:
        """Number of atoms of all frames together."""
        return len(self.numbers)

    @cached_property
    def all_labels(self) -> Labels:
        """The labels; where the batch was made without, labels that are all absent."""
        return self.labels or Labels.empty(self.n_frames, self.n_atoms)

    @property
    def labelled_frames(self) -> dict[str, BoolArray]:
        """Frames (n_frames,) that have a label of each target, or of which an atom has one."""
        has = self.all_labels.has
        return {name: self.sum_over_frames(mask) > 0 if TARGETS[name].per_atom else mask for name, mask in has.items()}

    @property
    def comparable(self) -> dict[str, BoolArray]:
        """Labels of each target, as masks like `Labels.has`, that can be shown: a stress needs a volume."""
        has, volume = self.all_labels.has, np.isfinite(self.volumes)
        return {name: mask & volume if TARGETS[name].shown.per == "volume" else mask for name, mask in has.items()}

    @cached_property
    def n_atoms_per_frame(self) -> IntArray:
        """(n_frames,) number of atoms of each frame."""
        return read_only(np.diff(self.offsets))

    @cached_property
    def frame_of_atom(self) -> IntArray:
        """(n_atoms,) index of the frame to which each atom belongs."""
        return read_only(np.repeat(np.arange(self.n_frames, dtype=np.int64), self.n_atoms_per_frame))

    @cached_property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers present, sorted."""
        return tuple(int(z) for z in np.unique(self.numbers))

    @cached_property
    def volumes(self) -> FloatArray:
        """(n_frames,) cell volumes in Å^3, NaN where the cell is not three-dimensional."""
        return read_only(volumes_of(self.cells))

    def atoms_of(self, frame: int) -> slice:
        """Atoms of a frame."""
        return slice(int(self.offsets[frame]), int(self.offsets[frame + 1]))

    def sum_over_frames(self, values: NDArray) -> FloatArray:
        """Sums (n_frames, ...) of values (n_atoms, ...) over the atoms of each frame."""
        total = np.zeros((self.n_frames, *values.shape[1:]))
        np.add.at(total, self.frame_of_atom, values)
        return total

    def compositions(self, species: Sequence[int]) -> IntArray:
        """Atoms (n_frames, n_species) of each atomic number in each frame; others are not counted."""
        counts = np.zeros((self.n_frames, len(species)), dtype=np.int64)
        for column, number in enumerate(species):
            atoms = self.numbers == number
            counts[:, column] = np.bincount(self.frame_of_atom[atoms], minlength=self.n_frames)
        return counts

    def select(self, frame_indices: ArrayLike) -> AtomsBatch:
        """Return a new batch of the given frames, in the given order.

        Indices (n,) may repeat and be negative; or a mask (n_frames,).  InputError if an index is out of range, or a
        mask has the wrong length.
        """
        frames = _frame_indices(frame_indices, self.n_frames)
        counts = self.n_atoms_per_frame[frames]
        offsets = offsets_of(counts)
        atoms = np.arange(offsets[-1]) + np.repeat(self.offsets[frames] - offsets[:-1], counts)
        labels = None if self.labels is None else self.labels.select(frames, atoms)
        return AtomsBatch(
            offsets, self.numbers[atoms], self.positions[atoms], self.cells[frames], self.pbc[frames], labels,
            self.frames[frames],
        )  # fmt: skip


@checked
def concatenate(batches: Sequence[AtomsBatch]) -> AtomsBatch:
    """Join batches, keeping the order of frames.

    Where only some batches have labels, the frames of the others get labels that are all absent.  InputError without
    any batch.
    """
    batches = list(batches)
    if not batches:
        raise InputError("`batches` must hold at least one AtomsBatch, got none; pass the batches to join")
    labelled = any(batch.labels is not None for batch in batches)
    labels = Labels.join([batch.all_labels for batch in batches]) if labelled else None
    counts, numbers, positions, cells, pbc = (
        np.concatenate([getattr(batch, name) for batch in batches])
        for name in ("n_atoms_per_frame", "numbers", "positions", "cells", "pbc")
    )
    return AtomsBatch(offsets_of(counts), numbers, positions, cells, pbc, labels)


def _frame_indices(frame_indices: ArrayLike, n_frames: int) -> IntArray:
    indices = np.atleast_1d(frame_indices)
    if indices.dtype == bool and indices.shape != (n_frames,):
        raise InputError(
            f"`frame_indices` as a mask must have shape ({n_frames},), got {indices.shape}; pass one bool per frame"
        )
    if indices.dtype == bool:
        return np.flatnonzero(indices)
    indices = indices if indices.size else indices.astype(np.int64)
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
        raise InputError(
            f"`frame_indices` must be a 1D array of integers, got {indices.dtype} of shape {indices.shape}; "
            "pass frame numbers or a bool mask"
        )
    if np.any((indices < -n_frames) | (indices >= n_frames)):
        raise InputError(
            f"`frame_indices` must lie in 0..{n_frames - 1}, got {indices.min()}..{indices.max()}; pass existing frames"
        )
    return indices.astype(np.int64) % max(n_frames, 1)
