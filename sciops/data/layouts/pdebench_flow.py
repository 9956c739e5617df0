"""Compressible flow of PDEBench in 1D, 2D and 3D: ``density``, ``pressure`` and velocities (b, t, x[, y[, z]])."""

from __future__ import annotations

import math

import xarray as xr

from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._hdf5 import scalars
from sciops.data.reading.assembly import assemble
from sciops.errors import LayoutError

_FIELDS = ("density", "pressure", "Vx", "Vy", "Vz")
_SPACE = ("x", "y", "z")
_PARAMETERS = ("eta", "zeta", "M")


@register("pdebench-flow")
class PDEBenchFlow(Layout):
    """One array for each field, ``x-coordinate`` and so on, ``t-coordinate`` (one longer: the last is dropped).

    The viscosities ``eta``, ``zeta`` and the Mach number ``M`` are root attributes. Whether the boundary is periodic
    stands in the file's name alone: give ``kinds=``.
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        if contents.container != "hdf5" or contents.self_describing:
            return None
        shapes = {name: contents.entries[name].shape for name in _FIELDS if name in contents.entries}
        if not {"density", "pressure", "Vx"} <= set(shapes) or len(set(shapes.values())) != 1:
            return None
        shape = shapes["density"]
        if not 3 <= len(shape) <= 5 or len(shapes) != len(shape):
            return None
        found = ", ".join(name for name in _PARAMETERS if name in contents.attributes) or "none"
        return f"HDF5 with {', '.join(shapes)} {shape}, as PDEBench writes compressible flow; parameters: {found}"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        entries = contents.entries
        fields = [name for name in _FIELDS if name in entries]
        shape = entries["density"].shape
        space = _SPACE[: len(shape) - 2]
        coords: dict[str, object] = {}
        for dim, size in zip(space, shape[2:], strict=True):
            name = f"{dim}-coordinate"
            if name in entries and math.prod(entries[name].shape) == size:
                coords[dim] = name
        if "t-coordinate" in entries:
            times = math.prod(entries["t-coordinate"].shape)
            if times not in (shape[1], shape[1] + 1):
                raise LayoutError(
                    f"{contents.path}: 't-coordinate' has {times} times, 'density' {shape[1]}; {shape[1]} or "
                    f"{shape[1] + 1} fit"
                )
            coords["time"] = contents.read("t-coordinate").reshape(-1)[: shape[1]]
        return assemble(
            contents,
            options,
            variables={name: ("sample", "time", *space) for name in fields},
            coords=coords,
            parameters=scalars(contents.attributes, _PARAMETERS),
        )
