r"""Truncated Fourier transforms, mode mixing, resampling and derivatives as pure tensor functions.

The basis and its conventions (normalisation, which frequencies a grid carries) are those of
:class:`sciops.kernels.fourier.FourierAxis`. The last axis keeps :math:`0 \dots m_d` (a real field has
:math:`c_{-k} = \overline{c_k}`), the others keep :math:`-m_i \dots m_i` in this order.

Two methods compute the same map to rounding: ``"products"``, real matrix products with the truncated basis, for any
axis kind, dtype and size, symbolic sizes included; ``"fft"``, FFTs one axis at a time, cut to the kept modes before
the next axis, for periodic axes. ``method=None`` takes the faster by the number of modes and the size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.fourier import FourierAxis, analysis_matrix, synthesis_matrix
from sciops.kernels.products import along

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

Method = Literal["products", "fft"]


def fourier_coefficients(
    x: Float[Tensor, "*batch *space"], axes: Sequence[FourierAxis | int], *, method: Method | None = None
) -> Complex[Tensor, "*batch *modes"]:
    r"""Truncated Fourier coefficients of a real field over its last axes.

    .. math:: c_k = \frac{1}{N_1 \cdots N_d} \sum_j x_j e^{-2\pi i \sum_a k_a j_a / N_a}

    on periodic axes; see :class:`FourierAxis` for the others.

    Parameters
    ----------
    x
        Real field (*batch, N_1, ..., N_d).
    axes
        One basis per transformed axis; an int is a periodic axis with that highest frequency.
    method
        "products", "fft", or None for the faster one.

    Returns
    -------
    Tensor
        Complex (*batch, 2 m_1 + 1, ..., 2 m_{d-1} + 1, m_d + 1). Frequencies that the grid does not carry are zero.

    Raises
    ------
    InputError
        For fewer dimensions than axes, a tensor that is not real floating point, or "fft" on a non-periodic axis.

    Examples
    --------
    >>> x = torch.cos(2 * torch.pi * 3 * torch.arange(16, dtype=torch.float64) / 16)
    >>> fourier_coefficients(x, [4]).real.round(decimals=6).abs()
    tensor([0.0000, 0.0000, 0.0000, 0.5000, 0.0000], dtype=torch.float64)
    """
    bases = _bases(x, axes)
    dims = tuple(range(x.ndim - len(bases), x.ndim))
    pair = _analyse(x, bases, dims, _chosen(method, bases, x.shape[-len(bases) :], x.dtype))
    return torch.complex(*pair.unbind(dims[-1]))


def fourier_synthesis(
    coefficients: Complex[Tensor, "*batch *modes"],
    axes: Sequence[FourierAxis | int],
    sizes: Sequence[int],
    *,
    method: Method | None = None,
) -> Float[Tensor, "*batch *space"]:
    r"""Real field on a grid of any size from truncated Fourier coefficients.

    .. math:: x(s) = \sum_k c_k e^{2\pi i k \cdot s / L}

    with the missing half of the frequencies by :math:`c_{-k} = \overline{c_k}`. Frequencies that the grid does not
    carry are dropped. The inverse of `fourier_coefficients` for band-limited fields on periodic axes.

    Parameters
    ----------
    coefficients
        Complex (*batch, 2 m_1 + 1, ..., 2 m_{d-1} + 1, m_d + 1).
    axes
        One basis per axis; an int is a periodic axis with that highest frequency.
    sizes
        Number of nodes of each axis.
    method
        "products", "fft", or None for the faster one.

    Returns
    -------
    Tensor
        Real field (*batch, N_1, ..., N_d).

    Raises
    ------
    InputError
        For coefficients whose shape does not fit the axes, or "fft" on a non-periodic axis.

    Examples
    --------
    >>> x = torch.sin(2 * torch.pi * torch.arange(8, dtype=torch.float64) / 8)
    >>> fine = fourier_synthesis(fourier_coefficients(x, [2]), [2], [16])
    >>> torch.allclose(fine[::2], x)
    True
    """
    bases = tuple(axis if isinstance(axis, FourierAxis) else FourierAxis(axis) for axis in axes)
    found, expected = tuple(coefficients.shape[-len(bases) :]), _mode_shape(bases)
    if found != expected:
        raise InputError(f"the coefficients have modes {found}; the axes keep {expected}")
    if len(sizes) != len(bases):
        raise InputError(f"{len(sizes)} sizes given for {len(bases)} axes")
    dims = tuple(range(coefficients.ndim - len(bases), coefficients.ndim))
    pair = torch.stack([coefficients.real, coefficients.imag], dims[-1])
    return _synthesise(pair, bases, dims, sizes, _chosen(method, bases, sizes, pair.dtype))


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
    bases = _bases(x, axes)
    ndim = len(bases)
    where = tuple(range(2, ndim + 2)) if dims is None else tuple(dim % x.ndim for dim in dims)
    channel = channel % x.ndim
    batch = sorted(set(range(ndim + 2)) - {*where, channel})
    if x.ndim != ndim + 2 or len(batch) != 1:
        raise InputError(f"x of shape {tuple(x.shape)} is not batch, channel and {ndim} axes, each once")
    expected = (*_mode_shape(bases), x.shape[channel], 2)
    if weight.ndim != ndim + 3 or tuple(weight.shape[:-1]) != expected:
        raise InputError(f"the weight has shape {tuple(weight.shape)}, expected {expected} + (out_channel,)")
    if sizes is not None and len(sizes) != ndim:
        raise InputError(f"{len(sizes)} sizes given for {ndim} axes")
    behind = [dim + (dim >= where[-1]) for dim in (*where, *batch, channel)]
    order = (*behind[:ndim], where[-1], *behind[ndim:])
    dtype = torch.promote_types(x.dtype, weight.dtype)
    nodes = tuple(x.shape[dim] for dim in where)
    targets = nodes if sizes is None else tuple(sizes)
    with torch.autocast(x.device.type, enabled=False):
        pair = _analyse(x.to(dtype), bases, where, _chosen(method, bases, nodes, dtype))
        pair = _mix(pair, weight.to(dtype), bias, order)
        return _synthesise(pair, bases, where, targets, _chosen(method, bases, targets, dtype)).to(x.dtype)


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
    _require_real(x)
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
    _require_real(x)
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


def _require_real(x: Tensor) -> None:
    if not x.dtype.is_floating_point:
        raise InputError(f"the field is of dtype {x.dtype}; a real floating-point tensor is expected")


def _bases(x: Tensor, axes: Sequence[FourierAxis | int]) -> tuple[FourierAxis, ...]:
    _require_real(x)
    if not axes or x.ndim < len(axes):
        raise InputError(f"a tensor of shape {tuple(x.shape)} cannot be transformed over {len(axes)} axes")
    return tuple(axis if isinstance(axis, FourierAxis) else FourierAxis(axis) for axis in axes)


def _mode_shape(axes: tuple[FourierAxis, ...]) -> tuple[int, ...]:
    return (*(2 * axis.modes + 1 for axis in axes[:-1]), axes[-1].modes + 1)


def _chosen(method: Method | None, axes: tuple[FourierAxis, ...], sizes: Sequence[int], dtype: torch.dtype) -> Method:
    periodic = all(axis.kind == "periodic" for axis in axes)
    if method is None:
        # measured on one core: a product costs in proportion to the modes, an FFT to log N and to passes over memory
        many = not torch.compiler.is_compiling() and max(axis.modes for axis in axes) > 64
        return "fft" if periodic and many and dtype in (torch.float32, torch.float64) else "products"
    if method not in ("products", "fft"):
        raise InputError(f"unknown method {method!r}; there are 'products' and 'fft'")
    if method == "fft" and not periodic:
        kind = next(axis.kind for axis in axes if axis.kind != "periodic")
        raise InputError(f"method 'fft' needs periodic axes, got one of kind {kind!r}; use 'products'")
    return method


def _analyse(x: Tensor, axes: tuple[FourierAxis, ...], dims: tuple[int, ...], method: Method) -> Tensor:
    """Coefficients as a real pair: the last axis, dimension p of x, becomes the dimensions p (pair) and p + 1."""
    if method == "fft":
        return _analyse_by_fft(x, axes, dims)
    p = dims[-1]
    y = along(analysis_matrix(axes[-1], x.shape[p], like=x), x, p)
    y = y.view(*y.shape[:p], 2, axes[-1].modes + 1, *y.shape[p + 1 :])
    for axis, dim in zip(axes[:-1], _behind_pair(dims), strict=False):
        m = axis.modes
        y = along(analysis_matrix(axis, y.shape[dim], like=x), y, dim)
        zero, even, _, odd = y.split_with_sizes([1, m, 1, m], dim)
        real, imaginary = odd.unbind(p)
        turned = torch.stack([-imaginary, real], p)  # i times the odd part
        y = torch.cat([(even - turned).flip(dim), zero, even + turned], dim)
    return y


def _synthesise(
    z: Tensor, axes: tuple[FourierAxis, ...], dims: tuple[int, ...], sizes: Sequence[int], method: Method
) -> Tensor:
    """The real field with its axes at `dims` from a real pair as `_analyse` gives it."""
    if method == "fft":
        return _synthesise_by_fft(z, axes, dims, sizes)
    p = dims[-1]
    for axis, dim, size in zip(axes[:-1], _behind_pair(dims), sizes, strict=False):
        negative, zero, positive = z.split_with_sizes([axis.modes, 1, axis.modes], dim)
        negative = negative.flip(dim)
        real, imaginary = (positive - negative).unbind(p)
        turned = torch.stack([imaginary, -real], p)  # -i times the odd part; sin(0) = 0 takes any value
        parts = torch.cat([zero, positive + negative, zero, turned], dim)
        z = along(synthesis_matrix(axis, size, like=z), parts, dim)
    return along(synthesis_matrix(axes[-1], sizes[-1], like=z, real=True), z.flatten(p, p + 1), p)


def _analyse_by_fft(x: Tensor, axes: tuple[FourierAxis, ...], dims: tuple[int, ...]) -> Tensor:
    p = dims[-1]
    y = torch.fft.rfft(x, dim=p, norm="forward")
    kept = min(axes[-1].modes, axes[-1].carried(x.shape[p]))
    y = _padded(y.narrow(p, 0, kept + 1), p, 0, axes[-1].modes - kept)
    for axis, dim in zip(axes[:-1], dims, strict=False):
        size = x.shape[dim]
        kept = min(axis.modes, axis.carried(size))
        y = torch.fft.fft(y, dim=dim, norm="forward")
        y = torch.cat([y.narrow(dim, size - kept, kept), y.narrow(dim, 0, kept + 1)], dim)
        y = _padded(y, dim, axis.modes - kept, axis.modes - kept)
    return torch.stack([y.real, y.imag], p)


def _synthesise_by_fft(z: Tensor, axes: tuple[FourierAxis, ...], dims: tuple[int, ...], sizes: Sequence[int]) -> Tensor:
    p = dims[-1]
    y = torch.complex(*z.unbind(p))
    for axis, dim, size in zip(axes[:-1], dims, sizes, strict=False):
        kept = min(axis.modes, axis.carried(size))
        gap = list(y.shape)
        gap[dim] = size - 2 * kept - 1
        positive, negative = y.narrow(dim, axis.modes, kept + 1), y.narrow(dim, axis.modes - kept, kept)
        y = torch.fft.ifft(torch.cat([positive, y.new_zeros(gap), negative], dim), dim=dim, norm="forward")
    kept = min(axes[-1].modes, axes[-1].carried(sizes[-1]))
    field: Tensor = torch.fft.irfft(y.narrow(p, 0, kept + 1), n=sizes[-1], dim=p, norm="forward")
    return field


def _behind_pair(dims: tuple[int, ...]) -> tuple[int, ...]:
    """Where the axes stand once the last one has become a pair and its frequencies."""
    return tuple(dim + (dim >= dims[-1]) for dim in dims)


def _padded(y: Tensor, dim: int, before: int, after: int) -> Tensor:
    if not before and not after:
        return y
    return torch.nn.functional.pad(y, (0, 0) * (y.ndim - dim - 1) + (before, after))


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
