"""Committees: several weight vectors over one sparse basis."""

from gapkit.potential.committee.committee import (
    Committee,
    bootstrap_committee,
    label_noise_committee,
    sample_committee,
)

__all__ = ["Committee", "bootstrap_committee", "label_noise_committee", "sample_committee"]
