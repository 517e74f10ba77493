"""Smooth overlap of atomic positions (SOAP): descriptor, engine, radial bases, compression and truncation.

Tables for the kernels of `_core.soap` are made here; the loops over atoms are there.  What may be imported is what
`descriptors` may.
"""
