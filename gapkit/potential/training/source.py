"""Where a fit's labelled frames are and where their rows are folded: here, or with workers that a client leads to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from gapkit.exceptions import DataError, InputError
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.noise import Noise
from gapkit.potential.metadata import training_set
from gapkit.potential.model import SparseModel
from gapkit.potential.training.reference_energies import ReferenceEnergies, reference_energies
from gapkit.potential.training.rows import accumulate, make_targets
from gapkit.structures import AtomsBatch, DataReport, LabelKeys, describe

if TYPE_CHECKING:
    from gapkit.potential.training.checkpoint import Checkpoint

# Modules that make an executor of a client, by the package that the client's class is from.  They are found by name:
# this layer knows nothing of them.
PLUGINS = {"distributed": "gapkit.interop.dask"}


class LocalSource:
    """Frames and rows in this process; the base of sources that fold rows elsewhere.

    Attributes
    ----------
    batch : AtomsBatch
        All frames, or as many as stand for them where sparse points are chosen and errors are learnt.
    """

    def __init__(self, batch: AtomsBatch) -> None:
        self.batch = batch

    def describe(self) -> DataReport:
        """What all frames hold."""
        return describe(self.batch)

    def reference_energies(self, given: ReferenceEnergies, report: DataReport) -> dict[int, float]:
        """Energies of free atoms in eV by atomic number, from all frames."""
        return reference_energies(self.batch, given, report.isolated_atoms)

    def training_set(self) -> dict[str, Any]:
        """Digest and size of all frames."""
        return training_set(self.batch)

    def identity(self) -> dict[str, Any]:
        """What tells these frames and labels, with their sigmas, from others, and where they are folded."""
        digest = hashlib.sha256()
        if self.batch.labels is not None:
            for name in ("energy_sigma", "force_sigma", "virial_sigma"):
                digest.update(getattr(self.batch.labels, name).tobytes())
        return {"kind": type(self).__name__, "sigmas": digest.hexdigest(), **self.training_set()}

    def accumulate(
        self, model: SparseModel, noise: Noise, factors: dict[str, TriangularFactor], *, memory: float | None,
        n_jobs: int | None, progress: bool, checkpoint: Checkpoint | None = None,
    ) -> None:  # fmt: skip
        """Fold the rows of all frames into `factors`; arguments as for `training.accumulate`."""
        fold(model, self.batch, noise, factors, memory=memory, n_jobs=n_jobs, progress=progress, checkpoint=checkpoint)


@runtime_checkable
class Executor(Protocol):
    """What spreads a fit over other processes."""

    def source(self, frames: Any, labelled: Callable[[Any], AtomsBatch], keys: LabelKeys) -> LocalSource:
        """A source whose rows are folded by the executor.

        Parameters
        ----------
        frames : Atoms, list of Atoms, or list of paths
        labelled : callable
            Makes a batch of Atoms, and checks that there is a label.
        keys : LabelKeys
        """
        ...


def open_source(frames: Any, labelled: Callable[[Any], AtomsBatch], keys: LabelKeys | None, client: Any) -> LocalSource:
    """The source of a fit; `client` is None, an Executor, or a client of one of `PLUGINS`.

    Raises
    ------
    InputError
        If there is no executor for such a client.
    """
    if client is None:
        return LocalSource(labelled(frames))
    return executor_of(client).source(frames, labelled, keys or LabelKeys())


def executor_of(client: Any) -> Executor:
    """The executor that a client stands for."""
    if isinstance(client, Executor):
        return client
    for base in type(client).__mro__:
        plugin = PLUGINS.get(base.__module__.partition(".")[0])
        if plugin is not None:
            return cast(Executor, import_module(plugin).DaskExecutor(client))
    raise InputError(
        f"`client` must be a dask.distributed Client, an Executor or None, got {type(client).__name__}; connect with "
        "`distributed.Client(address)`"
    )


def fold(
    model: SparseModel, batch: AtomsBatch, noise: Noise, factors: dict[str, TriangularFactor], *,
    memory: float | None = None, n_jobs: int | None = None, progress: bool = False,
    checkpoint: Checkpoint | None = None,
) -> None:  # fmt: skip
    """Rows of a labelled batch into `factors`; arguments as for `training.accumulate`."""
    assert batch.labels is not None
    targets = make_targets(batch, batch.labels, *model.offsets(batch), noise)
    accumulate(
        model.basis, batch, targets, factors, memory=memory, n_jobs=n_jobs, progress=progress, checkpoint=checkpoint
    )


def require_labels(found: bool) -> None:
    """Raise DataError where no training frame has any label."""
    if not found:
        raise DataError(
            "training frames must have energies or forces, found no label at all; check the names of the keys "
            "(`label_keys`, on the command line --energy-key and --forces-key)"
        )
