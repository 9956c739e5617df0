"""Products of coefficients with the factors of a weight, and their adjoints, all as real matrix products.

A complex product is a real one with the matrix [[re, -im], [im, re]]. Coefficients are (*, 2, batch, n), factors
(n, 2, m). Plain torch: the kernels of :mod:`sciops.kernels.mixing` are made of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor


def block_columns(x: Tensor) -> Tensor:
    """(*, 2, batch, n) as the real matrices (*, 2 batch, 2 n) that act on a stacked (real; imaginary) from the left."""
    re, im = x.unbind(-3)
    return torch.stack([torch.cat([re, -im], -1), torch.cat([im, re], -1)], -3).flatten(-3, -2)


def block_rows(factor: Tensor) -> Tensor:
    """(n, 2, rank) as a real matrix of rows (n, 2) and columns (2, rank)."""
    re, im = factor.unbind(1)
    return torch.stack([torch.cat([re, -im], 1), torch.cat([im, re], 1)], 1).flatten(0, 1)


def product(x: Tensor, factor: Tensor) -> Tensor:
    """Coefficients (*, 2, batch, n) times a complex matrix (n, 2, m)."""
    n, _, m = factor.shape
    if n <= m:  # the smaller side is the one to be arranged
        flat = block_columns(x)
        return (flat.flatten(0, -2) @ factor.transpose(0, 1).reshape(2 * n, m)).view(*x.shape[:-1], m)
    parts = (x.flatten(0, -2) @ factor.reshape(n, 2 * m)).view(*x.shape[:-1], 2, m)
    of_real, of_imaginary = parts.unbind(-4)
    (rr, ri), (ir, ii) = of_real.unbind(-2), of_imaginary.unbind(-2)
    return torch.stack([rr - ii, ri + ir], -3)


def between(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Multiply (groups, n, 2, batch, a) by the matrices whose stacked parts are left @ right, (groups, 2 n, a b).

    Either of left (groups, 2 n, 2 r) and right (groups, 2 r, a b) may be one for all groups.
    """
    groups, n, _, batch, a = x.shape
    one = right.shape[0] == 1
    stacked = left.flatten(0, 1) @ right[0] if one else torch.bmm(left.expand(groups, -1, -1), right)
    b = right.shape[-1] // a
    matrices = stacked.view(groups * n, 2 * a, b)
    return torch.bmm(block_columns(x).flatten(0, 1), matrices).view(groups, n, 2, batch, b)


def cheapest_order(modes: Sequence[int], ranks: Sequence[int]) -> tuple[int, ...]:
    """In which order to spread the axes of a core from ranks to modes with the fewest operations."""

    def cost(order: tuple[int, ...]) -> int:
        sizes, total = list(ranks), 0
        for j in order:
            total += math.prod(sizes) * modes[j]
            sizes[j] = modes[j]
        return total

    return min(itertools.permutations(range(len(modes))), key=cost)


def tucker_between(core: Tensor, *mode_factors: Tensor) -> tuple[Tensor, Tensor]:
    """Left and right of :func:`between`: all axes but the last, in this order, spread over their modes."""
    d = len(mode_factors)
    right = core.movedim(-2, 0)
    groups = 1
    for j, factor in enumerate(mode_factors[:-1]):
        rows, right = block_rows(factor), right.reshape(groups, 2 * core.shape[j], -1)
        right = rows @ right[0] if j == 0 else torch.bmm(rows.expand(groups, -1, -1), right)
        groups *= factor.shape[0]
    return block_rows(mode_factors[-1])[None], right.reshape(groups, 2 * core.shape[d - 1], -1)


def train_chains(*mode_factors: Tensor) -> list[Tensor]:
    """The mode factors multiplied from the thin end, (modes so far, 2, rank) after each."""
    chains = [mode_factors[-1][..., 0].transpose(1, 2)]
    for factor in reversed(mode_factors[:-1]):
        modes, q, _, r = factor.shape
        parts = chains[-1].flatten(1) @ block_rows(factor.reshape(modes * q, 2, r)).T
        chains.append(parts.view(-1, modes, q, 2).permute(1, 0, 3, 2).flatten(0, 1))
    return chains


def train_between(factor_out: Tensor, *mode_factors: Tensor) -> tuple[Tensor, Tensor]:
    """Left and right of :func:`between`: all mode factors multiplied, and the out factor."""
    rank = factor_out.shape[0]
    left = block_rows(train_chains(*mode_factors)[-1])
    return left.view(-1, 2 * mode_factors[-1].shape[0], 2 * rank), factor_out.movedim(2, 0).reshape(1, 2 * rank, -1)


def between_backward(g: Tensor, x: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The result of :func:`between` computed again, and the gradients of x, left and right."""
    groups, n, _, batch, a = x.shape
    stacked = torch.matmul(left, right)
    matrices = stacked.view(groups * n, 2 * a, -1)
    columns, of_y = block_columns(x).flatten(0, 1), g.reshape(groups * n, 2 * batch, g.shape[-1])
    y = torch.bmm(columns, matrices).view_as(g)
    of_columns = torch.bmm(of_y, matrices.transpose(1, 2)).view(groups, n, 2, batch, 2, a)
    of_stacked = torch.bmm(columns.transpose(1, 2), of_y).view_as(stacked)
    for_left, for_right = of_stacked @ right.transpose(1, 2), left.transpose(1, 2) @ of_stacked
    if left.shape[0] < groups:
        for_left = for_left.sum(0, keepdim=True)
    if right.shape[0] < groups:
        for_right = for_right.sum(0, keepdim=True)
    return y, block_columns_backward(of_columns), for_left, for_right


def block_columns_backward(g: Tensor) -> Tensor:
    """Adjoint of :func:`block_columns`, for a gradient (*, 2, batch, 2, n)."""
    (rr, ri), (ir, ii) = (t.unbind(-2) for t in g.unbind(-4))
    return torch.stack([rr + ii, ir - ri], -3)


def block_rows_backward(g: Tensor) -> Tensor:
    """Adjoint of :func:`block_rows`."""
    (rr, ri), (ir, ii) = (t.unbind(1) for t in g.reshape(g.shape[0] // 2, 2, 2, -1).unbind(1))
    return torch.stack([rr + ii, ir - ri], 1)


def conjugate(factor: Tensor) -> Tensor:
    """The conjugate of (n, 2, m)."""
    re, im = factor.unbind(1)
    return torch.stack([re, -im], 1)


def outer(x: Tensor, g: Tensor) -> Tensor:
    """The sum over modes and batch of conj(x) g, (n, 2, m): the gradient of a matrix that x was multiplied by."""
    re, im = g.flatten(0, -4).unbind(1)
    turned = torch.stack([torch.stack([re, im], 2), torch.stack([im, -re], 2)], 1)  # (modes, 2, batch, 2, m)
    n, m = x.shape[-1], g.shape[-1]
    return (x.reshape(-1, n).T @ turned.view(-1, 2 * m)).view(n, 2, m)


def tucker_between_backward(
    for_left: Tensor, for_right: Tensor, core: Tensor, *mode_factors: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Adjoint of :func:`tucker_between`: the gradients of the core and of the mode factors."""
    steps = [core.movedim(-2, 0).reshape(1, 2 * core.shape[0], -1)]
    rows = [block_rows(factor) for factor in mode_factors]
    for j, row in enumerate(rows[:-2]):
        spread = row @ steps[-1]
        steps.append(spread.view(-1, 2 * core.shape[j + 1], spread.shape[-1] // core.shape[j + 1]))
    gradients = [block_rows_backward(for_left[0])]
    g = for_right
    for step, row in zip(reversed(steps[: len(rows) - 1]), reversed(rows[:-1]), strict=True):
        g = g.reshape(step.shape[0], row.shape[0], step.shape[-1])
        both = torch.bmm(g, step.transpose(1, 2))
        gradients.append(block_rows_backward(both.sum(0)))
        g = row.T @ g[0] if step.shape[0] == 1 else torch.bmm(row.T.expand(step.shape[0], -1, -1), g)
    of_core = g.reshape(2, *core.shape[:-2], core.shape[-1])
    return of_core.movedim(0, -2), gradients[::-1]


def train_between_backward(
    for_left: Tensor, for_right: Tensor, factor_out: Tensor, *mode_factors: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Adjoint of :func:`train_between`: the gradients of the out factor and of the mode factors."""
    rank, p, _, out = factor_out.shape
    chains = train_chains(*mode_factors)
    g = block_rows_backward(for_left.reshape(-1, 2 * rank))
    gradients = []
    for factor, chain in zip(mode_factors[:-1], reversed(chains[:-1]), strict=True):
        modes, q, _, r = factor.shape
        parts = g.view(modes, -1, 2, q).permute(1, 0, 3, 2).reshape(-1, modes * q * 2)
        gradients.append(block_rows_backward(parts.T @ chain.flatten(1)).view_as(factor))
        g = (parts @ block_rows(factor.reshape(modes * q, 2, r))).view(-1, 2, r)
    gradients.append(g.transpose(1, 2)[..., None])
    return for_right.reshape(2, rank, p, out).movedim(0, 2), gradients


def diagonal_of(*mode_factors: Tensor) -> Tensor:
    """The products of the rows of factors (modes_j, 2, rank) as (all modes, 2, rank)."""
    diagonal = mode_factors[0]
    for factor in mode_factors[1:]:
        diagonal = times(diagonal[:, None], factor).flatten(0, 1)
    return diagonal


def diagonal_backward(g: Tensor, *mode_factors: Tensor) -> list[Tensor]:
    """Adjoint of :func:`diagonal_of`."""
    sizes = [f.shape[0] for f in mode_factors]
    g = g.view(*sizes, 2, -1)
    gradients = []
    for j in range(len(sizes)):
        share = g
        for i, factor in enumerate(mode_factors):
            if i != j:
                shape = [n if axis == i else 1 for axis, n in enumerate(sizes)]
                share = times(share, conjugate(factor).view(*shape, *factor.shape[1:]))
        others = [i for i in range(len(sizes)) if i != j]
        gradients.append(share.sum(others) if others else share)
    return gradients


def times(a: Tensor, b: Tensor) -> Tensor:
    """Product of complex entries, (*, 2, n)."""
    (ar, ai), (br, bi) = a.unbind(-2), b.unbind(-2)
    return torch.stack([ar * br - ai * bi, ar * bi + ai * br], -2)
