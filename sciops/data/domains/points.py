"""`PointCloud`: scattered points with quadrature weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import ConvexHull, Delaunay, QhullError, Voronoi
from torch import Tensor

from sciops.data.domains.elements import ELEMENTS, Array, Index, measures
from sciops.errors import DomainError, did_you_mean

Rule = Literal["voronoi", "delaunay", "equal"]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class PointCloud:
    """Scattered points; values on them have the one dimension ``point``.

    Parameters
    ----------
    points
        Shape ``(n, d)``, one row per point; taken to float64.
    weights
        Quadrature weights, shape ``(n,)``, none negative; or the rule that gives them when they are first asked for:

        ``"voronoi"`` (the default of one and two directions)
            the length or area of the points of the convex hull that are nearest to this one;
        ``"delaunay"`` (the default of three)
            the integral of the hat function of the point on the Delaunay triangulation: exact for linear functions, so
            of second order in the distance of the points;
        ``"equal"``
            the volume of the convex hull divided by n: the mean over random points, of order 1/2 in n.
    names
        Names of the directions; None stands for the first of x, y, z.
    units
        Units of the coordinates, one for all or one per direction.
    tags
        Parts of the points by name, bool of shape ``(n,)``.

    Attributes
    ----------
    points : Tensor
    names, units : tuple of str
    tags : dict of str to Tensor

    Raises
    ------
    DomainError
        If shapes do not fit, or a coordinate or weight is not finite.

    Examples
    --------
    >>> cloud = PointCloud(torch.tensor([[0.0], [0.25], [1.0]]))
    >>> cloud.weights().tolist(), cloud.volume
    ([0.125, 0.5, 0.375], 1.0)
    """

    points: Float[Tensor, "n d"]
    names: tuple[str, ...]
    units: tuple[str, ...]
    tags: Mapping[str, Bool[Tensor, " n"]]
    _given: Float[Tensor, " n"] | None
    _rule: Rule

    def __init__(
        self,
        points: Tensor | ArrayLike,
        weights: Tensor | ArrayLike | Rule | None = None,
        *,
        names: Sequence[str] | None = None,
        units: str | Sequence[str] = "",
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        table, directions, measured = checked_points(points, names, units, "a point cloud")
        rule: Rule = "delaunay" if table.shape[1] > 2 else "voronoi"
        given: Tensor | None = None
        if isinstance(weights, str):
            if weights not in get_args(Rule):
                raise DomainError(f"unknown rule {weights!r} for weights{did_you_mean(weights, get_args(Rule))}")
            rule = cast("Rule", weights)
        elif weights is not None:
            given = torch.as_tensor(weights, dtype=torch.float64)
            if given.shape != table.shape[:1] or not bool((given.isfinite() & (given >= 0)).all()):
                raise DomainError(
                    f"the weights of a point cloud are {len(table)} finite numbers, none negative, one for each point; "
                    f"got shape {tuple(given.shape)}"
                )
        values = {"points": table, "names": directions, "units": measured, "_given": given, "_rule": rule}
        for name, value in {**values, "tags": checked_tags(tags, (len(table),))}.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"PointCloud({len(self.points)} points, {', '.join(self.names)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PointCloud) and self.names == other.names and self.matches(other, rtol=0.0)

    def __hash__(self) -> int:
        return hash((type(self).__name__, tuple(self.points.shape), self.names, float(self.points.sum())))

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n,)``, the shape of an array of values."""
        return (len(self.points),)

    @property
    def ndim(self) -> int:
        """1, the number of dimensions of an array of values."""
        return 1

    @property
    def dims(self) -> tuple[str, ...]:
        """``("point",)``, the dimension of an array of values."""
        return ("point",)

    @property
    def dimension(self) -> int:
        """Number of directions of space."""
        return int(self.points.shape[1])

    @property
    def volume(self) -> float:
        """The sum of the weights."""
        return float(self._weights.sum())

    def coordinates(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> Float[Tensor, "d n"]:
        """The coordinates, direction first: shape ``(d, n)``."""
        return self.points.T.to(dtype=dtype, device=device)

    def weights(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> Float[Tensor, " n"]:
        """The quadrature weights, shape ``(n,)``, those given or by the rule.

        Raises
        ------
        DomainError
            If they must be computed and the points do not span the space, or two are the same.
        """
        return self._weights.to(dtype=dtype, device=device)

    @property
    def has_weights(self) -> bool:
        """Whether weights were given, and not a rule."""
        return self._given is not None

    @cached_property
    def _weights(self) -> Tensor:
        if self._given is not None:
            return self._given
        return torch.from_numpy(_RULES[self._rule](self.points.numpy()))

    @cached_property
    def triangulation(self) -> Delaunay:
        """The Delaunay triangulation of points in two directions or more.

        Raises
        ------
        DomainError
            If the points do not span the space.
        """
        return delaunay(self.points.numpy())

    def matches(self, other: Any, rtol: float = 1e-6) -> bool:
        """Whether the other is a point cloud with the same points, to `rtol` of the largest extent.

        Examples
        --------
        >>> PointCloud([[0.0], [1.0]]).matches(PointCloud([[0.0], [1.0 + 1e-9]]))
        True
        """
        return isinstance(other, PointCloud) and same_points(self.points, other.points, rtol)

    def to_dict(self) -> dict[str, Any]:
        """Points, names, units, tags and weights as JSON-able values; `from_dict` is the inverse."""
        return {
            "points": self.points.tolist(),
            "weights": self._rule if self._given is None else self._given.tolist(),
            "names": list(self.names),
            "units": list(self.units),
            "tags": {name: tag.tolist() for name, tag in self.tags.items()},
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> PointCloud:
        """The point cloud that `to_dict` described.

        Examples
        --------
        >>> cloud = PointCloud([[0.0, 1.0], [2.0, 0.5]], weights=[1.0, 1.0])
        >>> PointCloud.from_dict(cloud.to_dict()) == cloud
        True
        """
        known = ("points", "weights", "names", "units", "tags")
        if "points" not in fields or not set(fields) <= set(known):
            raise DomainError(f"the description of a point cloud has {', '.join(known)}; got {sorted(fields)}")
        return cls(**fields)


def checked_points(
    points: Any, names: Sequence[str] | None, units: str | Sequence[str], what: str
) -> tuple[Tensor, tuple[str, ...], tuple[str, ...]]:
    """Coordinates as a float64 table on the processor, with names and units of the directions."""
    given = points if isinstance(points, Tensor) else torch.from_numpy(np.asarray(points, dtype=np.float64))
    table = given.detach().to(device="cpu", dtype=torch.float64)
    if table.ndim != 2 or not table.numel() or table.shape[1] > 3:
        raise DomainError(f"{what} has points of shape (n, d) with d = 1, 2 or 3, got shape {tuple(table.shape)}")
    finite = table.isfinite().all(dim=1)
    if not bool(finite.all()):
        i = int((~finite).nonzero()[0])
        raise DomainError(f"{what}: point {i} is ({_listed(table[i])}); every coordinate must be finite")
    d = table.shape[1]
    directions = tuple("xyz"[:d]) if not names else tuple(names)
    measured = (units,) * d if isinstance(units, str) else tuple(units)
    if len(directions) != d or len(measured) != d or len(set(directions)) != d:
        raise DomainError(
            f"{what} has {d} directions, each with its own name and with units; got names={directions}, "
            f"units={measured}"
        )
    return table.contiguous(), directions, measured


def checked_tags(tags: Mapping[str, Any] | None, sizes: Sequence[int]) -> dict[str, Tensor]:
    """Tags as bool tensors of one of the sizes."""
    checked = {}
    for name, value in (tags or {}).items():
        tag = torch.as_tensor(value)
        if tag.ndim != 1 or tag.shape[0] not in sizes or tag.is_floating_point():
            raise DomainError(
                f"the tag {name!r} is a bool array of length {' or '.join(map(str, sizes))}, got shape "
                f"{tuple(tag.shape)} and {tag.dtype}"
            )
        checked[name] = tag.detach().cpu().bool()
    return checked


def same_points(mine: Tensor, theirs: Tensor, rtol: float) -> bool:
    """Whether two tables of points are the same, to `rtol` of the largest extent of the first."""
    if mine.shape != theirs.shape:
        return False
    extent = float((mine.amax(dim=0) - mine.amin(dim=0)).max())
    return float((mine - theirs).abs().max()) <= rtol * extent


def delaunay(points: Array) -> Delaunay:
    """The Delaunay triangulation; DomainError where there is none."""
    try:
        return Delaunay(points)
    except QhullError:
        raise DomainError(
            f"{len(points)} points in {points.shape[1]} directions do not span the space (too few, or all on a line or "
            "plane), so there is no triangulation; give weights=, or take the directions that vary"
        ) from None


def simplices(points: Array, triangulation: Delaunay) -> Index:
    """The simplices of a triangulation but those without volume."""
    cells = np.asarray(triangulation.simplices, dtype=np.int64)
    corners = points[cells]
    edges = corners[:, 1:] - corners[:, :1]
    size = np.abs(edges).max(axis=(1, 2)) ** points.shape[1]
    return np.asarray(cells[np.abs(np.linalg.det(edges)) > 1e-14 * size], dtype=np.int64)


def _voronoi(points: Array) -> Array:
    if points.shape[1] == 1:
        order = np.argsort(points[:, 0])
        x: Array = points[order, 0]
        if len(x) < 2 or (np.diff(x) <= 0).any():
            raise DomainError("points on a line need two different ones at least, and none twice, to give weights")
        middles = (x[1:] + x[:-1]) / 2
        weights: Array = np.empty(len(x))
        weights[order] = np.diff(np.concatenate([x[:1], middles, x[-1:]]))
        return weights
    if points.shape[1] == 3:
        raise DomainError("weights by Voronoi cells are for one and two directions; in three take weights='delaunay'")
    return _areas(points)


def _areas(points: Array) -> Array:
    """Areas of the Voronoi cells within the convex hull; four far points bound every cell beyond the hull."""
    _refuse_twins(points)
    centre, extent = points.mean(axis=0), float(np.ptp(points, axis=0).max())
    scaled = (points - centre) / extent
    hull = _hull(scaled)
    far = 20.0 * np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    diagram = Voronoi(np.concatenate([scaled, far]))
    regions = [diagram.regions[diagram.point_region[i]] for i in range(len(points))]
    beyond: NDArray[np.bool_] = diagram.vertices @ hull.equations[:, :2].T + hull.equations[:, 2] > 0
    areas = np.empty(len(points))
    for i, region in enumerate(regions):
        around = diagram.vertices[region] - scaled[i]
        corners = diagram.vertices[region][np.argsort(np.arctan2(around[:, 1], around[:, 0]))]
        reached = beyond[region].any(axis=0)
        if reached.any():
            corners = _clipped(corners, hull.equations[reached])
        areas[i] = _polygon_area(corners, scaled[i])
    return areas * extent**2


def _polygon_area(corners: Array, inside: Array) -> float:
    """The area of a convex polygon whose corners go around it."""
    x, y = (corners - inside).T
    return 0.5 * abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()))


def _clipped(corners: Array, halfplanes: Array) -> Array:
    """A convex polygon cut by halfplanes ``n . x + c <= 0`` (Sutherland and Hodgman, 1974)."""
    for a, b, c in halfplanes:
        side = corners @ np.array([a, b]) + c
        following, next_side = np.roll(corners, -1, axis=0), np.roll(side, -1)
        kept: list[Array] = []
        for here, there, s, t in zip(corners, following, side, next_side, strict=True):
            if s <= 0:
                kept.append(here)
            if (s < 0 < t) or (t < 0 < s):
                kept.append(here + s / (s - t) * (there - here))
        corners = np.array(kept).reshape(-1, 2)
    return corners


def _lumped(points: Array) -> Array:
    if points.shape[1] == 1:
        return _voronoi(points)  # the trapezoidal rule is both
    _refuse_twins(points)
    cells = simplices(points, delaunay(points))
    kind = ("triangle", "tetra")[points.shape[1] - 2]
    parts = measures(ELEMENTS[kind], points[cells])
    return np.asarray(np.bincount(cells.ravel(), parts.ravel(), minlength=len(points)), dtype=np.float64)


def _equal(points: Array) -> Array:
    volume = float(np.ptp(points)) if points.shape[1] == 1 else float(_hull(points).volume)
    return np.full(len(points), volume / len(points))


def _hull(points: Array) -> ConvexHull:
    try:
        return ConvexHull(points)
    except QhullError:
        delaunay(points)  # its message says what is wrong
        raise


def _refuse_twins(points: Array) -> None:
    order = np.lexsort(points.T)
    same = np.asarray(np.all(np.diff(points[order], axis=0) == 0, axis=1))
    if same.any():
        i = int(same.argmax())
        first, second = sorted((int(order[i]), int(order[i + 1])))
        raise DomainError(
            f"points {first} and {second} are the same, ({_listed(points[first])}); remove one to compute weights, or "
            "give weights="
        )


def _listed(point: Any) -> str:
    return ", ".join(f"{float(value):g}" for value in point)


_RULES = {"voronoi": _voronoi, "delaunay": _lumped, "equal": _equal}
