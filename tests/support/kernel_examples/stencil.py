"""Calls of the stencil kernels."""

from __future__ import annotations

from typing import Any

import torch

from kernel_examples import Draw, Example


def operator(draw: Draw, batch: int, *space: int, corners: bool = False) -> tuple[Any, Any]:
    links = 3 ** len(space) // 2 if corners else len(space)
    return draw.uniform(batch, *space, low=4, high=8), draw.uniform(batch, links, *space) * len(space) / links


def grid(draw: Draw, *small: int) -> tuple[int, ...]:
    """Few cells where derivatives are taken by differences, else an odd number of more than one block."""
    if draw.small:
        return small
    return {1: (601,), 2: (35, 27), 3: (9, 7, 11)}[len(small)]


def apply(
    batch: int, rhs: int, *small: int, shared: bool = False, residual: bool = False, corners: bool = False
) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        space = grid(draw, *small)
        fields = [draw.normal(batch, rhs, *space) for _ in range(1 + residual)]
        return *operator(draw, 1 if shared else batch, *space, corners=corners), *fields

    return make


def into(make: Any) -> Any:
    """The same call with memory for the result in front."""

    def made(draw: Draw) -> tuple[Any, ...]:
        diagonal, coupling, u = make(draw)
        return torch.zeros_like(u), diagonal, coupling, u

    return made


def slopes(batch: int, rhs: int, *small: int, shared: bool, corners: bool = False) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        space = grid(draw, *small)
        links = 3 ** len(space) // 2 if corners else len(space)
        return draw.normal(batch, rhs, *space), draw.normal(batch, rhs, *space), shared, links

    return make


def constant(edge: int, own: bool, *small: int) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        space = grid(draw, *small)
        weights = draw.normal(*((2,) if own else ()), *(3,) * len(space))
        return weights, draw.normal(1, 2, *space), edge

    return make


def constant_slopes(edge: int, own: bool, *small: int) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        space = grid(draw, *small)
        return draw.normal(1, 2, *space), draw.normal(1, 2, *space), edge, own

    return make


EXAMPLES = [
    Example("diffusion_apply", apply(2, 1, 5), "1d"),
    Example("diffusion_apply", apply(1, 2, 3, 4), "2d"),
    Example("diffusion_apply", apply(2, 2, 3, 2, 2, shared=True), "3d-shared"),
    Example("diffusion_apply", apply(2, 1, 3, 4, corners=True), "2d-corners"),
    Example("diffusion_apply", apply(1, 2, 3, 2, 3, corners=True), "3d-corners"),
    Example("diffusion_residual", apply(1, 2, 2, 3, residual=True), "2d"),
    Example("diffusion_residual", apply(2, 1, 2, 3, 2, shared=True, residual=True, corners=True), "3d-corners"),
    Example("diffusion_residual", apply(2, 1, 2, 1, 3, shared=True, residual=True), "3d-shared"),
    # an inner product of fields of random sign loses digits to cancellation
    Example("diffusion_apply_dot", apply(1, 2, 3, 3), "2d"),
    Example("diffusion_apply_dot", apply(2, 1, 2, 3, 2, shared=True), "3d-shared"),
    Example("diffusion_apply_dot_", into(apply(2, 1, 3, 3)), "2d"),
    Example("diffusion_apply_dot_", into(apply(2, 2, 2, 3, 2, shared=True)), "3d-shared"),
    Example("diffusion_slopes", slopes(2, 1, 5, shared=True), "1d-shared"),
    Example("diffusion_slopes", slopes(2, 2, 2, 3, shared=False), "2d"),
    Example("diffusion_slopes", slopes(1, 2, 2, 3, 2, shared=False), "3d"),
    Example("diffusion_slopes", slopes(2, 1, 3, 2, shared=True, corners=True), "2d-corners"),
    Example("diffusion_slopes", slopes(1, 1, 2, 3, 2, shared=False, corners=True), "3d-corners"),
    Example("stencil_apply", constant(0, False, 4), "1d-zero"),
    Example("stencil_apply", constant(2, True, 3, 4), "2d-reflect"),
    Example("stencil_apply", constant(1, False, 2, 3, 2), "3d-periodic"),
    Example("stencil_adjoint", constant(2, False, 4), "1d-reflect"),
    Example("stencil_adjoint", constant(0, True, 3, 4), "2d-zero"),
    Example("stencil_adjoint", constant(2, False, 2, 3, 2), "3d-reflect"),
    # sums over all cells of products of random sign: the terms are larger than the sum
    Example("stencil_slopes", constant_slopes(1, True, 4), "1d-periodic"),
    Example("stencil_slopes", constant_slopes(2, False, 3, 3), "2d-reflect"),
    Example("stencil_slopes", constant_slopes(0, True, 2, 3, 2), "3d-zero"),
]
