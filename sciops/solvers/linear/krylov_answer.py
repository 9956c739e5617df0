"""What all Krylov methods share: b and x0 in canonical form, null space, units, derivatives, and the answer stated."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sciops.errors import InputError, SolverError
from sciops.solvers.linear.implicit import implicit
from sciops.solvers.linear.krylov_driver import Ended, describe, iterate
from sciops.solvers.linear.krylov_system import Start, System, norm, split
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.preconditioner import Preconditioner, PreconditionerFactory, as_preconditioner, transpose
from sciops.solvers.linear.solution import Applications, Outcome, Solution

_FLEXIBLE = ("fcg", "fgmres", "refine")  # the methods under which M may be anything
_MOST = 100_000  # iterations, unless maxiter says otherwise
_RANGE = {torch.float64: (1e-100, 1e100), torch.float32: (1e-12, 1e12)}  # whose squares are numbers too


def solve_by(
    name: str,
    start: Start,
    A: LinearOperator,
    b: Tensor,
    M: Any,
    x0: Tensor | None,
    rtol: float,
    atol: float,
    maxiter: int | None,
    raise_on_failure: bool,
    *,
    definite: bool = False,
) -> Solution:
    """Solve by the runs that `start` begins; `definite` says that M must be symmetric, positive definite and linear."""
    require_operator(A)
    if not all(isinstance(value, Real) and 0 <= value < math.inf for value in (rtol, atol)):
        raise InputError(f"rtol is {rtol!r} and atol {atol!r}; both are finite numbers of at least 0")
    if maxiter is not None:
        require_count("maxiter", maxiter)
    rhs = A.canonical(b, "b")
    guess = None if x0 is None else A.canonical(x0, "x0")
    if guess is not None and guess.shape != rhs.shape:
        raise InputError(f"x0 has shape {tuple(guess.shape)}, expected {tuple(rhs.shape)} as b has")
    _require_method(name, M, A)
    preconditioner = as_preconditioner(M, A)
    if definite and getattr(preconditioner, "symmetric", None) is False:
        raise InputError(
            f"the preconditioner {preconditioner!r} is not symmetric, which {name} needs; use fcg or fgmres"
        )
    most = min(10 * A.unknowns, _MOST) if maxiter is None else maxiter
    stated: list[Solution] = []

    def run(A: LinearOperator, b: Tensor, M: Preconditioner | None, x0: Tensor | None, project: bool) -> Solution:
        found = _run(name, start, A, b, M, x0, (rtol, atol, most), project)
        if raise_on_failure and not found.converged:
            raise SolverError(f"{'in the derivative, ' if project else ''}{found.message}", found)
        return found

    def forward(A: LinearOperator, b: Tensor) -> Tensor:
        first = not stated
        found = run(A, b, preconditioner, guess if first else None, not first)
        if first:
            stated.append(found)
        value: Tensor = found.value
        return value

    def backward(A: LinearOperator, b: Tensor) -> Tensor:
        value: Tensor = run(A, b, transpose(preconditioner), None, True).value
        return value

    x = implicit(forward, backward, A, rhs)
    return Solution(**{**vars(stated[0]), "value": x.reshape(b.shape)})


def _run(
    name: str,
    start: Start,
    A: LinearOperator,
    b: Tensor,
    M: Preconditioner | None,
    x0: Tensor | None,
    stop: tuple[float, float, int],
    project: bool,
) -> Solution:
    """Solve without derivatives; with `project`, for the part of b that the null space leaves."""
    rtol, atol, maxiter = stop
    shape, n = b.shape, A.unknowns
    b, unit = _in_units(b.detach())
    whole, lost = b.reshape(-1, n), None
    if A.nullspace is not None:
        b, lost = split(b, A.nullspace)
        if project:
            whole, lost = b.reshape(-1, n), None
    system, flat = System(A, M, shape), b.reshape(-1, n).contiguous()
    size = norm(whole.contiguous())
    goal = torch.maximum(rtol * size, atol / unit)
    reach = goal if lost is None else (goal.square() - lost.square()).clamp_min(0).sqrt()
    empty, bad = size == 0, ~size.isfinite()
    x = torch.zeros_like(flat)
    if x0 is not None:
        x.copy_(x0.detach().reshape(-1, n) / unit[:, None].to(x.dtype)).masked_fill_(empty[:, None], 0.0)
    # a system with a NaN in b must not keep the others from their answers, and 0 / 0 is no residual
    unreachable = bad if lost is None else bad | (lost > goal)
    reach = torch.where(unreachable, math.inf, reach)
    if bool(bad.any()):
        flat = torch.where(bad[:, None], 0.0, flat)
    ended = iterate(start, system, flat, x, reach, maxiter, x0 is not None)
    true = ended.residual if lost is None else (ended.residual.square() + lost.square()).sqrt()
    scale = torch.where(empty | bad, 1.0, size)
    status = ended.status.masked_fill(unreachable & ~bad, int(Outcome.INCONSISTENT))
    status = status.masked_fill(bad, int(Outcome.NOT_FINITE))
    evidence = ended.evidence if lost is None else torch.where(unreachable, lost / scale, ended.evidence)
    detail = "b has NaN or infinity; look for the first one with .isfinite()" if bool(bad.any()) else ended.detail
    ended = ended._replace(
        status=status, residual=torch.where(bad, math.nan, true / scale), evidence=evidence, detail=detail
    )
    if A.nullspace is not None:
        x = split(x.view(shape), A.nullspace)[0].reshape(-1, n)
    if bool((unit != 1).any()):
        x = x * unit[:, None].to(x.dtype)
    applications = Applications(system.applied, system.preconditioned)
    return _stated(name, x.view(shape), ended, goal / scale, ended.history / scale, applications)


def _in_units(b: Tensor) -> tuple[Tensor, Float[Tensor, " system"]]:
    """b with every system whose squares would leave the range of its numbers brought to one, and by how much."""
    if not b.numel():
        return b, torch.ones(b.shape[:2].numel(), dtype=torch.float64, device=b.device)
    low, high = torch.aminmax(b.flatten(2), dim=-1)
    size = torch.maximum(-low, high)
    least, most = _RANGE[b.dtype]
    beyond = (size > 0) & (size < math.inf) & ((size < least) | (size > most))
    # powers of two, so that no digit changes
    unit = torch.where(beyond, torch.exp2(torch.log2(size.double()).round()), 1.0)
    if bool(beyond.any()):
        b = b / unit.view(*size.shape, *(1,) * (b.ndim - 2)).to(b.dtype)
    return b, unit.flatten()


def _stated(name: str, x: Tensor, ended: Ended, goal: Tensor, history: Tensor, applications: Applications) -> Solution:
    outcomes = [Outcome(code) for code in ended.status.tolist()]
    failing = [i for i, outcome in enumerate(outcomes) if outcome is not Outcome.CONVERGED]
    count, residual = ended.iterations, ended.residual.cpu()
    if failing:
        worst = max(failing, key=lambda i: math.inf if residual[i].isnan() else float(residual[i]))
        message = (
            f"{name}: {len(failing)} of {len(outcomes)} systems did not converge, relative residual "
            f"{float(residual[worst]):.2e} (goal {float(goal[worst]):.2e}) after {int(count[worst])} iterations: "
            f"{describe(outcomes[worst], ended, worst, x.dtype)}"
        )
    else:
        most, largest = (int(count.max()), float(residual.max())) if len(count) else (0, 0.0)
        message = f"{name}: {len(outcomes)} converged within {most} iterations, largest relative residual {largest:.2e}"
    return Solution(
        value=x,
        method=name,
        status=tuple(outcome.words for outcome in outcomes),
        iterations=count.cpu(),
        residuals=residual,
        goal=goal.cpu(),
        history=history.cpu(),
        applications=applications,
        message=message,
    )


def require_operator(A: object) -> None:
    if not isinstance(A, LinearOperator):
        raise InputError(
            f"A is a {type(A).__name__}, expected a LinearOperator; Sparse(matrix) or MatrixFree(function, space) "
            f"makes one"
        )


def require_symmetric(name: str, A: LinearOperator) -> None:
    require_operator(A)
    if not A.symmetric:
        raise InputError(f"{name} needs a symmetric operator and {A!r} is not; use gmres or bicgstab")


def _require_method(name: str, M: Any, A: LinearOperator) -> None:
    if isinstance(M, PreconditionerFactory) and M.method == "fcg" and name not in _FLEXIBLE:
        flexible = "fcg" if A.symmetric and A.definite is not False else "fgmres"
        raise InputError(
            f"{name} needs a preconditioner that is linear and the same in every iteration, and {type(M).__name__} is "
            f"made for flexible methods: use {flexible}"
        )


def require_count(name: str, value: int, least: int = 1) -> None:
    if not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {value!r}, expected an integer of at least {least}")
