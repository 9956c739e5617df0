"""Learned preconditioners: trained on a family of operators, then set up for any operator like those."""

from __future__ import annotations

from sciops.preconditioners.base import LearnedPreconditioner, OperatorFamily, registry
from sciops.preconditioners.dcdm import DCDM
from sciops.preconditioners.lanczos import RitzVectors, ritz_vectors

__all__ = ["DCDM", "LearnedPreconditioner", "OperatorFamily", "RitzVectors", "registry", "ritz_vectors"]
