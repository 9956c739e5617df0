"""Where functions live: the protocol of every `Domain`, and the `Grid`, a product of axes.

`sciops.data.domains.axis` states what an `Axis` is; `PointCloud`, `Mesh` and `CurvilinearGrid` have modules of their
own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sciops.data.domains.axis import Axis, Kind
from sciops.errors import DomainError, did_you_mean

__all__ = ["Axis", "Domain", "Grid", "Kind", "Metric", "node_table"]

Metric = Literal["flat", "sphere"]


@runtime_checkable
class Domain(Protocol):
    """What a function can live on: places of its values, and weights that integrate over the domain.

    Arrays on it have the shape ``(..., *shape)``; `dims` names the dimensions of such an array, `names` the directions
    of space. A grid of n by m nodes has two of each; n scattered points in the plane have the one dimension ``point``
    and two directions.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an array of values on the domain."""

    @property
    def ndim(self) -> int:
        """Number of dimensions of such an array."""

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions of such an array."""

    @property
    def dimension(self) -> int:
        """Number of directions of space."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the directions of space."""

    @property
    def volume(self) -> float:
        """Length, area or volume: the sum of the weights."""

    def coordinates(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> Float[Tensor, "dimension *shape"]:
        """The coordinates of every node, direction first."""

    def weights(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> Float[Tensor, "*shape"]:
        """The quadrature weights of every node."""

    def matches(self, other: Any, rtol: float = 1e-6) -> bool:
        """Whether the other domain has the same nodes."""


def node_table(domain: Domain) -> Float[Tensor, "n dimension"]:
    """The nodes of a domain as rows of coordinates, float64, in the order of its flattened arrays.

    Examples
    --------
    >>> node_table(Grid.unit(2, 2)).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    return domain.coordinates().flatten(1).T.contiguous()


@dataclass(frozen=True)
class Grid:
    """A product of axes; the arrays it gives are indexed in the order of the axes (``indexing="ij"``).

    Parameters
    ----------
    axes
        The axes, at least one, with different names.
    metric
        ``"flat"``, or ``"sphere"``: one axis is the latitude and one the longitude, both in degrees, recognised by the
        units ``degrees_north`` and ``degrees_east`` or by the names lat, latitude, lon, longitude. The weights are
        the exact areas of the cells of the nodes on the unit sphere, ``(sin(north) - sin(south)) (east - west)``.

    Raises
    ------
    DomainError
        If there is no axis, two have the same name, or the metric does not fit them.

    Examples
    --------
    >>> grid = Grid.unit(4, 3, kind=("periodic", "closed"))
    >>> grid.shape, grid.names, grid.spacing, grid.volume
    ((4, 3), ('x', 'y'), (0.25, 0.5), 1.0)
    >>> lat, lon = Axis("lat", 19, -90, 90, "closed"), Axis("lon", 36, 0, 360, "periodic")
    >>> float(Grid((lat, lon), metric="sphere").weights().sum() / math.pi)
    4.0
    """

    axes: tuple[Axis, ...]
    metric: Metric = "flat"

    def __post_init__(self) -> None:
        axes = tuple(self.axes)
        if not axes or not all(isinstance(axis, Axis) for axis in axes):
            raise DomainError(f"a grid is made of one Axis or more, got {self.axes!r}")
        repeated = next((axis.name for i, axis in enumerate(axes) if axis.name in [a.name for a in axes[:i]]), None)
        if repeated is not None:
            raise DomainError(f"two axes are named {repeated!r}; every axis of a grid has its own name")
        object.__setattr__(self, "axes", axes)
        if self.metric not in get_args(Metric):
            raise DomainError(f"unknown metric {self.metric!r}{did_you_mean(str(self.metric), get_args(Metric))}")
        if self.metric == "sphere":
            _check_sphere(axes)

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
    def dimension(self) -> int:
        """Number of directions of space: that of the axes."""
        return len(self.axes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(axis.name for axis in self.axes)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions of an array: those of the axes."""
        return self.names

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
        """The sum of the quadrature weights: the product of the extents, on a sphere with the area of the patch."""
        if self.metric == "flat":
            return math.prod(self.extents)
        return float(math.prod(float(factor.sum()) for factor in self._factors()))

    @property
    def uniform(self) -> bool:
        """Whether no axis is stretched."""
        return all(axis.uniform for axis in self.axes)

    def require_uniform(self, what: str) -> Grid:
        """The grid itself, if no axis is stretched.

        Parameters
        ----------
        what
            What needs uniform axes: the first words of the message.

        Raises
        ------
        DomainError
            If an axis is stretched; the message says how to resample.

        Examples
        --------
        >>> Grid.unit(8).require_uniform("a Fourier operator").names
        ('x',)
        """
        for axis in self.axes:
            if not axis.uniform:
                raise DomainError(
                    f"{what} needs uniform axes, and axis {axis.name!r} is stretched ({axis.size} nodes in "
                    f"[{axis.lower:g}, {axis.upper:g}]); interpolate first, for example by ds.interp({axis.name}="
                    f"numpy.linspace({axis.nodes[0]:g}, {axis.nodes[-1]:g}, {axis.size}))"
                )
        return self

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
        return reduce(lambda left, right: left[..., None] * right, self._factors()).to(dtype=dtype, device=device)

    def _factors(self) -> list[Tensor]:
        """The weights of each axis; a sphere measures longitudes in radians and latitudes by their sine."""
        if self.metric == "flat":
            return [axis.weights() for axis in self.axes]
        return [
            torch.deg2rad(axis.edges()).sin().diff()
            if is_latitude(axis)
            else torch.deg2rad(axis.weights())
            if is_longitude(axis)
            else axis.weights()
            for axis in self.axes
        ]

    def resized(self, *sizes: int) -> Grid:
        """The same domain with other numbers of nodes, one for each axis.

        Examples
        --------
        >>> Grid.unit(8, 8).resized(16, 32).shape
        (16, 32)
        """
        if len(sizes) != self.ndim:
            raise DomainError(f"the grid has the {self.ndim} axes {', '.join(self.names)}; got the sizes {sizes}")
        return replace(self, axes=tuple(axis.resized(size) for axis, size in zip(self.axes, sizes, strict=True)))

    def matches(self, other: Any, rtol: float = 1e-6) -> bool:
        """Whether the other is a grid with the same nodes and metric, axis by axis in order; see `Axis.matches`.

        Examples
        --------
        >>> Grid.unit(8, 8).matches(Grid.unit(8, 8, names=("lon", "lat")))
        True
        """
        if not isinstance(other, Grid) or self.metric != other.metric:
            return False
        pairs = zip(self.axes, other.axes, strict=False)
        return self.ndim == other.ndim and all(mine.matches(theirs, rtol) for mine, theirs in pairs)

    def to_dict(self) -> dict[str, Any]:
        """The axes as JSON-able values, and the metric unless it is flat; `from_dict` is the inverse."""
        metric = {} if self.metric == "flat" else {"metric": self.metric}
        return {"axes": [axis.to_dict() for axis in self.axes], **metric}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Grid:
        """The grid that `to_dict` described.

        Examples
        --------
        >>> grid = Grid.unit(8, 8, kind="left")
        >>> Grid.from_dict(grid.to_dict()) == grid
        True
        """
        if "axes" not in fields or not set(fields) <= {"axes", "metric"}:
            raise DomainError(
                f"the description of a grid has the one entry 'axes', and 'metric' on a sphere; got {sorted(fields)}"
            )
        return cls(tuple(Axis.from_dict(axis) for axis in fields["axes"]), fields.get("metric", "flat"))


def is_latitude(axis: Axis) -> bool:
    """Whether an axis is a latitude, by its units or its name."""
    return axis.units in _NORTH or axis.name.lower() in ("lat", "latitude")


def is_longitude(axis: Axis) -> bool:
    """Whether an axis is a longitude, by its units or its name."""
    return axis.units in _EAST or axis.name.lower() in ("lon", "long", "longitude")


_NORTH = {"degrees_north", "degree_north", "degree_N", "degrees_N", "degreeN", "degreesN"}
_EAST = {"degrees_east", "degree_east", "degree_E", "degrees_E", "degreeE", "degreesE"}


def _check_sphere(axes: tuple[Axis, ...]) -> None:
    for what, chosen, units in (
        ("latitude", is_latitude, "degrees_north"),
        ("longitude", is_longitude, "degrees_east"),
    ):
        found = [axis for axis in axes if chosen(axis)]
        if len(found) != 1:
            raise DomainError(
                f"a sphere needs one {what} among the axes, a name like {what!r} or the units {units!r}; "
                f"got {', '.join(f'{axis.name} [{axis.units}]' for axis in axes)}"
            )
        axis = found[0]
        if what == "latitude" and (axis.lower < -90 or axis.upper > 90 or axis.kind == "periodic"):
            raise DomainError(
                f"axis {axis.name!r}: latitudes lie in [-90, 90] and are not periodic, got [{axis.lower:g}, "
                f"{axis.upper:g}] {axis.kind}; give them in degrees"
            )
        if what == "longitude" and axis.extent > 360 * (1 + 1e-9):
            raise DomainError(f"axis {axis.name!r}: longitudes span 360 degrees at most, got {axis.extent:g}")
