"""Calls of the scan."""

from __future__ import annotations

from typing import Any

from kernel_examples import Draw, Example


def scan(
    n: int, *, dense: bool, initial: bool = True, reverse: bool = False, dual: bool = False, time: int = 21
) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        batch, steps, width = (1, 3, min(n, 2)) if draw.small else (2, time, n)
        shape = (batch, steps, width, width) if dense else (batch, steps, width)
        # of norm below 1, as states that grow without bound cannot be compared
        A = draw.normal(*shape) * (0.5 / width**0.5 if dense else 0.5)
        start = draw.normal(batch, width) if initial else None
        return A, draw.normal(batch, steps, width), start, reverse, dual

    return make


EXAMPLES = [
    # the interpreter runs each step of the dense scan: few of them
    Example("affine_scan", scan(3, dense=True, time=67), "dense"),
    Example("affine_scan", scan(5, dense=True, reverse=True), "dense-reverse"),
    Example("affine_scan", scan(1, dense=True, initial=False), "dense-one"),
    Example("affine_scan", scan(3, dense=True, initial=False, dual=True), "dense-dual"),
    Example("affine_scan", scan(17, dense=False, time=131), "diagonal"),
    Example("affine_scan", scan(1, dense=False, reverse=True, time=300), "diagonal-reverse"),
    Example("affine_scan", scan(5, dense=False, initial=False, dual=True, reverse=True), "diagonal-dual"),
]
