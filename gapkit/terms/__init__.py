"""Energy terms beside the Gaussian process, and their sum.

Here are the protocol of a term, the reference energies and the terms that need no fit: ZBL, Lennard-Jones, pair tables
and ASE calculators.  Nothing of the Gaussian process or its training is here; a fitted GAP as a term is
`gapkit.potential.model_term`.  It may import `gp` and what is below it.
"""

from gapkit.terms.base import EnergyTerm, TermValues
from gapkit.terms.calculator import CalculatorTerm
from gapkit.terms.known import KnownEnergy
from gapkit.terms.pairs import ZBL, LennardJones, PairTable, PairTables

__all__ = [
    "ZBL", "CalculatorTerm", "EnergyTerm", "KnownEnergy", "LennardJones", "PairTable", "PairTables", "TermValues",
]  # fmt: skip
