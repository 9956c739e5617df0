"""Which dimensions of a data set count samples, times and channels, and which are space."""

from __future__ import annotations

import numpy as np
import xarray as xr

from sciops.data.conventions.attributes import listed, text
from sciops.errors import DataError, did_you_mean


def origin(ds: xr.Dataset) -> str:
    """The file the data set was opened from, or ``"the data set"``: the first words of an error message.

    Examples
    --------
    >>> origin(xr.Dataset())
    'the data set'
    """
    return str(ds.encoding.get("source") or "the data set")


def sample_dim(ds: xr.Dataset) -> str | None:
    """Name of the dimension that counts samples, or None.

    Examples
    --------
    >>> sample_dim(xr.Dataset({"u": (("run", "x"), np.zeros((2, 3)))}, attrs={"sample_dim": "run"}))
    'run'
    """
    return _dimension(ds, "sample_dim", "sample")


def time_dim(ds: xr.Dataset) -> str | None:
    """Name of the time dimension, or None; a dimension that counts samples is not time.

    Examples
    --------
    >>> time_dim(xr.Dataset({"u": (("time", "x"), np.zeros((2, 3)))}))
    'time'
    """
    found = _dimension(ds, "time_dim", "time")
    return None if found == sample_dim(ds) else found


def n_samples(ds: xr.Dataset) -> int:
    """Number of samples; 1 where there is no sample dimension.

    Examples
    --------
    >>> n_samples(xr.Dataset({"u": (("sample", "x"), np.zeros((2, 3)))}))
    2
    """
    dim = sample_dim(ds)
    return 1 if dim is None else int(ds.sizes[dim])


def require_variable(ds: xr.Dataset, name: str) -> xr.DataArray:
    """The data variable of that name.

    Raises
    ------
    DataError
        If there is none: the message names the file and the nearest name.

    Examples
    --------
    >>> require_variable(xr.Dataset({"u": ("x", [1.0, 2.0])}), "u").shape
    (2,)
    """
    if name not in ds.data_vars:
        raise DataError(f"{origin(ds)}: no variable {name!r}{did_you_mean(name, map(str, ds.data_vars))}")
    return ds[name]


def channel_dim(ds: xr.Dataset, name: str) -> str | None:
    """Name of the channel dimension of a variable, or None.

    Raises
    ------
    DataError
        If the variable is missing, or has several channel dimensions.

    Examples
    --------
    >>> ds = xr.Dataset({"u": (("c", "x"), np.zeros((2, 3)))}, attrs={"channel_dims": ["c"]})
    >>> channel_dim(ds, "u"), space_dims(ds, "u")
    ('c', ('x',))
    """
    found = [str(dim) for dim in require_variable(ds, name).dims if dim in _channel_dims(ds)]
    if len(found) > 1:
        raise DataError(
            f"{origin(ds)}: variable {name!r} has the channel dimensions {', '.join(found)}; "
            f"join them by ds.stack(channel={tuple(found)!r})"
        )
    return found[0] if found else None


def space_dims(ds: xr.Dataset, name: str) -> tuple[str, ...]:
    """Names of the space dimensions of a variable in their order: all that are neither sample, time nor channel.

    Examples
    --------
    >>> space_dims(xr.Dataset({"u": (("sample", "x", "y"), np.zeros((1, 2, 3)))}), "u")
    ('x', 'y')
    """
    other = {sample_dim(ds), time_dim(ds), *_channel_dims(ds)}
    return tuple(str(dim) for dim in require_variable(ds, name).dims if dim not in other)


def field_names(ds: xr.Dataset) -> tuple[str, ...]:
    """The numeric variables that have a space dimension, in the order of the data set.

    Examples
    --------
    >>> ds = xr.Dataset({"u": (("sample", "x"), np.zeros((1, 3))), "nu": ("sample", [0.1])})
    >>> field_names(ds), parameter_names(ds)
    (('u',), ('nu',))
    """
    return tuple(name for name in map(str, ds.data_vars) if _is_numeric(ds[name]) and space_dims(ds, name))


def parameter_names(ds: xr.Dataset) -> tuple[str, ...]:
    """The numeric variables that are one number per sample, or one for all.

    Examples
    --------
    >>> parameter_names(xr.Dataset({"nu": 0.1, "title": "run 3"}))
    ('nu',)
    """
    sample = sample_dim(ds)
    return tuple(name for name in map(str, ds.data_vars) if _is_numeric(ds[name]) and ds[name].dims in {(), (sample,)})


def point_dims(ds: xr.Dataset) -> tuple[str, ...]:
    """The dimensions of scattered points: those listed, else that along which the coordinates of the points stand.

    Examples
    --------
    >>> coords = {"x": ("node", [0.0, 0.5]), "y": ("node", [1.0, 2.0])}
    >>> point_dims(xr.Dataset({"u": ("node", [1.0, 2.0])}, coords, {"point_coords": ["x", "y"]}))
    ('node',)
    """
    if "point_dims" in ds.attrs:
        return listed(ds, "point_dims")
    other = {sample_dim(ds), time_dim(ds), *_channel_dims(ds)}
    found = [str(dim) for line in listed(ds, "point_coords") if line in ds.variables for dim in ds[line].dims]
    return tuple(dict.fromkeys(dim for dim in found if dim not in other and dim not in ds.coords))


def _dimension(ds: xr.Dataset, attribute: str, default: str) -> str | None:
    name = text(ds.attrs.get(attribute, default))
    return name if name in ds.dims else None


def _channel_dims(ds: xr.Dataset) -> tuple[str, ...]:
    names = ds.attrs.get("channel_dims", ())
    return (text(names),) if isinstance(names, str | bytes) else tuple(text(name) for name in np.atleast_1d(names))


def _is_numeric(variable: xr.DataArray) -> bool:
    return variable.dtype.kind in "biuf"
