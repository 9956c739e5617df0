# mypy: disable-error-code="no-untyped-def"
"""Diagonal mixing of modes on CUDA, in one pass; sums over the batch are within a program, so always in one order."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch
from sciops.kernels.factors import diagonal_of

_BLOCK = 256


def separable(pair: Tensor, weight: Tensor) -> Tensor:
    y = torch.empty_like(pair)
    batch, channels = pair.shape[-2:]
    entries = weight.numel() // 2
    grid = (triton.cdiv(entries, _BLOCK) * batch,)  # the other axes take 65535 programs
    launch(_separable, grid, pair, weight, y, entries, batch, channels, WIDE=_wide(pair), BLOCK=_BLOCK)
    return y


def separable_backward(gradient: Tensor, pair: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    for_pair, for_weight = torch.empty_like(pair), torch.empty_like(weight)
    batch, channels = pair.shape[-2:]
    entries = weight.numel() // 2
    launch(
        _separable_backward,
        (triton.cdiv(entries, _BLOCK // 2),),
        gradient,
        pair,
        weight,
        for_pair,
        for_weight,
        entries,
        batch,
        channels,
        WIDE=_wide(pair),
        BLOCK=_BLOCK // 2,
    )
    return for_pair, for_weight


def cp(
    pair: Tensor, factor_in: Tensor, factor_out: Tensor, mode_1: Tensor, mode_2: Tensor | None, mode_3: Tensor | None
) -> Tensor:
    diagonal = diagonal_of(*(f for f in (mode_1, mode_2, mode_3) if f is not None)).contiguous()
    batch, channels = pair.shape[-2:]
    rank = factor_in.shape[-1]
    entries = diagonal.numel() // 2
    # (modes, 2, batch, 2, rank): part of the coefficient, part of the factor
    parts = pair.view(-1, channels) @ factor_in.view(channels, 2 * rank)
    grid = (triton.cdiv(entries, _BLOCK) * batch,)  # the other axes take 65535 programs
    launch(_diagonal, grid, parts, diagonal, entries, batch, rank, WIDE=_wide(pair), BLOCK=_BLOCK)
    y = parts.view(-1, 2 * rank) @ factor_out.view(-1, 2 * rank).T
    return y.view(*pair.shape[:-1], -1)


def _wide(t: Tensor) -> bool:
    return t.dtype == torch.float64


@triton.jit
def _separable(x, w, y, entries, batch, channels, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    real: tl.constexpr = tl.float64 if WIDE else tl.float32
    entry = (tl.program_id(0) // batch).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = entry < entries
    mode, c = entry // channels, entry % channels
    at_w = mode * 2 * channels + c
    at_x = (mode * 2 * batch + tl.program_id(0) % batch) * channels + c
    part = batch.to(tl.int64) * channels
    wr = tl.load(w + at_w, mask=inside, other=0).to(real)
    wi = tl.load(w + at_w + channels, mask=inside, other=0).to(real)
    xr = tl.load(x + at_x, mask=inside, other=0).to(real)
    xi = tl.load(x + at_x + part, mask=inside, other=0).to(real)
    tl.store(y + at_x, xr * wr - xi * wi, mask=inside)
    tl.store(y + at_x + part, xr * wi + xi * wr, mask=inside)


@triton.jit
def _separable_backward(g, x, w, for_x, for_w, entries, batch, channels, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    real: tl.constexpr = tl.float64 if WIDE else tl.float32
    entry = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = entry < entries
    mode, c = entry // channels, entry % channels
    at_w = mode * 2 * channels + c
    at_x = mode * 2 * batch * channels + c
    part = batch.to(tl.int64) * channels
    wr = tl.load(w + at_w, mask=inside, other=0).to(real)
    wi = tl.load(w + at_w + channels, mask=inside, other=0).to(real)
    sum_r = tl.zeros((BLOCK,), real)
    sum_i = tl.zeros((BLOCK,), real)
    for _ in range(batch):
        xr = tl.load(x + at_x, mask=inside, other=0).to(real)
        xi = tl.load(x + at_x + part, mask=inside, other=0).to(real)
        gr = tl.load(g + at_x, mask=inside, other=0).to(real)
        gi = tl.load(g + at_x + part, mask=inside, other=0).to(real)
        tl.store(for_x + at_x, gr * wr + gi * wi, mask=inside)
        tl.store(for_x + at_x + part, gi * wr - gr * wi, mask=inside)
        sum_r += gr * xr + gi * xi
        sum_i += gi * xr - gr * xi
        at_x += channels
    tl.store(for_w + at_w, sum_r, mask=inside)
    tl.store(for_w + at_w + channels, sum_i, mask=inside)


@triton.jit
def _diagonal(p, d, entries, batch, rank, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """(modes, 2, batch, 2, rank) of products to [[re, -im], [im, re]] of the diagonal times their sum, in place."""
    real: tl.constexpr = tl.float64 if WIDE else tl.float32
    entry = (tl.program_id(0) // batch).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = entry < entries
    mode, r = entry // rank, entry % rank
    at_d = mode * 2 * rank + r
    of_real = (mode * 2 * batch + tl.program_id(0) % batch) * 2 * rank + r
    of_imaginary = of_real + batch.to(tl.int64) * 2 * rank
    dr = tl.load(d + at_d, mask=inside, other=0).to(real)
    di = tl.load(d + at_d + rank, mask=inside, other=0).to(real)
    rr = tl.load(p + of_real, mask=inside, other=0).to(real)
    ri = tl.load(p + of_real + rank, mask=inside, other=0).to(real)
    ir = tl.load(p + of_imaginary, mask=inside, other=0).to(real)
    ii = tl.load(p + of_imaginary + rank, mask=inside, other=0).to(real)
    re, im = rr - ii, ri + ir
    zr, zi = re * dr - im * di, re * di + im * dr
    tl.store(p + of_real, zr, mask=inside)
    tl.store(p + of_real + rank, -zi, mask=inside)
    tl.store(p + of_imaginary, zi, mask=inside)
    tl.store(p + of_imaginary + rank, zr, mask=inside)
