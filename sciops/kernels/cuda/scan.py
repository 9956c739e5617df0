# mypy: disable-error-code="no-untyped-def,no-untyped-call"
"""Scans on a GPU, in blocks of time: the map of each block, the states between blocks, and the states inside.

All blocks lie along the first axis of the grid, as the others take no more than 65535 programs. Positions count in the
order of the scan, which runs BACKWARDS along the axis of time or not. Of the DUAL, the map between two steps is kept at
the one visited before.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch

_STEPS_DIAGONAL = 128  # in a block: enough threads of work for the parallel scan inside
_STEPS_DENSE = 64  # balances the blocks (time / 64 of them, one after the other) with the steps of a block


def affine_scan(A: Tensor, b: Tensor, initial: Tensor | None, reverse: bool, dual: bool) -> Tensor:
    batch, time, n = b.shape
    dense = A.ndim == 4
    y = torch.empty_like(b)
    accumulator = torch.float64 if b.dtype == torch.float64 else torch.float32
    start = b.new_zeros(batch, n) if initial is None else initial
    steps = _STEPS_DENSE if dense else _STEPS_DIAGONAL
    blocks = triton.cdiv(time, steps)
    # composed maps and their offsets, then the states before the blocks
    maps = torch.empty((batch, blocks, n, n) if dense else (batch, blocks, n), dtype=accumulator, device=b.device)
    offsets = torch.empty((batch, blocks, n), dtype=accumulator, device=b.device)
    states = torch.empty_like(offsets)
    double = b.dtype == torch.float64
    columns = triton.next_power_of_2(n)
    if dense:
        constants = {"BACKWARDS": reverse != dual, "STEPS": steps, "N": columns, "DUAL": dual, "DOUBLE": double}
        launch(_dense_maps, (batch * blocks,), A, b, maps, offsets, time, n, blocks, **constants)
        launch(_dense_states, (batch,), maps, offsets, start, states, n, blocks, N=columns, DOUBLE=double, num_warps=1)
        launch(_dense_scan, (batch * blocks,), A, b, states, y, time, n, blocks, **constants)
        return y
    columns = min(columns, 16)
    tiles = triton.cdiv(n, columns)
    sizes = {"BACKWARDS": reverse != dual, "DUAL": dual, "STEPS": steps, "N": columns, "DOUBLE": double}
    launch(_diagonal_maps, (batch * blocks * tiles,), A, b, maps, offsets, time, n, blocks, **sizes)
    launch(
        _diagonal_states,
        (batch * tiles,),
        maps,
        offsets,
        start,
        states,
        n,
        blocks,
        N=columns,
        DOUBLE=double,
        num_warps=1,
    )
    launch(_diagonal_scan, (batch * blocks * tiles,), A, b, states, y, time, n, blocks, **sizes)
    return y


@triton.jit
def _compose(a1, b1, a2, b2):
    return a2 * a1, a2 * b1 + b2


@triton.jit
def _tile(A, b, time, n, blocks, BACKWARDS, DUAL, STEPS, N, DOUBLE):
    """Maps and offsets of one block of a diagonal scan; beyond the end, maps that change nothing."""
    accumulator = tl.float64 if DOUBLE else tl.float32
    tiles = tl.cdiv(n, N)
    row = tl.program_id(0) // tiles  # sample * blocks + block
    sample = (row // blocks).to(tl.int64)
    position = row % blocks * STEPS + tl.arange(0, STEPS)[:, None]
    column = tl.program_id(0) % tiles * N + tl.arange(0, N)[None, :]
    inside = (position < time) & (column < n)
    i = time - 1 - position if BACKWARDS else position
    at = (sample * time + i) * n + column
    # the dual of a scan begins without a state: its first map meets 0
    mapped = inside & (position >= (1 if DUAL else 0))
    shift = (n if BACKWARDS else -n) if DUAL else 0
    a = tl.load(A + at + shift, mask=mapped, other=0.0).to(accumulator)
    a = tl.where(inside, a, 1.0)
    return a, tl.load(b + at, mask=inside, other=0.0).to(accumulator), at, inside, column, row.to(tl.int64)


@triton.jit
def _diagonal_maps(
    A,
    b,
    maps,
    offsets,
    time,
    n,
    blocks,
    BACKWARDS: tl.constexpr,
    DUAL: tl.constexpr,
    STEPS: tl.constexpr,
    N: tl.constexpr,
    DOUBLE: tl.constexpr,
):
    a, added, at, _inside, column, row = _tile(A, b, time, n, blocks, BACKWARDS, DUAL, STEPS, N, DOUBLE)
    a, added = tl.associative_scan((a, added), 0, _compose)
    last = tl.arange(0, STEPS)[:, None] == STEPS - 1
    where = row * n + column + tl.zeros_like(at)
    tl.store(maps + where, a, mask=last & (column < n))
    tl.store(offsets + where, added, mask=last & (column < n))


@triton.jit
def _diagonal_states(
    maps,
    offsets,
    start,
    states,
    n,
    blocks,
    N: tl.constexpr,
    DOUBLE: tl.constexpr,
):
    accumulator = tl.float64 if DOUBLE else tl.float32
    tiles = tl.cdiv(n, N)
    sample = (tl.program_id(0) // tiles).to(tl.int64)
    column = tl.program_id(0) % tiles * N + tl.arange(0, N)
    inside = column < n
    state = tl.load(start + sample * n + column, mask=inside, other=0.0).to(accumulator)
    for k in range(blocks):
        at = (sample * blocks + k) * n + column
        tl.store(states + at, state, mask=inside)
        a = tl.load(maps + at, mask=inside, other=0.0)
        state = a * state + tl.load(offsets + at, mask=inside, other=0.0)


@triton.jit
def _diagonal_scan(
    A,
    b,
    states,
    y,
    time,
    n,
    blocks,
    BACKWARDS: tl.constexpr,
    DUAL: tl.constexpr,
    STEPS: tl.constexpr,
    N: tl.constexpr,
    DOUBLE: tl.constexpr,
):
    a, added, at, inside, column, row = _tile(A, b, time, n, blocks, BACKWARDS, DUAL, STEPS, N, DOUBLE)
    a, added = tl.associative_scan((a, added), 0, _compose)
    state = tl.load(states + row * n + column, mask=column < n, other=0.0)
    tl.store(y + at, a * state + added, mask=inside)


@triton.jit
def _matrix(A, sample, i, time, n, inside, N, DUAL):
    """Addresses of a map, (to, from): of the dual transposed."""
    row = tl.arange(0, N)[:, None]
    column = tl.arange(0, N)[None, :]
    whole = (row < n) & (column < n) & inside
    base = A + (sample * time + i) * n * n
    at = base + column * n + row if DUAL else base + row * n + column
    return tl.load(at, mask=whole, other=0.0)


@triton.jit
def _dense_maps(
    A,
    b,
    maps,
    offsets,
    time,
    n,
    blocks,
    BACKWARDS: tl.constexpr,
    STEPS: tl.constexpr,
    N: tl.constexpr,
    DUAL: tl.constexpr,
    DOUBLE: tl.constexpr,
):
    accumulator = tl.float64 if DOUBLE else tl.float32
    sample = (tl.program_id(0) // blocks).to(tl.int64)
    block = tl.program_id(0) % blocks
    index = tl.arange(0, N)
    product = (index[:, None] == index[None, :]).to(accumulator)
    offset = tl.zeros((N,), accumulator)
    for p in range(block * STEPS, tl.minimum((block + 1) * STEPS, time)):
        i = time - 1 - p if BACKWARDS else p
        j = (i + 1 if BACKWARDS else i - 1) if DUAL else i
        a = _matrix(A, sample, j, time, n, p >= (1 if DUAL else 0), N, DUAL).to(accumulator)
        added = tl.load(b + (sample * time + i) * n + index, mask=index < n, other=0.0).to(accumulator)
        offset = tl.sum(a * offset[None, :], 1) + added
        product = tl.sum(a[:, :, None] * product[None, :, :], 1)
    inside = index < n
    at = sample * blocks + block
    tl.store(offsets + at * n + index, offset, mask=inside)
    where = at * n * n + index[:, None] * n + index[None, :]
    tl.store(maps + where, product, mask=inside[:, None] & inside[None, :])


@triton.jit
def _dense_states(
    maps,
    offsets,
    start,
    states,
    n,
    blocks,
    N: tl.constexpr,
    DOUBLE: tl.constexpr,
):
    accumulator = tl.float64 if DOUBLE else tl.float32
    sample = tl.program_id(0).to(tl.int64)
    index = tl.arange(0, N)
    inside = index < n
    state = tl.load(start + sample * n + index, mask=inside, other=0.0).to(accumulator)
    for k in range(blocks):
        at = sample * blocks + k
        tl.store(states + at * n + index, state, mask=inside)
        where = at * n * n + index[:, None] * n + index[None, :]
        a = tl.load(maps + where, mask=inside[:, None] & inside[None, :], other=0.0)
        added = tl.load(offsets + at * n + index, mask=inside, other=0.0)
        state = tl.sum(a * state[None, :], 1) + added


@triton.jit
def _dense_scan(
    A,
    b,
    states,
    y,
    time,
    n,
    blocks,
    BACKWARDS: tl.constexpr,
    STEPS: tl.constexpr,
    N: tl.constexpr,
    DUAL: tl.constexpr,
    DOUBLE: tl.constexpr,
):
    accumulator = tl.float64 if DOUBLE else tl.float32
    sample = (tl.program_id(0) // blocks).to(tl.int64)
    block = tl.program_id(0) % blocks
    index = tl.arange(0, N)
    inside = index < n
    state = tl.load(states + (sample * blocks + block) * n + index, mask=inside, other=0.0).to(accumulator)
    for p in range(block * STEPS, tl.minimum((block + 1) * STEPS, time)):
        i = time - 1 - p if BACKWARDS else p
        j = (i + 1 if BACKWARDS else i - 1) if DUAL else i
        a = _matrix(A, sample, j, time, n, p >= (1 if DUAL else 0), N, DUAL).to(accumulator)
        at = (sample * time + i) * n + index
        state = tl.sum(a * state[None, :], 1) + tl.load(b + at, mask=inside, other=0.0).to(accumulator)
        tl.store(y + at, state, mask=inside)
