"""Calls of the spectral kernels on realistic sizes: the layer of an FNO at 128^2 and 256^2, and single transforms.

Operations are those of the truncated map by products: 2 N for each node and each real row of a basis. Bytes count every
argument and result once; the modes stay on the chip between the axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from kernel_examples import Draw
from torch import Tensor

from sciops.kernels.dispatch import KERNELS
from sciops.kernels.fourier import FourierAxis
from sciops.kernels.spectral import spectral_convolution
from sciops.kernels.transform import mode_shape, numbers_of

Row = tuple[str, float, float, Callable[[], object]]


def rows(draw: Draw) -> list[Row]:
    """What one call costs: name, operations, bytes, call."""
    return [
        *_layer(draw, 8, 32, 128, 16),
        *_layer(draw, 2, 32, 256, 8),
        *_layer(draw, 8, 32, 128, 16, channels_last=True),
        *_transforms(draw, (8, 32), (128, 128), 16),
        *_transforms(draw, (64, 64), (1024,), 16),
        *_periodic(draw),
    ]


def _transform_operations(sizes: Sequence[int], modes: int, rest: int) -> float:
    """Of one transform or synthesis: the last axis first, cosine and sine rows of frequencies 0 .. m on every axis."""
    total, nodes = 0.0, float(math.prod(sizes) * rest)
    for size in reversed(sizes):
        total += 2 * nodes * 2 * (modes + 1)
        nodes = nodes / size * 2 * (modes + 1)
    return total


def _layer(draw: Draw, batch: int, width: int, n: int, modes: int, *, channels_last: bool = False) -> list[Row]:
    shape = (n, batch, n, width) if channels_last else (batch, width, n, n)
    options: dict[str, Any] = {"dims": (2, 0), "channel": -1} if channels_last else {}
    x, g = draw.normal(*shape), draw.normal(*shape)
    weight = draw.normal(2 * modes + 1, modes + 1, width, 2, width)
    count = (2 * modes + 1) * (modes + 1)
    mixing, transform = 8.0 * count * batch * width**2, _transform_operations((n, n), modes, batch * width)
    item = x.element_size()
    through = 2 * x.numel() * item + weight.numel() * item
    leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]

    def both() -> object:
        return torch.autograd.grad(spectral_convolution(*leaves, (modes, modes), **options), leaves, g)

    name = f"spectral_convolution {n}^2, batch {batch}, width {width}, modes {modes}{', channels last' * channels_last}"
    return [
        (name, 2 * transform + mixing, through, lambda: spectral_convolution(x, weight, (modes, modes), **options)),
        (f"{name}, and its derivative", 4 * transform + 3 * mixing, 2 * through + weight.numel() * item, both),
    ]


def _transforms(draw: Draw, rest: tuple[int, ...], sizes: tuple[int, ...], modes: int) -> list[Row]:
    axes = tuple(FourierAxis(modes) for _ in sizes)
    dims, numbers = list(range(len(rest), len(rest) + len(sizes))), numbers_of(axes)
    x, pair = draw.normal(*rest, *sizes), draw.normal(*mode_shape(axes), 2, *rest)
    operations = _transform_operations(sizes, modes, math.prod(rest))
    moved = (x.numel() + pair.numel()) * x.element_size()
    label = f"{'x'.join(map(str, sizes))}, {math.prod(rest)} rows, modes {modes}"
    forward, backward = KERNELS["fourier_analysis"], KERNELS["fourier_synthesis"]
    return [
        (f"fourier_analysis {label}", operations, moved, lambda: forward(x, dims, *numbers, False, "products")),
        (
            f"fourier_synthesis {label}",
            operations,
            moved,
            lambda: backward(pair, dims, *numbers, list(sizes), False, "products"),
        ),
    ]


def _periodic(draw: Draw) -> list[Row]:
    x: Tensor = draw.normal(4096, 128)
    derivative, resample = KERNELS["spectral_derivative"], KERNELS["fourier_resample"]
    nodes, moved = x.numel(), x.numel() * x.element_size()
    fft = 2.5 * math.log2(128)  # operations a node of a real FFT
    return [
        ("spectral_derivative 128, 4096 rows", 2 * fft * nodes, 2 * moved, lambda: derivative(x, 1, 1, 1.0)),
        ("fourier_resample 128 to 192, 4096 rows", 2.5 * fft * nodes, 2.5 * moved, lambda: resample(x, 192, 1, False)),
    ]
