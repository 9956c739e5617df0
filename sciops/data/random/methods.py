"""How Gaussian numbers become a Gaussian field: a method prepares a linear map for a domain and a covariance."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from sciops.data.domains.domain import Domain, Grid
from sciops.data.random.base import box_of, nodes_of
from sciops.data.random.covariance import Covariance
from sciops.data.random.images import CovarianceFunction, ImageSum, shifts, summed
from sciops.errors import DomainError, InputError

_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class LinearMap:
    """The map A from standard normal numbers to a field; the covariance of what it makes is A A'.

    Attributes
    ----------
    size
        How many numbers a sample takes.
    apply
        ``(n, size)`` to ``(n, *domain.shape)``, float64.
    covariance
        The covariance that is aimed at, of pairs of places.
    error
        How far A A' may be from it in any entry, in units of the variance; 0 stands for rounding.
    """

    size: int
    apply: Callable[[Tensor], Tensor]
    covariance: CovarianceFunction
    error: float


class Method(ABC):
    """A way to sample a Gaussian field."""

    @abstractmethod
    def prepare(self, domain: Domain, covariance: Covariance) -> LinearMap:
        """The map for a domain and a covariance; DomainError if the method does not serve the domain."""


@dataclass(frozen=True)
class Circulant(Method):
    r"""Exact covariance on a uniform grid: embedding into a circulant matrix, which the FFT diagonalises.

    Axes that are not periodic are continued to at least twice their length, and further by halves, until the circulant
    is non-negative definite. Periodic axes need no continuation: they have the kernel summed over its periodic images.
    If `limit` ends the search, the negative eigenvalues are set to zero and the field's `error` says by how much this
    changes the covariance. The same seed does not give the same function on another grid.

    Parameters
    ----------
    limit
        The largest number of nodes of the embedding; it takes about 40 bytes for each.

    References
    ----------
    C. R. Dietrich, G. N. Newsam, "Fast and exact simulation of stationary Gaussian processes through circulant
    embedding of the covariance matrix", SIAM Journal on Scientific Computing 18, 1997.

    Examples
    --------
    >>> from sciops.data import Grid
    >>> from sciops.data.random import Exponential, GaussianRandomField
    >>> GaussianRandomField(Grid.unit(33, 33), Exponential(0.3), method=Circulant()).error
    0.0
    """

    limit: int = 1 << 23

    def prepare(self, domain: Domain, covariance: Covariance) -> LinearMap:
        """The map for a uniform grid."""
        grid = uniform_grid(domain, "Circulant")
        periods = [axis.extent if axis.kind == "periodic" else None for axis in grid.axes]
        target = ImageSum(covariance, box_of(grid), tuple("none" if p is None else "periodic" for p in periods))
        reach = covariance.reach(grid.ndim)
        assert reach is not None
        images = shifts(periods, reach)
        assert images is not None
        sizes = [
            axis.size if period else _even(2 * (axis.size - 1)) for axis, period in zip(grid.axes, periods, strict=True)
        ]
        least = math.prod(sizes)
        if least > self.limit:
            raise DomainError(
                f"the embedding of the grid has {least} nodes, more than limit = {self.limit}: raise the limit, or "
                f"use method=FourierFeatures() or Series()"
            )
        while True:
            eigenvalues, negative = _circulant(covariance, grid, sizes, periods, images)
            if negative <= _ROUNDING:
                break
            grown = [
                _even(3 * size // 2) if not period and axis.size > 1 and size * axis.spacing < 2 * r else size
                for size, axis, period, r in zip(sizes, grid.axes, periods, reach, strict=True)
            ]
            if grown == sizes or math.prod(grown) > self.limit:
                break
            sizes = grown
        roots, inner = eigenvalues.clamp(min=0).sqrt(), tuple(slice(0, axis.size) for axis in grid.axes)
        dims = tuple(range(1, grid.ndim + 1))

        def apply(noise: Tensor) -> Tensor:
            spectrum = torch.fft.rfftn(noise.reshape(-1, *sizes), dim=dims) * roots.to(noise.device)
            values: Tensor = torch.fft.irfftn(spectrum, s=sizes, dim=dims)
            return values[(slice(None), *inner)]

        return LinearMap(math.prod(sizes), apply, target, negative if negative > _ROUNDING else 0.0)


def _circulant(
    covariance: Covariance, grid: Grid, sizes: list[int], periods: list[float | None], images: Tensor
) -> tuple[Tensor, float]:
    """Half of the eigenvalues of the embedding, and the negative ones' share of the variance."""
    lags = []
    for axis, size, period in zip(grid.axes, sizes, periods, strict=True):
        index = torch.arange(size, dtype=torch.float64)
        lags.append((index if period else torch.minimum(index, size - index)) * axis.spacing)
    offsets = torch.stack(torch.meshgrid(*lags, indexing="ij"), -1)
    row = summed(covariance, offsets, images)
    every: Tensor = torch.fft.fftn(row).real
    negative = float(-every.clamp(max=0).sum()) / row.numel() / float(row.flatten()[0])
    return every[..., : sizes[-1] // 2 + 1].contiguous(), negative


def _even(size: int) -> int:
    """An even length of at least that many nodes that the FFT likes; 1 for a single node."""
    return 2 * next_fast_len(-(-size // 2), real=True) if size > 0 else 1


@dataclass(frozen=True)
class Cholesky(Method):
    """Exact covariance at any nodes, by a factor of its matrix; the cost is the cube of their number.

    If the matrix is singular to rounding, as those of smooth kernels at close nodes are, its eigenvectors are taken
    instead. On the sphere the kernel takes distances through the ball, for a sphere of radius 1. The same seed does not
    give the same function at other nodes.

    Parameters
    ----------
    limit
        The largest number of nodes.

    Examples
    --------
    >>> from sciops.data import Grid
    >>> from sciops.data.random import GaussianRandomField, Matern
    >>> GaussianRandomField(Grid.unit(9, 9), Matern(1.5, 0.3), method=Cholesky()).error
    0.0
    """

    limit: int = 4000

    def prepare(self, domain: Domain, covariance: Covariance) -> LinearMap:
        """The map for a domain of any kind."""
        places = nodes_of(domain)
        if len(places) > self.limit:
            raise DomainError(
                f"{len(places)} nodes are more than Cholesky's limit = {self.limit}: use method=FourierFeatures(), "
                f"on a uniform grid Circulant(), or raise the limit"
            )
        box = box_of(domain)
        target = ImageSum(covariance, box, tuple("periodic" if p else "none" for p in box.periodic))
        matrix = torch.cat([target(rows[:, None], places[None]) for rows in torch.split(places, 256)])
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if bool(failed):
            values, vectors = torch.linalg.eigh(matrix)
            factor = vectors * values.clamp(min=0).sqrt()
        shape = tuple(domain.shape)

        def apply(noise: Tensor) -> Tensor:
            values: Tensor = noise @ factor.to(noise.device).T
            return values.reshape(-1, *shape)

        return LinearMap(len(places), apply, target, 0.0)


@dataclass(frozen=True)
class FourierFeatures(Method):
    r"""Approximate covariance at any number of nodes, from waves of random frequencies.

    .. math:: u(x) = D^{-1/2} \sigma \sum_{j \le D} a_j \cos \omega_j \cdot x + b_j \sin \omega_j \cdot x

    with :math:`\omega_j` drawn from the density, once and for all from `seed`, and a, b standard normal for each
    sample. The variance is exact; the covariance of two places has an error of mean zero over `seed`, whose standard
    deviation is at most what the field's `error` states, :math:`\sigma^2 / \sqrt{D}`. The same seed gives the same
    function of space at every set of nodes. The cost is nodes times features for each sample.

    Parameters
    ----------
    features
        D.
    seed
        Chooses the frequencies.

    References
    ----------
    A. Rahimi, B. Recht, "Random features for large-scale kernel machines", NIPS 2007.

    Examples
    --------
    >>> from sciops.data import Grid
    >>> from sciops.data.random import GaussianRandomField, Matern
    >>> GaussianRandomField(Grid.unit(9), Matern(1.5, 0.3), method=FourierFeatures(features=10_000)).error
    0.01
    """

    features: int = 2048
    seed: int = 0

    def prepare(self, domain: Domain, covariance: Covariance) -> LinearMap:
        """The map for a domain without periodic axes."""
        if self.features < 1 or self.seed < 0:
            raise InputError(f"features = {self.features}, seed = {self.seed}: expected at least 1 and at least 0")
        box, places = box_of(domain), nodes_of(domain)
        if any(box.periodic):
            raise DomainError("FourierFeatures knows no periodic axes: use method=Series() or Circulant()")
        ndim = places.shape[1]
        omega = covariance.frequencies(self.features, ndim, self.seed)
        deviation = math.sqrt(float(covariance.kernel(torch.zeros(1, ndim, dtype=torch.float64))))
        target = ImageSum(covariance, box, tuple("none" for _ in range(ndim)))
        shape, count = tuple(domain.shape), self.features

        def apply(noise: Tensor) -> Tensor:
            a, b = torch.split(noise, count, 1)
            parts = []
            for part in torch.split(places.to(noise.device), max(1, (1 << 23) // count)):
                phase = part @ omega.to(noise.device).T
                parts.append(a @ phase.cos().T + b @ phase.sin().T)
            return (torch.cat(parts, 1) * (deviation / math.sqrt(count))).reshape(-1, *shape)

        return LinearMap(2 * count, apply, target, 1 / math.sqrt(count))


def uniform_grid(domain: Domain, method: str) -> Grid:
    """The domain, if it is a flat grid of uniform axes; else DomainError."""
    if not isinstance(domain, Grid) or domain.metric != "flat" or "stretched" in domain.kinds:
        found = f"one of kinds {domain.kinds}" if isinstance(domain, Grid) else type(domain).__name__
        raise DomainError(
            f"{method} needs a flat grid of uniform axes, got {found}: use method=Cholesky() or FourierFeatures()"
        )
    return domain
