"""`SparseLU`: SciPy's sparse direct factorisation as a preconditioner, which `refine` makes a solver of."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import MatrixRankWarning, splu
from torch import Tensor

from sciops.errors import InputError, SolverError
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.preconditioner import preconditioners


@preconditioners.register("lu")
class SparseLU:
    """The inverse by sparse LU factors (SuperLU), in float64 on a processor.

    Set up once, each use takes two triangular solves. In two dimensions the factors of n unknowns take O(n log n)
    memory, in three O(n^(4/3)).

    Parameters
    ----------
    A
        An operator that has `to_scipy`, or a batch of Diffusion operators.

    Raises
    ------
    SolverError
        If A is singular.
    InputError
        If its matrix cannot be had.

    Examples
    --------
    >>> from sciops.solvers.linear import Sparse
    >>> M = SparseLU(Sparse(torch.tensor([[0.0, 2.0], [1.0, 0.0]]).double()))
    >>> M(torch.tensor([[[4.0, 3.0]]]).double()).tolist(), M.T(torch.tensor([[[4.0, 3.0]]]).double()).tolist()
    ([[[3.0, 2.0]]], [[[1.5, 4.0]]])
    """

    def __init__(self, A: LinearOperator) -> None:
        self.symmetric, self.space, self.trans = A.symmetric, A.space, "N"
        self.factors: list[Any] = []
        for i, one in enumerate(A.singles()):
            matrix = one.to_scipy().astype(np.float64).tocsc()
            options: dict[str, Any] = dict(permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.001) if A.symmetric else {}
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", MatrixRankWarning)
                    self.factors.append(splu(matrix, **options))
            except (RuntimeError, MatrixRankWarning):
                which = f" (operator {i} of the batch)" if A.batch > 1 else ""
                raise SolverError(
                    f"{A!r}{which} is singular: LU met a pivot that is zero; use minres or gmres, which solve singular "
                    f"systems with a consistent b, and look for empty rows"
                ) from None

    def __call__(self, r: Tensor) -> Tensor:
        if len(self.factors) not in (1, len(r)):
            raise InputError(f"{self!r} does not fit residuals of shape {tuple(r.shape)}")
        n = int(torch.Size(self.space).numel())
        factors = self.factors * len(r) if len(self.factors) == 1 else self.factors
        found = [
            np.ascontiguousarray(lu.solve(part.reshape(-1, n).double().cpu().numpy().T, self.trans).T)
            for lu, part in zip(factors, r.detach(), strict=True)
        ]
        return torch.from_numpy(np.stack(found)).to(dtype=r.dtype, device=r.device).reshape(r.shape)

    @property
    def T(self) -> SparseLU:
        """The inverse of the transpose, by the same factors."""
        other = object.__new__(SparseLU)
        other.__dict__.update(self.__dict__, trans="T" if self.trans == "N" else "N")
        return other

    def __repr__(self) -> str:
        return f"SparseLU({self.space}, {sum(lu.L.nnz + lu.U.nnz for lu in self.factors)} entries)"
