"""Spectral kernels on a processor: real products with cosines and sines, and few passes over the modes.

Every axis is multiplied by the real matrix of its frequencies 0 .. m, cosines first, then sines. What those products
give is turned into the coefficients of -m .. m, or made from them, by sums of the even and the odd part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sciops.kernels.fourier import FourierAxis
from sciops.kernels.products import along
from sciops.kernels.spectral import channel_before_batch, place_of_zero
from sciops.kernels.transform import (
    analysis_matrices,
    analysis_reference,
    axes_of,
    synthesis_matrices,
    synthesis_reference,
)


def fourier_analysis(
    x: Tensor,
    dims: Sequence[int],
    modes: Sequence[int],
    kinds: Sequence[int],
    paddings: Sequence[float],
    adjoint: bool,
    method: str,
) -> Tensor:
    """The pair of x; by FFTs it is what plain torch does."""
    if method == "fft":
        return analysis_reference(x, dims, modes, kinds, paddings, adjoint, method).contiguous()
    axes = axes_of(modes, kinds, paddings)
    matrices = analysis_matrices(axes, [x.shape[dim] for dim in dims], like=x, adjoint=adjoint)
    for i in _longest_rows_first(x, dims):
        x = along(matrices[i], x, dims[i])
    return _coefficients(x.movedim(tuple(dims), tuple(range(len(axes)))), axes)


def fourier_synthesis(
    pair: Tensor,
    dims: Sequence[int],
    modes: Sequence[int],
    kinds: Sequence[int],
    paddings: Sequence[float],
    sizes: Sequence[int],
    adjoint: bool,
    method: str,
) -> Tensor:
    """The field of the pair; by FFTs it is what plain torch does."""
    if method == "fft":
        return synthesis_reference(pair, dims, modes, kinds, paddings, sizes, adjoint, method).contiguous()
    axes = axes_of(modes, kinds, paddings)
    matrices = synthesis_matrices(axes, sizes, like=pair, adjoint=adjoint)
    x = _parts(pair, axes, dims)
    for i in reversed(_longest_rows_first(x, dims)):
        x = along(matrices[i], x, dims[i])
    return x


def spectral_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    channel: int,
    dims: Sequence[int],
    modes: Sequence[int],
    kinds: Sequence[int],
    paddings: Sequence[float],
    sizes: Sequence[int],
    method: str,
) -> tuple[Tensor, Tensor]:
    """Transform, mix by one batched real product, and synthesise."""
    pair = fourier_analysis(x, dims, modes, kinds, paddings, False, method)
    turned = channel_before_batch(channel, dims)
    if turned:
        pair = pair.transpose(-1, -2).contiguous()
    *shape, _, batch, channels = pair.shape
    out = weight.shape[-1]
    product = torch.bmm(pair.view(math.prod(shape), 2 * batch, channels), weight.reshape(-1, channels, 2 * out))
    # (real, imaginary) of the coefficient times (real, imaginary) of the weight
    product = product.view(math.prod(shape), 2, batch, 2, out)
    mixed = product.new_empty(product.shape[0], 2, batch, out)
    torch.sub(product[:, 0, :, 0], product[:, 1, :, 1], out=mixed[:, 0])
    torch.add(product[:, 0, :, 1], product[:, 1, :, 0], out=mixed[:, 1])
    if bias is not None:
        mixed[place_of_zero(modes), 0] += bias
    mixed = mixed.view(*shape, 2, batch, out)
    y = fourier_synthesis(
        mixed.transpose(-1, -2) if turned else mixed, dims, modes, kinds, paddings, sizes, False, method
    )
    return y, pair


def spectral_convolution_backward(
    gradient: Tensor,
    pair: Tensor,
    weight: Tensor,
    channel: int,
    dims: Sequence[int],
    modes: Sequence[int],
    kinds: Sequence[int],
    paddings: Sequence[float],
    sizes: Sequence[int],
    method: str,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """The derivatives in field and weight by two batched real products."""
    turned = channel_before_batch(channel, dims)
    slope = fourier_analysis(gradient, dims, modes, kinds, paddings, True, method)
    if turned:
        slope = slope.transpose(-1, -2).contiguous()
    *shape, _, batch, out = slope.shape
    channels = pair.shape[-1]
    slope = slope.view(math.prod(shape), 2, batch, out)
    real, imaginary = slope.unbind(1)
    # the derivative in each of the four real products of the forward pass
    spread = slope.new_empty(slope.shape[0], 2, batch, 2, out)
    spread[:, 0, :, 0], spread[:, 0, :, 1], spread[:, 1, :, 0] = real, imaginary, imaginary
    torch.neg(real, out=spread[:, 1, :, 1])
    spread = spread.view(math.prod(shape), 2 * batch, 2 * out)
    of_x, of_weight = gradient.new_empty(0), gradient.new_empty(0)
    if wanted[0]:
        of_pair = torch.bmm(spread, weight.reshape(-1, channels, 2 * out).mT).view(*shape, 2, batch, channels)
        of_x = fourier_synthesis(
            of_pair.transpose(-1, -2) if turned else of_pair, dims, modes, kinds, paddings, sizes, True, method
        )
    if wanted[1]:
        of_weight = torch.bmm(pair.reshape(math.prod(shape), 2 * batch, channels).mT, spread).view(weight.shape)
    return of_x, of_weight, real[place_of_zero(modes)].clone()


def _longest_rows_first(x: Tensor, dims: Sequence[int]) -> list[int]:
    """Axes in the order of their products: the field itself is multiplied by one product, never by many small ones."""
    return sorted(range(len(dims)), key=lambda i: (dims[i] != 0, dims[i] != x.ndim - 1, -i))


def _coefficients(parts: Tensor, axes: tuple[FourierAxis, ...]) -> Tensor:
    """The pair (*modes, 2, *rest) from cosine and sine parts (2 (m_1 + 1), ..., 2 (m_d + 1), *rest)."""
    last = len(axes) - 1
    y = _halved(parts, last).movedim(last, last + 1)
    for i in reversed(range(last)):
        m = axes[i].modes
        even, odd = _halved(y, i).unbind(i)
        shape = list(even.shape)
        shape[i] = 2 * m + 1
        out = even.new_empty(shape)
        real, imaginary = out.narrow(i, m, m + 1).unbind(last + 1)
        of_odd = odd.unbind(last + 1)
        torch.sub(even.select(last + 1, 0), of_odd[1], out=real)
        torch.add(even.select(last + 1, 1), of_odd[0], out=imaginary)
        if m:
            real, imaginary = out.narrow(i, 0, m).unbind(last + 1)
            even = even.narrow(i, 1, m).flip(i)
            of_odd = odd.narrow(i, 1, m).flip(i).unbind(last + 1)
            torch.add(even.select(last + 1, 0), of_odd[1], out=real)
            torch.sub(even.select(last + 1, 1), of_odd[0], out=imaginary)
        y = out
    return y.contiguous()


def _parts(pair: Tensor, axes: tuple[FourierAxis, ...], dims: Sequence[int]) -> Tensor:
    """Cosine and sine parts, with the axes at `dims`, that the products of the synthesis take."""
    last = len(axes) - 1
    front = [*(2 * (axis.modes + 1) for axis in axes), *pair.shape[last + 2 :]]
    order = _placed(len(front), dims)
    parts = pair.new_empty([front[i] for i in order])
    # the same memory as the last step writes it: (2 (m_1 + 1), ..., m_d + 1, 2, *rest)
    target = parts.movedim(tuple(dims), tuple(range(last + 1)))
    target = _halved(target, last).movedim(last, last + 1)
    if not last:
        target.copy_(pair)
        return parts
    z = pair
    for i in range(last):
        m = axes[i].modes
        if i == last - 1:
            out = target
        else:
            shape = list(z.shape)
            shape[i] = 2 * (m + 1)
            out = z.new_empty(shape)
        even, odd = _halved(out, i).unbind(i)
        even.select(i, 0).copy_(z.select(i, m))
        odd.select(i, 0).zero_()  # the sine of the frequency zero
        if m:
            above, below = z.narrow(i, m + 1, m), z.narrow(i, 0, m).flip(i)
            torch.add(above, below, out=even.narrow(i, 1, m))
            real, imaginary = odd.narrow(i, 1, m).unbind(last + 1)
            torch.sub(above.select(last + 1, 1), below.select(last + 1, 1), out=real)
            torch.sub(below.select(last + 1, 0), above.select(last + 1, 0), out=imaginary)
        z = out
    return parts


def _halved(x: Tensor, dim: int) -> Tensor:
    """Dimension `dim` seen as two: cosines or sines, and the frequency."""
    return x.view(*x.shape[:dim], 2, x.shape[dim] // 2, *x.shape[dim + 1 :])


def _placed(ndim: int, dims: Sequence[int]) -> list[int]:
    """Which of the dimensions (axes, then rest) stands at each place when the axes stand at `dims`."""
    rest = iter(range(len(dims), ndim))
    place = {dim: i for i, dim in enumerate(dims)}
    return [place[dim] if dim in place else next(rest) for dim in range(ndim)]
