"""netCDF4, and any HDF5 with dimension scales: what `sciops.data.write` writes, and what xarray opens by itself."""

from __future__ import annotations

import numpy as np
import xarray as xr

from sciops.data.containers import reading
from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._hdf5 import is_dedalus
from sciops.data.storage import plain
from sciops.errors import LayoutError

_LISTS = {"channel_dims", "point_dims", "point_coords", "curvilinear_coords"}
_WITHOUT_VALUES = "This is a netCDF dimension but not a netCDF variable"


@register("native")
class Native(Layout):
    """Dimensions by name from the dimension scales of the file; numbers keep the file's units, times stay numbers."""

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        if contents.container != "hdf5" or contents.matlab or not contents.self_describing or is_dedalus(contents):
            return None
        return "netCDF4/HDF5 with dimension scales"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        for name, entry in contents.entries.items():
            scale = entry.attributes.get("CLASS") == "DIMENSION_SCALE"
            if scale and not str(entry.attributes.get("NAME")).startswith(_WITHOUT_VALUES):
                contents.check_length(name)
        contents.close()
        with reading(contents.path):
            ds = xr.open_dataset(
                contents.path,
                engine="h5netcdf",
                cache=False,
                decode_times=False,
                decode_timedelta=False,
                phony_dims="access",
            )
        bare = [str(name) for name, v in ds.variables.items() if any(str(d).startswith("phony_dim") for d in v.dims)]
        if bare:
            raise LayoutError(
                f"{contents.path}: {', '.join(bare)} without dimension scales; attach scales, or declare what to read "
                f"by dims="
            )
        if not ds.data_vars and any("/" in name for name in contents.entries):
            raise LayoutError(f"{contents.path}: the root group holds no variables; declare those of groups by dims=")
        ds.attrs = {str(name): plain(value) for name, value in ds.attrs.items()}
        for attribute in _LISTS & set(ds.attrs):
            ds.attrs[attribute] = [str(name) for name in np.atleast_1d(ds.attrs[attribute])]
        if options.coords:
            raise LayoutError(f"{contents.path}: its coordinates come from the file; coords= goes with dims=")
        return ds
