"""Small dense solves on a GPU: one program a matrix, the matrix in its registers, padded to a power of two."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton evaluates annotations and knows only its own: its functions have no others

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch
from sciops.kernels.dense import first_bad


def factor(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    n = A.shape[-1]
    lu, pivots = torch.empty_like(A), torch.empty(A.shape[:-1], dtype=torch.int32, device=A.device)
    launch(_factor, (len(A),), A, lu, pivots, n, num_warps=_warps(n), N=triton.next_power_of_2(n))
    return lu, pivots, first_bad(lu)


def substitute(A: Tensor, lu: Tensor, pivots: Tensor, B: Tensor, transpose: bool) -> Tensor:
    X = torch.empty_like(B)
    n, columns = B.shape[1:]
    # right-hand sides are cut into tiles that fit into registers
    width = min(triton.next_power_of_2(columns), 32)
    sizes = {"N": triton.next_power_of_2(n), "K": width}
    grid = (len(B) * triton.cdiv(columns, width),)  # the other axes take 65535 programs
    launch(_substitute, grid, lu, pivots, B, X, n, columns, num_warps=_warps(n), TRANSPOSE=transpose, **sizes)
    return X.masked_fill_((first_bad(lu) != 0)[:, None, None], torch.nan)


def solve(A: Tensor, B: Tensor, transpose: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    lu, pivots, status = factor(A)
    return substitute(A, lu, pivots, B, transpose), lu, pivots, status


def _warps(n: int) -> int:
    return 1 if n <= 16 else 2


@triton.jit
def _factor(A, lu, pivots, n, N: tl.constexpr):
    matrix = tl.program_id(0).to(tl.int64)
    index = tl.arange(0, N)
    rows, columns = index[:, None], index[None, :]
    inside = (rows < n) & (columns < n)
    at = matrix * n * n + rows * n + columns
    a = tl.load(A + at, inside, 0.0)
    for k in range(n):
        column = tl.sum(tl.where(columns == k, a, 0.0), 1)
        # rows done and rows of the padding come after all others; a NaN counts as large, so that it is found
        size = tl.where(column == column, tl.abs(column), float("inf"))
        p = tl.argmax(tl.where((index >= k) & (index < n), size, -1.0), 0)
        tl.store(pivots + matrix * n + k, p + 1)
        upper = tl.sum(tl.where(rows == k, a, 0.0), 0)
        chosen = tl.sum(tl.where(rows == p, a, 0.0), 0)
        a = tl.where(rows == k, chosen[None, :], tl.where(rows == p, upper[None, :], a))
        pivot = tl.sum(tl.where(index == k, chosen, 0.0), 0)
        column = tl.sum(tl.where(columns == k, a, 0.0), 1)
        below = index > k
        factors = tl.where(below, column / tl.where(pivot == 0.0, 1.0, pivot), 0.0)
        row = tl.where(below, chosen, 0.0)
        a = a - factors[:, None] * row[None, :]
        a = tl.where((columns == k) & (rows > k), factors[:, None], a)
    tl.store(lu + at, a, inside)


@triton.jit
def _substitute(
    lu,
    pivots,
    B,
    X,
    n,
    columns,
    N: tl.constexpr,
    K: tl.constexpr,
    TRANSPOSE: tl.constexpr,
):
    tiles = tl.cdiv(columns, K)
    matrix = (tl.program_id(0) // tiles).to(tl.int64)
    index = tl.arange(0, N)
    rows, sides = index[:, None], tl.program_id(0) % tiles * K + tl.arange(0, K)[None, :]
    inside = (rows < n) & (sides < columns)
    at = matrix * n * columns + rows * columns + sides
    here = index < n
    factors = lu + matrix * n * n
    b = tl.load(B + at, inside, 0.0)
    if TRANSPOSE:
        for k in range(n):
            u = tl.load(factors + k * n + index, here, 0.0)
            row = tl.sum(tl.where(rows == k, b, 0.0), 0) / tl.load(factors + k * n + k)
            b = tl.where(rows == k, row[None, :], b - tl.where(index > k, u, 0.0)[:, None] * row[None, :])
        for step in range(n):
            k = n - 1 - step
            below = tl.load(factors + k * n + index, index < k, 0.0)
            row = tl.sum(tl.where(rows == k, b, 0.0), 0)
            b = b - below[:, None] * row[None, :]
        for step in range(n):
            k = n - 1 - step
            b = _swap(b, rows, k, tl.load(pivots + matrix * n + k) - 1)
    else:
        for k in range(n):
            b = _swap(b, rows, k, tl.load(pivots + matrix * n + k) - 1)
        for k in range(n):
            below = tl.load(factors + index * n + k, here & (index > k), 0.0)
            row = tl.sum(tl.where(rows == k, b, 0.0), 0)
            b = b - below[:, None] * row[None, :]
        for step in range(n):
            k = n - 1 - step
            u = tl.load(factors + index * n + k, index < k, 0.0)
            row = tl.sum(tl.where(rows == k, b, 0.0), 0) / tl.load(factors + k * n + k)
            b = tl.where(rows == k, row[None, :], b - u[:, None] * row[None, :])
    tl.store(X + at, b, inside)


@triton.jit
def _swap(b, rows, k, p):
    upper = tl.sum(tl.where(rows == k, b, 0.0), 0)
    lower = tl.sum(tl.where(rows == p, b, 0.0), 0)
    return tl.where(rows == k, lower[None, :], tl.where(rows == p, upper[None, :], b))
