"""One-dimensional PDEBench trajectories: ``tensor`` (b, t, x) of advection, Burgers and reaction-diffusion."""

from __future__ import annotations

import math

import xarray as xr

from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._hdf5 import scalars
from sciops.data.reading.assembly import assemble
from sciops.errors import LayoutError

_PARAMETERS = ("beta", "Nu", "rho", "Rho")


@register("pdebench-1d")
class PDEBench1D(Layout):
    """``tensor``, ``x-coordinate``, ``t-coordinate`` (one longer than the times: the last is dropped).

    The parameters are root attributes: ``beta`` (advection), ``Nu`` (Burgers), ``Nu`` and ``rho`` (reaction-diffusion).
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        entries = contents.entries
        names = {"tensor", "x-coordinate", "t-coordinate"}
        if contents.container != "hdf5" or contents.self_describing or not names <= set(entries):
            return None
        if len(entries["tensor"].shape) != 3 or "y-coordinate" in entries:
            return None
        found = ", ".join(name for name in _PARAMETERS if name in contents.attributes) or "none"
        return f"HDF5 with tensor {entries['tensor'].shape} and its coordinates, as PDEBench 1D; parameters: {found}"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        n_times = math.prod(contents.entries["t-coordinate"].shape)
        steps = contents.entries["tensor"].shape[1]
        if n_times not in (steps, steps + 1):
            raise LayoutError(
                f"{contents.path}: 't-coordinate' has {n_times} times, 'tensor' {steps}; {steps} or {steps + 1} fit"
            )
        times = contents.read("t-coordinate").reshape(-1)
        parameters = scalars(contents.attributes, _PARAMETERS)
        return assemble(
            contents,
            options,
            variables={"tensor": ("sample", "time", "x")},
            coords={"time": times[:steps], "x": "x-coordinate"},
            parameters=parameters,
        )
