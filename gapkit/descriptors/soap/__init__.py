"""Smooth overlap of atomic positions (SOAP)."""

from gapkit.descriptors.soap.compression import COMPRESSIONS, Channels, Mixing, TensorReduced
from gapkit.descriptors.soap.descriptor import SOAP

__all__ = ["COMPRESSIONS", "SOAP", "Channels", "Mixing", "TensorReduced"]
