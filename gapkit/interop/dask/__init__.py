"""Fits, predictions and errors on a Dask cluster: `GAP.fit(frames, client=client)`, `predict` and `evaluate`.

`client` is any `dask.distributed.Client`: of a LocalCluster, of a batch system (dask-jobqueue) or of ``dask scheduler``
and ``dask worker`` on some machines.  Workers need gapkit, one thread each is best (``--nthreads 1``), and memory for
six triangles of M x M numbers.  A worker computes what one machine would, nothing else; this folder may import
`errors`, `potential` and all that stands below.
"""

from gapkit.interop.dask.connect import connect
from gapkit.interop.dask.files import DaskExecutor
from gapkit.interop.dask.results import evaluate, predict

__all__ = ["DaskExecutor", "connect", "evaluate", "predict"]
