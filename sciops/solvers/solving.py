"""`solve`: one call for a linear problem, which picks the method and says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sciops.data.domains.field import Field
from sciops.errors import InputError, SolverError
from sciops.registry import Registry
from sciops.solvers.linear import krylov
from sciops.solvers.linear.diffusion import Diffusion
from sciops.solvers.linear.elasticity import Elasticity
from sciops.solvers.linear.fast import FastDiffusion
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.preconditioner import (
    Preconditioner,
    PreconditionerFactory,
    as_preconditioner,
    has_preconditioner,
    preconditioners,
)
from sciops.solvers.linear.solution import Solution
from sciops.solvers.linear.sparse import Sparse
from sciops.solvers.problems import Darcy, LinearProblem, Predictor

_SMALL = 20_000  # unknowns up to which the sparse direct solver of an unstructured matrix takes well below a second

methods: Registry[Callable[..., Solution]] = Registry("method")
"""What ``solve(method=...)`` may name."""

for _name in ("cg", "block_cg", "fcg", "minres", "gmres", "fgmres", "bicgstab", "refine"):
    methods.register(_name)(getattr(krylov, _name))


class Choice(NamedTuple):
    """A method, a preconditioner, and why."""

    method: str
    M: Any
    why: str


def solve(
    problem: LinearProblem | Darcy,
    method: str | None = None,
    guess: Field | Tensor | Predictor | None = None,
    preconditioner: Any = None,
    *,
    rtol: float = 1e-6,
    atol: float = 0.0,
    maxiter: int | None = None,
    raise_on_failure: bool = True,
) -> Solution:
    """Solve a linear problem by the method that suits it; the answer is certified by its true residual.

    ================================================================  ==========================================
    what it is                                                        what is taken
    ================================================================  ==========================================
    diffusion, constant coefficients on a box                         fast sine, cosine and Fourier transforms
    diffusion that is positive (semi)definite                         conjugate gradients with multigrid, or with
                                                                      IC(0) (Jacobi on a GPU) where there is none
    another matrix with up to 20,000 unknowns                         sparse LU
    symmetric positive definite                                       conjugate gradients with Jacobi
    symmetric                                                         MINRES
    anything else                                                     GMRES
    ================================================================  ==========================================

    Parameters
    ----------
    problem
        A LinearProblem or Darcy.
    method
        "cg", "block_cg", "fcg", "minres", "gmres", "fgmres", "bicgstab" or "refine"; None picks.
    guess
        Where to start: a tensor, a Field, or what predicts one, such as a Surrogate trained on permeabilities; for a
        Darcy problem whose permeability is a Field, it gets that as a data set, and its first output is taken, on
        the grid of the problem. However bad the guess is, the answer meets the same goal.
    preconditioner
        As the argument M of :func:`~sciops.solvers.linear.cg`; a learned one brings its method; None picks.
    rtol, atol, maxiter, raise_on_failure
        As of :func:`~sciops.solvers.linear.cg`.

    Returns
    -------
    Solution
        Its `value` is a Field named u where the permeability is a Field, else a tensor; `message` says what was taken
        and why.

    Raises
    ------
    SolverError
        If a system did not converge.
    InputError
        If the problem, guess or method does not fit.

    Examples
    --------
    >>> from sciops.data import Grid
    >>> grid = Grid.unit(32, 32, kind="cell")
    >>> k = Field(torch.ones(1, 32, 32, dtype=torch.float64), grid)
    >>> found = solve(Darcy(k))
    >>> found.method, round(float(found.value.values.max()), 3)
    ('refine', 0.074)
    >>> found.message.split("; ")[-1]
    'taken because the coefficients are constant: fast transforms'
    """
    if isinstance(problem, Darcy):
        system = problem.linear()
    elif isinstance(problem, LinearProblem):
        system = problem
    else:
        raise InputError(f"a {type(problem).__name__} is no problem; LinearProblem(operator, rhs) or Darcy is expected")
    A, b = system.operator, system.rhs
    if not isinstance(A, LinearOperator):
        raise InputError(f"the operator is a {type(A).__name__}, expected a LinearOperator; Sparse(matrix) makes one")
    chosen = _choose(A, method, preconditioner)
    start = None if guess is None else _guess(guess, problem, A, b)
    options = {"rtol": rtol, "atol": atol, "maxiter": maxiter, "raise_on_failure": raise_on_failure}
    try:
        found = methods[chosen.method](A, b, M=chosen.M, x0=start, **options)
    except SolverError as error:
        raise SolverError(f"{error}; taken because {chosen.why}", error.solution) from None
    value = found.value
    if isinstance(problem, Darcy) and isinstance(problem.permeability, Field):
        lead = value.shape[: value.ndim - len(A.space)]
        value = Field(value.reshape(*lead, 1, *A.space), problem.permeability.grid, names=("u",))
    return replace(found, value=value, message=f"{found.message}; taken because {chosen.why}")


def _choose(A: LinearOperator, method: str | None, M: Any) -> Choice:
    if method is None and isinstance(M, PreconditionerFactory):
        return Choice(M.method, M, f"the preconditioner {type(M).__name__} was asked for, and is made for {M.method}")
    picked = _suited(A)
    if method is None and M is None:
        return picked
    if method is None:
        made = as_preconditioner(M, A)
        positive = A.symmetric and A.definite is not False and picked.method in ("refine", "cg")
        if positive and getattr(made, "symmetric", None) is True:
            return Choice("cg", made, "the preconditioner was asked for, and is symmetric like the system")
        M, flexible = made, "fcg" if positive else "fgmres"
        return Choice(flexible, M, "the preconditioner was asked for, and a flexible method takes any")
    return Choice(method, M, "it was asked for")


def _suited(A: LinearOperator) -> Choice:
    if isinstance(A, Diffusion):
        if A.constant and all(isinstance(side, str) for pair in A.sides for side in pair):
            return Choice("refine", FastDiffusion(A), "the coefficients are constant: fast transforms")
        if A.definite or A.nullspace is not None:
            made = _multigrid(A)
            if made is not None:
                return Choice("cg", made, "it is a positive diffusion problem: multigrid")
            M = "ic0" if A.device.type == "cpu" else "jacobi"
            return Choice("cg", M, f"it is a positive diffusion problem that multigrid does not take: {M}")
    elif isinstance(A, (Sparse, Elasticity)) and A.unknowns <= _SMALL:
        return Choice("refine", "lu", f"the matrix is small, {A.unknowns} unknowns: sparse LU")
    if A.symmetric:
        if A.definite:
            return Choice("cg", _jacobi(A), "it is symmetric positive definite")
        return Choice("minres", _jacobi(A), "it is symmetric and may be indefinite")
    return Choice("gmres", _jacobi(A), "it is not symmetric")


def _multigrid(A: Diffusion) -> Preconditioner | None:
    """Multigrid where it takes the operator."""
    if not has_preconditioner("multigrid") or (A.nullspace is not None and A.dtype != torch.float64):
        return None
    options = {} if A.nullspace is None else {"dtype": A.dtype}  # single precision makes a singular level regular
    try:
        made: Preconditioner = preconditioners["multigrid"](A, **options)
    except InputError:
        return None
    return made


def _jacobi(A: LinearOperator) -> str | None:
    """Jacobi where the diagonal is known and positive, as all methods take it."""
    try:
        return "jacobi" if bool((A.diagonal() > 0).all()) else None
    except InputError:
        return None


def _guess(guess: Any, problem: LinearProblem | Darcy, A: LinearOperator, b: Tensor) -> Tensor:
    if isinstance(guess, Predictor) and not isinstance(guess, (Tensor, Field)):
        guess = _predicted(guess, problem)
    if isinstance(guess, Field):
        grid = A.grid if isinstance(A, Diffusion) else None
        if grid is not None and not guess.domain.matches(grid):
            guess = guess.resample(grid)
        if len(guess.names) != 1:
            raise InputError(f"the guess has the channels {', '.join(guess.names)}, expected one")
        guess = guess.values.reshape(*guess.batch_shape, *guess.domain.shape)
    if not isinstance(guess, Tensor):
        raise InputError(f"the guess is a {type(guess).__name__}, expected a tensor, a Field, or what has predict()")
    start = guess.detach().to(dtype=b.dtype, device=b.device)
    if start.numel() == b.numel():
        return start.reshape(b.shape)
    try:
        return start.expand(b.shape)
    except RuntimeError:
        raise InputError(f"the guess has shape {tuple(start.shape)}, expected {tuple(b.shape)}") from None


def _predicted(guess: Predictor, problem: LinearProblem | Darcy) -> Field:
    k = problem.permeability if isinstance(problem, Darcy) else None
    if not isinstance(k, Field):
        raise InputError("a guess that predicts needs a Darcy problem whose permeability is a Field")
    values = k.values.detach().reshape(-1, len(k.names), *k.domain.shape)
    asked = Field(values, k.domain, names=k.names, units=k.units)
    answer = guess.predict(asked.to_xarray())
    if not len(answer.data_vars):
        raise InputError(f"the guess {type(guess).__name__} predicted no variable")
    field = Field.from_xarray(answer, str(next(iter(answer.data_vars))))
    # 0 is as good a start as any where nothing was predicted
    return Field(torch.nan_to_num(field.values, posinf=0.0, neginf=0.0), field.domain, names=field.names)
