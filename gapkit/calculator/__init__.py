"""ASE calculators of a fitted potential and of a committee.

Here are the calculators and the neighbour list that they reuse from step to step.  Predictions and error bars are those
of `potential`.  It may import `potential` and all that stands below.
"""

from gapkit.calculator.gap import GAPCalculator

__all__ = ["GAPCalculator"]
