"""Mixing of modes on a processor: real products over a few modes at a time, so that what lies between stays in cache.

A backward pass computes again what the forward pass had between its products.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from sciops.kernels import mixing
from sciops.kernels.cpu.compiled import compiled, prange
from sciops.kernels.factors import block_columns, block_columns_backward, conjugate, diagonal_backward, diagonal_of

_CACHE = 1 << 17  # entries of what is kept in cache between two products


def separable(pair: Tensor, weight: Tensor) -> Tensor:
    y = torch.empty_like(pair)
    _separable(_flat(pair, 3), _flat(weight, 2), _flat(y, 3))
    return y


def separable_backward(gradient: Tensor, pair: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    for_pair, for_weight = torch.empty_like(pair), torch.empty_like(weight)
    _separable_backward(_flat(gradient, 3), _flat(pair, 3), _flat(weight, 2), _flat(for_pair, 3), _flat(for_weight, 2))
    return for_pair, for_weight


def tucker(*args: Tensor | None) -> Tensor:
    return mixing.tucker(*args, between=_between)  # type: ignore[arg-type]


def tucker_backward(*args: Tensor | None) -> tuple[Tensor, ...]:
    return mixing.tucker_backward(*args, between_backward=_between_backward)  # type: ignore[arg-type]


def tensor_train(*args: Tensor | None) -> Tensor:
    return mixing.tensor_train(*args, between=_between)  # type: ignore[arg-type]


def tensor_train_backward(*args: Tensor | None) -> tuple[Tensor, ...]:
    return mixing.tensor_train_backward(*args, between_backward=_between_backward)  # type: ignore[arg-type]


def cp(
    pair: Tensor, factor_in: Tensor, factor_out: Tensor, mode_1: Tensor, mode_2: Tensor | None, mode_3: Tensor | None
) -> Tensor:
    factors = [f for f in (mode_1, mode_2, mode_3) if f is not None]
    diagonal = diagonal_of(*factors)
    n, batch, channels, out = diagonal.shape[0], *pair.shape[-2:], factor_out.shape[0]
    x, y = pair.view(n, 2, batch, channels), pair.new_empty(n, 2, batch, out)
    in_thrice, out_thrice = _thrice(factor_in.permute(1, 0, 2)), _thrice(factor_out.permute(1, 2, 0))
    for at in _chunks(n, batch * diagonal.shape[-1]):
        z = torch.bmm(_thrice_of(x[at]), in_thrice)
        _diagonal(z.numpy(), diagonal[at].numpy())
        _combine(torch.bmm(z, out_thrice), y[at])
    return y.view(*pair.shape[:-1], out)


def cp_backward(
    gradient: Tensor,
    pair: Tensor,
    factor_in: Tensor,
    factor_out: Tensor,
    mode_1: Tensor,
    mode_2: Tensor | None,
    mode_3: Tensor | None,
) -> tuple[Tensor, ...]:
    factors = [f for f in (mode_1, mode_2, mode_3) if f is not None]
    diagonal = diagonal_of(*factors)
    n, batch, channels, out = diagonal.shape[0], *pair.shape[-2:], factor_out.shape[0]
    rank = diagonal.shape[-1]
    x, g = pair.view(n, 2, batch, channels), gradient.view(n, 2, batch, out)
    in_thrice = _thrice(factor_in.permute(1, 0, 2))
    in_adjoint = _thrice(conjugate(factor_in).permute(1, 2, 0))
    out_adjoint = _thrice(conjugate(factor_out).permute(1, 0, 2))
    for_pair, for_diagonal = torch.empty_like(x), torch.empty_like(diagonal)
    for_in, for_out = pair.new_zeros(3, channels, rank), pair.new_zeros(3, rank, out)
    for at in _chunks(n, 2 * batch * rank):
        x3, g3 = _thrice_of(x[at]), _thrice_of(g[at])
        z, h = torch.bmm(x3, in_thrice), torch.bmm(g3, out_adjoint)
        _diagonal_backward(z.numpy(), h.numpy(), diagonal[at].numpy(), for_diagonal[at].numpy())
        for_out.baddbmm_(z.transpose(1, 2), g3)
        # the third product needs re - im where the left is conjugated
        x3[2].copy_(x3[0]).sub_(x3[1])
        for_in.baddbmm_(x3.transpose(1, 2), h)
        _combine(torch.bmm(h, in_adjoint), for_pair[at])
    gradients = (
        for_pair.view(pair.shape),
        _combine_conjugate(for_in).permute(1, 0, 2).contiguous(),
        _combine_conjugate(for_out).permute(2, 0, 1).contiguous(),
        *(t.contiguous() for t in diagonal_backward(for_diagonal, *factors)),
    )
    return (*gradients, *(gradient.new_zeros(0) for _ in range(3 - len(factors))))


def _flat(t: Tensor, kept: int) -> np.ndarray:
    """An array of the last axes, the axes of modes before them in one."""
    array: np.ndarray = t.view(math.prod(t.shape[:-kept]), *t.shape[-kept:]).numpy()
    return array


def _between(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    groups, n, _, batch, a = x.shape
    b = right.shape[-1] // a
    columns, y = block_columns(x), x.new_empty(groups, n, 2 * batch, b)
    for at in _chunks(groups, 2 * n * a * b):
        matrices = torch.bmm(_some(left, at), _some(right, at)).view(-1, 2 * a, b)
        torch.bmm(columns[at].flatten(0, 1), matrices, out=y[at].flatten(0, 1))
    return y.view(groups, n, 2, batch, b)


def _between_backward(g: Tensor, x: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    groups, n, _, batch, a = x.shape
    b = g.shape[-1]
    columns, of_y = block_columns(x), g.reshape(groups, n, 2 * batch, b)
    y, of_columns = torch.empty_like(of_y), torch.empty_like(columns)
    for_left, for_right = (torch.zeros_like(t) if t.shape[0] < groups else torch.empty_like(t) for t in (left, right))
    for at in _chunks(groups, 2 * n * a * b):
        rows, spread = _some(left, at), _some(right, at)
        stacked = torch.bmm(rows, spread)
        matrices = stacked.view(-1, 2 * a, b)
        some, of_some = columns[at].flatten(0, 1), of_y[at].flatten(0, 1)
        torch.bmm(some, matrices, out=y[at].flatten(0, 1))
        torch.bmm(of_some, matrices.transpose(1, 2), out=of_columns[at].flatten(0, 1))
        torch.bmm(some.transpose(1, 2), of_some, out=matrices)  # the gradient of the matrices takes their place
        _accumulate(for_left, groups, at, stacked, spread.transpose(1, 2))
        _accumulate(for_right, groups, at, rows.transpose(1, 2), stacked)
    return y.view_as(g), block_columns_backward(of_columns.view(groups, n, 2, batch, 2, a)), for_left, for_right


def _accumulate(total: Tensor, groups: int, at: slice, a: Tensor, b: Tensor) -> None:
    """Write the products a b of some groups, or add them to the one for all groups."""
    if total.shape[0] == groups:
        torch.bmm(a, b, out=total[at])
    else:
        for left, right in zip(a, b, strict=True):
            total[0].addmm_(left, right)


def _some(matrices: Tensor, at: slice) -> Tensor:
    return matrices[at] if matrices.shape[0] > 1 else matrices.expand(at.stop - at.start, -1, -1)


def _chunks(n: int, entries: int) -> Iterator[slice]:
    """Slices of n groups of so many entries each that fit in cache."""
    step = max(_CACHE // max(entries, 1), 1)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


# A complex product by three real ones (Gauss): with p = (a_re b_re, a_im b_im, (a_re + a_im)(b_re + b_im)),
# re = p0 - p1 and im = p2 - p0 - p1; and conj(a) b from (a_re b_re, a_im b_im, (a_re - a_im)(b_re + b_im)).


def _thrice(matrix: Tensor) -> Tensor:
    """(2, n, m) as (re, im, re + im)."""
    return torch.cat([matrix, matrix[:1] + matrix[1:]])


def _thrice_of(x: Tensor) -> Tensor:
    """(modes, 2, batch, n) as (3, modes batch, n): re, im, re + im."""
    modes, _, batch, n = x.shape
    y = x.new_empty(3, modes, batch, n)
    y[:2].copy_(x.transpose(0, 1))
    torch.add(y[0], y[1], out=y[2])
    return y.view(3, modes * batch, n)


def _combine(p: Tensor, y: Tensor) -> None:
    p = p.view(3, y.shape[0], *y.shape[2:])
    torch.sub(p[0], p[1], out=y[:, 0])
    torch.sub(p[2], p[0], out=y[:, 1]).sub_(p[1])


def _combine_conjugate(p: Tensor) -> Tensor:
    return torch.stack([p[0] + p[1], p[2] - p[0] + p[1]])


@compiled(parallel=True)
def _separable(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    modes, _, batch, channels = x.shape
    for k in prange(modes):
        for b in range(batch):
            for c in range(channels):
                y[k, 0, b, c] = x[k, 0, b, c] * w[k, 0, c] - x[k, 1, b, c] * w[k, 1, c]
                y[k, 1, b, c] = x[k, 0, b, c] * w[k, 1, c] + x[k, 1, b, c] * w[k, 0, c]


@compiled(parallel=True)
def _separable_backward(g: np.ndarray, x: np.ndarray, w: np.ndarray, for_x: np.ndarray, for_w: np.ndarray) -> None:
    modes, _, batch, channels = x.shape
    for k in prange(modes):
        for_w[k] = 0
        for b in range(batch):
            for c in range(channels):
                gr, gi, xr, xi = g[k, 0, b, c], g[k, 1, b, c], x[k, 0, b, c], x[k, 1, b, c]
                for_x[k, 0, b, c] = gr * w[k, 0, c] + gi * w[k, 1, c]
                for_x[k, 1, b, c] = gi * w[k, 0, c] - gr * w[k, 1, c]
                for_w[k, 0, c] += gr * xr + gi * xi
                for_w[k, 1, c] += gi * xr - gr * xi


@compiled(parallel=True)
def _diagonal(p: np.ndarray, d: np.ndarray) -> None:
    """Three products to z = (the complex number they stand for) * d, in place, as (re, im, re + im)."""
    modes, _, rank = d.shape
    batch = p.shape[1] // modes
    for row in prange(p.shape[1]):
        k = row // batch
        for r in range(rank):
            re, im = p[0, row, r] - p[1, row, r], p[2, row, r] - p[0, row, r] - p[1, row, r]
            zr, zi = re * d[k, 0, r] - im * d[k, 1, r], re * d[k, 1, r] + im * d[k, 0, r]
            p[0, row, r], p[1, row, r], p[2, row, r] = zr, zi, zr + zi


@compiled(parallel=True)
def _diagonal_backward(p: np.ndarray, h: np.ndarray, d: np.ndarray, for_d: np.ndarray) -> None:
    """From the three products of x and of the gradient of z = x d: p becomes z as (re, im, re - im), h the gradient
    of x as (re, im, re + im), and for_d that of d."""
    modes, _, rank = d.shape
    batch = p.shape[1] // modes
    for k in prange(modes):
        for_d[k] = 0
        for row in range(k * batch, (k + 1) * batch):
            for r in range(rank):
                dr, di = d[k, 0, r], d[k, 1, r]
                xr, xi = p[0, row, r] - p[1, row, r], p[2, row, r] - p[0, row, r] - p[1, row, r]
                gr, gi = h[0, row, r] - h[1, row, r], h[2, row, r] - h[0, row, r] - h[1, row, r]
                zr, zi = xr * dr - xi * di, xr * di + xi * dr
                ur, ui = gr * dr + gi * di, gi * dr - gr * di
                p[0, row, r], p[1, row, r], p[2, row, r] = zr, zi, zr - zi
                h[0, row, r], h[1, row, r], h[2, row, r] = ur, ui, ur + ui
                for_d[k, 0, r] += gr * xr + gi * xi
                for_d[k, 1, r] += gi * xr - gr * xi
