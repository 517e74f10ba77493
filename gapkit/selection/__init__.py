"""Selection: distances between frames, duplicates, and which of many frames to take.

Curation, validation and active learning share it; labels play no part here. It may import the potential and all layers
below it.
"""

from gapkit.selection.duplicates import DuplicateGroup, find_duplicates
from gapkit.selection.select import FrameVectors, Quotas, Selected, select

__all__ = ["DuplicateGroup", "FrameVectors", "Quotas", "Selected", "find_duplicates", "select"]
