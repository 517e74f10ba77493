"""What is left out of the training set: a kind of structure, a pair of species, or all volumes but one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from sklearn.cluster import KMeans

from gapkit.selection.fingerprints import FingerprintSpace
from gapkit.structures import describe, to_batch

FEWEST = 20  # training frames: fewer give no calibration
VOLUME = 0.02  # part of the usual volume per atom up to which `one_volume` keeps a frame

FREE = ""  # no kind

Frames = list[Atoms]


class SplitError(ValueError):
    """What was asked for cannot be left out of this data set."""


@dataclass(frozen=True)
class Split:
    """Frames to fit, and frames to judge the fit on: such as it has seen (`known`), and left out (`unknown`)."""

    name: str
    train: Frames
    known: Frames
    unknown: Frames

    def __str__(self) -> str:
        return (
            f"{self.name} ({len(self.train)} frames to fit; judged on {_size(self.known)}, and {_size(self.unknown)})"
        )


@dataclass(frozen=True)
class DataSet:
    """Training and test frames, and the kind of each."""

    train: Frames
    test: Frames
    kinds_train: list[str]
    kinds_test: list[str]

    @classmethod
    def of(cls, train: Frames, test: Frames, n_clusters: int, seed: int) -> DataSet:
        """Kinds are configuration types, or clusters of similar frames where all training frames have the same one.

        Free atoms belong to no kind: those of the training set are in every fit, those of the test set in none.
        """
        free, bound, test = _free_atoms(train), _bound(train), _bound(test)
        types, types_test = _types(bound), _types(test)
        if len(set(types)) < 2:
            types, types_test = _clusters(bound, test, n_clusters, seed)
        kinds = iter(types)
        return cls(train, test, [FREE if k in free else next(kinds) for k in range(len(train))], types_test)

    @property
    def kinds(self) -> list[str]:
        """Kinds of the training frames, sorted."""
        return sorted(set(self.kinds_train) - {FREE})

    def without_kind(self, kind: str) -> Split:
        """Leave out all frames of a kind."""
        if kind not in self.kinds:
            raise SplitError(f"kinds of these data are {', '.join(self.kinds)}; got {kind}")
        return self._split(
            f"without {kind}", [k == kind for k in self.kinds_train], [k == kind for k in self.kinds_test]
        )

    def without_pair(self, pair: str) -> Split:
        """Leave out all frames that hold both species of a pair such as Mo-W."""
        both = set(pair.split("-"))
        known = {symbol for atoms in self.train for symbol in atoms.symbols}
        if len(both) != 2 or both - known:
            raise SplitError(f"a pair is two of the species {', '.join(sorted(known))}, such as Mo-W; got {pair}")
        return self._where(f"without {pair}", lambda frames: [both <= set(atoms.symbols) for atoms in frames])

    def one_volume(self) -> Split:
        """Leave out all frames whose volume per atom is not the usual one of their composition."""
        sized = [a for a, kind in zip(self.train, self.kinds_train, strict=True) if kind != FREE and a.cell.rank == 3]
        if not sized:
            raise SplitError("one volume: volumes are those of periodic cells, and no training frame has one")
        species = sorted({symbol for atoms in sized for symbol in atoms.symbols})
        volumes = np.array([atoms.get_volume() / len(atoms) for atoms in sized])
        # of each species, by least squares; with one species it falls out of the ratio to the median
        of_species = np.linalg.lstsq(_fractions(sized, species), volumes, rcond=None)[0]
        usual = np.median(volumes / (_fractions(sized, species) @ of_species))

        def is_other(frames: Frames) -> list[bool]:
            own = np.array([atoms.get_volume() / len(atoms) if atoms.cell.rank == 3 else np.inf for atoms in frames])
            expected = usual * (_fractions(frames, species) @ of_species)
            return [bool(other) for other in ~(np.abs(own - expected) <= VOLUME * expected)]

        return self._where("one volume", is_other)

    def _where(self, name: str, is_out: Callable[[Frames], list[bool]]) -> Split:
        out = [o and kind != FREE for o, kind in zip(is_out(self.train), self.kinds_train, strict=True)]
        return self._split(name, out, is_out(self.test))

    def _split(self, name: str, out_train: Sequence[bool], out_test: Sequence[bool]) -> Split:
        train, out = _divide(self.train, out_train)
        known, out_too = _divide(self.test, out_test)
        for what, found, least in (
            ("to fit", train, FEWEST), ("of the test set", known, 1), ("that are left out", out + out_too, 1),
        ):  # fmt: skip
            if len(found) < least:
                raise SplitError(f"{name}: expected at least {least} frames {what}, found {len(found)}")
        missing = {s for a in (*known, *out, *out_too) for s in a.symbols} - {s for a in train for s in a.symbols}
        if missing:
            raise SplitError(f"{name}: {', '.join(sorted(missing))} would be in no training frame")
        return Split(name, train, known, out + out_too)


def sample(split: Split, most_atoms: int, seed: int) -> Split:
    """With frames to judge on drawn at random, at most so many atoms of either sort (but one frame at least)."""
    rng = np.random.default_rng(seed)

    def some(frames: Frames) -> Frames:
        order = rng.permutation(len(frames))
        fits = np.cumsum([len(frames[k]) for k in order]) <= most_atoms
        n = max(int(np.argmin(fits)) if not fits.all() else len(frames), 1)
        return [frames[k] for k in sorted(order[:n])]

    return Split(split.name, split.train, some(split.known), some(split.unknown))


def _free_atoms(frames: Frames) -> set[int]:
    """Indices of frames of one atom without neighbours."""
    found = describe(to_batch(frames, strict=False)).isolated_atoms
    return {frame for of_species in found.values() for frame in of_species}


def _bound(frames: Frames) -> Frames:
    free = _free_atoms(frames)
    return [atoms for k, atoms in enumerate(frames) if k not in free]


def _types(frames: Frames) -> list[str]:
    return [str(atoms.info.get("config_type", "default")) for atoms in frames]


def _clusters(train: Frames, test: Frames, n_clusters: int, seed: int) -> tuple[list[str], list[str]]:
    """Names of the clusters that frames belong to: k-means of the training frames' fingerprints."""
    space = FingerprintSpace.of(train, species=sorted({z for atoms in test for z in atoms.numbers}))
    means = KMeans(n_clusters, n_init=4, random_state=seed).fit(space(train).of_frames())
    named = [[f"cluster {k + 1}" for k in means.predict(space(part).of_frames())] for part in (train, test)]
    return named[0], named[1]


def _fractions(frames: Frames, species: Sequence[str]) -> np.ndarray:
    return np.array([[atoms.symbols.count(s) / len(atoms) for s in species] for atoms in frames])


def _divide(frames: Frames, is_out: Sequence[bool]) -> tuple[Frames, Frames]:
    kept, out = [], []
    for atoms, leaves in zip(frames, is_out, strict=True):
        (out if leaves else kept).append(atoms)
    return kept, out


def _size(frames: Frames) -> str:
    return f"{len(frames)} frames of {sum(map(len, frames))} atoms"
