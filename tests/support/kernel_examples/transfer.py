"""Calls of the transfers between grids."""

from __future__ import annotations

from typing import Any

from kernel_examples import Draw, Example
from kernel_examples.stencil import grid, operator
from sciops.kernels.transfer import coarse_shape


def up(kind: str, batch: int, *small: int, add: bool = False, corners: int = 0) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        space = grid(draw, *small)
        coarse = draw.normal(batch, 1, *coarse_shape(space))
        u = draw.normal(batch, 1, *space) if add else None
        if kind == "constant":
            return coarse, u, list(space)
        if kind == "product":
            return coarse, u, draw.uniform(2, sum(space)), list(space)
        return coarse, u, draw.normal(batch, corners, *space)

    return make


def down(kind: str, batch: int, *small: int, corners: int = 0) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        space = grid(draw, *small)
        r = draw.normal(batch, 1, *space)
        if kind == "constant":
            return (r,)
        return r, draw.uniform(2, sum(space)) if kind == "product" else draw.normal(1, corners, *space)

    return make


def slopes(batch: int, shared: bool, corners: int, *small: int) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        space = grid(draw, *small)
        return draw.normal(batch, 1, *space), draw.normal(batch, 1, *coarse_shape(space)), corners, shared

    return make


def coarsen(batch: int, *small: int) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        return *operator(draw, batch, *grid(draw, *small)), 0.55

    return make


EXAMPLES = [
    Example("prolong", up("constant", 2, 5), "1d"),
    Example("prolong", up("constant", 1, 3, 4, add=True), "2d-add"),
    Example("prolong", up("constant", 1, 3, 2, 3, add=True), "3d-add"),
    Example("restrict", down("constant", 2, 3, 4), "2d"),
    Example("restrict", down("constant", 1, 3, 2, 3), "3d"),
    Example("prolong_product", up("product", 2, 5), "1d"),
    Example("prolong_product", up("product", 1, 3, 2, 3, add=True), "3d-add"),
    Example("restrict_product", down("product", 2, 3, 4), "2d"),
    Example("restrict_product", down("product", 1, 3, 2, 3), "3d"),
    Example("prolong_weighted", up("weighted", 2, 3, 3, corners=4), "2d"),
    Example("prolong_weighted", up("weighted", 1, 2, 3, 2, add=True, corners=4), "3d-faces-add"),
    Example("restrict_weighted", down("weighted", 2, 3, 3, corners=3), "2d-faces"),
    Example("restrict_weighted", down("weighted", 1, 2, 1, 3, corners=8), "3d"),
    Example("transfer_slopes", slopes(2, True, 2, 5), "1d-shared"),
    Example("transfer_slopes", slopes(2, False, 3, 3, 2), "2d-faces"),
    Example("transfer_slopes", slopes(1, False, 8, 3, 2, 2), "3d"),
    Example("coarsen", coarsen(2, 5), "1d"),
    Example("coarsen", coarsen(1, 3, 4), "2d"),
    Example("coarsen", coarsen(1, 3, 2, 2), "3d"),
]
