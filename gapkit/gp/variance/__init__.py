"""Posterior variances of local energies and of targets."""
