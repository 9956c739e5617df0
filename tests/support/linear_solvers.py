"""Solvers that are compared on :mod:`linear_problems`, ours and the peers', each with set-up and solve apart."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyamg
import scipy.sparse.linalg as sparse_linalg
import torch
from linear_problems import Problem

from sciops.solvers.linear import Diffusion, Multigrid, as_preconditioner, cg

COARSENINGS = ("smoothed_aggregation", "ruge_stuben")
RELAXATIONS = ("spai0", "damped_jacobi", "gauss_seidel", "ilu0")
MOST = 500  # iterations of a peer


class Answer(NamedTuple):
    """A solution, what it took, and the seconds of set-up and solve."""

    x: np.ndarray | torch.Tensor
    iterations: int
    set_up: float
    solve: float


Solver = Callable[[Problem, float], Answer]


class Timed:
    """A solver on a problem, to be called in turns: the last answer, and the times of every call."""

    def __init__(self, solver: Solver, problem: Problem, rtol: float) -> None:
        self.solver, self.problem, self.rtol = solver, problem, rtol
        self.set_ups: list[float] = []
        self.solves: list[float] = []

    def __call__(self) -> None:
        self.answer = self.solver(self.problem, self.rtol)
        self.set_ups.append(self.answer.set_up)
        self.solves.append(self.answer.solve)

    def residual(self) -> float:
        return self.problem.residual(self.answer.x)


@contextmanager
def openmp_threads(count: int) -> Iterator[None]:
    """Threads for libraries that GCC compiled, which AMGCL is; one afterwards. Torch has a pool of its own."""
    library = ctypes.CDLL("libgomp.so.1")
    library.omp_set_num_threads(count)
    try:
        yield
    finally:
        library.omp_set_num_threads(1)


def ours(problem: Problem, rtol: float) -> Answer:
    """Conjugate gradients with multigrid; set-up begins at the coefficient."""
    return _ours(problem, rtol, Multigrid)


def _ours(problem: Problem, rtol: float, make: Callable[..., Any]) -> Answer:
    k, b = problem.permeability, problem.rhs
    start = time.perf_counter()
    A = Diffusion(k, grid=1.0)
    M = make(A)
    between = time.perf_counter()
    found = cg(A, b, M=M, rtol=rtol)
    end = time.perf_counter()
    return Answer(found.value, int(found.iterations), between - start, end - between)


def _pyamg(make: Callable[..., Any]) -> Solver:
    def solver(problem: Problem, rtol: float) -> Answer:
        A, b, residuals = problem.matrix, problem.rhs.numpy().ravel(), []
        start = time.perf_counter()
        hierarchy = make(A, max_coarse=200)
        between = time.perf_counter()
        x = hierarchy.solve(b, tol=rtol, accel="cg", residuals=residuals, maxiter=MOST)
        end = time.perf_counter()
        return Answer(x, len(residuals) - 1, between - start, end - between)

    return solver


smoothed_aggregation = _pyamg(pyamg.smoothed_aggregation_solver)
ruge_stueben = _pyamg(pyamg.ruge_stuben_solver)


def amgcl(coarsening: str, relaxation: str) -> Solver:
    """AMGCL with conjugate gradients."""
    import pyamgcl

    def solver(problem: Problem, rtol: float) -> Answer:
        A, b = problem.matrix, problem.rhs.numpy().ravel()
        start = time.perf_counter()
        hierarchy = pyamgcl.amg(A, {"coarsening.type": coarsening, "relax.type": relaxation})
        between = time.perf_counter()
        solve = pyamgcl.solver(hierarchy, {"type": "cg", "tol": rtol, "maxiter": MOST})
        x = solve(b)
        end = time.perf_counter()
        return Answer(x, solve.iters, between - start, end - between)

    return solver


def sparse_lu(problem: Problem, rtol: float) -> Answer:
    """SuperLU with an ordering for symmetric matrices and no pivots: the quickest that SciPy has here."""
    A, b = problem.matrix.tocsc(), problem.rhs.numpy().ravel()
    start = time.perf_counter()
    factors = sparse_linalg.splu(A, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    between = time.perf_counter()
    x = factors.solve(b)
    return Answer(x, 1, between - start, time.perf_counter() - between)


def plain_cg(problem: Problem, rtol: float) -> Answer:
    """SciPy's conjugate gradients without a preconditioner."""
    b, count = problem.rhs.numpy().ravel(), [0]

    def counted(_: np.ndarray) -> None:
        count[0] += 1

    start = time.perf_counter()
    x, _ = sparse_linalg.cg(problem.matrix, b, rtol=rtol, maxiter=100_000, callback=counted)
    return Answer(x, count[0], 0.0, time.perf_counter() - start)


def ours_with(name: str | None) -> Solver:
    """Our conjugate gradients with another preconditioner."""
    return lambda problem, rtol: _ours(problem, rtol, lambda A: as_preconditioner(name, A))
