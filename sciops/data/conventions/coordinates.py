"""The variables and attributes by which a data set says where its values stand."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from sciops.data.domains.axis import Axis
from sciops.data.domains.curvilinear import CurvilinearGrid
from sciops.data.domains.domain import Domain, Grid
from sciops.data.domains.mesh import Mesh
from sciops.data.domains.points import PointCloud
from sciops.errors import DomainError


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
