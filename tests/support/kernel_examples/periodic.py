"""Calls of resampling and of the spectral derivative; even and odd sizes, leading and trailing axes."""

from __future__ import annotations

from typing import Any

from kernel_examples import Example


def resample(size: int, old: int, dim: int, *, adjoint: bool = False) -> Any:
    return lambda draw: (draw.normal(3, old) if dim else draw.normal(old, 3), size, dim, adjoint)


def derivative(size: int, order: int) -> Any:
    return lambda draw: (draw.normal(2, size, 2), 1, order, 2.5)


EXAMPLES = [
    *(
        Example("fourier_resample", resample(size, old, dim, adjoint=adjoint), f"{old}-to-{size}{'-adjoint' * adjoint}")
        for size, old, dim in ((9, 6, 1), (4, 7, 0), (4, 8, 1))
        for adjoint in (False, True)
    ),
    *(
        Example("spectral_derivative", derivative(size, order), f"{size}-order-{order}")
        for size, order in ((8, 1), (7, 1), (6, 2))
    ),
]
