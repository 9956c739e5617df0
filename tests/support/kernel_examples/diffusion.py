"""Calls of the kernel that makes operators of coefficients."""

from __future__ import annotations

import math
from typing import Any

from kernel_examples import Draw, Example
from kernel_examples.stencil import grid


def build(batch: int, *small: int, sides: list[float], own: bool = False, reaction: bool = False) -> Any:
    """A coefficient for all axes, or one for each."""

    def make(draw: Draw) -> tuple[Any, ...]:
        space = grid(draw, *small)
        axes = (len(space),) if own else ()
        c = draw.uniform(batch, *space, low=0, high=2) if reaction else None
        spacing = [0.5, 1.0, 0.25][: len(space)]
        return draw.uniform(batch, *axes, *space, low=1, high=3), c, spacing, sides, 0.0 if reaction else 0.5

    return make


DIRICHLET, NEUMANN, PERIODIC = [math.inf] * 2, [0.0] * 2, [-1.0] * 2
EXAMPLES = [
    Example("diffusion_operator", build(2, 5, sides=[0.7, math.inf], reaction=True), "1d-robin"),
    Example("diffusion_operator", build(2, 3, 4, sides=DIRICHLET + NEUMANN), "2d"),
    Example("diffusion_operator", build(1, 3, 2, sides=[*PERIODIC, 2.0, 0.0], own=True, reaction=True), "2d-each-axis"),
    Example("diffusion_operator", build(2, 2, 3, 2, sides=NEUMANN + PERIODIC + DIRICHLET), "3d"),
    Example("diffusion_operator", build(1, 2, 1, 3, sides=[0.3, 0.9, *DIRICHLET, *PERIODIC], own=True), "3d-each-axis"),
]
