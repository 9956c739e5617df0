"""Calls of the kernels of the channel maps."""

from __future__ import annotations

from typing import Any

from kernel_examples import Draw, Example


def perceptron(points: tuple[int, ...], sizes: tuple[int, int, int], ways: str, *ends: bool) -> Any:
    """Sizes of x, hidden and y; the residual has the channels of y. Small draws keep the kinds and shrink the sizes."""

    def make(draw: Draw) -> tuple[Any, ...]:
        inside, hidden, outside = tuple(min(s, 2) for s in sizes) if draw.small else sizes
        where = (2,) if draw.small else points
        return (
            draw.normal(*where, inside),
            draw.normal(hidden, inside) / inside**0.5,
            draw.normal(hidden),
            draw.normal(outside, hidden) / hidden**0.5,
            draw.normal(outside),
            draw.normal(*where, outside) if ways else None,
            draw.normal(inside, outside) / outside**0.5 if "s" in ways else None,
            draw.normal(outside) if "g" in ways else None,
            *ends,
        )

    return make


def backward(*given: Any, fields: bool = True, maps: bool = True) -> Any:
    forward = perceptron(*given)

    def make(draw: Draw) -> tuple[Any, ...]:
        args = forward(draw)
        return draw.normal(*args[0].shape[:-1], args[3].shape[0]), *args, fields, maps

    return make


def linear(points: tuple[int, ...], inside: int, outside: int, *, bias: bool) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        i, o, where = (2, 3, (3,)) if draw.small else (inside, outside, points)
        return draw.normal(*where, i), draw.normal(o, i) / i**0.5, draw.normal(o) if bias else None

    return make


def inner_product(points: int, m: int, n: int) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        p, i, j = (4, 2, 3) if draw.small else (points, m, n)
        return draw.normal(p, i), draw.normal(p, j)

    return make


EXAMPLES = [
    Example("perceptron", perceptron((23, 17), (32, 16, 32), "sg", True, True), "block"),
    Example("perceptron", perceptron((2, 9, 7), (5, 64, 32), "", False, False), "lifting"),
    # no GELU after a single channel: in its tail a value near zero has no correct digits to compare
    Example("perceptron", perceptron((131,), (24, 48, 1), "", False, False), "projection"),
    Example("perceptron", perceptron((3, 31), (9, 5, 7), "g", True, False), "gate"),
    Example("perceptron", perceptron((67,), (40, 130, 20), "s", False, True), "skip"),
    Example("perceptron_backward", backward((67,), (32, 16, 32), "sg", True, True), "block"),
    Example("perceptron_backward", backward((83,), (5, 24, 7), "", False, False), "plain"),
    Example("perceptron_backward", backward((83,), (5, 24, 7), "s", True, False, maps=False), "fields"),
    Example("perceptron_backward", backward((83,), (5, 24, 7), "g", False, True, fields=False), "maps"),
    Example("linear", linear((3, 301), 17, 33, bias=True), "bias"),
    Example("linear", linear((911,), 64, 5, bias=False), "plain"),
    Example("inner_product", inner_product(911, 33, 7), "tall"),
    Example("inner_product", inner_product(911, 8, 70), "wide"),
]
