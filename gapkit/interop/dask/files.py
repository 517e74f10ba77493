"""Fits to frames, or to files that the workers read: this process holds summaries and a random part of their frames."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from distributed import Future

from gapkit.exceptions import DataError, InputError
from gapkit.interop.dask.connect import as_paths, submit
from gapkit.interop.dask.source import Cluster, ClusterSource
from gapkit.potential.metadata import training_digest
from gapkit.potential.training.reference_energies import ReferenceEnergies, reference_energies
from gapkit.potential.training.source import LocalSource, labelled_batch, require_labels
from gapkit.structures import AtomsBatch, DataReport, Fault, LabelKeys, concatenate, describe, read_frames, to_batch
from gapkit.structures.frame_labels import results_of
from gapkit.structures.report import ConfigTypeCount, Range
from gapkit.terms.known import KnownEnergy
from gapkit.typing import BoolArray, FloatArray, IntArray

# Up to so many atoms this process holds all frames, some 10 MB; of more, a random part with as many atoms.
ATOMS_HERE = 100_000
# Least frames of every species and configuration type among them.
AT_LEAST = 20


FrameFile = tuple[AtomsBatch, frozenset[str]]
"""Frames of a file read by a worker, and the labels under keys of the user's own that some of them has."""


@dataclass(frozen=True, eq=False)
class Summary:
    """Counts of a file: atoms (n_frames,), compositions (n_frames, n_species), energies (n_frames,) in eV."""

    sizes: IntArray
    species: tuple[int, ...]
    compositions: IntArray
    energy: FloatArray
    has_energy: BoolArray
    config_type: tuple[str, ...]
    labelled: bool
    found: frozenset[str]
    report: DataReport
    identity: dict[str, Any]

    def counts(self, species: Sequence[int]) -> IntArray:
        """Atoms of each species in each frame, (n_frames, n_species)."""
        columns = dict(zip(self.species, self.compositions.T, strict=True))
        zeros = np.zeros(len(self.sizes), np.int64)
        return np.array([columns.get(z, zeros) for z in species], np.int64).reshape(-1, len(zeros)).T


def read_file(path: str, keys: LabelKeys) -> FrameFile:
    """Read a file on a worker; errors name it."""
    frames = read_frames(path)
    try:
        batch = to_batch(frames, keys=keys, strict=False)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    present = {key for atoms in frames for key in (*atoms.info, *atoms.arrays, *results_of(atoms))}
    return batch, frozenset(name for name, key in keys.changed().items() if key in present)


def summarise(file: FrameFile) -> Summary:
    """Count what a file holds."""
    batch, found = file
    labels, identity = batch.all_labels, LocalSource(batch).identity() | {"sha256": training_digest(batch)}
    return Summary(
        batch.n_atoms_per_frame, batch.species, batch.compositions(batch.species), labels.energy, labels.has_energy,
        labels.config_type, any(has.any() for has in labels.has.values()), found, describe(batch), identity,
    )  # fmt: skip


def frames_of(file: FrameFile, frames: IntArray | None) -> AtomsBatch:
    """Some frames of a file; None: all."""
    return file[0] if frames is None else file[0].select(frames)


def energies_of_potentials(file: FrameFile, known: KnownEnergy) -> FloatArray:
    """Energies (n_frames,) in eV of the energy terms that have a zero of energy of their own."""
    return known.energies_of_potentials(file[0])


def open_files(cluster: Cluster, paths: Sequence[str], keys: LabelKeys) -> ClusterSource:
    """The source of a fit to files; an error where one cannot be read, or a key of the user's own is in none."""
    client = cluster.client
    files = [submit(client, read_file, path, keys) for path in paths]
    summaries: list[Summary] = client.gather([submit(client, summarise, file) for file in files])
    for name, key in keys.changed().items():
        if not any(name in one.found for one in summaries):
            raise InputError(f"`{name}` of LabelKeys must be a key of at least one frame, got {key!r}, found in none")
    require_labels(any(one.labelled for one in summaries))
    if sum(int(one.sizes.sum()) for one in summaries) <= ATOMS_HERE:
        batches = client.gather([submit(client, frames_of, file, None) for file in files])
        return ClusterSource(cluster, concatenate(batches))
    chosen = choose_frames(summaries, ATOMS_HERE)
    first = np.cumsum([0, *(len(one.sizes) for one in summaries)])
    some = [chosen[(chosen >= a) & (chosen < b)] - a for a, b in pairwise(first)]
    parts = [submit(client, frames_of, file, ours) for file, ours in zip(files, some, strict=True) if len(ours)]
    return ClusterFiles(cluster, concatenate(client.gather(parts)), files, summaries)


def choose_frames(summaries: Sequence[Summary], n_atoms: int) -> IntArray:
    """Random frames of about `n_atoms` atoms, and some of every species and configuration type; ascending."""
    sizes = np.concatenate([one.sizes for one in summaries])
    order = np.random.default_rng(0).permutation(len(sizes))
    place = np.argsort(order)
    chosen = place < int(np.searchsorted(np.cumsum(sizes[order]), n_atoms)) + 1
    totals = Totals.of(summaries)
    types = np.array([name for one in summaries for name in one.config_type])
    for members in (*totals.compositions(totals.species).T, *(types == name for name in np.unique(types))):
        frames = np.flatnonzero(members)
        chosen[frames[np.argsort(place[frames])[:AT_LEAST]]] = True
    return np.flatnonzero(chosen)


@dataclass(frozen=True)
class Totals:
    """Compositions and energies of all frames, which is what reference energies need of a batch."""

    summaries: Sequence[Summary]
    species: tuple[int, ...]
    n_frames: int
    labels: Any

    @classmethod
    def of(cls, summaries: Sequence[Summary]) -> Totals:
        """Of all files."""
        species = tuple(sorted({z for one in summaries for z in one.species}))
        energy, has = (np.concatenate([getattr(one, name) for one in summaries]) for name in ("energy", "has_energy"))
        return cls(summaries, species, len(energy), SimpleNamespace(energy=energy, has_energy=has))

    def compositions(self, species: Sequence[int]) -> IntArray:
        """Atoms of each species in each frame, (n_frames, n_species)."""
        return np.concatenate([one.counts(species) for one in self.summaries])


class ClusterFiles(ClusterSource):
    """Files on workers; `batch` is the part of the frames that this process holds."""

    def __init__(
        self, cluster: Cluster, batch: AtomsBatch, files: Sequence[Future], summaries: Sequence[Summary]
    ) -> None:
        super().__init__(cluster, batch)
        self._files, self._summaries = list(files), list(summaries)

    @property
    def n_atoms(self) -> int:
        return sum(int(one.sizes.sum()) for one in self._summaries)

    def describe(self) -> DataReport:
        return merge_reports([one.report for one in self._summaries])

    def reference_energies(self, given: ReferenceEnergies, report: DataReport, known: KnownEnergy) -> dict[int, float]:
        totals = cast(AtomsBatch, Totals.of(self._summaries))
        client = self.cluster.client
        taken = client.gather([submit(client, energies_of_potentials, file, known) for file in self._files])
        return reference_energies(totals, given, report.isolated_atoms, np.concatenate(taken))

    def training_set(self) -> dict[str, Any]:
        """Size of all files, and a digest of those of the files."""
        digest = hashlib.sha256("".join(one.identity["sha256"] for one in self._summaries).encode())
        n_frames = sum(len(one.sizes) for one in self._summaries)
        return {"sha256": digest.hexdigest(), "n_frames": n_frames, "n_atoms": self.n_atoms}

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"files": [one.identity for one in self._summaries]}

    def chunks(self, n_atoms: int) -> list[tuple[list[Any], list[range]]]:
        chunks: list[tuple[list[Any], list[range]]] = []
        held = n_atoms
        for file, one in zip(self._files, self._summaries, strict=True):
            start = 0
            while start < len(one.sizes):
                if held >= n_atoms:
                    chunks.append(([], []))
                    held = 0
                ends = np.cumsum(one.sizes[start:])
                stop = start + max(int(np.searchsorted(ends, n_atoms - held, side="right")), 1)
                chunks[-1][0].append(file)
                chunks[-1][1].append(range(start, stop))
                held += int(one.sizes[start:stop].sum())
                if stop < len(one.sizes):
                    held = n_atoms  # full
                start = stop
        return chunks


def merge_reports(reports: Sequence[DataReport]) -> DataReport:
    """Counts and ranges of all, frames numbered through; warnings are those of each file by itself.

    Warnings of a kind become one: the message is that of the first file that has it.
    """
    species: Counter[str] = Counter()
    types: dict[str, ConfigTypeCount] = {}
    unlabelled: tuple[int, ...] = ()
    isolated: dict[str, tuple[int, ...]] = {}
    faults: dict[str, Fault] = {}
    start = 0
    for report in reports:
        span = range(start, start + report.n_frames)
        species.update(report.species)
        for one in report.config_types:
            types[one.config_type] = _sum(types[one.config_type], one) if one.config_type in types else one
        unlabelled += tuple(span[frame] for frame in report.unlabelled)
        for symbol, frames in report.isolated_atoms.items():
            isolated[symbol] = (*isolated.get(symbol, ()), *(span[frame] for frame in frames))
        for fault in report.warnings:
            known = faults.get(fault.kind, replace(fault, frames=()))
            faults[fault.kind] = replace(known, frames=(*known.frames, *(span[frame] for frame in fault.frames)))
        start = span.stop

    def over(choose: Callable[[list[Any]], Any], name: str) -> Any:
        values = [value for report in reports if (value := getattr(report, name)) is not None]
        return choose(values) if values else None

    return DataReport(
        start, sum(report.n_atoms for report in reports), dict(sorted(species.items())), tuple(types.values()),
        unlabelled, isolated, energy_per_atom=over(_range, "energy_per_atom"), max_force=over(max, "max_force"),
        max_stress=over(max, "max_stress"), volume_per_atom=over(_range, "volume_per_atom"),
        nearest_distance=over(min, "nearest_distance"), warnings=tuple(faults.values()),
    )  # fmt: skip


def _sum(a: ConfigTypeCount, b: ConfigTypeCount) -> ConfigTypeCount:
    n_labels = {name: a.n_labels[name] + b.n_labels[name] for name in a.n_labels}
    return ConfigTypeCount(a.config_type, a.n_frames + b.n_frames, a.n_atoms + b.n_atoms, n_labels)


def _range(ranges: list[Range]) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


class DaskExecutor(Cluster):
    """Fits on the workers of a `client`, chunk by chunk of `atoms_per_chunk` atoms: what is lost with a worker."""

    def source(self, frames: Any, keys: LabelKeys) -> LocalSource:
        """A source of frames, or of files, whose rows are folded on the workers."""
        paths = as_paths(frames)
        return open_files(self, paths, keys) if paths else ClusterSource(self, labelled_batch(frames, keys))
