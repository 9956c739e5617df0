"""Calls of the stencil, smoothing and transfer kernels on realistic sizes: the finest level at 1024^2 and 64^3.

Bytes count every argument and result once, whatever the number of sweeps: that is what fusing them is for.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from kernel_examples import Draw
from torch import Tensor

from sciops.kernels import smoothing, stencil, sweeps, transfer
from sciops.kernels.diffusion import diffusion_operator
from sciops.kernels.interpolation import interpolation_weights, linear_weights

Row = tuple[str, float, float, Callable[[], object]]


def rows(draw: Draw) -> list[Row]:
    """What one call costs: name, operations, bytes, call."""
    return [*_level(draw, 1024, 1024), *_level(draw, 64, 64, 64)]


def _level(draw: Draw, *space: int) -> list[Row]:
    d, cells = len(space), float(math.prod(space))
    diagonal, coupling = diffusion_operator(draw.uniform(1, *space), (1.0,) * d)
    scale, u, b = 1 / diagonal, draw.normal(1, 1, *space), draw.normal(1, 1, *space)
    e = draw.normal(1, 1, *transfer.coarse_shape(space))
    corners = interpolation_weights(diagonal, coupling).contiguous()
    product = linear_weights(space, dtype=u.dtype, device=u.device)
    one, own = draw.normal(*(3,) * d), (diagonal, coupling, scale)
    pair, colours = sweeps.chebyshev(2), sweeps.gauss_seidel()
    applied = 4 * d + 1  # a product for each of 2 d + 1 neighbours, and their sum

    def row(name: str, operations: float, call: Callable[[], object], *touched: Tensor) -> Row:
        moved = float(sum(t.numel() * t.element_size() for t in touched))
        return f"{name} {' x '.join(map(str, space))}", operations * cells, moved, call

    sweep = applied + 4
    return [
        row(
            "diffusion_apply",
            applied,
            lambda: stencil.diffusion_apply(diagonal, coupling, u),
            diagonal,
            coupling,
            u,
            u,
        ),
        row(
            "diffusion_residual",
            applied + 1,
            lambda: stencil.diffusion_residual(diagonal, coupling, u, b),
            diagonal,
            coupling,
            u,
            b,
            u,
        ),
        row(
            "diffusion_apply_dot",
            applied + 2,
            lambda: stencil.diffusion_apply_dot(diagonal, coupling, u),
            diagonal,
            coupling,
            u,
            u,
        ),
        row(
            "diffusion_slopes",
            4 * d + 1,
            lambda: stencil.diffusion_slopes(u, b, True),
            u,
            b,
            diagonal,
            coupling,
        ),
        row("stencil_apply", 2 * 3**d, lambda: stencil.stencil_apply(one, u, "zero"), u, u),
        row(
            "smooth_residual, Chebyshev 2 from zero, restricted",
            2 + sweep + applied + 2,
            lambda: smoothing.smooth_residual(*own, b, sweeps=pair, coarse=True),
            *own,
            b,
            u,
            e,
        ),
        row(
            "smooth, Chebyshev 2 after correction",
            1 + 2 * sweep,
            lambda: smoothing.smooth(*own, b, u, sweeps=pair, correction=e),
            *own,
            b,
            u,
            e,
            u,
        ),
        row(
            "smooth, red-black Gauss-Seidel",
            applied + 2,
            lambda: smoothing.smooth(*own, b, u, sweeps=colours),
            *own,
            b,
            u,
            u,
        ),
        row("prolong_add, constant", 1, lambda: transfer.prolong_add(u, e), u, e, u),
        row("restrict, constant", 1, lambda: transfer.restrict(u), u, e),
        row("prolong_add, linear", 3 * d, lambda: transfer.prolong_add(u, e, product), u, e, u),
        row("restrict, linear", 3 * d, lambda: transfer.restrict(u, product), u, e),
        row(
            "prolong_add, operator-dependent",
            2 * 2**d,
            lambda: transfer.prolong_add(u, e, corners),
            u,
            e,
            corners,
            u,
        ),
        row("restrict, operator-dependent", 2 * 2**d, lambda: transfer.restrict(u, corners), u, e, corners),
        row(
            "coarsen",
            2 * d + 2,
            lambda: transfer.coarsen(diagonal, coupling),
            diagonal,
            coupling,
            *[e] * (d + 1),
        ),
    ]
