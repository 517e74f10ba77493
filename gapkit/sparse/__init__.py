"""Sparse points: selectors that choose some of many feature vectors, and the sharing of a number among groups.

Selectors see a matrix of candidates and nothing of atoms; which candidates there are is said in `potential.training`.
This folder may import `io.registry`, NumPy and scikit-learn.
"""

from gapkit.sparse.allocate import allocate
from gapkit.sparse.base import Selection, SparseSelector, distinct_rows
from gapkit.sparse.fromlist import FromList
from gapkit.sparse.grid import Grid, Uniform1D
from gapkit.sparse.rows import CUR, FarthestPoint, KMeans, Random

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
