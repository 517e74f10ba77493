"""Choice of the sparse points of all terms from the training environments."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase.data import chemical_symbols

from gapkit.descriptors.base import Block, Engine, View
from gapkit.exceptions import DataError, DataWarning, InputError
from gapkit.gp.chunks import frame_chunks
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.term import TermPlan
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
# Atoms to which an engine is adapted, and the fewest of every species in a wave.
ATOMS_OF_SAMPLE, MIN_OF_SPECIES = 3000, 20


@dataclass(frozen=True, eq=False)
class Environments:
    """Descriptor vectors x (n, d) of one block, and where in the training set (n,) each is from; -1: of none."""

    x: FloatArray
    frames: IntArray
    atoms: IntArray  # central atom, in its frame

    @classmethod
    def join(cls, several: Sequence[Environments]) -> Environments:
        """One after another."""
        columns = zip(*((each.x, each.frames, each.atoms) for each in several), strict=True)
        return cls(*map(np.concatenate, columns))

    def take(self, rows: IntArray) -> Environments:
        """Some of them."""
        return Environments(self.x[rows], self.frames[rows], self.atoms[rows])

    def selected(self, selection: Selection) -> Environments:
        """The points of a selection; those that are no rows come from nowhere."""
        given = selection.indices < 0
        frames, atoms = (np.where(given, -1, origin[selection.indices]) for origin in (self.frames, self.atoms))
        return Environments(selection.points, frames, atoms)


def _waves(engine: Engine, batch: AtomsBatch) -> Iterator[tuple[range, AtomsBatch, View]]:
    """Frames of the batch, a few thousand atoms at a time, with their view."""
    for frames in frame_chunks(batch, ATOMS_PER_WAVE):
        wave = batch.select(np.arange(frames.start, frames.stop))
        yield frames, wave, engine.view(wave.numbers, build_neighbour_list(wave, engine.reach))


def adapted(plan: TermPlan, batch: AtomsBatch, tolerance: float) -> TermPlan:
    """The plan with its engine adapted to a sample of the training set; points given by the user keep it as it is."""
    engine = plan.engine
    if getattr(plan.term.resolved_selector(), "points", None) is not None:
        return plan

    def sample() -> Iterator[tuple[Block, View, IntArray]]:
        every = max(1, batch.n_atoms // ATOMS_OF_SAMPLE)
        for _, _, view in _waves(engine, batch):
            for block in engine.blocks:
                centres = view.centres(block)
                centres = centres[:: min(every, max(1, len(centres) // MIN_OF_SPECIES))]
                if len(centres):
                    yield block, view, centres

    return replace(plan, engine=engine.adapted(sample(), tolerance))


def sample_environments(
    engine: Engine, batch: AtomsBatch, rng: np.random.Generator
) -> tuple[dict[Block, Environments], dict[Block, int]]:
    """A random part of the instances, and how many instances there are, by block."""
    limit = max(100, min(MAX_CANDIDATES, MAX_NUMBERS // engine.n_features))
    kept: dict[Block, list[Environments]] = {block: [] for block in engine.blocks}
    counts = dict.fromkeys(engine.blocks, 0)
    per_wave = int(np.ceil(limit * ATOMS_PER_WAVE / max(batch.n_atoms, ATOMS_PER_WAVE)))
    for frames, wave, view in _waves(engine, batch):
        for block in engine.blocks:
            centres = view.centres(block)
            if len(centres) == 0:
                continue
            found = []
            chosen = _thin(centres, per_wave, rng) if engine.is_atomic else centres
            for start in range(0, len(chosen), view.centres_per_chunk):
                features = view.features(block, chosen[start : start + view.centres_per_chunk])
                counts[block] += len(features.x)
                of_frame = wave.frame_of_atom[features.centres]
                part = Environments(features.x, frames.start + of_frame, features.centres - wave.offsets[of_frame])
                found.append(part if engine.is_atomic else part.take(_thin(np.arange(len(part.x)), 2000, rng)))
            if engine.is_atomic:
                counts[block] += len(centres) - len(chosen)
            joined = Environments.join(found)
            kept[block].append(joined.take(_thin(np.arange(len(joined.x)), per_wave, rng)))
    sampled = {block: Environments.join(parts) for block, parts in kept.items() if sum(len(part.x) for part in parts)}
    return sampled, {block: counts[block] for block in sampled}


def _thin(items: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return items if len(items) <= n else np.sort(rng.choice(items, n, replace=False))


def _by_config_type(plan: TermPlan, batch: AtomsBatch) -> list[tuple[IntArray, int]]:
    """Frames of the configuration types that have a quota of their own, and all other frames with the rest."""
    quotas = plan.term.n_sparse_per_config_type or {}
    if not quotas:
        return [(np.arange(batch.n_frames), plan.n_sparse)]
    types = np.array(["default"] * batch.n_frames if batch.labels is None else batch.labels.config_type)
    unknown = [name for name in quotas if name not in types]
    if unknown:
        known = ", ".join(dict.fromkeys(types.tolist()))
        raise InputError(f"`n_sparse_per_config_type` names {unknown[0]!r}, expected one of {known}")
    shares = [(np.flatnonzero(types == name), quota) for name, quota in quotas.items()]
    rest = np.flatnonzero(~np.isin(types, list(quotas)))
    if len(rest) and plan.n_sparse > sum(quotas.values()):
        shares.append((rest, plan.n_sparse - sum(quotas.values())))
    return shares


def _select(plan: TermPlan, n: int, batch: AtomsBatch, rng: np.random.Generator) -> dict[Block, Environments]:
    """About `n` sparse points of one term from the environments of `batch`."""
    term, engine = plan.term, plan.engine
    found, counts = sample_environments(engine, batch, rng)
    total = sum(counts.values())
    if plan.is_given and n > total > 0:
        name = type(term.descriptor).__name__
        message = f"`n_sparse` = {n} of the {name} term exceeds the {total} environments of the training set; {total}"
        warnings.warn(f"{message} are taken", DataWarning, stacklevel=2)
        n = total
    quotas = None
    if isinstance(term.n_sparse, Mapping):
        names = {"-".join(chemical_symbols[z] for z in block): block for block in found}
        unknown = [name for name in term.n_sparse if name not in names]
        if unknown:
            raise InputError(f"`n_sparse` names {unknown[0]!r}, expected one of {', '.join(names)}")
        quotas = {names[name]: quota for name, quota in term.n_sparse.items()}
    share = allocate({block: len(each.x) for block, each in found.items()}, n, quotas)
    selector = term.resolved_selector()
    with warnings.catch_warnings():
        if not plan.is_given:  # the number was ours: that some environments are alike needs no warning
            warnings.simplefilter("ignore", DataWarning)
        return {
            block: _in_kernel_order(engine, each, selector.select(each.x, share[block], rng=rng))
            for block, each in found.items()
            if share[block] > 0
        }


def _in_kernel_order(engine: Engine, found: Environments, selection: Selection) -> Environments:
    """Selected points; those that are no rows of `found` are given in the public order."""
    points = selection.points.copy()
    given = selection.indices < 0
    if given.any():
        points[np.ix_(given, engine.public_order)] = selection.points[given]
    return replace(found.selected(selection), x=points)


def select_points(
    plans: Sequence[TermPlan], batch: AtomsBatch, rng: np.random.Generator
) -> list[list[tuple[Block, Environments]]]:
    """Sparse points of every term and block."""
    points: list[list[tuple[Block, Environments]]] = []
    for plan in plans:
        chosen: dict[Block, list[Environments]] = {}
        for frames, n in _by_config_type(plan, batch):
            for block, part in _select(plan, n, batch.select(frames), rng).items():
                origin = np.where(part.frames < 0, -1, frames[part.frames])
                chosen.setdefault(block, []).append(replace(part, frames=origin))
        joined = {block: Environments.join(parts) for block, parts in chosen.items()}
        points.append([(block, each.take(distinct_rows(each.x, DUPLICATES))) for block, each in joined.items()])
    if not any(points):
        raise DataError(
            "no atom of the training set has a neighbour within the cutoffs; give larger cutoffs or denser frames"
        )
    return points
