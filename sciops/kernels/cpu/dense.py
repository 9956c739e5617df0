"""Dense solves on a processor: small matrices many together, a vector lane each; larger ones by LAPACK.

torch's batched LU is wrong for matrices beyond SAFE on two threads; they are taken one by one, which is right.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from sciops.kernels.cpu.compiled import compiled, prange
from sciops.kernels.cpu.systems import arrays, finite, threaded
from sciops.kernels.dense import SAFE, first_bad

SMALL = 32  # measured: LAPACK is quicker above
# Matrices eliminated together, measured. A power of two puts the entries of a matrix into few lines of the cache; and a
# number that the compiler knew would have it unroll the loops over lanes instead of making vectors of them.
LANES = 72


def factor(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if A.shape[-1] > SMALL:
        if A.shape[-1] <= SAFE:
            found = torch.linalg.lu_factor_ex(A)
            return found.LU.contiguous(), found.pivots, first_bad(found.LU)
        lu, pivots = torch.empty_like(A), torch.empty(A.shape[:-1], dtype=torch.int32)
        for a, out, swaps in zip(A, lu, pivots, strict=True):
            found = torch.linalg.lu_factor_ex(a)
            out.copy_(found.LU)
            swaps.copy_(found.pivots)
        return lu, pivots, first_bad(lu)
    lu, pivots = torch.empty_like(A), torch.empty(A.shape[:-1], dtype=torch.int32)
    status = torch.empty(A.shape[:1], dtype=torch.int32)
    _factor(*arrays(A, lu, pivots, status), _lanes(A))
    return lu, pivots, status


def substitute(A: Tensor, lu: Tensor, pivots: Tensor, B: Tensor, transpose: bool) -> Tensor:
    X = torch.empty_like(B)
    if A.shape[-1] <= SMALL:
        _substitute(*arrays(lu, pivots, B, X), transpose, _lanes(A))
        return X
    if A.shape[-1] <= SAFE:
        X = torch.linalg.lu_solve(lu, pivots, B, adjoint=transpose).contiguous()
    else:
        for a, swaps, b, x in zip(lu, pivots, B, X, strict=True):
            x.copy_(torch.linalg.lu_solve(a, swaps, b, adjoint=transpose))
    return X.masked_fill_((first_bad(lu) != 0)[:, None, None], torch.nan)


def solve(A: Tensor, B: Tensor, transpose: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if A.shape[-1] > SMALL:
        if A.shape[-1] <= SAFE and not transpose:
            # the call behind torch.linalg.solve, which would throw the factors away
            found = torch.ops.aten._linalg_solve_ex.default(A, B)
            status = first_bad(found[1])
            X = found[0].contiguous().masked_fill_((status != 0)[:, None, None], torch.nan)
            return X, found[1].contiguous(), found[2], status
        lu, pivots, status = factor(A)
        return substitute(A, lu, pivots, B, transpose), lu, pivots, status
    X, lu, pivots = torch.empty_like(B), torch.empty_like(A), torch.empty(A.shape[:-1], dtype=torch.int32)
    status = torch.empty(A.shape[:1], dtype=torch.int32)
    _solve(*arrays(A, B, X, lu, pivots, status), transpose, _lanes(A))
    return X, lu, pivots, status


def spd_substitute(A: Tensor, factor: Tensor, B: Tensor) -> Tensor:
    if A.shape[-1] > SMALL:
        bad = ~factor.diagonal(dim1=-2, dim2=-1).isfinite().all(-1)
        return torch.cholesky_solve(B, factor).contiguous().masked_fill_(bad[:, None, None], torch.nan)
    X = torch.empty_like(B)
    _spd_substitute(*arrays(factor, B, X), _lanes(A))
    return X


def spd_solve(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if A.shape[-1] > SMALL:
        lower, status = torch.linalg.cholesky_ex((A + A.mT).mul_(0.5))
        X = torch.cholesky_solve(B, lower).contiguous()
        bad = (status != 0)[:, None, None]
        return X.masked_fill_(bad, torch.nan), lower.masked_fill_(bad, torch.nan).tril_().contiguous(), status
    X, lower, status = torch.empty_like(B), torch.empty_like(A), torch.empty(A.shape[:1], dtype=torch.int32)
    _spd_solve(*arrays(A, B, X, lower, status), _lanes(A))
    return X, lower, status


def _lanes(A: Tensor) -> int:
    return min(LANES, len(A))


@compiled
def _pack(many: np.ndarray, first: int, lanes: np.ndarray) -> None:
    """Matrices from `first` on, the index of the matrix last; the last matrix fills lanes to spare."""
    for q in range(lanes.shape[2]):
        m = min(first + q, many.shape[0] - 1)
        for i in range(many.shape[1]):
            for j in range(many.shape[2]):
                lanes[i, j, q] = many[m, i, j]


@compiled
def _unpack(lanes: np.ndarray, first: int, many: np.ndarray) -> None:
    for q in range(min(lanes.shape[2], many.shape[0] - first)):
        for i in range(many.shape[1]):
            for j in range(many.shape[2]):
                many[first + q, i, j] = lanes[i, j, q]


# written into the loops that call them: a call costs more than the work on a vector of lanes
@njit(inline="always")
def _subtract(x: np.ndarray, f: np.ndarray, y: np.ndarray) -> None:
    for q in range(x.size):
        x[q] -= f[q] * y[q]


@njit(inline="always")
def _divide(x: np.ndarray, d: np.ndarray) -> None:
    for q in range(x.size):
        x[q] /= d[q]


@compiled
def _eliminate(a: np.ndarray, pivots: np.ndarray, d: np.ndarray) -> None:
    """LU of every lane in place; pivots (n, lanes) counted from 0; d is work space."""
    n, _, lanes = a.shape
    for k in range(n):
        for q in range(lanes):
            d[q] = abs(a[k, k, q])
            pivots[k, q] = k
        for i in range(k + 1, n):
            for q in range(lanes):
                size = abs(a[i, k, q])
                larger = size > d[q]
                d[q] = size if larger else d[q]
                pivots[k, q] = i if larger else pivots[k, q]
        for q in range(lanes):
            p = pivots[k, q]
            if p != k:
                for j in range(n):
                    a[k, j, q], a[p, j, q] = a[p, j, q], a[k, j, q]
            # a column of zeros stays as it is, as in LAPACK
            d[q] = a[k, k, q] if a[k, k, q] != 0 else a.dtype.type(1)
        for i in range(k + 1, n):
            _divide(a[i, k], d)
            for j in range(k + 1, n):
                _subtract(a[i, j], a[i, k], a[k, j])


@compiled
def _swap(b: np.ndarray, k: int, pivots: np.ndarray) -> None:
    for q in range(b.shape[2]):
        p = pivots[k, q]
        if p != k:
            for c in range(b.shape[1]):
                b[k, c, q], b[p, c, q] = b[p, c, q], b[k, c, q]


@compiled
def _triangles(a: np.ndarray, pivots: np.ndarray, b: np.ndarray, transpose: bool) -> None:
    """b becomes the solution."""
    n, columns = a.shape[0], b.shape[1]
    if transpose:
        for k in range(n):
            for c in range(columns):
                _divide(b[k, c], a[k, k])
            for i in range(k + 1, n):
                for c in range(columns):
                    _subtract(b[i, c], a[k, i], b[k, c])
        for k in range(n - 1, -1, -1):
            for i in range(k):
                for c in range(columns):
                    _subtract(b[i, c], a[k, i], b[k, c])
        for k in range(n - 1, -1, -1):
            _swap(b, k, pivots)
        return
    for k in range(n):
        _swap(b, k, pivots)
    for k in range(n):
        for i in range(k + 1, n):
            for c in range(columns):
                _subtract(b[i, c], a[i, k], b[k, c])
    for k in range(n - 1, -1, -1):
        for c in range(columns):
            _divide(b[k, c], a[k, k])
        for i in range(k):
            for c in range(columns):
                _subtract(b[i, c], a[i, k], b[k, c])


@compiled
def _status(a: np.ndarray, q: int) -> int:
    for k in range(a.shape[0]):
        if a[k, k, q] == 0 or not finite(a[k, k, q]):
            return k + 1
    return 0


@threaded
def _factor(A: np.ndarray, lu: np.ndarray, pivots: np.ndarray, status: np.ndarray, lanes: int) -> None:
    batch, n, _ = A.shape
    for g in prange((batch + lanes - 1) // lanes):
        a, swaps, d = np.empty((n, n, lanes), A.dtype), np.empty((n, lanes), np.int32), np.empty(lanes, A.dtype)
        _pack(A, g * lanes, a)
        _eliminate(a, swaps, d)
        _unpack(a, g * lanes, lu)
        for q in range(min(lanes, batch - g * lanes)):
            status[g * lanes + q] = _status(a, q)
            for k in range(n):
                pivots[g * lanes + q, k] = swaps[k, q] + 1


@threaded
def _substitute(lu: np.ndarray, pivots: np.ndarray, B: np.ndarray, X: np.ndarray, transpose: bool, lanes: int) -> None:
    batch, n, columns = B.shape
    for g in prange((batch + lanes - 1) // lanes):
        a, b = np.empty((n, n, lanes), lu.dtype), np.empty((n, columns, lanes), lu.dtype)
        swaps = np.empty((n, lanes), np.int32)
        _pack(lu, g * lanes, a)
        _pack(B, g * lanes, b)
        for q in range(lanes):
            for k in range(n):
                swaps[k, q] = pivots[min(g * lanes + q, batch - 1), k] - 1
        _triangles(a, swaps, b, transpose)
        _unpack(b, g * lanes, X)
        for q in range(min(lanes, batch - g * lanes)):
            if _status(a, q) != 0:
                X[g * lanes + q] = np.nan


@threaded
def _solve(
    A: np.ndarray,
    B: np.ndarray,
    X: np.ndarray,
    lu: np.ndarray,
    pivots: np.ndarray,
    status: np.ndarray,
    transpose: bool,
    lanes: int,
) -> None:
    batch, n, columns = B.shape
    for g in prange((batch + lanes - 1) // lanes):
        a, b = np.empty((n, n, lanes), A.dtype), np.empty((n, columns, lanes), A.dtype)
        swaps, d = np.empty((n, lanes), np.int32), np.empty(lanes, A.dtype)
        _pack(A, g * lanes, a)
        _pack(B, g * lanes, b)
        _eliminate(a, swaps, d)
        _triangles(a, swaps, b, transpose)
        _unpack(a, g * lanes, lu)
        _unpack(b, g * lanes, X)
        for q in range(min(lanes, batch - g * lanes)):
            m = g * lanes + q
            for k in range(n):
                pivots[m, k] = swaps[k, q] + 1
            status[m] = _status(a, q)
            if status[m] != 0:
                X[m] = np.nan


@compiled
def _cholesky(a: np.ndarray) -> None:
    """The lower factor of every lane in place, NaN from the first pivot on that is not positive."""
    n, _, lanes = a.shape
    for k in range(n):
        for q in range(lanes):
            a[k, k, q] = np.sqrt(a[k, k, q]) if a[k, k, q] > 0 else np.nan
        for i in range(k + 1, n):
            _divide(a[i, k], a[k, k])
            for j in range(k + 1, i + 1):
                _subtract(a[i, j], a[i, k], a[j, k])


@compiled
def _both_ways(a: np.ndarray, b: np.ndarray) -> None:
    n, columns = a.shape[0], b.shape[1]
    for k in range(n):
        for c in range(columns):
            _divide(b[k, c], a[k, k])
        for i in range(k + 1, n):
            for c in range(columns):
                _subtract(b[i, c], a[i, k], b[k, c])
    for k in range(n - 1, -1, -1):
        for c in range(columns):
            _divide(b[k, c], a[k, k])
        for i in range(k):
            for c in range(columns):
                _subtract(b[i, c], a[k, i], b[k, c])


@threaded
def _spd_solve(A: np.ndarray, B: np.ndarray, X: np.ndarray, lower: np.ndarray, status: np.ndarray, lanes: int) -> None:
    batch, n, columns = B.shape
    for g in prange((batch + lanes - 1) // lanes):
        a, b = np.empty((n, n, lanes), A.dtype), np.empty((n, columns, lanes), A.dtype)
        half = A.dtype.type(0.5)
        for q in range(lanes):
            m = min(g * lanes + q, batch - 1)
            for i in range(n):
                for j in range(i + 1):
                    a[i, j, q] = half * (A[m, i, j] + A[m, j, i])
                    a[j, i, q] = 0 if j < i else a[i, i, q]
        _pack(B, g * lanes, b)
        _cholesky(a)
        _both_ways(a, b)
        _unpack(a, g * lanes, lower)
        _unpack(b, g * lanes, X)
        for q in range(min(lanes, batch - g * lanes)):
            m = g * lanes + q
            status[m] = _status(a, q)
            if status[m] != 0:
                X[m] = np.nan
                for i in range(n):
                    lower[m, i, : i + 1] = np.nan


@threaded
def _spd_substitute(lower: np.ndarray, B: np.ndarray, X: np.ndarray, lanes: int) -> None:
    batch, n, columns = B.shape
    for g in prange((batch + lanes - 1) // lanes):
        a, b = np.empty((n, n, lanes), lower.dtype), np.empty((n, columns, lanes), lower.dtype)
        _pack(lower, g * lanes, a)
        _pack(B, g * lanes, b)
        _both_ways(a, b)
        _unpack(b, g * lanes, X)
