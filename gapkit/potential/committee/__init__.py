"""Committees: several weight vectors over one sparse basis.

Here are their predictions, and three ways to draw members.  How the potential itself is fitted is in `potential.gap`
and `potential.training`.  Imports `potential.state`, `potential.training` and the layers below; never `potential.gap`.
"""

from gapkit.potential.committee.committee import Committee
from gapkit.potential.committee.draws import bootstrap_committee, label_noise_committee, sample_committee

__all__ = ["Committee", "bootstrap_committee", "label_noise_committee", "sample_committee"]
