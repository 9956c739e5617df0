"""Calls of the truncated transforms; frequencies that the grid does not carry, and every kind of axis, included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernel_examples import Draw, Example

PERIODIC, CLOSED, CELL, LEFT = range(4)
FEW, MANY = (2, 1, 1), {1: (5,), 2: (5, 4), 3: (3, 2, 2)}
LARGE = {1: (61,), 2: (33, 64), 3: (5, 7, 6)}
LITTLE = {1: (7,), 2: (4, 5), 3: (3, 4, 3)}


def axes(draw: Draw, ndim: int, kind: int) -> tuple[Any, ...]:
    modes = FEW[:ndim] if draw.small else MANY[ndim]
    kinds = [kind] + [PERIODIC] * (ndim - 1)
    return list(modes), kinds, [0.0 if k == PERIODIC else 0.25 for k in kinds]


def sizes(draw: Draw, ndim: int) -> list[int]:
    return list((LITTLE if draw.small else LARGE)[ndim])


def shaped(dims: Sequence[int], space: Sequence[int], rest: Sequence[int]) -> list[int]:
    """The shape of a field with the axes at `dims`."""
    others = iter(rest)
    return [space[list(dims).index(i)] if i in dims else next(others) for i in range(len(space) + len(rest))]


def mode_shape(modes: Sequence[int]) -> list[int]:
    return [*(2 * m + 1 for m in modes[:-1]), modes[-1] + 1]


def analysis(
    dims: Sequence[int], rest: Sequence[int], kind: int = PERIODIC, *, adjoint: bool = False, method: str = "products"
) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        x = draw.normal(*shaped(dims, sizes(draw, len(dims)), rest))
        return x, list(dims), *axes(draw, len(dims), kind), adjoint, method

    return make


def synthesis(
    dims: Sequence[int], rest: Sequence[int], kind: int = PERIODIC, *, adjoint: bool = False, method: str = "products"
) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        bases = axes(draw, len(dims), kind)
        pair = draw.normal(*mode_shape(bases[0]), 2, *rest)
        return pair, list(dims), *bases, sizes(draw, len(dims)), adjoint, method

    return make


EXAMPLES = [
    Example(f"fourier_{name}", make(dims, rest, kind, adjoint=adjoint, method=method), label)
    for name, make in (("analysis", analysis), ("synthesis", synthesis))
    for label, dims, rest, kind, adjoint, method in (
        ("1d", (1,), (2,), PERIODIC, False, "products"),
        ("1d-closed-adjoint", (0,), (1, 3), CLOSED, True, "products"),
        ("2d", (1, 2), (2,), LEFT, False, "products"),
        ("2d-channels-last", (2, 0), (1, 2), CELL, False, "products"),
        ("2d-fft-adjoint", (2, 0), (1, 2), PERIODIC, True, "fft"),
        ("3d-channels-last", (2, 3, 0), (1, 1), CLOSED, True, "products"),
        ("3d-fft", (1, 2, 3), (1,), PERIODIC, False, "fft"),
    )
]
