"""Uncertainty: how far each prediction may be off, and how good such estimates are."""

from gapkit.uncertainty.metrics import (
    UncertaintyMetrics,
    coverage,
    coverage_by_group,
    reliability_curve,
    uncertainty_metrics,
)

__all__ = ["UncertaintyMetrics", "coverage", "coverage_by_group", "reliability_curve", "uncertainty_metrics"]
