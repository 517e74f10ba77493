"""Kernels: functions of the inner product and norms of features, with their slopes."""

from gapkit.kernels.base import GapKernel
from gapkit.kernels.dot_product import DotProduct
from gapkit.kernels.squared_exponential import SquaredExponential

__all__ = ["DotProduct", "GapKernel", "SquaredExponential"]
