"""How a plain `xarray.Dataset` says what its dimensions are; every reader writes this and everything else reads it.

Attributes of the data set
    ``sample_dim`` (``"sample"``), ``time_dim`` (``"time"``), ``channel_dims`` (a list of names). A name that is not a
    dimension of the data set means nothing, so indexing a sample away needs no change of the attributes.
Dimensions of a variable
    ``(sample?, time?, channel?, *space)``; whatever is neither sample, time nor channel is space.
Coordinates of a space dimension
    A 1-D variable of the same name with the attributes ``kind``, ``lower``, ``upper`` and ``units`` of its
    `sciops.data.Axis`, and ``assumed = 1`` where the file gave none (then ``x_i = i / N``, kind left).
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import xarray as xr

from sciops.data.axis import Axis, Kind
from sciops.data.domain import Grid
from sciops.errors import DataError, DomainError, did_you_mean


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
    """Name of the time dimension, or None.

    Examples
    --------
    >>> time_dim(xr.Dataset({"u": (("time", "x"), np.zeros((2, 3)))}))
    'time'
    """
    return _dimension(ds, "time_dim", "time")


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


def grid_of(ds: xr.Dataset, name: str) -> Grid:
    """The grid of a variable, read from the coordinates of its space dimensions.

    The attributes of a coordinate are taken where they describe the coordinates that are there. After indexing, such
    as ``ds.isel(x=slice(8))``, they no longer do, and the axis is inferred from the coordinates: closed, since a part
    of a periodic axis is not periodic, and cell where it was. Without attributes a uniform axis is taken as closed
    unless the attribute ``kind`` says otherwise, and without coordinates it is ``x_i = i / N``, kind left.

    Returns
    -------
    Grid

    Raises
    ------
    DataError
        If the variable is missing.
    DomainError
        If it has no space dimension, or coordinates that are not uniform and ascending.

    Examples
    --------
    >>> axis = Axis("x", 4, 0.0, 2.0, "periodic")
    >>> ds = xr.Dataset({"u": ("x", np.zeros(4))}, coords={"x": coordinate(axis)})
    >>> grid_of(ds, "u").axes[0] == axis
    True
    >>> grid_of(ds.isel(x=slice(3)), "u").axes[0].kind
    'closed'
    """
    dims = space_dims(ds, name)
    if not dims:
        raise DomainError(
            f"{origin(ds)}: variable {name!r} has no space dimension among {require_variable(ds, name).dims}"
        )
    try:
        return Grid(tuple(_axis(ds, dim) for dim in dims))
    except DomainError as error:
        raise DomainError(f"{origin(ds)}: {error}") from None


def axis_attributes(axis: Axis, assumed: bool = False) -> dict[str, Any]:
    """The attributes of the coordinate variable of an axis.

    Examples
    --------
    >>> axis_attributes(Axis("x", 4, units="m"))
    {'kind': 'closed', 'lower': 0.0, 'upper': 1.0, 'units': 'm'}
    """
    attributes = {"kind": axis.kind, "lower": axis.lower, "upper": axis.upper, "units": axis.units}
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


def _dimension(ds: xr.Dataset, attribute: str, default: str) -> str | None:
    name = _text(ds.attrs.get(attribute, default))
    return name if name in ds.dims else None


def _channel_dims(ds: xr.Dataset) -> tuple[str, ...]:
    names = ds.attrs.get("channel_dims", ())
    return (_text(names),) if isinstance(names, str | bytes) else tuple(_text(name) for name in np.atleast_1d(names))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _is_numeric(variable: xr.DataArray) -> bool:
    return variable.dtype.kind in "biuf"


def _end(dim: str, end: str, value: Any) -> float:
    try:
        return float(np.asarray(value).item())
    except (ValueError, TypeError):
        raise DomainError(f"axis {dim!r}: the attribute {end!r} of its coordinate is {value!r}, not a number") from None


def _axis(ds: xr.Dataset, dim: str) -> Axis:
    """The axis of a space dimension; see `grid_of` for the rules."""
    size = int(ds.sizes[dim])
    if dim not in ds.coords:
        return Axis(dim, size, kind="left")
    values, attributes = ds[dim].values, ds[dim].attrs
    kind = cast("Kind | None", _text(attributes["kind"])) if "kind" in attributes else None
    units = _text(attributes.get("units", ""))
    if kind is None or "lower" not in attributes or "upper" not in attributes:
        return Axis.from_coordinates(dim, values, kind=kind, units=units)
    lower, upper = (_end(dim, end, attributes[end]) for end in ("lower", "upper"))
    if size > 1 or kind != "closed":
        described = Axis(dim, size, lower, upper, kind, units)
        if values.dtype.kind in "iuf":
            rounding = 4 * np.finfo(values.dtype).eps * np.abs(values).max() if values.dtype.kind == "f" else 0.0
            off = np.abs(values - described.coordinates().numpy()).max()
            if off <= 1e-3 * described.spacing + rounding:
                return described
    return Axis.from_coordinates(dim, values, kind="cell" if kind == "cell" else None, units=units)
