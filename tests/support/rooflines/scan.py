"""Scans of 10 000 steps, as long sequences have."""

from __future__ import annotations

from collections.abc import Callable

from kernel_examples import Draw

from sciops.kernels.scan import _affine_scan


def rows(draw: Draw) -> list[tuple[str, float, float, Callable[[], object]]]:
    """Name, operations, bytes that must move, and the call."""
    table = []
    batch, time = 16, 10_000
    for n, dense in ((1, False), (16, False), (1, True), (4, True), (8, True)):
        size = batch * time * n
        A = draw.normal(batch, time, n, n) * (0.5 / n**0.5) if dense else draw.normal(batch, time, n) * 0.5
        b = draw.normal(batch, time, n)
        kind = "dense" if dense else "diagonal"
        for dual in (False, True):
            table.append(
                (
                    f"affine_scan {kind} n={n}{' dual' if dual else ''}",
                    2.0 * A.numel(),
                    float((A.numel() + 2 * size) * b.element_size()),
                    lambda A=A, b=b, dual=dual: _affine_scan(A, b, None, False, dual),
                )
            )
    return table
