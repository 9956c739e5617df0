"""An interval with nodes: kinds of ends, coordinates, quadrature weights.

The convention of the whole package is stated here once. An axis of `size` nodes N on ``[lower, upper]`` is of one kind:

========== ================ ================================ ===================================
kind       spacing h        node i                           quadrature weights
========== ================ ================================ ===================================
periodic   extent / N       lower + i h, endpoint left out   h
closed     extent / (N - 1) lower + i h, both ends included  h/2, h, ..., h, h/2
cell       extent / N       lower + (i + 1/2) h              h
left       extent / N       lower + i h, upper end left out  h/2, h, ..., h, 3h/2
========== ================ ================================ ===================================

A `left` axis is not periodic: its last weight reaches the upper end, where no node stands.

A `stretched` axis has ascending nodes of its own within ``[lower, upper]``. Its weights are those of the trapezoidal
rule between the nodes; the gaps from the first node to `lower` and from the last one to `upper` go to these two nodes.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from sciops.errors import DomainError, did_you_mean

Kind = Literal["periodic", "closed", "cell", "left", "stretched"]
KINDS = ("periodic", "closed", "cell", "left")
"""The kinds whose nodes are uniformly spaced."""


@dataclass(frozen=True)
class Axis:
    """An interval with nodes, uniform unless stretched; the table of kinds stands at the top of this module.

    Parameters
    ----------
    name
        Name of the dimension, for example ``"x"``.
    size
        Number of nodes, at least 1 (2 for a closed or stretched axis).
    lower, upper
        Ends of the interval, in `units`, ``lower < upper``.
    kind
        ``"periodic"``, ``"closed"``, ``"cell"``, ``"left"`` or ``"stretched"``.
    units
        Units of the coordinate, ``""`` if none.
    nodes
        The nodes of a stretched axis, ascending within ``[lower, upper]``; no other kind has any.

    Raises
    ------
    DomainError
        If the size, the interval, the kind or the nodes are not valid.

    Examples
    --------
    >>> axis = Axis("x", 4, 0.0, 2.0, "left")
    >>> axis.spacing, axis.coordinates().tolist(), axis.weights().tolist()
    (0.5, [0.0, 0.5, 1.0, 1.5], [0.25, 0.5, 0.5, 0.75])
    >>> Axis("z", 3, 0.0, 4.0, "stretched", nodes=(0.0, 1.0, 3.0)).weights().tolist()
    [0.5, 1.5, 2.0]
    """

    name: str
    size: int
    lower: float = 0.0
    upper: float = 1.0
    kind: Kind = "closed"
    units: str = ""
    nodes: tuple[float, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise DomainError(f"the name of an axis is a non-empty string, got {self.name!r}")
        kinds = get_args(Kind)
        if self.kind not in kinds:
            raise DomainError(f"axis {self.name!r}: unknown kind {self.kind!r}{did_you_mean(str(self.kind), kinds)}")
        try:
            size, lower, upper = operator.index(self.size), float(self.lower), float(self.upper)
        except (TypeError, ValueError):
            raise DomainError(
                f"axis {self.name!r}: the size is an integer and the ends are numbers, got size {self.size!r}, "
                f"lower {self.lower!r}, upper {self.upper!r}"
            ) from None
        least = 2 if self.kind in ("closed", "stretched") else 1
        if size < least:
            raise DomainError(f"axis {self.name!r}: a {self.kind} axis has at least {least} node(s), got {size}")
        if not (math.isfinite(upper - lower) and lower < upper):
            raise DomainError(
                f"axis {self.name!r}: lower < upper and finite is needed, got [{lower:g}, {upper:g}]; take other ends"
            )
        nodes = _own_nodes(self, size, lower, upper)
        values = {"size": size, "lower": lower, "upper": upper, "units": str(self.units), "nodes": nodes}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_coordinates(cls, name: str, values: ArrayLike, *, kind: Kind | None = None, units: str = "") -> Axis:
        """The axis whose nodes are the given ascending coordinates, uniformly spaced unless the kind is stretched.

        The spacing is ``h = (x[-1] - x[0]) / (N - 1)``; the interval follows from the kind, for example ``x[-1] + h``
        is the upper end of a periodic axis. A node may be off by ``1e-3 h`` or by the rounding of its dtype. A
        stretched axis reaches from the first node to the last.

        Parameters
        ----------
        name
            Name of the dimension.
        values
            Coordinates, shape ``(size,)`` with at least 2 entries, any real dtype.
        kind
            Kind of the axis; ``None`` stands for ``"closed"``, the only kind that adds nothing to the interval.
        units
            Units of the coordinate.

        Returns
        -------
        Axis

        Raises
        ------
        DomainError
            If the coordinates are not one-dimensional, numeric, finite and ascending, or not uniform for
            a kind that is.

        Examples
        --------
        >>> Axis.from_coordinates("x", [0.0, 0.25, 0.5, 0.75], kind="periodic").upper
        1.0
        """
        x, rounding = _ascending(name, values)
        if kind == "stretched":
            return cls(name, x.size, float(x[0]), float(x[-1]), kind, units, tuple(x.tolist()))
        step = (x[-1] - x[0]) / (x.size - 1)
        off = np.abs(x - (x[0] + step * np.arange(x.size)))
        if off.max() > 1e-3 * step + rounding:
            gaps = np.diff(x)
            i = int(np.argmax(np.abs(gaps - gaps[0]) > 2e-3 * gaps[0] + 2 * rounding))
            raise DomainError(
                f"axis {name!r}: the coordinates are not uniform: spacing {gaps[0]:.6g} at index 0, {gaps[i]:.6g} at "
                f"index {i}; interpolate onto a uniform axis first, for example by ds.interp({name}=...)"
            )
        kind = kind or "closed"
        start, stop = float(x[0]), float(x[-1])
        if kind == "cell":
            start, stop = start - float(step) / 2, stop + float(step) / 2
        elif kind != "closed":
            stop = stop + float(step)
        return cls(name, x.size, start, stop, kind, units)

    @property
    def extent(self) -> float:
        """Length of the interval, in `units`."""
        return self.upper - self.lower

    @property
    def uniform(self) -> bool:
        """Whether neighbouring nodes have the same distance everywhere: every kind but stretched."""
        return self.kind != "stretched"

    @property
    def spacing(self) -> float:
        """Distance h of neighbouring nodes, in `units`.

        Raises
        ------
        DomainError
            If the axis is stretched.
        """
        if not self.uniform:
            raise DomainError(
                f"axis {self.name!r} is stretched and has no one spacing; interpolate onto a uniform axis first, by "
                f"sciops.data.domains.interpolation.resample or ds.interp({self.name}=...)"
            )
        return self.extent / (self.size - 1 if self.kind == "closed" else self.size)

    @property
    def carried_modes(self) -> int:
        """Largest frequency k with ``|k| < size / 2``: what the nodes tell apart from every other frequency."""
        return (self.size - 1) // 2

    def coordinates(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> Float[Tensor, " size"]:
        """The nodes, shape ``(size,)``, in `units`.

        Examples
        --------
        >>> Axis("x", 2, kind="cell").coordinates().tolist()
        [0.25, 0.75]
        """
        if self.kind == "stretched":
            nodes = torch.tensor(self.nodes, dtype=torch.float64)
        elif self.kind == "closed":
            nodes = torch.linspace(self.lower, self.upper, self.size, dtype=torch.float64)
        else:
            offset = 0.5 if self.kind == "cell" else 0.0
            nodes = self.lower + (torch.arange(self.size, dtype=torch.float64) + offset) * self.spacing
        return nodes.to(dtype=dtype, device=device)

    def weights(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> Float[Tensor, " size"]:
        """The quadrature weights, shape ``(size,)``: ``sum(weights * f(coordinates))`` is the integral of f.

        Second order in the spacing for smooth f; spectral for smooth periodic f on a periodic axis.

        Examples
        --------
        >>> Axis("x", 3).weights().tolist()
        [0.25, 0.5, 0.25]
        """
        if self.kind == "stretched":
            edges = self.edges(dtype=torch.float64)
            return edges.diff().to(dtype=dtype, device=device)
        weights = torch.full((self.size,), self.spacing, dtype=torch.float64)
        if self.kind == "closed":
            weights[[0, -1]] /= 2
        elif self.kind == "left" and self.size > 1:
            weights[0] /= 2
            weights[-1] *= 1.5
        return weights.to(dtype=dtype, device=device)

    def edges(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> Float[Tensor, " size_plus_1"]:
        """The ends of the interval and the points halfway between nodes: the cells of the nodes.

        ``edges.diff()`` are the weights; on a periodic axis the cells reach half a spacing to both sides of a node.

        Examples
        --------
        >>> Axis("x", 3).edges().tolist(), Axis("x", 2, kind="periodic").edges().tolist()
        ([0.0, 0.25, 0.75, 1.0], [-0.25, 0.25, 0.75])
        """
        nodes = self.coordinates()
        middles = (nodes[1:] + nodes[:-1]) / 2
        shift = self.spacing / 2 if self.kind == "periodic" else 0.0
        first, last = nodes.new_tensor([self.lower - shift]), nodes.new_tensor([self.upper - shift])
        return torch.cat([first, middles, last]).to(dtype=dtype, device=device)

    def resized(self, size: int) -> Axis:
        """The same interval and kind with another number of nodes.

        The nodes of a stretched axis keep their grading: they are taken as a function of ``i / (N - 1)``, which is
        interpolated by the monotone cubic of Fritsch and Carlson (1980); the first and the last node stay.

        Examples
        --------
        >>> Axis("x", 16, kind="cell").resized(8).spacing
        0.125
        >>> Axis("z", 3, 0.0, 3.0, "stretched", nodes=(0.0, 1.0, 3.0)).resized(5).nodes[2]
        1.0
        """
        if self.kind == "stretched" and size != self.size and size > 1:
            grading = PchipInterpolator(np.linspace(0.0, 1.0, self.size), np.array(self.nodes))
            nodes = grading(np.linspace(0.0, 1.0, size))
            nodes[[0, -1]] = self.nodes[0], self.nodes[-1]
            return replace(self, size=size, nodes=tuple(nodes.tolist()))
        return replace(self, size=size)

    def matches(self, other: Axis, rtol: float = 1e-6) -> bool:
        """Whether the nodes are the same: size, kind and, to `rtol` of the extent, the interval.

        Name and units are left aside.

        Examples
        --------
        >>> Axis("x", 16).matches(Axis("y", 16, 0.0, 1.0 + 1e-9)), Axis("x", 16).matches(Axis("x", 17))
        (True, False)
        """
        near = rtol * self.extent
        return (
            (self.size, self.kind) == (other.size, other.kind)
            and abs(self.lower - other.lower) <= near
            and abs(self.upper - other.upper) <= near
            and all(abs(mine - theirs) <= near for mine, theirs in zip(self.nodes, other.nodes, strict=True))
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-able values, nodes only for a stretched axis; `from_dict` is the inverse."""
        fields = asdict(self)
        nodes = fields.pop("nodes")
        return {**fields, "nodes": list(nodes)} if nodes else fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Axis:
        """The axis that `to_dict` described.

        Examples
        --------
        >>> axis = Axis("x", 8, -1.0, 1.0, "periodic", "m")
        >>> Axis.from_dict(axis.to_dict()) == axis
        True
        """
        for name in fields:
            if name not in cls.__dataclass_fields__:
                hint = did_you_mean(str(name), cls.__dataclass_fields__)
                raise DomainError(f"unknown entry {name!r} in the description of an axis{hint}")
        if "name" not in fields or "size" not in fields:
            raise DomainError(f"the description of an axis needs name and size, got {sorted(fields)}")
        return cls(**fields)


def _own_nodes(axis: Axis, size: int, lower: float, upper: float) -> tuple[float, ...]:
    """The checked nodes of a stretched axis, none for the other kinds."""
    if axis.kind != "stretched":
        if len(axis.nodes):
            raise DomainError(
                f"axis {axis.name!r}: only a stretched axis has nodes of its own, the kind is {axis.kind}"
            )
        return ()
    if len(axis.nodes) != size:
        raise DomainError(
            f"axis {axis.name!r}: a stretched axis of {size} nodes needs nodes= with as many coordinates, "
            f"got {len(axis.nodes)}"
        )
    x, _ = _ascending(axis.name, np.asarray(axis.nodes))
    slack = 1e-12 * max(abs(lower), abs(upper))
    if x[0] < lower - slack or x[-1] > upper + slack:
        raise DomainError(
            f"axis {axis.name!r}: the nodes reach from {x[0]:.9g} to {x[-1]:.9g}, outside [{lower:g}, {upper:g}]"
        )
    return tuple(x.tolist())


def _ascending(name: str, values: ArrayLike) -> tuple[np.ndarray[Any, np.dtype[np.float64]], float]:
    """The coordinates as ascending float64, and the rounding that their own dtype leaves in them."""
    given = np.asarray(values)
    if given.ndim != 1 or given.dtype.kind not in "iuf":
        raise DomainError(
            f"axis {name!r}: coordinates are a one-dimensional array of numbers, "
            f"got shape {given.shape} and dtype {given.dtype}; put numbers there by ds.assign_coords({name}=...)"
        )
    x = given.astype(np.float64)
    if x.size < 2:
        raise DomainError(
            f"axis {name!r}: {x.size} coordinate(s) do not tell the interval; drop the dimension by "
            f"ds.squeeze({name!r}) or give it the attributes kind, lower and upper"
        )
    if not np.isfinite(x).all():
        i = int(np.argmin(np.isfinite(x)))
        raise DomainError(f"axis {name!r}: the coordinate at index {i} is {x[i]}; every coordinate must be finite")
    gaps = np.diff(x)
    if (gaps <= 0).any():
        if (gaps < 0).all():
            raise DomainError(f"axis {name!r}: the coordinates descend; reverse them by ds.sortby({name!r})")
        i = int(np.argmax(gaps <= 0))
        remedy = f"ds.sortby({name!r})" if gaps[i] < 0 else f"ds.drop_duplicates({name!r})"
        raise DomainError(
            f"axis {name!r}: the coordinates do not ascend: {x[i]:.9g} at index {i}, {x[i + 1]:.9g} at index {i + 1}; "
            f"mend them by {remedy}"
        )
    epsilon = float(np.finfo(given.dtype).eps) if given.dtype.kind == "f" else 0.0
    return x, 4 * epsilon * float(np.abs(x).max())
