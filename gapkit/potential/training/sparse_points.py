"""Choice of the sparse points of all terms from the training environments."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from gapkit.descriptors.base import Block, Engine
from gapkit.descriptors.soap.descriptor import SOAPEngine
from gapkit.descriptors.soap.truncation import truncate
from gapkit.exceptions import DataError, DataWarning, InputError
from gapkit.gp.chunks import frame_chunks
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.term import Term
from gapkit.sparse import Selection, allocate, distinct_rows
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray, IntArray

# Atoms whose neighbour lists are held together.
ATOMS_PER_WAVE = 4000
# Candidates of one block: what a selector can handle in seconds, and their memory in numbers.
MAX_CANDIDATES = 20_000
MAX_NUMBERS = 60_000_000
# Distance, relative to the longest vector, below which two sparse points are one.
DUPLICATES = 1e-8


# Atoms whose vectors say what may be left out of them.
ATOMS_FOR_TRUNCATION = 3000


def truncated(term: Term, engine: Engine, batch: AtomsBatch, tolerance: float) -> Engine:
    """The engine without the features that a sample of the training set does not show; points given keep all."""
    given = getattr(term.resolved_selector(), "points", None) is not None
    if tolerance <= 0.0 or given or not isinstance(engine, SOAPEngine) or len(engine.tables.mixing):
        return engine
    parts = []
    every = max(1, batch.n_atoms // ATOMS_FOR_TRUNCATION)
    for frames in frame_chunks(batch, ATOMS_PER_WAVE):
        part = batch.select(np.arange(frames.start, frames.stop))
        view = engine.view(part.numbers, build_neighbour_list(part, engine.reach))
        for block in engine.blocks:
            centres = view.centres(block)
            # some of every species in every wave: what only the rare ones show matters as well
            centres = centres[:: min(every, max(1, len(centres) // 20))]
            if len(centres):
                parts.append((block, view.coefficients(block, centres)))
    return truncate(engine, parts, tolerance)


@dataclass(frozen=True, eq=False)
class Points:
    """Descriptor vectors of one block.

    Attributes
    ----------
    x : ndarray (n, d)
    frames : ndarray (n,) of int
        The frame of the training set that each is from; -1: of none.
    """

    x: FloatArray
    frames: IntArray

    @classmethod
    def join(cls, parts: Sequence[Points]) -> Points:
        """One after another."""
        return cls(np.concatenate([part.x for part in parts]), np.concatenate([part.frames for part in parts]))

    def take(self, rows: IntArray) -> Points:
        """Some of them."""
        return Points(self.x[rows], self.frames[rows])


def candidates(
    engine: Engine, batch: AtomsBatch, rng: np.random.Generator
) -> tuple[dict[Block, Points], dict[Block, int]]:
    """A random part of the instances, and how many instances there are, by block."""
    limit = max(100, min(MAX_CANDIDATES, MAX_NUMBERS // engine.n_features))
    kept: dict[Block, list[Points]] = {block: [] for block in engine.blocks}
    counts = dict.fromkeys(engine.blocks, 0)
    per_wave = limit * ATOMS_PER_WAVE / max(batch.n_atoms, ATOMS_PER_WAVE)
    for frames in frame_chunks(batch, ATOMS_PER_WAVE):
        part = batch.select(np.arange(frames.start, frames.stop))
        view = engine.view(part.numbers, build_neighbour_list(part, engine.reach))
        for block in engine.blocks:
            centres = view.centres(block)
            if len(centres) == 0:
                continue
            found = []
            chosen = _thin(centres, int(np.ceil(per_wave)), rng) if engine.is_atomic else centres
            for start in range(0, len(chosen), view.centres_per_chunk):
                features = view.features(block, chosen[start : start + view.centres_per_chunk])
                counts[block] += len(features.x)
                points = Points(features.x, frames.start + part.frame_of_atom[features.centres])
                found.append(points if engine.is_atomic else points.take(_thin(np.arange(len(points.x)), 2000, rng)))
            if engine.is_atomic:
                counts[block] += len(centres) - len(chosen)
            points = Points.join(found)
            kept[block].append(points.take(_thin(np.arange(len(points.x)), int(np.ceil(per_wave)), rng)))
    joined = {block: Points.join(parts) for block, parts in kept.items() if sum(len(part.x) for part in parts)}
    return joined, {block: counts[block] for block in joined}


def _thin(items: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return items if len(items) <= n else np.sort(rng.choice(items, n, replace=False))


def _parts(term: Term, number: int, batch: AtomsBatch) -> list[tuple[IntArray, int]]:
    """Frames of the configuration types that have a quota of their own, and all other frames with the rest."""
    quotas = term.n_sparse_per_config_type or {}
    if not quotas:
        return [(np.arange(batch.n_frames), number)]
    types = np.array(["default"] * batch.n_frames if batch.labels is None else batch.labels.config_type)
    unknown = [name for name in quotas if name not in types]
    if unknown:
        known = ", ".join(dict.fromkeys(types.tolist()))
        raise InputError(f"`n_sparse_per_config_type` names {unknown[0]!r}, expected one of {known}")
    parts = [(np.flatnonzero(types == name), quota) for name, quota in quotas.items()]
    rest = np.flatnonzero(~np.isin(types, list(quotas)))
    if len(rest) and number > sum(quotas.values()):
        parts.append((rest, number - sum(quotas.values())))
    return parts


def _of_part(
    term: Term, engine: Engine, number: int, given: bool, batch: AtomsBatch, rng: np.random.Generator
) -> dict[Block, Points]:
    """Sparse points of one term from the environments of `batch`."""
    found, counts = candidates(engine, batch, rng)
    total = sum(counts.values())
    if given and number > total:
        raise InputError(
            f"`n_sparse` = {number} of the {type(term.descriptor).__name__} term exceeds the {total} environments "
            "of the training set; ask for at most that many, or for none to let gapkit choose"
        )
    available = {block: len(points.x) for block, points in found.items()}
    quotas = None
    if isinstance(term.n_sparse, Mapping):
        names = {"-".join(chemical_symbols[z] for z in block): block for block in found}
        unknown = [name for name in term.n_sparse if name not in names]
        if unknown:
            raise InputError(f"`n_sparse` names {unknown[0]!r}, expected one of {', '.join(names)}")
        quotas = {names[name]: n for name, n in term.n_sparse.items()}
    share = allocate(available, number, quotas)
    selector = term.resolved_selector()
    with warnings.catch_warnings():
        if not given:  # the number was ours: that some environments are alike needs no warning
            warnings.simplefilter("ignore", DataWarning)
        return {
            block: _internal(engine, points, selector.select(points.x, share[block], rng=rng))
            for block, points in found.items()
            if share[block] > 0
        }


def _internal(engine: Engine, candidates: Points, selection: Selection) -> Points:
    """Points in the order that kernels use; those that are no rows of candidates are given in the public order."""
    points = selection.points.copy()
    given = selection.indices < 0
    if given.any():
        points[np.ix_(given, engine.public_order)] = selection.points[given]
    return Points(points, np.where(given, -1, candidates.frames[selection.indices]))


def select_points(
    terms: Sequence[Term],
    engines: Sequence[Engine],
    n_sparse: Sequence[int],
    batch: AtomsBatch,
    rng: np.random.Generator,
    *,
    explicit: Sequence[bool],
) -> list[list[tuple[Block, Points]]]:
    """Sparse points of every term and block.

    Parameters
    ----------
    n_sparse : sequence of int
        For each term, over all its blocks.
    explicit : sequence of bool
        Whether the user gave the number: then it must not exceed the number of environments.

    Raises
    ------
    InputError
        If more points are asked for than there are environments.
    DataError
        If no frame has an instance of any term.
    """
    points: list[list[tuple[Block, Points]]] = []
    for term, engine, number, given in zip(terms, engines, n_sparse, explicit, strict=True):
        chosen: dict[Block, list[Points]] = {}
        for frames, share in _parts(term, number, batch):
            for block, part in _of_part(term, engine, share, given, batch.select(frames), rng).items():
                origin = np.where(part.frames < 0, -1, frames[part.frames])
                chosen.setdefault(block, []).append(Points(part.x, origin))
        joined = {block: Points.join(parts) for block, parts in chosen.items()}
        points.append([(block, part.take(distinct_rows(part.x, DUPLICATES))) for block, part in joined.items()])
    if not any(points):
        raise DataError(
            "no atom of the training set has a neighbour within the cutoffs; give larger cutoffs or denser frames"
        )
    return points
