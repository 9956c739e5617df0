"""Calls of the spectral convolution and of its derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernel_examples import Draw, Example
from kernel_examples.transform import CLOSED, PERIODIC, axes, mode_shape, shaped, sizes


def channels(draw: Draw) -> tuple[int, int, int]:
    """Batch, in, out."""
    return (1, 1, 2) if draw.small else (2, 3, 2)


def placed(dims: Sequence[int], channel: int, first: int, second: int) -> tuple[int, int]:
    """Batch and channels in the order of the field."""
    batch = next(i for i in range(len(dims) + 2) if i not in (*dims, channel))
    return (first, second) if batch < channel else (second, first)


def convolution(
    dims: Sequence[int], channel: int, bias: str = "", kind: int = PERIODIC, method: str = "products"
) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        bases, space = axes(draw, len(dims), kind), sizes(draw, len(dims))
        batch, before, after = channels(draw)
        x = draw.normal(*shaped(dims, space, placed(dims, channel, batch, before)))
        weight = draw.normal(*mode_shape(bases[0]), before, 2, after)
        constant = {"": None, "shared": draw.normal(after), "each": draw.normal(batch, after)}[bias]
        finer = [n + 1 for n in space]
        return x, weight, constant, channel, list(dims), *bases, finer, method

    return make


def backward(dims: Sequence[int], channel: int, wanted: Sequence[bool] = (True, True), method: str = "products") -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        bases, space = axes(draw, len(dims), PERIODIC), sizes(draw, len(dims))
        batch, before, after = channels(draw)
        gradient = draw.normal(*shaped(dims, space, placed(dims, channel, batch, after)))
        pair = draw.normal(*mode_shape(bases[0]), 2, batch, before)
        weight = draw.normal(*mode_shape(bases[0]), before, 2, after)
        return gradient, pair, weight, channel, list(dims), *bases, [n + 1 for n in space], method, list(wanted)

    return make


EXAMPLES = [
    Example("spectral_convolution", convolution((2,), 1, "shared"), "1d"),
    Example("spectral_convolution", convolution((2, 3), 1, "each"), "2d"),
    Example("spectral_convolution", convolution((2, 0), 3, "shared", CLOSED), "2d-channels-last"),
    Example("spectral_convolution", convolution((2, 3), 0), "2d-channels-first"),
    Example("spectral_convolution", convolution((2, 3, 4), 1, "shared", method="fft"), "3d-fft"),
    Example("spectral_convolution_backward", backward((2,), 1), "1d"),
    Example("spectral_convolution_backward", backward((2, 0), 3, (False, True)), "2d-channels-last-weight-only"),
    Example("spectral_convolution_backward", backward((2, 3), 0, (True, False)), "2d-channels-first-field-only"),
]
