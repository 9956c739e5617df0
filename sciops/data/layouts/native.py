"""netCDF, Zarr, and any HDF5 with dimension scales: what `sciops.data.write` writes, and xarray opens by itself."""

from __future__ import annotations

import xarray as xr

from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._conventions import cf_marks
from sciops.data.layouts._described import described, upright
from sciops.data.layouts._hdf5 import is_dedalus

_CONTAINERS = {
    "hdf5": "netCDF4/HDF5 with dimension scales",
    "netcdf3": "classic netCDF",
    "zarr": "Zarr with names of dimensions",
}


@register("native")
class Native(Layout):
    """Dimensions by the names the file gives; numbers keep the file's units, times stay numbers.

    Axes that descend are turned round.
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        if contents.matlab or not contents.self_describing or is_dedalus(contents) or cf_marks(contents):
            return None
        return _CONTAINERS.get(contents.container)

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        ds = described(contents, options)
        if options.sample_dim is not None:
            ds.attrs["sample_dim"] = options.sample_dim
        ds, remarks = upright(ds)
        ds.attrs["layout_remarks"] = remarks
        return ds
