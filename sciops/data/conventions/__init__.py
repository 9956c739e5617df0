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

from sciops.data.conventions.coordinates import axis_attributes, cell_variable, coordinate, coordinates_of
from sciops.data.conventions.dimensions import (
    channel_dim,
    field_names,
    n_samples,
    origin,
    parameter_names,
    require_variable,
    sample_dim,
    space_dims,
    time_dim,
)
from sciops.data.conventions.domains import domain_of, grid_of, without_axis

__all__ = [
    "axis_attributes",
    "cell_variable",
    "channel_dim",
    "coordinate",
    "coordinates_of",
    "domain_of",
    "field_names",
    "grid_of",
    "n_samples",
    "origin",
    "parameter_names",
    "require_variable",
    "sample_dim",
    "space_dims",
    "time_dim",
    "without_axis",
]
