"""Models of QUIP's GAP: reading and writing of gap.xml files, and QUIP's local variances.

Options and limits are in README.md; fits and predictions are those of `potential`.  It may import `potential` and all
that stands below.
"""

from gapkit.interop.quip.reader import load
from gapkit.interop.quip.variance import gap_variance
from gapkit.interop.quip.writer import write

__all__ = ["gap_variance", "load", "write"]
