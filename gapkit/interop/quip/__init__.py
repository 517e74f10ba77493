"""Models of QUIP's GAP: reading and writing of gap.xml files; options and limits are in README.md."""

from gapkit.interop.quip.reader import load
from gapkit.interop.quip.variance import gap_variance
from gapkit.interop.quip.writer import write

__all__ = ["gap_variance", "load", "write"]
