"""Gaussian random fields on every domain."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from sciops.data.domains.domain import Domain, Grid
from sciops.data.random.base import RandomFunction, block_length, nodes_of, normal
from sciops.data.random.covariance import Covariance
from sciops.data.random.methods import Cholesky, Circulant, FourierFeatures, Method
from sciops.data.random.series import Series
from sciops.errors import InputError

_LARGEST = 1 << 26


class GaussianRandomField(RandomFunction):
    r"""Gaussian functions of a given mean and covariance.

    What samples them, if no method is given, and whether the same seed gives the same function at every resolution:

    ============================================  ====================  =====================================  =======
    domain                                        method                covariance                             same
    ============================================  ====================  =====================================  =======
    grid, all axes periodic                       `Series()`            of the torus, up to its modes          yes
    uniform grid, some axis not periodic          `Circulant()`         exact                                  no
    any uniform grid, a `Spectral` covariance     `Series()`            of the series, with Neumann ends       yes
    up to 4000 points, vertices, stretched nodes  `Cholesky()`          exact                                  no
    more of them                                  `FourierFeatures()`   off by 1 / 45 of the variance          yes
    ============================================  ====================  =====================================  =======

    On periodic axes the covariance is the kernel summed over its periodic images, whose eigenvalues are the density:
    where the length is near the period or above, the variance is larger than that of the kernel.

    Parameters
    ----------
    domain
        A `Grid`, point cloud or mesh.
    covariance
        `Matern`, `SquaredExponential`, `Exponential`, `PowerLaw` or `Spectral`; lengths are in the units of the
        coordinates.
    mean
        A number, a tensor of the domain's shape, or a function of the coordinates ``(nodes, d)`` to ``(nodes,)``.
    method
        `Series`, `Circulant`, `Cholesky` or `FourierFeatures`; None chooses as the table says.

    Attributes
    ----------
    error
        How far the covariance of the samples may be from `covariance()` in any entry, in units of the variance; 0
        stands for rounding. For `FourierFeatures` it is a standard deviation.
    noise_size
        How many standard normal numbers make one sample.

    Raises
    ------
    InputError
        If the method does not serve the domain or the covariance; the message names one that does.

    Examples
    --------
    >>> from sciops.data.random import Matern
    >>> field = GaussianRandomField(Grid.unit(32, 32, kind="cell"), Matern(2.5, length=0.1))
    >>> field.sample(4, generator=0).values.shape, field.error
    (torch.Size([4, 1, 32, 32]), 0.0)
    """

    def __init__(
        self,
        domain: Domain,
        covariance: Covariance,
        mean: float | Tensor | Callable[[Tensor], Tensor] = 0.0,
        *,
        method: Method | None = None,
    ) -> None:
        if not isinstance(covariance, Covariance):
            raise InputError(f"covariance is {covariance!r}, expected a Covariance such as Matern(1.5, length=0.1)")
        self.domain = domain
        self.kernel = covariance
        self.method = _default(domain, covariance) if method is None else method
        self._map = self.method.prepare(domain, covariance)
        given = mean(nodes_of(domain)).reshape(tuple(domain.shape)) if callable(mean) else mean
        self.mean = torch.as_tensor(given, dtype=torch.float64)
        if self.mean.ndim and tuple(self.mean.shape) != tuple(domain.shape):
            raise InputError(f"the mean has shape {tuple(self.mean.shape)}, expected {tuple(domain.shape)} or a number")

    @property
    def error(self) -> float:
        """How far the covariance of the samples may be from `covariance()`, in units of the variance."""
        return self._map.error

    @property
    def noise_size(self) -> int:
        """How many standard normal numbers make one sample."""
        return self._map.size

    def draw(self, n: int, generator: torch.Generator) -> Float[Tensor, " n *space"]:
        """`n` samples in float64; `sample` is the public way."""
        block = block_length(self.noise_size)
        parts = [
            self.from_noise(normal(min(block, n - first), self.noise_size, generator)) for first in range(0, n, block)
        ]
        return torch.cat(parts)

    def from_noise(self, noise: Float[Tensor, "n size"]) -> Float[Tensor, " n *space"]:
        """The samples that given standard normal numbers make, an affine map of them.

        Parameters
        ----------
        noise
            Shape ``(n, noise_size)``.

        Returns
        -------
        Tensor
            Shape ``(n, *domain.shape)``, float64.

        Raises
        ------
        InputError
            If the noise does not have `noise_size` columns.

        Examples
        --------
        >>> from sciops.data.random import Matern
        >>> field = GaussianRandomField(Grid.unit(5), Matern(0.5, 1.0), mean=2.0)
        >>> field.from_noise(torch.zeros(1, field.noise_size)).tolist()
        [[2.0, 2.0, 2.0, 2.0, 2.0]]
        """
        if noise.ndim != 2 or noise.shape[1] != self.noise_size:
            raise InputError(f"the noise has shape {tuple(noise.shape)}, expected (n, {self.noise_size})")
        return self._map.apply(noise.to(torch.float64)) + self.mean.to(noise.device)

    def covariance(self, nodes: Tensor | None = None) -> Float[Tensor, "nodes chosen"]:
        """The exact covariance of the values at all nodes with those at some.

        Parameters
        ----------
        nodes
            Indices into the flattened domain; None stands for all.

        Returns
        -------
        Tensor
            Shape ``(nodes of the domain, chosen)``, float64.

        Raises
        ------
        InputError
            If that would be more than 512 MB.

        Examples
        --------
        >>> from sciops.data.random import Matern
        >>> field = GaussianRandomField(Grid.unit(3), Matern(0.5, 1.0))
        >>> [round(v, 4) for v in field.covariance(torch.tensor([0])).flatten().tolist()]
        [1.0, 0.6065, 0.3679]
        """
        places = nodes_of(self.domain)
        chosen = places if nodes is None else places[nodes]
        _check_size(len(places), len(chosen))
        return torch.cat([self._map.covariance(rows[:, None], chosen[None]) for rows in torch.split(places, 256)])

    def variance(self) -> Float[Tensor, "*space"]:
        """The exact variance at each node; it varies near the ends under Neumann and Dirichlet conditions.

        Examples
        --------
        >>> from sciops.data.random import Matern
        >>> GaussianRandomField(Grid.unit(3), Matern(1.5, 1.0, variance=4.0)).variance().tolist()
        [4.0, 4.0, 4.0]
        """
        places = nodes_of(self.domain)
        parts = [self._map.covariance(rows, rows) for rows in torch.split(places, 4096)]
        return torch.cat(parts).reshape(tuple(self.domain.shape))

    def sampled_covariance(self) -> Float[Tensor, "nodes nodes"]:
        """The covariance A A' of what is sampled, from the map A itself: what `error` is about.

        Raises
        ------
        InputError
            If the map A or the covariance would take more than 512 MB.

        Examples
        --------
        >>> from sciops.data.random import Matern
        >>> field = GaussianRandomField(Grid.unit(9), Matern(1.5, length=0.3))
        >>> bool((field.sampled_covariance() - field.covariance()).abs().max() < 1e-10)
        True
        """
        count = self.mean.numel() if self.mean.ndim else int(torch.tensor(tuple(self.domain.shape)).prod())
        _check_size(count, max(count, self.noise_size))
        covariance = torch.zeros(count, count, dtype=torch.float64)
        block = block_length(4 * self.noise_size)
        for first in range(0, self.noise_size, block):
            noise = torch.zeros(min(block, self.noise_size - first), self.noise_size, dtype=torch.float64)
            noise[torch.arange(len(noise)), torch.arange(first, first + len(noise))] = 1.0
            rows = self._map.apply(noise).reshape(len(noise), count)
            covariance += rows.T @ rows
        return covariance


def _default(domain: Domain, covariance: Covariance) -> Method:
    if isinstance(domain, Grid) and domain.metric == "flat" and "stretched" not in domain.kinds:
        periodic = all(kind == "periodic" for kind in domain.kinds)
        return Series() if periodic or covariance.reach(domain.ndim) is None else Circulant()
    limit = Cholesky().limit
    nodes = len(nodes_of(domain))
    return Cholesky() if nodes <= limit else FourierFeatures()


def _check_size(rows: int, columns: int) -> None:
    if rows * columns > _LARGEST:
        raise InputError(f"a matrix of {rows} x {columns} numbers takes more than 512 MB: choose fewer nodes")
