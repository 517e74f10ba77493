"""Kernels: covariances of local energies, as functions of inner products and norms of features.

Here are the kernels and their slopes, which are scikit-learn kernels too; sums over sparse points are in `gp`.  This
folder may import `io.registry` and `_core`.
"""

from gapkit.kernels.base import GapKernel
from gapkit.kernels.dot_product import DotProduct
from gapkit.kernels.squared_exponential import SquaredExponential

__all__ = ["DotProduct", "GapKernel", "SquaredExponential"]
