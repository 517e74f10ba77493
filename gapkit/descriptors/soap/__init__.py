"""Smooth overlap of atomic positions (SOAP): descriptor, engine, radial bases, compression and truncation.

Tables for the kernels of `_core.soap` are made here; the loops over atoms are there.  What may be imported is what
`descriptors` may.
"""

from gapkit.descriptors.soap.compression import Channels, Mixing, TensorReduced
from gapkit.descriptors.soap.descriptor import SOAP

__all__ = ["SOAP", "Channels", "Mixing", "TensorReduced"]
