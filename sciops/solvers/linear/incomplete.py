"""`IncompleteCholesky`: Cholesky factors without fill, of stencils and of sparse matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.solvers.linear.diffusion import Diffusion
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.preconditioner import preconditioners

_SHIFTS = (0.0, 1e-3, 1e-2, 1e-1, 1.0)


@preconditioners.register("ic0")
class IncompleteCholesky:
    r"""The preconditioner :math:`M = (L L^T)^{-1}` with L on the pattern of A, on a processor.

    Of a stencil, :math:`L L^T = (D + L_A) D^{-1} (D + L_A^T)` with the strict lower part of A itself: one array is
    kept. Couplings across periodic sides are left out. Each use costs about as much as two products.

    Parameters
    ----------
    A
        A Diffusion operator or a batch of them, or any symmetric operator that has `to_scipy`.
    shift
        The factors are those of :math:`A + \text{shift}\, \operatorname{diag}(A)`. None takes the first of 0, 1e-3,
        1e-2, 0.1, 1 that does not break down.

    Attributes
    ----------
    shift : float
        What was taken.

    Raises
    ------
    InputError
        If A is not symmetric or not on a processor, its diagonal is not positive, or the factors break down.

    References
    ----------
    J. A. Meijerink and H. A. van der Vorst, "An iterative solution method for linear systems of which the coefficient
    matrix is a symmetric M-matrix", 1977. T. A. Manteuffel, "An incomplete factorization technique for positive
    definite linear systems", 1980.

    Examples
    --------
    On a line there is no fill, and the factors are exact:

    >>> A = Diffusion(torch.ones(8, dtype=torch.float64), grid=1 / 8)
    >>> b = torch.ones(1, 1, 8, dtype=torch.float64)
    >>> bool((A @ IncompleteCholesky(A)(b) - b).abs().max() < 1e-12)
    True
    """

    symmetric = True

    def __init__(self, A: LinearOperator, shift: float | None = None) -> None:
        if not A.symmetric:
            raise InputError(f"IC(0) needs a symmetric operator and {A!r} is not; use 'lu' or 'jacobi'")
        if A.device.type != "cpu":
            raise InputError(f"IC(0) runs on a processor and {A!r} is on {A.device}; use 'jacobi' or 'multigrid' there")
        self._stencil = isinstance(A, Diffusion)
        self._factors: tuple[Any, ...] = _stencil(A) if isinstance(A, Diffusion) else _rows(A)
        diagonal = self._factors[0] if self._stencil else A.diagonal().detach().numpy()
        if not (diagonal > 0).all():
            raise InputError(
                f"IC(0) needs a positive diagonal, the smallest entry of that of A is {float(np.nanmin(diagonal)):.3g}"
            )
        from sciops.solvers.linear import incomplete_loops as loops

        self._loops = loops
        for attempt in _SHIFTS if shift is None else (shift,):
            if self._factor(attempt):
                self.shift = attempt
                return
        raise InputError(f"IC(0) breaks down with shift {attempt:g}: a pivot is not positive, A may not be definite")

    def _factor(self, shift: float) -> bool:
        if self._stencil:
            diagonal, coupling = self._factors[:2]
            pivots = np.empty_like(diagonal)
            fine = self._loops.factor_stencil(diagonal, coupling, pivots, 1.0 + shift)
            self._factors = diagonal, coupling, pivots
            return bool(fine)
        starts, columns, values = self._factors[:3]
        lower = values.copy()
        fine = self._loops.factor_rows(starts, columns, lower, 1.0 + shift)
        self._factors = starts, columns, values, lower
        return bool(fine)

    def __call__(self, r: Tensor) -> Tensor:
        r = r.contiguous()
        z = torch.empty_like(r)
        if self._stencil:
            _, coupling, pivots = self._factors
            grid = coupling.shape[2:]
            residual, answer = (t.detach().numpy().reshape(*r.shape[:2], *grid) for t in (r, z))
            self._loops.solve_stencil(coupling, pivots, residual, answer)
        else:
            starts, columns, _, lower = self._factors
            shape = (math.prod(r.shape[:2]), math.prod(r.shape[2:]))
            self._loops.solve_rows(starts, columns, lower, r.numpy().reshape(shape), z.numpy().reshape(shape))
        return z

    def __repr__(self) -> str:
        return f"IncompleteCholesky(shift={self.shift:g})"


def _stencil(A: Diffusion) -> tuple[Any, ...]:
    """Diagonal (batch, planes, rows, cells) and coupling (batch, 3, ...), no coupling across the ends."""
    d = len(A.space)
    grid = (*(1,) * (3 - d), *A.space)
    coupling = torch.zeros(A.batch, 3, *grid, dtype=A.dtype)
    coupling[:, 3 - d :] = A.coupling.detach().view(A.batch, d, *grid)
    for a in range(3):
        coupling[:, a].narrow(a + 1, grid[a] - 1, 1).zero_()
    return A.stencil_diagonal.detach().view(A.batch, *grid).numpy(), coupling.numpy()


def _rows(A: LinearOperator) -> tuple[Any, ...]:
    """The lower triangle row by row, the diagonal last in each row."""
    import scipy.sparse as sparse

    lower = sparse.csr_matrix(sparse.tril(A.to_scipy(), format="csr"))
    lower.sort_indices()
    there = (lower.diagonal() != 0).all()
    if not there:
        row = int(np.argmin(lower.diagonal() != 0))
        raise InputError(f"IC(0) needs a positive diagonal, that of row {row} is 0")
    return lower.indptr, lower.indices, lower.data
