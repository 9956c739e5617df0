"""Periodic fields on grids: resampling, products without aliasing, derivatives; exact on band-limited fields.

The Nyquist frequency of an even grid is taken as a cosine throughout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.dispatch import Kernel, Path
from sciops.kernels.fourier import WHOLE
from sciops.kernels.transform import at_least_single, places_of, require_real

if TYPE_CHECKING:
    from jaxtyping import Float


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
        When sizes and dims differ in number, a size is not a whole number of 1 or more, x lacks a dimension, has no
        nodes along it or has it named twice, or x is not real floating point.

    Examples
    --------
    >>> x = torch.sin(2 * torch.pi * torch.arange(9, dtype=torch.float64) / 9)
    >>> y = fourier_resample(x, [12])
    >>> torch.allclose(y, torch.sin(2 * torch.pi * torch.arange(12, dtype=torch.float64) / 12))
    True
    """
    require_real(x)
    where = places_of(x, range(-len(sizes), 0) if dims is None else dims)
    if len(where) != len(sizes):
        raise InputError(f"{len(sizes)} sizes given for {len(where)} dims")
    for size, dim in zip(sizes, where, strict=True):
        if not isinstance(size, WHOLE) or size < 1:
            raise InputError(f"cannot resample dimension {dim} to {size} nodes; a whole number, 1 or more, is expected")
        _require_nodes(x, dim)
        if size != x.shape[dim]:
            x = _resample(x, size, dim, False)
    return x


def dealiased_product(
    u: Float[Tensor, "..."],
    v: Float[Tensor, "..."],
    dims: Sequence[int],
    rule: float = 3 / 2,
) -> Tensor:
    r"""Product of two periodic fields without aliasing, by zero padding in frequency.

    The factors are evaluated on a grid finer by `rule`, multiplied there, and the product is cut to the frequencies
    of the old grid. With the rule 3/2 what folds back lies above those: the coefficients of the result are those of
    the product of the trigonometric interpolants, exactly, wherever the factors have no Nyquist frequency.

    Parameters
    ----------
    u, v
        Real fields of shapes that broadcast to each other, with equal sizes along `dims`.
    dims
        The periodic dimensions, counted from the end if negative; they must be where the factors differ in number of
        dimensions.
    rule
        Factor of refinement, 1 or more: 3/2 for a product of two; 1 is the plain product.

    Returns
    -------
    Tensor
        The product on the grid of the factors.

    Raises
    ------
    InputError
        For a rule that is below 1 or not finite, shapes that do not broadcast, dimensions that a factor lacks, sizes
        that differ or are 0 along `dims`, or fields that are not real floating point.

    Examples
    --------
    On 8 nodes the square of the third harmonic would alias its sixth harmonic to the second; without it only the mean
    1/2 is left:

    >>> u = torch.cos(2 * torch.pi * 3 * torch.arange(8, dtype=torch.float64) / 8)
    >>> torch.allclose(dealiased_product(u, u, [0]), torch.full((8,), 0.5, dtype=torch.float64))
    True

    References
    ----------
    Orszag: On the elimination of aliasing in finite-difference schemes by filtering high-wavenumber components, 1971.
    """
    require_real(u)
    require_real(v)
    if not 1 <= rule < math.inf:
        raise InputError(f"rule is {rule}; a grid finer by a finite factor, 1 or more, is needed")
    places, of_v = places_of(u, dims), [v.shape[dim] for dim in places_of(v, dims)]
    if u.ndim != v.ndim and any(dim >= 0 for dim in dims):
        raise InputError(
            f"dims {tuple(dims)} for factors of {u.ndim} and {v.ndim} dimensions; count them from the end, as in "
            f"{tuple(dim - u.ndim for dim in places)}"
        )
    sizes = [u.shape[dim] for dim in places]
    if sizes != of_v:
        raise InputError(f"the factors have sizes {sizes} and {of_v} along the dimensions {list(dims)}; expected equal")
    if any(a != b and 1 not in (a, b) for a, b in zip(reversed(u.shape), reversed(v.shape), strict=False)):
        raise InputError(
            f"the factors have shapes {tuple(u.shape)} and {tuple(v.shape)}; shapes that broadcast are expected"
        )
    fine = [math.ceil(rule * size - 1e-9) for size in sizes]
    product = fourier_resample(u, fine, dims) * fourier_resample(v, fine, dims)
    return fourier_resample(product, sizes, dims)


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
        For an order that is not a whole number of 0 or more, an extent that is not positive and finite, a dimension
        that x lacks or without nodes, or x not real floating point.

    Examples
    --------
    >>> s = torch.arange(16, dtype=torch.float64) / 16
    >>> d = spectral_derivative(torch.sin(2 * torch.pi * s), 0)
    >>> torch.allclose(d, 2 * torch.pi * torch.cos(2 * torch.pi * s))
    True
    """
    require_real(x)
    if not isinstance(order, WHOLE) or order < 0:
        raise InputError(f"order is {order}; a derivative has a whole order, 0 or more")
    if not 0 < extent < math.inf:
        raise InputError(f"extent is {extent}; the length of the period must be positive and finite")
    (place,) = places_of(x, [dim])
    _require_nodes(x, place)
    derivative: Tensor = _derivative(x, place, order, float(extent))
    return derivative


def _require_nodes(x: Tensor, dim: int) -> None:
    if x.shape[dim] < 1:
        raise InputError(f"dimension {dim} of a field of shape {tuple(x.shape)} has no nodes; at least 1 is needed")


def resample_reference(x: Tensor, size: int, dim: int, adjoint: bool) -> Tensor:
    if not x.numel():
        return _empty(x, size, dim)
    old = x.shape[dim]
    y = torch.fft.rfft(at_least_single(x).movedim(dim, -1), norm="backward" if adjoint else "forward")
    # bin n/2 of an even grid holds both +n/2 and -n/2; irfft counts it once where it is the last bin, else twice
    if not adjoint and size > old and old % 2 == 0:
        y = torch.cat([y[..., :-1], y[..., -1:] / 2], -1)
    elif not adjoint and size < old and size % 2 == 0:
        y = torch.cat([y[..., : size // 2], y[..., size // 2 : size // 2 + 1] * 2], -1)
    # the transpose counts them as they come
    fine: Tensor = torch.fft.irfft(y, n=size, norm="backward" if adjoint else "forward")
    return fine.movedim(-1, dim).to(x.dtype)


def _empty(x: Tensor, size: int, dim: int) -> Tensor:
    """An empty batch with a new size along one dimension: MKL takes none."""
    return x.sum(dim, keepdim=True).expand(*x.shape[:dim], size, *x.shape[dim + 1 :])


def _resample_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, _, dim, adjoint = inputs
    ctx.others = x.shape[dim], dim, not adjoint


def _resample_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return _resample(gradient, *ctx.others), None, None, None


def derivative_reference(x: Tensor, dim: int, order: int, extent: float) -> Tensor:
    size = x.shape[dim]
    if not x.numel():
        return _empty(x, size, dim)
    y = at_least_single(x).movedim(dim, -1)
    mode = torch.arange(size // 2 + 1, dtype=y.dtype, device=y.device)
    # i^order is exact: a power of a complex number would leave rounding errors in the other part
    factor = (2 * torch.pi / extent * mode) ** order * (1, 1j, -1, -1j)[order % 4]
    if order % 2 == 1:
        factor = torch.where(2 * mode == size, 0.0, factor)
    derivative: Tensor = torch.fft.irfft(torch.fft.rfft(y) * factor, n=size)
    return derivative.movedim(-1, dim).to(x.dtype)


def _derivative_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.others = inputs[1:]


def _derivative_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    # an odd derivative is antisymmetric, an even one symmetric
    return (-1) ** ctx.others[1] * _derivative(gradient, *ctx.others), None, None, None


_resample = Kernel(
    "fourier_resample",
    "(Tensor x, SymInt size, int dim, bool adjoint) -> Tensor",
    resample_reference,
    cpu=Path("cpu.periodic:fourier_resample", "on short axes one real product, two to six times quicker than FFTs"),
    setup=_resample_setup,
    backward=_resample_backward,
    keeps_strides=True,
)

_derivative = Kernel(
    "spectral_derivative",
    "(Tensor x, int dim, int order, float extent) -> Tensor",
    derivative_reference,
    cpu=Path("cpu.periodic:spectral_derivative", "on short axes one real product, two to four times quicker than FFTs"),
    setup=_derivative_setup,
    backward=_derivative_backward,
    keeps_strides=True,
)
