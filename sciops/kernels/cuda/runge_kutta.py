# mypy: disable-error-code="no-untyped-def,no-untyped-call"
"""Runge-Kutta steps on a GPU: one launch for a stage, one for the error of every sample, one for dense output."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch

_BLOCK = 1024


@functools.lru_cache(maxsize=256)
def numbers_on(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Weights where the kernel reads them; a Python number would reach it in single precision."""
    return torch.tensor(values, dtype=torch.float64, device=device)


def weights_on(weights: Sequence[float], like: Tensor) -> Tensor:
    return numbers_on(tuple(weights), like.device)


def stage_combination(y: Tensor, K: Tensor, h: Tensor, weights: Sequence[float]) -> Tensor:
    out = torch.empty_like(y)
    stage_combination_(out, y, K, h, weights)
    return out


def stage_combination_(
    out: Tensor, y: Tensor, K: Tensor, h: Tensor, weights: Sequence[float], slope: Tensor | None = None
) -> None:
    size, fresh = y.numel(), y if slope is None else slope.contiguous()
    launch(
        _stage,
        (triton.cdiv(size, _BLOCK),),
        *(out, y, K, h, weights_on(weights, y), fresh, size, y.shape[1]),
        COUNT=len(weights),
        STORE=slope is not None,
        DOUBLE=y.dtype == torch.float64,
        BLOCK=_BLOCK,
    )


def stage_gradients(g: Tensor, K: Tensor, h: Tensor, weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    slopes, step = torch.empty_like(K), torch.empty_like(h)
    grid, sizes = tiling(g)
    full = [*weights, *[0.0] * (K.shape[0] - len(weights))]
    launch(_gradients, grid, g, K, h, weights_on(full, g), slopes, step, *g.shape, COUNT=K.shape[0], **sizes)
    return slopes, step


def error_norm(
    K: Tensor, h: Tensor, weights: Sequence[float], y0: Tensor, y1: Tensor, rtol: Tensor, atol: Tensor, batch: bool
) -> Tensor:
    ratio = torch.empty_like(y0[:, 0])
    grid, sizes = tiling(y0)
    constants = {"COUNT": len(weights), **spread(rtol), **sizes}
    launch(_error, grid, K, h, weights_on(weights, y0), y0, y1, rtol, atol, ratio, *y0.shape, **constants)
    if batch:
        ratio = (torch.linalg.vector_norm(ratio) / len(ratio) ** 0.5).expand(ratio.shape).contiguous()
    return ratio


def interpolate_step(y0: Tensor, K: Tensor, h: Tensor, theta: Tensor, weights: Sequence[float], degree: int) -> Tensor:
    out = y0.new_empty(*theta.shape, y0.shape[1])
    _interpolate(out, y0, K, h, theta, weights, degree, False)
    return out


def interpolate_step_(
    out: Tensor, y0: Tensor, K: Tensor, h: Tensor, theta: Tensor, weights: Sequence[float], degree: int
) -> None:
    _interpolate(out, y0, K, h, theta, weights, degree, True)


def _interpolate(
    out: Tensor, y0: Tensor, K: Tensor, h: Tensor, theta: Tensor, weights: Sequence[float], degree: int, masked: bool
) -> None:
    _, m, dim = out.shape
    launch(
        _dense,
        (triton.cdiv(out.numel(), 256),),
        *(out, y0, K, h, theta, weights_on(weights, y0), out.numel(), y0.numel(), m, dim),
        COUNT=len(weights) // degree,
        DEGREE=degree,
        MASKED=masked,
        DOUBLE=y0.dtype == torch.float64,
        BLOCK=256,
    )


def tiling(y: Tensor) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Several short samples to a program, or a long one in blocks."""
    batch, dim = y.shape
    width = min(triton.next_power_of_2(dim), _BLOCK)
    rows = max(1, 256 // width)
    return (triton.cdiv(batch, rows),), {"ROWS": rows, "WIDTH": width, "DOUBLE": y.dtype == torch.float64}


def spread(tolerance: Tensor) -> dict[str, bool]:
    return {"BY_SAMPLE": tolerance.shape[0] > 1, "BY_COMPONENT": tolerance.shape[1] > 1}


@triton.jit
def _stage(
    out,
    y,
    K,
    h,
    weights,
    fresh,
    size,
    dim,
    COUNT: tl.constexpr,
    STORE: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    real: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    e = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = e < size
    total = tl.zeros((BLOCK,), real)
    kept: tl.constexpr = COUNT - 1 if STORE else COUNT
    for i in tl.static_range(kept):
        w = tl.load(weights + i)
        # a slope of weight 0 may never have been set
        used = inside & (tl.full((BLOCK,), 1.0, tl.float64) * w != 0)
        k = tl.load(K + i * tl.full((), size, tl.int64) + e, mask=used, other=0.0)
        total += w.to(real) * k.to(real)
    if STORE:
        k = tl.load(fresh + e, mask=inside, other=0.0)
        tl.store(K + (COUNT - 1) * tl.full((), size, tl.int64) + e, k, mask=inside)
        w = tl.load(weights + COUNT - 1)
        total += w.to(real) * k.to(real)
    step = tl.load(h + e // dim, mask=inside, other=0.0).to(real)
    start = tl.load(y + e, mask=inside, other=0.0).to(real)
    tl.store(out + e, start + step * total, mask=inside)


@triton.jit
def _gradients(
    g,
    K,
    h,
    weights,
    slopes,
    steps,
    batch,
    dim,
    COUNT: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    DOUBLE: tl.constexpr,
):
    real: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    b = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    step = tl.load(h + b, mask=b < batch, other=0.0).to(real)
    total = tl.zeros((ROWS,), real)
    for low in range(0, dim, WIDTH):
        d = low + tl.arange(0, WIDTH)
        inside = (b < batch)[:, None] & (d < dim)[None, :]
        at = b[:, None] * dim + d[None, :]
        value = tl.load(g + at, mask=inside, other=0.0).to(real)
        combined = tl.zeros((ROWS, WIDTH), real)
        for i in tl.static_range(COUNT):
            w = tl.load(weights + i)
            place = i * tl.full((), batch, tl.int64) * dim + at
            used = inside & (tl.full((ROWS, WIDTH), 1.0, tl.float64) * w != 0)
            combined += w.to(real) * tl.load(K + place, mask=used, other=0.0).to(real)
            tl.store(slopes + place, w.to(real) * step[:, None] * value, mask=inside)
        total += tl.sum(value * combined, 1)
    tl.store(steps + b, total, mask=b < batch)


@triton.jit
def mean_squares(
    K, step, weights, y0, y1, rtol, atol, b, batch, dim, COUNT, BY_SAMPLE, BY_COMPONENT, ROWS, WIDTH, DOUBLE
):
    real: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    total = tl.zeros((ROWS,), real)
    for low in range(0, dim, WIDTH):
        d = low + tl.arange(0, WIDTH)
        inside = (b < batch)[:, None] & (d < dim)[None, :]
        at = b[:, None] * dim + d[None, :]
        error = tl.zeros((ROWS, WIDTH), real)
        for i in tl.static_range(COUNT):
            w = tl.load(weights + i)
            used = inside & (tl.full((ROWS, WIDTH), 1.0, tl.float64) * w != 0)
            k = tl.load(K + i * tl.full((), batch, tl.int64) * dim + at, mask=used, other=0.0)
            error += w.to(real) * k.to(real)
        width = dim if BY_COMPONENT else 1
        where = (b[:, None] * width if BY_SAMPLE else tl.zeros_like(at)) + (d[None, :] if BY_COMPONENT else 0)
        u = tl.abs(tl.load(y0 + at, mask=inside, other=0.0).to(real))
        v = tl.abs(tl.load(y1 + at, mask=inside, other=0.0).to(real))
        r = tl.load(rtol + where, mask=inside, other=0.0).to(real)
        a = tl.load(atol + where, mask=inside, other=1.0).to(real)
        # the greater of two, NaN if either is
        greatest = tl.where((u > v) | (u != u), u, v)
        ratio = tl.where(inside, step[:, None] * error / (a + r * greatest), 0.0)
        total += tl.sum(ratio * ratio, 1)
    return total / dim


@triton.jit
def _error(
    K,
    h,
    weights,
    y0,
    y1,
    rtol,
    atol,
    ratios,
    batch,
    dim,
    COUNT: tl.constexpr,
    BY_SAMPLE: tl.constexpr,
    BY_COMPONENT: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    DOUBLE: tl.constexpr,
):
    real: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    b = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    step = tl.load(h + b, mask=b < batch, other=0.0).to(real)
    squares = mean_squares(
        K, step, weights, y0, y1, rtol, atol, b, batch, dim, COUNT, BY_SAMPLE, BY_COMPONENT, ROWS, WIDTH, DOUBLE
    )
    tl.store(ratios + b, tl.sqrt(squares), mask=b < batch)


@triton.jit
def _dense(
    out,
    y0,
    K,
    h,
    theta,
    weights,
    size,
    stride,
    m,
    dim,
    COUNT: tl.constexpr,
    DEGREE: tl.constexpr,
    MASKED: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    real: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    e = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = e < size
    sample = e // dim // m
    at = sample * dim + e % dim
    where = tl.load(theta + e // dim, mask=inside, other=0.0)
    if MASKED:
        # before rounding, which could bring a time after the step into it
        inside = inside & (where > 0.0) & (where <= 1.0)
    x = where.to(real)
    total = tl.zeros((BLOCK,), real)
    for i in tl.static_range(COUNT):
        value = tl.zeros((BLOCK,), real)
        for p in tl.static_range(DEGREE):
            value = (value + tl.load(weights + i * DEGREE + DEGREE - 1 - p).to(real)) * x
        k = tl.load(K + i * tl.full((), stride, tl.int64) + at, mask=inside & (value != 0), other=0.0)
        total += value * k.to(real)
    step = tl.load(h + sample, mask=inside, other=0.0).to(real)
    tl.store(out + e, tl.load(y0 + at, mask=inside, other=0.0).to(real) + step * total, mask=inside)
