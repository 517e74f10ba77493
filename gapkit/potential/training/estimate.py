"""Memory and time that a fit will take, said before it begins."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gapkit.descriptors.base import Engine
from gapkit.exceptions import DataWarning
from gapkit.neighbours import build_neighbour_list
from gapkit.parallel import resolve_n_jobs
from gapkit.potential.term import TermPlan
from gapkit.potential.training.accumulator import ATOMS_PER_CHUNK, ROWS_AT_ONCE
from gapkit.progress import Stages, write_line
from gapkit.structures import AtomsBatch
from gapkit.targets import TARGETS

# Operations per second and thread assumed: about 40e9 were measured for one product, less for a whole fit.
RATE = 2.5e10
# Evaluations of the evidence in a search, and passes over all environments in the choice of points, as seen.
EVALUATIONS, PASSES = 35, 0.03
# Sparse points up to which the search has a second start: beyond, a single evaluation takes most of a second.
SEVERAL_STARTS_UP_TO = 1200
# Part of a fit's time that calibration takes, and may take where few configurations are left out; and operations, about
# a second, that are always allowed to these few.
SHARE_OF_CALIBRATION, LARGEST_SHARE, FREE = 0.14, 0.16, 2.5e10


@dataclass(frozen=True)
class FitCosts:
    """Operations of the stages of a fit, from counts alone: what follows from them is the same in every run."""

    n_frames: int
    n_atoms: int
    n_rows: int  # labelled energies, force components and virial components
    n_kinds: int
    n_columns: int  # sparse points
    making: float  # operations of the design rows of all frames
    n_more: int = 0  # triangles besides one for each kind, of configuration types whose noise is found

    @classmethod
    def of(cls, batch: AtomsBatch, of_terms: Sequence[tuple[Engine, int]], n_more: int = 0) -> FitCosts:
        """Costs of a fit to a batch with engines and numbers of sparse points, and further triangles."""
        has = batch.all_labels.has
        sample = batch.select(np.unique(np.linspace(0, batch.n_frames - 1, 10).astype(int)))
        reach = max(engine.reach for engine, _ in of_terms)
        edges = np.sort(build_neighbour_list(sample, reach).distances)
        making = 0.0
        for engine, number in of_terms:
            per_atom = float(np.searchsorted(edges, engine.reach)) / sample.n_atoms
            edges_of_atom = per_atom**engine.n_layers if engine.is_atomic else per_atom ** min(engine.n_features, 2)
            cost = 3.0 * engine.n_features if engine.is_atomic else 30.0
            making += cost * batch.n_atoms * edges_of_atom * (number / len(engine.blocks) + POINTS_OF_DERIVATIVES)
        n_rows = sum(TARGETS[kind].components * int(mask.sum()) for kind, mask in has.items())
        n_kinds, m = sum(bool(mask.any()) for mask in has.values()), sum(number for _, number in of_terms)
        return cls(batch.n_frames, batch.n_atoms, n_rows, n_kinds, m, making, n_more)

    @property
    def stages(self) -> dict[str, float]:
        """Operations of every stage but the calibration."""
        m = float(self.n_columns)
        n_starts = 1 if m > SEVERAL_STARTS_UP_TO else 2
        return {
            "select": PASSES * self.making + SELECTING * self.n_atoms * m,
            "rows": self.making + 2.0 * self.n_rows * m**2,
            "evidence": (EVALUATIONS * (n_starts + (self.n_more > 0)) + self.n_kinds + self.n_more)
            * (m**3 + EVALUATION * (1 + self.n_more) * m**2),
            "solve": 0.7 * (self.n_kinds + self.n_more) * m**3,
        }

    def of_calibration(self, n_atoms: float) -> float:
        """Operations of leaving out configurations of so many atoms together, one at a time."""
        m, part = float(self.n_columns), n_atoms / self.n_atoms
        of_frame = (self.n_rows + m) / self.n_frames  # rows and points of a configuration
        solves = 2.0 * m**2 * (self.n_rows + self.n_atoms + m)
        return part * (self.making + solves + 4.0 * m * self.n_rows * of_frame) + PASSES * self.making + STARTING

    def atoms_to_leave_out(self, most: int, share: float = SHARE_OF_CALIBRATION, free: float = 0.0) -> int:
        """Atoms, at most so many, of the configurations that can be left out in this part of the fit's time.

        So many operations, `free`, are allowed anyway.
        """
        allowed = max(share / (1.0 - share) * sum(self.stages.values()), free)
        fixed = self.of_calibration(0.0)
        each = (self.of_calibration(float(self.n_atoms)) - fixed) / self.n_atoms
        return int(np.clip((allowed - fixed) / each, 1, most))


# Sparse points whose products take as long as the derivatives of the descriptor, and operations of the choice of points
# for each atom and point, and of an evaluation of the evidence beyond its factorisations.
POINTS_OF_DERIVATIVES = 100.0
SELECTING, EVALUATION = 2000.0, 100.0
# Operations of a calibration however few are left out.
STARTING = 2.5e9


@dataclass(frozen=True, repr=False)
class FitEstimate:
    """What a fit will cost, within a factor of about two."""

    n_rows: int  # labelled energies, force components and virial components
    n_columns: int  # sparse points
    memory: float  # at the peak, bytes
    seconds: float
    least: float  # memory that remains with one thread and small parts of frames, bytes
    stages: dict[str, float]  # seconds of each stage; their sum is `seconds`

    def __repr__(self) -> str:
        stages = ", ".join(f"{name} {seconds:,.{int(seconds < 10)}f}" for name, seconds in self.stages.items())
        return (
            f"{self.n_rows:,} rows, {self.n_columns:,} sparse points: about {self.seconds:,.0f} s ({stages}) "
            f"and {self.memory / 1e9:.2f} GB"
        )


def estimate_fit(
    batch: AtomsBatch, plans: Sequence[TermPlan], n_jobs: int | None, *, most_left_out: int = 0, n_more: int = 0
) -> FitEstimate:
    """Count operations of every stage; calibration leaves out configurations of up to `most_left_out` atoms.

    `n_more` triangles besides one for each kind are of configuration types whose noise is found.
    """
    costs = FitCosts.of(batch, [(plan.engine, plan.n_sparse) for plan in plans], n_more)
    operations = costs.stages
    if most_left_out:
        operations["calibrate"] = costs.of_calibration(costs.atoms_to_leave_out(min(most_left_out, batch.n_atoms)))
    stages = {name: number / (RATE * resolve_n_jobs(n_jobs)) for name, number in operations.items()}
    m, n_kinds = costs.n_columns, costs.n_kinds + n_more
    largest_frame = int(batch.n_atoms_per_frame.max())
    square = 8.0 * m**2
    per_thread = 8.0 * m * (4.0 * ROWS_AT_ONCE + 12.0 * max(ATOMS_PER_CHUNK, largest_frame)) + n_kinds * square
    rows = resolve_n_jobs(n_jobs) * per_thread + square  # and the prior
    search = (SQUARES_PER_KIND * n_kinds + SQUARES) * square
    return FitEstimate(costs.n_rows, m, PROGRAM + max(rows, search), sum(stages.values()), PROGRAM + search, stages)


# Bytes of the program itself.
PROGRAM = 0.3e9
# M x M matrices while evidence is evaluated: for each kind of label its triangle, the same whitened, and its Gram
# matrix; the prior, and what one evaluation needs.  Threads' triangles are gone by then.
SQUARES_PER_KIND, SQUARES = 3, 4


@dataclass(frozen=True)
class Resources:
    """Memory in GB (None: what is free), threads (None: all cores), and where progress is told."""

    memory_limit: float | None = None
    n_jobs: int | None = None
    progress: bool = False
    stages: Stages = field(default_factory=Stages)

    def memory_for_rows(self, n_columns: int) -> float | None:
        """Bytes for the rows and triangles of all threads; None: the system does not tell."""
        total = available_memory() if self.memory_limit is None else 1e9 * self.memory_limit - PROGRAM
        return None if total is None else max(total - 2 * 8.0 * n_columns**2, 0.0)


def announce(estimate: FitEstimate, resources: Resources) -> None:
    """Show what a fit will take, and warn where it is more memory than there is."""
    limit = resources.memory_limit
    if resources.progress:
        write_line(f"fit: {estimate}")
    available = available_memory() if limit is None else 1e9 * limit
    if available is not None and estimate.least > available:
        message = (
            f"a fit with {estimate.n_columns:,} sparse points needs at least {estimate.least / 1e9:.1f} GB, and "
            f"{available / 1e9:.1f} GB are {'free' if limit is None else 'allowed by `memory_limit`'}; "
            "lower `n_sparse` if it does not fit"
        )
        warnings.warn(message, DataWarning, stacklevel=4)


def available_memory() -> float | None:
    """Bytes of memory that are free, where the system tells."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return None
