"""Partial differential equations: solvers, and simulators that write data sets of their solutions."""

from sciops.solvers.pde.burgers import BurgersSimulator, solve_burgers
from sciops.solvers.pde.darcy import DarcySimulator, solve_darcy
from sciops.solvers.pde.simulator import Simulator, simulate, simulators

__all__ = [
    "BurgersSimulator",
    "DarcySimulator",
    "Simulator",
    "simulate",
    "simulators",
    "solve_burgers",
    "solve_darcy",
]
