"""Black-box transfers on CUDA: a program takes a block of the cells or points that it writes and reads what they need.

The set-up of a level (weights, P' A P) runs once for many cycles; it is the reference there, in torch.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton evaluates annotations and knows only its own: its functions have no others

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch
from sciops.kernels.cuda.stencil import BLOCK, Grid, load
from sciops.kernels.transfer import coarse_shape


def prolong(coarse: Tensor, weights: Tensor, u: Tensor | None, space: list[int]) -> Tensor:
    y = coarse.new_empty(*coarse.shape[:2], *space)
    g = Grid(y)
    each = g.fields // weights.shape[0]
    guess = y if u is None else u
    launch(_prolong, g.programs, coarse, weights, guess, y, *g.shape, g.blocks, each, ADD=u is not None, **g.constants)
    return y


def restrict(r: Tensor, weights: Tensor) -> Tensor:
    y, g = r.new_empty(*r.shape[:2], *coarse_shape(r.shape[2:])), Grid(r)
    blocks = -(-y[0, 0].numel() // BLOCK)
    each = g.fields // weights.shape[0]
    launch(_restrict, (g.fields * blocks,), r, weights, y, *g.shape, blocks, each, **g.constants)
    return y


def slopes(fine: Tensor, coarse: Tensor, shared: bool) -> Tensor:
    d, operators = fine.ndim - 2, 1 if shared else fine.shape[0]
    found, g = fine.new_empty(operators, 3**d - 1, *coarse.shape[2:]), Grid(fine)
    blocks = -(-coarse[0, 0].numel() // BLOCK)
    launch(_slopes, (operators * blocks,), fine, coarse, found, *g.shape, blocks, g.fields // operators, **g.constants)
    return found


@triton.jit
def _prolong(
    coarse,
    weights,
    u,
    y,
    n1,
    n2,
    n3,
    blocks,
    each,
    ADD: tl.constexpr,
    DIM: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n1, n2, n3 = tl.cast(n1, tl.int32), tl.cast(n2, tl.int32), tl.cast(n3, tl.int32)
    c1, c2, c3 = (n1 + 1) // 2, (n2 + 1) // 2, (n3 + 1) // 2
    cells, points = n1 * n2 * n3, c1 * c2 * c3
    columns: tl.constexpr = 26 if DIM == 3 else (8 if DIM == 2 else 2)
    field = (tl.program_id(0) // blocks).to(tl.int64)
    weights += field // each * columns * points
    q = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    mask = q < cells
    i, j, k = q // (n2 * n3), q // n3 % n2, q % n3
    total = (
        load(u + field * cells + q, mask, DOUBLE) if ADD else tl.zeros((BLOCK,), tl.float64 if DOUBLE else tl.float32)
    )
    # the lower (0) or the upper (1) point along each axis on which the cell is odd
    for corner in tl.static_range(2**DIM):
        b1, b2, b3 = corner // 4, corner // 2 % 2, corner % 2
        there = mask & ((i % 2 >= b1) & (j % 2 >= b2) & (k % 2 >= b3))
        # the offset from twice the point, to base three; the point itself stands in the middle and has no column
        code = 1 + k % 2 * (1 - 2 * b3)
        if DIM >= 2:
            code += 3 * (1 + j % 2 * (1 - 2 * b2))
        if DIM == 3:
            code += 9 * (1 + i % 2 * (1 - 2 * b1))
        own = code == columns // 2
        column = code - (code > columns // 2).to(tl.int32)
        at = ((i // 2 + b1) % c1 * c2 + (j // 2 + b2) % c2) * c3 + (k // 2 + b3) % c3
        w = load(weights + column * points + at, there & ~own, DOUBLE)
        w = tl.where(own, 1.0, w)
        total += tl.where(there, w, 0.0) * load(coarse + field * points + at, there, DOUBLE)
    tl.store(y + field * cells + q, total, mask=mask)


@triton.jit
def _beside(at, n, OFFSET: tl.constexpr):
    """The cell 2I + o along an axis, and whether it is there: an odd number of cells ends, an even one goes around."""
    cell = 2 * at + OFFSET
    there = (n % 2 == 0) | ((cell >= 0) & (cell < n))
    return (cell + n) % n, there


@triton.jit
def _fine(q, n1, n2, n3, TAP: tl.constexpr, DIM: tl.constexpr):
    """The cell at one of the 3^d offsets from twice a point, and whether it is there."""
    c2, c3 = (n2 + 1) // 2, (n3 + 1) // 2
    cell, there = _beside(q % c3, n3, TAP % 3 - 1)
    if DIM == 3:
        row, inside = _beside(q // c3 % c2, n2, TAP // 3 % 3 - 1)
        cell, there = cell + row * n3, there & inside
        plane, inside = _beside(q // (c2 * c3), n1, TAP // 9 - 1)
        cell, there = cell + plane * n2 * n3, there & inside
    elif DIM == 2:
        row, inside = _beside(q // c3, n2, TAP // 3 - 1)
        cell, there = cell + row * n3, there & inside
    return cell, there


@triton.jit
def _restrict(r, weights, y, n1, n2, n3, blocks, each, DIM: tl.constexpr, DOUBLE: tl.constexpr, BLOCK: tl.constexpr):
    n1, n2, n3 = tl.cast(n1, tl.int32), tl.cast(n2, tl.int32), tl.cast(n3, tl.int32)
    cells, points = n1 * n2 * n3, (n1 + 1) // 2 * ((n2 + 1) // 2) * ((n3 + 1) // 2)
    taps: tl.constexpr = 27 if DIM == 3 else (9 if DIM == 2 else 3)
    field = (tl.program_id(0) // blocks).to(tl.int64)
    weights += field // each * (taps - 1) * points
    q = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    mask = q < points
    total = tl.zeros((BLOCK,), tl.float64 if DOUBLE else tl.float32)
    for tap in tl.static_range(taps):
        cell, there = _fine(q, n1, n2, n3, tap, DIM)
        value = load(r + field * cells + cell, mask & there, DOUBLE)
        if tap != taps // 2:
            value *= load(weights + (tap - (tap > taps // 2)) * points + q, mask, DOUBLE)
        total += value
    tl.store(y + field * points + q, total, mask=mask)


@triton.jit
def _slopes(
    fine, coarse, found, n1, n2, n3, blocks, each, DIM: tl.constexpr, DOUBLE: tl.constexpr, BLOCK: tl.constexpr
):
    n1, n2, n3 = tl.cast(n1, tl.int32), tl.cast(n2, tl.int32), tl.cast(n3, tl.int32)
    cells, points = n1 * n2 * n3, (n1 + 1) // 2 * ((n2 + 1) // 2) * ((n3 + 1) // 2)
    taps: tl.constexpr = 27 if DIM == 3 else (9 if DIM == 2 else 3)
    operator = (tl.program_id(0) // blocks).to(tl.int64)
    q = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    mask = q < points
    for tap in tl.static_range(taps):
        if tap != taps // 2:
            cell, there = _fine(q, n1, n2, n3, tap, DIM)
            total = tl.zeros((BLOCK,), tl.float64 if DOUBLE else tl.float32)
            for s in range(each):
                field = operator * each + s
                value = load(fine + field * cells + cell, mask & there, DOUBLE)
                total += value * load(coarse + field * points + q, mask, DOUBLE)
            at = (operator * (taps - 1) + tap - (tap > taps // 2)) * points
            tl.store(found + at + q, total, mask=mask)
