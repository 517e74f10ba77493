"""Uncertainty: calibration, conformal intervals, signs of extrapolation, and measures of error bars.

All take arrays of residuals, variances and descriptor vectors; what a fitted potential makes of them is in
`potential.error_bars`.  It may import the leaves and no model, descriptor or ASE.
"""

from gapkit.uncertainty.conditional import GroupCoverage, coverage_by_group
from gapkit.uncertainty.metrics import UncertaintyMetrics, coverage, reliability_curve, uncertainty_metrics

__all__ = [
    "GroupCoverage", "UncertaintyMetrics", "coverage", "coverage_by_group", "reliability_curve", "uncertainty_metrics",
]  # fmt: skip
