"""Memory and time that a fit will take, said before it begins."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gapkit.exceptions import DataWarning
from gapkit.neighbours import build_neighbour_list
from gapkit.parallel import resolve_n_jobs
from gapkit.potential.term import TermPlan
from gapkit.potential.training.accumulator import ATOMS_PER_CHUNK, ROWS_AT_ONCE
from gapkit.structures import AtomsBatch
from gapkit.targets import TARGETS

# Operations per second and thread assumed: about 40e9 were measured for one product, less for a whole fit.
RATE = 2.5e10


@dataclass(frozen=True)
class FitEstimate:
    """What a fit will cost, within a factor of about two."""

    n_rows: int  # labelled energies, force components and virial components
    n_columns: int  # sparse points
    memory: float  # at the peak, bytes
    seconds: float
    least: float  # memory that remains with one thread and small parts of frames, bytes

    def __str__(self) -> str:
        return (
            f"{self.n_rows:,} rows, {self.n_columns:,} sparse points: about {self.seconds:,.0f} s "
            f"and {self.memory / 1e9:.2f} GB"
        )


def estimate_fit(batch: AtomsBatch, plans: Sequence[TermPlan], n_jobs: int | None) -> FitEstimate:
    """Count operations of the design rows and of the factors."""
    has = batch.all_labels.has
    n_kinds = sum(bool(mask.any()) for mask in has.values())
    n_rows = sum(TARGETS[kind].components * int(mask.sum()) for kind, mask in has.items())
    sample = batch.select(np.unique(np.linspace(0, batch.n_frames - 1, 10).astype(int)))
    edges = np.sort(build_neighbour_list(sample, max(plan.engine.reach for plan in plans)).distances)
    m = sum(plan.n_sparse for plan in plans)
    operations = 2.0 * n_rows * m**2 + 20.0 * m**3
    for plan in plans:
        engine, number = plan.engine, plan.n_sparse
        per_atom = float(np.searchsorted(edges, engine.reach)) / sample.n_atoms
        edges_of_atom = per_atom**engine.n_layers if engine.is_atomic else per_atom ** min(engine.n_features, 2)
        cost = 6.0 * engine.n_features if engine.is_atomic else 60.0
        operations += cost * batch.n_atoms * edges_of_atom * number / len(engine.blocks)
    seconds = operations / (RATE * resolve_n_jobs(n_jobs))
    largest_frame = int(batch.n_atoms_per_frame.max())
    square = 8.0 * m**2
    per_thread = 8.0 * m * (4.0 * ROWS_AT_ONCE + 12.0 * max(ATOMS_PER_CHUNK, largest_frame)) + n_kinds * square
    rows = resolve_n_jobs(n_jobs) * per_thread + square  # and the prior
    search = (SQUARES_PER_KIND * n_kinds + SQUARES) * square
    return FitEstimate(n_rows, m, PROGRAM + max(rows, search), seconds, PROGRAM + search)


# Bytes of the program itself.
PROGRAM = 0.3e9
# M x M matrices while evidence is evaluated: for each kind of label its triangle, the same whitened, and its Gram
# matrix; the prior, and what one evaluation needs.  Threads' triangles are gone by then.
SQUARES_PER_KIND, SQUARES = 3, 4


@dataclass(frozen=True)
class Resources:
    """Memory in GB (None: what is free), threads (None: all cores), and whether progress is shown."""

    memory_limit: float | None = None
    n_jobs: int | None = None
    progress: bool = False

    def memory_for_rows(self, n_columns: int) -> float | None:
        """Bytes for the rows and triangles of all threads; None: the system does not tell."""
        total = available_memory() if self.memory_limit is None else 1e9 * self.memory_limit - PROGRAM
        return None if total is None else max(total - 2 * 8.0 * n_columns**2, 0.0)


def announce(estimate: FitEstimate, resources: Resources) -> None:
    """Show what a fit will take, and warn where it is more memory than there is."""
    limit = resources.memory_limit
    if resources.progress:
        from tqdm.auto import tqdm

        tqdm.write(f"fit: {estimate}", file=sys.stderr)
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
