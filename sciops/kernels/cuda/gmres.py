"""GMRES on a GPU; see :mod:`~sciops.kernels.cuda.systems` for how sums are made."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton evaluates annotations and knows only its own: its functions have no others

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch
from sciops.kernels.cuda.systems import NOT_FINITE, finite, over_blocks, partials, place, wide_sum
from sciops.kernels.gmres import rounding
from sciops.kernels.systems import Status

_EXHAUSTED = tl.constexpr(int(Status.EXHAUSTED))


def arnoldi(V: Tensor, w: Tensor, status: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    V, status = V.clone(), status.clone()
    return V, arnoldi_(V, w, status, count), status


def arnoldi_(V: Tensor, w: Tensor, status: Tensor, count: int) -> Tensor:
    # rows of a pass: products with the vectors kept, then the square of what is left
    first, second, third = (partials(w, count + 1) for _ in range(3))
    sizes = (count, len(w))
    over_blocks(_project, w, V, w, first, status, first, *sizes, UPDATE=False, PRODUCTS=True)
    a = first.sum(-1)
    over_blocks(_project, w, V, w, a, status, second, *sizes, UPDATE=True, PRODUCTS=True)
    b = second.sum(-1)
    over_blocks(_project, w, V, V[count], b, status, third, *sizes, UPDATE=True, PRODUCTS=False)
    h = torch.zeros((len(w), count + 1), dtype=torch.float64, device=w.device)
    h[:, :count] = (a[:count] + b[:count]).T
    square, after = third[count].sum(-1), torch.empty_like(status)
    limit = torch.full((1,), rounding(w.dtype), dtype=torch.float64, device=w.device)
    over_blocks(_normalise, w, V[count], a[count], square, limit, status, after, h, count)
    status.copy_(after)
    return h


def gmres_rotate(
    R: Tensor, rotations: Tensor, g: Tensor, h: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    R, rotations, g = R.clone(), rotations.clone(), g.clone()
    return R, rotations, g, gmres_rotate_(R, rotations, g, h, status)


def gmres_rotate_(R: Tensor, rotations: Tensor, g: Tensor, h: Tensor, status: Tensor) -> Tensor:
    residual = torch.zeros(len(R), dtype=torch.float64, device=R.device)
    m, last = R.shape[-1], h.shape[1] - 2
    launch(_gmres_rotate, (len(R),), R, rotations, g, h, status, residual, len(R), m, last, num_warps=1)
    return residual


@triton.jit
def _project(
    V,
    w,
    shares,
    status,
    found,
    count,
    systems,
    n,
    blocks,
    UPDATE: tl.constexpr,
    PRODUCTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """V[count] = w - V shares, then the products of V with it; without UPDATE the products with w."""
    system, _, at, mask = place(n, blocks, BLOCK)
    mask = mask & (tl.load(status + system) == 0)
    size = tl.cast(systems, tl.int64) * n
    here = tl.load(w + at, mask, 0.0)
    if UPDATE:
        for j in range(count):
            share = tl.load(shares + j * systems + system).to(here.dtype)
            here -= share * tl.load(V + j * size + at, mask, 0.0)
        tl.store(V + count * size + at, here, mask)
    if PRODUCTS:
        for j in range(count):
            other = tl.load(V + j * size + at, mask, 0.0)
            tl.store(found + j * systems * blocks + tl.program_id(0), wide_sum(here, other))
    tl.store(found + count * systems * blocks + tl.program_id(0), wide_sum(here, here))


@triton.jit
def _normalise(
    v,
    sizes,
    squares,
    limit,
    status,
    after_all,
    h,
    count,
    n,
    blocks,
    BLOCK: tl.constexpr,
):
    system, block, at, mask = place(n, blocks, BLOCK)
    before, size, square = tl.load(status + system), tl.load(sizes + system), tl.load(squares + system)
    ended = tl.where(square <= tl.load(limit) * size, _EXHAUSTED, 0)
    after = tl.where(before == 0, tl.where(finite(size + square), ended, NOT_FINITE), before)
    norm = tl.sqrt(tl.where(after == 0, square, 1.0))
    if before == 0:
        here = tl.load(v + at, mask, 0.0)
        tl.store(v + at, tl.where(after == 0, here / norm.to(here.dtype), 0.0), mask)
    if block == 0:
        tl.store(after_all + system, after)
        tl.store(h + system * (count + 1) + count, tl.where(after == 0, norm, 0.0))


@triton.jit
def _gmres_rotate(R, rotations, g, h, status, residual, systems, m, last):
    system = tl.program_id(0).to(tl.int64)
    before = tl.load(status + system)
    row = h + system * (last + 2)
    some = tl.load(row) != 0.0
    for i in range(1, last + 2):
        some = some | (tl.load(row + i) != 0.0)
    if ((before == 0) | (before == _EXHAUSTED)) & some:
        column = R + system * m * m + last
        cosines, sines = rotations + system * m, rotations + (systems + system) * m
        upper = tl.load(row)
        for i in range(last):
            c, s, lower = tl.load(cosines + i), tl.load(sines + i), tl.load(row + i + 1)
            tl.store(column + i * m, c * upper + s * lower)
            upper = c * lower - s * upper
        below = tl.load(row + last + 1)
        length = tl.sqrt(upper * upper + below * below)
        turns = length > 0.0
        divisor = tl.where(turns, length, 1.0)
        c, s = tl.where(turns, upper / divisor, 1.0), tl.where(turns, below / divisor, 0.0)
        tl.store(column + last * m, c * upper + s * below)
        for i in range(last + 1, m):
            tl.store(column + i * m, upper * 0.0)
        tl.store(cosines + last, c)
        tl.store(sines + last, s)
        end = g + system * (m + 1) + last
        value = tl.load(end)
        tl.store(end, c * value)
        tl.store(end + 1, -s * value)
        tl.store(residual + system, tl.abs(s * value))
