"""Methods that tell how far a prediction can be trusted: each fits the same frames and judges the same others.

A method is a class with a name and two functions: `missing` tells why it cannot take part, and `fit` returns a function
from frames to a `Judgement`.  Another one is a further class in `METHODS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms

from gapkit import GAP
from gapkit.potential.committee import Committee, bootstrap_committee

Frames = list[Atoms]
DRAWS, RESAMPLED = 16, 8  # members of the two committees


@dataclass(frozen=True)
class Judgement:
    """What a method predicts, and how far it trusts it; atoms of all frames one after another.

    Attributes
    ----------
    energy : ndarray (n_frames,)
        Total energy, eV.
    forces : ndarray (n_atoms, 3)
        eV/Å.
    energy_std : ndarray (n_frames,) or None
        eV; None: the method has none.
    forces_std : ndarray (n_atoms, 3) or None
        Of components, eV/Å; None: the method has none.
    atom_std : ndarray (n_atoms,)
        What orders the errors of forces: the root mean square of `forces_std`, or what stands in for it.
    sign : ndarray (n_atoms,) or None
        How unlike the training set an atom is; None: the method tells only stds.
    flagged : ndarray (n_atoms,) of bool or None
        Where the method says that its stds do not hold; None: it never does.
    """

    energy: np.ndarray
    forces: np.ndarray
    energy_std: np.ndarray | None
    forces_std: np.ndarray | None
    atom_std: np.ndarray
    sign: np.ndarray | None = None
    flagged: np.ndarray | None = None


Judge = Callable[[Frames], Judgement]


@dataclass
class Training:
    """Frames to fit and the settings that methods share; the methods of gapkit share one fit."""

    frames: Frames
    folder: Path  # for files, of this split alone
    n_sparse: int | None = None
    n_jobs: int | None = None
    seed: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @cached_property
    def model(self) -> GAP:
        """The fit of gapkit, as it is by default."""
        return GAP(n_sparse=self.n_sparse, n_jobs=self.n_jobs, random_state=self.seed).fit(self.frames)


class Method(ABC):
    """A way to tell how far a prediction can be trusted."""

    name: str

    def missing(self) -> str | None:
        """Why it cannot take part, or None."""
        return None

    @abstractmethod
    def fit(self, training: Training) -> Judge:
        """Learn from frames; what is returned judges others."""


class Calibrated(Method):
    """gapkit's default: standard deviations calibrated on configurations left out, and flags of extrapolation."""

    name = "gapkit"
    std = "calibrated"

    def fit(self, training: Training) -> Judge:
        model = training.model

        def judge(frames: Frames) -> Judgement:
            p = model.predict(frames, return_std=True, std=self.std)
            signs = model.extrapolation(frames)
            assert p.energy_std is not None
            assert p.forces_std is not None
            largest = np.fmax(signs.of_atoms, signs.average[signs.frame_of_atom])
            return Judgement(
                p.energy, p.forces, p.energy_std, p.forces_std, of_atoms(p.forces_std), largest, signs.forces
            )

        return judge


class Epistemic(Calibrated):
    """gapkit's posterior as it is, with the same flags."""

    name = "gapkit, epistemic"
    std = "epistemic"


class Draws(Method):
    """The spread of draws from the posterior of gapkit's weights."""

    name = f"{DRAWS} draws"

    def fit(self, training: Training) -> Judge:
        return spread_of(training.model.sample(DRAWS, training.seed))


class Bootstrap(Method):
    """The spread of fits to configurations drawn with replacement, on gapkit's sparse points."""

    name = f"bootstrap of {RESAMPLED}"

    def fit(self, training: Training) -> Judge:
        return spread_of(bootstrap_committee(training.model, training.frames, RESAMPLED, training.seed))


def spread_of(committee: Committee[GAP]) -> Judge:
    """Mean and standard deviation over the members of a committee."""

    def judge(frames: Frames) -> Judgement:
        p = committee.predict(frames)
        return Judgement(p.energy_mean, p.forces_mean, p.energy_std, p.forces_std, of_atoms(p.forces_std))

    return judge


def of_atoms(forces_std: np.ndarray) -> np.ndarray:
    """One number (n_atoms,) for the three components."""
    return np.sqrt(np.mean(forces_std**2, axis=1))


def bare(frames: Frames) -> Frames:
    """Structures alone, for other programs."""
    return [Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc) for atoms in frames]
