"""Stencils on a processor: one pass over memory each.

Fields are seen as (batch, rhs, planes, cells): planes stand along the first axis (of two or three), and the cells of a
plane are one long vector, whose neighbours along the other axes are shifts of it. Where a shift along the last axis
crosses the end of a row, the coupling is zero or, on a periodic axis, the wrong neighbour is exchanged for the right
one afterwards.

Inner loops index flat arrays by unsigned offsets: a slice of an array costs two atomic operations to count references,
and a signed index a test for being negative, which keeps the loop from being vectorised. Unsigned and signed integers
must not meet: their sum would be a float.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sciops.kernels.cpu.compiled import compiled, prange

_LEAST = 1 << 15  # cells below which a second thread costs more than it gives


def diffusion_apply(diagonal: Tensor, coupling: Tensor, u: Tensor) -> Tensor:
    return _diffusion(diagonal, coupling, u, u, 0, 1, False)[0]


def diffusion_residual(diagonal: Tensor, coupling: Tensor, u: Tensor, b: Tensor) -> Tensor:
    return _diffusion(diagonal, coupling, u, b, 1, -1, False)[0]


def diffusion_apply_dot(diagonal: Tensor, coupling: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    return _diffusion(diagonal, coupling, u, u, 0, 1, True)


def diffusion_slopes(g: Tensor, u: Tensor, shared: bool) -> tuple[Tensor, Tensor]:
    d, operators = u.ndim - 2, 1 if shared else u.shape[0]
    diagonal, coupling = u.new_empty(operators, *u.shape[2:]), u.new_empty(operators, d, *u.shape[2:])
    run = _slopes_together if is_large(u) else _slopes
    run(as_planes(g, d), as_planes(u, d), as_planes(diagonal, d), as_planes(coupling, d), u.shape[-1])
    return diagonal, coupling


def _diffusion(
    diagonal: Tensor, coupling: Tensor, u: Tensor, b: Tensor, of_b: int, of_u: int, dot: bool
) -> tuple[Tensor, Tensor]:
    d = u.ndim - 2
    y, x = torch.empty_like(u), as_planes(u, d)
    signs = np.array([of_b, of_u], dtype=x.dtype)
    energy = np.zeros((*x.shape[:2], x.shape[2] if dot else 0))
    run = _apply_together if is_large(u) else _apply
    run(as_planes(diagonal, d), as_planes(coupling, d), x, as_planes(b, d), as_planes(y, d), signs, energy, u.shape[-1])
    return y, torch.from_numpy(energy.sum(-1)).to(u.dtype)


def as_planes(tensor: Tensor, d: int) -> np.ndarray:
    """A tensor (..., *space) as an array (..., planes, cells)."""
    shape = tensor.shape
    lead, space = shape[: len(shape) - d], shape[len(shape) - d :]
    planes = space[0] if d > 1 else 1
    found: np.ndarray = tensor.detach().view(*lead, planes, math.prod(space[d > 1 :])).numpy()
    return found


def is_large(u: Tensor) -> bool:
    """Whether a second thread pays for these fields."""
    return torch.get_num_threads() > 1 and u.numel() >= _LEAST


@compiled
def residual_plane(
    r: np.ndarray,
    at: int,
    b: np.ndarray,
    b_at: int,
    diagonal: np.ndarray,
    coupling: np.ndarray,
    d: int,
    planes: int,
    plane: int,
    x: np.ndarray,
    below: int,
    here: int,
    above: int,
    cells: int,
    n3: int,
    of_b: float,
    of_u: float,
) -> None:
    """r = of_b b + of_u A x in one plane.

    All arrays are flat: the plane of r starts at `at`, that of b at `b_at`, those of x at `below`, `here` and `above`;
    `diagonal` is (planes, cells) and `coupling` (d, planes, cells) from their starts.
    """
    zero, one, size = np.uint64(0), np.uint64(1), np.uint64(cells)
    row, top = np.uint64(n3), np.uint64(cells - n3)
    mine = np.uint64(plane) * size
    w3 = np.uint64((d - 1) * planes) * size + mine
    w2 = np.uint64(planes) * size + mine  # used with three axes
    w1, w1_low = mine, np.uint64(plane - 1 if plane > 0 else planes - 1) * size
    r0, b0, x0 = np.uint64(at), np.uint64(b_at), np.uint64(here)
    up, low = np.uint64(above), np.uint64(below)
    # the ends of the plane come last, one by one; the long loop takes them along where what lies beyond them can be
    # read, since it then starts with a cache line: vectors that straddle two lines take twice as long
    begin = zero if d > 1 and here > 0 else one
    finish = size if here + cells < x.size else size - one
    if d < 3 or cells == n3:
        _span(
            r,
            r0,
            b,
            b0,
            diagonal,
            mine,
            coupling,
            w3,
            w2,
            w2,
            w1,
            w1_low,
            x,
            x0,
            x0,
            x0,
            up,
            low,
            begin,
            finish,
            d,
            of_b,
            of_u,
        )
    else:
        # rows around the ends: the first one lies above the last
        first, last, ahead, down = begin, row, row, zero - top
        for part in range(3):
            if part == 1:
                first, last, down = row, top, row
            elif part == 2:
                first, last, ahead = top, finish, zero - top
            if first < last:
                _span(
                    r,
                    r0,
                    b,
                    b0,
                    diagonal,
                    mine,
                    coupling,
                    w3,
                    w2,
                    w2 - down,
                    w1,
                    w1_low,
                    x,
                    x0,
                    x0 + ahead,
                    x0 - down,
                    up,
                    low,
                    first,
                    last,
                    d,
                    of_b,
                    of_u,
                )
    for end in range(2 if cells > 1 else 1):
        p = size - one if end else zero
        total = diagonal[mine + p] * x[x0 + p]
        if d > 1:
            total -= coupling[w1 + p] * x[up + p] + coupling[w1_low + p] * x[low + p]
        if d > 2:
            j = p // row
            ahead = p + row if j + one < size // row else p - top
            down = p - row if j > zero else p + top
            total -= coupling[w2 + p] * x[x0 + ahead] + coupling[w2 + down] * x[x0 + down]
        if end and cells > 1:
            total -= coupling[w3 + p - one] * x[x0 + p - one]
        if not end and cells > 1:
            total -= coupling[w3 + p] * x[x0 + p + one]
        r[r0 + p] = of_b * b[b0 + p] + of_u * total
    _close_rows(r, r0, coupling, w3, x, x0, size, row, of_u)


@compiled
def _span(
    r: np.ndarray,
    r0: int,
    b: np.ndarray,
    b0: int,
    diagonal: np.ndarray,
    c0: int,
    coupling: np.ndarray,
    w3: int,
    w2: int,
    w2_low: int,
    w1: int,
    w1_low: int,
    x: np.ndarray,
    x0: int,
    x2: int,
    x2_low: int,
    x1: int,
    x1_low: int,
    first: int,
    last: int,
    d: int,
    of_b: float,
    of_u: float,
) -> None:
    """The cells [first, last) of a plane, all of whose neighbours lie at constant distances."""
    one = np.uint64(1)
    if d == 1:
        for p in range(first, last):
            r[r0 + p] = of_b * b[b0 + p] + of_u * (
                diagonal[c0 + p] * x[x0 + p]
                - coupling[w3 + p] * x[x0 + p + one]
                - coupling[w3 + p - one] * x[x0 + p - one]
            )
    elif d == 2:
        for p in range(first, last):
            r[r0 + p] = of_b * b[b0 + p] + of_u * (
                diagonal[c0 + p] * x[x0 + p]
                - coupling[w3 + p] * x[x0 + p + one]
                - coupling[w3 + p - one] * x[x0 + p - one]
                - coupling[w1 + p] * x[x1 + p]
                - coupling[w1_low + p] * x[x1_low + p]
            )
    else:
        for p in range(first, last):
            r[r0 + p] = of_b * b[b0 + p] + of_u * (
                diagonal[c0 + p] * x[x0 + p]
                - coupling[w3 + p] * x[x0 + p + one]
                - coupling[w3 + p - one] * x[x0 + p - one]
                - coupling[w2 + p] * x[x2 + p]
                - coupling[w2_low + p] * x[x2_low + p]
                - coupling[w1 + p] * x[x1 + p]
                - coupling[w1_low + p] * x[x1_low + p]
            )


@compiled
def _close_rows(
    r: np.ndarray, r0: int, w: np.ndarray, w0: int, x: np.ndarray, x0: int, cells: int, n3: int, of_u: float
) -> None:
    """Exchange neighbours in the next row for those at the other end of the same row."""
    one = np.uint64(1)
    for j in range(cells // n3):
        first = j * n3
        last = first + n3 - one
        c = of_u * w[w0 + last]
        if c != 0:
            r[r0 + last] -= c * x[x0 + first]
            r[r0 + first] -= c * x[x0 + last]
            if last + one < cells:
                r[r0 + last] += c * x[x0 + last + one]
                r[r0 + last + one] += c * x[x0 + last]


@compiled
def dot(x: np.ndarray, y: np.ndarray) -> float:
    """The inner product, in double precision from block to block."""
    total = np.float64(0.0)
    for start in range(0, x.size, 256):
        stop = min(start + 256, x.size)
        a, b = x[start:stop], y[start:stop]
        part = x.dtype.type(0)
        for k in range(stop - start):
            part += a[k] * b[k]
        total += np.float64(part)
    return total


@compiled
def _apply_planes(
    diagonal: np.ndarray,
    coupling: np.ndarray,
    u: np.ndarray,
    b: np.ndarray,
    y: np.ndarray,
    signs: np.ndarray,
    energy: np.ndarray,
    n3: int,
    job: int,
    jobs: int,
) -> None:
    """One of `jobs` equal parts of all planes of all fields."""
    batch, rhs, planes, cells = u.shape
    total, d = batch * rhs * planes, coupling.shape[1]
    for q in range(job * total // jobs, (job + 1) * total // jobs):
        n, s, i = q // (rhs * planes), q // planes % rhs, q % planes
        c = n if diagonal.shape[0] > 1 else 0
        start = (n * rhs + s) * planes
        residual_plane(
            y.reshape(-1),
            q * cells,
            b.reshape(-1),
            q * cells,
            diagonal[c].reshape(-1),
            coupling[c].reshape(-1),
            d,
            planes,
            i,
            u.reshape(-1),
            (start + (i - 1) % planes) * cells,
            q * cells,
            (start + (i + 1) % planes) * cells,
            cells,
            n3,
            signs[0],
            signs[1],
        )
        if energy.shape[2] > 0:
            energy[n, s, i] = dot(u[n, s, i], y[n, s, i])


@compiled
def _apply(
    diagonal: np.ndarray,
    coupling: np.ndarray,
    u: np.ndarray,
    b: np.ndarray,
    y: np.ndarray,
    signs: np.ndarray,
    energy: np.ndarray,
    n3: int,
) -> None:
    _apply_planes(diagonal, coupling, u, b, y, signs, energy, n3, 0, 1)


@compiled(parallel=True)
def _apply_together(
    diagonal: np.ndarray,
    coupling: np.ndarray,
    u: np.ndarray,
    b: np.ndarray,
    y: np.ndarray,
    signs: np.ndarray,
    energy: np.ndarray,
    n3: int,
) -> None:
    for job in prange(16):
        _apply_planes(diagonal, coupling, u, b, y, signs, energy, n3, job, 16)


@compiled
def _slopes_planes(
    g: np.ndarray, u: np.ndarray, diagonal: np.ndarray, coupling: np.ndarray, n3: int, job: int, jobs: int
) -> None:
    batch, rhs, planes, cells = u.shape
    operators, d = coupling.shape[:2]
    each = batch // operators
    total = operators * planes
    for q in range(job * total // jobs, (job + 1) * total // jobs):
        c, i = q // planes, q % planes
        up = 0 if i + 1 == planes else i + 1
        diagonal[c, i] = 0
        for a in range(d):
            coupling[c, a, i] = 0
        for field in range(each * rhs):
            n, s = c * each + field // rhs, field % rhs
            x, y = u[n, s, i], g[n, s, i]
            out = diagonal[c, i]
            for k in range(cells):
                out[k] += x[k] * y[k]
            if d > 1:
                _subtract_products(coupling[c, 0, i], x, y, u[n, s, up], g[n, s, up])
            if d > 2:
                out = coupling[c, 1, i]
                _subtract_products(out[: cells - n3], x, y, x[n3:], y[n3:])
                _subtract_products(out[cells - n3 :], x[cells - n3 :], y[cells - n3 :], x, y)
            out = coupling[c, d - 1, i]
            _subtract_products(out[: cells - 1], x, y, x[1:], y[1:])
            for first in range(0, cells, n3):
                last = first + n3 - 1
                if last + 1 < cells:
                    out[last] += x[last] * y[last + 1] + y[last] * x[last + 1]
                out[last] -= x[last] * y[first] + y[last] * x[first]


@compiled
def _subtract_products(out: np.ndarray, x: np.ndarray, y: np.ndarray, xu: np.ndarray, yu: np.ndarray) -> None:
    for k in range(out.size):
        out[k] -= x[k] * yu[k] + y[k] * xu[k]


@compiled
def _slopes(g: np.ndarray, u: np.ndarray, diagonal: np.ndarray, coupling: np.ndarray, n3: int) -> None:
    _slopes_planes(g, u, diagonal, coupling, n3, 0, 1)


@compiled(parallel=True)
def _slopes_together(g: np.ndarray, u: np.ndarray, diagonal: np.ndarray, coupling: np.ndarray, n3: int) -> None:
    for job in prange(16):
        _slopes_planes(g, u, diagonal, coupling, n3, job, 16)


def stencil_apply(weights: Tensor, u: Tensor, edge: int) -> Tensor:
    return _constant(weights, u, edge, False)


def stencil_adjoint(weights: Tensor, y: Tensor, edge: int) -> Tensor:
    return _constant(weights, y, edge, True)


def _constant(weights: Tensor, u: Tensor, edge: int, adjoint: bool) -> Tensor:
    y, shape = torch.empty_like(u), _three_axes(u)
    run = _stencil_together if is_large(u) else _stencil
    run(_nine_rows(weights, u), u.view(shape).numpy(), y.view(shape).numpy(), edge, adjoint)
    return y


def stencil_slopes(g: Tensor, u: Tensor, edge: int, own: bool) -> Tensor:
    d, shape = u.ndim - 2, _three_axes(u)
    sums = np.zeros((u.shape[1], 3, 3, 3))
    _stencil_slopes(g.view(shape).numpy(), u.view(shape).numpy(), edge, sums)
    found = torch.from_numpy(sums)
    for _ in range(3 - d):
        found = found.select(1, 1)
    found = found.to(u.dtype)
    return found.contiguous() if own else found.sum(0)


def _three_axes(u: Tensor) -> tuple[int, ...]:
    return (*u.shape[:2], *(1,) * (5 - u.ndim), *u.shape[2:])


def _nine_rows(weights: Tensor, u: Tensor) -> np.ndarray:
    """Weights (channel or 1, 3, 3, 3), zero beyond axes that are not there."""
    d = u.ndim - 2
    full = weights.new_zeros(1 if weights.ndim == d else weights.shape[0], 3, 3, 3)
    part = full
    for _ in range(3 - d):
        part = part.select(1, 1)
    part.copy_(weights.detach())
    found: np.ndarray = full.numpy()
    return found


@compiled
def _beside(at: int, offset: int, n: int, edge: int, adjoint: bool) -> tuple[int, int]:
    """Where the cell beside one lies along an axis, -1 for nowhere, and which weight it meets."""
    source, weight = at + offset, 1 - offset if adjoint else 1 + offset
    if 0 <= source < n:
        return source, weight
    if edge == 0:
        return -1, weight
    if edge == 1:
        return source % n, weight
    # the mirror gives the first cell what lies below it, so its transpose takes that from the first cell
    return at, 1 + offset


@compiled
def _stencil_part(
    weights: np.ndarray, u: np.ndarray, y: np.ndarray, edge: int, adjoint: bool, job: int, jobs: int
) -> None:
    batch, channels, n1, n2, n3 = u.shape
    total = batch * channels * n1 * n2
    for q in range(job * total // jobs, (job + 1) * total // jobs):
        n, c, i, j = q // (channels * n1 * n2), q // (n1 * n2) % channels, q // n2 % n1, q % n2
        w, out = weights[c if weights.shape[0] > 1 else 0], y[n, c, i, j]
        out[:] = 0
        for o1 in range(-1, 2):
            s1, w1 = _beside(i, o1, n1, edge, adjoint)
            for o2 in range(-1, 2):
                s2, w2 = _beside(j, o2, n2, edge, adjoint)
                taps = w[w1, w2]
                # absent axes have no weight beside the middle
                if s1 < 0 or s2 < 0 or (taps[0] == 0 and taps[1] == 0 and taps[2] == 0):
                    continue
                x = u[n, c, s1, s2]
                low, centre, up = (taps[2], taps[1], taps[0]) if adjoint else (taps[0], taps[1], taps[2])
                if n3 > 2:
                    inner, before, after = out[1 : n3 - 1], x[: n3 - 2], x[2:]
                    here = x[1 : n3 - 1]
                    for k in range(n3 - 2):
                        inner[k] += low * before[k] + centre * here[k] + up * after[k]
                for end in range(2 if n3 > 1 else 1):
                    k = end * (n3 - 1)
                    for o3 in range(-1, 2):
                        s3, w3 = _beside(k, o3, n3, edge, adjoint)
                        if s3 >= 0:
                            out[k] += taps[w3] * x[s3]


@compiled
def _stencil(weights: np.ndarray, u: np.ndarray, y: np.ndarray, edge: int, adjoint: bool) -> None:
    _stencil_part(weights, u, y, edge, adjoint, 0, 1)


@compiled(parallel=True)
def _stencil_together(weights: np.ndarray, u: np.ndarray, y: np.ndarray, edge: int, adjoint: bool) -> None:
    for job in prange(16):
        _stencil_part(weights, u, y, edge, adjoint, job, 16)


@compiled(parallel=True)
def _stencil_slopes(g: np.ndarray, u: np.ndarray, edge: int, sums: np.ndarray) -> None:
    batch, channels, n1, n2, n3 = u.shape
    for c in prange(channels):
        for n in range(batch):
            for i in range(n1):
                for j in range(n2):
                    y = g[n, c, i, j]
                    for o1 in range(-1 if n1 > 1 or edge else 0, 2 if n1 > 1 or edge else 1):
                        s1, w1 = _beside(i, o1, n1, edge, False)
                        for o2 in range(-1 if n2 > 1 or edge else 0, 2 if n2 > 1 or edge else 1):
                            s2, w2 = _beside(j, o2, n2, edge, False)
                            if s1 < 0 or s2 < 0:
                                continue
                            x, to = u[n, c, s1, s2], sums[c, w1, w2]
                            to[1] += dot(y, x)
                            to[0] += dot(y[1:], x[: n3 - 1])
                            to[2] += dot(y[: n3 - 1], x[1:])
                            s3, _ = _beside(0, -1, n3, edge, False)
                            if s3 >= 0:
                                to[0] += np.float64(y[0]) * np.float64(x[s3])
                            s3, _ = _beside(n3 - 1, 1, n3, edge, False)
                            if s3 >= 0:
                                to[2] += np.float64(y[n3 - 1]) * np.float64(x[s3])
