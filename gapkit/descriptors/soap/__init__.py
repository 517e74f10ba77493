"""Smooth overlap of atomic positions (SOAP)."""

from gapkit.descriptors.soap.compression import Channels, Mixing, TensorReduced
from gapkit.descriptors.soap.descriptor import SOAP

__all__ = ["SOAP", "Channels", "Mixing", "TensorReduced"]
