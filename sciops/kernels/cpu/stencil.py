"""Stencils on a processor: one pass over memory each.

Fields are seen as (batch, rhs, planes, rows, cells), and all work is done row by row: the inner of a row is one
vectorised loop over slices of borrowed arrays, its two ends, where a periodic axis closes, come after it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sciops.kernels.cpu.compiled import borrowed, compiled, prange
from sciops.kernels.stencil import offsets

_LEAST = 1 << 15  # cells below which a second thread costs more than it gives


def diffusion_apply(diagonal: Tensor, coupling: Tensor, u: Tensor) -> Tensor:
    y = torch.empty_like(u)
    _diffusion(y, diagonal, coupling, u, u, 0, 1, False)
    return y


def diffusion_residual(diagonal: Tensor, coupling: Tensor, u: Tensor, b: Tensor) -> Tensor:
    r = torch.empty_like(u)
    _diffusion(r, diagonal, coupling, u, b, 1, -1, False)
    return r


def diffusion_apply_dot(diagonal: Tensor, coupling: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    y = torch.empty_like(u)
    return y, diffusion_apply_dot_(y, diagonal, coupling, u)


def diffusion_apply_dot_(y: Tensor, diagonal: Tensor, coupling: Tensor, u: Tensor) -> Tensor:
    return _diffusion(y, diagonal, coupling, u, u, 0, 1, True)


def diffusion_slopes(g: Tensor, u: Tensor, shared: bool, links: int) -> tuple[Tensor, Tensor]:
    d, operators = u.ndim - 2, 1 if shared else u.shape[0]
    diagonal, coupling = u.new_empty(operators, *u.shape[2:]), u.new_empty(operators, links, *u.shape[2:])
    run = _slopes_together if is_large(u) else _slopes
    run(as_rows(g, d), as_rows(u, d), as_rows(diagonal, d), as_rows(coupling, d), moves_of(d, links))
    return diagonal, coupling


def _diffusion(
    y: Tensor, diagonal: Tensor, coupling: Tensor, u: Tensor, b: Tensor, of_b: int, of_u: int, dot: bool
) -> Tensor:
    """y = of_b b + of_u A u; returns the energy of u where asked for."""
    d = u.ndim - 2
    x = as_rows(u, d)
    signs = np.array([of_b, of_u], dtype=x.dtype)
    energy = np.zeros((*x.shape[:2], x.shape[2] if dot else 0))
    run = _apply_together if is_large(u) else _apply
    run(
        (0,) * coupling.shape[1],
        as_rows(diagonal, d),
        as_rows(coupling, d),
        x,
        as_rows(b, d),
        as_rows(y, d),
        signs,
        energy,
    )
    return torch.from_numpy(energy.sum(-1)).to(u.dtype)


def as_rows(tensor: Tensor, d: int) -> np.ndarray:
    """A tensor (..., *space) as an array (..., planes, rows, cells); an axis that is not there has one entry."""
    found: np.ndarray = tensor.detach().numpy()
    if d == 3:
        return found
    shape = found.shape
    return found.reshape((*shape[:-1], 1, shape[-1]) if d == 2 else (*shape[:-1], 1, 1, shape[-1]))


def moves_of(d: int, links: int) -> np.ndarray:
    """The planes, rows and cells by which each link leads away."""
    axes = {1: (2,), 2: (0, 2), 3: (0, 1, 2)}[d]
    found = np.zeros((links, 3), np.int64)
    for number, offset in enumerate(offsets(d, links)):
        found[number, list(axes)] = offset
    return found


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


@compiled(inline=True)
def residual_plane(
    links: tuple[int, ...],
    r: np.ndarray,
    b: np.ndarray,
    diagonal: np.ndarray,
    coupling: np.ndarray,
    i: int,
    x: np.ndarray,
    below: np.ndarray,
    above: np.ndarray,
    of_b: float,
    of_u: float,
) -> None:
    """r = of_b b + of_u A x in plane i.

    r, b, the diagonal and x, with the planes below and above it, are of shape (rows, cells or more); the coupling is
    the whole one, (links, planes, rows, cells). `links` holds as many numbers: the compiler sees how many, and drops
    the loops for other operators, which makes those that stay quicker.
    """
    if len(links) == 4:
        _residual_of_nine(r[0], b[0], diagonal[0], coupling[:, :, 0], i, x[0], below[0], above[0], of_b, of_u)
        return
    if len(links) > 3:
        _residual_of_all(links, r, b, diagonal, coupling, i, x, below, above, of_b, of_u)
        return
    d, (n1, n2, n3) = len(links), coupling.shape[1:]
    before, last, second = i - 1 if i > 0 else n1 - 1, n3 - 1, 1 if n3 > 1 else 0
    for j in range(n2):
        y, f, c, u, w = r[j], b[j], diagonal[j], x[j], coupling[d - 1, i, j]
        # the ends of the row
        first = c[0] * u[0] - w[0] * u[second] - w[last] * u[last]
        final = c[last] * u[last] - w[last] * u[0] - w[last - second] * u[last - second]
        if d == 1:
            for p in range(1, n3 - 1):
                y[p] = of_b * f[p] + of_u * (c[p] * u[p] - w[p] * u[p + 1] - w[p - 1] * u[p - 1])
        else:
            w1, v1, up, low = coupling[0, i, j], coupling[0, before, j], above[j], below[j]
            first -= w1[0] * up[0] + v1[0] * low[0]
            final -= w1[last] * up[last] + v1[last] * low[last]
            if d == 2:
                for p in range(1, n3 - 1):
                    y[p] = of_b * f[p] + of_u * (
                        c[p] * u[p] - w[p] * u[p + 1] - w[p - 1] * u[p - 1] - w1[p] * up[p] - v1[p] * low[p]
                    )
            else:
                k, h = j + 1 if j + 1 < n2 else 0, j - 1 if j > 0 else n2 - 1
                w2, v2, ahead, behind = coupling[1, i, j], coupling[1, i, h], x[k], x[h]
                first -= w2[0] * ahead[0] + v2[0] * behind[0]
                final -= w2[last] * ahead[last] + v2[last] * behind[last]
                for p in range(1, n3 - 1):
                    y[p] = of_b * f[p] + of_u * (
                        c[p] * u[p]
                        - w[p] * u[p + 1]
                        - w[p - 1] * u[p - 1]
                        - w1[p] * up[p]
                        - v1[p] * low[p]
                        - w2[p] * ahead[p]
                        - v2[p] * behind[p]
                    )
        y[0] = of_b * f[0] + of_u * first
        if n3 > 1:
            y[last] = of_b * f[last] + of_u * final


@compiled
def _residual_of_all(
    links: tuple[int, ...],
    r: np.ndarray,
    b: np.ndarray,
    diagonal: np.ndarray,
    coupling: np.ndarray,
    i: int,
    x: np.ndarray,
    below: np.ndarray,
    above: np.ndarray,
    of_b: float,
    of_u: float,
) -> None:
    """:func:`residual_plane` where all of the 3^d cells around are coupled."""
    n1, n2, n3 = coupling.shape[1:]
    before, last, second = i - 1 if i > 0 else n1 - 1, n3 - 1, 1 if n3 > 1 else 0
    for j in range(n2):
        y, f, c, u, w = r[j], b[j], diagonal[j], x[j], coupling[0, i, j]
        for p in range(1, n3 - 1):
            y[p] = of_b * f[p] + of_u * (c[p] * u[p] - w[p] * u[p + 1] - w[p - 1] * u[p - 1])
        y[0] = of_b * f[0] + of_u * (c[0] * u[0] - w[0] * u[second] - w[last] * u[last])
        if n3 > 1:
            y[last] = of_b * f[last] + of_u * (c[last] * u[last] - w[last] * u[0] - w[last - 1] * u[last - 1])
        k, h = j + 1 if j + 1 < n2 else 0, j - 1 if j > 0 else n2 - 1
        _add_rows(y, coupling, 1, i, j, x[k], i, h, x[h], -of_u)
        _add_rows(y, coupling, 4, i, j, above[h], before, k, below[k], -of_u)
        _add_rows(y, coupling, 7, i, j, above[j], before, j, below[j], -of_u)
        _add_rows(y, coupling, 10, i, j, above[k], before, h, below[h], -of_u)


@compiled(inline=True)
def _residual_of_nine(
    y: np.ndarray,
    f: np.ndarray,
    c: np.ndarray,
    coupling: np.ndarray,
    i: int,
    u: np.ndarray,
    low: np.ndarray,
    up: np.ndarray,
    of_b: float,
    of_u: float,
) -> None:
    """:func:`residual_plane` of nine points, in one loop: rows of coarse grids are so short that calls would count."""
    n1, n3 = coupling.shape[1:]
    before = i - 1 if i > 0 else n1 - 1
    w, w0, w1, w2 = coupling[0, i], coupling[1, i], coupling[2, i], coupling[3, i]
    v0, v1, v2 = coupling[1, before], coupling[2, before], coupling[3, before]
    for p in range(1, n3 - 1):
        rest = w[p] * u[p + 1] + w[p - 1] * u[p - 1]
        rest += w0[p] * up[p - 1] + w1[p] * up[p] + w2[p] * up[p + 1]
        rest += v0[p + 1] * low[p + 1] + v1[p] * low[p] + v2[p - 1] * low[p - 1]
        y[p] = of_b * f[p] + of_u * (c[p] * u[p] - rest)
    for end in range(2 if n3 > 1 else 1):
        p = end * (n3 - 1)
        left, right = p - 1 if p > 0 else n3 - 1, p + 1 if p + 1 < n3 else 0
        rest = w[p] * u[right] + w[left] * u[left]
        rest += w0[p] * up[left] + w1[p] * up[p] + w2[p] * up[right]
        rest += v0[right] * low[right] + v1[p] * low[p] + v2[left] * low[left]
        y[p] = of_b * f[p] + of_u * (c[p] * u[p] - rest)


@compiled
def _add_rows(
    y: np.ndarray, w: np.ndarray, a: int, i: int, j: int, u: np.ndarray, ib: int, jb: int, x: np.ndarray, by: float
) -> None:
    """Add what row (i, j) gets along the links a to a + 2 from row u, and back from row x = (ib, jb)."""
    w0, w1, w2, v0, v1, v2 = (
        w[a, i, j],
        w[a + 1, i, j],
        w[a + 2, i, j],
        w[a, ib, jb],
        w[a + 1, ib, jb],
        w[a + 2, ib, jb],
    )
    n3 = w0.size
    for p in range(1, n3 - 1):
        y[p] += by * (w0[p] * u[p - 1] + w1[p] * u[p] + w2[p] * u[p + 1])
    for p in range(1, n3 - 1):
        y[p] += by * (v0[p + 1] * x[p + 1] + v1[p] * x[p] + v2[p - 1] * x[p - 1])
    for end in range(2 if n3 > 1 else 1):
        p = end * (n3 - 1)
        low, up = p - 1 if p > 0 else n3 - 1, p + 1 if p + 1 < n3 else 0
        y[p] += by * (w0[p] * u[low] + w1[p] * u[p] + w2[p] * u[up])
        y[p] += by * (v0[up] * x[up] + v1[p] * x[p] + v2[low] * x[low])


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
    links: tuple[int, ...],
    diagonal: np.ndarray,
    coupling: np.ndarray,
    u: np.ndarray,
    b: np.ndarray,
    y: np.ndarray,
    signs: np.ndarray,
    energy: np.ndarray,
    job: int,
    jobs: int,
) -> None:
    """One of `jobs` equal parts of all planes of all fields."""
    diagonal, coupling = borrowed(diagonal), borrowed(coupling)
    u, b, y = borrowed(u), borrowed(b), borrowed(y)
    batch, rhs, n1 = u.shape[:3]
    total = batch * rhs * n1
    for q in range(job * total // jobs, (job + 1) * total // jobs):
        n, s, i = q // (rhs * n1), q // n1 % rhs, q % n1
        c = n if diagonal.shape[0] > 1 else 0
        x, below, above = u[n, s, i], u[n, s, (i - 1) % n1], u[n, s, (i + 1) % n1]
        residual_plane(
            links, y[n, s, i], b[n, s, i], diagonal[c, i], coupling[c], i, x, below, above, signs[0], signs[1]
        )
        if energy.shape[2] > 0:
            energy[n, s, i] = dot(x.reshape(-1), y[n, s, i].reshape(-1))


@compiled
def _apply(
    links: tuple[int, ...],
    diagonal: np.ndarray,
    coupling: np.ndarray,
    u: np.ndarray,
    b: np.ndarray,
    y: np.ndarray,
    signs: np.ndarray,
    energy: np.ndarray,
) -> None:
    _apply_planes(links, diagonal, coupling, u, b, y, signs, energy, 0, 1)


@compiled(parallel=True)
def _apply_together(
    links: tuple[int, ...],
    diagonal: np.ndarray,
    coupling: np.ndarray,
    u: np.ndarray,
    b: np.ndarray,
    y: np.ndarray,
    signs: np.ndarray,
    energy: np.ndarray,
) -> None:
    for job in prange(16):
        _apply_planes(links, diagonal, coupling, u, b, y, signs, energy, job, 16)


@compiled
def _slopes_planes(
    g: np.ndarray, u: np.ndarray, diagonal: np.ndarray, coupling: np.ndarray, moves: np.ndarray, job: int, jobs: int
) -> None:
    g, u, diagonal, coupling = borrowed(g), borrowed(u), borrowed(diagonal), borrowed(coupling)
    batch, rhs, n1, n2, n3 = u.shape
    operators, each = diagonal.shape[0], batch // diagonal.shape[0]
    total = operators * n1
    for q in range(job * total // jobs, (job + 1) * total // jobs):
        c, i = q // n1, q % n1
        diagonal[c, i] = 0
        for a in range(moves.shape[0]):
            coupling[c, a, i] = 0
        for field in range(each * rhs):
            n, s = c * each + field // rhs, field % rhs
            for j in range(n2):
                x, y, out = u[n, s, i, j], g[n, s, i, j], diagonal[c, i, j]
                for k in range(n3):
                    out[k] += x[k] * y[k]
                for a in range(moves.shape[0]):
                    up, over, shift = (i + moves[a, 0]) % n1, (j + moves[a, 1]) % n2, moves[a, 2]
                    _subtract_products(coupling[c, a, i, j], x, y, u[n, s, up, over], g[n, s, up, over], shift)


@compiled
def _subtract_products(out: np.ndarray, x: np.ndarray, y: np.ndarray, xu: np.ndarray, yu: np.ndarray, o: int) -> None:
    n = out.size
    if o == 0:
        for k in range(n):
            out[k] -= x[k] * yu[k] + y[k] * xu[k]
    elif o > 0:
        for k in range(n - 1):
            out[k] -= x[k] * yu[k + 1] + y[k] * xu[k + 1]
        out[n - 1] -= x[n - 1] * yu[0] + y[n - 1] * xu[0]
    else:
        for k in range(1, n):
            out[k] -= x[k] * yu[k - 1] + y[k] * xu[k - 1]
        out[0] -= x[0] * yu[n - 1] + y[0] * xu[n - 1]


@compiled
def _slopes(g: np.ndarray, u: np.ndarray, diagonal: np.ndarray, coupling: np.ndarray, moves: np.ndarray) -> None:
    _slopes_planes(g, u, diagonal, coupling, moves, 0, 1)


@compiled(parallel=True)
def _slopes_together(
    g: np.ndarray, u: np.ndarray, diagonal: np.ndarray, coupling: np.ndarray, moves: np.ndarray
) -> None:
    for job in prange(16):
        _slopes_planes(g, u, diagonal, coupling, moves, job, 16)


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
