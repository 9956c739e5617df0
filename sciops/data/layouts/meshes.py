"""Meshes of VTK and XDMF: points, cells, and variables at the points or on the cells; one sample in a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from sciops.data.conventions import cell_variable
from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._domain import mark_components, mark_points
from sciops.data.reading.assembly import assemble
from sciops.data.reading.storage import Entry
from sciops.errors import LayoutError


@register("mesh")
class MeshFile(Layout):
    """Variables at the points have the dimension ``point``, those of cells ``cell_<type>``; vectors become channels.

    A variable that several types of cells have is called ``cell_data_<type>_<name>`` for each.
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        if contents.container != "mesh":
            return None
        cells = [name for name in contents.entries if name.startswith("cells/")]
        counts = ", ".join(f"{contents.entries[name].shape[0]} {name.removeprefix('cells/')}" for name in cells)
        n, d = contents.entries["points"].shape
        kind = contents.attributes.get("format", "mesh")
        return f"{kind} file with {n} points in {d} directions, cells: {counts or 'none'}"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        points = contents.read("points")
        names = ("x", "y", "z")[: points.shape[1]]
        timed = "time" in contents.entries
        variables = {path: _dims(path, entry, timed) for path, entry in contents.entries.items() if "_data/" in path}
        taken = next((path for path in variables if path.rsplit("/", 1)[-1] in names), None)
        if taken is not None:
            raise LayoutError(f"{contents.path}: {taken!r} has the name of a coordinate; rename it in the file")
        coords = {"time": contents.read("time")} if timed else {}
        ds = assemble(contents, options, variables=variables, coords=coords, sample=None)
        for path, dims in variables.items():
            channel = next((dim for dim in dims if dim.startswith("channel_")), None)
            if channel is not None:
                rank = {len(names): 1, len(names) ** 2: 2}.get(contents.entries[path].shape[-1])
                if rank is not None:
                    name = next(name for name in ds.data_vars if channel in ds[name].dims)
                    mark_components(ds[name].variable, rank, names)
        where: dict[str, Any] = {
            name: xr.Variable(("point",), np.ascontiguousarray(points[:, i])) for i, name in enumerate(names)
        }
        ds = mark_points(ds, where)
        cells = [name for name in contents.entries if name.startswith("cells/")]
        if cells:
            lines = {f"cells_{name[6:]}": cell_variable(name[6:], contents.read(name)) for name in cells}
            close = ds._close
            ds = ds.assign_coords(lines)
            ds.set_close(close)
            ds.attrs["domain"] = "mesh"
        return ds


def _dims(path: str, entry: Entry, timed: bool) -> tuple[str, ...]:
    """Names of the axes of one variable: frames, points or cells, components."""
    place, *kind, name = path.split("/")
    space = "point" if place == "point_data" else f"cell_{kind[0]}"
    channels = f"channel_{name}" if place == "point_data" else f"channel_{kind[0]}_{name}"
    return (*(("time",) if timed else ()), space, channels)[: len(entry.shape)]
