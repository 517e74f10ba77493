"""Smooth overlap of atomic positions (SOAP): radial bases, compression, truncation, and the descriptor itself.

The loops over neighbours are compiled code in `_core.soap`.  It may import what `descriptors` may, and its `base` and
`cutoffs`.
"""

from gapkit.descriptors.soap.compression import Channels, Mixing, TensorReduced
from gapkit.descriptors.soap.descriptor import SOAP

__all__ = ["SOAP", "Channels", "Mixing", "TensorReduced"]
