"""netCDF and Zarr by the CF conventions: units, bounds, packed and missing values, calendars, latitudes, ensembles."""

from __future__ import annotations

import numpy as np
import xarray as xr

from sciops.data.conventions import axis_attributes
from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._conventions import NORTH_EAST, cf_marks, elapsed, from_bounds, is_sample, is_time, position
from sciops.data.layouts._described import described
from sciops.data.layouts._hdf5 import is_dedalus

_LIMITS = {"valid_min", "valid_max", "valid_range"}
_ROLES = ("sample_dim", "time_dim")


@register("cf")
class ClimateAndForecast(Layout):
    """Coordinates by their attributes, and by their names where real files lack them.

    Times become elapsed time since the first, in the units of the file; edges of cells make the axis. Axes that
    descend are turned round, and those of length 1 become scalar coordinates.
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        marks = None if contents.matlab or is_dedalus(contents) else cf_marks(contents)
        if marks is None:
            return None
        names = list(contents.entries)
        remarks = [f"CF metadata ({marks})"]
        for name in names:
            attributes = contents.entries[name].attributes
            if " since " in str(attributes.get("units", "")) and contents.entries[name].shape:
                calendar = attributes.get("calendar", "standard")
                remarks.append(f"{name} is elapsed time, {attributes['units']}, calendar {calendar}")
            if attributes.get("bounds") in names:
                remarks.append(f"{name} has the edges {attributes['bounds']}")
        return "; ".join(remarks[:8])

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        ds = described(contents, options)
        close = ds._close
        ds = _without_mappings(ds)
        ds, edges = _without_edges(ds)
        ds = _with_roles(ds, options)
        before = {str(dim): ds.variables[dim] for dim in ds.dims if dim in ds.coords}
        for dim in map(str, list(ds.dims)):
            if dim in ds.coords and dim not in (options.sample_dim, *(ds.attrs.get(role) for role in _ROLES)):
                ds = _with_axis(ds, dim, edges.get(dim))
        ds.attrs["layout_remarks"] = _remarks(ds, before) + _limits(ds)
        ds = _with_curvilinear(ds)
        ds.set_close(close)
        return ds


def _without_mappings(ds: xr.Dataset) -> xr.Dataset:
    """Map projections stand in variables without values: their name becomes an attribute."""
    named = {str(v.attrs.get("grid_mapping", "")).split(":")[0].strip() for v in ds.data_vars.values()}
    for name in sorted(named & set(map(str, ds.variables))):
        if not ds[name].dims:
            ds.attrs["grid_mapping"] = str(ds[name].attrs.get("grid_mapping_name", name))
            ds = ds.drop_vars(name)
    return ds


def _without_edges(ds: xr.Dataset) -> tuple[xr.Dataset, dict[str, xr.Variable]]:
    """The data set without its bounds, and these by the coordinate that they belong to."""
    edges: dict[str, xr.Variable] = {}
    for name, variable in ds.variables.items():
        for attribute in ("bounds", "climatology"):
            found = variable.attrs.get(attribute)
            if isinstance(found, str) and found in ds.variables:
                edges[str(name)] = ds.variables[found]
                del variable.attrs[attribute]
    names = {str(found) for found in ds.variables if any(ds.variables[found] is edge for edge in edges.values())}
    return ds.drop_vars(names), edges


def _with_roles(ds: xr.Dataset, options: Options) -> xr.Dataset:
    """Mark the dimensions of samples and time; times become elapsed time."""
    lines = {str(dim): ds.variables[dim] for dim in ds.dims if dim in ds.coords}
    if "sample_dim" not in ds.attrs and "sample" not in ds.dims and options.sample_dim is None:
        members = [str(dim) for dim in ds.dims if is_sample(str(dim), lines[str(dim)].attrs if dim in lines else {})]
        if members:
            ds.attrs["sample_dim"] = members[0]
    taken = options.sample_dim or ds.attrs.get("sample_dim")
    sure = {dim: is_time(dim, line.attrs) for dim, line in lines.items() if dim != taken}
    times = sorted((dim for dim in sure if sure[dim]), key=lambda dim: -sure[dim])
    if "time_dim" not in ds.attrs and times:
        ds.attrs["time_dim"] = times[0]
    return ds.assign_coords({dim: elapsed(lines[dim]) for dim in times})


def _with_axis(ds: xr.Dataset, dim: str, edges: xr.Variable | None) -> xr.Dataset:
    """An ascending axis with units, from its edges where the file has them."""
    line = ds.variables[dim]
    if line.dtype.kind not in "iuf" or "curvilinear_coords" in ds.attrs:
        return ds
    values = line.values
    bounds = None
    if edges is not None and edges.dims[:1] == (dim,) and edges.shape == (len(values), 2):
        bounds = edges.values
    if ds.sizes[dim] == 1:
        return ds.isel({dim: 0})
    if bool((np.diff(values) < 0).all()):
        ds, values = ds.isel({dim: slice(None, None, -1)}), values[::-1]
        bounds = None if bounds is None else bounds[::-1]
    where = position(dim, line)
    units = NORTH_EAST[where] if where else str(line.attrs.get("units", ""))
    attributes = {**line.attrs, "units": units}
    axis = None if bounds is None else from_bounds(dim, values, bounds, units)
    if axis is not None:
        attributes.update(axis_attributes(axis))
    return ds.assign_coords({dim: xr.Variable((dim,), values, attributes)})


def _remarks(ds: xr.Dataset, before: dict[str, xr.Variable]) -> list[str]:
    """Which axes were turned round, and which became scalar coordinates."""
    scalars = [dim for dim in before if dim in ds.coords and dim not in ds.dims]
    turned = [dim for dim, line in before.items() if dim in ds.dims and line.size > 1 and line[0] != ds[dim][0]]
    remarks = [f"{', '.join(turned)} descended and was turned round"] if turned else []
    return remarks + ([f"{', '.join(scalars)} of length 1 became a scalar"] if scalars else [])


def _limits(ds: xr.Dataset) -> list[str]:
    """Which variables say what values are valid, which nothing here looks at."""
    limited = [str(name) for name, variable in ds.data_vars.items() if not _LIMITS.isdisjoint(variable.attrs)]
    return [f"values of {', '.join(limited[:8])} beyond the valid range are not masked"] if limited else []


def _with_curvilinear(ds: xr.Dataset) -> xr.Dataset:
    """Latitudes and longitudes over two dimensions, which then have no coordinates of their own names."""
    if "curvilinear_coords" in ds.attrs:
        return ds
    found = {position(str(name), v): str(name) for name, v in ds.variables.items() if v.ndim == 2}
    found.pop(None, None)
    if set(found) != set(NORTH_EAST) or len({ds[name].dims for name in found.values()}) != 1:
        return ds
    dims = ds[found["latitude"]].dims
    counted = [dim for dim in dims if dim in ds.coords and _counts(ds.variables[dim])]
    if any(dim in ds.coords and dim not in counted for dim in dims):
        return ds  # a projection with axes of its own
    ds = ds.drop_vars(counted).set_coords(list(found.values()))
    ds.attrs["curvilinear_coords"] = [found["longitude"], found["latitude"]]
    return ds


def _counts(line: xr.Variable) -> bool:
    """Whether a coordinate is nothing but the numbers of the nodes."""
    values = line.values
    return values.dtype.kind in "iuf" and bool((np.diff(values) == 1).all()) and values[0] in (0, 1)
