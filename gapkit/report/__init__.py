"""Pictures and pages about models. matplotlib is imported when the first picture is drawn."""

from gapkit.report.novelty import novelty_figure
from gapkit.report.parity import parity_figure
from gapkit.report.scan import scan_figure
from gapkit.report.uncertainty import error_figure, reliability_figure, uncertainty_figure

__all__ = [
    "error_figure", "novelty_figure", "parity_figure", "reliability_figure", "scan_figure", "uncertainty_figure",
]  # fmt: skip
