"""Any file by declaration: the caller names the axes of each array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from sciops.data.conventions import space_dims
from sciops.data.domains.axis import Axis
from sciops.data.layouts import Contents, Layout, Options, describe, register
from sciops.data.layouts._hdf5 import boundary_text
from sciops.data.reading.assembly import assemble
from sciops.data.reading.declaration import CoordinateDeclaration, Declaration, ParameterDeclaration
from sciops.errors import DomainError, LayoutError, did_you_mean


@register("declared")
class Declared(Layout):
    """``dims`` or ``declaration`` of `sciops.data.open` name arrays and axes; it is only asked for."""

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        return None

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        if options.declaration is not None:
            return _read(contents, options, options.declaration)
        dims = options.dims or {}
        if not dims:
            raise LayoutError(f"{contents.path}: dims= names no array; {describe(contents)}")
        used = {dim for axes in dims.values() for dim in axes}
        sample = "sample" if options.sample_dim is None and "sample" in used else options.sample_dim
        return assemble(contents, options, variables=dims, sample=sample)


def _read(contents: Contents, options: Options, declaration: Declaration) -> xr.Dataset:
    used = {dim for variable in declaration.variables.values() for dim in variable.dims}
    sample = options.sample_dim or declaration.sample_dim or ("sample" if "sample" in used else None)
    for option, dim in (("sample_dim", sample), ("time_dim", declaration.time_dim)):
        if dim is not None and dim not in used:
            hint = did_you_mean(dim, map(str, used - {None}))
            raise LayoutError(f"{declaration.source}: {option}: no dimension {dim!r}{hint}")
    dims, names = {}, {}
    for name, variable in declaration.variables.items():
        if variable.path in dims:
            raise LayoutError(f"{declaration.source}: two variables name the array {variable.path!r}; keep one")
        dims[variable.path], names[variable.path] = variable.dims, name
    ds = assemble(
        contents,
        options,
        variables=dims,
        names=names,
        coords=_coordinates(contents, declaration, dims),
        parameters={name: _parameter(contents, name, p, sample) for name, p in declaration.parameters.items()},
        sample=sample,
    )
    if declaration.time_dim is not None:
        ds.attrs["time_dim"] = declaration.time_dim
    ds.attrs["channel_dims"] = [str(d) for d in ds.dims if str(d) == "channel" or str(d).startswith("channel_")]
    for name in declaration.variables:
        _describe(ds, name, declaration)
    if not ds.attrs["channel_dims"]:
        del ds.attrs["channel_dims"]
    return ds


def _coordinates(contents: Contents, declaration: Declaration, dims: Mapping[str, Any]) -> dict[str, Any]:
    sizes = {
        dim: size
        for path, axes in dims.items()
        if path in contents.entries and len(axes) == len(contents.entries[path].shape)
        for dim, size in zip(axes, contents.entries[path].shape, strict=True)
    }
    for option, named in (("coordinates", declaration.coordinates), ("kinds", declaration.kinds)):
        for dim in named:
            if dim not in sizes:
                known = [str(name) for name in sizes if name]
                raise LayoutError(f"{declaration.source}: {option}: no dimension {dim!r}{did_you_mean(dim, known)}")
    return {
        dim: _coordinate(contents, dim, line, sizes[dim], declaration) for dim, line in declaration.coordinates.items()
    }


def _coordinate(
    contents: Contents, dim: str, line: CoordinateDeclaration, size: int, declaration: Declaration
) -> str | Axis | xr.Variable | tuple[float, ...]:
    kind = declaration.kinds.get(dim, line.kind)
    if line.lower is not None and line.upper is not None:
        try:
            return Axis(dim, size, line.lower, line.upper, kind or "closed", line.units or "")
        except DomainError as error:
            raise DomainError(f"{declaration.source}: coordinates.{dim}: {error}") from None
    if line.path is not None and line.units is None:
        return line.path
    if line.path is None:
        values: Any = np.asarray(line.values, dtype=np.float64)
    elif line.path in contents.entries:
        values = contents.read(line.path).reshape(-1)
    else:
        hint = did_you_mean(line.path, contents.entries)
        raise LayoutError(f"{contents.path}: no array {line.path!r} for the coordinates of {dim!r}{hint}")
    return xr.Variable((dim,), values, {"units": line.units or ""})


def _parameter(contents: Contents, name: str, given: ParameterDeclaration, sample: str | None) -> xr.Variable:
    attributes = {} if given.units is None else {"units": given.units}
    if given.value is not None:
        return xr.Variable((), np.asarray(given.value), attributes)
    if given.attribute is not None:
        group, _, key = given.attribute.rpartition("/")
        known = contents.group_attributes(group) if group else contents.attributes
        value = known.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            what = f"no attribute {given.attribute!r}{did_you_mean(key, known)}" if key not in known else f"{value!r}"
            raise LayoutError(f"{contents.path}: parameter {name!r}: {what}; a number is needed")
        return xr.Variable((), np.asarray(value), attributes)
    path = str(given.path)
    if path not in contents.entries:
        raise LayoutError(
            f"{contents.path}: parameter {name!r}: no array {path!r}{did_you_mean(path, contents.entries)}"
        )
    shape = contents.entries[path].shape
    long = [axis for axis, size in enumerate(shape) if size != 1]
    if len(long) > 1 or (long and sample is None):
        raise LayoutError(
            f"{contents.path}: parameter {name!r} has shape {shape}; one number or one for each sample is needed"
        )
    dims = [sample if axis in long else f"dropped {axis}" for axis in range(len(shape))]
    variable = xr.Variable(dims, contents.lazy(path), attributes, fastpath=True)
    return variable.isel({dim: 0 for dim in dims if dim != sample})


def _describe(ds: xr.Dataset, name: str, declaration: Declaration) -> None:
    """The attributes of a variable: units, channels, boundary conditions, mask."""
    declared = declaration.variables[name]
    attributes = ds[name].attrs
    space = space_dims(ds, name)
    if declared.units is not None:
        attributes["units"] = declared.units
    if declared.channels:
        (dim,) = [str(d) for d in ds[name].dims if d in ds.attrs["channel_dims"]][:1]
        expected = len(declared.channels) ** (2 if declared.rank == 2 else 1)
        if ds.sizes[dim] != expected:
            raise LayoutError(
                f"{declaration.source}: variables.{name}.channels: {len(declared.channels)} names, and {dim!r} has "
                f"length {ds.sizes[dim]}; name each"
            )
        attributes["components"] = list(declared.channels)
    if declared.channels or declared.rank is not None:
        vector = bool(declared.channels) and set(declared.channels) <= set(space)
        attributes["rank"] = int(vector) if declared.rank is None else declared.rank
    common = {dim: condition for dim, condition in declaration.boundary_conditions.items() if dim in space}
    conditions = declared.boundary_conditions or ({} if declared.role == "mask" else common)
    for dim in conditions:
        if dim not in space:
            where = f"variables.{name}.boundary_conditions"
            raise LayoutError(f"{declaration.source}: {where}: no space dimension {dim!r}{did_you_mean(dim, space)}")
    if conditions:
        attributes["boundary_conditions"] = boundary_text(conditions)
    if declared.mask is not None:
        if declared.mask not in ds.data_vars:
            hint = did_you_mean(declared.mask, map(str, ds.data_vars))
            raise LayoutError(f"{declaration.source}: variables.{name}.mask: no variable {declared.mask!r}{hint}")
        attributes["mask"] = declared.mask
    if declared.role is not None:
        attributes["role"] = declared.role
