"""Fits on the workers of a Dask client."""

from __future__ import annotations

from typing import Any

from gapkit.interop.dask.connect import as_paths
from gapkit.interop.dask.files import open_files
from gapkit.interop.dask.source import Cluster, ClusterSource
from gapkit.potential.training.source import LocalSource, labelled_batch
from gapkit.structures import LabelKeys


class DaskExecutor(Cluster):
    """Fits on the workers of a client.

    Parameters
    ----------
    client : distributed.Client
    atoms_per_chunk : int or None
        What is lost with a worker, and one task; None: from the sizes of data and model.
    """

    def source(self, frames: Any, keys: LabelKeys) -> LocalSource:
        """A source of frames, or of files, whose rows are folded on the workers."""
        paths = as_paths(frames)
        return open_files(self, paths, keys) if paths else ClusterSource(self, labelled_batch(frames, keys))
