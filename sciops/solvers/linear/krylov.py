"""Krylov methods: `cg`, `block_cg`, `fcg`, `minres`, `gmres`, `fgmres`, `bicgstab`, and `refine` for direct solvers.

All take many systems at once (a batch of operators, several right-hand sides), stop by the true residual of each, and
are differentiable in b and in the tensors of A, to any order, by :mod:`sciops.solvers.linear.implicit`.
"""

from __future__ import annotations

import functools
from typing import Any

from jaxtyping import Float
from torch import Tensor

from sciops.solvers.linear.krylov_answer import require_count, require_symmetric, solve_by
from sciops.solvers.linear.krylov_bicgstab import StabilizedBiconjugateGradients
from sciops.solvers.linear.krylov_block import BlockConjugateGradients
from sciops.solvers.linear.krylov_conjugate import ConjugateGradients, FlexibleConjugateGradients
from sciops.solvers.linear.krylov_minimal import GeneralizedMinimalResidual, MinimalResidual
from sciops.solvers.linear.krylov_refine import Refinement
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.solution import Solution


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
    >>> import torch
    >>> from sciops.solvers.linear import Diffusion
    >>> A = Diffusion(torch.ones(32, 32, dtype=torch.float64), grid=1 / 32)
    >>> found = cg(A, torch.ones(32, 32, dtype=torch.float64), M="jacobi", rtol=1e-8)
    >>> round(float(found.value.max()), 3), bool(found.residuals <= 1e-8)
    (0.074, True)
    """
    require_symmetric("cg", A)
    return solve_by("cg", ConjugateGradients, A, b, M, x0, rtol, atol, maxiter, raise_on_failure, definite=True)


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
    >>> import torch
    >>> from sciops.solvers.linear import Diffusion
    >>> A = Diffusion(torch.ones(64, dtype=torch.float64), grid=1 / 64)
    >>> b = torch.randn(8, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> bool(block_cg(A, b).iterations.max() < cg(A, b).iterations.min() / 4)
    True
    """
    require_symmetric("block_cg", A)
    return solve_by(
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
    >>> import torch
    >>> from sciops.solvers.linear import Diffusion
    >>> A = Diffusion(torch.ones(16, dtype=torch.float64), grid=1 / 16)
    >>> fcg(A, torch.ones(16, dtype=torch.float64), M=lambda r: r / (1 + r.norm())).converged
    True
    """
    require_symmetric("fcg", A)
    require_count("keep", keep, least=0)
    start = functools.partial(FlexibleConjugateGradients, keep=keep)
    return solve_by("fcg", start, A, b, M, x0, rtol, atol, maxiter, raise_on_failure)


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
    >>> import torch
    >>> from sciops.data import Grid
    >>> from sciops.solvers.linear import Helmholtz
    >>> A = Helmholtz(20.0, Grid.unit(64, kind="cell"))
    >>> minres(A, torch.ones(64, dtype=torch.float64)).converged
    True
    """
    require_symmetric("minres", A)
    return solve_by("minres", MinimalResidual, A, b, M, x0, rtol, atol, maxiter, raise_on_failure, definite=True)


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
    >>> import torch
    >>> from sciops.solvers.linear import Sparse
    >>> A = Sparse(torch.tensor([[0.0, 2.0], [-1.0, 0.0]]).double())
    >>> gmres(A, torch.tensor([2.0, -3.0]).double()).value.round(decimals=6).tolist()
    [3.0, 1.0]
    """
    require_count("restart", restart)
    start = functools.partial(GeneralizedMinimalResidual, restart=restart)
    return solve_by("gmres", start, A, b, M, x0, rtol, atol, maxiter, raise_on_failure)


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
    >>> import torch
    >>> from sciops.solvers.linear import Sparse
    >>> A = Sparse(torch.tensor([[2.0, 1.0], [0.0, 3.0]]).double())
    >>> fgmres(A, torch.ones(2).double(), M=lambda r: r / (1 + r.square())).converged
    True
    """
    require_count("restart", restart)
    start = functools.partial(GeneralizedMinimalResidual, restart=restart, flexible=True)
    return solve_by("fgmres", start, A, b, M, x0, rtol, atol, maxiter, raise_on_failure)


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
    >>> import torch
    >>> from sciops.solvers.linear import Sparse
    >>> A = Sparse(torch.tensor([[2.0, 1.0], [0.0, 3.0]]).double())
    >>> bicgstab(A, torch.tensor([4.0, 6.0]).double()).value.round(decimals=6).tolist()
    [1.0, 2.0]
    """
    return solve_by("bicgstab", StabilizedBiconjugateGradients, A, b, M, x0, rtol, atol, maxiter, raise_on_failure)


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
    >>> import torch
    >>> from sciops.solvers.linear import Diffusion
    >>> A = Diffusion(torch.ones(8, 8, dtype=torch.float64), grid=1 / 8)
    >>> found = refine(A, torch.ones(8, 8, dtype=torch.float64), M="fast", rtol=1e-12)
    >>> found.iterations.tolist()
    [1]
    """
    return solve_by("refine", Refinement, A, b, M, x0, rtol, atol, maxiter, raise_on_failure)
