"""Files that name their own dimensions: netCDF, Zarr, and HDF5 with dimension scales, decoded by xarray."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends.h5netcdf_ import H5NetCDFArrayWrapper

from sciops.data.conventions import sample_dim, time_dim
from sciops.data.layouts import Contents, Options
from sciops.data.reading.containers import reading
from sciops.data.reading.storage import plain
from sciops.errors import DataError, LayoutError

__all__ = ["described", "upright"]

_LISTS = {"channel_dims", "point_dims", "point_coords", "curvilinear_coords"}
_MIXED = re.compile(r"malformed variable (.+?) has mixing of labeled and unlabeled")
_WITHOUT_VALUES = "This is a netCDF dimension but not a netCDF variable"


def described(contents: Contents, options: Options) -> xr.Dataset:
    """The variables of the root group by the names the file gives; missing values and packing decoded, times numbers.

    Raises
    ------
    LayoutError
        If an axis has no name, or the variables are in groups.
    """
    if options.coords:
        raise LayoutError(f"{contents.path}: its coordinates come from the file; coords= goes with dims=")
    ds = _hdf5(contents) if contents.container == "hdf5" else _decoded(contents)
    if not ds.data_vars and any("/" in name for name in contents.entries):
        raise LayoutError(f"{contents.path}: the root group holds no variables; declare those of groups by dims=")
    ds.attrs = {str(name): plain(value) for name, value in ds.attrs.items()}
    for attribute in _LISTS & set(ds.attrs):
        ds.attrs[attribute] = [str(name) for name in np.atleast_1d(ds.attrs[attribute])]
    return ds


def _hdf5(contents: Contents) -> xr.Dataset:
    for name, entry in contents.entries.items():
        scale = entry.attributes.get("CLASS") == "DIMENSION_SCALE"
        if scale and not str(entry.attributes.get("NAME")).startswith(_WITHOUT_VALUES):
            contents.check_length(name)
    contents.close()
    try:
        with reading(contents.path):
            ds = xr.open_dataset(
                contents.path,
                engine="h5netcdf",
                cache=False,
                decode_times=False,
                decode_timedelta=False,
                phony_dims="access",
            )
    except DataError as error:
        mixed = _MIXED.search(str(error))
        if mixed is None:
            raise
        name = mixed[1]
        shape = f" (shape {contents.entries[name].shape})" if name in contents.entries else ""
        raise LayoutError(
            f"{contents.path}: {name}{shape} has a dimension scale on some of its axes alone; attach one to each, or "
            f"declare what to read by dims=, such as dims={{{name!r}: ('sample', 'x')}}, coords={{'x': 'x'}}"
        ) from error
    _name_arrays(ds)
    _require_names(contents, [str(n) for n, v in ds.variables.items() if any(_phony(str(dim)) for dim in v.dims)])
    return ds


def upright(ds: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """The data set with the space dimensions turned round whose coordinates descend, and a remark on which.

    Examples
    --------
    >>> ds, remarks = upright(xr.Dataset({"u": ("x", [1, 2])}, {"x": [1.0, 0.0]}))
    >>> ds.u.values.tolist(), remarks
    ([2, 1], ['x descended and was turned round'])
    """
    turned = []
    for dim in map(str, ds.dims):
        if dim in (sample_dim(ds), time_dim(ds)) or dim not in ds.coords or ds[dim].dtype.kind not in "iuf":
            continue
        values = ds[dim].values
        if len(values) > 1 and bool((values[1:] < values[:-1]).all()):
            turned.append(dim)
    if not turned:
        return ds, []
    made = ds.isel({dim: slice(None, None, -1) for dim in turned})
    made.set_close(ds._close)
    return made, [f"{', '.join(turned)} descended and was turned round"]


class _Named(H5NetCDFArrayWrapper):
    """An array of xarray's that says whose chunk is damaged."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        with reading(Path(str(self.datastore._filename)), self.variable_name):
            return super().__getitem__(key)  # type: ignore[no-untyped-call]


def _name_arrays(ds: xr.Dataset) -> None:
    for variable in ds.variables.values():
        data: Any = variable._data
        while (inner := getattr(data, "array", None)) is not None:
            if type(inner) is H5NetCDFArrayWrapper:
                inner.__class__ = _Named
            data = inner


def _decoded(contents: Contents) -> xr.Dataset:
    """The arrays of a Zarr store or a classic netCDF file, as xarray decodes them."""
    entries = {name: entry for name, entry in contents.entries.items() if "/" not in name}
    _require_names(contents, [name for name, entry in entries.items() if entry.dims is None])
    sizes: dict[str, tuple[int, str]] = {}
    variables = {}
    for name, entry in entries.items():
        for dim, size in zip(entry.dims or (), entry.shape, strict=True):
            known, by = sizes.setdefault(dim, (size, name))
            if known != size:
                raise LayoutError(
                    f"{contents.path}: dimension {dim!r} has length {size} in {name!r} and {known} in {by!r}; declare "
                    f"what to read by dims="
                )
        if (name,) == entry.dims:
            contents.check_length(name)
        encoding = {"preferred_chunks": dict(zip(entry.dims or (), entry.chunks, strict=True))} if entry.chunks else {}
        variables[name] = xr.Variable(
            entry.dims or (), contents.lazy(name), dict(entry.attributes), encoding, fastpath=True
        )
    with reading(contents.path):
        raw = xr.Dataset(variables, attrs=dict(contents.attributes))
        ds = xr.decode_cf(raw, decode_times=False, decode_timedelta=False)
    ds.set_close(contents.close)
    return ds


def _phony(dim: str) -> bool:
    return dim.startswith("phony_dim")


def _require_names(contents: Contents, bare: list[str]) -> None:
    if bare:
        what = "dimension scales; attach scales" if contents.container == "hdf5" else "names of its axes; name them"
        raise LayoutError(f"{contents.path}: {', '.join(bare)} without {what}, or declare what to read by dims=")
