"""Structures: frozen batches of flat arrays, made once from ASE atoms, and a report on what they hold."""

from gapkit.structures.batch import AtomsBatch, Labels, concatenate
from gapkit.structures.checks import Finding
from gapkit.structures.read import LabelKeys, read_frames, to_batch
from gapkit.structures.report import DataReport, describe, find_faults

__all__ = [
    "AtomsBatch",
    "DataReport",
    "Finding",
    "LabelKeys",
    "Labels",
    "concatenate",
    "describe",
    "find_faults",
    "read_frames",
    "to_batch",
]
