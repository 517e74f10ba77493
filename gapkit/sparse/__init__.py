"""Selection of sparse points."""

from gapkit.sparse.allocate import allocate
from gapkit.sparse.base import Selection, SparseSelector
from gapkit.sparse.cur import CUR
from gapkit.sparse.distinct import distinct_rows
from gapkit.sparse.farthest import FarthestPoint
from gapkit.sparse.fromlist import FromList
from gapkit.sparse.grid import Grid, Uniform1D
from gapkit.sparse.kmeans import KMeans
from gapkit.sparse.random import Random

__all__ = [
    "CUR",
    "FarthestPoint",
    "FromList",
    "Grid",
    "KMeans",
    "Random",
    "Selection",
    "SparseSelector",
    "Uniform1D",
    "allocate",
    "distinct_rows",
]
