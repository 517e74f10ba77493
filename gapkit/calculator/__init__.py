"""ASE calculators."""

from gapkit.calculator.gap import GAPCalculator

__all__ = ["GAPCalculator"]
