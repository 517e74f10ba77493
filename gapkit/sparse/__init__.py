"""Selection of sparse points: selectors of rows of a matrix of features, and their division among groups.

Selectors see features, not atoms; which features they get is decided in `potential.training`.  It may import `io` and
what is below it, and scikit-learn.
"""

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
