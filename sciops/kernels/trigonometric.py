r"""Sine and cosine transforms of types I to IV: expansions for Dirichlet and Neumann conditions.

**Convention.** With N values :math:`x_0, \dots, x_{N-1}` along an axis, L its logical length and
:math:`s = 1, 1/\sqrt{L}, 1/L` for the norm "backward", "ortho", "forward", as SciPy has it:

========  =====================================================================  ======================================
type      cosine, :math:`y_k / s`                                                sine, :math:`y_k / s`
========  =====================================================================  ======================================
I         :math:`x_0 + (-1)^k x_{N-1} + 2\sum_{0<n<N-1} x_n \cos\frac{\pi kn}{N-1}`    :math:`2\sum_n x_n \sin\frac{\pi(k+1)(n+1)}{N+1}`
II        :math:`2\sum_n x_n \cos\frac{\pi k(2n+1)}{2N}`                         :math:`2\sum_n x_n \sin\frac{\pi(k+1)(2n+1)}{2N}`
III       :math:`x_0 + 2\sum_{n>0} x_n \cos\frac{\pi(2k+1)n}{2N}`                :math:`(-1)^k x_{N-1} + 2\sum_{n<N-1} x_n \sin\frac{\pi(2k+1)(n+1)}{2N}`
IV        :math:`2\sum_n x_n \cos\frac{\pi(2k+1)(2n+1)}{4N}`                     :math:`2\sum_n x_n \sin\frac{\pi(2k+1)(2n+1)}{4N}`
========  =====================================================================  ======================================

L is 2N, but 2(N - 1) for the cosine and 2(N + 1) for the sine transform of type I. The norm "forward", used unless
another is asked for, puts all of the factor 1 / L on the way to the coefficients, which then do not depend on the grid:
a cosine of amplitude 1 has the coefficient 1/2, a constant its value. "ortho" also weights the ends of types I to III, so
that the matrix is orthogonal.

Values at cell centres have type II (cosine: Neumann, sine: Dirichlet on the faces) and type III as its inverse; values
at the nodes have type I (cosine: with both ends, Neumann; sine: without them, Dirichlet); type IV has one condition at
each end. The adjoint of every type is a type with weights at its ends, so backward costs one transform.
"""
# ruff: noqa: E501  the table

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from sciops.errors import InputError, did_you_mean
from sciops.kernels.dispatch import Kernel, Path
from sciops.kernels.fourier import WHOLE
from sciops.kernels.transform import places_of, require_real

if TYPE_CHECKING:
    from jaxtyping import Float

Norm = Literal["backward", "ortho", "forward"]
_INVERSE = {1: 1, 2: 3, 3: 2, 4: 4}
_OPPOSITE = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def cosine_transform(
    x: Float[Tensor, "..."],
    dims: Sequence[int] | None = None,
    *,
    kind: int = 2,
    inverse: bool = False,
    norm: Norm = "forward",
) -> Float[Tensor, "..."]:
    r"""Coefficients of a field in cosines along some dimensions, or the field from them.

    Parameters
    ----------
    x
        Real field of any shape, or coefficients if `inverse`.
    dims
        Dimensions to transform, each once; all when None.
    kind
        Type 1 to 4, as the module's table has them.
    inverse
        Whether to undo the transform of that kind and norm.
    norm
        "forward", "backward" or "ortho", as the module explains.

    Returns
    -------
    Tensor
        Of the shape and dtype of x; differentiable to any order. Half precision is computed in float32.

    Raises
    ------
    InputError
        For an unknown kind or norm, a dimension that x lacks or that is given twice, a field that is not real floating
        point, or fewer values along a dimension than the type needs: 2 for type 1, else 1.

    Examples
    --------
    A constant and a cosine with the Neumann condition, at the centres of 8 cells:

    >>> s = (torch.arange(8) + 0.5) / 8
    >>> c = cosine_transform(3 + torch.cos(torch.pi * s), [0])
    >>> [round(v, 6) + 0 for v in c.tolist()[:3]]
    [3.0, 0.5, 0.0]
    """
    return _transform(x, dims, False, kind, inverse, norm)


def sine_transform(
    x: Float[Tensor, "..."],
    dims: Sequence[int] | None = None,
    *,
    kind: int = 2,
    inverse: bool = False,
    norm: Norm = "forward",
) -> Float[Tensor, "..."]:
    r"""Coefficients of a field in sines along some dimensions, or the field from them.

    Parameters
    ----------
    x
        Real field of any shape, or coefficients if `inverse`.
    dims
        Dimensions to transform, each once; all when None.
    kind
        Type 1 to 4, as the module's table has them.
    inverse
        Whether to undo the transform of that kind and norm.
    norm
        "forward", "backward" or "ortho", as the module explains.

    Returns
    -------
    Tensor
        Of the shape and dtype of x; differentiable to any order. Half precision is computed in float32.

    Raises
    ------
    InputError
        For an unknown kind or norm, a dimension that x lacks or that is given twice, a field that is not real floating
        point, or no value along a dimension.

    Examples
    --------
    The third sine, at the 7 inner nodes of 8 cells:

    >>> s = torch.arange(1, 8) / 8
    >>> [round(v, 6) + 0 for v in sine_transform(torch.sin(3 * torch.pi * s), [0], kind=1).tolist()[:4]]
    [0.0, 0.0, 0.5, 0.0]
    """
    return _transform(x, dims, True, kind, inverse, norm)


def _transform(x: Tensor, dims: Sequence[int] | None, sine: bool, kind: int, inverse: bool, norm: str) -> Tensor:
    require_real(x)
    if not isinstance(kind, WHOLE) or kind not in _INVERSE:
        raise InputError(f"the transform has kind {kind!r}, expected 1, 2, 3 or 4")
    if norm not in _OPPOSITE:
        raise InputError(f"unknown norm {norm!r}{did_you_mean(norm, _OPPOSITE)}")
    places = list(range(x.ndim)) if dims is None else places_of(x, dims)
    least = 2 if kind == 1 and not sine else 1
    for dim in places:
        if x.shape[dim] < least:
            raise InputError(f"dimension {dim} has {x.shape[dim]} values, expected {least} or more")
    if not x.numel():  # the libraries take no empty batch
        return x.clone()
    if inverse:
        kind, norm = _INVERSE[kind], _OPPOSITE[norm]
    y: Tensor = _kernel(x, places, sine, kind, norm)
    return y


def _reference(x: Tensor, dims: Sequence[int], sine: bool, kind: int, norm: str) -> Tensor:
    y = x if x.dtype in (torch.float32, torch.float64) else x.float()
    for dim in dims:
        size = x.shape[dim]
        length = 2 * size if kind > 1 else 2 * (size + (1 if sine else -1))
        scale = {"backward": 1.0, "ortho": length**-0.5, "forward": 1 / length}[norm]
        y = y.movedim(dim, -1)
        if norm == "ortho" and kind in (1, 3):
            y = _weigh_ends(y, sine, kind, math.sqrt(2))
        y = _along_last(y, sine, kind) * scale
        if norm == "ortho" and kind in (1, 2):
            y = _weigh_ends(y, sine, kind, math.sqrt(0.5))
        y = y.movedim(-1, dim)
    return y.to(x.dtype)


def _along_last(x: Tensor, sine: bool, kind: int) -> Tensor:
    """The transform with s = 1 of the last dimension."""
    if kind == 1:
        return _first(x, sine)
    signs = 1 - 2 * (torch.arange(x.shape[-1], device=x.device) % 2).to(x.dtype)
    if kind == 2:
        return _second(x * signs).flip(-1) if sine else _second(x)
    if kind == 3:
        return _third(x.flip(-1)) * signs if sine else _third(x)
    return _fourth(x.flip(-1)) * signs if sine else _fourth(x)


def _first(x: Tensor, sine: bool) -> Tensor:
    """From the mirrored sequence of twice the length: shorter forms lose digits."""
    if sine:
        zero = torch.zeros_like(x[..., :1])
        odd: Tensor = torch.fft.rfft(torch.cat([zero, x, zero, -x.flip(-1)], -1))
        return -odd.imag[..., 1:-1]
    even: Tensor = torch.fft.rfft(torch.cat([x, x[..., 1:-1].flip(-1)], -1))
    return even.real


def _second(x: Tensor) -> Tensor:
    """From one real transform of the same length, the even values before the odd ones in reverse."""
    n = x.shape[-1]
    c = torch.fft.rfft(torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1))
    c = c * _roots(torch.arange(c.shape[-1], device=x.device), 4 * n, x)
    return 2 * torch.cat([c.real, -c.imag[..., 1 : (n + 1) // 2].flip(-1)], -1)


def _third(x: Tensor) -> Tensor:
    """The inverse of :func:`_second`, times 2 N."""
    n = x.shape[-1]
    half = n // 2 + 1
    mirrored = torch.cat([torch.zeros_like(x[..., :1]), x[..., 1:].flip(-1)], -1)
    c = torch.complex(x[..., :half], -mirrored[..., :half])
    c = c * _roots(torch.arange(half, device=x.device), 4 * n, x).conj()
    v = torch.fft.irfft(c, n=n, norm="forward")
    evens, odds = v[..., : (n + 1) // 2], v[..., (n + 1) // 2 :].flip(-1)
    if n % 2:
        odds = torch.cat([odds, torch.zeros_like(evens[..., :1])], -1)
    return torch.stack([evens, odds], -1).flatten(-2)[..., :n]


def _fourth(x: Tensor) -> Tensor:
    n = x.shape[-1]
    k = torch.arange(n, device=x.device)
    if n % 2:  # (2k+1)(2n+1) = 4kn + 2n + (2k+1), a transform of 2 N with half of the values zero
        c: Tensor = torch.fft.fft(x * _roots(k, 4 * n, x), n=2 * n)[..., :n] * _roots(2 * k + 1, 8 * n, x)
        return 2 * c.real
    k = k[: n // 2]
    z = torch.complex(x[..., ::2], x.flip(-1)[..., ::2]) * _roots(4 * k + 1, 8 * n, x)
    c = torch.fft.fft(z) * _roots(k, 2 * n, x)
    return 2 * torch.stack([c.real, -c.imag.flip(-1)], -1).flatten(-2)


def _roots(index: Tensor, n: int, x: Tensor) -> Tensor:
    """exp(-2 pi i index / n), rounded once."""
    angle = index.double() * (-2 * math.pi / n)
    return torch.polar(torch.ones_like(angle), angle).to(x.dtype.to_complex())


def _weigh_ends(y: Tensor, sine: bool, kind: int, weight: float) -> Tensor:
    """The values of the last dimension that a type counts once instead of twice, times a weight."""
    if sine and kind == 1:
        return y
    ends = [0, -1] if kind == 1 else [-1 if sine else 0]
    weights = torch.ones(y.shape[-1], dtype=y.dtype, device=y.device)
    for end in ends:
        weights[end] = weight
    return y * weights


def _backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    dims, sine, kind, norm = ctx.others[1:]
    if norm != "ortho" and kind in (1, 2):
        # A_2' = A_3 diag(2 at the end, else 1), A_1' = diag(1/2 ...) A_1 diag(2 ...)
        for dim in dims:
            gradient = _weigh_ends(gradient.movedim(dim, -1), sine, kind, 2.0).movedim(-1, dim)
    gradient = _kernel(gradient, dims, sine, _INVERSE[kind], norm)
    if norm != "ortho" and kind in (1, 3):
        for dim in dims:
            gradient = _weigh_ends(gradient.movedim(dim, -1), sine, kind, 0.5).movedim(-1, dim)
    return gradient, None, None, None, None


_kernel = Kernel(
    "trigonometric_transform",
    "(Tensor x, int[] dims, bool sine, int kind, str norm) -> Tensor",
    _reference,
    cpu=Path(
        "cpu.trigonometric:trigonometric_transform",
        "SciPy: each type is a transform of its own, with no passes before and after it",
        needs="scipy",
    ),
    backward=_backward,
)
