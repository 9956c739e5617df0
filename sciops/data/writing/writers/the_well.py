"""The Well: ``t0_fields``, ``t1_fields``, ``t2_fields`` with dimensions, scalars and boundary conditions in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from sciops.data.conventions import axis_attributes, field_names, space_dims
from sciops.data.writing.encoding import attribute
from sciops.data.writing.writers import Array, Plan, Source, register
from sciops.data.writing.writers._boundaries import boundaries, set_aside

_TIME = ("units", "long_name", "reference", "first", "calendar")
_ROOT = ("dataset_name", "grid_type", "n_spatial_dims", "n_trajectories", "simulation_parameters")


@register("the-well")
def the_well(source: Source) -> Plan:
    """Fields by rank with the components last, each with the dimensions along which it varies.

    Parameters become scalars, and attributes of the root where they are one number; boundary conditions, periodic axes
    masks and boundary values become groups of ``boundary_conditions``.
    """
    aside = set_aside(source)
    fields = [name for name in field_names(source.ds) if name not in aside]
    if not any(source.time in source.ds[name].dims for name in fields):
        raise source.error(
            "it holds trajectories, and no field has a time dimension", "ds.expand_dims('time'), or the native layout"
        )
    space = max((space_dims(source.ds, name) for name in fields), key=len, default=())
    arrays: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for rank in range(3):
        names = [name for name in fields if _rank(source, name) == rank]
        groups[f"t{rank}_fields"] = {"field_names": names}
        arrays |= {f"t{rank}_fields/{name}": _field(source, name, space, rank) for name in names}
    constants = {}
    groups["scalars"] = {"field_names": []}
    for name in map(str, source.ds.data_vars):
        if name in fields or name in aside:
            continue
        arrays[f"scalars/{name}"] = _scalar(source, name)
        groups["scalars"]["field_names"].append(name)
        if source.ds[name].ndim == 0 and name not in _ROOT:
            constants[name] = source.ds[name].values.item()
    groups["dimensions"] = {"spatial_dims": list(space)}
    arrays["dimensions/time"] = _times(source)
    for dim in space:
        values = xr.Variable((dim,), source.line(dim))
        flags = {"sample_varying": False, "time_varying": False}
        arrays[f"dimensions/{dim}"] = Array(values, (dim,), attributes={**flags, **_axis(source, fields, dim)})
    groups["boundary_conditions"] = {}
    for each in boundaries(source, fields, space):
        path = f"boundary_conditions/{each.name}"
        groups[path] = each.attributes()
        arrays[f"{path}/mask"] = each.mask
        if each.values is not None:
            arrays[f"{path}/values"] = each.values
    root = {
        "dataset_name": str(source.ds.attrs.get("dataset_name", source.path.stem)),
        "grid_type": str(source.ds.attrs.get("grid_type", "cartesian")),
        "n_spatial_dims": len(space),
        "n_trajectories": int(source.ds.sizes[source.sample]) if source.sample else 1,
        "simulation_parameters": list(constants),
    }
    return Plan(arrays, {**root, **constants}, groups)


def _rank(source: Source, name: str) -> int:
    channel = source.channel(name)
    if channel is None:
        return 0
    rank = int(source.ds[name].attrs.get("rank", 0))
    count, directions = (
        source.ds.sizes[channel],
        max(len(space_dims(source.ds, each)) for each in field_names(source.ds)),
    )
    if rank not in (1, 2) or count != directions**rank:
        raise source.error(
            f"{name!r} has {count} channels of rank {rank}, and components of vectors ({directions}) or tensors "
            f"({directions**2}) are all it holds",
            f"write each as a variable, such as ds[{name!r}].isel({channel}=0), or set ds[{name!r}].attrs['rank']",
        )
    return rank


def _varying(source: Source, name: str) -> tuple[list[str], dict[str, Any]]:
    """The leading dimensions of a variable, and the flags that say so."""
    held = source.ds[name].dims
    lead = [dim for dim in (source.sample, source.time) if dim is not None and dim in held]
    return lead, {"sample_varying": source.sample in held, "time_varying": source.time in held}


def _field(source: Source, name: str, space: tuple[str, ...], rank: int) -> Array:
    held = source.ds[name].dims
    lead, flags = _varying(source, name)
    flags["dim_varying"] = [dim in held for dim in space]
    channel = source.channel(name)
    dims = [*lead, *(dim for dim in space if dim in held), *([channel] if channel else [])]
    tensor: dict[str, Any] = {"last": 1, "becomes": (len(space), len(space))} if rank == 2 else {}
    return source.array(name, dims, flags, **tensor)


def _scalar(source: Source, name: str) -> Array:
    lead, flags = _varying(source, name)
    if set(source.ds[name].dims) - set(lead):
        raise source.error(
            f"{name!r} has the dimensions ({', '.join(map(str, source.ds[name].dims))}), a scalar varies with "
            f"trajectory and time at most",
            source.drop(name),
        )
    return source.array(name, lead, flags)


def _times(source: Source) -> Array:
    """The times, of each trajectory where they differ."""
    if source.time not in source.ds.coords and "times" in source.ds.coords:
        times = source.take("times").variable
        return Array(
            times, source.dims(("sample", "time")), attributes={"sample_varying": True, **_told(times.attrs, _TIME)}
        )
    line = xr.Variable(source.dims(("time",)), source.line("time"))
    told = _told(source.ds[line.dims[0]].attrs, _TIME)
    return Array(line, line.dims, attributes={"sample_varying": False, **told})


def _axis(source: Source, fields: Sequence[str], dim: str) -> dict[str, Any]:
    """What the axis is, which its coordinates alone do not tell: its kind and ends, and its units."""
    told = _told(source.ds[dim].attrs, ("long_name",))
    widest = max(fields, key=lambda name: (dim in source.ds[name].dims, source.ds[name].ndim))
    axis = next(axis for axis in source.grid(widest).axes if axis.name == dim)
    return {**told, **{key: value for key, value in axis_attributes(axis).items() if value != ""}}


def _told(attributes: Mapping[Any, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: attribute(attributes[name]) for name in names if attributes.get(name, "") != ""}
