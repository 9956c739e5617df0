"""From arrays with named axes to the `xarray.Dataset` that `sciops.data.open` gives; see `sciops.data.conventions`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import xarray as xr

from sciops.data.conventions import axis_attributes, channel_dim, coordinate, sample_dim, time_dim, without_axis
from sciops.data.domains.axis import Axis, Kind
from sciops.data.reading.declaration import Declaration
from sciops.data.reading.inference import axis_from_values
from sciops.data.reading.storage import Contents
from sciops.errors import DataError, InputError, LayoutError, did_you_mean

Dims = Sequence[str | None]
_TIME_NAMES = ("time", "t")


@dataclass(frozen=True)
class Options:
    """What the caller of `open` says about a file beyond its path.

    Parameters
    ----------
    sample_dim
        Name of the dimension that counts samples.
    dims
        Names of the axes of each array to read, in the order of the file.
    coords
        Coordinates of dimensions: the name of an array in the file, an `Axis`, or values.
    kinds
        Kinds of axes, by dimension; they overrule what the coordinates look like.
    declaration
        All of that, where the caller declares the file.
    """

    sample_dim: str | None = None
    dims: Mapping[str, Dims] | None = None
    coords: Mapping[str, str | Axis | Any] = field(default_factory=dict)
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    declaration: Declaration | None = None

    def __post_init__(self) -> None:
        for dim, kind in self.kinds.items():
            if kind not in get_args(Kind):
                raise InputError(f"unknown kind {kind!r} of dimension {dim!r}{did_you_mean(str(kind), get_args(Kind))}")


def assemble(
    contents: Contents,
    options: Options,
    *,
    variables: Mapping[str, Dims],
    coords: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    sample: str | None = "sample",
    names: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """A lazy data set from arrays of a file.

    Parameters
    ----------
    contents
        The file.
    options
        What the caller of `open` said; its coordinates and kinds win.
    variables
        Names of the axes of each array, in the order of the file; None drops an axis of length 1.
    coords
        Coordinates as in `Options.coords`.
    parameters
        Further variables: numbers, or variables ready made.
    sample
        Name of the sample dimension, None if there is none.
    names
        Names of the variables by array; by default the last part of its path.

    Returns
    -------
    xarray.Dataset
        Without layout attributes; `finish` adds the coordinates of the space dimensions.

    Raises
    ------
    LayoutError
        If the axes do not fit the arrays, or two arrays give a dimension different lengths.
    """
    names = _short_names(list(variables)) if names is None else names
    ready = {name: value for name, value in (parameters or {}).items() if isinstance(value, xr.Variable)}
    built = {**{names[path]: _variable(contents, path, dims) for path, dims in variables.items()}, **ready}
    sizes: dict[str, tuple[int, str]] = {}
    for name, variable in built.items():
        for dim, size in zip(map(str, variable.dims), variable.shape, strict=True):
            known, by = sizes.setdefault(dim, (size, name))
            if known != size:
                raise LayoutError(
                    f"{contents.path}: dimension {dim!r} has length {size} in {name!r} and {known} in {by!r}; "
                    f"give one of them another name in dims="
                )
    numbers = {
        name: xr.Variable((), np.asarray(value)) for name, value in (parameters or {}).items() if name not in ready
    }
    given = {**(coords or {}), **options.coords}
    for dim in given:
        if dim not in sizes:
            raise LayoutError(f"{contents.path}: coords= names the unknown dimension {dim!r}{did_you_mean(dim, sizes)}")
    lines = {dim: _coordinate(contents, dim, sizes[dim][0], value) for dim, value in given.items()}
    try:
        ds = xr.Dataset({**numbers, **built}, coords=lines)
    except ValueError as error:
        raise LayoutError(f"{contents.path}: the dimensions do not fit together ({error})") from error
    sample = options.sample_dim or sample
    ds.attrs = {} if sample is None else {"sample_dim": sample}
    ds.set_close(contents.close)
    return ds


def finish(ds: xr.Dataset, options: Options, *, path: Any, layout: str, reason: str) -> xr.Dataset:
    """Mark sample, time, channel and space dimensions, order the axes, and check that there is something to read.

    Parameters
    ----------
    ds
        What a layout read.
    options
        What the caller of `open` said.
    path
        The file.
    layout, reason
        Short name of the layout, and why it was recognised; what reading it found stands in ``layout_remarks``.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    DataError
        If a variable is not numeric, or there are no samples or no variables.
    """
    close = ds._close
    ds = ds.copy()
    ds.encoding["source"] = str(path)
    if options.sample_dim is not None:
        if options.sample_dim not in ds.dims:
            hint = did_you_mean(options.sample_dim, map(str, ds.dims))
            raise LayoutError(f"{path}: no dimension {options.sample_dim!r} to count samples{hint}")
        ds.attrs["sample_dim"] = options.sample_dim
    times = [dim for dim in _TIME_NAMES if dim in ds.dims and dim != sample_dim(ds)]
    if "time_dim" not in ds.attrs and times:
        ds.attrs["time_dim"] = times[0]
    channels = [str(dim) for dim in ds.dims if str(dim) == "channel" or str(dim).startswith("channel_")]
    if "channel_dims" not in ds.attrs and channels:
        ds.attrs["channel_dims"] = channels
    for attribute, found in (("sample_dim", sample_dim(ds)), ("time_dim", time_dim(ds))):
        if found is None:
            ds.attrs.pop(attribute, None)
        else:
            ds.attrs[attribute] = found
    _check(ds, path)
    ds = _annotate(_ordered(ds), options, path)
    remarks = [reason, *ds.attrs.pop("layout_remarks", [])]
    ds.attrs.update(layout=layout, layout_reason="; ".join(remarks))
    for variable in ds.variables.values():
        variable.encoding.setdefault("source", str(path))
    ds.set_close(close)
    return ds


def _short_names(paths: Sequence[str]) -> dict[str, str]:
    """The last part of each path where that is unique, else the whole path with underscores."""
    last = [path.rsplit("/", 1)[-1] for path in paths]
    pairs = zip(paths, last, strict=True)
    return {path: name if last.count(name) == 1 else path.replace("/", "_") for path, name in pairs}


def _variable(contents: Contents, path: str, dims: Dims) -> xr.Variable:
    if path not in contents.entries:
        raise LayoutError(f"{contents.path}: no array {path!r}{did_you_mean(path, contents.entries)}")
    entry = contents.entries[path]
    dims = (dims,) if isinstance(dims, str) else tuple(dims)
    if len(dims) != len(entry.shape):
        raise LayoutError(
            f"{contents.path}: {path!r} has shape {entry.shape}, {len(entry.shape)} axes, but dims= names "
            f"{len(dims)}: {dims}; name every axis of it once, None for one of length 1 to drop"
        )
    for dim, size in zip(dims, entry.shape, strict=True):
        if dim is None and size != 1:
            raise LayoutError(f"{contents.path}: {path!r} has shape {entry.shape}; only an axis of 1 can be None")
    named = [str(dim) for dim in dims if dim is not None]
    if len(set(named)) != len(named):
        raise LayoutError(f"{contents.path}: {path!r} has a dimension twice in {dims}; give every axis its own name")
    temporary = [f"dropped {i}" if dim is None else dim for i, dim in enumerate(dims)]
    attributes = {key: value for key, value in entry.attributes.items() if key in ("units", "long_name", "description")}
    encoding = {"preferred_chunks": dict(zip(temporary, entry.chunks, strict=True))} if entry.chunks else {}
    variable = xr.Variable(temporary, contents.lazy(path), attributes, encoding, fastpath=True)
    return variable.isel({dim: 0 for dim, name in zip(temporary, dims, strict=True) if name is None})


def _coordinate(contents: Contents, dim: str, size: int, value: Any) -> xr.Variable:
    """The coordinate variable of a dimension from the name of an array in the file, an Axis, or values."""
    where = f"the coordinates of {dim!r}"
    if isinstance(value, Axis):
        if value.size != size:
            raise LayoutError(f"{contents.path}: {where} are an axis of {value.size} nodes; the dimension has {size}")
        return coordinate(replace(value, name=dim))
    attributes = dict(value.attrs) if isinstance(value, xr.Variable) else {}
    if isinstance(value, str):
        if value not in contents.entries:
            raise LayoutError(f"{contents.path}: no array {value!r} for {where}{did_you_mean(value, contents.entries)}")
        entry = contents.entries[value]
        if math.prod(entry.shape) != size:
            raise LayoutError(
                f"{contents.path}: {where} have shape {entry.shape} and dtype {entry.dtype}; {size} numbers are needed"
            )
        attributes = {k: v for k, v in entry.attributes.items() if k in ("units", "long_name")}
        value = contents.read(value)
    values = np.asarray(value.values if isinstance(value, xr.Variable) else value)
    if sum(length != 1 for length in values.shape) <= 1:
        values = values.reshape(-1)
    if values.shape != (size,) or values.dtype.kind not in "iuf":
        raise LayoutError(
            f"{contents.path}: {where} have shape {values.shape} and dtype {values.dtype}; {size} numbers are needed"
        )
    return xr.Variable((dim,), values, attributes)


def _check(ds: xr.Dataset, path: Any) -> None:
    if not ds.data_vars:
        raise DataError(f"{path}: no variables; the file holds no arrays to learn from")
    for name, variable in ds.data_vars.items():
        if variable.dtype.kind not in "biufcmMSUO":
            raise DataError(f"{path}: {name!r} has dtype {variable.dtype}, which is not numeric; drop it from dims=")
    if not any(variable.dtype.kind in "biufc" for variable in ds.data_vars.values()):
        found = ", ".join(f"{name} {variable.dtype}" for name, variable in ds.data_vars.items())
        raise DataError(f"{path}: no variable is numeric ({found}); save numbers or booleans")
    for dim, size in ds.sizes.items():
        if size == 0:
            what = "no samples" if dim == sample_dim(ds) else "nothing along it"
            raise DataError(f"{path}: dimension {dim!r} has length 0: the file holds {what}; get it anew")


def _ordered(ds: xr.Dataset) -> xr.Dataset:
    """Every variable as (sample, time, channel, *space); transposing is lazy."""
    for name in ds.data_vars:
        variable = ds[name]
        first = [dim for dim in (sample_dim(ds), time_dim(ds), channel_dim(ds, str(name))) if dim in variable.dims]
        order = [*first, *(dim for dim in variable.dims if dim not in first)]
        if order != list(variable.dims):
            ds[name] = variable.transpose(*order)
    return ds


def _annotate(ds: xr.Dataset, options: Options, path: Any) -> xr.Dataset:
    """Give every space dimension a coordinate that says what axis it is."""
    channels = ds.attrs.get("channel_dims", [])
    space = [str(dim) for dim in ds.dims if dim not in {sample_dim(ds), time_dim(ds), *channels, *without_axis(ds)}]
    for dim in options.kinds:
        if dim not in space:
            raise LayoutError(f"{path}: kinds= names {dim!r}, not a space dimension{did_you_mean(dim, space)}")
    for dim in space:
        if dim not in ds.coords:
            axis = Axis(dim, ds.sizes[dim], kind=options.kinds.get(dim, "left"))
            ds = ds.assign_coords({dim: coordinate(axis, assumed=True)})
            continue
        line = ds[dim]
        if {"kind", "lower", "upper"} <= set(line.attrs) and dim not in options.kinds:
            continue
        found = axis_from_values(dim, line.values, options.kinds.get(dim), str(line.attrs.get("units", "")))
        if found is None and dim in options.kinds:
            raise LayoutError(f"{path}: the coordinates of {dim!r} are not uniform and ascending; kinds= cannot hold")
        if found is not None:
            line.attrs.update(axis_attributes(found))
        else:
            line.attrs.setdefault("units", "")
    return ds
