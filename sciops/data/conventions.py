"""How a plain `xarray.Dataset` says what its dimensions are; every reader writes this and everything else reads it.

Attributes of the data set
    ``sample_dim`` (``"sample"``), ``time_dim`` (``"time"``), ``channel_dims`` (a list of names). A name that is not a
    dimension of the data set means nothing, so indexing a sample away needs no change of the attributes.
Dimensions of a variable
    ``(sample?, time?, channel?, *space)``; whatever is neither sample, time nor channel is space.
Coordinates of a space dimension
    A 1-D variable of the same name with the attributes ``kind``, ``lower``, ``upper`` and ``units`` of its
    `sciops.data.Axis`, and ``assumed = 1`` where the file gave none (then ``x_i = i / N``, kind left). A coordinate
    that ascends but is not uniform is a stretched axis. Latitudes and longitudes (CF ``standard_name``, or the units
    ``degrees_north`` and ``degrees_east``) together make a sphere.
Scattered points
    A space dimension without a coordinate of its own name, listed in the attribute ``point_dims``; ``point_coords``
    lists the 1-D coordinates along it, one per direction. Optional: ``point_weights``, and bool ``tag_<name>``.
Meshes
    Scattered points, coordinates ``cells_<type>`` of dims ``(cell_<type>, corner_<type>)``, and ``domain = "mesh"``.
    Variables along ``cell_<type>`` stand at the centroids of the cells.
Curvilinear grids
    Space dimensions without coordinates of their own names; ``curvilinear_coords`` lists coordinates over all of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
import xarray as xr

from sciops.data.axis import Axis, Kind
from sciops.data.curvilinear import CurvilinearGrid
from sciops.data.domain import Domain, Grid, is_latitude, is_longitude
from sciops.data.elements import ELEMENTS
from sciops.data.mesh import Mesh
from sciops.data.points import PointCloud
from sciops.errors import DataError, DomainError, did_you_mean


def origin(ds: xr.Dataset) -> str:
    """The file the data set was opened from, or ``"the data set"``: the first words of an error message.

    Examples
    --------
    >>> origin(xr.Dataset())
    'the data set'
    """
    return str(ds.encoding.get("source") or "the data set")


def sample_dim(ds: xr.Dataset) -> str | None:
    """Name of the dimension that counts samples, or None.

    Examples
    --------
    >>> sample_dim(xr.Dataset({"u": (("run", "x"), np.zeros((2, 3)))}, attrs={"sample_dim": "run"}))
    'run'
    """
    return _dimension(ds, "sample_dim", "sample")


def time_dim(ds: xr.Dataset) -> str | None:
    """Name of the time dimension, or None.

    Examples
    --------
    >>> time_dim(xr.Dataset({"u": (("time", "x"), np.zeros((2, 3)))}))
    'time'
    """
    return _dimension(ds, "time_dim", "time")


def n_samples(ds: xr.Dataset) -> int:
    """Number of samples; 1 where there is no sample dimension.

    Examples
    --------
    >>> n_samples(xr.Dataset({"u": (("sample", "x"), np.zeros((2, 3)))}))
    2
    """
    dim = sample_dim(ds)
    return 1 if dim is None else int(ds.sizes[dim])


def require_variable(ds: xr.Dataset, name: str) -> xr.DataArray:
    """The data variable of that name.

    Raises
    ------
    DataError
        If there is none: the message names the file and the nearest name.

    Examples
    --------
    >>> require_variable(xr.Dataset({"u": ("x", [1.0, 2.0])}), "u").shape
    (2,)
    """
    if name not in ds.data_vars:
        raise DataError(f"{origin(ds)}: no variable {name!r}{did_you_mean(name, map(str, ds.data_vars))}")
    return ds[name]


def channel_dim(ds: xr.Dataset, name: str) -> str | None:
    """Name of the channel dimension of a variable, or None.

    Raises
    ------
    DataError
        If the variable is missing, or has several channel dimensions.

    Examples
    --------
    >>> ds = xr.Dataset({"u": (("c", "x"), np.zeros((2, 3)))}, attrs={"channel_dims": ["c"]})
    >>> channel_dim(ds, "u"), space_dims(ds, "u")
    ('c', ('x',))
    """
    found = [str(dim) for dim in require_variable(ds, name).dims if dim in _channel_dims(ds)]
    if len(found) > 1:
        raise DataError(
            f"{origin(ds)}: variable {name!r} has the channel dimensions {', '.join(found)}; "
            f"join them by ds.stack(channel={tuple(found)!r})"
        )
    return found[0] if found else None


def space_dims(ds: xr.Dataset, name: str) -> tuple[str, ...]:
    """Names of the space dimensions of a variable in their order: all that are neither sample, time nor channel.

    Examples
    --------
    >>> space_dims(xr.Dataset({"u": (("sample", "x", "y"), np.zeros((1, 2, 3)))}), "u")
    ('x', 'y')
    """
    other = {sample_dim(ds), time_dim(ds), *_channel_dims(ds)}
    return tuple(str(dim) for dim in require_variable(ds, name).dims if dim not in other)


def field_names(ds: xr.Dataset) -> tuple[str, ...]:
    """The numeric variables that have a space dimension, in the order of the data set.

    Examples
    --------
    >>> ds = xr.Dataset({"u": (("sample", "x"), np.zeros((1, 3))), "nu": ("sample", [0.1])})
    >>> field_names(ds), parameter_names(ds)
    (('u',), ('nu',))
    """
    return tuple(name for name in map(str, ds.data_vars) if _is_numeric(ds[name]) and space_dims(ds, name))


def parameter_names(ds: xr.Dataset) -> tuple[str, ...]:
    """The numeric variables that are one number per sample, or one for all.

    Examples
    --------
    >>> parameter_names(xr.Dataset({"nu": 0.1, "title": "run 3"}))
    ('nu',)
    """
    sample = sample_dim(ds)
    return tuple(name for name in map(str, ds.data_vars) if _is_numeric(ds[name]) and ds[name].dims in {(), (sample,)})


def grid_of(ds: xr.Dataset, name: str) -> Grid:
    """The grid of a variable, read from the coordinates of its space dimensions.

    The attributes of a coordinate are taken where they describe the coordinates that are there. After indexing, such
    as ``ds.isel(x=slice(8))``, they no longer do, and the axis is inferred from the coordinates: closed, since a part
    of a periodic axis is not periodic, and cell where it was. Without attributes a uniform axis is taken as closed
    unless the attribute ``kind`` says otherwise, and without coordinates it is ``x_i = i / N``, kind left. Coordinates
    that are not uniform make a stretched axis.

    A latitude and a longitude make a sphere: longitudes that go around are periodic, and latitudes whose outermost
    cells reach the poles (half a spacing away where uniform, up to a spacing for Gauss latitudes) end there.

    Returns
    -------
    Grid

    Raises
    ------
    DataError
        If the variable is missing.
    DomainError
        If it has no space dimension, coordinates that do not ascend, or is on no grid, see `domain_of`.

    Examples
    --------
    >>> axis = Axis("x", 4, 0.0, 2.0, "periodic")
    >>> ds = xr.Dataset({"u": ("x", np.zeros(4))}, coords={"x": coordinate(axis)})
    >>> grid_of(ds, "u").axes[0] == axis
    True
    >>> grid_of(ds.isel(x=slice(3)), "u").axes[0].kind
    'closed'
    """
    dims = space_dims(ds, name)
    if not dims:
        raise DomainError(
            f"{origin(ds)}: variable {name!r} has no space dimension among {require_variable(ds, name).dims}"
        )
    scattered = [dim for dim in dims if dim in _without_axis(ds)]
    if scattered:
        raise DomainError(
            f"{origin(ds)}: variable {name!r} is on no grid, {scattered[0]!r} has no axis; "
            f"sciops.data.conventions.domain_of gives its points, and resample takes it to a grid"
        )
    try:
        axes = tuple(_axis(ds, dim) for dim in dims)
        if sum(map(_marked(ds, is_latitude), axes)) == 1 == sum(map(_marked(ds, is_longitude), axes)):
            return Grid(tuple(_around_the_globe(axis) for axis in axes), metric="sphere")
        return Grid(axes)
    except DomainError as error:
        raise DomainError(f"{origin(ds)}: {error}") from None


def domain_of(ds: xr.Dataset, name: str) -> Grid | PointCloud | Mesh | CurvilinearGrid:
    """Where a variable stands: a grid by `grid_of`, scattered points, a mesh or a curvilinear grid.

    A variable along the cells of a mesh stands at their centroids, with their volumes as weights.

    Parameters
    ----------
    ds
        A data set by the conventions of this module.
    name
        A variable with space dimensions.

    Raises
    ------
    DataError
        If the variable is missing.
    DomainError
        If it has no space dimension, mixes points with axes, or has points that move from sample to sample.

    Examples
    --------
    >>> coords = {"x": ("point", [0.0, 0.5, 2.0])}
    >>> marks = {"point_dims": ["point"], "point_coords": ["x"]}
    >>> domain_of(xr.Dataset({"u": ("point", np.zeros(3))}, coords, marks), "u")
    PointCloud(3 points, x)
    """
    dims = space_dims(ds, name)
    if not dims or not set(dims) & _without_axis(ds):
        return grid_of(ds, name)
    try:
        curvilinear = _listed(ds, "curvilinear_coords")
        if curvilinear and set(dims) == {dim for line in curvilinear for dim in _located(ds, line, name).dims}:
            nodes = [_located(ds, line, name).transpose(*dims) for line in curvilinear]
            values = torch.from_numpy(np.stack([line.values.astype(np.float64) for line in nodes]))
            return CurvilinearGrid(values, names=curvilinear, dims=dims, units=_units(nodes))
        if len(dims) > 1:
            raise DomainError(
                f"variable {name!r} has the space dimensions {', '.join(dims)}: points and axes together make no "
                f"domain; choose along one of them by ds.isel"
            )
        if dims[0] in _listed(ds, "point_dims"):
            return _points(ds, dims[0], name)
        return _cell_centres(ds, dims[0].removeprefix("cell_"), name)
    except DomainError as error:
        raise DomainError(f"{origin(ds)}: {error}") from None


def coordinates_of(domain: Domain) -> tuple[dict[str, xr.Variable], dict[str, Any]]:
    """The coordinates that describe a domain, and the attributes of the data set that go with them.

    `domain_of` gives the domain back.

    Raises
    ------
    DomainError
        If the domain is of a kind that has no convention.

    Examples
    --------
    >>> coordinates, attributes = coordinates_of(PointCloud([[0.0], [1.0]], units="m"))
    >>> list(coordinates), attributes
    (['x'], {'point_dims': ['point'], 'point_coords': ['x'], 'domain': 'points'})
    """
    if isinstance(domain, Grid):
        return {axis.name: coordinate(axis) for axis in domain.axes}, {}
    if not isinstance(domain, PointCloud | Mesh | CurvilinearGrid):
        raise DomainError(
            f"a {type(domain).__name__} has no coordinates in a data set; take a Grid, PointCloud or Mesh"
        )
    lines = domain.coordinates().numpy()
    found = {
        name: xr.Variable(domain.dims, line, {"units": units})
        for name, line, units in zip(domain.names, lines, domain.units, strict=True)
    }
    if isinstance(domain, CurvilinearGrid):
        return found, {"curvilinear_coords": list(domain.names)}
    for name, tag in (domain.tags or {}).items():
        if tag.shape == domain.shape:
            found[f"tag_{name}"] = xr.Variable(domain.dims, tag.numpy())
    if isinstance(domain, PointCloud) and domain.has_weights:
        found["point_weights"] = xr.Variable(domain.dims, domain.weights().numpy())
    if isinstance(domain, Mesh):
        for kind, cells in domain.cells.items():
            found[f"cells_{kind}"] = cell_variable(kind, cells.numpy())
    marks = {"point_dims": list(domain.dims), "point_coords": list(domain.names)}
    return found, {**marks, "domain": "mesh" if isinstance(domain, Mesh) else "points"}


def cell_variable(kind: str, cells: Any) -> xr.Variable:
    """The coordinate variable of the cells of one type, in the way of UGRID.

    Examples
    --------
    >>> cell_variable("line", np.array([[0, 1]])).dims
    ('cell_line', 'corner_line')
    """
    attributes = {"cell_type": kind, "start_index": 0}
    return xr.Variable((f"cell_{kind}", f"corner_{kind}"), np.asarray(cells, dtype=np.int64), attributes)


def axis_attributes(axis: Axis, assumed: bool = False) -> dict[str, Any]:
    """The attributes of the coordinate variable of an axis.

    Examples
    --------
    >>> axis_attributes(Axis("x", 4, units="m"))
    {'kind': 'closed', 'lower': 0.0, 'upper': 1.0, 'units': 'm'}
    """
    attributes = {"kind": axis.kind, "lower": axis.lower, "upper": axis.upper, "units": axis.units}
    if not axis.uniform:
        attributes["size"] = axis.size  # tells whether lower and upper still hold after indexing
    return {**attributes, "assumed": 1} if assumed else attributes


def coordinate(axis: Axis, assumed: bool = False) -> xr.Variable:
    """The coordinate variable of an axis, float64 with the attributes of `axis_attributes`.

    Parameters
    ----------
    axis
        The axis; its name is the dimension.
    assumed
        Whether the file gave no coordinates.

    Examples
    --------
    >>> coordinate(Axis("x", 3)).values.tolist()
    [0.0, 0.5, 1.0]
    """
    return xr.Variable((axis.name,), axis.coordinates().numpy(), axis_attributes(axis, assumed))


def _dimension(ds: xr.Dataset, attribute: str, default: str) -> str | None:
    name = _text(ds.attrs.get(attribute, default))
    return name if name in ds.dims else None


def _channel_dims(ds: xr.Dataset) -> tuple[str, ...]:
    names = ds.attrs.get("channel_dims", ())
    return (_text(names),) if isinstance(names, str | bytes) else tuple(_text(name) for name in np.atleast_1d(names))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _is_numeric(variable: xr.DataArray) -> bool:
    return variable.dtype.kind in "biuf"


def _end(dim: str, end: str, value: Any) -> float:
    try:
        return float(np.asarray(value).item())
    except (ValueError, TypeError):
        raise DomainError(f"axis {dim!r}: the attribute {end!r} of its coordinate is {value!r}, not a number") from None


def _axis(ds: xr.Dataset, dim: str) -> Axis:
    """The axis of a space dimension; see `grid_of` for the rules."""
    size = int(ds.sizes[dim])
    if dim not in ds.coords:
        return Axis(dim, size, kind="left")
    values, attributes = ds[dim].values, ds[dim].attrs
    kind = cast("Kind | None", _text(attributes["kind"])) if "kind" in attributes else None
    units = _text(attributes.get("units", ""))
    if units in ("", "degrees", "degree") and (standard := _text(attributes.get("standard_name", ""))):
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


def _inferred(dim: str, values: Any, kind: Kind | None, units: str) -> Axis:
    """The axis of the coordinates alone, stretched where they ascend but are not uniform."""
    try:
        return Axis.from_coordinates(dim, values, kind=kind, units=units)
    except DomainError:
        if kind not in (None, "cell"):
            raise
        return Axis.from_coordinates(dim, values, kind="stretched", units=units)


def _marked(ds: xr.Dataset, chosen: Any) -> Any:
    """Whether an axis is a latitude or longitude by its units, not by its name alone."""
    return lambda axis: chosen(replace(axis, name="marked"))


def _around_the_globe(axis: Axis) -> Axis:
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


def _listed(ds: xr.Dataset, attribute: str) -> tuple[str, ...]:
    return tuple(_text(name) for name in np.atleast_1d(ds.attrs.get(attribute, ())))


def _without_axis(ds: xr.Dataset) -> set[str]:
    """Dimensions along which nodes have no order: points, cells and corners of meshes, and curvilinear indices."""
    lines = [name for name in _listed(ds, "curvilinear_coords") if name in ds.coords]
    lines += [str(name) for name in ds.coords if str(name).startswith("cells_")]
    return set(_listed(ds, "point_dims")) | {str(dim) for name in lines for dim in ds[name].dims}


def _located(ds: xr.Dataset, line: str, name: str) -> xr.DataArray:
    """A coordinate of points or curvilinear nodes, which must stand still."""
    if line not in ds.coords:
        raise DomainError(f"no coordinate {line!r}, which places {name!r}{did_you_mean(line, map(str, ds.coords))}")
    for dim in (sample_dim(ds), time_dim(ds)):
        if dim is not None and dim in ds[line].dims:
            raise DomainError(
                f"the points of {name!r} move: the coordinate {line!r} has the dimensions {ds[line].dims}; choose one "
                f"by ds.isel({dim}=0)"
            )
    return ds[line]


def _units(lines: list[xr.DataArray]) -> list[str]:
    return [_text(line.attrs.get("units", "")) for line in lines]


def _points(ds: xr.Dataset, dim: str, name: str) -> PointCloud | Mesh:
    lines = [_located(ds, line, name) for line in _listed(ds, "point_coords")]
    if not lines or any(line.dims != (dim,) for line in lines):
        found = ", ".join(f"{line.name} {line.dims}" for line in lines) or "none"
        raise DomainError(f"the points of {name!r} need coordinates along {dim!r} listed in point_coords; got {found}")
    points = torch.from_numpy(np.stack([line.values.astype(np.float64) for line in lines], axis=1))
    names, units = _listed(ds, "point_coords"), _units(lines)
    tags = {
        str(tag).removeprefix("tag_"): torch.from_numpy(ds[tag].values.astype(bool))
        for tag in ds.coords
        if str(tag).startswith("tag_") and ds[tag].dims == (dim,)
    }
    cells = {
        kind: torch.from_numpy(ds[f"cells_{kind}"].values.astype(np.int64))
        for kind in ELEMENTS
        if f"cells_{kind}" in ds.coords
    }
    if cells:
        return Mesh(points, cells, tags=tags, names=names, units=units)
    weights = ds["point_weights"].values if "point_weights" in ds.coords else None
    return PointCloud(points, weights, names=names, units=units, tags=tags)


def _cell_centres(ds: xr.Dataset, kind: str, name: str) -> PointCloud:
    if f"cells_{kind}" not in ds.coords or not _listed(ds, "point_dims"):
        raise DomainError(f"variable {name!r} stands on cells of type {kind!r} without the coordinate 'cells_{kind}'")
    (dim,) = _listed(ds, "point_dims")
    mesh = _points(ds, dim, name)
    if not isinstance(mesh, Mesh) or kind not in mesh.cells:
        raise DomainError(f"variable {name!r} stands on cells of type {kind!r}, which make no mesh")
    centres = mesh.points[mesh.cells[kind]].mean(dim=1)
    return PointCloud(centres, mesh.cell_volumes[kind], names=mesh.names, units=mesh.units)
