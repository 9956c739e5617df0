r"""Stationary covariances: the kernel C(x - y) and its density S, with the convention

.. math:: C(h) = \frac{1}{(2\pi)^d} \int S(\omega) e^{i \omega \cdot h} d\omega, \qquad
          S(\omega) = \int C(h) e^{-i \omega \cdot h} dh,

so that on a box of volume V the eigenvalue of the eigenfunction of wavenumber :math:`\omega` is S, and its share of
the variance S / V.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import gammaln, kve
from torch import Tensor

from sciops.data.random.base import positive
from sciops.errors import InputError

_NEGLIGIBLE = 1e-18
Length = float | tuple[float, ...]


class Covariance(ABC):
    """A stationary covariance in any number of directions."""

    @abstractmethod
    def kernel(self, offsets: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """C at offsets x - y, float64."""

    @abstractmethod
    def density(self, wavenumbers: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        r"""S at angular wavenumbers :math:`\omega`, float64."""

    @abstractmethod
    def reach(self, ndim: int) -> tuple[float, ...] | None:
        """The distance along each axis beyond which C is below 1e-18 of the variance; None without a kernel."""

    @abstractmethod
    def frequencies(self, count: int, ndim: int, seed: int) -> Float[Tensor, "count d"]:
        """Wavenumbers drawn from the density as a probability."""


@dataclass(frozen=True)
class Matern(Covariance):
    r"""The Matern covariance, of functions with less than `smoothness` derivatives in mean square.

    .. math::
        C(h) = \sigma^2 \frac{2^{1-\nu}}{\Gamma(\nu)} z^\nu K_\nu(z), \quad z = \sqrt{2\nu}\,|h / \ell|, \qquad
        S(\omega) = \sigma^2 \frac{2^d \pi^{d/2} \Gamma(\nu + d/2) (2\nu)^\nu}{\Gamma(\nu)} \prod_i \ell_i
        \; (2\nu + |\ell\omega|^2)^{-\nu - d/2}

    Parameters
    ----------
    smoothness
        :math:`\nu`, positive and at most 50; `SquaredExponential` is the limit of large ones.
    length
        :math:`\ell` in the units of the coordinates, one for all axes or one for each.
    variance
        :math:`\sigma^2`.

    Raises
    ------
    InputError
        If a number is out of its range.

    References
    ----------
    B. Matern, "Spatial variation", 1960. F. Lindgren, H. Rue, J. Lindstrom, "An explicit link between Gaussian fields
    and Gaussian Markov random fields", Journal of the Royal Statistical Society B 73, 2011.

    Examples
    --------
    >>> c = Matern(0.5, length=0.5).kernel(torch.tensor([[0.0], [0.5]], dtype=torch.float64))
    >>> bool((c - torch.exp(torch.tensor([0.0, -1.0]))).abs().max() < 1e-7)
    True
    """

    smoothness: float
    length: Length
    variance: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.smoothness <= 50:
            raise InputError(
                f"smoothness = {self.smoothness}, expected a positive number up to 50; SquaredExponential is the limit"
            )
        _check(self.length, self.variance)

    def kernel(self, offsets: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """C at offsets x - y."""
        return self.variance * _matern(_scaled(offsets, self.length), self.smoothness)

    def density(self, wavenumbers: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        r"""S at wavenumbers :math:`\omega`."""
        d, nu = wavenumbers.shape[-1], self.smoothness
        lengths = _lengths(self.length, d).to(wavenumbers.device)
        log = d * math.log(2) + d / 2 * math.log(math.pi) + math.lgamma(nu + d / 2) - math.lgamma(nu)
        log += nu * math.log(2 * nu)
        square = (wavenumbers * lengths).square().sum(-1)
        return self.variance * lengths.prod() * torch.exp(log - (nu + d / 2) * torch.log(2 * nu + square))

    def reach(self, ndim: int) -> tuple[float, ...]:
        """The distance along each axis beyond which the kernel is negligible."""
        radius = 1.0
        while float(_matern(torch.tensor([radius], dtype=torch.float64), self.smoothness)) > _NEGLIGIBLE:
            radius *= 1.25
        return tuple((radius * _lengths(self.length, ndim)).tolist())

    def frequencies(self, count: int, ndim: int, seed: int) -> Float[Tensor, "count d"]:
        """Wavenumbers of a t distribution with 2 nu degrees of freedom."""
        random = np.random.default_rng(seed)
        normals = random.standard_normal((count, ndim))
        chi = 2 * random.gamma(self.smoothness, size=(count, 1))
        return torch.from_numpy(normals * np.sqrt(2 * self.smoothness / chi)) / _lengths(self.length, ndim)


@dataclass(frozen=True)
class SquaredExponential(Covariance):
    r"""The covariance of functions with all derivatives.

    .. math:: C(h) = \sigma^2 e^{-|h / \ell|^2 / 2}, \qquad
              S(\omega) = \sigma^2 (2\pi)^{d/2} \prod_i \ell_i \; e^{-|\ell \omega|^2 / 2}

    Parameters
    ----------
    length
        :math:`\ell`, one for all axes or one for each.
    variance
        :math:`\sigma^2`.

    Raises
    ------
    InputError
        If a number is not positive.

    Examples
    --------
    >>> c = SquaredExponential(length=(1.0, 2.0)).kernel(torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64))
    >>> [round(v, 4) for v in c.tolist()]
    [0.6065, 0.6065]
    """

    length: Length
    variance: float = 1.0

    def __post_init__(self) -> None:
        _check(self.length, self.variance)

    def kernel(self, offsets: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """C at offsets x - y."""
        return self.variance * torch.exp(-_scaled(offsets, self.length).square() / 2)

    def density(self, wavenumbers: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        r"""S at wavenumbers :math:`\omega`."""
        d = wavenumbers.shape[-1]
        lengths = _lengths(self.length, d).to(wavenumbers.device)
        factor: Tensor = self.variance * (2 * math.pi) ** (d / 2) * lengths.prod()
        return factor * torch.exp(-(wavenumbers * lengths).square().sum(-1) / 2)

    def reach(self, ndim: int) -> tuple[float, ...]:
        """The distance along each axis beyond which the kernel is negligible."""
        return tuple((math.sqrt(-2 * math.log(_NEGLIGIBLE)) * _lengths(self.length, ndim)).tolist())

    def frequencies(self, count: int, ndim: int, seed: int) -> Float[Tensor, "count d"]:
        """Normally distributed wavenumbers."""
        normals = np.random.default_rng(seed).standard_normal((count, ndim))
        return torch.from_numpy(normals) / _lengths(self.length, ndim)


def Exponential(length: Length, variance: float = 1.0) -> Matern:
    r"""The covariance :math:`\sigma^2 e^{-|h / \ell|}` of continuous, nowhere differentiable functions.

    Parameters
    ----------
    length
        :math:`\ell`, one for all axes or one for each.
    variance
        :math:`\sigma^2`.

    Returns
    -------
    Matern
        Of smoothness 1/2.

    Examples
    --------
    >>> Exponential(length=0.1)
    Matern(smoothness=0.5, length=0.1, variance=1.0)
    """
    return Matern(0.5, length, variance)


@dataclass(frozen=True)
class PowerLaw(Covariance):
    r"""The covariance operator :math:`c\,(-\Delta + \tau^2)^{-\alpha}` of the papers on Fourier neural operators.

    .. math:: S(\omega) = c\,(|\omega|^2 + \tau^2)^{-\alpha}

    In d dimensions it is the Matern covariance of smoothness :math:`\alpha - d/2` and length
    :math:`\sqrt{2\alpha - d} / \tau`, whose variance is :math:`c\,\Gamma(\alpha - d/2) / (\Gamma(\alpha)
    (4\pi)^{d/2} \tau^{2\alpha - d})`.

    Parameters
    ----------
    alpha, tau
        The exponent, above d/2 for the variance to be finite, and the inverse length.
    scale
        c.

    Raises
    ------
    InputError
        If a number is not positive; when used, if alpha is at most d/2.

    References
    ----------
    Z. Li et al., "Fourier neural operator for parametric partial differential equations", ICLR 2021: Burgers'
    equation has ``PowerLaw(2, 5, scale=625)``, Darcy flow ``PowerLaw(2, 3)`` with the Neumann condition, the
    Navier-Stokes equations ``PowerLaw(2.5, 7, scale=7**1.5)``.

    Examples
    --------
    >>> PowerLaw(2, 5, scale=625).density(torch.zeros(1, dtype=torch.float64))
    tensor(1., dtype=torch.float64)
    """

    alpha: float
    tau: float
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("alpha", "tau", "scale"):
            positive(name, getattr(self, name))

    def matern(self, ndim: int) -> Matern:
        """The same covariance in that many directions, by its smoothness, length and variance."""
        nu = self.alpha - ndim / 2
        if nu <= 0:
            raise InputError(f"alpha = {self.alpha} gives no finite variance in {ndim} directions, expected above d/2")
        log = gammaln(nu) - gammaln(self.alpha) - ndim / 2 * math.log(4 * math.pi) - 2 * nu * math.log(self.tau)
        return Matern(nu, math.sqrt(2 * nu) / self.tau, self.scale * math.exp(log))

    def kernel(self, offsets: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """C at offsets x - y."""
        return self.matern(offsets.shape[-1]).kernel(offsets)

    def density(self, wavenumbers: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        r"""S at wavenumbers :math:`\omega`."""
        density: Tensor = self.scale * (wavenumbers.square().sum(-1) + self.tau**2) ** -self.alpha
        return density

    def reach(self, ndim: int) -> tuple[float, ...]:
        """The distance along each axis beyond which the kernel is negligible."""
        return self.matern(ndim).reach(ndim)

    def frequencies(self, count: int, ndim: int, seed: int) -> Float[Tensor, "count d"]:
        """Wavenumbers drawn from the density."""
        return self.matern(ndim).frequencies(count, ndim, seed)


@dataclass(frozen=True)
class Spectral(Covariance):
    r"""A covariance given by its density alone; it needs the method `Series`.

    Parameters
    ----------
    function
        S: float64 wavenumbers of shape ``(*n, d)``, in radians per unit of the coordinates, to values >= 0 of shape
        ``(*n,)``; the same for :math:`\omega` and :math:`-\omega`.

    Examples
    --------
    >>> Spectral(lambda w: (1 + w.square().sum(-1)) ** -3.0).density(torch.ones(2, 1, dtype=torch.float64)).tolist()
    [0.125, 0.125]
    """

    function: Callable[[Tensor], Tensor]

    def kernel(self, offsets: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """Not known."""
        raise InputError("a Spectral covariance has no kernel in closed form: use method=Series(...), or Matern")

    def density(self, wavenumbers: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        r"""S at wavenumbers :math:`\omega`; InputError if the function gives anything but finite values >= 0."""
        values = self.function(wavenumbers)
        if tuple(values.shape) != tuple(wavenumbers.shape[:-1]):
            raise InputError(
                f"the density gave shape {tuple(values.shape)} for wavenumbers of shape {tuple(wavenumbers.shape)}, "
                f"expected {tuple(wavenumbers.shape[:-1])}"
            )
        if not bool((values >= 0).all() & values.isfinite().all()):
            raise InputError("the density gave values that are negative or not finite, expected finite values >= 0")
        return values

    def reach(self, ndim: int) -> None:
        """Not known."""
        return None

    def frequencies(self, count: int, ndim: int, seed: int) -> Float[Tensor, "count d"]:
        """Not known."""
        raise InputError("wavenumbers of a Spectral covariance cannot be drawn: use method=Series(...)")


def _check(length: Length, variance: float) -> None:
    for value in length if isinstance(length, tuple) else (length,):
        positive("length", value)
    positive("variance", variance)


def _lengths(length: Length, ndim: int) -> Tensor:
    given = length if isinstance(length, tuple) else (length,) * ndim
    if len(given) != ndim:
        raise InputError(f"length has {len(given)} entries for {ndim} directions, expected one or one for each")
    return torch.tensor(given, dtype=torch.float64)


def _scaled(offsets: Tensor, length: Length) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(offsets / _lengths(length, offsets.shape[-1]).to(offsets.device), dim=-1)
    return norm


def _matern(r: Tensor, nu: float) -> Tensor:
    """The correlation at the scaled distance r: closed forms, else the Bessel function by its logarithm."""
    z = math.sqrt(2 * nu) * r
    if nu == 0.5:
        return torch.exp(-z)
    if nu == 1.5:
        return (1 + z) * torch.exp(-z)
    if nu == 2.5:
        return (1 + z + z * z / 3) * torch.exp(-z)
    place = z.cpu().numpy()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log = (1 - nu) * math.log(2) - gammaln(nu) + nu * np.log(place) + np.log(kve(nu, place)) - place
        # next to zero the factors overflow or vanish; the correlation is 1 there to rounding
        values = np.where(np.isfinite(log) | (place > 1), np.exp(log), 1.0)
    return torch.from_numpy(values).to(r.device)
