"""Kernels: functions of the inner product and the norms of features, with their derivatives.

A kernel knows nothing of atoms or descriptors.  It may import `_core` and what is below it, and scikit-learn's kernels.
"""

from gapkit.kernels.base import GapKernel
from gapkit.kernels.dot_product import DotProduct
from gapkit.kernels.squared_exponential import SquaredExponential

__all__ = ["DotProduct", "GapKernel", "SquaredExponential"]
