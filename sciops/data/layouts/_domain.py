"""Marking what is no plain grid or no scalar: scattered points, curvilinear grids, and components of fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from sciops.data.reading.containers import Array

__all__ = ["mark_components", "mark_points", "mesh_lines", "with_coordinates"]


def mark_points(
    ds: xr.Dataset, coordinates: Mapping[str, xr.Variable], *, dim: str = "point", units: str = ""
) -> xr.Dataset:
    """The data set with a dimension declared as scattered points with these coordinates, by `data.conventions`.

    Examples
    --------
    >>> ds = mark_points(xr.Dataset({"u": ("point", [1.0, 2.0])}), {"x": xr.Variable("point", [0.0, 0.5])}, units="m")
    >>> ds.attrs["point_dims"], ds.attrs["point_coords"], ds.x.attrs["units"]
    (['point'], ['x'], 'm')
    """
    for variable in coordinates.values():
        variable.attrs.setdefault("units", units)
    marked = with_coordinates(ds, coordinates)
    marked.attrs.update(point_dims=[dim], point_coords=list(coordinates), domain="points")
    return marked


def with_coordinates(ds: xr.Dataset, coordinates: Mapping[str, xr.Variable]) -> xr.Dataset:
    """The data set with further coordinates; closing it still closes the file.

    Examples
    --------
    >>> ds = xr.Dataset({"u": ("sample", [1.0, 2.0])})
    >>> with_coordinates(ds, {"split": xr.Variable("sample", ["train", "test"])}).split.values.tolist()
    ['train', 'test']
    """
    marked = ds.assign_coords(coordinates)
    marked.set_close(ds._close)
    return marked


def mark_components(variable: Any, rank: int, components: Sequence[str]) -> None:
    """Say that the channels of a variable are the components of a scalar, vector or tensor along the named axes.

    Examples
    --------
    >>> velocity = xr.Variable(("channel_velocity", "x"), [[1.0, 2.0]])
    >>> mark_components(velocity, 1, ["x"])
    >>> velocity.attrs
    {'rank': 1, 'components': ['x']}
    """
    variable.attrs.update(rank=rank, components=list(components))


def mesh_lines(first: Array, second: Array) -> tuple[tuple[str, str], dict[str, Array]] | None:
    """The axes of two matrices of coordinates, x and y of each node, and their lines; None if they are curvilinear.

    MATLAB's ``meshgrid`` gives the axes (y, x), its ``ndgrid`` (x, y).

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.meshgrid([0.0, 1.0, 2.0], [0.0, 5.0])
    >>> mesh_lines(x, y)[0]
    ('y', 'x')
    """
    for dims, x, y in ((("x", "y"), first, second), (("y", "x"), first.T, second.T)):
        if (x == x[:, :1]).all() and (y == y[:1]).all():
            return dims, {"x": x[:, 0], "y": y[0]}
    return None
