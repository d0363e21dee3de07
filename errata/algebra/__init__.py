"""A small exact reader of algebra: chains of equations between rational expressions in single-letter variables."""

from errata.algebra.chains import Chain, ChainSide, find_chains, is_complete
from errata.algebra.expressions import Expression, difference
from errata.algebra.polynomials import TooLarge

__all__ = ["Chain", "ChainSide", "Expression", "TooLarge", "difference", "find_chains", "is_complete"]
