"""Kernels: functions of the inner product and norms of features, with their slopes."""

from gapkit.kernels.base import GapKernel
from gapkit.kernels.dot_product import DotProduct
from gapkit.kernels.squared_exponential import SquaredExponential

KERNELS: tuple[type[GapKernel], ...] = (DotProduct, SquaredExponential)
"""Every kernel class, for tests that must cover all of them."""

__all__ = ["KERNELS", "DotProduct", "GapKernel", "SquaredExponential"]
