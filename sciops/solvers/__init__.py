"""Classical numerics: solvers of differential equations whose answers carry their own error estimate."""

from sciops.solvers import linear, pde
from sciops.solvers.problems import Darcy, LinearProblem, Predictor
from sciops.solvers.solving import solve

__all__ = ["Darcy", "LinearProblem", "Predictor", "linear", "pde", "solve"]
