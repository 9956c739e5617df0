"""What the climate and forecast (CF) metadata of a file say: which variables are coordinates, and of what kind.

References
----------
B. Eaton et al., "NetCDF Climate and Forecast (CF) Metadata Conventions" (2003-2023).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from sciops.data.domains.axis import Axis
from sciops.data.layouts import Contents
from sciops.data.reading.containers import Array
from sciops.errors import DomainError

__all__ = ["NORTH_EAST", "cf_marks", "elapsed", "from_bounds", "is_sample", "is_time", "position"]

NORTH_EAST = {"latitude": "degrees_north", "longitude": "degrees_east"}
_SINCE = re.compile(r"\s*([A-Za-z_]+)\s+since\s+(\S.*)", re.ASCII | re.DOTALL)
_TIMES = ("time", "t", "month", "year", "day", "hour", "date", "valid_time", "ocean_time", "lead_time", "step")
_SAMPLES = ("realization", "member", "ensemble", "ens", "number", "run")
_SPELLED = {f"degree{s}{mark}{d}": way for way, ends in (("latitude", ("north", "N")), ("longitude", ("east", "E")))
            for s in ("", "s") for mark in ("_", "") for d in ends}  # fmt: skip
_NAMED = {"lat": "latitude", "latitude": "latitude", "lon": "longitude", "long": "longitude", "longitude": "longitude"}


def cf_marks(contents: Contents) -> str | None:
    """By what a file shows that it follows the CF conventions, or half does; None for one that sciops wrote."""
    if not contents.self_describing or "layout" in contents.attributes:
        return None
    declared = str(contents.attributes.get("Conventions", "")).strip()
    if declared.upper().startswith(("CF", "COARDS")):
        return declared
    for name, entry in contents.entries.items():
        attributes, units = entry.attributes, str(entry.attributes.get("units", ""))
        if isinstance(attributes.get("standard_name"), str) or isinstance(attributes.get("bounds"), str):
            return f"standard names or bounds, as of {name}"
        if _SINCE.fullmatch(units) or units in _SPELLED or str(attributes.get("axis")) in ("X", "Y", "Z", "T"):
            return f"units or axes, as of {name}"
    return None


def is_time(name: str, attributes: Mapping[str, Any]) -> int:
    """How sure it is that a coordinate is time: 2 by its attributes, 1 by its name, 0 if it is not.

    Examples
    --------
    >>> is_time("t0", {"units": "days since 2000-01-01"}), is_time("month", {}), is_time("x", {})
    (2, 1, 0)
    """
    told = attributes.get("axis") == "T" or attributes.get("standard_name") in ("time", "forecast_period")
    if told or _SINCE.fullmatch(str(attributes.get("units", ""))):
        return 2
    return int(name.lower() in _TIMES)


def is_sample(name: str, attributes: Mapping[str, Any]) -> bool:
    """Whether a dimension counts the members of an ensemble."""
    return attributes.get("standard_name") == "realization" or name.lower() in _SAMPLES


def position(name: str, variable: xr.Variable) -> str | None:
    """``"latitude"`` or ``"longitude"`` by the attributes of a coordinate, or by its name where it has no units."""
    attributes = variable.attrs
    units = str(attributes.get("units", ""))
    if attributes.get("standard_name") in NORTH_EAST:
        return str(attributes["standard_name"])
    if units in _SPELLED:
        return _SPELLED[units]
    found = _NAMED.get(name.lower())
    if found is None or units not in ("", "degrees", "degree") or variable.dtype.kind not in "iuf":
        return None
    limit = 90 if found == "latitude" else 540
    return found if bool((np.abs(variable.values) <= limit).all()) else None


def elapsed(variable: xr.Variable) -> xr.Variable:
    """Times as elapsed time since the first, whatever their calendar; others as they are.

    The attribute ``reference`` keeps the units of the file, ``first`` the first time in them.

    Examples
    --------
    >>> units = {"units": "days since 1850-01-01", "calendar": "360_day"}
    >>> line = elapsed(xr.Variable("time", [30, 60], units))
    >>> line.values.tolist(), line.attrs["units"], line.attrs["calendar"], line.attrs["first"]
    ([0.0, 30.0], 'days', '360_day', 30.0)
    """
    found = _SINCE.fullmatch(str(variable.attrs.get("units", "")))
    if found is None or variable.dtype.kind not in "iuf" or variable.ndim != 1 or not variable.size:
        return variable
    values = variable.values
    if not np.isfinite(values).all():
        return variable
    attributes = {**variable.attrs, "units": found[1], "reference": found[0].strip(), "first": float(values[0])}
    attributes.setdefault("calendar", "standard")
    return xr.Variable(variable.dims, (values - values[0]).astype(np.float64), attributes)


def from_bounds(name: str, nodes: Array, bounds: Array, units: str) -> Axis | None:
    """The axis whose cells have the given edges; None where they leave gaps or do not hold their nodes.

    Uniform cells about their nodes make a cell axis, nodes at the lower edges a left one, others a stretched one.

    Parameters
    ----------
    name, units
        Of the axis.
    nodes
        Ascending coordinates (n,).
    bounds
        Edges (n, 2).

    Examples
    --------
    >>> edges = np.linspace(0, 1, 5)
    >>> from_bounds("x", edges[:-1] + 0.125, np.stack([edges[:-1], edges[1:]], axis=1), "m")
    Axis(name='x', size=4, lower=0.0, upper=1.0, kind='cell', units='m')
    """
    low, high = bounds.min(axis=1).astype(np.float64), bounds.max(axis=1).astype(np.float64)
    nodes = nodes.astype(np.float64)
    width = high - low
    if not np.isfinite(bounds).all() or (width <= 0).any() or (nodes < low).any() or (nodes > high).any():
        return None
    off = 1e-4 * width.min()
    if (np.abs(high[:-1] - low[1:]) > off).any():
        return None
    uniform = bool((np.abs(width - width[0]) <= 10 * off).all())
    try:
        if uniform and (np.abs(nodes - (low + high) / 2) <= 10 * off).all():
            return Axis(name, len(nodes), float(low[0]), float(high[-1]), "cell", units)
        if uniform and (np.abs(nodes - low) <= off).all():
            return Axis(name, len(nodes), float(low[0]), float(high[-1]), "left", units)
        stretched = Axis.from_coordinates(name, nodes, kind="stretched", units=units)
        return replace(stretched, lower=float(low[0]), upper=float(high[-1]))
    except DomainError:
        return None
