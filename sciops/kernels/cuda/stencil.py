"""Stencils on CUDA: one pass over memory each.

Grids are seen with three axes, absent ones first with one cell. A program takes a block of consecutive cells of one
field and finds their neighbours by wrap-around arithmetic; what cells share comes from the cache. Arithmetic is in
single precision for half types, else in the type of the fields.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton evaluates annotations and knows only its own: its functions have no others

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch

BLOCK = 512


def diffusion_apply(diagonal: Tensor, coupling: Tensor, u: Tensor) -> Tensor:
    y = torch.empty_like(u)
    _diffusion(y, diagonal, coupling, u, u, 0)
    return y


def diffusion_residual(diagonal: Tensor, coupling: Tensor, u: Tensor, b: Tensor) -> Tensor:
    r = torch.empty_like(u)
    _diffusion(r, diagonal, coupling, u, b, 1)
    return r


def diffusion_apply_dot(diagonal: Tensor, coupling: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    y = torch.empty_like(u)
    return y, diffusion_apply_dot_(y, diagonal, coupling, u)


def diffusion_apply_dot_(y: Tensor, diagonal: Tensor, coupling: Tensor, u: Tensor) -> Tensor:
    parts = _diffusion(y, diagonal, coupling, u, u, 2)
    return parts.sum(-1, dtype=torch.float64).view(u.shape[:2]).to(u.dtype)


def _diffusion(y: Tensor, diagonal: Tensor, coupling: Tensor, u: Tensor, b: Tensor, mode: int) -> Tensor:
    g = Grid(u, diagonal)
    parts = u.new_empty(g.fields, g.blocks, dtype=torch.float64 if g.double else torch.float32)
    constants = dict(MODE=mode, LINKS=coupling.shape[1], **g.constants)
    launch(_apply, g.programs, diagonal, coupling, u, b, y, parts, *g.sizes, **constants)
    return parts


def diffusion_slopes(g: Tensor, u: Tensor, shared: bool, links: int) -> tuple[Tensor, Tensor]:
    operators = 1 if shared else u.shape[0]
    diagonal, coupling = u.new_empty(operators, *u.shape[2:]), u.new_empty(operators, links, *u.shape[2:])
    grid = Grid(u, diagonal)
    each = grid.fields // operators
    launch(
        _slopes,
        (operators * grid.blocks,),
        g,
        u,
        diagonal,
        coupling,
        *grid.shape,
        grid.blocks,
        each,
        LINKS=links,
        **grid.constants,
    )
    return diagonal, coupling


def stencil_apply(weights: Tensor, u: Tensor, edge: int) -> Tensor:
    return _constant(weights, u, edge, False)


def stencil_adjoint(weights: Tensor, y: Tensor, edge: int) -> Tensor:
    return _constant(weights, y, edge, True)


def _constant(weights: Tensor, u: Tensor, edge: int, adjoint: bool) -> Tensor:
    y, g = torch.empty_like(u), Grid(u)
    channels = u.shape[1] if weights.ndim == u.ndim - 1 else 1
    launch(_stencil, g.programs, weights, u, y, *g.shape, g.blocks, channels, EDGE=edge, ADJOINT=adjoint, **g.constants)
    return y


def stencil_slopes(g: Tensor, u: Tensor, edge: int, own: bool) -> Tensor:
    grid, d = Grid(u), u.ndim - 2
    parts = u.new_empty(grid.fields, grid.blocks, 3**d, dtype=torch.float64 if grid.double else torch.float32)
    launch(_stencil_slopes, grid.programs, g, u, parts, *grid.shape, grid.blocks, EDGE=edge, **grid.constants)
    sums = parts.view(*u.shape[:2], grid.blocks, 3**d).sum((0, 2), dtype=torch.float64)
    return (sums.view(-1, *(3,) * d) if own else sums.sum(0).view((3,) * d)).to(u.dtype)


class Grid:
    """How the cells of fields (batch, rhs, *space) are shared out among programs."""

    def __init__(self, u: Tensor, operator: Tensor | None = None) -> None:
        space = u.shape[2:]
        self.shape = (*(1,) * (3 - len(space)), *space)
        self.fields = u.shape[0] * u.shape[1]
        self.cells = self.shape[0] * self.shape[1] * self.shape[2]
        self.double = u.dtype == torch.float64
        self.blocks = -(-self.cells // BLOCK)
        self.programs = (self.fields * self.blocks,)
        # fields that share an operator follow each other
        shared = operator is None or operator.shape[0] == 1
        self.sizes = (*self.shape, self.blocks, self.fields if shared else u.shape[1])
        self.constants: dict[str, Any] = {"DIM": len(space), "DOUBLE": self.double, "BLOCK": BLOCK}


@triton.jit
def load(pointer, mask, DOUBLE: tl.constexpr):
    return tl.load(pointer, mask=mask, other=0).to(tl.float64 if DOUBLE else tl.float32)


@triton.jit
def number(value: tl.constexpr, DOUBLE: tl.constexpr):
    """A constant in the precision of the arithmetic; as a bare float it would be rounded to single."""
    return tl.full((1,), value, tl.float64 if DOUBLE else tl.float32)


@triton.jit
def neighbour(q, n1, n2, n3, AXIS: tl.constexpr, UP: tl.constexpr):
    """The cell beside cell q along one of the three axes, around the ends."""
    if AXIS == 2:
        stride, n, at = 1, n3, q % n3
    elif AXIS == 1:
        stride, n, at = n3, n2, q // n3 % n2
    else:
        stride, n, at = n2 * n3, n1, q // (n2 * n3)
    if UP:
        beside = tl.where(at == n - 1, q - (n - 1) * stride, q + stride)
    else:
        beside = tl.where(at == 0, q + (n - 1) * stride, q - stride)
    return beside


@triton.jit
def linked(q, n1, n2, n3, LINK: tl.constexpr, UP: tl.constexpr, LINKS: tl.constexpr, DIM: tl.constexpr):
    """The cell to which a link of q leads, or from which it comes; see `offsets` of the module for torch."""
    if LINKS == DIM:
        beside = neighbour(q, n1, n2, n3, 3 - DIM + LINK, UP)
    else:
        # the offset written to base three stands as far behind the cell itself as the number of the link
        beside = q
        for a in tl.static_range(DIM):
            beside = _turned(beside, n1, n2, n3, 3 - DIM + a, (LINK + LINKS + 1) // 3 ** (DIM - 1 - a) % 3, UP)
    return beside


@triton.jit
def _turned(q, n1, n2, n3, AXIS: tl.constexpr, DIGIT: tl.constexpr, UP: tl.constexpr):
    if DIGIT == 1:
        beside = q
    elif DIGIT == 2:
        beside = neighbour(q, n1, n2, n3, AXIS, UP)
    else:
        beside = neighbour(q, n1, n2, n3, AXIS, not UP)
    return beside


@triton.jit
def off_diagonal(coupling, x, q, mask, n1, n2, n3, LINKS: tl.constexpr, DIM: tl.constexpr, DOUBLE: tl.constexpr):
    """What the neighbours add up to, w u over all of them."""
    cells = (n1 * n2 * n3).to(tl.int64)
    total = tl.zeros(q.shape, tl.float64 if DOUBLE else tl.float32)
    for a in tl.static_range(LINKS):
        up = linked(q, n1, n2, n3, a, True, LINKS, DIM)
        low = linked(q, n1, n2, n3, a, False, LINKS, DIM)
        w = coupling + a * cells
        total += load(w + q, mask, DOUBLE) * load(x + up, mask, DOUBLE)
        total += load(w + low, mask, DOUBLE) * load(x + low, mask, DOUBLE)
    return total


@triton.jit
def _apply(
    diagonal,
    coupling,
    u,
    b,
    y,
    parts,
    n1,
    n2,
    n3,
    blocks,
    each,
    MODE: tl.constexpr,
    LINKS: tl.constexpr,
    DIM: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n1, n2, n3 = tl.cast(n1, tl.int32), tl.cast(n2, tl.int32), tl.cast(n3, tl.int32)
    cells = n1 * n2 * n3
    field = (tl.program_id(0) // blocks).to(tl.int64)
    operator = field // each
    q = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    mask = q < cells
    x = u + field * cells
    centre = load(x + q, mask, DOUBLE)
    value = load(diagonal + operator * cells + q, mask, DOUBLE) * centre
    value -= off_diagonal(coupling + operator * cells * LINKS, x, q, mask, n1, n2, n3, LINKS, DIM, DOUBLE)
    if MODE == 1:
        value = load(b + field * cells + q, mask, DOUBLE) - value
    tl.store(y + field * cells + q, value, mask=mask)
    if MODE == 2:
        tl.store(parts + tl.program_id(0), tl.sum(tl.where(mask, centre * value, 0.0), 0))


@triton.jit
def _slopes(
    g,
    u,
    diagonal,
    coupling,
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
    cells = n1 * n2 * n3
    operator = (tl.program_id(0) // blocks).to(tl.int64)
    q = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    mask = q < cells
    # link -1 stands for the diagonal; one after the other, since few fields share an operator as a rule
    for a in tl.static_range(-1, LINKS):
        total = tl.zeros((BLOCK,), tl.float64 if DOUBLE else tl.float32)
        for s in range(each):
            at = (operator * each + s) * cells
            x, y = load(u + at + q, mask, DOUBLE), load(g + at + q, mask, DOUBLE)
            if a < 0:
                total += x * y
            else:
                up = linked(q, n1, n2, n3, a, True, LINKS, DIM)
                total -= x * load(g + at + up, mask, DOUBLE) + y * load(u + at + up, mask, DOUBLE)
        if a < 0:
            tl.store(diagonal + operator * cells + q, total, mask=mask)
        else:
            tl.store(coupling + (operator * LINKS + a) * cells + q, total, mask=mask)


@triton.jit
def _shifted(at, n, weight, mask, OFFSET: tl.constexpr, EDGE: tl.constexpr, ADJOINT: tl.constexpr):
    """Where the cell beside one lies along an axis, which weight it meets there, and whether it exists."""
    source = at + OFFSET
    outside = (source < 0) | (source >= n)
    index = tl.zeros_like(at) + (1 - OFFSET if ADJOINT else 1 + OFFSET)
    if EDGE == 0:
        mask = mask & ~outside
    elif EDGE == 1:
        source = (source + n) % n
    else:
        source = tl.where(outside, at, source)
        # the mirror gives the first cell what lies below it, so its transpose takes that from the first cell
        index = tl.where(outside, 1 + OFFSET, index)
    return source, weight * 3 + index, mask


@triton.jit
def _stencil(
    weights,
    u,
    y,
    n1,
    n2,
    n3,
    blocks,
    channels,
    EDGE: tl.constexpr,
    ADJOINT: tl.constexpr,
    DIM: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n1, n2, n3 = tl.cast(n1, tl.int32), tl.cast(n2, tl.int32), tl.cast(n3, tl.int32)
    cells = n1 * n2 * n3
    field = (tl.program_id(0) // blocks).to(tl.int64)
    q = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    inside = q < cells
    i, j, k = q // (n2 * n3), q // n3 % n2, q % n3
    total = tl.zeros((BLOCK,), tl.float64 if DOUBLE else tl.float32)
    taps: tl.constexpr = 27 if DIM == 3 else (9 if DIM == 2 else 3)
    for tap in tl.static_range(taps):
        mask, weight, source = inside, tl.zeros_like(q), tl.zeros_like(q)
        if DIM == 3:
            at, weight, mask = _shifted(i, n1, weight, mask, tap // 9 - 1, EDGE, ADJOINT)
            source = source + at * n2 * n3
        if DIM >= 2:
            at, weight, mask = _shifted(j, n2, weight, mask, tap // 3 % 3 - 1, EDGE, ADJOINT)
            source = source + at * n3
        at, weight, mask = _shifted(k, n3, weight, mask, tap % 3 - 1, EDGE, ADJOINT)
        source = source + at
        w = load(weights + field % channels * taps + weight, inside, DOUBLE)
        total += w * load(u + field * cells + source, mask, DOUBLE)
    tl.store(y + field * cells + q, total, mask=inside)


@triton.jit
def _stencil_slopes(
    g,
    u,
    parts,
    n1,
    n2,
    n3,
    blocks,
    EDGE: tl.constexpr,
    DIM: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n1, n2, n3 = tl.cast(n1, tl.int32), tl.cast(n2, tl.int32), tl.cast(n3, tl.int32)
    cells = n1 * n2 * n3
    field = (tl.program_id(0) // blocks).to(tl.int64)
    q = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    inside = q < cells
    i, j, k = q // (n2 * n3), q // n3 % n2, q % n3
    x = load(g + field * cells + q, inside, DOUBLE)
    taps: tl.constexpr = 27 if DIM == 3 else (9 if DIM == 2 else 3)
    for tap in tl.static_range(taps):
        mask, weight, source = inside, tl.zeros_like(q), tl.zeros_like(q)
        if DIM == 3:
            at, weight, mask = _shifted(i, n1, weight, mask, tap // 9 - 1, EDGE, False)
            source = source + at * n2 * n3
        if DIM >= 2:
            at, weight, mask = _shifted(j, n2, weight, mask, tap // 3 % 3 - 1, EDGE, False)
            source = source + at * n3
        at, weight, mask = _shifted(k, n3, weight, mask, tap % 3 - 1, EDGE, False)
        source = source + at
        total = tl.sum(x * load(u + field * cells + source, mask, DOUBLE), 0)
        tl.store(parts + tl.program_id(0).to(tl.int64) * taps + tap, total)
