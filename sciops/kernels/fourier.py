"""How one axis is transformed: the truncated Fourier basis as real matrices.

Everything that knows where the nodes of an axis lie, what they weigh and how long the period is stands here. The
spectral kernels (:mod:`sciops.kernels.spectral`) only multiply by these matrices, or take an FFT where the axis is
periodic and the two are the same map.

Convention, used by every spectral function of the package: coefficients are means (FFT normalisation "forward"), so
they do not depend on the grid; ``modes`` is the highest frequency kept, so an axis carries ``-modes..modes``; the
extent of the axis is the unit of length.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from sciops.errors import InputError, did_you_mean

KINDS = ("periodic", "closed", "cell", "left")
WHOLE = (int, np.integer, torch.SymInt)


@dataclass(frozen=True)
class FourierAxis:
    r"""The truncated Fourier basis of one axis.

    On the unit interval with nodes :math:`s_j` and quadrature weights :math:`w_j` the coefficients are

    .. math:: c_k = \frac{1}{L} \sum_j w_j\, x(s_j)\, e^{-2\pi i k s_j / L}, \qquad |k| \le m,

    and the synthesis is :math:`x(s) = \sum_k c_k e^{2\pi i k s / L}`. On a periodic axis :math:`L = 1` and
    :math:`w_j = 1/N`: the discrete Fourier transform. On any other axis the field is continued by zero up to the
    period :math:`L = 1 + padding`, the same length at every resolution.

    Parameters
    ----------
    modes
        Highest frequency :math:`m` kept.
    kind
        Where the nodes lie: "periodic" and "left" :math:`j/N`, "closed" :math:`j/(N-1)`, "cell" :math:`(j+1/2)/N`.
    padding
        Length of the continuation as a fraction of the extent; 0 on a periodic axis.

    Raises
    ------
    InputError
        For modes that are not a whole number of 0 or more, a padding that is negative or not finite, an unknown kind,
        or padding on a periodic axis.

    Examples
    --------
    >>> FourierAxis(8).carried(16), FourierAxis(8).carried(17), FourierAxis(8, "closed", 0.5).carried(17)
    (7, 8, 11)
    """

    modes: int
    kind: str = "periodic"
    padding: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.modes, WHOLE) or self.modes < 0:
            raise InputError(f"modes is {self.modes}; the highest frequency kept must be a whole number, 0 or more")
        if self.kind not in KINDS:
            raise InputError(f"unknown axis kind {self.kind!r}{did_you_mean(self.kind, KINDS)}")
        if not 0 <= self.padding < math.inf:
            raise InputError(f"padding is {self.padding}; it is a finite fraction of the extent, 0 or more")
        if self.padding and self.kind == "periodic":
            raise InputError(f"padding is {self.padding} on a periodic axis; a periodic axis needs none, use 0")

    def carried(self, size: int) -> int:
        """The highest frequency that `size` nodes carry, strictly below the Nyquist frequency."""
        return max(0, math.ceil(self.intervals(size) / 2 - 1e-9) - 1)

    def intervals(self, size: int) -> float:
        """The length of the period in units of the spacing."""
        return (1 + self.padding) * (size - 1 if self.kind == "closed" else size)

    def require_nodes(self, size: int) -> None:
        """Raise InputError for a number of nodes that this axis cannot have."""
        least = 2 if self.kind == "closed" else 1
        if not isinstance(size, WHOLE) or size < least:
            raise InputError(f"a {self.kind} axis of {size} nodes; a whole number, {least} or more, is expected")


def unit_nodes(size: int, kind: str, device: torch.device | None = None) -> Tensor:
    """The nodes of an axis on the unit interval, float64, for a size that may be symbolic.

    Examples
    --------
    >>> unit_nodes(2, "cell").tolist(), unit_nodes(3, "closed").tolist()
    ([0.25, 0.75], [0.0, 0.5, 1.0])
    """
    index = torch.arange(size, dtype=torch.float64, device=device)
    if kind == "closed":
        return index / (size - 1)
    return (index + 0.5) / size if kind == "cell" else index / size


def unit_weights(size: int, kind: str, device: torch.device | None = None) -> Tensor:
    """The quadrature weights of an axis on the unit interval, float64; they sum to one.

    Examples
    --------
    >>> unit_weights(3, "closed").tolist(), unit_weights(2, "left").tolist()
    ([0.25, 0.5, 0.25], [0.25, 0.75])
    """
    index = torch.arange(size, dtype=torch.float64, device=device)
    weight = torch.ones_like(index)
    first, last = (index == 0).to(index.dtype), (index == size - 1).to(index.dtype)
    if kind == "closed":
        return (weight - 0.5 * (first + last)) / (size - 1)
    return (weight + 0.5 * (last - first) if kind == "left" else weight) / size


def analysis_matrix(axis: FourierAxis, size: int, *, like: Tensor) -> Tensor:
    r"""The real matrix (2 (m + 1), N) that takes N nodes to coefficients.

    Rows :math:`k = 0 \dots m` are the real parts of :math:`w_j e^{-2\pi i k s_j / L} / L`, the next m + 1 rows the
    imaginary parts. Rows of frequencies that the grid does not carry are zero. Computed in float64, rounded to the
    dtype of `like`, and kept for the next call.

    Parameters
    ----------
    axis
        The basis.
    size
        Number of nodes N.
    like
        Tensor whose dtype and device the matrix takes.

    Raises
    ------
    InputError
        For fewer nodes than 1, or than 2 on a closed axis.
    """
    axis.require_nodes(size)
    return _matrix(_analysis, axis, size, like)


def synthesis_matrix(axis: FourierAxis, size: int, *, like: Tensor, real: bool = False) -> Tensor:
    r"""The real matrix (N, 2 (m + 1)) that takes real and imaginary parts of :math:`c_0 \dots c_m` to N nodes.

    It gives :math:`\mathrm{Re} \sum_{k=0}^m c_k e^{2\pi i k s_j / L}`, or with `real` the real field whose other
    coefficients are :math:`c_{-k} = \overline{c_k}`: every term but the first counts twice. Columns of frequencies
    that the grid does not carry are zero.

    Parameters
    ----------
    axis
        The basis.
    size
        Number of nodes N.
    like
        Tensor whose dtype and device the matrix takes.
    real
        Whether the terms k > 0 count twice.

    Raises
    ------
    InputError
        For fewer nodes than 1, or than 2 on a closed axis.
    """
    axis.require_nodes(size)
    return _matrix(_real_synthesis if real else _synthesis, axis, size, like)


Builder = Callable[[FourierAxis, int, torch.dtype, torch.device], Tensor]


def _angles(axis: FourierAxis, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Angles (size, modes + 1), and 1 for each frequency that the grid carries, 0 for the others."""
    mode = torch.arange(axis.modes + 1, dtype=torch.float64, device=device)
    turns = unit_nodes(size, axis.kind, device)[:, None] * mode / (1 + axis.padding)
    return 2 * math.pi * (turns - turns.floor()), (2 * mode < axis.intervals(size) - 1e-9).to(mode.dtype)


def _analysis(axis: FourierAxis, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    angle, carried = _angles(axis, size, device)
    scale = unit_weights(size, axis.kind, device)[:, None] * carried / (1 + axis.padding)
    return torch.cat([scale * angle.cos(), -scale * angle.sin()], 1).mT.to(dtype).contiguous()


def _synthesis(axis: FourierAxis, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    angle, carried = _angles(axis, size, device)
    return torch.cat([carried * angle.cos(), -carried * angle.sin()], 1).to(dtype)


def _real_synthesis(axis: FourierAxis, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    first = torch.arange(axis.modes + 1, device=device) == 0
    once = _synthesis(axis, size, torch.float64, device)
    return torch.where(first.repeat(2), once, 2 * once).to(dtype)


def _matrix(build: Builder, axis: FourierAxis, size: int, like: Tensor) -> Tensor:
    # what is computed while tracing or under torch.func is fake or wrapped, and must not outlive either
    kept = type(like) in (Tensor, torch.nn.Parameter) and not torch._C._are_functorch_transforms_active()
    if torch.compiler.is_compiling() or not kept or type(size) is not int:
        return build(axis, size, like.dtype, like.device)
    return _kept(build, axis, size, like.dtype, like.device)


@lru_cache(maxsize=256)
def _kept(build: Builder, axis: FourierAxis, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    # a tensor made under inference_mode could never be saved for backward, and this one outlives the mode
    with torch.inference_mode(False), torch.no_grad():
        return build(axis, size, dtype, device)
