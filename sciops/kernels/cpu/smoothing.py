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

from sciops.kernels.cpu.compiled import borrowed, compiled, prange
from sciops.kernels.cpu.stencil import as_rows, is_large, residual_plane
from sciops.kernels.cpu.transfer import add_to_plane, sum_of_plane, sum_of_planes
from sciops.kernels.transfer import coarse_shape


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
) -> Tensor:
    y = torch.empty_like(b)
    _run(diagonal, coupling, scale, b, u, correction, momentum, step, colour, y, None, None)
    return y


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
    scale: Tensor | None,
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
    d, f = b.ndim - 2, as_rows(b, b.ndim - 2)
    absent = np.empty((*f.shape[:2], 0, 0, 0), f.dtype)

    def seen(tensor: Tensor | None) -> np.ndarray:
        return absent if tensor is None else as_rows(tensor, d)

    run = _smooth_together if is_large(b) else _smooth
    run(
        (0,) * coupling.shape[1],
        seen(diagonal),
        seen(coupling),
        absent[0] if scale is None else as_rows(scale, d),
        f,
        seen(u),
        seen(correction),
        seen(y),
        seen(r),
        seen(sums),
        np.array([momentum, step], f.dtype),
        np.array(colour),
    )


@compiled(inline=True)
def _first_step(
    out: np.ndarray, b: np.ndarray, scale: np.ndarray, jacobi: bool, masks: np.ndarray, parity: int, beta: float
) -> None:
    """The first state from zero, on all cells when `parity` is negative; the scale is the diagonal for Jacobi."""
    for j in range(b.shape[0]):
        y, f, s = out[j], b[j], scale[j]
        if parity < 0 and jacobi:
            for p in range(b.shape[1]):
                y[p] = beta * f[p] / s[p]
        elif parity < 0:
            for p in range(b.shape[1]):
                y[p] = beta * s[p] * f[p]
        elif jacobi:
            mask = masks[(parity + j) % 2]
            for p in range(b.shape[1]):
                y[p] = mask[p] * (beta * f[p] / s[p])
        else:
            mask = masks[(parity + j) % 2]
            for p in range(b.shape[1]):
                y[p] = mask[p] * (beta * s[p] * f[p])


@compiled
def _step(
    out: np.ndarray,
    x: np.ndarray,
    before: np.ndarray,
    scale: np.ndarray,
    jacobi: bool,
    alpha: float,
    beta: float,
    gain: float,
) -> None:
    """From the residual in `out` to the next state gain x + alpha (x - before) + beta s r, in its place."""
    for j in range(scale.shape[0]):
        y, u, old, s = out[j], x[j], before[j], scale[j]
        if jacobi:
            for p in range(scale.shape[1]):
                y[p] = gain * u[p] + alpha * (u[p] - old[p]) + beta * y[p] / s[p]
        elif alpha == 0:
            for p in range(scale.shape[1]):
                y[p] = gain * u[p] + beta * s[p] * y[p]
        else:
            for p in range(scale.shape[1]):
                y[p] = u[p] + alpha * (u[p] - old[p]) + beta * s[p] * y[p]


@compiled
def _step_colour(
    out: np.ndarray, x: np.ndarray, scale: np.ndarray, jacobi: bool, masks: np.ndarray, parity: int, beta: float
) -> None:
    for j in range(scale.shape[0]):
        y, u, s, mask = out[j], x[j], scale[j], masks[(parity + j) % 2]
        if jacobi:
            for p in range(scale.shape[1]):
                y[p] = u[p] + mask[p] * (beta * y[p] / s[p])
        else:
            for p in range(scale.shape[1]):
                y[p] = u[p] + mask[p] * (beta * s[p] * y[p])


@compiled(inline=True)
def _step_jacobi(
    links: tuple[int, ...],
    out: np.ndarray,
    b: np.ndarray,
    diagonal: np.ndarray,
    coupling: np.ndarray,
    i: int,
    x: np.ndarray,
    below: np.ndarray,
    above: np.ndarray,
    before: np.ndarray,
    alpha: float,
    beta: float,
    gain: float,
) -> None:
    """The next state with the scale 1/D: gain x + alpha (x - before) + beta (b - A x)/D, where D x/D is x.

    Arguments as of :func:`~sciops.kernels.cpu.stencil.residual_plane`. No array holds the scale, and the loop reads
    each value once: memory is what it waits for.
    """
    d, (n1, n2, n3) = len(links), coupling.shape[1:]
    lower, last, second = i - 1 if i > 0 else n1 - 1, n3 - 1, 1 if n3 > 1 else 0
    own = gain + alpha - beta
    for j in range(n2):
        y, f, c, u, w, old = out[j], b[j], diagonal[j], x[j], coupling[d - 1, i, j], before[j]
        # the ends of the row
        first = f[0] + w[0] * u[second] + w[last] * u[last]
        final = f[last] + w[last] * u[0] + w[last - second] * u[last - second]
        if d == 1:
            for p in range(1, n3 - 1):
                y[p] = own * u[p] - alpha * old[p] + beta * (f[p] + w[p] * u[p + 1] + w[p - 1] * u[p - 1]) / c[p]
        else:
            w1, v1, up, low = coupling[0, i, j], coupling[0, lower, j], above[j], below[j]
            first += w1[0] * up[0] + v1[0] * low[0]
            final += w1[last] * up[last] + v1[last] * low[last]
            if d == 2:
                for p in range(1, n3 - 1):
                    rest = f[p] + w[p] * u[p + 1] + w[p - 1] * u[p - 1] + w1[p] * up[p] + v1[p] * low[p]
                    y[p] = own * u[p] - alpha * old[p] + beta * rest / c[p]
            else:
                k, h = j + 1 if j + 1 < n2 else 0, j - 1 if j > 0 else n2 - 1
                w2, v2, ahead, behind = coupling[1, i, j], coupling[1, i, h], x[k], x[h]
                first += w2[0] * ahead[0] + v2[0] * behind[0]
                final += w2[last] * ahead[last] + v2[last] * behind[last]
                for p in range(1, n3 - 1):
                    rest = f[p] + w[p] * u[p + 1] + w[p - 1] * u[p - 1] + w1[p] * up[p] + v1[p] * low[p]
                    rest += w2[p] * ahead[p] + v2[p] * behind[p]
                    y[p] = own * u[p] - alpha * old[p] + beta * rest / c[p]
        y[0] = own * u[0] - alpha * old[0] + beta * first / c[0]
        if n3 > 1:
            y[last] = own * u[last] - alpha * old[last] + beta * final / c[last]


@compiled
def _copy(out: np.ndarray, x: np.ndarray) -> None:
    for j in range(out.shape[0]):
        y, v = out[j], x[j]
        for p in range(out.shape[1]):
            y[p] = v[p]


@compiled
def _smooth_part(
    links: tuple[int, ...],
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
    memory: np.ndarray,
    ends: bool,
    low: int,
    high: int,
) -> None:
    """The planes [low, high) of one field; `low` is even, for the sums over pairs of planes.

    `memory` keeps the last planes of each state; where the first axis `ends`, no plane beyond it is ever needed.
    """
    n1, n3 = coupling.shape[1], coupling.shape[3]
    sweeps = colour.size
    has_u, corrected, jacobi = u.size > 0, correction.size > 0, scale.size == 0
    u = borrowed(u)
    guess = u if has_u else b
    as_given = has_u and not corrected and u.ctypes.data != y.ctypes.data
    zero = not has_u and not corrected
    further = 1 if r.size > 0 or sums.size > 0 else 0
    rings = borrowed(memory)
    one = b.dtype.type(1)
    none = 0 * one
    outside = sweeps + further
    for t in range(low - outside, high + outside):
        if not zero and not as_given and (0 <= t < n1 or not ends):
            at = _around(t, n1)
            if corrected:
                add_to_plane(rings[0, t % 3], guess[at], has_u, correction[at // 2], n3)
            else:
                _copy(rings[0, t % 3], guess[at])
        for k in range(sweeps + further):
            i = t - k - 1
            halo = outside - k - 1
            if i < low - halo or i >= high + halo or (ends and not 0 <= i < n1):
                continue
            at = _around(i, n1)
            # the last state of planes of this part stands in the result, those of other planes in rings of its own
            if k == sweeps:
                out = r[at] if r.size > 0 else rings[sweeps + 1, i % 2]
            else:
                out = y[at] if k == sweeps - 1 and low <= i < high else rings[k + 1, i % 3]
            f, c = b[at], diagonal[at]
            s = c if jacobi else scale[at]
            if zero and k == 0:
                parity = (at + colour[0] - 1) % 2 if colour[0] else -1
                _first_step(out, f, s, jacobi, masks, parity, numbers[1, 0])
                continue
            x = _state(k, i, sweeps, as_given, rings, guess, y, low, high)
            below = x if ends and i == 0 else _state(k, i - 1, sweeps, as_given, rings, guess, y, low, high)
            above = x if ends and i == n1 - 1 else _state(k, i + 1, sweeps, as_given, rings, guess, y, low, high)
            if k == sweeps or colour[k] > 0:
                residual_plane(links, out, f, c, coupling, at, x, below, above, one, -one)
                if k < sweeps:
                    _step_colour(out, x, s, jacobi, masks, (at + colour[k] - 1) % 2, numbers[1, k])
                elif sums.size > 0 and at % 2 == 1:
                    sum_of_planes(sums[at // 2], rings[sweeps + 1, (i + 1) % 2], out, n3)
                elif sums.size > 0 and at == n1 - 1:
                    sum_of_plane(sums[at // 2], out, n3, True)
                continue
            alpha, beta, gain, before = numbers[0, k], numbers[1, k], one, x
            if k == 0:
                alpha = none
            elif zero and k == 1:
                alpha, gain = none, one + alpha  # the state before is zero
            else:
                before = _state(k - 1, i, sweeps, as_given, rings, guess, y, low, high)
            if jacobi and len(links) <= 3:
                _step_jacobi(links, out, f, c, coupling, at, x, below, above, before, alpha, beta, gain)
            else:
                residual_plane(links, out, f, c, coupling, at, x, below, above, one, -one)
                _step(out, x, before, s, jacobi, alpha, beta, gain)


@compiled(inline=True)
def _state(
    k: int, i: int, sweeps: int, as_given: bool, rings: np.ndarray, u: np.ndarray, y: np.ndarray, low: int, high: int
) -> np.ndarray:
    """Plane i after k sweeps."""
    plane: np.ndarray
    if k == 0 and as_given:
        plane = u[_around(i, u.shape[0])]
    elif k == sweeps and low <= i < high:
        plane = y[i]
    else:
        plane = rings[k, i % 3]
    return plane


@compiled(inline=True)
def _around(i: int, n: int) -> int:
    """i modulo n, without a division for most."""
    return i if 0 <= i < n else i % n


@compiled
def _checkerboard(n3: int, like: np.ndarray) -> np.ndarray:
    masks = np.empty((2, n3), like.dtype)
    for p in range(n3):
        masks[0, p] = (p + 1) % 2
        masks[1, p] = p % 2
    return masks


@compiled
def _smooth_job(
    links: tuple[int, ...],
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
    n: int,
    s: int,
    low: int,
    high: int,
) -> None:
    c = n if diagonal.shape[0] > 1 else 0
    n1, n2, n3 = coupling.shape[2:]
    if len(links) <= 3:
        ends = len(links) == 1 or not coupling[c, 0, n1 - 1].any()
    else:
        ends = not coupling[c, 1 if len(links) == 4 else 4 :, n1 - 1].any()
    # rows stand a little apart: with sizes that are powers of two all would meet in the same places of the cache
    memory = np.empty((colour.size + 2, 3, n2, (n3 + 15) // 16 * 16 + 80), b.dtype)
    if not ends and u.ctypes.data == y.ctypes.data:
        u = u.copy()  # the first planes of the guess are needed again after the last
    _smooth_part(
        links,
        borrowed(diagonal)[c],
        borrowed(coupling)[c],
        borrowed(scale)[c if scale.size > 0 else 0],
        borrowed(b)[n, s],
        u[n, s],
        borrowed(correction)[n, s],
        borrowed(y)[n, s],
        borrowed(r)[n, s],
        borrowed(sums)[n, s],
        numbers,
        colour,
        borrowed(masks),
        memory,
        ends,
        low,
        high,
    )


@compiled
def _smooth(
    links: tuple[int, ...],
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
) -> None:
    masks = _checkerboard(b.shape[4], b)
    for n in range(b.shape[0]):
        for s in range(b.shape[1]):
            _smooth_job(
                links,
                diagonal,
                coupling,
                scale,
                b,
                u,
                correction,
                y,
                r,
                sums,
                numbers,
                colour,
                masks,
                n,
                s,
                0,
                b.shape[2],
            )


@compiled(parallel=True)
def _smooth_together(
    links: tuple[int, ...],
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
) -> None:
    batch, rhs, n1 = b.shape[:3]
    masks = _checkerboard(b.shape[4], b)
    if u.ctypes.data == y.ctypes.data:
        u = u.copy()  # parts would read what others have written
    # parts of an even number of planes, and enough of them to share out, but not so thin that halos weigh
    parts = max(1, min(16 // (batch * rhs), n1 // 32))
    each = (n1 + 2 * parts - 1) // (2 * parts) * 2
    for job in prange(batch * rhs * parts):
        n, s, low = job // (rhs * parts), job // parts % rhs, job % parts * each
        if low < n1:
            _smooth_job(
                links,
                diagonal,
                coupling,
                scale,
                b,
                u,
                correction,
                y,
                r,
                sums,
                numbers,
                colour,
                masks,
                n,
                s,
                low,
                min(n1, low + each),
            )
