r"""Truncated Fourier transforms of real fields, by matrix products or by FFTs.

The basis and its conventions (normalisation, which frequencies a grid carries) are those of
:class:`sciops.kernels.fourier.FourierAxis`. The last axis keeps :math:`0 \dots m_d` (a real field has
:math:`c_{-k} = \overline{c_k}`), the others keep :math:`-m_i \dots m_i` in this order.

Two methods compute the same map to rounding: ``"products"``, real matrix products with the truncated basis, for any
axis kind, dtype and size; ``"fft"``, FFTs one axis at a time, cut to the kept modes before the next axis, for periodic
axes. ``method=None`` takes the faster by the number of modes.

The kernels work on coefficients as *pairs*: real tensors (\*modes, 2, \*rest), real and imaginary parts mode by mode,
where rest are the dimensions that are not transformed, in their order. Transform and synthesis are each the other's
derivative with the bases transposed (`adjoint`), so the two are closed under differentiation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.dispatch import Kernel, Path
from sciops.kernels.fourier import KINDS, WHOLE, FourierAxis, analysis_matrix, synthesis_matrix

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

Method = Literal["products", "fft"]

_MOST_MODES_OF_PRODUCTS = 32
_MOST_MODES_WITH_A_LEADING_AXIS = 80
TENSOR_CORES = (torch.float16, torch.bfloat16, torch.float32)  # tensor cores; float64 is left to the reference


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
        Complex (*batch, 2 m_1 + 1, ..., 2 m_{d-1} + 1, m_d + 1); complex64 for half precision. Frequencies that the
        grid does not carry are zero.

    Raises
    ------
    InputError
        For fewer dimensions than axes, a tensor that is not real floating point, an axis without nodes or a closed one
        with less than two, or "fft" on a non-periodic axis.

    Examples
    --------
    >>> x = torch.cos(2 * torch.pi * 3 * torch.arange(16, dtype=torch.float64) / 16)
    >>> fourier_coefficients(x, [4]).real.round(decimals=6).abs()
    tensor([0.0000, 0.0000, 0.0000, 0.5000, 0.0000], dtype=torch.float64)
    """
    bases = bases_of(x, axes)
    dims = tuple(range(x.ndim - len(bases), x.ndim))
    require_sizes(bases, [x.shape[dim] for dim in dims])
    pair = analyse(x, bases, dims, chosen_method(method, bases, dims, x.dtype))
    front = tuple(range(len(bases)))
    return torch.complex(*at_least_single(pair).unbind(len(bases))).movedim(front, dims)


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
        For coefficients that are not complex or whose shape does not fit the axes, no axes, sizes below 1 (2 on a
        closed axis), or "fft" on a non-periodic axis.

    Examples
    --------
    >>> x = torch.sin(2 * torch.pi * torch.arange(8, dtype=torch.float64) / 8)
    >>> fine = fourier_synthesis(fourier_coefficients(x, [2]), [2], [16])
    >>> torch.allclose(fine[::2], x)
    True
    """
    if not coefficients.is_complex():
        raise InputError(
            f"the coefficients are of dtype {coefficients.dtype}; complex ones are expected, torch.complex makes them"
        )
    if not axes:
        raise InputError(f"no axes given for coefficients of shape {tuple(coefficients.shape)}; at least 1 is needed")
    bases = tuple(axis if isinstance(axis, FourierAxis) else FourierAxis(axis) for axis in axes)
    found, expected = tuple(coefficients.shape[-len(bases) :]), mode_shape(bases)
    if found != expected:
        raise InputError(f"the coefficients have modes {found}; the axes keep {expected}")
    if len(sizes) != len(bases):
        raise InputError(f"{len(sizes)} sizes given for {len(bases)} axes")
    require_sizes(bases, sizes)
    dims = tuple(range(coefficients.ndim - len(bases), coefficients.ndim))
    front = coefficients.movedim(dims, tuple(range(len(bases))))
    pair = torch.stack([front.real, front.imag], len(bases))
    return synthesise(pair, bases, dims, sizes, chosen_method(method, bases, dims, pair.dtype))


def require_real(x: Tensor) -> None:
    """Raise InputError for a tensor that is not real floating point."""
    if not x.dtype.is_floating_point:
        raise InputError(f"the field is of dtype {x.dtype}; a real floating-point tensor is expected")


def require_sizes(axes: Sequence[FourierAxis], sizes: Sequence[int]) -> None:
    """Raise InputError for a number of nodes that its axis cannot have."""
    for axis, size in zip(axes, sizes, strict=True):
        axis.require_nodes(size)


def places_of(x: Tensor, dims: Sequence[int]) -> list[int]:
    """Dimensions of x counted from the front; InputError for one that x lacks or that is given twice.

    Examples
    --------
    >>> places_of(torch.zeros(2, 3, 4), [-1, 0])
    [2, 0]
    """
    if isinstance(dims, (*WHOLE, float)) or not all(isinstance(dim, WHOLE) for dim in dims):
        raise InputError(f"dims is {dims}; a sequence of whole numbers is expected, such as [0, 1]")
    if any(not -x.ndim <= dim < x.ndim for dim in dims):
        allowed = f"-{x.ndim} .. {x.ndim - 1} is allowed" if x.ndim else "it has no dimensions"
        raise InputError(f"dims {tuple(dims)} given for a field of shape {tuple(x.shape)}; {allowed}")
    places = [dim % x.ndim for dim in dims]
    if len(set(places)) < len(places):
        raise InputError(f"dims {tuple(dims)} name a dimension twice")
    return places


def bases_of(x: Tensor, axes: Sequence[FourierAxis | int]) -> tuple[FourierAxis, ...]:
    """The bases of the axes, where an int is a periodic one; InputError if x is not real or has too few dimensions."""
    require_real(x)
    if not axes or x.ndim < len(axes):
        raise InputError(f"a tensor of shape {tuple(x.shape)} cannot be transformed over {len(axes)} axes")
    return tuple(axis if isinstance(axis, FourierAxis) else FourierAxis(axis) for axis in axes)


def mode_shape(axes: tuple[FourierAxis, ...]) -> tuple[int, ...]:
    """Number of coefficients kept along each axis."""
    return (*(2 * axis.modes + 1 for axis in axes[:-1]), axes[-1].modes + 1)


def chosen_method(
    method: Method | None, axes: tuple[FourierAxis, ...], dims: Sequence[int], dtype: torch.dtype
) -> Method:
    """The method asked for, checked, or the faster one for axes at `dims`."""
    periodic = all(axis.kind == "periodic" for axis in axes)
    if method is None:
        # measured for float32 at 128 to 1024 nodes, one thread: a product costs in proportion to the modes, an FFT to
        # log N and to more passes over memory. They cross at 24 to 48 modes; at 64 to more than 96 where an axis comes
        # first in memory, as then the field is multiplied by one long product
        most = _MOST_MODES_WITH_A_LEADING_AXIS if 0 in dims else _MOST_MODES_OF_PRODUCTS
        many = max(axis.modes for axis in axes) > most
        return "fft" if periodic and many and dtype in (torch.float32, torch.float64) else "products"
    if method not in ("products", "fft"):
        raise InputError(f"unknown method {method!r}; there are 'products' and 'fft'")
    if method == "fft" and not periodic:
        kind = next(axis.kind for axis in axes if axis.kind != "periodic")
        raise InputError(f"method 'fft' needs periodic axes, got one of kind {kind!r}; use 'products'")
    return method


def analyse(x: Tensor, axes: tuple[FourierAxis, ...], dims: Sequence[int], method: Method) -> Tensor:
    """Coefficients of x over `dims` as a pair (*modes, 2, *rest)."""
    pair: Tensor = _analysis(x, list(dims), *numbers_of(axes), False, method)
    return pair


def synthesise(
    pair: Tensor, axes: tuple[FourierAxis, ...], dims: Sequence[int], sizes: Sequence[int], method: Method
) -> Tensor:
    """The real field with its axes at `dims` from a pair as `analyse` gives it."""
    x: Tensor = synthesis(pair, list(dims), *numbers_of(axes), list(sizes), False, method)
    return x


def numbers_of(axes: tuple[FourierAxis, ...]) -> tuple[list[int], list[int], list[float]]:
    """The axes as a schema of torch.library can hold them: modes, places in KINDS, paddings."""
    return [a.modes for a in axes], [KINDS.index(a.kind) for a in axes], [float(a.padding) for a in axes]


def axes_of(modes: Sequence[int], kinds: Sequence[int], paddings: Sequence[float]) -> tuple[FourierAxis, ...]:
    """The inverse of `numbers_of`."""
    return tuple(FourierAxis(m, KINDS[k], p) for m, k, p in zip(modes, kinds, paddings, strict=True))


def analysis_matrices(
    axes: tuple[FourierAxis, ...], sizes: Sequence[int], *, like: Tensor, adjoint: bool
) -> list[Tensor]:
    """What `analyse` multiplies each axis by, (2 (m + 1), N); with `adjoint`, the transposes of `synthesise`'s."""
    if not adjoint:
        return [analysis_matrix(axis, size, like=like) for axis, size in zip(axes, sizes, strict=True)]
    return [matrix.mT for matrix in synthesis_matrices(axes, sizes, like=like, adjoint=False)]


def synthesis_matrices(
    axes: tuple[FourierAxis, ...], sizes: Sequence[int], *, like: Tensor, adjoint: bool
) -> list[Tensor]:
    """What `synthesise` multiplies each axis by, (N, 2 (m + 1)); with `adjoint`, the transposes of `analyse`'s."""
    if adjoint:
        return [matrix.mT for matrix in analysis_matrices(axes, sizes, like=like, adjoint=False)]
    last = len(axes) - 1
    return [
        synthesis_matrix(axis, size, like=like, real=i == last)
        for i, (axis, size) in enumerate(zip(axes, sizes, strict=True))
    ]


def analysis_reference(
    x: Tensor,
    dims: Sequence[int],
    modes: Sequence[int],
    kinds: Sequence[int],
    paddings: Sequence[float],
    adjoint: bool,
    method: str,
) -> Tensor:
    """The transform in plain torch."""
    axes = axes_of(modes, kinds, paddings)
    sizes = [x.shape[dim] for dim in dims]
    if method == "fft" and _are_known(sizes) and x.numel():  # MKL takes no empty batch
        return _analysis_by_fft(x, dims, axes, adjoint)
    last = len(axes) - 1
    matrices = analysis_matrices(axes, sizes, like=x, adjoint=adjoint)
    # each product takes the last axis that is left and puts its frequencies in front
    field = x.movedim(tuple(dims), tuple(range(last + 1)))
    real, imaginary = (_product(half, field, last) for half in matrices[last].split_with_sizes([modes[last] + 1] * 2))
    for axis, matrix in reversed(list(zip(axes[:-1], matrices[:-1], strict=True))):
        cosine, sine = all_frequencies(matrix, axis.modes)
        real, imaginary = (
            _product(cosine, real, last) - _product(sine, imaginary, last),
            _product(cosine, imaginary, last) + _product(sine, real, last),
        )
    return torch.stack([real, imaginary], last + 1)


def synthesis_reference(
    pair: Tensor,
    dims: Sequence[int],
    modes: Sequence[int],
    kinds: Sequence[int],
    paddings: Sequence[float],
    sizes: Sequence[int],
    adjoint: bool,
    method: str,
) -> Tensor:
    """The synthesis in plain torch."""
    axes = axes_of(modes, kinds, paddings)
    if method == "fft" and _are_known(sizes) and pair.numel():
        return _synthesis_by_fft(pair, dims, axes, sizes, adjoint)
    last = len(axes) - 1
    matrices = synthesis_matrices(axes, sizes, like=pair, adjoint=adjoint)
    real, imaginary = pair.unbind(last + 1)
    # each product takes the frequencies in front and puts the nodes behind the axes
    for axis, matrix in zip(axes[:-1], matrices[:-1], strict=True):
        cosine, sine = (part.mT for part in all_frequencies(matrix.mT, axis.modes))
        real, imaginary = (
            (_product(cosine, real, 0) + _product(sine, imaginary, 0)).movedim(0, last),
            (_product(cosine, imaginary, 0) - _product(sine, real, 0)).movedim(0, last),
        )
    of_real, of_imaginary = matrices[last].split_with_sizes([modes[last] + 1] * 2, 1)
    field = (_product(of_real, real, 0) + _product(of_imaginary, imaginary, 0)).movedim(0, last)
    return field.movedim(tuple(range(last + 1)), tuple(dims))


def _product(matrix: Tensor, x: Tensor, dim: int) -> Tensor:
    """The matrix applied to one dimension of x, which then stands first."""
    product: Tensor = torch.tensordot(matrix, x, dims=([1], [dim]))
    return product


def all_frequencies(matrix: Tensor, modes: int) -> tuple[Tensor, Tensor]:
    """From rows cos and -sin of frequencies 0 .. m those of -m .. m."""
    cosine, sine = matrix.split_with_sizes([modes + 1] * 2)
    return torch.cat([cosine[1:].flip(0), cosine]), torch.cat([-sine[1:].flip(0), sine])


def _are_known(sizes: Sequence[int]) -> bool:
    # under tracing with free sizes only shapes are asked for, and the products give them without a guard
    return all(type(size) is int for size in sizes)


def _analysis_by_fft(x: Tensor, dims: Sequence[int], axes: tuple[FourierAxis, ...], adjoint: bool) -> Tensor:
    p = dims[-1]
    y = torch.fft.rfft(at_least_single(x), dim=p, norm="forward")
    kept = min(axes[-1].modes, axes[-1].carried(x.shape[p]))
    y = _padded(y.narrow(p, 0, kept + 1), p, 0, axes[-1].modes - kept)
    for axis, dim in zip(axes[:-1], dims, strict=False):
        size = x.shape[dim]
        kept = min(axis.modes, axis.carried(size))
        y = torch.fft.fft(y, dim=dim, norm="forward")
        y = torch.cat([y.narrow(dim, size - kept, kept), y.narrow(dim, 0, kept + 1)], dim)
        y = _padded(y, dim, axis.modes - kept, axis.modes - kept)
    y = y.movedim(tuple(dims), tuple(range(len(axes))))
    if adjoint:
        y = y * _ratio(y, [x.shape[dim] for dim in dims], len(axes) - 1)
    return torch.stack([y.real, y.imag], len(axes)).to(x.dtype)


def _synthesis_by_fft(
    pair: Tensor, dims: Sequence[int], axes: tuple[FourierAxis, ...], sizes: Sequence[int], adjoint: bool
) -> Tensor:
    p = dims[-1]
    y = torch.complex(*at_least_single(pair).unbind(len(axes)))
    if adjoint:
        y = y / _ratio(y, sizes, len(axes) - 1)
    y = y.movedim(tuple(range(len(axes))), tuple(dims))
    for axis, dim, size in zip(axes[:-1], dims, sizes, strict=False):
        kept = min(axis.modes, axis.carried(size))
        gap = list(y.shape)
        gap[dim] = size - 2 * kept - 1
        positive, negative = y.narrow(dim, axis.modes, kept + 1), y.narrow(dim, axis.modes - kept, kept)
        y = torch.fft.ifft(torch.cat([positive, y.new_zeros(gap), negative], dim), dim=dim, norm="forward")
    kept = min(axes[-1].modes, axes[-1].carried(sizes[-1]))
    field: Tensor = torch.fft.irfft(y.narrow(p, 0, kept + 1), n=sizes[-1], dim=p, norm="forward")
    return field.to(pair.dtype)


def at_least_single(x: Tensor) -> Tensor:
    """The tensor in a dtype that FFTs take at any size."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _ratio(y: Tensor, sizes: Sequence[int], dim: int) -> Tensor:
    """By how much the transposed synthesis exceeds the transform: the nodes, twice where a term stands for two."""
    first = torch.arange(y.shape[dim], device=y.device) == 0
    ratio = math.prod(sizes) * torch.where(first, 1.0, 2.0).to(y.real.dtype)
    return ratio.view(-1, *(1,) * (y.ndim - dim - 1))


def _padded(y: Tensor, dim: int, before: int, after: int) -> Tensor:
    if not before and not after:
        return y
    return torch.nn.functional.pad(y, (0, 0) * (y.ndim - dim - 1) + (before, after))


def _analysis_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, dims, *axes, adjoint, method = inputs
    ctx.sizes, ctx.others = [x.shape[dim] for dim in dims], (dims, axes, adjoint, method)


def _analysis_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    dims, axes, adjoint, method = ctx.others
    return synthesis(gradient, dims, *axes, ctx.sizes, not adjoint, method), *(None,) * 6


def _synthesis_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, dims, *axes, _, adjoint, method = inputs
    ctx.others = (dims, axes, adjoint, method)


def _synthesis_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    dims, axes, adjoint, method = ctx.others
    return _analysis(gradient, dims, *axes, not adjoint, method), *(None,) * 7


_AXES = "int[] dims, int[] modes, int[] kinds, float[] paddings"

_analysis = Kernel(
    "fourier_analysis",
    f"(Tensor x, {_AXES}, bool adjoint, str method) -> Tensor",
    analysis_reference,
    cpu=Path("cpu.spectral:fourier_analysis", "one real product an axis instead of four, in the widest vectors"),
    triton=Path(
        "cuda.transform:fourier_analysis",
        "reads the field once, writes modes only",
        needs="triton",
        dtypes=TENSOR_CORES,
    ),
    setup=_analysis_setup,
    backward=_analysis_backward,
    keeps_strides=True,
)

synthesis = Kernel(
    "fourier_synthesis",
    f"(Tensor pair, {_AXES}, SymInt[] sizes, bool adjoint, str method) -> Tensor",
    synthesis_reference,
    cpu=Path("cpu.spectral:fourier_synthesis", "one real product an axis instead of four, in the widest vectors"),
    triton=Path(
        "cuda.transform:fourier_synthesis",
        "reads modes only, writes the field once",
        needs="triton",
        dtypes=TENSOR_CORES,
    ),
    setup=_synthesis_setup,
    backward=_synthesis_backward,
    keeps_strides=True,
)
