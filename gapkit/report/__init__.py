"""Pictures and pages about models and data sets.

Functions return a `matplotlib.figure.Figure` that is attached to no window: save it with ``figure.savefig(path)``. They
compute nothing but what is drawn, and raise InputError without matplotlib, which is imported with the first picture. It
may import everything but `cli`.
"""

from gapkit.report.coverage import coverage_figure
from gapkit.report.dataset_map import map_figure
from gapkit.report.influence import influence_figure
from gapkit.report.learning_curve import learning_curve_figure
from gapkit.report.novelty import novelty_figure
from gapkit.report.page import curation_page
from gapkit.report.pareto import pareto_figure
from gapkit.report.parity import parity_figure
from gapkit.report.scan import scan_figure
from gapkit.report.spread import spread_figure
from gapkit.report.uncertainty import error_figure, reliability_figure, uncertainty_figure

__all__ = [
    "coverage_figure", "curation_page", "error_figure", "influence_figure", "learning_curve_figure", "map_figure",
    "novelty_figure", "pareto_figure", "parity_figure", "reliability_figure", "scan_figure", "spread_figure",
    "uncertainty_figure",
]  # fmt: skip
