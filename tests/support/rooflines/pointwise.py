"""The channel maps of a Fourier layer: 128^2 points, batch 8, width 32, as in the training step that is timed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from kernel_examples import Draw

from sciops.kernels.dispatch import KERNELS

POINTS = (128, 8, 128)
GELU = 4  # operations of one, the error function counted as one; with its derivative twice as many


def maps(draw: Draw, inside: int, hidden: int, outside: int, *, residual: bool) -> list[Any]:
    return [
        draw.normal(*POINTS, inside),
        draw.normal(hidden, inside) / inside**0.5,
        draw.normal(hidden),
        draw.normal(outside, hidden) / hidden**0.5,
        draw.normal(outside),
        draw.normal(*POINTS, outside) if residual else None,
        draw.normal(inside, outside) / outside**0.5 if residual else None,
        draw.normal(outside) if residual else None,
    ]


def rows(draw: Draw) -> list[tuple[str, int, int, Callable[[], Any]]]:
    """Calls of the block of a layer, of its lifting and of its linear map."""
    points = 128 * 8 * 128
    found: list[tuple[str, int, int, Callable[[], Any]]] = []
    forward, backward = KERNELS["perceptron"].op, KERNELS["perceptron_backward"].op
    for name, sizes, residual, ends in (
        ("perceptron 32-16-32, skip, gate", (32, 16, 32), True, True),
        ("perceptron 5-64-32", (5, 64, 32), False, False),
    ):
        inside, hidden, outside = sizes
        args = [*maps(draw, *sizes, residual=residual), ends, ends]
        gradient = draw.normal(*POINTS, outside)
        products = inside * hidden + hidden * outside + inside * outside * residual
        activations = hidden + (inside + outside) * ends
        fields, size = points * (inside + outside * residual), gradient.element_size()
        found.append(
            (
                name,
                points * (2 * products + GELU * activations),
                (fields + points * outside) * size,
                partial(forward, *args),
            )
        )
        # the products again, and two as large for each: for the fields and for the maps
        operations = points * (6 * products + 2 * GELU * activations)
        moved = (2 * fields + points * outside) * size
        found.append((f"{name}, backward", operations, moved, partial(backward, gradient, *args, True, True)))
    x, weight = draw.normal(*POINTS, 32), draw.normal(32, 32)
    flat, operations = x.view(-1, 32), 2 * points * 32 * 32
    found.append(("linear 32-32", operations, 2 * x.nbytes, partial(KERNELS["linear"].op, x, weight, None)))
    found.append(
        ("inner_product 32-32", operations, 2 * x.nbytes, partial(KERNELS["inner_product"].op, flat, flat + 1))
    )
    return found
