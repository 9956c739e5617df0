"""Calls of the smoothers."""

from __future__ import annotations

from typing import Any

from kernel_examples import Draw, Example
from kernel_examples.stencil import grid, operator
from sciops.kernels.sweeps import Sweeps, chebyshev, gauss_seidel, jacobi
from sciops.kernels.transfer import coarse_shape


def smooth(
    sweeps: Sweeps,
    *small: int,
    batch: int = 1,
    shared: bool = True,
    guess: bool = False,
    correction: bool = False,
    coarse: bool | None = None,
    scaled: bool = True,
    corners: bool = False,
) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        space = grid(draw, *small)
        operators = 1 if shared else batch
        b = draw.normal(batch, 1, *space)
        return (
            *operator(draw, operators, *space, corners=corners),
            # far enough from 1/D that the residual does not all but vanish: its digits would go with it
            draw.uniform(operators, *space, low=0.02, high=0.06) if scaled else None,
            b,
            draw.normal(*b.shape) if guess else None,
            draw.normal(batch, 1, *coarse_shape(space)) if correction else None,
            list(sweeps.momentum),
            list(sweeps.step),
            list(sweeps.colour),
            *(() if coarse is None else (coarse,)),
        )

    return make


def inplace(make: Any, coarse: bool | None = None) -> Any:
    def with_results(draw: Draw) -> tuple[Any, ...]:
        args = make(draw)
        b = args[3]
        space = b.shape[2:]
        rest = [] if coarse is None else [draw.normal(*b.shape[:2], *(coarse_shape(space) if coarse else space))]
        return draw.normal(*b.shape), *rest, *args

    return with_results


EXAMPLES = [
    Example("smooth_", inplace(smooth(chebyshev(2), 2, 3, guess=True, correction=True)), "2d-up"),
    Example("smooth_residual_", inplace(smooth(chebyshev(2), 2, 3, coarse=True), True), "2d-down"),
    Example("smooth_residual_", inplace(smooth(jacobi(2), 4, guess=True, coarse=False), False), "1d-jacobi"),
    Example("smooth", smooth(chebyshev(3), 4, batch=2, shared=False, guess=True, correction=True), "1d-chebyshev"),
    Example("smooth", smooth(gauss_seidel(), 3, 3), "2d-zero"),
    Example("smooth", smooth(gauss_seidel(), 3, 3, scaled=False), "2d-zero-own-scale"),
    Example("smooth", smooth(chebyshev(3), 4, batch=2, guess=True, scaled=False), "1d-own-scale"),
    Example("smooth", smooth(chebyshev(3), 2, 3, scaled=False), "2d-zero-chebyshev-own-scale"),
    Example("smooth", smooth(jacobi(2), 2, 2, 3, batch=2, shared=False, correction=True, scaled=False), "3d-own-scale"),
    Example("smooth", smooth(chebyshev(3), 2, 3), "2d-chebyshev-zero"),
    Example("smooth", smooth(chebyshev(2), 2, 3, guess=True, correction=True), "2d-up"),
    Example("smooth", smooth(chebyshev(2), 2, 3, guess=True, scaled=False, corners=True), "2d-corners"),
    Example("smooth", smooth(jacobi(2), 2, 2, 2, batch=2, corners=True), "3d-corners"),
    Example("smooth", smooth(gauss_seidel(reverse=True), 2, 2, 3, guess=True), "3d-colours"),
    Example("smooth", smooth(jacobi(2), 2, 3, batch=2, correction=True), "2d-correction"),
    Example("smooth_residual", smooth(chebyshev(2), 2, 3, batch=2, shared=False, coarse=True), "2d-down"),
    Example("smooth_residual", smooth(jacobi(2), 4, guess=True, coarse=False), "1d-jacobi"),
    Example("smooth_residual", smooth(gauss_seidel(), 3, 2, 2, coarse=True), "3d-colours"),
    Example("smooth_residual", smooth(chebyshev(2), 3, 2, coarse=False, corners=True), "2d-corners"),
    Example("smooth_residual", smooth(jacobi(3), 3, 2, coarse=True, scaled=False), "2d-own-scale"),
    Example("smooth_residual", smooth(chebyshev(2), 2, 2, 2, guess=True, correction=True, coarse=True), "3d-up-down"),
]
