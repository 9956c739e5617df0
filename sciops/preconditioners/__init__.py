"""Learned preconditioners: trained on a family of operators, then set up for any operator like those."""

from __future__ import annotations

from sciops.preconditioners.base import LearnedPreconditioner, OperatorFamily, registry

__all__ = ["LearnedPreconditioner", "OperatorFamily", "registry"]
