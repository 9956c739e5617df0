"""What a random function is: samples from a generator or a seed on any domain; the geometry that all kinds share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sciops.data.domains.domain import Domain, Grid, is_latitude, node_table
from sciops.data.domains.field import Field
from sciops.errors import InputError

_BLOCK = 1 << 24  # numbers held at once


class RandomFunction(ABC):
    """A distribution of functions on a domain.

    Sample ``i`` is determined by the seed and ``i``: asking for more samples does not change the first ones (where the
    generator is one of the CPU). All is computed in float64 and rounded to the dtype that is asked for. Nothing here is
    differentiable: samples carry no gradient to the options.

    Attributes
    ----------
    domain
        The grid, point cloud or mesh that the functions are sampled on.
    """

    domain: Domain

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Float[Tensor, " n *space"]:
        """`n` samples in float64, on the device of the generator; `sample` is the public way."""

    def sample(self, n: int, generator: torch.Generator | int, *, dtype: torch.dtype = torch.float64) -> Field:
        """Draw functions.

        Parameters
        ----------
        n
            How many, at least 1.
        generator
            The source of randomness, which is advanced, or a seed >= 0 for a new one. The global state is not touched.
        dtype
            A real floating point dtype of the values.

        Returns
        -------
        Field
            Values of shape ``(n, 1, *domain.shape)`` on the device of the generator.

        Raises
        ------
        InputError
            If n or the seed is out of range, or the dtype is not real floating point.

        Examples
        --------
        >>> from sciops.data import Grid
        >>> from sciops.data.random import GaussianRandomField, Matern
        >>> field = GaussianRandomField(Grid.unit(64, kind="periodic"), Matern(1.5, length=0.2)).sample(3, 0)
        >>> field.values.shape
        torch.Size([3, 1, 64])
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise InputError(f"n = {n!r} samples asked for, expected an integer of at least 1")
        if not dtype.is_floating_point:
            raise InputError(f"dtype {dtype} asked for, expected real floating point")
        return Field(self.draw(n, generator_of(generator)).to(dtype)[:, None], self.domain)


def generator_of(given: torch.Generator | int) -> torch.Generator:
    """The generator itself, or a new one with that seed."""
    if isinstance(given, torch.Generator):
        return given
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < 2**63:
        raise InputError(f"generator = {given!r}, expected a torch.Generator or a seed, an integer >= 0")
    return torch.Generator().manual_seed(given)


def normal(n: int, size: int, generator: torch.Generator) -> Float[Tensor, "n size"]:
    """Standard normal numbers whose row i does not depend on n: torch draws them in blocks of 16."""
    padded = -(-size // 16) * 16
    return torch.randn(n, padded, generator=generator, dtype=torch.float64, device=generator.device)[:, :size]


def uniform(n: int, *shape: int, generator: torch.Generator) -> Float[Tensor, " n *shape"]:
    """Numbers in [0, 1) whose row i does not depend on n."""
    return torch.rand(n, *shape, generator=generator, dtype=torch.float64, device=generator.device)


def block_length(numbers: int) -> int:
    """How many samples of so many numbers each are worked on at once."""
    return max(1, _BLOCK // max(1, numbers))


def nodes_of(domain: Domain) -> Float[Tensor, "nodes d"]:
    """The places of the nodes in the order of a flattened field; those of a sphere are in three dimensions."""
    places = node_table(domain).detach().to(torch.float64).cpu()
    if not (isinstance(domain, Grid) and domain.metric == "sphere"):
        return places
    latitude = next(i for i, axis in enumerate(domain.axes) if is_latitude(axis))
    phi, theta = torch.deg2rad(places[:, latitude]), torch.deg2rad(places[:, 1 - latitude])
    return torch.stack([phi.cos() * theta.cos(), phi.cos() * theta.sin(), phi.sin()], -1)


@dataclass(frozen=True, eq=False)
class Box:
    """The box around a domain, and along which of its directions it is periodic."""

    lower: Float[Tensor, " d"]
    extent: Float[Tensor, " d"]
    periodic: tuple[bool, ...]

    @property
    def ndim(self) -> int:
        """Number of directions."""
        return len(self.periodic)

    @property
    def volume(self) -> float:
        """Product of the extents."""
        return float(math.prod(self.extent.tolist()))

    def nearest(self, offset: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The offset to the nearest of the periodic images."""
        period = torch.where(torch.tensor(self.periodic), self.extent, torch.inf).to(offset.device)
        return offset - torch.where(period.isfinite(), period * (offset / period).round(), 0.0)


def box_of(domain: Domain) -> Box:
    """The box of a domain: that of the axes, or the one around the points."""
    if isinstance(domain, Grid) and domain.metric == "flat":
        lower = torch.tensor([axis.lower for axis in domain.axes], dtype=torch.float64)
        extent = torch.tensor(domain.extents, dtype=torch.float64)
        return Box(lower, extent, tuple(axis.kind == "periodic" for axis in domain.axes))
    places = nodes_of(domain)
    lower = places.amin(0)
    return Box(lower, places.amax(0) - lower, (False,) * places.shape[1])


def positive(what: str, value: float) -> float:
    """The value, if it is a positive finite number."""
    if not 0 < value < math.inf:
        raise InputError(f"{what} = {value}, expected a positive number")
    return float(value)
