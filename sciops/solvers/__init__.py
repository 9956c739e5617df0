"""Classical numerics: solvers of differential equations whose answers carry their own error estimate."""

from sciops.solvers import pde

__all__ = ["pde"]
