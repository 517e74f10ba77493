"""Numba kernels: arrays in, arrays out, each with a plain NumPy twin in the tests.

No class, no unit and no check of an argument is here: those belong to the callers.  Compilation goes through `jit`
alone.  It may import NumPy, Numba and llvmlite, and nothing of gapkit.
"""
