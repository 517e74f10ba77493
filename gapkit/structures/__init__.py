"""Structures: frozen batches of flat arrays, made once from ASE atoms, and a report on what they hold.

Labels, their keys and their checks are here; nothing is fitted, and only the layers above the arrays see descriptors or
models.  It may import `io`, `targets` and what is below, and ASE.
"""

from gapkit.structures.batch import AtomsBatch, concatenate
from gapkit.structures.checks import Fault
from gapkit.structures.files import read_frames
from gapkit.structures.keys import LabelKeys
from gapkit.structures.labels import Labels
from gapkit.structures.read import to_batch
from gapkit.structures.report import DataReport, describe, find_faults
from gapkit.structures.write import write_extxyz

__all__ = [
    "AtomsBatch",
    "DataReport",
    "Fault",
    "LabelKeys",
    "Labels",
    "concatenate",
    "describe",
    "find_faults",
    "read_frames",
    "to_batch",
    "write_extxyz",
]
