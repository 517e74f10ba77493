"""Fits on the workers of a Dask client."""

from __future__ import annotations

from typing import Any

from distributed import Client

from gapkit.interop.dask.connect import as_paths
from gapkit.interop.dask.files import open_files
from gapkit.interop.dask.source import Cluster, ClusterSource
from gapkit.potential.training.labels import labelled_batch
from gapkit.potential.training.source import LocalSource
from gapkit.structures import LabelKeys


class DaskExecutor:
    """Fits on the workers of a client.

    Parameters
    ----------
    client : distributed.Client
    atoms_per_chunk : int or None
        What is lost with a worker, and one task; None: from the sizes of data and model.
    """

    def __init__(self, client: Client, *, atoms_per_chunk: int | None = None) -> None:
        self.client = client
        self.atoms_per_chunk = atoms_per_chunk

    def source(self, frames: Any, keys: LabelKeys) -> LocalSource:
        """A source of frames, or of files, whose rows are folded on the workers."""
        cluster = Cluster(self.client, self.atoms_per_chunk)
        paths = as_paths(frames)
        if paths is None:
            return ClusterSource(cluster, labelled_batch(frames, keys))
        return open_files(cluster, paths, keys)
