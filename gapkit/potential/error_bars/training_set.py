"""What of the training set is remembered, to tell how far other structures are from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit.gp.chunks import frame_chunks
from gapkit.gp.instances import AppliedBasis, local_vectors
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.error_bars.extrapolation import closest_pairs
from gapkit.potential.state import FittedState
from gapkit.potential.training.sparse_points import ATOMS_PER_WAVE
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.averages import FrameAverages

# Atoms that stand for the training set where distances to it are measured, and numbers in the averages of its frames.
ATOMS_REMEMBERED = 10_000
NUMBERS_OF_AVERAGES = 20_000_000


@dataclass(frozen=True, eq=False)
class Remembered:
    """Neighbourhoods, averages and closest pairs of the training set."""

    # by species: frames (n,), atoms within them (n,) and vectors (n, d) of random frames
    vectors: dict[int, tuple[IntArray, IntArray, FloatArray]]
    pairs: dict[tuple[int, int], float]  # smallest distance in Å
    frames: IntArray  # (f,), those with averages: all, unless there are very many
    averages: FrameAverages | None  # of `frames`; None without an atomic term

    @classmethod
    def of(cls, state: FittedState, batch: AtomsBatch, rng: np.random.Generator) -> Remembered:
        """One pass over the training set."""
        first = next((term for term in state.sparse.basis.terms if term.engine.is_atomic), None)
        n_numbers = sum(block.scaled.shape[1] for block in first.blocks) if first is not None else 1
        order = rng.permutation(batch.n_frames)
        with_vectors = order[: 1 + np.searchsorted(np.cumsum(batch.n_atoms_per_frame[order]), ATOMS_REMEMBERED)]
        frames = np.sort(order[: max(NUMBERS_OF_AVERAGES // n_numbers, 1)])
        vectors: dict[int, list[tuple[IntArray, IntArray, FloatArray]]] = {}
        pairs: dict[tuple[int, int], float] = {}
        averages = []
        for span in frame_chunks(batch, ATOMS_PER_WAVE):
            part = batch.select(np.arange(span.start, span.stop))
            neighbours = build_neighbour_list(part, state.reach)
            for pair, distance in closest_pairs(part, neighbours).items():
                pairs[pair] = min(distance, pairs.get(pair, np.inf))
            found = local_vectors(AppliedBasis.of(state.sparse.basis, part, neighbours))
            own_frames = np.flatnonzero(np.isin(np.arange(span.start, span.stop), frames))
            averages.append(FrameAverages.of(found, part.frame_of_atom, part.n_frames).take(own_frames))
            chosen = np.isin(span.start + part.frame_of_atom, with_vectors)
            for z, (atoms, x) in found.items():
                own = atoms[chosen[atoms]]
                of_frame = part.frame_of_atom[own]
                vectors.setdefault(z, []).append(
                    (span.start + of_frame, own - part.offsets[of_frame], x[chosen[atoms]])
                )  # fmt: skip
        joined = {z: tuple(map(np.concatenate, zip(*parts, strict=True))) for z, parts in vectors.items()}
        kept = FrameAverages.join(averages) if joined else None
        return cls({z: (a, b, c) for z, (a, b, c) in joined.items() if len(c)}, pairs, frames, kept)
