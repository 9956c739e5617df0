"""Calls of the solves along lines."""

from __future__ import annotations

from typing import Any

import torch

from kernel_examples import Draw, Example
from kernel_examples.stencil import grid
from sciops.kernels.lines import _factors_reference


def matrices(batch: int, *small: int, axis: int, around: bool) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        space = grid(draw, *small)
        link = draw.uniform(batch, *space)
        if not around:
            link.select(axis + 1, -1).zero_()
        return draw.uniform(batch, *space) + 2.5, link, axis, around

    return make


def solve(batch: int, *small: int, axis: int, around: bool, shared: bool = False) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        diagonal, link, *rest = matrices(1 if shared else batch, *small, axis=axis, around=around)(draw)
        factors = _factors_reference(diagonal.double(), link.double(), *rest).to(draw.dtype).contiguous()
        return factors, draw.normal(batch, 2, *factors.shape[2:]), axis

    return make


def inplace(make: Any) -> Any:
    def swapped(draw: Draw) -> tuple[torch.Tensor, torch.Tensor, int]:
        factors, r, axis = make(draw)
        return r, factors, axis

    return swapped


EXAMPLES = [
    Example("line_factors", matrices(2, 4, axis=0, around=False), "1d"),
    Example("line_factors", matrices(1, 3, 4, axis=1, around=True), "2d-around"),
    Example("line_factors", matrices(1, 2, 3, 2, axis=1, around=False), "3d"),
    Example("line_factors", matrices(1, 3, 2, axis=0, around=True), "2d-across"),
    Example("line_solve", solve(2, 4, axis=0, around=False), "1d"),
    Example("line_solve", solve(2, 3, 4, axis=0, around=True, shared=True), "2d-across"),
    Example("line_solve", solve(1, 6, 3, axis=1, around=True), "2d-along"),
    Example("line_solve", solve(1, 2, 3, 2, axis=1, around=False), "3d"),
    Example("line_solve", solve(1, 3, 2, 3, axis=2, around=False), "3d-along"),
    Example("line_solve_", inplace(solve(2, 3, 4, axis=0, around=False)), "2d-across"),
    Example("line_solve_", inplace(solve(1, 3, 4, axis=1, around=True)), "2d-along"),
]
