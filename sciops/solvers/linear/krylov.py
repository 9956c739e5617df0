"""Krylov methods: `cg`, `block_cg`, `fcg`, `minres`, `gmres`, `fgmres`, `bicgstab`, and `refine` for direct solvers.

All take many systems at once (a batch of operators, several right-hand sides), stop by the true residual of each, and
are differentiable in b and in the tensors of A, to any order, by :mod:`sciops.solvers.linear.implicit`.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sciops.errors import InputError, SolverError
from sciops.solvers.linear.implicit import implicit
from sciops.solvers.linear.krylov_bicgstab import StabilizedBiconjugateGradients
from sciops.solvers.linear.krylov_block import BlockConjugateGradients
from sciops.solvers.linear.krylov_conjugate import ConjugateGradients, FlexibleConjugateGradients
from sciops.solvers.linear.krylov_driver import Ended, describe, iterate
from sciops.solvers.linear.krylov_minimal import GeneralizedMinimalResidual, MinimalResidual
from sciops.solvers.linear.krylov_refine import Refinement
from sciops.solvers.linear.krylov_system import Start, System, norm, split
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.preconditioner import Preconditioner, PreconditionerFactory, as_preconditioner, transpose
from sciops.solvers.linear.solution import Applications, Outcome, Solution

_FLEXIBLE = ("fcg", "fgmres", "refine")  # the methods under which M may be anything
_MOST = 100_000  # iterations, unless maxiter says otherwise
_RANGE = {torch.float64: (1e-100, 1e100), torch.float32: (1e-12, 1e12)}  # whose squares are numbers too


def cg(
    A: LinearOperator,
    b: Float[Tensor, "*lead *space"],
    *,
    M: Any = None,
    x0: Tensor | None = None,
    rtol: float = 1e-6,
    atol: float = 0.0,
    maxiter: int | None = None,
    raise_on_failure: bool = True,
) -> Solution:
    r"""Solve A x = b for a symmetric positive definite A, by preconditioned conjugate gradients.

    Minimises the energy norm of the error over the Krylov space; an iteration takes one product with A and one with M.

    Parameters
    ----------
    A
        The operator, symmetric.
    b
        Right-hand sides; :mod:`sciops.solvers.linear.operator` states the shapes, one system for each field.
    M
        The preconditioner, symmetric positive definite: what
        :func:`~sciops.solvers.linear.preconditioner.as_preconditioner` takes. A wrong one is named, at no cost: M is
        indefinite where <r, M r> <= 0, not symmetric where <M r_1, r_0> is not 0 after the first iteration.
    x0
        A guess, of the shape of b.
    rtol, atol
        A system has converged when :math:`|b - A x| \le \max(\mathrm{rtol}\, |b|, \mathrm{atol})`.
    maxiter
        The most iterations; 10 for each unknown, at most 100,000, if None.
    raise_on_failure
        Whether a system that has not converged raises; if not, `Solution.status` tells.

    Returns
    -------
    Solution
        x with the shape of b, the true residuals, and how each system ended.

    Raises
    ------
    SolverError
        If a system did not converge; its `solution` has what there is.
    InputError
        For shapes, dtypes or devices that do not fit, or an A or M that is known not to be symmetric.

    Notes
    -----
    A singular A is fine where b lies in its range. Where `A.nullspace` is known, b is checked first, rounding is
    projected out of it, and x is returned orthogonal to the null space.

    References
    ----------
    M. R. Hestenes, E. Stiefel, "Methods of conjugate gradients for solving linear systems", 1952.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion
    >>> A = Diffusion(torch.ones(32, 32, dtype=torch.float64), grid=1 / 32)
    >>> found = cg(A, torch.ones(32, 32, dtype=torch.float64), M="jacobi", rtol=1e-8)
    >>> round(float(found.value.max()), 3), bool(found.residuals <= 1e-8)
    (0.074, True)
    """
    _require_symmetric("cg", A)
    return _solve("cg", ConjugateGradients, A, b, M, x0, rtol, atol, maxiter, raise_on_failure, definite=True)


def block_cg(
    A: LinearOperator,
    b: Float[Tensor, "*lead *space"],
    *,
    M: Any = None,
    x0: Tensor | None = None,
    rtol: float = 1e-6,
    atol: float = 0.0,
    maxiter: int | None = None,
    raise_on_failure: bool = True,
) -> Solution:
    """Solve A x = b for several right-hand sides of a symmetric positive definite A, by block conjugate gradients.

    It takes fewer iterations than :func:`cg`, and more work in each: an answer is sought in the Krylov spaces of all
    right-hand sides of its operator, and s of them converge as if the s - 1 smallest eigenvalues were not there.
    Right-hand sides may depend on each other. A break-down of an operator ends all its systems.

    Parameters
    ----------
    A, b, M, x0, rtol, atol, maxiter, raise_on_failure
        As of :func:`cg`.

    Returns
    -------
    Solution
        As of :func:`cg`.

    Raises
    ------
    SolverError, InputError
        As of :func:`cg`.

    Notes
    -----
    An iteration takes one product with A and one with M for each right-hand side, and 16 n s^2 operations for s of
    them: worth its time where the products cost much and the iterations are many.

    References
    ----------
    D. P. O'Leary, "The block conjugate gradient algorithm and related methods", 1980. A. A. Dubrulle, "Retooling the
    method of block conjugate gradients", 2001. H. Ji and Y. Li, "A breakdown-free block conjugate gradient method",
    2017.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion
    >>> A = Diffusion(torch.ones(64, dtype=torch.float64), grid=1 / 64)
    >>> b = torch.randn(8, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> bool(block_cg(A, b).iterations.max() < cg(A, b).iterations.min() / 4)
    True
    """
    _require_symmetric("block_cg", A)
    return _solve(
        "block_cg", BlockConjugateGradients, A, b, M, x0, rtol, atol, maxiter, raise_on_failure, definite=True
    )


def fcg(
    A: LinearOperator,
    b: Float[Tensor, "*lead *space"],
    *,
    M: Any = None,
    x0: Tensor | None = None,
    rtol: float = 1e-6,
    atol: float = 0.0,
    maxiter: int | None = None,
    raise_on_failure: bool = True,
    keep: int = 1,
) -> Solution:
    """Solve A x = b for a symmetric positive definite A with any preconditioner, by flexible conjugate gradients.

    M may be nonlinear, change from step to step, or be indefinite: each direction is made conjugate to the last `keep`.

    Parameters
    ----------
    A, b, M, x0, rtol, atol, maxiter, raise_on_failure
        As of :func:`cg`; M is any map.
    keep
        How many directions are kept; each costs two vectors and their products. With 0 it is the method of steepest
        descent along M r.

    Returns
    -------
    Solution
        As of :func:`cg`.

    Raises
    ------
    SolverError, InputError
        As of :func:`cg`.

    References
    ----------
    Y. Notay, "Flexible conjugate gradients", 2000.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion
    >>> A = Diffusion(torch.ones(16, dtype=torch.float64), grid=1 / 16)
    >>> fcg(A, torch.ones(16, dtype=torch.float64), M=lambda r: r / (1 + r.norm())).converged
    True
    """
    _require_symmetric("fcg", A)
    _require_count("keep", keep, least=0)
    start = functools.partial(FlexibleConjugateGradients, keep=keep)
    return _solve("fcg", start, A, b, M, x0, rtol, atol, maxiter, raise_on_failure)


def minres(
    A: LinearOperator,
    b: Float[Tensor, "*lead *space"],
    *,
    M: Any = None,
    x0: Tensor | None = None,
    rtol: float = 1e-6,
    atol: float = 0.0,
    maxiter: int | None = None,
    raise_on_failure: bool = True,
) -> Solution:
    """Solve A x = b for a symmetric A, indefinite or singular too, by the minimal residual method.

    An iteration takes one product with A and one with M, and one more with A each time the goal seems near.

    Parameters
    ----------
    A, b, x0, rtol, atol, maxiter, raise_on_failure
        As of :func:`cg`; A need not be definite.
    M
        As of :func:`cg`: symmetric and positive definite, also where A is not.

    Returns
    -------
    Solution
        As of :func:`cg`.

    Raises
    ------
    SolverError, InputError
        As of :func:`cg`.

    References
    ----------
    C. C. Paige and M. A. Saunders, "Solution of sparse indefinite systems of linear equations", 1975.

    Examples
    --------
    >>> from sciops.data import Grid
    >>> from sciops.solvers.linear import Helmholtz
    >>> A = Helmholtz(20.0, Grid.unit(64, kind="cell"))
    >>> minres(A, torch.ones(64, dtype=torch.float64)).converged
    True
    """
    _require_symmetric("minres", A)
    return _solve("minres", MinimalResidual, A, b, M, x0, rtol, atol, maxiter, raise_on_failure, definite=True)


def gmres(
    A: LinearOperator,
    b: Float[Tensor, "*lead *space"],
    *,
    M: Any = None,
    x0: Tensor | None = None,
    rtol: float = 1e-6,
    atol: float = 0.0,
    maxiter: int | None = None,
    raise_on_failure: bool = True,
    restart: int = 30,
) -> Solution:
    """Solve A x = b for any A, by the generalised minimal residual method, preconditioned from the right.

    An iteration takes one product with A and one with M; a run of m keeps m + 1 vectors and makes them orthogonal.

    Parameters
    ----------
    A, b, x0, rtol, atol, maxiter, raise_on_failure
        As of :func:`cg`; A may be anything.
    M
        The preconditioner, linear and always the same.
    restart
        Iterations after which the method starts again from x.

    Returns
    -------
    Solution
        As of :func:`cg`.

    Raises
    ------
    SolverError, InputError
        As of :func:`cg`. "stagnated" where a whole run gained nothing.

    References
    ----------
    Y. Saad and M. H. Schultz, "GMRES: a generalized minimal residual algorithm for solving nonsymmetric linear
    systems", 1986.

    Examples
    --------
    >>> from sciops.solvers.linear import Sparse
    >>> A = Sparse(torch.tensor([[0.0, 2.0], [-1.0, 0.0]]).double())
    >>> gmres(A, torch.tensor([2.0, -3.0]).double()).value.round(decimals=6).tolist()
    [3.0, 1.0]
    """
    _require_count("restart", restart)
    start = functools.partial(GeneralizedMinimalResidual, restart=restart)
    return _solve("gmres", start, A, b, M, x0, rtol, atol, maxiter, raise_on_failure)


def fgmres(
    A: LinearOperator,
    b: Float[Tensor, "*lead *space"],
    *,
    M: Any = None,
    x0: Tensor | None = None,
    rtol: float = 1e-6,
    atol: float = 0.0,
    maxiter: int | None = None,
    raise_on_failure: bool = True,
    restart: int = 30,
) -> Solution:
    """:func:`gmres` with a preconditioner that may be nonlinear or change; it keeps twice as many vectors.

    Parameters
    ----------
    A, b, x0, rtol, atol, maxiter, raise_on_failure, restart
        As of :func:`gmres`.
    M
        Any map.

    Returns
    -------
    Solution
        As of :func:`cg`.

    Raises
    ------
    SolverError, InputError
        As of :func:`gmres`.

    References
    ----------
    Y. Saad, "A flexible inner-outer preconditioned GMRES algorithm", 1993.

    Examples
    --------
    >>> from sciops.solvers.linear import Sparse
    >>> A = Sparse(torch.tensor([[2.0, 1.0], [0.0, 3.0]]).double())
    >>> fgmres(A, torch.ones(2).double(), M=lambda r: r / (1 + r.square())).converged
    True
    """
    _require_count("restart", restart)
    start = functools.partial(GeneralizedMinimalResidual, restart=restart, flexible=True)
    return _solve("fgmres", start, A, b, M, x0, rtol, atol, maxiter, raise_on_failure)


def bicgstab(
    A: LinearOperator,
    b: Float[Tensor, "*lead *space"],
    *,
    M: Any = None,
    x0: Tensor | None = None,
    rtol: float = 1e-6,
    atol: float = 0.0,
    maxiter: int | None = None,
    raise_on_failure: bool = True,
) -> Solution:
    """Solve A x = b for any A with seven vectors of memory, by stabilised biconjugate gradients.

    An iteration takes two products with A and two with M. The method can break down; it then starts again from x as
    long as that helps, and else says so.

    Parameters
    ----------
    A, b, x0, rtol, atol, maxiter, raise_on_failure
        As of :func:`cg`; A may be anything.
    M
        The preconditioner, linear and always the same.

    Returns
    -------
    Solution
        As of :func:`cg`.

    Raises
    ------
    SolverError, InputError
        As of :func:`cg`.

    References
    ----------
    H. A. van der Vorst, "Bi-CGSTAB: a fast and smoothly converging variant of Bi-CG", 1992.

    Examples
    --------
    >>> from sciops.solvers.linear import Sparse
    >>> A = Sparse(torch.tensor([[2.0, 1.0], [0.0, 3.0]]).double())
    >>> bicgstab(A, torch.tensor([4.0, 6.0]).double()).value.round(decimals=6).tolist()
    [1.0, 2.0]
    """
    return _solve("bicgstab", StabilizedBiconjugateGradients, A, b, M, x0, rtol, atol, maxiter, raise_on_failure)


def refine(
    A: LinearOperator,
    b: Float[Tensor, "*lead *space"],
    *,
    M: Any = None,
    x0: Tensor | None = None,
    rtol: float = 1e-6,
    atol: float = 0.0,
    maxiter: int | None = None,
    raise_on_failure: bool = True,
) -> Solution:
    r"""Solve A x = b by :math:`x \leftarrow x + M (b - A x)`, iterative refinement for an M that is nearly the inverse.

    This is how direct solvers are called: with an exact M it takes one iteration, and a second one where rounding asks
    for it. A system ends as "stagnated" when an iteration does not take at least a tenth off its residual.

    Parameters
    ----------
    A, b, x0, rtol, atol, maxiter, raise_on_failure
        As of :func:`cg`; A may be anything.
    M
        An approximate inverse, for example ``"lu"`` or ``"fast"``.

    Returns
    -------
    Solution
        As of :func:`cg`.

    Raises
    ------
    SolverError, InputError
        As of :func:`cg`.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion
    >>> A = Diffusion(torch.ones(8, 8, dtype=torch.float64), grid=1 / 8)
    >>> found = refine(A, torch.ones(8, 8, dtype=torch.float64), M="fast", rtol=1e-12)
    >>> found.iterations.tolist()
    [1]
    """
    return _solve("refine", Refinement, A, b, M, x0, rtol, atol, maxiter, raise_on_failure)


def _solve(
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
    _require_operator(A)
    if not (0 <= rtol < math.inf and 0 <= atol < math.inf):
        raise InputError(f"rtol is {rtol} and atol {atol}; both are finite and at least 0")
    if maxiter is not None:
        _require_count("maxiter", maxiter)
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


def _require_operator(A: object) -> None:
    if not isinstance(A, LinearOperator):
        raise InputError(
            f"A is a {type(A).__name__}, expected a LinearOperator; Sparse(matrix) or MatrixFree(function, space) "
            f"makes one"
        )


def _require_symmetric(name: str, A: LinearOperator) -> None:
    _require_operator(A)
    if not A.symmetric:
        raise InputError(f"{name} needs a symmetric operator and {A!r} is not; use gmres or bicgstab")


def _require_method(name: str, M: Any, A: LinearOperator) -> None:
    if isinstance(M, PreconditionerFactory) and M.method == "fcg" and name not in _FLEXIBLE:
        flexible = "fcg" if A.symmetric and A.definite is not False else "fgmres"
        raise InputError(
            f"{name} needs a preconditioner that is linear and the same in every iteration, and {type(M).__name__} is "
            f"made for flexible methods: use {flexible}"
        )


def _require_count(name: str, value: int, least: int = 1) -> None:
    if not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {value!r}, expected an integer of at least {least}")
