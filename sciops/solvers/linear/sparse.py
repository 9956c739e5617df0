"""`Sparse`: a matrix in CSR form as an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.stencil import offsets
from sciops.solvers.linear.operator import DTYPES, LinearOperator


class Sparse(LinearOperator):
    """A square sparse matrix; symmetric if it is so to the rounding of an assembly (1e-13 of its largest entry).

    Products run by SciPy's loops on a processor (3 times as fast as torch's CSR product for one right-hand side) and by
    torch's on a GPU; where derivatives are taken, by a gather and a sum in plain torch.

    Parameters
    ----------
    matrix
        A SciPy sparse matrix or array, a NumPy array, or a tensor, dense or sparse in any layout. Real; `real_form`
        makes a real matrix of a complex one.
    dtype
        float32 or float64; that of the matrix unless given, float64 for integers.
    definite
        Whether it is symmetric positive definite, if known.

    Attributes
    ----------
    values : Tensor
        The entries, row by row.
    rows, columns : Tensor
        Their places.

    Raises
    ------
    InputError
        For a matrix that is not square, complex, empty, or not finite.

    Examples
    --------
    >>> A = Sparse(sparse.diags([[2.0, 2.0], [-1.0]], [0, 1]))
    >>> A
    Sparse((2,), float64, 3 entries, not symmetric)
    >>> (A.T @ torch.ones(2, dtype=torch.float64)).tolist()
    [2.0, 1.0]
    """

    def __init__(self, matrix: Any, *, dtype: torch.dtype | None = None, definite: bool | None = None) -> None:
        if isinstance(matrix, Tensor):
            values, rows, columns, shape = _entries(matrix)
        else:
            csr = _csr(matrix)
            values = torch.from_numpy(csr.data)
            rows = torch.from_numpy(np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr)).astype(np.int64))
            columns, shape = torch.from_numpy(csr.indices.astype(np.int64)), csr.shape
        if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
            raise InputError(f"the matrix has shape {tuple(shape)}, expected a square one with at least one row")
        if values.is_complex():
            raise InputError(
                f"the matrix is complex ({values.dtype}); solve its real form: Sparse(real_form(matrix)) with the real "
                f"parts of b before the imaginary ones"
            )
        values = values.to(dtype or (values.dtype if values.dtype in DTYPES else torch.float64))
        if values.dtype not in DTYPES:
            raise InputError(f"the matrix has dtype {values.dtype}, expected float32 or float64")
        bad = ~values.detach().isfinite()
        if bool(bad.any()):
            i = int(bad.nonzero()[0])
            raise InputError(
                f"the matrix has {int(bad.sum())} entries that are NaN or infinite, the first in row {int(rows[i])}, "
                f"column {int(columns[i])}; remove them first"
            )
        self._set(values, rows, columns, int(shape[0]))
        self.symmetric, self.definite = self._is_symmetric(), definite

    def _set(self, values: Tensor, rows: Tensor, columns: Tensor, n: int) -> None:
        self.values, self.rows, self.columns = values, rows, columns
        self.space, self.batch, self.dtype, self.device = (n,), 1, values.dtype, values.device
        self._matrix: Any = None

    def _csr_matrix(self) -> sparse.csr_matrix:
        n = self.space[0]
        starts = np.zeros(n + 1, dtype=np.int64)
        np.cumsum(np.bincount(self.rows.cpu().numpy(), minlength=n), out=starts[1:])
        small = self.values.numel() < 2**31
        index = np.int32 if small else np.int64
        parts: Any = self.values.detach().cpu().numpy(), self.columns.cpu().numpy().astype(index), starts.astype(index)
        return sparse.csr_matrix(parts, shape=(n, n))

    def _is_symmetric(self) -> bool:
        matrix = self._csr_matrix()
        gap = abs(matrix - matrix.T)
        largest = np.abs(matrix.data).max(initial=0.0)
        return bool(gap.nnz == 0 or gap.data.max(initial=0.0) <= 1000 * torch.finfo(self.dtype).eps * largest)

    def apply(self, u: Tensor) -> Tensor:
        if torch.is_grad_enabled() and (u.requires_grad or self.values.requires_grad):
            return torch.zeros_like(u).index_add(-1, self.rows, self.values * u[..., self.columns])
        if self._matrix is None:
            self._matrix = self._csr_matrix()
            if self.device.type != "cpu":
                starts, columns = (
                    torch.from_numpy(a).to(self.device) for a in (self._matrix.indptr, self._matrix.indices)
                )
                self._matrix = torch.sparse_csr_tensor(
                    starts, columns, self.values.detach(), size=(self.space[0], self.space[0])
                )
        flat = u.detach().reshape(-1, self.space[0])
        if self.device.type != "cpu":
            image: Tensor = (self._matrix @ flat.T).T.reshape(u.shape)
            return image
        found = [torch.from_numpy(self._matrix @ row) for row in flat.numpy()]
        return (found[0] if len(found) == 1 else torch.stack(found) if found else flat).reshape(u.shape)

    def diagonal(self) -> Float[Tensor, "1 n"]:
        on = self.rows == self.columns
        return self.values.new_zeros(self.space[0]).index_add(0, self.rows[on], self.values[on])[None]

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.values,)

    def rebuilt(self, tensors: Sequence[Tensor]) -> Sparse:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        (values,) = tensors
        made._set(values, self.rows.to(values.device), self.columns.to(values.device), self.space[0])
        return made

    def transposed(self) -> Sparse:
        order = torch.argsort(self.columns * self.space[0] + self.rows)
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._set(self.values[order], self.columns[order], self.rows[order], self.space[0])
        return made

    def to_scipy(self) -> sparse.csr_matrix:
        return self._csr_matrix().copy()

    def describe(self) -> str:
        return f"{self.values.numel()} entries, {'symmetric' if self.symmetric else 'not symmetric'}"


def from_scipy(matrix: Any, *, dtype: torch.dtype | None = None, definite: bool | None = None) -> Sparse:
    """The operator of a SciPy matrix; :meth:`LinearOperator.to_scipy` is the way back.

    Examples
    --------
    >>> from_scipy(sparse.identity(3)).diagonal().tolist()
    [[1.0, 1.0, 1.0]]
    """
    return Sparse(matrix, dtype=dtype, definite=definite)


def real_form(matrix: Any) -> sparse.csr_matrix:
    r"""The real matrix of twice the size that does what a complex one does.

    .. math:: \begin{pmatrix} \Re A & -\Im A \\ \Im A & \Re A \end{pmatrix}
        \begin{pmatrix} \Re x \\ \Im x \end{pmatrix} = \begin{pmatrix} \Re b \\ \Im b \end{pmatrix}

    Parameters
    ----------
    matrix
        A SciPy sparse matrix or a NumPy array.

    Examples
    --------
    >>> real_form(np.array([[2.0 + 1.0j]])).toarray().tolist()
    [[2.0, -1.0], [1.0, 2.0]]
    """
    A = sparse.csr_matrix(matrix)
    return sparse.csr_matrix(sparse.bmat([[A.real, -A.imag], [A.imag, A.real]]))


def stencil_matrix(diagonal: Float[Tensor, "1 *space"], coupling: Float[Tensor, "1 link *space"]) -> sparse.csr_matrix:
    """The matrix of an operator on a grid, cells in the order of their memory.

    Parameters
    ----------
    diagonal, coupling
        D and w of :mod:`sciops.kernels.stencil`; links lead along the axes or to all cells around
        (:func:`~sciops.kernels.stencil.offsets`), those across an end to the other end.

    Raises
    ------
    InputError
        For a batch, which is no single matrix.

    Examples
    --------
    >>> stencil_matrix(torch.full((1, 3), 2.0), torch.tensor([[[1.0, 1.0, 0.0]]])).toarray().tolist()
    [[2.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 2.0]]
    """
    if len(diagonal) != 1:
        raise InputError(f"a batch of {len(diagonal)} operators is no single matrix; take one of them")
    D, weights = (t.detach().cpu().numpy()[0] for t in (diagonal, coupling))
    index = np.arange(D.size).reshape(D.shape)
    rows, columns, values = [index.ravel()], [index.ravel()], [D.ravel()]
    for w, offset in zip(weights, offsets(D.ndim, len(weights)), strict=True):
        there = w != 0
        i, j = index[there], np.roll(index, tuple(-o for o in offset), range(D.ndim))[there]
        rows, columns, values = [*rows, i, j], [*columns, j, i], [*values, -w[there], -w[there]]
    parts = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix(parts, shape=(D.size, D.size))


def _csr(matrix: Any) -> sparse.csr_matrix:
    try:
        csr = sparse.csr_matrix(matrix, copy=True)
    except (TypeError, ValueError) as error:
        raise InputError(f"a {type(matrix).__name__} is no sparse matrix: {error}") from None
    csr.sum_duplicates()
    csr.sort_indices()
    return csr


def _entries(matrix: Tensor) -> tuple[Tensor, Int[Tensor, " entry"], Int[Tensor, " entry"], tuple[int, ...]]:
    """Values, rows and columns of a tensor, row by row, differentiable."""
    if matrix.ndim != 2:
        raise InputError(f"the matrix has shape {tuple(matrix.shape)}, expected a square one")
    if matrix.layout == torch.strided:
        rows, columns = matrix.detach().nonzero(as_tuple=True)
        return matrix[rows, columns], rows, columns, tuple(matrix.shape)
    if matrix.layout == torch.sparse_csr:
        counts = matrix.crow_indices().diff()
        rows = torch.arange(matrix.shape[0], device=matrix.device).repeat_interleave(counts)
        return matrix.values(), rows, matrix.col_indices().long(), tuple(matrix.shape)
    whole = (matrix if matrix.layout == torch.sparse_coo else matrix.to_sparse(layout=torch.sparse_coo)).coalesce()
    rows, columns = whole.indices()
    return whole.values(), rows, columns, tuple(matrix.shape)
