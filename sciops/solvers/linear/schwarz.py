"""`Schwarz`: additive overlapping domain decomposition on grids, with a coarse space."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sparse
import torch
from scipy.sparse.linalg import splu
from torch import Tensor

from sciops.errors import InputError
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.preconditioner import preconditioners


class Schwarz:
    r"""The two-level additive Schwarz preconditioner, symmetric positive definite for such an A.

    .. math:: M = \sum_i R_i^T A_i^{-1} R_i + R_0^T (R_0 A R_0^T)^{-1} R_0

    A_i is A on the cells of part i and `overlap` cells around it, solved by sparse LU; the functions of
    the coarse space are piecewise linear along each axis, 1 in the centre of one part and 0 in those of the others.

    Parameters
    ----------
    A
        A symmetric operator on a grid that has `to_scipy`, or a batch of Diffusion operators.
    parts
        Into how many parts an axis is cut: a number for all, or one for each axis; a part has at least one cell.
    overlap
        Cells by which each part reaches into its neighbours.
    coarse
        Whether there is a coarse space. Without it iterations grow with the number of parts.

    Raises
    ------
    InputError
        For a number of parts that the grid does not have cells for, a negative overlap, an A that is not symmetric, or
        a part on which it is singular.

    References
    ----------
    M. Dryja and O. B. Widlund, "An additive variant of the Schwarz alternating method", 1987. X.-C. Cai,
    "The use of pointwise interpolation in domain decomposition methods with nonnested meshes", 1995.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion, cg
    >>> A = Diffusion(torch.ones(16, 16, dtype=torch.float64), grid=1 / 16)
    >>> b = torch.ones(16, 16, dtype=torch.float64)
    >>> bool(cg(A, b, M=Schwarz(A, 4)).iterations < cg(A, b).iterations)
    True
    """

    symmetric = True

    def __init__(
        self, A: LinearOperator, parts: int | Sequence[int] = 2, overlap: int = 2, *, coarse: bool = True
    ) -> None:
        if not A.symmetric:
            raise InputError(f"additive Schwarz needs a symmetric operator and {A!r} is not; use fgmres with another M")
        counts = (parts,) * len(A.space) if isinstance(parts, int) else tuple(parts)
        if len(counts) != len(A.space) or any(not 1 <= p <= n for p, n in zip(counts, A.space, strict=False)):
            raise InputError(f"parts is {counts}, expected a number from 1 to the cells of each axis of {A.space}")
        if not isinstance(overlap, int) or overlap < 0:
            raise InputError(f"the overlap is {overlap!r}, expected a whole number of cells")
        self.parts, self.overlap, self.coarse, self.space = counts, overlap, coarse, A.space
        cuts = [[(q * n // p, (q + 1) * n // p) for q in range(p)] for p, n in zip(counts, A.space, strict=True)]
        boxes = list(itertools.product(*cuts))
        index = np.arange(A.unknowns).reshape(A.space)
        self._cells = [
            index[tuple(slice(max(lo - overlap, 0), hi + overlap) for lo, hi in box)].ravel() for box in boxes
        ]
        self._coarse = _hats(cuts, A.space)
        self._solvers = [self._set_up(one) for one in A.singles()]

    def _set_up(self, A: LinearOperator) -> list[tuple[Any, Any]]:
        matrix = A.to_scipy().astype(np.float64)
        spaces = [sparse.csr_matrix(matrix[cells][:, cells]) for cells in self._cells]
        if self.coarse:
            spaces.append(sparse.csr_matrix(self._coarse @ matrix @ self._coarse.T))
        found: list[tuple[Any, Any]] = []
        for i, local in enumerate(spaces):
            try:
                solver = splu(local.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.001)
            except RuntimeError:
                where = f"part {i}" if i < len(self._cells) else "the coarse space"
                raise InputError(
                    f"{A!r} is singular on {where}; leave the coarse space out, or fix the null space"
                ) from None
            found.append((None if i == len(self._cells) else self._cells[i], solver))
        return found

    def __call__(self, r: Tensor) -> Tensor:
        n = math.prod(self.space)
        solvers = self._solvers * len(r) if len(self._solvers) == 1 else self._solvers
        found = []
        for part, local in zip(r.detach(), solvers, strict=True):
            columns = np.ascontiguousarray(part.reshape(-1, n).double().cpu().numpy().T)
            total = np.zeros_like(columns)
            for cells, solver in local:
                if cells is None:
                    total += self._coarse.T @ solver.solve(self._coarse @ columns)
                else:
                    total[cells] += solver.solve(columns[cells])
            found.append(total.T)
        return torch.from_numpy(np.stack(found)).to(dtype=r.dtype, device=r.device).reshape(r.shape)

    def __repr__(self) -> str:
        return f"Schwarz(parts={self.parts}, overlap={self.overlap}, coarse={self.coarse})"


def _hats(cuts: list[list[tuple[int, int]]], space: Sequence[int]) -> sparse.csr_matrix:
    """The functions of the coarse space as rows, in the order of the parts."""
    found = sparse.csr_matrix(np.ones((1, 1)))
    for axis, n in zip(cuts, space, strict=True):
        centres = np.array([(lo + hi - 1) / 2 for lo, hi in axis])
        hats = np.stack([np.interp(np.arange(n), centres, unit) for unit in np.eye(len(centres))])
        found = sparse.csr_matrix(sparse.kron(found, hats))
    return found


@preconditioners.register("schwarz")
def _schwarz(A: LinearOperator) -> Schwarz:
    """Parts of about 16 cells along an axis, two at least where there are two cells."""
    return Schwarz(A, [min(max(2, round(n / 16)), n) for n in A.space])
