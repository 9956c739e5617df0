"""Smoothers on CUDA: one pass for each sweep, but none for the first one from a zero guess.

Where a sweep starts from something that is cheap to say for each cell (a step along the scaled right-hand side, a
guess with its coarse correction), that is worked out at each neighbour on the fly and never stored.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton evaluates annotations and knows only its own: its functions have no others

from __future__ import annotations

import functools
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch
from sciops.kernels.cuda.stencil import BLOCK, Grid, linked, load, number, off_diagonal
from sciops.kernels.cuda.stencil import diffusion_residual as residual
from sciops.kernels.transfer import coarse_shape

# what the state before a sweep is: kept in memory, one step from zero, corrected from the coarse grid, or zero
_KEPT, _STEP, _CORRECTED, _PROLONGED, _ZERO = range(5)


def smooth(
    diagonal: Tensor,
    coupling: Tensor,
    scale: Tensor | None,
    b: Tensor,
    u: Tensor | None,
    correction: Tensor | None,
    momentum: list[float],
    step: list[float],
    colour: list[int],
    out: Tensor | None = None,
) -> Tensor:
    g = Grid(b, diagonal)
    start = {(0, 0): _ZERO, (1, 0): _KEPT, (0, 1): _PROLONGED, (1, 1): _CORRECTED}[
        u is not None, correction is not None
    ]
    guess, coarse = b if u is None else u, b if correction is None else correction
    if out is not None and u is not None and out.data_ptr() == u.data_ptr() and len(step) == 1:
        guess = u.clone()  # a sweep reads what lies beside the cells that it sets
    history = [(start, guess)]
    for k in range(len(step)):
        if k == 0 and start == _ZERO and len(step) > 1 and colour[0] == colour[1] == 0:
            history.append((_STEP, guess))
            continue
        y = out if out is not None and k == len(step) - 1 else torch.empty_like(b)
        kind, x = history[-1]
        before_kind, before = history[-2] if k and momentum[k] else (-1, guess)
        launch(
            _sweep,
            g.programs,
            diagonal,
            coupling,
            diagonal if scale is None else scale,
            b,
            x,
            before,
            coarse,
            y,
            *g.sizes,
            KIND=kind,
            BEFORE=before_kind,
            FIRST=step[0] if _STEP in (kind, before_kind) else 0.0,
            ALPHA=momentum[k],
            BETA=step[k],
            COLOUR=colour[k],
            JACOBI=scale is None,
            LINKS=coupling.shape[1],
            **g.constants,
        )
        history = [history[-1], (_KEPT, y)]
    return history[-1][1]


def smooth_residual(
    diagonal: Tensor,
    coupling: Tensor,
    scale: Tensor | None,
    b: Tensor,
    u: Tensor | None,
    correction: Tensor | None,
    momentum: list[float],
    step: list[float],
    colour: list[int],
    coarse: bool,
    out: Tensor | None = None,
    sums: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    x = smooth(diagonal, coupling, scale, b, u, correction, momentum, step, colour, out)
    if not coarse:
        return x, residual(diagonal, coupling, x, b)
    r, g = b.new_empty(*b.shape[:2], *coarse_shape(b.shape[2:])) if sums is None else sums, Grid(b, diagonal)
    blocks = -(-r[0, 0].numel() // BLOCK)
    sizes = (*g.shape, blocks, g.sizes[-1])
    launch(
        _residual_sums,
        (g.fields * blocks,),
        diagonal,
        coupling,
        x,
        b,
        r,
        *sizes,
        num_warps=8,
        LINKS=coupling.shape[1],
        **g.constants,
    )
    return x, r


def smooth_(out: Tensor, *args: Any) -> None:
    functools.partial(smooth, out=out)(*args)


def smooth_residual_(out: Tensor, rest: Tensor, *args: Any) -> None:
    coarse = args[-1]
    r = functools.partial(smooth_residual, out=out, sums=rest if coarse else None)(*args)[1]
    if not coarse:
        rest.copy_(r)


@triton.jit
def _scale(at, mask, JACOBI: tl.constexpr, DOUBLE: tl.constexpr):
    """The scale of cells, which for Jacobi is one over the diagonal that stands there."""
    value = load(at, mask, DOUBLE)
    if JACOBI:
        value = number(1.0, DOUBLE) / tl.where(mask, value, number(1.0, DOUBLE))
    return value


@triton.jit
def _state(
    x,
    scale,
    b,
    coarse,
    q,
    mask,
    n2,
    n3,
    KIND: tl.constexpr,
    FIRST: tl.constexpr,
    JACOBI: tl.constexpr,
    DOUBLE: tl.constexpr,
):
    """The state before a sweep at cells q."""
    if KIND == 0:
        value = load(x + q, mask, DOUBLE)
    elif KIND == 1:
        value = number(FIRST, DOUBLE) * _scale(scale + q, mask, JACOBI, DOUBLE) * load(b + q, mask, DOUBLE)
    elif KIND == 4:
        value = tl.zeros(q.shape, tl.float64 if DOUBLE else tl.float32)
    else:
        i, j, k = q // (n2 * n3), q // n3 % n2, q % n3
        parent = (i // 2 * ((n2 + 1) // 2) + j // 2) * ((n3 + 1) // 2) + k // 2
        value = load(coarse + parent, mask, DOUBLE)
        if KIND == 2:
            value += load(x + q, mask, DOUBLE)
    return value


@triton.jit
def _sweep(
    diagonal,
    coupling,
    scale,
    b,
    x,
    before,
    coarse,
    y,
    n1,
    n2,
    n3,
    blocks,
    each,
    KIND: tl.constexpr,
    BEFORE: tl.constexpr,
    FIRST: tl.constexpr,
    ALPHA: tl.constexpr,
    BETA: tl.constexpr,
    COLOUR: tl.constexpr,
    JACOBI: tl.constexpr,
    LINKS: tl.constexpr,
    DIM: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n1, n2, n3 = tl.cast(n1, tl.int32), tl.cast(n2, tl.int32), tl.cast(n3, tl.int32)
    cells = n1 * n2 * n3
    field = (tl.program_id(0) // blocks).to(tl.int64)
    operator = field // each
    coarse += field * ((n1 + 1) // 2) * ((n2 + 1) // 2) * ((n3 + 1) // 2)
    b, x, before, y = b + field * cells, x + field * cells, before + field * cells, y + field * cells
    diagonal, scale, coupling = (
        diagonal + operator * cells,
        scale + operator * cells,
        coupling + operator * cells * LINKS,
    )
    q = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    mask = q < cells
    s, r = _scale(scale + q, mask, JACOBI, DOUBLE), load(b + q, mask, DOUBLE)
    value = _state(x, scale, b, coarse, q, mask, n2, n3, KIND, FIRST, JACOBI, DOUBLE)
    if KIND != 4:
        r -= load(diagonal + q, mask, DOUBLE) * value
        for a in tl.static_range(LINKS):
            up = linked(q, n1, n2, n3, a, True, LINKS, DIM)
            low = linked(q, n1, n2, n3, a, False, LINKS, DIM)
            w = coupling + a * cells.to(tl.int64)
            r += load(w + q, mask, DOUBLE) * _state(x, scale, b, coarse, up, mask, n2, n3, KIND, FIRST, JACOBI, DOUBLE)
            r += load(w + low, mask, DOUBLE) * _state(
                x, scale, b, coarse, low, mask, n2, n3, KIND, FIRST, JACOBI, DOUBLE
            )
    move = number(BETA, DOUBLE) * s * r
    if COLOUR > 0:
        parity = (q // (n2 * n3) + q // n3 % n2 + q % n3) % 2
        move = tl.where(parity == COLOUR - 1, move, 0.0)
    if BEFORE >= 0:
        old = _state(before, scale, b, coarse, q, mask, n2, n3, BEFORE, FIRST, JACOBI, DOUBLE)
        move += number(ALPHA, DOUBLE) * (value - old)
    tl.store(y + q, value + move, mask=mask)


@triton.jit
def _residual_sums(
    diagonal,
    coupling,
    x,
    b,
    r,
    n1,
    n2,
    n3,
    blocks,
    each,
    LINKS: tl.constexpr,
    DIM: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n1, n2, n3 = tl.cast(n1, tl.int32), tl.cast(n2, tl.int32), tl.cast(n3, tl.int32)
    cells, c2, c3 = n1 * n2 * n3, (n2 + 1) // 2, (n3 + 1) // 2
    sums = (n1 + 1) // 2 * c2 * c3
    field = (tl.program_id(0) // blocks).to(tl.int64)
    operator = field // each
    b, x = b + field * cells, x + field * cells
    diagonal, coupling = diagonal + operator * cells, coupling + operator * cells * LINKS
    p = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    inside = p < sums
    total = tl.zeros((BLOCK,), tl.float64 if DOUBLE else tl.float32)
    children: tl.constexpr = 1 << DIM
    for child in tl.static_range(children):
        i, j, k = p // (c2 * c3) * 2 + child // 4, p // c3 % c2 * 2 + child // 2 % 2, p % c3 * 2 + child % 2
        mask = inside & (i < n1) & (j < n2) & (k < n3)
        q = tl.where(mask, (i * n2 + j) * n3 + k, 0)
        total += load(b + q, mask, DOUBLE) - load(diagonal + q, mask, DOUBLE) * load(x + q, mask, DOUBLE)
        total += off_diagonal(coupling, x, q, mask, n1, n2, n3, LINKS, DIM, DOUBLE)
    tl.store(r + field * sums + p, total, mask=inside)
