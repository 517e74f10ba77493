"""Signs of extrapolation of a batch, and what they say in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from gapkit.printing import columns
from gapkit.typing import BoolArray, FloatArray, IntArray

# Pairs closer by this part than any pair of the training set are too close.
PAIR_MARGIN = 0.02
# Reasons that are printed; `reasons` has all.
PRINTED = 5


def closeness(pair: FloatArray) -> FloatArray:
    """Sign of pairs whose distances over the shortest known ones are `pair`, any shape.

    Zero at the shortest known one, above 1 where it is too close.
    """
    return (1.0 - np.asarray(pair)) / PAIR_MARGIN


@dataclass(frozen=True, eq=False, repr=False)
class Extrapolation:
    """Signs of extrapolation of the atoms and frames of a batch; print it for what they say.

    Attributes
    ----------
    novelty, distance : ndarray (n_atoms,)
        In units of their thresholds: above 1 is extrapolation.  NaN without an atomic term.
    pair : ndarray (n_atoms,)
        Distance over the shortest one of its species in the training set, smallest over the neighbours; below 0.98 is
        extrapolation.  Infinite without neighbours.
    average : ndarray (n_frames,)
        Distance of the average neighbourhood of a frame to the nearest training frame's, over its threshold: above 1 is
        extrapolation.  NaN without an atomic term.
    atoms : ndarray (n_atoms,) of bool
        Mask of atoms with any of their three signs.
    frames : ndarray (n_frames,) of bool
        Mask of frames with such an atom, or with the sign of the average.
    forces : ndarray (n_atoms,) of bool
        Mask of atoms whose force depends on such an atom, itself or a neighbour; all atoms of frames with the sign of
        the average.
    false_alarm : float
        Rate of flagged atoms in structures like the training set.
    numbers, frame_of_atom : ndarray (n_atoms,) of int
        Atomic numbers and frames of the atoms.
    nearest_frame, nearest_atom : ndarray (n_atoms,) of int
        Training frame, and the atom in it, with the most similar neighbourhood; its distance over the threshold is
        `distance`.  -1 where it is not known.
    kinds : ndarray (n_frames,) of int
        Index of the kind of the training frame with the most similar average; -1 where it is not known.
    symbols : tuple of str
        Of the atoms, where they are known.
    """

    novelty: FloatArray
    distance: FloatArray
    pair: FloatArray
    average: FloatArray
    atoms: BoolArray
    frames: BoolArray
    false_alarm: float
    numbers: IntArray
    frame_of_atom: IntArray
    nearest_frame: IntArray
    nearest_atom: IntArray
    forces: BoolArray
    kinds: IntArray
    symbols: tuple[str, ...] = ()

    @property
    def of_atoms(self) -> FloatArray:
        """Largest of the three signs (n_atoms,) of every atom over its threshold: above 1 is extrapolation."""
        return np.fmax(np.fmax(self.novelty, self.distance), closeness(self.pair))

    @property
    def score(self) -> FloatArray:
        """Largest sign (n_frames,) of every frame, that of its average included: above 1 is extrapolation."""
        most = np.zeros(len(self.frames))
        np.maximum.at(most, self.frame_of_atom, self.of_atoms)
        return np.fmax(most, self.average)

    def reasons(self, frame: int | None = None) -> list[str]:
        """Why frames (None: all) and their atoms are flagged, in words.

        Of a frame its average comes first, then its atoms, the strongest sign first.
        """
        return list(self._reasons(np.flatnonzero(self.frames) if frame is None else np.array([frame])))

    def _reasons(self, frames: IntArray) -> Iterator[str]:
        starts = np.searchsorted(self.frame_of_atom, np.arange(len(self.frames) + 1))
        signs = self.of_atoms
        for f in frames:
            if self.average[f] > 1.0:
                yield (
                    f"frame {f}: its average neighbourhood is {self.average[f]:.3g} times the threshold away from that "
                    "of any training frame"
                )
            own = starts[f] + np.flatnonzero(self.atoms[starts[f] : starts[f + 1]])
            for atom in own[np.argsort(-signs[own], kind="stable")]:
                name = self.symbols[atom] if self.symbols else f"Z = {self.numbers[atom]}"
                yield f"frame {f}, atom {atom - starts[f]} ({name}): {self._of_atom(atom)}"

    def _of_atom(self, atom: int) -> str:
        signs = []
        if np.isinf(self.novelty[atom]):
            signs.append("its species has no threshold")
        elif self.novelty[atom] > 1.0:
            signs.append(f"novelty {self.novelty[atom]:.3g} times the threshold")
        if self.distance[atom] > 1.0:
            signs.append(f"distance to the training set {self.distance[atom]:.3g} times the threshold")
        if self.pair[atom] == 0.0:
            signs.append("a pair of species that the training set lacks")
        elif closeness(self.pair[atom]) > 1.0:
            signs.append(f"a neighbour at {self.pair[atom]:.3g} of the closest known pair")
        if self.nearest_frame[atom] >= 0 and np.isfinite(self.distance[atom]):
            place = f"atom {self.nearest_atom[atom]} of " if self.nearest_atom[atom] >= 0 else ""
            most_alike = f"{place}training frame {self.nearest_frame[atom]}, {self.distance[atom]:.3g} thresholds away"
            signs.append(f"most like {most_alike}")
        return "; ".join(signs)

    def __repr__(self) -> str:
        signs = {
            "novelty": (self.novelty > 1.0, np.max, self.novelty, "threshold"),
            "distance": (self.distance > 1.0, np.max, self.distance, "threshold"),
            "pair": (closeness(self.pair) > 1.0, np.min, self.pair, "closest known"),
            "average": (self.average > 1.0, np.max, self.average, "threshold"),
        }
        rows = []
        for name, (flags, extreme, values, of) in signs.items():
            known = values[~np.isnan(values)]
            most = f"{extreme(known):.3g} of the {of}" if len(known) else "-"
            rows.append((name, f"{np.count_nonzero(flags)}", most))
        head = (
            f"extrapolation: {np.count_nonzero(self.atoms)} of {len(self.atoms)} atoms and "
            f"{np.count_nonzero(self.frames)} of {len(self.frames)} frames are unlike the training set (false alarms: "
            f"{self.false_alarm:g} of the atoms)"
        )
        lines = [head, *columns(("sign", "atoms or frames", "most extreme"), rows)]
        worst = np.flatnonzero(self.frames)[np.argsort(-self.score[self.frames], kind="stable")]
        reasons = list(islice(self._reasons(worst), PRINTED + 1))
        more = ["... (`reasons()` has all)"] if len(reasons) > PRINTED else []
        return "\n".join([*lines, *reasons[:PRINTED], *more])
