"""The axis of a dimension, from its coordinates and their attributes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import xarray as xr

from sciops.data.conventions.attributes import text
from sciops.data.domains.axis import Axis, Kind
from sciops.data.domains.domain import is_latitude, is_longitude
from sciops.errors import DomainError


def axis_of(ds: xr.Dataset, dim: str) -> Axis:
    """The axis of a space dimension; see `grid_of` for the rules."""
    size = int(ds.sizes[dim])
    if dim not in ds.coords:
        return Axis(dim, size, kind="left")
    values, attributes = ds[dim].values, ds[dim].attrs
    kind = cast("Kind | None", text(attributes["kind"])) if "kind" in attributes else None
    units = text(attributes.get("units", ""))
    if units in ("", "degrees", "degree") and (standard := text(attributes.get("standard_name", ""))):
        units = {"latitude": "degrees_north", "longitude": "degrees_east"}.get(standard, units)
    if kind is None or "lower" not in attributes or "upper" not in attributes:
        return _inferred(dim, values, kind, units)
    lower, upper = (_end(dim, end, attributes[end]) for end in ("lower", "upper"))
    if kind == "stretched":
        whole = size == attributes.get("size", size) and size > 1 and lower <= values[0] and values[-1] <= upper
        found = _inferred(dim, values, kind, units)
        return replace(found, lower=lower, upper=upper) if whole else found
    if size > 1 or kind != "closed":
        described = Axis(dim, size, lower, upper, kind, units)
        if values.dtype.kind in "iuf":
            rounding = 4 * np.finfo(values.dtype).eps * np.abs(values).max() if values.dtype.kind == "f" else 0.0
            off = np.abs(values - described.coordinates().numpy()).max()
            if off <= 1e-3 * described.spacing + rounding:
                return described
    return _inferred(dim, values, "cell" if kind == "cell" else None, units)


def by_units(chosen: Callable[[Axis], bool]) -> Callable[[Axis], bool]:
    """The same test of an axis, such as `is_latitude`, by its units alone: its name does not count.

    Examples
    --------
    >>> named, marked = Axis("lat", 8, -90, 90, "cell"), Axis("j", 8, -90, 90, "cell", "degrees_north")
    >>> is_latitude(named), by_units(is_latitude)(named), by_units(is_latitude)(marked)
    (True, False, True)
    """
    return lambda axis: chosen(replace(axis, name="any"))


def around_the_globe(axis: Axis) -> Axis:
    """A longitude that goes around is periodic; a latitude whose outermost cells reach the poles ends there."""
    nodes = axis.coordinates().numpy()
    if len(nodes) < 2:
        return axis
    first, last = nodes[1] - nodes[0], nodes[-1] - nodes[-2]
    if is_longitude(axis) and axis.kind in ("closed", "left", "cell"):
        around = abs(first * len(nodes) - 360) <= 1e-3 * first
        return Axis(axis.name, axis.size, nodes[0], nodes[0] + 360, "periodic", axis.units) if around else axis
    if is_latitude(axis):
        south, north = nodes[0] + 90, 90 - nodes[-1]
        if axis.kind == "closed" and max(abs(south - first / 2), abs(north - first / 2)) <= 1e-3 * first:
            return Axis(axis.name, axis.size, -90, 90, "cell", axis.units)
        if axis.kind == "stretched":
            lower = -90.0 if 0 <= south <= first else axis.lower
            return replace(axis, lower=lower, upper=90.0 if 0 <= north <= last else axis.upper)
    return axis


def _end(dim: str, end: str, value: Any) -> float:
    try:
        return float(np.asarray(value).item())
    except (ValueError, TypeError):
        raise DomainError(f"axis {dim!r}: the attribute {end!r} of its coordinate is {value!r}, not a number") from None


def _inferred(dim: str, values: Any, kind: Kind | None, units: str) -> Axis:
    """The axis of the coordinates alone, stretched where they ascend but are not uniform."""
    try:
        return Axis.from_coordinates(dim, values, kind=kind, units=units)
    except DomainError:
        if kind not in (None, "cell"):
            raise
        return Axis.from_coordinates(dim, values, kind="stretched", units=units)
