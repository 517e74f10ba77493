"""Which frames are alike, and which of many to take."""

from gapkit.selection.duplicates import DuplicateGroup, find_duplicates
from gapkit.selection.select import Selected, select

__all__ = ["DuplicateGroup", "Selected", "find_duplicates", "select"]
