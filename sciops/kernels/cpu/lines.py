"""Solves along lines on a processor.

Fields are seen as (block, along, across). Lines along the last axis lie in memory one after the other: four of them run
side by side, for each step waits for the one before. Other lines lie side by side already: all loops run across them,
in strips whose cells stay in the cache until the way back.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sciops.kernels.cpu.compiled import borrowed, compiled, prange
from sciops.kernels.cpu.stencil import is_large

_STRIP = 128  # cells across that go along the lines together
_NOTHING = 8.0  # as of sciops.kernels.lines


def line_factors(diagonal: Tensor, link: Tensor, axis: int, around: bool) -> Tensor:
    found = diagonal.new_zeros(diagonal.shape[0], 3 if around else 2, *diagonal.shape[1:])
    shape = _blocks(diagonal.shape[1:], axis)
    batch = diagonal.shape[0]
    d, w = (t.detach().numpy().reshape(batch, *shape) for t in (diagonal, link.contiguous()))
    _factor(d, w, found.numpy().reshape(batch, -1, *shape), _NOTHING * torch.finfo(diagonal.dtype).eps)
    return found


def line_solve(factors: Tensor, r: Tensor, axis: int) -> Tensor:
    u = r.clone()
    line_solve_(u, factors, axis)
    return u


def line_solve_(r: Tensor, factors: Tensor, axis: int) -> None:
    shape = _blocks(r.shape[2:], axis)
    x = r.detach().numpy().reshape(*r.shape[:2], *shape)
    f = factors.detach().numpy().reshape(*factors.shape[:2], *shape)
    # what lies across is one cell for the last axis, and may be one for others too
    if shape[2] == 1:
        run = _along_together if is_large(r) else _along
        run(x[..., 0], f[..., 0])
    else:
        run = _across_together if is_large(r) else _across
        run(x, f)


def _blocks(space: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    return math.prod(space[:axis]), space[axis], math.prod(space[axis + 1 :])


@compiled
def _factor(diagonal: np.ndarray, link: np.ndarray, factors: np.ndarray, nothing: float) -> None:
    diagonal, link, factors = borrowed(diagonal), borrowed(link), borrowed(factors)
    batch, blocks, n, across = diagonal.shape
    around = factors.shape[1] == 3
    end = n - 1 if around else n
    one, tiny = diagonal.dtype.type(1), diagonal.dtype.type(nothing)
    for c in range(batch):
        if across == 1:
            _factor_lines(
                diagonal[c, :, :, 0], link[c, :, :, 0], factors[c, 0, :, :, 0], factors[c, 1, :, :, 0], end, tiny
            )
        for block in range(blocks):
            m, up, d, w = factors[c, 0, block], factors[c, 1, block], diagonal[c, block], link[c, block]
            for p in range(end if across > 1 else 0):
                if p == 0:
                    for k in range(across):
                        m[0, k] = one / d[0, k] if d[0, k] > 0 else 0 * one
                    continue
                mp, dp, before, share, low = m[p], d[p], w[p - 1], up[p - 1], m[p - 1]
                for k in range(across):
                    share[k] = before[k] * low[k]
                    pivot = dp[k] - before[k] * share[k]
                    mp[k] = one / pivot if pivot > tiny * dp[k] else 0 * one
            if around:
                _close(m, up, factors[c, 2, block], d, w, end, tiny)


@compiled
def _factor_lines(d: np.ndarray, w: np.ndarray, m: np.ndarray, up: np.ndarray, end: int, tiny: float) -> None:
    """Lines that lie one after the other, four side by side: each division waits for the one before."""
    one, lines = d.dtype.type(1), d.shape[0]
    for low in range(0, lines, 4):
        count = min(4, lines - low)
        for p in range(end):
            for line in range(low, low + count):
                pivot = d[line, p]
                if p > 0:
                    up[line, p - 1] = w[line, p - 1] * m[line, p - 1]
                    pivot -= w[line, p - 1] * up[line, p - 1]
                m[line, p] = one / pivot if pivot > tiny * d[line, p] else 0 * one


@compiled
def _close(m: np.ndarray, up: np.ndarray, q: np.ndarray, d: np.ndarray, w: np.ndarray, end: int, tiny: float) -> None:
    """The last cell of lines that go around: q = T^-1 c of the others, and one over what is left of the diagonal."""
    one = d.dtype.type(1)
    for k in range(d.shape[1]):
        pulled = 2 * w[0, k] if end == 0 else 0 * one
        if end > 0:
            q[0, k] += w[end, k]
            q[end - 1, k] += w[end - 1, k]
            first = q[0, k]
            final = q[end - 1, k]
            for p in range(1, end):
                q[p, k] += up[p - 1, k] * q[p - 1, k]
            q[end - 1, k] *= m[end - 1, k]
            for p in range(end - 2, -1, -1):
                q[p, k] = m[p, k] * q[p, k] + up[p, k] * q[p + 1, k]
            pulled = first * q[0, k] + (final * q[end - 1, k] if end > 1 else 0 * one)
        pivot = d[end, k] - pulled
        m[end, k] = one / pivot if pivot > tiny * d[end, k] else 0 * one


@compiled
def _solve_strip(
    r: np.ndarray, m: np.ndarray, up: np.ndarray, q: np.ndarray, around: bool, low: int, high: int
) -> None:
    """The lines [low, high) that lie side by side, in place."""
    n, count = r.shape[0], high - low
    end = n - 1 if around else n
    if around:
        last = r[end, low:high]
        for p in range(end):
            x, y = r[p, low:high], q[p, low:high]
            for k in range(count):
                last[k] += y[k] * x[k]
        x = m[end, low:high]
        for k in range(count):
            last[k] *= x[k]
    for p in range(1, end):
        x, before, share = r[p, low:high], r[p - 1, low:high], up[p - 1, low:high]
        for k in range(count):
            x[k] += share[k] * before[k]
    for p in range(end - 1, -1, -1):
        x, a = r[p, low:high], m[p, low:high]
        if p == end - 1:
            for k in range(count):
                x[k] *= a[k]
        else:
            after, share = r[p + 1, low:high], up[p, low:high]
            for k in range(count):
                x[k] = a[k] * x[k] + share[k] * after[k]
    if around:
        last = r[end, low:high]
        for p in range(end):
            x, y = r[p, low:high], q[p, low:high]
            for k in range(count):
                x[k] += y[k] * last[k]


@compiled
def _across_part(x: np.ndarray, factors: np.ndarray, job: int, jobs: int) -> None:
    x, factors = borrowed(x), borrowed(factors)
    batch, rhs, blocks, _, across = x.shape
    strips = (across + _STRIP - 1) // _STRIP
    total, around = batch * rhs * blocks * strips, factors.shape[1] == 3
    for at in range(job * total // jobs, (job + 1) * total // jobs):
        field, block, low = at // (blocks * strips), at // strips % blocks, at % strips * _STRIP
        n, s = field // rhs, field % rhs
        c = n if factors.shape[0] > 1 else 0
        q = factors[c, 2 if around else 0, block]
        high = min(across, low + _STRIP)
        _solve_strip(x[n, s, block], factors[c, 0, block], factors[c, 1, block], q, around, low, high)


@compiled
def _across(x: np.ndarray, factors: np.ndarray) -> None:
    _across_part(x, factors, 0, 1)


@compiled(parallel=True)
def _across_together(x: np.ndarray, factors: np.ndarray) -> None:
    for job in prange(16):
        _across_part(x, factors, job, 16)


@compiled
def _four_lines(x: np.ndarray, m: np.ndarray, up: np.ndarray, end: int) -> None:
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    l0, l1, l2, l3 = up[0], up[1], up[2], up[3]
    m0, m1, m2, m3 = m[0], m[1], m[2], m[3]
    y0 = y1 = y2 = y3 = x.dtype.type(0)
    for p in range(end):
        # of the cell before: there is none at the start, and y is zero
        low = p - 1 if p > 0 else 0
        y0 = x0[p] + l0[low] * y0
        y1 = x1[p] + l1[low] * y1
        y2 = x2[p] + l2[low] * y2
        y3 = x3[p] + l3[low] * y3
        x0[p], x1[p], x2[p], x3[p] = y0, y1, y2, y3
    y0 = y1 = y2 = y3 = x.dtype.type(0)
    for p in range(end - 1, -1, -1):
        y0 = m0[p] * x0[p] + l0[p] * y0
        y1 = m1[p] * x1[p] + l1[p] * y1
        y2 = m2[p] * x2[p] + l2[p] * y2
        y3 = m3[p] * x3[p] + l3[p] * y3
        x0[p], x1[p], x2[p], x3[p] = y0, y1, y2, y3


@compiled
def _one_line(x: np.ndarray, m: np.ndarray, up: np.ndarray, end: int) -> None:
    for p in range(1, end):
        x[p] += up[p - 1] * x[p - 1]
    y = x.dtype.type(0)
    for p in range(end - 1, -1, -1):
        y = m[p] * x[p] + up[p] * y
        x[p] = y


@compiled
def _along_part(x: np.ndarray, factors: np.ndarray, job: int, jobs: int) -> None:
    x, factors = borrowed(x), borrowed(factors)
    batch, rhs, lines, n = x.shape
    fours = (lines + 3) // 4
    total, around = batch * rhs * fours, factors.shape[1] == 3
    end = n - 1 if around else n
    for at in range(job * total // jobs, (job + 1) * total // jobs):
        field, low = at // fours, at % fours * 4
        b, s = field // rhs, field % rhs
        c, high = b if factors.shape[0] > 1 else 0, min(lines, low + 4)
        m, up = factors[c, 0], factors[c, 1]
        if around:
            for line in range(low, high):
                y, q = x[b, s, line], factors[c, 2, line]
                whole = y[end]
                for p in range(end):
                    whole += q[p] * y[p]
                y[end] = m[line, end] * whole
        if high - low == 4:
            _four_lines(x[b, s, low:high], m[low:high], up[low:high], end)
        else:
            for line in range(low, high):
                _one_line(x[b, s, line], m[line], up[line], end)
        if around:
            for line in range(low, high):
                y, q = x[b, s, line], factors[c, 2, line]
                last = y[end]
                for p in range(end):
                    y[p] += q[p] * last


@compiled
def _along(x: np.ndarray, factors: np.ndarray) -> None:
    _along_part(x, factors, 0, 1)


@compiled(parallel=True)
def _along_together(x: np.ndarray, factors: np.ndarray) -> None:
    for job in prange(16):
        _along_part(x, factors, job, 16)
