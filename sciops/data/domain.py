"""Where functions live: a `Grid` is a product of axes; `sciops.data.axis` states what an `Axis` is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sciops.data.axis import Axis, Kind
from sciops.errors import DomainError, did_you_mean

__all__ = ["Axis", "Grid", "Kind"]


@dataclass(frozen=True)
class Grid:
    """A product of axes; the arrays it gives are indexed in the order of the axes (``indexing="ij"``).

    Parameters
    ----------
    axes
        The axes, at least one, with different names.

    Raises
    ------
    DomainError
        If there is no axis, or two have the same name.

    Examples
    --------
    >>> grid = Grid.unit(4, 3, kind=("periodic", "closed"))
    >>> grid.shape, grid.names, grid.spacing, grid.volume
    ((4, 3), ('x', 'y'), (0.25, 0.5), 1.0)
    """

    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        axes = tuple(self.axes)
        if not axes or not all(isinstance(axis, Axis) for axis in axes):
            raise DomainError(f"a grid is made of one Axis or more, got {self.axes!r}")
        repeated = next((axis.name for i, axis in enumerate(axes) if axis.name in [a.name for a in axes[:i]]), None)
        if repeated is not None:
            raise DomainError(f"two axes are named {repeated!r}; every axis of a grid has its own name")
        object.__setattr__(self, "axes", axes)

    @classmethod
    def unit(cls, *sizes: int, kind: Kind | Sequence[Kind] = "closed", names: Sequence[str] | None = None) -> Grid:
        """The unit interval, square or cube with the given sizes.

        Parameters
        ----------
        sizes
            Number of nodes of each axis.
        kind
            One kind for all axes, or one for each.
        names
            Names of the axes; ``None`` stands for the first of x, y, z.

        Raises
        ------
        DomainError
            If the numbers of sizes, kinds and names differ.

        Examples
        --------
        >>> Grid.unit(64, 64, kind="periodic").kinds
        ('periodic', 'periodic')
        """
        kinds = (kind,) * len(sizes) if isinstance(kind, str) else tuple(kind)
        labels = tuple("xyz"[: len(sizes)]) if names is None else tuple(names)
        if not len(sizes) == len(kinds) == len(labels):
            raise DomainError(
                f"{len(sizes)} sizes need as many kinds and names (names are needed above 3 axes), "
                f"got kind={kind!r}, names={names!r}"
            )
        return cls(tuple(Axis(n, s, kind=k) for n, s, k in zip(labels, sizes, kinds, strict=True)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of nodes of each axis."""
        return tuple(axis.size for axis in self.axes)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.axes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(axis.name for axis in self.axes)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds of the axes."""
        return tuple(axis.kind for axis in self.axes)

    @property
    def extents(self) -> tuple[float, ...]:
        """Lengths of the axes, each in its units."""
        return tuple(axis.extent for axis in self.axes)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance of neighbouring nodes along each axis."""
        return tuple(axis.spacing for axis in self.axes)

    @property
    def volume(self) -> float:
        """Product of the extents: the sum of the quadrature weights."""
        return math.prod(self.extents)

    def axis(self, name: str) -> Axis:
        """The axis of that name; DomainError with the near names if there is none.

        Examples
        --------
        >>> Grid.unit(8, 16).axis("y").size
        16
        """
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise DomainError(f"the grid has no axis {name!r}{did_you_mean(name, self.names)}")

    def coordinates(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> Float[Tensor, "ndim *shape"]:
        """The coordinates of every node, shape ``(ndim, *shape)``.

        Examples
        --------
        >>> Grid.unit(3, 2).coordinates()[0].tolist()
        [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]
        """
        nodes = [axis.coordinates(dtype, device) for axis in self.axes]
        return torch.stack(torch.meshgrid(*nodes, indexing="ij"))

    def weights(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> Float[Tensor, "*shape"]:
        """The quadrature weights of every node, shape ``(*shape)``: the outer product of those of the axes.

        Examples
        --------
        >>> float(Grid.unit(5, 7, kind="cell").weights().sum().round(decimals=12))
        1.0
        """
        factors = [axis.weights() for axis in self.axes]
        return reduce(lambda left, right: left[..., None] * right, factors).to(dtype=dtype, device=device)

    def resized(self, *sizes: int) -> Grid:
        """The same domain with other numbers of nodes, one for each axis.

        Examples
        --------
        >>> Grid.unit(8, 8).resized(16, 32).shape
        (16, 32)
        """
        if len(sizes) != self.ndim:
            raise DomainError(f"the grid has the {self.ndim} axes {', '.join(self.names)}; got the sizes {sizes}")
        return Grid(tuple(axis.resized(size) for axis, size in zip(self.axes, sizes, strict=True)))

    def matches(self, other: Grid, rtol: float = 1e-6) -> bool:
        """Whether the nodes are the same, axis by axis in order; see `Axis.matches`.

        Examples
        --------
        >>> Grid.unit(8, 8).matches(Grid.unit(8, 8, names=("lon", "lat")))
        True
        """
        pairs = zip(self.axes, other.axes, strict=False)
        return self.ndim == other.ndim and all(mine.matches(theirs, rtol) for mine, theirs in pairs)

    def to_dict(self) -> dict[str, Any]:
        """The axes as JSON-able values; `from_dict` is the inverse."""
        return {"axes": [axis.to_dict() for axis in self.axes]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Grid:
        """The grid that `to_dict` described.

        Examples
        --------
        >>> grid = Grid.unit(8, 8, kind="left")
        >>> Grid.from_dict(grid.to_dict()) == grid
        True
        """
        if set(fields) != {"axes"}:
            raise DomainError(f"the description of a grid has the one entry 'axes', got {sorted(fields)}")
        return cls(tuple(Axis.from_dict(axis) for axis in fields["axes"]))
