"""Pictures and pages about models and data sets.

Functions return a `matplotlib.figure.Figure` that is attached to no window: save it with ``figure.savefig(path)``. They
compute nothing but what is drawn, and raise InputError without matplotlib, which is imported with the first picture. It
may import everything but `cli`.
"""

from gapkit.report.comparison import (
    conditional_figure,
    error_figure,
    parity_figure,
    reliability_figure,
    uncertainty_figure,
)
from gapkit.report.dataset import coverage_figure, map_figure, spread_figure
from gapkit.report.errors import learning_curve_figure, pareto_figure
from gapkit.report.influence import influence_figure
from gapkit.report.novelty import novelty_figure, scan_figure
from gapkit.report.page import curation_page

__all__ = [
    "conditional_figure", "coverage_figure", "curation_page", "error_figure", "influence_figure",
    "learning_curve_figure", "map_figure", "novelty_figure", "pareto_figure", "parity_figure", "reliability_figure",
    "scan_figure", "spread_figure", "uncertainty_figure",
]  # fmt: skip
