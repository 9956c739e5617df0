"""Sine and cosine transforms of 8 fields of 512 x 512."""

from __future__ import annotations

import math
from collections.abc import Callable

from kernel_examples import Draw

from sciops.kernels.trigonometric import cosine_transform, sine_transform


def rows(draw: Draw) -> list[tuple[str, float, float, Callable[[], object]]]:
    """Name, operations, bytes and one call; a real transform of length n is counted as 2.5 n log2 n."""
    n = 512
    found: list[tuple[str, float, float, Callable[[], object]]] = []
    for transform in (cosine_transform, sine_transform):
        for kind in (1, 2, 3, 4):
            x = draw.normal(8, n, n)
            name = f"trigonometric_transform {transform.__name__.split('_')[0]} {kind}"
            operations = 2 * x.numel() * 2.5 * math.log2(n)
            found.append((name, operations, 2 * x.numel() * x.element_size(), _call(transform, x, kind)))
    return found


def _call(transform: Callable[..., object], x: object, kind: int) -> Callable[[], object]:
    return lambda: transform(x, (1, 2), kind=kind)
