r"""Truncated Fourier transforms of real fields, by matrix products or by FFTs.

The basis and its conventions (normalisation, which frequencies a grid carries) are those of
:class:`sciops.kernels.fourier.FourierAxis`. The last axis keeps :math:`0 \dots m_d` (a real field has
:math:`c_{-k} = \overline{c_k}`), the others keep :math:`-m_i \dots m_i` in this order.

Two methods compute the same map to rounding: ``"products"``, real matrix products with the truncated basis, for any
axis kind, dtype and size, symbolic sizes included; ``"fft"``, FFTs one axis at a time, cut to the kept modes before
the next axis, for periodic axes. ``method=None`` takes the faster by the number of modes.
"""

from __future__ import annotations

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

_MOST_MODES_OF_PRODUCTS = 48


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
    bases = bases_of(x, axes)
    dims = tuple(range(x.ndim - len(bases), x.ndim))
    pair = analyse(x, bases, dims, chosen_method(method, bases, x.dtype))
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
    found, expected = tuple(coefficients.shape[-len(bases) :]), mode_shape(bases)
    if found != expected:
        raise InputError(f"the coefficients have modes {found}; the axes keep {expected}")
    if len(sizes) != len(bases):
        raise InputError(f"{len(sizes)} sizes given for {len(bases)} axes")
    dims = tuple(range(coefficients.ndim - len(bases), coefficients.ndim))
    pair = torch.stack([coefficients.real, coefficients.imag], dims[-1])
    return synthesise(pair, bases, dims, sizes, chosen_method(method, bases, pair.dtype))


def require_real(x: Tensor) -> None:
    """Raise InputError for a tensor that is not real floating point."""
    if not x.dtype.is_floating_point:
        raise InputError(f"the field is of dtype {x.dtype}; a real floating-point tensor is expected")


def bases_of(x: Tensor, axes: Sequence[FourierAxis | int]) -> tuple[FourierAxis, ...]:
    """The bases of the axes, where an int is a periodic one; InputError if x is not real or has too few dimensions."""
    require_real(x)
    if not axes or x.ndim < len(axes):
        raise InputError(f"a tensor of shape {tuple(x.shape)} cannot be transformed over {len(axes)} axes")
    return tuple(axis if isinstance(axis, FourierAxis) else FourierAxis(axis) for axis in axes)


def mode_shape(axes: tuple[FourierAxis, ...]) -> tuple[int, ...]:
    """Number of coefficients kept along each axis."""
    return (*(2 * axis.modes + 1 for axis in axes[:-1]), axes[-1].modes + 1)


def chosen_method(method: Method | None, axes: tuple[FourierAxis, ...], dtype: torch.dtype) -> Method:
    """The method asked for, checked, or the faster one."""
    periodic = all(axis.kind == "periodic" for axis in axes)
    if method is None:
        # measured: a product costs in proportion to the modes, an FFT to log N and to more passes over memory; they
        # cross between 40 and 70 modes for 128 to 8192 nodes
        many = not torch.compiler.is_compiling() and max(axis.modes for axis in axes) > _MOST_MODES_OF_PRODUCTS
        return "fft" if periodic and many and dtype in (torch.float32, torch.float64) else "products"
    if method not in ("products", "fft"):
        raise InputError(f"unknown method {method!r}; there are 'products' and 'fft'")
    if method == "fft" and not periodic:
        kind = next(axis.kind for axis in axes if axis.kind != "periodic")
        raise InputError(f"method 'fft' needs periodic axes, got one of kind {kind!r}; use 'products'")
    return method


def analyse(x: Tensor, axes: tuple[FourierAxis, ...], dims: tuple[int, ...], method: Method) -> Tensor:
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


def synthesise(
    z: Tensor, axes: tuple[FourierAxis, ...], dims: tuple[int, ...], sizes: Sequence[int], method: Method
) -> Tensor:
    """The real field with its axes at `dims` from a real pair as `analyse` gives it."""
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
