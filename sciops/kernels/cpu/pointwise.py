"""Channel maps on a processor: products by oneDNN on blocks of points that stay in the cache, and what stands between
two products in one vectorised pass. Nothing of the size of the input is made but the results."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.nn.functional import gelu

from sciops.kernels import products
from sciops.kernels.cpu.compiled import compiled, prange
from sciops.kernels.cpu.memory import empty

_BLOCK = 2**18  # elements of the widest matrix of a block: some ten of these are in use at once


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = products.product(x.view(-1, x.shape[-1]), weight, bias)
    # not as a view, which would keep autograd from adding other derivatives to it in place
    shaped: Tensor = torch.ops.aten._unsafe_view(y, (*x.shape[:-1], weight.shape[0]))
    return shaped


def inner_product(a: Tensor, b: Tensor) -> Tensor:
    return products.quick_inner_product(a, b).contiguous()


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
    y = empty((*x.shape[:-1], outer.shape[0]), x)
    points, out = _rows(x), _rows(y)
    res = None if residual is None else _rows(residual)
    for block in _blocks(points, inner):
        r = None if res is None else res[block]
        h = _entering(points[block], r, skip)
        t = gelu(h) if activate_in else h
        o = products.product(products.product(t, inner, inner_bias, gelu=True), outer, outer_bias)
        if r is not None and gate is not None:
            o.addcmul_(r, gate)
        if activate_out:
            torch.ops.aten.gelu.out(o, out=out[block])
        else:
            out[block] = o
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
    dx = empty(x.shape, x) if fields else None
    dr = empty(residual.shape, x) if fields and residual is not None else None
    d_inner, d_inner_bias, d_outer, d_outer_bias, d_skip, d_gate = (
        torch.zeros_like(a) if maps and a is not None else x.new_empty(0)
        for a in (inner, inner_bias, outer, outer_bias, skip, gate)
    )
    points, g_rows = _rows(x), _rows(gradient)
    res, dx_rows, dr_rows = (None if field is None else _rows(field) for field in (residual, dx, dr))
    back_inner, back_outer = inner.mT.contiguous(), outer.mT.contiguous()
    back_skip = None if skip is None else skip.mT.contiguous()
    for block in _blocks(points, inner):
        r = None if res is None else res[block]
        t, slope_in = _entering(points[block], r, skip), None
        if activate_in:
            t, slope_in = _with_slope(t)
        hidden, slope = _with_slope(products.product(t, inner, inner_bias))
        do, sums, gated = g_rows[block], None, None
        if activate_out:
            do, sums, gated = _before_last(products.product(hidden, outer, outer_bias), r, gate, do)
        d_raw, raw_sums = _scaled(products.product(do, back_outer), slope)
        if maps:
            d_inner += products.quick_inner_product(d_raw, t)
            d_inner_bias += raw_sums
            d_outer += products.quick_inner_product(do, hidden)
            d_outer_bias += do.sum(0) if sums is None else sums
            if r is not None and gate is not None:
                d_gate += (do * r).sum(0) if gated is None else gated
        if not fields and skip is None:
            continue
        dh = products.product(d_raw, back_inner)
        if slope_in is not None:
            dh, _ = _scaled(dh, slope_in, None if dx_rows is None else dx_rows[block])
        elif dx_rows is not None:
            dx_rows[block] = dh
        if maps and r is not None and skip is not None:
            d_skip += products.quick_inner_product(dh, r)
        if dr_rows is None:
            continue
        if back_skip is None:
            torch.mul(do, gate, out=dr_rows[block])  # type: ignore[arg-type]
        elif gate is None:
            dr_rows[block] = products.product(dh, back_skip)
        else:
            torch.addcmul(products.product(dh, back_skip), do, gate, out=dr_rows[block])
    dx, dr = (x.new_empty(0) if d is None else d for d in (dx, dr))
    return dx, d_inner, d_inner_bias, d_outer, d_outer_bias, dr, d_skip, d_gate


def _rows(x: Tensor) -> Tensor:
    return x.view(-1, x.shape[-1])


def _blocks(points: Tensor, inner: Tensor) -> Iterator[slice]:
    step = max(1, _BLOCK // max(inner.shape))
    return (slice(start, start + step) for start in range(0, points.shape[0], step))


def _entering(x: Tensor, r: Tensor | None, skip: Tensor | None) -> Tensor:
    return x if r is None or skip is None else products.product(r, skip).add_(x)


def _with_slope(h: Tensor) -> tuple[Tensor, Tensor]:
    """GELU and its derivative."""
    if h.dtype != torch.float32:
        return gelu(h), torch.ops.aten.gelu_backward(torch.ones_like(h), h)
    y, slope = torch.empty_like(h), torch.empty_like(h)
    _gelu_chunks(h.view(-1).numpy(), y.view(-1).numpy(), slope.view(-1).numpy())
    return y, slope


def _before_last(o: Tensor, r: Tensor | None, gate: Tensor | None, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient d before the last GELU, of o + gate * r, and the sums over the points of d and of d * r."""
    add = r is not None and gate is not None
    if o.dtype != torch.float32:
        d = torch.ops.aten.gelu_backward(g, torch.addcmul(o, r, gate) if add else o)  # type: ignore[arg-type]
        return d, d.sum(0), (d * r if add else d).sum(0)  # type: ignore[operator]
    d = torch.empty_like(g)
    sums = torch.empty(-(-g.shape[0] // _CHUNK), 2, g.shape[1])
    other, weights = (r, gate) if add else (o, o[0])
    _leave_chunks(o.numpy(), other.numpy(), weights.numpy(), g.numpy(), d.numpy(), sums.numpy(), add)  # type: ignore[union-attr]
    of_d, of_products = sums.sum(0)
    return d, of_d, of_products


def _scaled(a: Tensor, slope: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The product, entry by entry, and its sums over the points."""
    if a.dtype != torch.float32:
        d = torch.mul(a, slope, out=a if out is None else out)
        return d, d.sum(0)
    out = torch.empty_like(a) if out is None else out
    sums = torch.empty(-(-a.shape[0] // _CHUNK), a.shape[1])
    _scale_chunks(a.numpy(), slope.numpy(), out.numpy(), sums.numpy())
    return out, sums.sum(0)


_CHUNK = 128  # points of one partial sum: short sums in float32 lose nothing
_single = np.float32
# 2^f on [-1/2, 1/2], and erfc(u) exp(u^2) / 2 for u >= 0 as a polynomial in 1 / (1 + 0.47047 u): least squares of the
# relative error on Chebyshev nodes, which is below 8e-8
_E = tuple(map(_single, (1.0, 0.6931469491610639, 0.24022121753561448, 0.05550742616001854, 0.009675459745531509,
                         0.0013266970386679663)))  # fmt: skip
_T = tuple(map(_single, (0.1326891870501457, 0.1333536845833433, 0.11188874714404082, 0.12149574544863704,
                         -0.05724461330392042, 0.22543215475366357, -0.27570335169452263, 0.13108228661364864,
                         -0.02299383811609135)))  # fmt: skip
_RATE, _LOG, _DENSITY = (
    _single(0.47047 / math.sqrt(2)),
    _single(-0.5 / math.log(2)),
    _single(1 / math.sqrt(2 * math.pi)),
)
_ONE, _LOWEST = _single(1), _single(-127)


@njit(inline="always", fastmath={"reassoc", "contract", "nsz", "arcp"})
def _normal(x: np.float32) -> tuple[np.float32, np.float32]:
    """Distribution function and density of the normal law; one exponential serves both."""
    z = max(_LOG * x * x, _LOWEST)  # 2 to the lowest is zero
    n = np.rint(z)
    f = z - n
    power = _E[0] + f * (_E[1] + f * (_E[2] + f * (_E[3] + f * (_E[4] + f * _E[5]))))
    e = power * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    t = _ONE / (_ONE + _RATE * abs(x))
    tail = t * (
        _T[0]
        + t * (_T[1] + t * (_T[2] + t * (_T[3] + t * (_T[4] + t * (_T[5] + t * (_T[6] + t * (_T[7] + t * _T[8])))))))
    )
    tail *= e
    return (_ONE - tail if x > 0 else tail), e * _DENSITY


# Loops become vector code in functions of their own, and not in the body of a parallel loop, where no array written
# overlaps another: up to five times quicker.
@compiled
def _gelu(x: np.ndarray, y: np.ndarray, slope: np.ndarray) -> None:
    for k in range(x.size):
        c, density = _normal(x[k])
        y[k] = x[k] * c
        slope[k] = c + x[k] * density


@compiled(parallel=True)
def _gelu_chunks(x: np.ndarray, y: np.ndarray, slope: np.ndarray) -> None:
    step = 32 * _CHUNK
    for chunk in prange((x.size + step - 1) // step):
        low, high = chunk * step, min(x.size, chunk * step + step)
        _gelu(x[low:high], y[low:high], slope[low:high])


@compiled
def _leave(
    o: np.ndarray,
    r: np.ndarray,
    gate: np.ndarray,
    g: np.ndarray,
    d: np.ndarray,
    sums: np.ndarray,
    gated: np.ndarray,
    add: bool,
) -> None:
    for p in range(o.shape[0]):
        for k in range(o.shape[1]):
            x = o[p, k]
            if add:
                x += gate[k] * r[p, k]
            c, density = _normal(x)
            d[p, k] = g[p, k] * (c + x * density)
        for k in range(o.shape[1]):
            sums[k] += d[p, k]
            if add:
                gated[k] += d[p, k] * r[p, k]


@compiled(parallel=True)
def _leave_chunks(
    o: np.ndarray, r: np.ndarray, gate: np.ndarray, g: np.ndarray, d: np.ndarray, sums: np.ndarray, add: bool
) -> None:
    for chunk in prange((o.shape[0] + _CHUNK - 1) // _CHUNK):
        low, high = chunk * _CHUNK, min(o.shape[0], chunk * _CHUNK + _CHUNK)
        sums[chunk] = 0
        _leave(o[low:high], r[low:high], gate, g[low:high], d[low:high], sums[chunk, 0], sums[chunk, 1], add)


@compiled
def _scale(a: np.ndarray, slope: np.ndarray, out: np.ndarray, sums: np.ndarray) -> None:
    for p in range(a.shape[0]):
        for k in range(a.shape[1]):
            v = a[p, k] * slope[p, k]
            out[p, k] = v
            sums[k] += v


@compiled(parallel=True)
def _scale_chunks(a: np.ndarray, slope: np.ndarray, out: np.ndarray, sums: np.ndarray) -> None:
    for chunk in prange((a.shape[0] + _CHUNK - 1) // _CHUNK):
        low, high = chunk * _CHUNK, min(a.shape[0], chunk * _CHUNK + _CHUNK)
        sums[chunk] = 0
        _scale(a[low:high], slope[low:high], out[low:high], sums[chunk])
