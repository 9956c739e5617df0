"""Linear systems: operators, Krylov methods and preconditioners; every answer carries its true residual."""

from sciops.solvers.linear.adapters import PyAMG
from sciops.solvers.linear.cycles import full_multigrid
from sciops.solvers.linear.diffusion import Diffusion, Helmholtz
from sciops.solvers.linear.direct import SparseLU
from sciops.solvers.linear.elasticity import Elasticity
from sciops.solvers.linear.fast import FastDiffusion, fast_solver
from sciops.solvers.linear.incomplete import IncompleteCholesky
from sciops.solvers.linear.jacobi import Jacobi
from sciops.solvers.linear.krylov import bicgstab, block_cg, cg, fcg, fgmres, gmres, minres, refine
from sciops.solvers.linear.matrixfree import MatrixFree
from sciops.solvers.linear.multigrid import Multigrid
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.preconditioner import (
    Preconditioner,
    PreconditionerFactory,
    as_preconditioner,
    preconditioners,
)
from sciops.solvers.linear.schwarz import Schwarz
from sciops.solvers.linear.smoothers import Chebyshev, L1Jacobi, Line, RedBlack
from sciops.solvers.linear.solution import Solution
from sciops.solvers.linear.sparse import Sparse, from_scipy, real_form, stencil_matrix

__all__ = [
    "Chebyshev",
    "Diffusion",
    "Elasticity",
    "FastDiffusion",
    "Helmholtz",
    "IncompleteCholesky",
    "Jacobi",
    "L1Jacobi",
    "Line",
    "LinearOperator",
    "MatrixFree",
    "Multigrid",
    "Preconditioner",
    "PreconditionerFactory",
    "PyAMG",
    "RedBlack",
    "Schwarz",
    "Solution",
    "Sparse",
    "SparseLU",
    "as_preconditioner",
    "bicgstab",
    "block_cg",
    "cg",
    "fast_solver",
    "fcg",
    "fgmres",
    "from_scipy",
    "full_multigrid",
    "gmres",
    "minres",
    "preconditioners",
    "real_form",
    "refine",
    "stencil_matrix",
]
