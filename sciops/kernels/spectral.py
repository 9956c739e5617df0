"""What Fourier coefficients are good for: mode mixing, resampling and derivatives, as pure tensor functions.

The conventions and the two methods are those of :mod:`sciops.kernels.transform`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.fourier import FourierAxis
from sciops.kernels.transform import (
    Method,
    analyse,
    bases_of,
    chosen_method,
    mode_shape,
    require_real,
    synthesise,
)

if TYPE_CHECKING:
    from jaxtyping import Float


def spectral_convolution(
    x: Float[Tensor, "batch in_channel *space"],
    weight: Float[Tensor, "*modes in_channel 2 out_channel"],
    axes: Sequence[FourierAxis | int],
    sizes: Sequence[int] | None = None,
    *,
    bias: Float[Tensor, "*batch out_channel"] | None = None,
    dims: Sequence[int] | None = None,
    channel: int = 1,
    method: Method | None = None,
) -> Float[Tensor, "batch out_channel *new_space"]:
    r"""Multiply every kept frequency by its own complex matrix: the linear part of a Fourier layer.

    .. math:: y_o(s) = b_o + \sum_{|k| \le m} \Big(\sum_i W_{k,io}\, c_{k,i}\Big) e^{2\pi i k \cdot s / L}

    with c the coefficients of x and :math:`W_{-k} = \overline{W_k}`. Nothing of the size of the grid is kept for the
    backward pass. Under autocast it runs in the dtype of the weight; the result has the dtype of x.

    Parameters
    ----------
    x
        Real field (batch, in_channel, N_1, ..., N_d).
    weight
        Real (2 m_1 + 1, ..., m_d + 1, in_channel, 2, out_channel): real and imaginary parts of W, mode-major.
    axes
        One basis per axis; an int is a periodic axis with that highest frequency.
    sizes
        Nodes of each axis of the result; those of x when None.
    bias
        Constant b added to the result, (out_channel,) or (batch, out_channel); it costs nothing, as it enters at the
        frequency zero.
    dims, channel
        Where the axes and the channels stand in x, when not as above; one more dimension is the batch. The result has
        the same order. Quickest are ``dims=(2, ..., d, 0)`` with the channels last.
    method
        "products", "fft", or None for the faster one.

    Returns
    -------
    Tensor
        (batch, out_channel, *sizes).

    Raises
    ------
    InputError
        For shapes of x, weight, axes and sizes that do not fit each other, or "fft" on a non-periodic axis.

    Examples
    --------
    >>> weight = torch.zeros(3, 1, 2, 1)
    >>> weight[:, 0, 0, 0] = 1.0
    >>> x = torch.cos(2 * torch.pi * torch.arange(8) / 8)[None, None]
    >>> torch.allclose(spectral_convolution(x, weight, [2]), x, atol=1e-6)
    True
    """
    bases = bases_of(x, axes)
    ndim = len(bases)
    where = tuple(range(2, ndim + 2)) if dims is None else tuple(dim % x.ndim for dim in dims)
    channel = channel % x.ndim
    batch = sorted(set(range(ndim + 2)) - {*where, channel})
    if x.ndim != ndim + 2 or len(batch) != 1:
        raise InputError(f"x of shape {tuple(x.shape)} is not batch, channel and {ndim} axes, each once")
    expected = (*mode_shape(bases), x.shape[channel], 2)
    if weight.ndim != ndim + 3 or tuple(weight.shape[:-1]) != expected:
        raise InputError(f"the weight has shape {tuple(weight.shape)}, expected {expected} + (out_channel,)")
    if sizes is not None and len(sizes) != ndim:
        raise InputError(f"{len(sizes)} sizes given for {ndim} axes")
    behind = [dim + (dim >= where[-1]) for dim in (*where, *batch, channel)]
    order = (*behind[:ndim], where[-1], *behind[ndim:])
    dtype = torch.promote_types(x.dtype, weight.dtype)
    targets = tuple(x.shape[dim] for dim in where) if sizes is None else tuple(sizes)
    chosen = chosen_method(method, bases, dtype)
    with torch.autocast(x.device.type, enabled=False):
        pair = _mix(analyse(x.to(dtype), bases, where, chosen), weight.to(dtype), bias, order)
        return synthesise(pair, bases, where, targets, chosen).to(x.dtype)


def fourier_resample(x: Float[Tensor, "..."], sizes: Sequence[int], dims: Sequence[int] | None = None) -> Tensor:
    r"""Evaluate the trigonometric interpolant of a periodic field on grids of other sizes.

    Exact for fields band-limited on both grids. Frequencies above the Nyquist frequency of the new grid are cut off.
    The Nyquist frequency of an even grid is taken as a cosine, so that refining keeps the values at the old nodes and
    coarsening back returns the field.

    Parameters
    ----------
    x
        Real field of any shape.
    sizes
        New number of nodes of each of `dims`.
    dims
        Dimensions to resample; the last ``len(sizes)`` when None.

    Returns
    -------
    Tensor
        The field with the new sizes, of the dtype of x.

    Raises
    ------
    InputError
        When sizes and dims differ in number, a size is below 1, or x is not real floating point.

    Examples
    --------
    >>> x = torch.sin(2 * torch.pi * torch.arange(9, dtype=torch.float64) / 9)
    >>> y = fourier_resample(x, [12])
    >>> torch.allclose(y, torch.sin(2 * torch.pi * torch.arange(12, dtype=torch.float64) / 12))
    True
    """
    require_real(x)
    where = tuple(range(-len(sizes), 0)) if dims is None else tuple(dims)
    if len(where) != len(sizes):
        raise InputError(f"{len(sizes)} sizes given for {len(where)} dims")
    for size, dim in zip(sizes, where, strict=True):
        if size < 1:
            raise InputError(f"cannot resample dimension {dim} to {size} nodes; at least 1 is needed")
        if size != x.shape[dim]:
            x = _resample_axis(x, size, dim)
    return x


def spectral_derivative(x: Float[Tensor, "..."], dim: int, *, order: int = 1, extent: float = 1.0) -> Tensor:
    r"""Derivative of a periodic field along one dimension, exact for band-limited fields.

    .. math:: \partial^p x = \sum_k (2\pi i k / \ell)^p c_k e^{2\pi i k s / \ell}

    The Nyquist frequency of an even grid is taken as a cosine: its odd derivatives vanish at the nodes.

    Parameters
    ----------
    x
        Real field, periodic along `dim`.
    dim
        The dimension.
    order
        Order p of the derivative, 0 or more.
    extent
        Length :math:`\ell` of the period in the units of the coordinate.

    Returns
    -------
    Tensor
        The derivative, of the shape and dtype of x.

    Raises
    ------
    InputError
        For a negative order, an extent that is not positive, or x not real floating point.

    Examples
    --------
    >>> s = torch.arange(16, dtype=torch.float64) / 16
    >>> d = spectral_derivative(torch.sin(2 * torch.pi * s), 0)
    >>> torch.allclose(d, 2 * torch.pi * torch.cos(2 * torch.pi * s))
    True
    """
    require_real(x)
    if order < 0:
        raise InputError(f"order is {order}; a derivative has order 0 or more")
    if extent <= 0:
        raise InputError(f"extent is {extent}; the length of the period must be positive")
    size = x.shape[dim]
    y = _at_least_single(x).movedim(dim, -1)
    mode = torch.arange(size // 2 + 1, dtype=y.dtype, device=y.device)
    factor = (2j * torch.pi / extent * mode) ** order
    if size % 2 == 0 and order % 2 == 1:
        factor[-1] = 0
    derivative: Tensor = torch.fft.irfft(torch.fft.rfft(y) * factor, n=size)
    return derivative.movedim(-1, dim).to(x.dtype)


def _resample_axis(x: Tensor, size: int, dim: int) -> Tensor:
    old = x.shape[dim]
    y = torch.fft.rfft(_at_least_single(x).movedim(dim, -1), norm="forward")
    # bin n/2 of an even grid holds both +n/2 and -n/2; irfft counts it once where it is the last bin, else twice
    if size > old and old % 2 == 0:
        y = torch.cat([y[..., :-1], y[..., -1:] / 2], -1)
    elif size < old and size % 2 == 0:
        y = torch.cat([y[..., : size // 2], y[..., size // 2 : size // 2 + 1] * 2], -1)
    fine: Tensor = torch.fft.irfft(y, n=size, norm="forward")
    return fine.movedim(-1, dim).to(x.dtype)


def _at_least_single(x: Tensor) -> Tensor:
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _mix(y: Tensor, weight: Tensor, bias: Tensor | None, order: tuple[int, ...]) -> Tensor:
    """Complex matrix of each mode applied by one real batched product.

    `order` tells where modes, pair, batch and channel stand in y; the result has the same order.
    """
    y = y.permute(order)
    *modes, _, batch, channels = y.shape
    out = weight.shape[-1]
    product = torch.bmm(y.reshape(-1, 2 * batch, channels), weight.reshape(-1, channels, 2 * out))
    # (real, imaginary) of the coefficient times (real, imaginary) of the weight
    of_real, of_imaginary = product.view(-1, 2, batch, 2, out).unbind(1)
    (rr, ri), (ir, ii) = of_real.unbind(-2), of_imaginary.unbind(-2)
    real, imaginary = rr - ii, ri + ir
    if bias is not None:
        zero = sum((length // 2) * math.prod(modes[i + 1 :]) for i, length in enumerate(modes[:-1]))
        real.narrow(0, zero, 1).add_(bias.to(real.dtype))
    z = torch.stack([real, imaginary], 1).view(*modes, 2, batch, out)
    return z.permute([order.index(dim) for dim in range(len(order))])
