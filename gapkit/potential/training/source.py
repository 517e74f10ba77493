"""Where a fit's labelled frames are and where their rows are folded: here, or with workers that a client leads to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, cast, runtime_checkable

from ase import Atoms

from gapkit.exceptions import DataError, InputError
from gapkit.gp.factors import TriangularFactor
from gapkit.potential.metadata import training_set
from gapkit.potential.training.checkpoint import Checkpoint
from gapkit.potential.training.estimate import Resources
from gapkit.potential.training.reference_energies import ReferenceEnergies, reference_energies
from gapkit.potential.training.rows import RowMaker
from gapkit.structures import AtomsBatch, DataReport, LabelKeys, describe, to_batch
from gapkit.structures.checks.unread import unread_hint
from gapkit.terms.known import KnownEnergy

# Modules that make an executor of a client, by the package that the client's class is from.  They are found by name:
# this layer knows nothing of them.
PLUGINS = {"distributed": "gapkit.interop.dask"}


def labelled_batch(frames: Atoms | Sequence[Atoms], keys: LabelKeys | None) -> AtomsBatch:
    """A batch of frames of which at least one has a label; DataError if none has."""
    batch = to_batch(frames, keys=keys or LabelKeys())
    require_labels(any(has.any() for has in batch.all_labels.has.values()), unread_hint(batch))
    return batch


def require_labels(found: bool, hint: str = "") -> None:
    """Raise DataError where no training frame has any label; the message ends with the hint."""
    if not found:
        raise DataError(
            "training frames must have energies or forces, found no label at all; check the names of the keys "
            f"(`label_keys`, on the command line --energy-key and --forces-key){hint}"
        )


class LocalSource:
    """Frames and rows in this process; the base of sources that fold rows elsewhere."""

    def __init__(self, batch: AtomsBatch) -> None:
        self.batch = batch  # all frames, or a part for the choice of sparse points and for error bars

    def describe(self) -> DataReport:
        """What all frames hold."""
        return describe(self.batch)

    def reference_energies(self, given: ReferenceEnergies, report: DataReport, known: KnownEnergy) -> dict[int, float]:
        """Energies of free atoms in eV by atomic number, from all frames."""
        taken = known.energies_of_potentials(self.batch)
        return reference_energies(self.batch, given, report.isolated_atoms, taken)

    def training_set(self) -> dict[str, Any]:
        """Digest and size of all frames."""
        return training_set(self.batch)

    def identity(self) -> dict[str, Any]:
        """What tells these frames and labels, with their sigmas, from others, and where they are folded."""
        digest = hashlib.sha256()
        for name in ("energy_sigma", "force_sigma", "virial_sigma") if self.batch.labels is not None else ():
            digest.update(getattr(self.batch.labels, name).tobytes())
        return {"kind": type(self).__name__, "sigmas": digest.hexdigest(), **self.training_set()}

    def accumulate(
        self, maker: RowMaker, factors: dict[str, TriangularFactor], resources: Resources, checkpoint: Checkpoint | None
    ) -> None:
        """Fold the rows of all frames into `factors`."""
        maker.fold(self.batch, factors, resources, checkpoint=checkpoint)


@runtime_checkable
class Executor(Protocol):
    """What spreads a fit over other processes."""

    def source(self, frames: Any, keys: LabelKeys) -> LocalSource:
        """A source of Atoms, or of paths, whose rows are folded by the executor."""
        ...


def open_source(frames: Any, keys: LabelKeys | None, client: Any) -> LocalSource:
    """The source of a fit; `client` is None, an Executor, or a client of one of `PLUGINS`."""
    if client is None:
        return LocalSource(labelled_batch(frames, keys))
    executor: Any = client if isinstance(client, Executor) else None
    for base in type(client).__mro__ if executor is None else ():
        plugin = PLUGINS.get(base.__module__.partition(".")[0])
        executor = executor or (plugin and import_module(plugin).DaskExecutor(client))
    if executor is not None:
        return cast(LocalSource, executor.source(frames, keys or LabelKeys()))
    raise InputError(
        f"`client` must be a dask.distributed Client, an Executor or None, got {type(client).__name__}; connect with "
        "`distributed.Client(address)`"
    )
