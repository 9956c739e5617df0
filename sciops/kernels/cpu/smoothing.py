"""Smoothers on a processor: planes of all sweeps follow each other through the cache, so that memory is passed once.

After t planes of the guess have come in, sweep k has reached plane t - k - 1, and the residual plane t - K - 1. Only
three planes of each sweep are kept. A part of the planes [low, high) starts and ends some planes outside of itself,
computed anew, which makes parts independent (threads) and the planes of a periodic axis meet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciops.kernels.cpu.compiled import compiled, prange
from sciops.kernels.cpu.stencil import as_planes, is_large, residual_plane
from sciops.kernels.cpu.transfer import add_to_plane, sum_of_plane
from sciops.kernels.transfer import coarse_shape


def smooth(
    diagonal: Tensor,
    coupling: Tensor,
    scale: Tensor,
    b: Tensor,
    u: Tensor | None,
    correction: Tensor | None,
    momentum: list[float],
    step: list[float],
    colour: list[int],
) -> Tensor:
    y = torch.empty_like(b)
    _run(diagonal, coupling, scale, b, u, correction, momentum, step, colour, y, None, None)
    return y


def smooth_residual(
    diagonal: Tensor,
    coupling: Tensor,
    scale: Tensor,
    b: Tensor,
    u: Tensor | None,
    correction: Tensor | None,
    momentum: list[float],
    step: list[float],
    colour: list[int],
    coarse: bool,
) -> tuple[Tensor, Tensor]:
    y = torch.empty_like(b)
    if coarse:
        r = b.new_empty(*b.shape[:2], *coarse_shape(b.shape[2:]))
        _run(diagonal, coupling, scale, b, u, correction, momentum, step, colour, y, None, r)
    else:
        r = torch.empty_like(b)
        _run(diagonal, coupling, scale, b, u, correction, momentum, step, colour, y, r, None)
    return y, r


def smooth_(out: Tensor, *args: Any) -> None:
    _run(*args, out, None, None)  # type: ignore[call-arg]


def smooth_residual_(out: Tensor, residual: Tensor, *args: Any) -> None:
    *rest, coarse = args
    _run(*rest, out, None if coarse else residual, residual if coarse else None)  # type: ignore[call-arg]


def _run(
    diagonal: Tensor,
    coupling: Tensor,
    scale: Tensor,
    b: Tensor,
    u: Tensor | None,
    correction: Tensor | None,
    momentum: list[float],
    step: list[float],
    colour: list[int],
    y: Tensor,
    r: Tensor | None,
    sums: Tensor | None,
) -> None:
    d, f = b.ndim - 2, as_planes(b, b.ndim - 2)
    absent = np.empty((*f.shape[:2], 0, 0), f.dtype)

    def seen(tensor: Tensor | None) -> np.ndarray:
        return absent if tensor is None else as_planes(tensor, d)

    run = _smooth_together if is_large(b) else _smooth
    run(
        seen(diagonal),
        seen(coupling),
        seen(scale),
        f,
        seen(u),
        seen(correction),
        seen(y),
        seen(r),
        seen(sums),
        np.array([momentum, step], f.dtype),
        np.array(colour),
        b.shape[-1],
    )


@compiled
def _copy(out: np.ndarray, at: int, x: np.ndarray, x_at: int, cells: int) -> None:
    y0, x0 = np.uint64(at), np.uint64(x_at)
    for p in range(np.uint64(cells)):
        out[y0 + p] = x[x0 + p]


@compiled
def _to_line(array: np.ndarray) -> int:
    """The first entry that starts a cache line."""
    return (-array.ctypes.data) % 64 // array.itemsize


@compiled
def _step(
    rings: np.ndarray,
    out: int,
    x: np.ndarray,
    here: int,
    before: np.ndarray,
    old: int,
    r: np.ndarray,
    r_at: int,
    s: np.ndarray,
    s_at: int,
    cells: int,
    alpha: float,
    beta: float,
) -> None:
    """The next state of a plane along the scaled residual r, with momentum."""
    y0, x0, o0, s0, r0 = np.uint64(out), np.uint64(here), np.uint64(old), np.uint64(s_at), np.uint64(r_at)
    if alpha == 0:
        for p in range(np.uint64(cells)):
            rings[y0 + p] = x[x0 + p] + beta * s[s0 + p] * r[r0 + p]
    else:
        for p in range(np.uint64(cells)):
            rings[y0 + p] = x[x0 + p] + alpha * (x[x0 + p] - before[o0 + p]) + beta * s[s0 + p] * r[r0 + p]


@compiled
def _step_colour(
    rings: np.ndarray,
    out: int,
    x: np.ndarray,
    here: int,
    r: np.ndarray,
    r_at: int,
    s: np.ndarray,
    s_at: int,
    cells: int,
    masks: np.ndarray,
    odd: int,
    beta: float,
) -> None:
    y0, x0, s0, r0, m0 = np.uint64(out), np.uint64(here), np.uint64(s_at), np.uint64(r_at), np.uint64(odd * cells)
    for p in range(np.uint64(cells)):
        rings[y0 + p] = x[x0 + p] + masks[m0 + p] * (beta * s[s0 + p] * r[r0 + p])


@compiled
def _step_from_zero(
    rings: np.ndarray,
    out: int,
    b: np.ndarray,
    s: np.ndarray,
    at: int,
    cells: int,
    masks: np.ndarray,
    odd: int,
    beta: float,
) -> None:
    """The first state from zero, on all cells when `odd` is negative."""
    y0, s0 = np.uint64(out), np.uint64(at)
    if odd < 0:
        for p in range(np.uint64(cells)):
            rings[y0 + p] = beta * s[s0 + p] * b[s0 + p]
    else:
        m0 = np.uint64(odd * cells)
        for p in range(np.uint64(cells)):
            rings[y0 + p] = masks[m0 + p] * (beta * s[s0 + p] * b[s0 + p])


@compiled
def _smooth_part(
    diagonal: np.ndarray,
    coupling: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray,
    u: np.ndarray,
    correction: np.ndarray,
    y: np.ndarray,
    r: np.ndarray,
    sums: np.ndarray,
    numbers: np.ndarray,
    colour: np.ndarray,
    masks: np.ndarray,
    sizes: np.ndarray,
    low: int,
    high: int,
) -> None:
    """The planes [low, high) of one field, all arrays flat; `low` is even, for the sums over pairs of planes."""
    d, planes, cells, n3, size = sizes
    sweeps = colour.size
    has_u, corrected = u.size > 0, correction.size > 0
    zero = not has_u and not corrected
    further = 1 if r.size > 0 or sums.size > 0 else 0
    # where the first axis ends, no plane beyond it is ever needed
    ends = d == 1 or not coupling[(planes - 1) * cells : planes * cells].any()
    # planes start with cache lines, and a little apart: with sizes that are powers of two all would meet in the same
    # few places of the cache
    stride = (cells + 15) // 16 * 16 + 80
    rings, rest = np.zeros((sweeps + 1) * 3 * stride + 64, b.dtype), np.empty(cells + 16, b.dtype)
    base, r_base = 16 + _to_line(rings), _to_line(rest)
    guess = u if has_u else b
    one = b.dtype.type(1)
    outside = sweeps + further
    for t in range(low - outside, high + outside):
        inside = 0 <= t < planes
        if not zero and (inside or not ends):
            at, out = t if inside else t % planes, base + (t + 3 * outside) % 3 * stride
            if corrected:
                add_to_plane(rings, out, guess, at * cells, has_u, correction, at // 2 * size, cells, n3)
            else:
                _copy(rings, out, guess, at * cells, cells)
        for k in range(sweeps + further):
            i = t - k - 1
            halo = outside - k - 1
            inside = 0 <= i < planes
            if i < low - halo or i >= high + halo or (ends and not inside):
                continue
            at = i if inside else i % planes
            # places in the rings: of this plane and of those beside it
            place = (i + 3 * outside) % 3
            here = base + (3 * k + place) * stride
            out = here + 3 * stride
            if zero and k == 0:
                odd = (at + colour[0] - 1) % 2 if colour[0] else -1
                _step_from_zero(rings, out, b, scale, at * cells, cells, masks, odd, numbers[1, 0])
            else:
                below = here - stride if place > 0 else here + 2 * stride
                above = here + stride if place < 2 else here - 2 * stride
                if ends and i == 0:
                    below = here
                if ends and i == planes - 1:
                    above = here
                residual_plane(
                    rest,
                    r_base,
                    b,
                    at * cells,
                    diagonal,
                    coupling,
                    d,
                    planes,
                    at,
                    rings,
                    below,
                    here,
                    above,
                    cells,
                    n3,
                    one,
                    -one,
                )
                if k < sweeps and colour[k] > 0:
                    odd = (at + colour[k] - 1) % 2
                    _step_colour(
                        rings, out, rings, here, rest, r_base, scale, at * cells, cells, masks, odd, numbers[1, k]
                    )
                elif k < sweeps:
                    # the state before, zero as the rings begin if there was none
                    alpha, old = (numbers[0, k], here - 3 * stride) if k > 0 else (0 * one, here)
                    _step(
                        rings,
                        out,
                        rings,
                        here,
                        rings,
                        old,
                        rest,
                        r_base,
                        scale,
                        at * cells,
                        cells,
                        alpha,
                        numbers[1, k],
                    )
                elif sums.size > 0:
                    sum_of_plane(sums, at // 2 * size, rest, r_base, cells, n3, at % 2 == 0)
                else:
                    _copy(r, at * cells, rest, r_base, cells)
            if k == sweeps - 1 and low <= i < high:
                _copy(y, at * cells, rings, out, cells)


@compiled
def _checkerboard(cells: int, n3: int, like: np.ndarray) -> np.ndarray:
    masks = np.empty((2, cells), like.dtype)
    for p in range(cells):
        odd = (p // n3 + p % n3) % 2
        masks[0, p] = 1 - odd
        masks[1, p] = odd
    return masks


@compiled
def _smooth(
    diagonal: np.ndarray,
    coupling: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray,
    u: np.ndarray,
    correction: np.ndarray,
    y: np.ndarray,
    r: np.ndarray,
    sums: np.ndarray,
    numbers: np.ndarray,
    colour: np.ndarray,
    n3: int,
) -> None:
    batch, rhs, planes, cells = b.shape
    masks = _checkerboard(cells, n3, b).reshape(-1)
    sizes = np.array([coupling.shape[1], planes, cells, n3, max(sums.shape[3], correction.shape[3])])
    for n in range(batch):
        c = n if diagonal.shape[0] > 1 else 0
        for s in range(rhs):
            _smooth_part(
                diagonal[c].reshape(-1),
                coupling[c].reshape(-1),
                scale[c].reshape(-1),
                b[n, s].reshape(-1),
                u[n, s].reshape(-1),
                correction[n, s].reshape(-1),
                y[n, s].reshape(-1),
                r[n, s].reshape(-1),
                sums[n, s].reshape(-1),
                numbers,
                colour,
                masks,
                sizes,
                0,
                planes,
            )


@compiled(parallel=True)
def _smooth_together(
    diagonal: np.ndarray,
    coupling: np.ndarray,
    scale: np.ndarray,
    b: np.ndarray,
    u: np.ndarray,
    correction: np.ndarray,
    y: np.ndarray,
    r: np.ndarray,
    sums: np.ndarray,
    numbers: np.ndarray,
    colour: np.ndarray,
    n3: int,
) -> None:
    batch, rhs, planes, cells = b.shape
    masks = _checkerboard(cells, n3, b).reshape(-1)
    sizes = np.array([coupling.shape[1], planes, cells, n3, max(sums.shape[3], correction.shape[3])])
    # parts of an even number of planes, and enough of them to share out, but not so thin that halos weigh
    parts = max(1, min(16 // (batch * rhs), planes // 32))
    each = (planes + 2 * parts - 1) // (2 * parts) * 2
    for job in prange(batch * rhs * parts):
        n, s, part = job // (rhs * parts), job // parts % rhs, job % parts
        c = n if diagonal.shape[0] > 1 else 0
        if part * each < planes:
            _smooth_part(
                diagonal[c].reshape(-1),
                coupling[c].reshape(-1),
                scale[c].reshape(-1),
                b[n, s].reshape(-1),
                u[n, s].reshape(-1),
                correction[n, s].reshape(-1),
                y[n, s].reshape(-1),
                r[n, s].reshape(-1),
                sums[n, s].reshape(-1),
                numbers,
                colour,
                masks,
                sizes,
                part * each,
                min(planes, (part + 1) * each),
            )
