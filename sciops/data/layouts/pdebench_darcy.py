"""Darcy flow of PDEBench: diffusion coefficient ``nu`` (b, x, y) and solution ``tensor`` (b, 1, x, y)."""

from __future__ import annotations

import xarray as xr

from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._hdf5 import scalars
from sciops.data.reading.assembly import assemble


@register("pdebench-darcy")
class PDEBenchDarcy(Layout):
    """``nu``, ``tensor``, ``x-coordinate``, ``y-coordinate`` and the load as the attribute ``beta``."""

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        entries = contents.entries
        if contents.container != "hdf5" or contents.self_describing or not {"nu", "tensor"} <= set(entries):
            return None
        nu, tensor = entries["nu"].shape, entries["tensor"].shape
        if len(nu) != 3 or tensor != (nu[0], 1, *nu[1:]):
            return None
        return f"HDF5 with nu {nu} and tensor {tensor}, as PDEBench writes Darcy flow"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        variables = {"nu": ("sample", "x", "y"), "tensor": ("sample", None, "x", "y")}
        coords = {dim: f"{dim}-coordinate" for dim in ("x", "y") if f"{dim}-coordinate" in contents.entries}
        parameters = scalars(contents.attributes, ("beta",))
        return assemble(contents, options, variables=variables, coords=coords, parameters=parameters)
