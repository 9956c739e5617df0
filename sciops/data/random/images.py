"""The exact covariance on a domain: the kernel summed over the images that the conditions at its ends make."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciops.data.random.base import Box
from sciops.data.random.covariance import Covariance
from sciops.errors import DomainError

Condition = Literal["periodic", "neumann", "dirichlet", "none"]
_MOST_IMAGES = 20_000
_BLOCK = 1 << 18
CovarianceFunction = Callable[[Tensor, Tensor], Tensor]


def shifts(periods: Sequence[float | None], reach: Sequence[float]) -> Float[Tensor, "images d"] | None:
    """The multiples of the periods that lie within reach of the box, or None if they are too many."""
    counts = [0 if period is None else math.ceil(r / period) + 1 for period, r in zip(periods, reach, strict=True)]
    if math.prod(2 * count + 1 for count in counts) > _MOST_IMAGES:
        return None
    axes = [
        torch.arange(-count, count + 1, dtype=torch.float64) * (period or 0.0)
        for count, period in zip(counts, periods, strict=True)
    ]
    return torch.cartesian_prod(*axes).reshape(-1, len(axes))


def summed(
    covariance: Covariance, offset: Float[Tensor, "*n d"], images: Float[Tensor, "images d"]
) -> Float[Tensor, "*n"]:
    """The kernel at offsets, summed over shifts of them; as many at once as memory allows."""
    total = torch.zeros(offset.shape[:-1], dtype=torch.float64)
    for some in torch.split(images, max(1, _BLOCK // max(1, offset.numel()))):
        total += covariance.kernel(offset + some.reshape(-1, *[1] * (offset.ndim - 1), offset.shape[-1])).sum(0)
    return total


@dataclass(frozen=True, eq=False)
class ImageSum:
    r"""Covariance of places x and y in a box with a condition along each direction.

    Periodic: :math:`\sum_m C(x - y + m L)`. Neumann and Dirichlet:
    :math:`\sum_m C(x - y + 2 m L) \pm C(x + y + 2 m L)`, x and y from the lower end.
    The sums end where the kernel is below 1e-18 of the variance.

    Parameters
    ----------
    covariance
        With a kernel.
    box
        The box.
    conditions
        One for each direction; "none" has no images.
    """

    covariance: Covariance
    box: Box
    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        if self.images() is None:
            raise DomainError(
                f"the covariance reaches so far beyond the box that it has more than {_MOST_IMAGES} periodic images: "
                f"use method=Series(...), or a smaller length"
            )

    def images(self) -> Float[Tensor, "images d"] | None:
        """The shifts, or None if they are too many."""
        reach = self.covariance.reach(self.box.ndim)
        if reach is None:
            self.covariance.kernel(torch.zeros(1, self.box.ndim))
            return None
        periods = [
            {"periodic": extent, "none": None}.get(condition, 2 * extent)
            for condition, extent in zip(self.conditions, self.box.extent.tolist(), strict=True)
        ]
        return shifts(periods, reach)

    def __call__(self, x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """The covariance of pairs of places, which broadcast."""
        images = self.images()
        assert images is not None
        x, y = x - self.box.lower, y - self.box.lower
        mirrors = [
            {"neumann": (1.0, -1.0), "dirichlet": (1.0, -1.0)}.get(condition, (1.0,)) for condition in self.conditions
        ]
        odd = [condition == "dirichlet" for condition in self.conditions]
        total = torch.zeros(np.broadcast_shapes(x.shape, y.shape)[:-1], dtype=torch.float64)
        for mirror in itertools.product(*mirrors):
            sign = math.prod(-1.0 for m, is_odd in zip(mirror, odd, strict=True) if is_odd and m < 0)
            offset = x - y * torch.tensor(mirror, dtype=torch.float64)
            total += sign * summed(self.covariance, offset, images)
        return total
