"""Where the values of a variable stand: its grid, points, mesh or curvilinear grid."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from sciops.data.conventions.attributes import listed, text
from sciops.data.conventions.axes import around_the_globe, axis_of, by_units
from sciops.data.conventions.dimensions import (
    origin,
    point_dims,
    require_variable,
    sample_dim,
    space_dims,
    time_dim,
)
from sciops.data.domains.curvilinear import CurvilinearGrid
from sciops.data.domains.domain import Grid, is_latitude, is_longitude
from sciops.data.domains.elements import ELEMENTS
from sciops.data.domains.mesh import Mesh
from sciops.data.domains.points import PointCloud
from sciops.errors import DomainError, did_you_mean


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
    >>> from sciops.data import Axis
    >>> from sciops.data.conventions import coordinate
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
    scattered = [dim for dim in dims if dim in without_axis(ds)]
    if scattered:
        raise DomainError(
            f"{origin(ds)}: variable {name!r} is on no grid, {scattered[0]!r} has no axis; "
            f"sciops.data.conventions.domain_of gives its points, and resample takes it to a grid"
        )
    try:
        axes = tuple(axis_of(ds, dim) for dim in dims)
        if sum(map(by_units(is_latitude), axes)) == 1 == sum(map(by_units(is_longitude), axes)):
            return Grid(tuple(around_the_globe(axis) for axis in axes), metric="sphere")
        return Grid(axes)
    except DomainError as error:
        raise DomainError(f"{origin(ds)}: {error}") from None


def domain_of(ds: xr.Dataset, name: str) -> Grid | PointCloud | Mesh | CurvilinearGrid:
    """Where a variable stands: a grid by `grid_of`, scattered points, a mesh or a curvilinear grid.

    A variable along the cells of a mesh stands at their centroids, with their volumes as weights.

    Parameters
    ----------
    ds
        A data set by `sciops.data.conventions`.
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
    if not dims or not set(dims) & without_axis(ds):
        return grid_of(ds, name)
    try:
        curvilinear = listed(ds, "curvilinear_coords")
        if curvilinear and set(dims) == {dim for line in curvilinear for dim in _located(ds, line, name).dims}:
            nodes = [_located(ds, line, name).transpose(*dims) for line in curvilinear]
            values = torch.from_numpy(np.stack([line.values.astype(np.float64) for line in nodes]))
            return CurvilinearGrid(values, names=curvilinear, dims=dims, units=_units(nodes))
        if len(dims) > 1:
            raise DomainError(
                f"variable {name!r} has the space dimensions {', '.join(dims)}: points and axes together make no "
                f"domain; choose along one of them by ds.isel"
            )
        if dims[0] in point_dims(ds):
            return _points(ds, dims[0], name)
        return _cell_centres(ds, dims[0].removeprefix("cell_"), name)
    except DomainError as error:
        raise DomainError(f"{origin(ds)}: {error}") from None


def without_axis(ds: xr.Dataset) -> set[str]:
    """Dimensions along which nodes have no order: points, cells and corners of meshes, and curvilinear indices."""
    lines = [name for name in listed(ds, "curvilinear_coords") if name in ds.coords]
    lines += [str(name) for name in ds.coords if str(name).startswith("cells_")]
    return set(point_dims(ds)) | {str(dim) for name in lines for dim in ds[name].dims}


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
    return [text(line.attrs.get("units", "")) for line in lines]


def _points(ds: xr.Dataset, dim: str, name: str) -> PointCloud | Mesh:
    lines = [_located(ds, line, name) for line in listed(ds, "point_coords")]
    if not lines or any(line.dims != (dim,) for line in lines):
        found = ", ".join(f"{line.name} {line.dims}" for line in lines) or "none"
        raise DomainError(f"the points of {name!r} need coordinates along {dim!r} listed in point_coords; got {found}")
    points = torch.from_numpy(np.stack([line.values.astype(np.float64) for line in lines], axis=1))
    names, units = listed(ds, "point_coords"), _units(lines)
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
    if f"cells_{kind}" not in ds.coords or not point_dims(ds):
        raise DomainError(f"variable {name!r} stands on cells of type {kind!r} without the coordinate 'cells_{kind}'")
    (dim,) = point_dims(ds)
    mesh = _points(ds, dim, name)
    if not isinstance(mesh, Mesh) or kind not in mesh.cells:
        raise DomainError(f"variable {name!r} stands on cells of type {kind!r}, which make no mesh")
    centres = mesh.points[mesh.cells[kind]].mean(dim=1)
    return PointCloud(centres, mesh.cell_volumes[kind], names=mesh.names, units=mesh.units)
