"""Calls of the black-box kernels."""

from __future__ import annotations

from typing import Any

from kernel_examples import Draw, Example
from kernel_examples.stencil import grid, operator
from sciops.kernels.blackbox import columns
from sciops.kernels.stencil import offsets
from sciops.kernels.transfer import coarse_shape


def closed(values: Any, leads: list[tuple[int, ...]], space: tuple[int, ...], every: int = 1) -> Any:
    """Zero for what leads from the cells 0, every, 2 every ... beyond the ends."""
    for number, offset in enumerate(leads):
        for a, (o, n) in enumerate(zip(offset, space, strict=True)):
            last = (n - 1) // every * every
            if o < 0 or last + o >= n:
                values[:, number].select(a + 1, -1 if o > 0 else 0).mul_(1 if o == 0 else 0)
    return values


def level(batch: int, *small: int, corners: bool = False, weights: bool = False) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        space = grid(draw, *small)
        diagonal, coupling = operator(draw, batch, *space, corners=corners)
        # nothing beyond the ends, for an odd axis cannot go around
        coupling = closed(coupling, offsets(len(space), coupling.shape[1]), space)
        given = [draw.uniform(batch, 3 ** len(space) - 1, *coarse_shape(space))] if weights else []
        given = [closed(w, columns(len(space)), space, every=2) for w in given]
        # the equations are divided by what is left of the diagonal: far from zero
        return diagonal + 6, coupling, *given

    return make


def transfer(batch: int, *small: int, shared: bool = True, up: bool, guess: bool = False) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        space = grid(draw, *small)
        weights = draw.normal(1 if shared else batch, 3 ** len(space) - 1, *coarse_shape(space))
        if not up:
            return draw.normal(batch, 2, *space), weights
        u = draw.normal(batch, 2, *space) if guess else None
        return draw.normal(batch, 2, *coarse_shape(space)), weights, u, list(space)

    return make


def slopes(batch: int, *small: int, shared: bool) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        space = grid(draw, *small)
        return draw.normal(batch, 2, *space), draw.normal(batch, 2, *coarse_shape(space)), shared

    return make


EXAMPLES = [
    Example("blackbox_weights", level(2, 5), "1d", halves=False),
    Example("blackbox_weights", level(1, 4, 3), "2d", halves=False),
    Example("blackbox_weights", level(1, 3, 3, corners=True), "2d-corners", halves=False),
    Example("blackbox_weights", level(1, 3, 2, 3), "3d", halves=False),
    Example("galerkin", level(2, 5, weights=True), "1d", halves=False),
    Example("galerkin", level(1, 3, 5, weights=True), "2d", halves=False),
    Example("galerkin", level(1, 3, 3, corners=True, weights=True), "2d-corners", halves=False),
    Example("galerkin", level(1, 3, 1, 3, corners=True, weights=True), "3d-corners", halves=False),
    Example("blackbox_prolong", transfer(2, 4, up=True), "1d"),
    Example("blackbox_prolong", transfer(2, 3, 4, shared=False, up=True, guess=True), "2d"),
    Example("blackbox_prolong", transfer(1, 3, 2, 2, up=True), "3d"),
    Example("blackbox_restrict", transfer(2, 5, up=False), "1d"),
    Example("blackbox_restrict", transfer(2, 4, 3, shared=False, up=False), "2d"),
    Example("blackbox_restrict", transfer(1, 2, 3, 2, up=False), "3d"),
    Example("blackbox_slopes", slopes(2, 4, shared=True), "1d"),
    Example("blackbox_slopes", slopes(2, 3, 4, shared=False), "2d"),
    Example("blackbox_slopes", slopes(1, 2, 3, 2, shared=True), "3d"),
]
