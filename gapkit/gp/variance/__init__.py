"""Posterior variances of local energies, energies, forces and virials, and errors of predictions left out.

They are epistemic: calibration to error bars is in `uncertainty` and `potential.error_bars`.  It may import `gp` and
what `gp` may.
"""
