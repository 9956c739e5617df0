"""An interval with uniformly spaced nodes: kinds of ends, coordinates, quadrature weights.

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
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from sciops.errors import DomainError, did_you_mean

Kind = Literal["periodic", "closed", "cell", "left"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Axis:
    """An interval with uniformly spaced nodes; see the table of kinds at the top of `sciops.data.axis`.

    Parameters
    ----------
    name
        Name of the dimension, for example ``"x"``.
    size
        Number of nodes, at least 1 (2 for a closed axis).
    lower, upper
        Ends of the interval, in `units`, ``lower < upper``.
    kind
        ``"periodic"``, ``"closed"``, ``"cell"`` or ``"left"``.
    units
        Units of the coordinate, ``""`` if none.

    Raises
    ------
    DomainError
        If the size, the interval or the kind is not valid.

    Examples
    --------
    >>> axis = Axis("x", 4, 0.0, 2.0, "left")
    >>> axis.spacing, axis.coordinates().tolist(), axis.weights().tolist()
    (0.5, [0.0, 0.5, 1.0, 1.5], [0.25, 0.5, 0.5, 0.75])
    """

    name: str
    size: int
    lower: float = 0.0
    upper: float = 1.0
    kind: Kind = "closed"
    units: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise DomainError(f"the name of an axis is a non-empty string, got {self.name!r}")
        if self.kind not in KINDS:
            raise DomainError(f"axis {self.name!r}: unknown kind {self.kind!r}{did_you_mean(str(self.kind), KINDS)}")
        try:
            size, lower, upper = operator.index(self.size), float(self.lower), float(self.upper)
        except (TypeError, ValueError):
            raise DomainError(
                f"axis {self.name!r}: the size is an integer and the ends are numbers, got size {self.size!r}, "
                f"lower {self.lower!r}, upper {self.upper!r}"
            ) from None
        least = 2 if self.kind == "closed" else 1
        if size < least:
            raise DomainError(f"axis {self.name!r}: a {self.kind} axis has at least {least} node(s), got {size}")
        if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
            raise DomainError(f"axis {self.name!r}: lower < upper and finite is needed, got [{lower:g}, {upper:g}]")
        for field, value in (("size", size), ("lower", lower), ("upper", upper), ("units", str(self.units))):
            object.__setattr__(self, field, value)

    @classmethod
    def from_coordinates(cls, name: str, values: ArrayLike, *, kind: Kind | None = None, units: str = "") -> Axis:
        """The axis whose nodes are the given uniformly spaced, ascending coordinates.

        The spacing is ``h = (x[-1] - x[0]) / (N - 1)``; the interval follows from the kind, for example ``x[-1] + h``
        is the upper end of a periodic axis. A node may be off by ``1e-3 h`` or by the rounding of its dtype.

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
            If the coordinates are not one-dimensional, numeric, finite, ascending and uniform.

        Examples
        --------
        >>> Axis.from_coordinates("x", [0.0, 0.25, 0.5, 0.75], kind="periodic").upper
        1.0
        """
        x, rounding = _ascending(name, values)
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
    def spacing(self) -> float:
        """Distance h of neighbouring nodes, in `units`."""
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
        if self.kind == "closed":
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
        weights = torch.full((self.size,), self.spacing, dtype=torch.float64)
        if self.kind == "closed":
            weights[[0, -1]] /= 2
        elif self.kind == "left" and self.size > 1:
            weights[0] /= 2
            weights[-1] *= 1.5
        return weights.to(dtype=dtype, device=device)

    def resized(self, size: int) -> Axis:
        """The same interval and kind with another number of nodes.

        Examples
        --------
        >>> Axis("x", 16, kind="cell").resized(8).spacing
        0.125
        """
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
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-able values; `from_dict` is the inverse."""
        return asdict(self)

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


def _ascending(name: str, values: ArrayLike) -> tuple[np.ndarray[Any, np.dtype[np.float64]], float]:
    """The coordinates as ascending float64, and the rounding that their own dtype leaves in them."""
    given = np.asarray(values)
    if given.ndim != 1 or given.dtype.kind not in "iuf":
        raise DomainError(
            f"axis {name!r}: coordinates are a one-dimensional array of numbers, "
            f"got shape {given.shape} and dtype {given.dtype}"
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
        raise DomainError(
            f"axis {name!r}: the coordinates do not ascend: {x[i]:.9g} at index {i}, {x[i + 1]:.9g} at index {i + 1}"
        )
    epsilon = float(np.finfo(given.dtype).eps) if given.dtype.kind == "f" else 0.0
    return x, 4 * epsilon * float(np.abs(x).max())
