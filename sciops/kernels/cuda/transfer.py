"""Transfers between grids on CUDA: a program takes a block of the cells that it writes and reads what they need."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton evaluates annotations and knows only its own: its functions have no others

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch
from sciops.kernels.cuda.stencil import BLOCK, Grid, load, neighbour
from sciops.kernels.transfer import coarse_shape


def prolong(coarse: Tensor, u: Tensor | None, space: list[int]) -> Tensor:
    y = coarse.new_empty(*coarse.shape[:2], *space)
    g = Grid(y)
    launch(_prolong, g.programs, coarse, y if u is None else u, y, *g.shape, g.blocks, ADD=u is not None, **g.constants)
    return y


def restrict(r: Tensor) -> Tensor:
    y, g = r.new_empty(*r.shape[:2], *coarse_shape(r.shape[2:])), Grid(r)
    blocks = _coarse_blocks(y)
    launch(_restrict, (g.fields * blocks,), r, y, *g.shape, blocks, **g.constants)
    return y


def prolong_product(coarse: Tensor, u: Tensor | None, weights: Tensor, space: list[int]) -> Tensor:
    y = coarse.new_empty(*coarse.shape[:2], *space)
    return _interpolate(coarse, u, weights, y, 1 << len(space), 1, 1)


def prolong_weighted(coarse: Tensor, u: Tensor | None, weights: Tensor) -> Tensor:
    y = coarse.new_empty(*coarse.shape[:2], *weights.shape[2:])
    return _interpolate(coarse, u, weights, y, weights.shape[1], weights.shape[0], 0)


def _interpolate(
    coarse: Tensor, u: Tensor | None, weights: Tensor, y: Tensor, corners: int, operators: int, product: int
) -> Tensor:
    g = Grid(y)
    launch(
        _interpolation,
        g.programs,
        coarse,
        y if u is None else u,
        weights,
        y,
        *g.shape,
        g.blocks,
        g.fields // operators,
        ADD=u is not None,
        PRODUCT=product,
        CORNERS=corners,
        **g.constants,
    )
    return y


def restrict_product(r: Tensor, weights: Tensor) -> Tensor:
    return _collect(r, weights, 1 << (r.ndim - 2), 1, 1)


def restrict_weighted(r: Tensor, weights: Tensor) -> Tensor:
    return _collect(r, weights, weights.shape[1], weights.shape[0], 0)


def _collect(r: Tensor, weights: Tensor, corners: int, operators: int, product: int) -> Tensor:
    y, g = r.new_empty(*r.shape[:2], *coarse_shape(r.shape[2:])), Grid(r)
    blocks = _coarse_blocks(y)
    launch(
        _collection,
        (g.fields * blocks,),
        r,
        weights,
        y,
        *g.shape,
        blocks,
        g.fields // operators,
        PRODUCT=product,
        CORNERS=corners,
        num_warps=8,  # 4^d terms: fewer cells a thread keep them in registers
        **g.constants,
    )
    return y


def transfer_slopes(fine: Tensor, coarse: Tensor, count: int, shared: bool) -> Tensor:
    operators, g = 1 if shared else fine.shape[0], Grid(fine)
    y = fine.new_empty(operators, count, *fine.shape[2:])
    launch(
        _slopes,
        (operators * g.blocks,),
        fine,
        coarse,
        y,
        *g.shape,
        g.blocks,
        g.fields // operators,
        CORNERS=count,
        **g.constants,
    )
    return y


def coarsen(diagonal: Tensor, coupling: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    batch, d, *space = coupling.shape
    small = coarse_shape(space)
    coarse, couplings = diagonal.new_empty(batch, *small), diagonal.new_empty(batch, d, *small)
    g = Grid(diagonal[:, None])
    block = 128  # a cell needs its whole coarse neighbourhood: more of them would not fit the registers
    blocks = -(-coarse[0].numel() // block)
    # a tensor, since a bare float would be rounded to single precision
    f = torch.full((1,), factor, dtype=torch.float64, device=diagonal.device)
    constants = {**g.constants, "BLOCK": block}
    launch(_coarsen, (batch * blocks,), diagonal, coupling, coarse, couplings, f, *g.shape, blocks, **constants)
    return coarse, couplings


def _coarse_blocks(y: Tensor) -> int:
    return -(-y.shape[2:].numel() // BLOCK)


@triton.jit
def _parent(i, n, OTHER: tl.constexpr):
    """The coarse cell of a cell along an axis, or the neighbour nearest to the cell."""
    if OTHER:
        count = (n + 1) // 2
        found = (i // 2 + 2 * (i % 2) - 1 + count) % count
    else:
        found = i // 2
    return found


@triton.jit
def _meets(i, j, k, n1, n2, n3, CORNER: tl.constexpr, CORNERS: tl.constexpr, DIM: tl.constexpr):
    """The coarse cell that a weight of a cell belongs to."""
    FACES: tl.constexpr = (CORNERS == DIM + 1) and (DIM > 1)
    BITS: tl.constexpr = ((1 << CORNER) >> 1) if FACES else CORNER
    up = _parent(i, n1, DIM == 3 and BITS % 2 == 1)
    at = _parent(j, n2, DIM >= 2 and (BITS >> (DIM - 2 if DIM >= 2 else 0)) % 2 == 1)
    last = _parent(k, n3, (BITS >> (DIM - 1)) % 2 == 1)
    return (up * ((n2 + 1) // 2) + at) * ((n3 + 1) // 2) + last


@triton.jit
def _product(
    weights,
    i,
    j,
    k,
    mask,
    n1,
    n2,
    n3,
    CORNER: tl.constexpr,
    DIM: tl.constexpr,
    DOUBLE: tl.constexpr,
):
    """The weight of a corner as a product over the axes."""
    total = n3 + (n2 if DIM >= 2 else 0) + (n1 if DIM == 3 else 0)
    w = load(weights + ((CORNER >> (DIM - 1)) % 2) * total + (total - n3) + k, mask, DOUBLE)
    if DIM >= 2:
        w *= load(weights + ((CORNER >> (DIM - 2)) % 2) * total + (total - n3 - n2) + j, mask, DOUBLE)
    if DIM == 3:
        w *= load(weights + (CORNER % 2) * total + i, mask, DOUBLE)
    return w


@triton.jit
def _prolong(
    coarse,
    u,
    y,
    n1,
    n2,
    n3,
    blocks,
    ADD: tl.constexpr,
    DIM: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n1, n2, n3 = tl.cast(n1, tl.int32), tl.cast(n2, tl.int32), tl.cast(n3, tl.int32)
    cells, c2, c3 = n1 * n2 * n3, (n2 + 1) // 2, (n3 + 1) // 2
    field = (tl.program_id(0) // blocks).to(tl.int64)
    q = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    mask = q < cells
    parent = (q // (n2 * n3) // 2 * c2 + q // n3 % n2 // 2) * c3 + q % n3 // 2
    value = load(coarse + field * ((n1 + 1) // 2 * c2 * c3) + parent, mask, DOUBLE)
    if ADD:
        value += load(u + field * cells + q, mask, DOUBLE)
    tl.store(y + field * cells + q, value, mask=mask)


@triton.jit
def _restrict(
    r,
    y,
    n1,
    n2,
    n3,
    blocks,
    DIM: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n1, n2, n3 = tl.cast(n1, tl.int32), tl.cast(n2, tl.int32), tl.cast(n3, tl.int32)
    c2, c3 = (n2 + 1) // 2, (n3 + 1) // 2
    sums = (n1 + 1) // 2 * c2 * c3
    field = (tl.program_id(0) // blocks).to(tl.int64)
    p = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    inside = p < sums
    total = tl.zeros((BLOCK,), tl.float64 if DOUBLE else tl.float32)
    children: tl.constexpr = 1 << DIM
    for child in tl.static_range(children):
        i, j, k = p // (c2 * c3) * 2 + child // 4, p // c3 % c2 * 2 + child // 2 % 2, p % c3 * 2 + child % 2
        mask = inside & (i < n1) & (j < n2) & (k < n3)
        total += load(r + field * (n1 * n2 * n3) + (i * n2 + j) * n3 + k, mask, DOUBLE)
    tl.store(y + field * sums + p, total, mask=inside)


@triton.jit
def _interpolation(
    coarse,
    u,
    weights,
    y,
    n1,
    n2,
    n3,
    blocks,
    each,
    ADD: tl.constexpr,
    PRODUCT: tl.constexpr,
    CORNERS: tl.constexpr,
    DIM: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n1, n2, n3 = tl.cast(n1, tl.int32), tl.cast(n2, tl.int32), tl.cast(n3, tl.int32)
    cells = n1 * n2 * n3
    field = (tl.program_id(0) // blocks).to(tl.int64)
    e = coarse + field * ((n1 + 1) // 2 * ((n2 + 1) // 2) * ((n3 + 1) // 2))
    q = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    mask = q < cells
    i, j, k = q // (n2 * n3), q // n3 % n2, q % n3
    value = tl.zeros((BLOCK,), tl.float64 if DOUBLE else tl.float32)
    if ADD:
        value += load(u + field * cells + q, mask, DOUBLE)
    for m in tl.static_range(CORNERS):
        if PRODUCT:
            w = _product(weights, i, j, k, mask, n1, n2, n3, m, DIM, DOUBLE)
        else:
            w = load(weights + (field // each * CORNERS + m) * cells + q, mask, DOUBLE)
        value += w * load(e + _meets(i, j, k, n1, n2, n3, m, CORNERS, DIM), mask, DOUBLE)
    tl.store(y + field * cells + q, value, mask=mask)


@triton.jit
def _candidate(c, n, WHICH: tl.constexpr, OTHER: tl.constexpr):
    """A cell that meets a coarse cell along an axis: one of its own pair, or the nearest one above or below."""
    count = (n + 1) // 2
    if not OTHER:
        found = c * 2 + WHICH
    elif WHICH == 0:
        found = (c - 1 + count) % count * 2 + 1
    else:
        found = (c + 1) % count * 2
    return found


@triton.jit
def _met_by(p, n1, n2, n3, CORNER: tl.constexpr, CHILD: tl.constexpr, CORNERS: tl.constexpr, DIM: tl.constexpr):
    """The cells whose weights of a corner belong to coarse cells p: one for each child."""
    FACES: tl.constexpr = (CORNERS == DIM + 1) and (DIM > 1)
    BITS: tl.constexpr = ((1 << CORNER) >> 1) if FACES else CORNER
    c2, c3 = (n2 + 1) // 2, (n3 + 1) // 2
    i = _candidate(p // (c2 * c3), n1, CHILD // 4, DIM == 3 and BITS % 2 == 1)
    j = _candidate(p // c3 % c2, n2, CHILD // 2 % 2, DIM >= 2 and (BITS >> (DIM - 2 if DIM >= 2 else 0)) % 2 == 1)
    k = _candidate(p % c3, n3, CHILD % 2, (BITS >> (DIM - 1)) % 2 == 1)
    return i, j, k


@triton.jit
def _collection(
    r,
    weights,
    y,
    n1,
    n2,
    n3,
    blocks,
    each,
    PRODUCT: tl.constexpr,
    CORNERS: tl.constexpr,
    DIM: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n1, n2, n3 = tl.cast(n1, tl.int32), tl.cast(n2, tl.int32), tl.cast(n3, tl.int32)
    cells, c2, c3 = n1 * n2 * n3, (n2 + 1) // 2, (n3 + 1) // 2
    sums = (n1 + 1) // 2 * c2 * c3
    field = (tl.program_id(0) // blocks).to(tl.int64)
    p = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    inside = p < sums
    total = tl.zeros((BLOCK,), tl.float64 if DOUBLE else tl.float32)
    children: tl.constexpr = 1 << DIM
    for m in tl.static_range(CORNERS):
        for child in tl.static_range(children):
            i, j, k = _met_by(p, n1, n2, n3, m, child, CORNERS, DIM)
            mask = inside & (i < n1) & (j < n2) & (k < n3)
            q = (i * n2 + j) * n3 + k
            if PRODUCT:
                w = _product(weights, i, j, k, mask, n1, n2, n3, m, DIM, DOUBLE)
            else:
                w = load(weights + (field // each * CORNERS + m) * cells + q, mask, DOUBLE)
            total += w * load(r + field * cells + q, mask, DOUBLE)
    tl.store(y + field * sums + p, total, mask=inside)


@triton.jit
def _slopes(
    fine,
    coarse,
    y,
    n1,
    n2,
    n3,
    blocks,
    each,
    CORNERS: tl.constexpr,
    DIM: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n1, n2, n3 = tl.cast(n1, tl.int32), tl.cast(n2, tl.int32), tl.cast(n3, tl.int32)
    cells = n1 * n2 * n3
    sums = (n1 + 1) // 2 * ((n2 + 1) // 2) * ((n3 + 1) // 2)
    operator = (tl.program_id(0) // blocks).to(tl.int64)
    q = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    mask = q < cells
    i, j, k = q // (n2 * n3), q // n3 % n2, q % n3
    for m in tl.static_range(CORNERS):
        total = tl.zeros((BLOCK,), tl.float64 if DOUBLE else tl.float32)
        parent = _meets(i, j, k, n1, n2, n3, m, CORNERS, DIM)
        for s in range(each):
            field = operator * each + s
            x = load(fine + field * cells + q, mask, DOUBLE)
            total += x * load(coarse + field * sums + parent, mask, DOUBLE)
        tl.store(y + (operator * CORNERS + m) * cells + q, total, mask=mask)


@triton.jit
def _coarsen(
    diagonal,
    coupling,
    coarse,
    couplings,
    factor,
    n1,
    n2,
    n3,
    blocks,
    DIM: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n1, n2, n3 = tl.cast(n1, tl.int32), tl.cast(n2, tl.int32), tl.cast(n3, tl.int32)
    cells, c2, c3 = n1 * n2 * n3, (n2 + 1) // 2, (n3 + 1) // 2
    sums = (n1 + 1) // 2 * c2 * c3
    batch = (tl.program_id(0) // blocks).to(tl.int64)
    p = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    inside = p < sums
    total = tl.zeros((BLOCK,), tl.float64 if DOUBLE else tl.float32)
    f = tl.load(factor).to(tl.float64 if DOUBLE else tl.float32)
    nearer = 2 * f / (1 + f)
    children: tl.constexpr = 1 << DIM
    for a in tl.static_range(DIM):
        w = coupling + (batch * DIM + a) * cells
        upper, lower = tl.zeros_like(total), tl.zeros_like(total)
        for child in tl.static_range(children):
            i, j, k = p // (c2 * c3) * 2 + child // 4, p // c3 % c2 * 2 + child // 2 % 2, p % c3 * 2 + child % 2
            mask = inside & (i < n1) & (j < n2) & (k < n3)
            q = tl.where(mask, (i * n2 + j) * n3 + k, 0)
            above = load(w + q, mask, DOUBLE)
            below = load(w + neighbour(q, n1, n2, n3, 3 - DIM + a, False), mask, DOUBLE)
            if DIM - a == 1:
                at, n = k, n3
            elif DIM - a == 2:
                at, n = j, n2
            else:
                at, n = i, n1
            alone = (at == n - 1) & (n % 2 == 1)
            # beside the last cell of an odd axis, which stays alone, centres are nearer to each other
            f_above = tl.where((n % 2 == 1) & (at >= n - 2), nearer, f)
            f_below = tl.where((n % 2 == 1) & ((at == 0) | (at == n - 1)), nearer, f)
            if (child >> (DIM - 1 - a)) % 2 == 0:
                lower += f_below * below
                upper += tl.where(alone, f_above * above, 0.0)
            else:
                upper += f_above * above
        tl.store(couplings + (batch * DIM + a) * sums + p, upper, mask=inside)
        total += upper + lower
    for child in tl.static_range(children):
        i, j, k = p // (c2 * c3) * 2 + child // 4, p // c3 % c2 * 2 + child // 2 % 2, p % c3 * 2 + child % 2
        mask = inside & (i < n1) & (j < n2) & (k < n3)
        q = tl.where(mask, (i * n2 + j) * n3 + k, 0)
        extra = load(diagonal + batch * cells + q, mask, DOUBLE)
        alone = (k == n3 - 1) & (n3 % 2 == 1)
        if DIM >= 2:
            alone = alone | ((j == n2 - 1) & (n2 % 2 == 1))
        if DIM == 3:
            alone = alone | ((i == n1 - 1) & (n1 % 2 == 1))
        for a in tl.static_range(DIM):
            w = coupling + (batch * DIM + a) * cells
            extra -= load(w + q, mask, DOUBLE)
            extra -= load(w + neighbour(q, n1, n2, n3, 3 - DIM + a, False), mask, DOUBLE)
        total += tl.where(alone, extra, f * extra)
    tl.store(coarse + batch * sums + p, total, mask=inside)
