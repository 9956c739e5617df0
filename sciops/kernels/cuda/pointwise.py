# mypy: disable-error-code="no-untyped-def"
"""Channel maps on CUDA: a block of points passes the whole chain in registers, the hidden channels a few at a time.

The backward pass computes the chain again. Every program sums the derivatives of the maps over the points it sees in a
slice of memory of its own; the slices are added afterwards in a fixed order, so that a result never changes from run to
run.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch

_MOST_PROGRAMS = 264  # two for each multiprocessor of the largest chips
_MOST_SUMS = 2**24  # entries of all slices of sums together


def perceptron(
    x: Tensor,
    inner: Tensor,
    inner_bias: Tensor,
    outer: Tensor,
    outer_bias: Tensor,
    residual: Tensor | None,
    skip: Tensor | None,
    gate: Tensor | None,
    activate_in: bool,
    activate_out: bool,
) -> Tensor:
    y = x.new_empty(*x.shape[:-1], outer.shape[0])
    points = y.numel() // outer.shape[0]
    constants, options = _shapes(x, inner, outer, residual, skip, gate, activate_in, activate_out)
    tensors = [x if t is None else t for t in (residual, skip, gate)]
    grid = (triton.cdiv(points, constants["P"]),)
    launch(_forward, grid, x, inner, inner_bias, outer, outer_bias, *tensors, y, points, **options, **constants)
    return y


def perceptron_backward(
    gradient: Tensor,
    x: Tensor,
    inner: Tensor,
    inner_bias: Tensor,
    outer: Tensor,
    outer_bias: Tensor,
    residual: Tensor | None,
    skip: Tensor | None,
    gate: Tensor | None,
    activate_in: bool,
    activate_out: bool,
    fields: bool,
    maps: bool,
) -> tuple[Tensor, ...]:
    points = gradient.numel() // outer.shape[0]
    constants, options = _shapes(x, inner, outer, residual, skip, gate, activate_in, activate_out)
    blocks = triton.cdiv(points, constants["P"])
    arguments = (inner, inner_bias, outer, outer_bias, skip, gate)
    counts = [0 if a is None or not maps else a.numel() for a in arguments]
    programs = min(blocks, _MOST_PROGRAMS, max(1, _MOST_SUMS // max(1, sum(counts)))) if maps else blocks
    sums = torch.zeros(max(1, programs) if maps else 0, sum(counts), dtype=torch.float32, device=x.device)
    dx = torch.empty_like(x) if fields else x.new_empty(0)
    dr = torch.empty_like(residual) if fields and residual is not None else x.new_empty(0)
    tensors = [x if t is None else t for t in (residual, skip, gate)]
    launch(
        _backward,
        (programs,),
        gradient,
        x,
        inner,
        inner_bias,
        outer,
        outer_bias,
        *tensors,
        dx,
        dr,
        sums,
        points,
        triton.cdiv(blocks, max(1, programs)),
        **options,
        **constants,
        FIELDS=fields,
        MAPS=maps,
    )
    found = [
        x.new_empty(0) if a is None or not maps else part.view_as(a).to(x.dtype, copy=True)
        for a, part in zip(arguments, torch.split(sums.sum(0), counts), strict=True)
    ]
    return dx, *found[:4], dr, *found[4:]


def _shapes(
    x: Tensor,
    inner: Tensor,
    outer: Tensor,
    residual: Tensor | None,
    skip: Tensor | None,
    gate: Tensor | None,
    activate_in: bool,
    activate_out: bool,
) -> tuple[dict[str, Any], dict[str, int]]:
    channels = {
        "IN": x.shape[-1],
        "HID": inner.shape[0],
        "OUT": outer.shape[0],
        "RES": residual.shape[-1] if residual is not None else 1,
    }
    padded = {name + "_P": max(16, triton.next_power_of_2(count)) for name, count in channels.items()}
    widest = max(padded["IN_P"], padded["OUT_P"])
    # the products of float32 run outside the tensor cores and need more registers; compiled so, hardly any are spilled
    single = x.dtype == torch.float32
    points = 16 if single else max(16, min(64, 2048 // widest))
    columns = 16 if single or widest > 32 else 32
    constants = {
        **channels,
        "IN_P": padded["IN_P"],
        "OUT_P": padded["OUT_P"],
        "P": points,
        "H": min(columns, padded["HID_P"]),
        "R": min(columns, padded["RES_P"]),
        "SKIP": skip is not None,
        "GATE": gate is not None,
        "ACT_IN": activate_in,
        "ACT_OUT": activate_out,
    }
    return constants, {"num_warps": 4 if widest <= 32 else 8, "num_stages": 1}


@triton.jit
def _gelu(x):
    return 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))


@triton.jit
def _slope(x):
    return 0.5 * (1.0 + tl.erf(x * 0.7071067811865476)) + x * 0.3989422804014327 * tl.exp(-0.5 * x * x)


@triton.jit
def _rows(pointer, p, inside, columns: tl.constexpr, first: tl.constexpr, width: tl.constexpr):
    """Columns first to first + width of the rows p, in single precision; zeros outside."""
    c = first + tl.arange(0, width)
    mask = inside[:, None] & (c[None, :] < columns)
    return tl.load(pointer + p[:, None] * columns + c[None, :], mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _matrix(
    pointer,
    rows: tl.constexpr,
    columns: tl.constexpr,
    row,
    column,
    height: tl.constexpr,
    width: tl.constexpr,
):
    """A block (height, width) of a matrix, in single precision; zeros outside."""
    i = row + tl.arange(0, height)
    j = column + tl.arange(0, width)
    mask = (i[:, None] < rows) & (j[None, :] < columns)
    return tl.load(pointer + i[:, None] * columns + j[None, :], mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _vector(pointer, size: tl.constexpr, first, width: tl.constexpr):
    i = first + tl.arange(0, width)
    return tl.load(pointer + i, mask=i < size, other=0.0).to(tl.float32)


@triton.jit
def _times(a, b, kind: tl.constexpr):
    """The product of two blocks, rounded to the dtype of the data before, summed in single precision."""
    return tl.dot(a.to(kind), b.to(kind), input_precision="ieee")


@triton.jit
def _entering(
    x, residual, skip, p, inside,
    IN: tl.constexpr, RES: tl.constexpr, IN_P: tl.constexpr, R: tl.constexpr, SKIP: tl.constexpr,
):  # fmt: skip
    kind: tl.constexpr = x.dtype.element_ty
    h = _rows(x, p, inside, IN, 0, IN_P)
    if SKIP:
        for first in range(0, RES, R):
            c = first + tl.arange(0, R)
            mask = inside[:, None] & (c[None, :] < RES)
            r = tl.load(residual + p[:, None] * RES + c[None, :], mask=mask, other=0.0).to(tl.float32)
            s = _matrix(skip, IN, RES, 0, first, IN_P, R)
            h += _times(r, tl.trans(s), kind)
    return h


@triton.jit
def _leaving(
    t, inner, inner_bias, outer, outer_bias, residual, gate, p, inside,
    kind: tl.constexpr, IN: tl.constexpr, HID: tl.constexpr, OUT: tl.constexpr, IN_P: tl.constexpr,
    OUT_P: tl.constexpr, P: tl.constexpr, H: tl.constexpr, GATE: tl.constexpr,
):  # fmt: skip
    o = tl.zeros((P, OUT_P), tl.float32) + _vector(outer_bias, OUT, 0, OUT_P)[None, :]
    for first in range(0, HID, H):
        w = _matrix(inner, HID, IN, first, 0, H, IN_P)
        hidden = _gelu(_times(t, tl.trans(w), kind) + _vector(inner_bias, HID, first, H)[None, :])
        v = _matrix(outer, OUT, HID, 0, first, OUT_P, H)
        o += _times(hidden, tl.trans(v), kind)
    if GATE:
        o += _vector(gate, OUT, 0, OUT_P)[None, :] * _rows(residual, p, inside, OUT, 0, OUT_P)
    return o


@triton.jit
def _forward(
    x, inner, inner_bias, outer, outer_bias, residual, skip, gate, y, points,
    IN: tl.constexpr, HID: tl.constexpr, OUT: tl.constexpr, RES: tl.constexpr, IN_P: tl.constexpr,
    OUT_P: tl.constexpr, P: tl.constexpr, H: tl.constexpr, R: tl.constexpr, SKIP: tl.constexpr, GATE: tl.constexpr,
    ACT_IN: tl.constexpr, ACT_OUT: tl.constexpr,
):  # fmt: skip
    kind: tl.constexpr = x.dtype.element_ty
    p = tl.program_id(0).to(tl.int64) * P + tl.arange(0, P)
    inside = p < points
    t = _entering(x, residual, skip, p, inside, IN, RES, IN_P, R, SKIP)
    if ACT_IN:
        t = _gelu(t)
    o = _leaving(
        t, inner, inner_bias, outer, outer_bias, residual, gate, p, inside, kind, IN, HID, OUT, IN_P, OUT_P, P, H, GATE
    )
    if ACT_OUT:
        o = _gelu(o)
    c = tl.arange(0, OUT_P)
    tl.store(y + p[:, None] * OUT + c[None, :], o.to(kind), mask=inside[:, None] & (c[None, :] < OUT))


@triton.jit
def _add_matrix(
    pointer, part, rows: tl.constexpr, columns: tl.constexpr, row, column,
    height: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    i = row + tl.arange(0, height)
    j = column + tl.arange(0, width)
    where = pointer + i[:, None] * columns + j[None, :]
    mask = (i[:, None] < rows) & (j[None, :] < columns)
    tl.store(where, tl.load(where, mask=mask, other=0.0) + part, mask=mask)


@triton.jit
def _add_vector(pointer, part, size: tl.constexpr, first, width: tl.constexpr):
    i = first + tl.arange(0, width)
    tl.store(pointer + i, tl.load(pointer + i, mask=i < size, other=0.0) + part, mask=i < size)


@triton.jit
def _backward(
    gradient, x, inner, inner_bias, outer, outer_bias, residual, skip, gate, dx, dr, sums, points, blocks,
    IN: tl.constexpr, HID: tl.constexpr, OUT: tl.constexpr, RES: tl.constexpr, IN_P: tl.constexpr,
    OUT_P: tl.constexpr, P: tl.constexpr, H: tl.constexpr, R: tl.constexpr, SKIP: tl.constexpr, GATE: tl.constexpr,
    ACT_IN: tl.constexpr, ACT_OUT: tl.constexpr, FIELDS: tl.constexpr, MAPS: tl.constexpr,
):  # fmt: skip
    kind: tl.constexpr = x.dtype.element_ty
    size = HID * IN + HID + OUT * HID + OUT
    if SKIP:
        size += IN * RES
    if GATE:
        size += OUT
    d_inner = sums + tl.program_id(0).to(tl.int64) * size
    d_inner_bias = d_inner + HID * IN
    d_outer = d_inner_bias + HID
    d_outer_bias = d_outer + OUT * HID
    d_skip = d_outer_bias + OUT
    d_gate = d_skip
    if SKIP:
        d_gate = d_skip + IN * RES
    for turn in range(blocks):
        p = (tl.program_id(0).to(tl.int64) * blocks + turn) * P + tl.arange(0, P)
        inside = p < points
        h = _entering(x, residual, skip, p, inside, IN, RES, IN_P, R, SKIP)
        t = h
        if ACT_IN:
            t = _gelu(h)
        do = _rows(gradient, p, inside, OUT, 0, OUT_P)
        if ACT_OUT:
            do *= _slope(
                _leaving(
                    t, inner, inner_bias, outer, outer_bias, residual, gate, p, inside, kind, IN, HID, OUT, IN_P,
                    OUT_P, P, H, GATE,
                )
            )  # fmt: skip
        dh = tl.zeros((P, IN_P), tl.float32)
        for first in range(0, HID, H):
            w = _matrix(inner, HID, IN, first, 0, H, IN_P)
            v = _matrix(outer, OUT, HID, 0, first, OUT_P, H)
            raw = _times(t, tl.trans(w), kind) + _vector(inner_bias, HID, first, H)[None, :]
            d_raw = _times(do, v, kind) * _slope(raw)
            dh += _times(d_raw, w, kind)
            if MAPS:
                _add_matrix(d_inner, _times(tl.trans(d_raw), t, kind), HID, IN, first, 0, H, IN_P)
                _add_vector(d_inner_bias, tl.sum(d_raw, 0), HID, first, H)
                _add_matrix(d_outer, _times(tl.trans(do), _gelu(raw), kind), OUT, HID, 0, first, OUT_P, H)
        if ACT_IN:
            dh *= _slope(h)
        if MAPS:
            _add_vector(d_outer_bias, tl.sum(do, 0), OUT, 0, OUT_P)
            if GATE:
                _add_vector(d_gate, tl.sum(do * _rows(residual, p, inside, OUT, 0, OUT_P), 0), OUT, 0, OUT_P)
            if SKIP:
                for first in range(0, RES, R):
                    c = first + tl.arange(0, R)
                    mask = inside[:, None] & (c[None, :] < RES)
                    r = tl.load(residual + p[:, None] * RES + c[None, :], mask=mask, other=0.0).to(tl.float32)
                    _add_matrix(d_skip, _times(tl.trans(dh), r, kind), IN, RES, 0, first, IN_P, R)
        if FIELDS:
            i = tl.arange(0, IN_P)
            tl.store(dx + p[:, None] * IN + i[None, :], dh.to(kind), mask=inside[:, None] & (i[None, :] < IN))
            o = tl.arange(0, OUT_P)
            if SKIP:
                if GATE:
                    # RES is OUT: the whole width at once, the channels of x a few at a time, read back from dx
                    tl.debug_barrier()
                    back = do * _vector(gate, OUT, 0, OUT_P)[None, :]
                    for first in range(0, IN, R):
                        c = first + tl.arange(0, R)
                        mask = inside[:, None] & (c[None, :] < IN)
                        d = tl.load(dx + p[:, None] * IN + c[None, :], mask=mask, other=0.0).to(tl.float32)
                        back += _times(d, _matrix(skip, IN, RES, first, 0, R, OUT_P), kind)
                    tl.store(
                        dr + p[:, None] * OUT + o[None, :], back.to(kind), mask=inside[:, None] & (o[None, :] < OUT)
                    )
                else:
                    for first in range(0, RES, R):
                        c = first + tl.arange(0, R)
                        back = _times(dh, _matrix(skip, IN, RES, 0, first, IN_P, R), kind)
                        mask = inside[:, None] & (c[None, :] < RES)
                        tl.store(dr + p[:, None] * RES + c[None, :], back.to(kind), mask=mask)
            elif GATE:
                back = do * _vector(gate, OUT, 0, OUT_P)[None, :]
                tl.store(dr + p[:, None] * OUT + o[None, :], back.to(kind), mask=inside[:, None] & (o[None, :] < OUT))
        # the next block of points adds to the same sums, perhaps by other threads
        tl.debug_barrier()
