"""The Well: ``t0_fields``, ``t1_fields``, ``t2_fields`` with dimensions, scalars and boundary conditions in groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import xarray as xr

from sciops.data.conventions import axis_attributes
from sciops.data.domains.axis import Axis
from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._arrays import flattened, negated
from sciops.data.layouts._domain import mark_components, with_coordinates
from sciops.data.layouts._hdf5 import boundary_text, one_line, scalars, texts
from sciops.data.layouts._well import Frame, attribute, axes, below, boundary_values, frame, mask_dims, subgroups
from sciops.data.reading.assembly import assemble
from sciops.data.reading.inference import axis_from_values
from sciops.data.reading.storage import plain
from sciops.errors import LayoutError

_LARGEST_MASK = 1 << 24
_AXIS = ("units", "long_name", "kind", "lower", "upper", "size")
_TIME = ("units", "long_name", "reference", "first", "calendar")


@register("the-well")
class TheWell(Layout):
    """Fields of rank 0 to 2 with the components last; a field has the dimensions along which it varies.

    Boundary conditions of an axis become the attribute ``boundary_conditions`` of the fields they are about. An axis
    with the condition PERIODIC is periodic: its nodes leave the upper end out, whichever numbers they end at. A mask
    over several axes that is true inside of the domain (an obstacle) becomes the mask variable ``mask_<name>``, true
    where there is no obstacle, of each sample where they differ; masks are looked at when opening. Values that a
    condition sets become ``boundary_<name>``, on a face as `FunctionDataset` takes them by ``boundary=``. Where
    trajectories have different times, these are the coordinate ``times`` (sample, time).
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        if contents.container != "hdf5" or contents.self_describing:
            return None
        found = frame(contents)
        if found is None:
            return None
        ranks = {f"rank {order}": len(below(contents, f"t{order}_fields")) for order in range(3)}
        fields = ", ".join(f"{count} of {rank}" for rank, count in ranks.items() if count)
        return f"HDF5 with t0_fields, t1_fields, t2_fields as The Well writes them: {fields} over {dict(found.space)}"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        found = cast(Frame, frame(contents))
        conditions = _conditions(contents, found)
        ready: dict[str, xr.Variable] = {}
        for order in range(3):
            for name, path in below(contents, f"t{order}_fields").items():
                ready[name] = _field(contents, path, name, found, order)
                _attach(ready[name], name, conditions)
        for name, path in below(contents, "scalars").items():
            if contents.entries[path].numeric:
                ready[name if name not in ready else f"scalar_{name}"] = _lazy(
                    contents, path, axes(contents, path, found, None)
                )
        for name, value in _attributes(contents).items():
            ready.setdefault(name, xr.Variable((), np.asarray(value)))
        masks = {each.name: each.mask for each in conditions if each.mask is not None}
        for name, mask in masks.items():
            ready[f"mask_{name}"] = mask
        if len(masks) == 1:
            name, mask = next(iter(masks.items()))
            for variable in ready.values():
                if {*mask.dims} - {"sample"} <= {*variable.dims} and "role" not in variable.attrs:
                    variable.attrs["mask"] = f"mask_{name}"
        for each in conditions:
            for end, variable in each.values.items():
                variable.attrs |= {"bc_type": each.kind, **({"fields": each.fields} if each.fields else {})}
                ready[f"boundary_{each.name}{end}"] = variable
        used = {dim for variable in ready.values() for dim in variable.dims}
        coords, times = _coordinates(contents, found, conditions)
        coords = {dim: line for dim, line in coords.items() if dim in used}
        ds = assemble(contents, options, variables={}, coords=coords, parameters=ready)
        grid_type = attribute(contents.attributes, "grid_type")
        if grid_type is not None:
            ds.attrs["grid_type"] = str(grid_type)
        return ds if times is None or "sample" not in ds.dims else with_coordinates(ds, {"times": times})


@dataclass(frozen=True)
class _Condition:
    """A boundary condition: its name, type, faces by dimension, fields, mask of obstacles, and the values it sets."""

    name: str
    kind: str
    faces: dict[str, str | tuple[str, str]]
    fields: list[str]
    mask: xr.Variable | None
    values: dict[str, xr.Variable]


def _field(contents: Contents, path: str, name: str, found: Frame, rank: int) -> xr.Variable:
    dims = axes(contents, path, found, rank)
    channel = f"channel_{name}"
    named: list[str | None] = [channel if dim == "component" else dim for dim in dims]
    if "component 2" in dims:
        tensor = flattened(
            contents.lazy(path), len(dims) - 2, [dim or f"dropped {i}" for i, dim in enumerate(named[:-1])]
        )
        variable = tensor.isel({str(dim): 0 for dim in tensor.dims if str(dim).startswith("dropped ")})
    else:
        variable = _lazy(contents, path, named)
    if rank:
        size = variable.sizes[channel]
        directions = list(found.space) if size == len(found.space) ** rank else []
        mark_components(variable, rank, directions)
    return variable


def _lazy(contents: Contents, path: str, dims: Sequence[str | None]) -> xr.Variable:
    entry = contents.entries[path]
    names = [f"dropped {i}" if dim is None else dim for i, dim in enumerate(dims)]
    units = {key: value for key, value in entry.attributes.items() if key in ("units", "long_name", "description")}
    encoding = {"preferred_chunks": dict(zip(names, entry.chunks, strict=True))} if entry.chunks else {}
    variable = xr.Variable(names, contents.lazy(path), units, encoding, fastpath=True)
    return variable.isel({name: 0 for name, dim in zip(names, dims, strict=True) if dim is None})


def _attributes(contents: Contents) -> dict[str, float]:
    """The simulation parameters that are numbers at the root."""
    return scalars(contents.attributes, texts(attribute(contents.attributes, "simulation_parameters")))


def _coordinates(
    contents: Contents, found: Frame, conditions: Sequence[_Condition]
) -> tuple[dict[str, Any], xr.Variable | None]:
    """Coordinates of the dimensions, and the times of each sample where they differ."""
    paths = {name.lower(): path for name, path in below(contents, "dimensions").items()}
    coords: dict[str, Any] = {}
    times = None
    line = one_line(contents, paths["time"], found.n_times)
    told = _told(contents, paths["time"], _TIME)
    if line is not None:
        coords["time"] = xr.Variable(("time",), line, told)
    else:
        times = xr.Variable(("sample", "time"), contents.read(paths["time"]), told)
    periodic = {dim for each in conditions for dim, kind in each.faces.items() if kind == "periodic"}
    for dim, size in found.space.items():
        values = one_line(contents, paths[dim.lower()], size)
        if values is None:
            raise LayoutError(
                f"{contents.path}: the coordinates {dim!r} differ between samples; declare the fields by dims="
            )
        told = _told(contents, paths[dim.lower()], _AXIS)
        known = {"kind", "lower", "upper"} <= set(told)
        axis = axis_from_values(dim, values, "left") if dim in periodic and not known else None
        if axis is not None:
            start = float(values[0])
            axis = Axis(dim, size, start, start + axis.extent, "periodic")
            told |= axis_attributes(axis) | {"units": told.get("units", "")}
        coords[dim] = xr.Variable((dim,), values if axis is None else axis.coordinates().numpy(), told)
    return coords, times


def _told(contents: Contents, path: str, names: Sequence[str]) -> dict[str, Any]:
    """The attributes of a coordinate that say its units, and of a file of ours the axis."""
    found = contents.entries[path].attributes
    return {name: plain(found[name]) for name in names if name in found}


def _conditions(contents: Contents, found: Frame) -> list[_Condition]:
    """The boundary conditions of the file."""
    result: list[_Condition] = []
    for group in subgroups(contents, "boundary_conditions"):
        name = group.rpartition("/")[2]
        attributes = contents.group_attributes(group)
        kind = next(iter(texts(attribute(attributes, "bc_type"))), "unknown").lower()
        known = {dim.lower(): dim for dim in found.space}
        dims = [known[dim.lower()] for dim in texts(attribute(attributes, "associated_dims")) if dim.lower() in known]
        dims = dims or [dim for key, dim in known.items() if name.lower().startswith(f"{key}_")]
        fields = texts(attribute(attributes, "associated_fields"))
        path = f"{group}/mask"
        held = mask_dims(contents, path, found, dims)
        apart = 0 if held is None else len(held) - len(dims)
        faces = {dim: _faces(contents, path if held else None, axis + apart, kind) for axis, dim in enumerate(dims)}
        mask = None
        if held and len(dims) > 1 and kind not in ("periodic", "open") and _inside(contents, path, apart):
            mask = negated(contents.lazy(path), held)
            mask.attrs["role"] = "mask"
        values = {}
        if held and not apart and kind != "periodic" and math.prod(contents.entries[path].shape) <= _LARGEST_MASK:
            nodes = np.asarray(contents.lazy(path)).astype(bool)
            values = boundary_values(contents, group, found, dims, nodes)
        known_faces = {dim: face for dim, face in faces.items() if face is not None}
        result.append(_Condition(name, kind, known_faces, fields, mask, values))
    return result


def _faces(contents: Contents, path: str | None, axis: int, kind: str) -> str | tuple[str, str] | None:
    """The condition at the lower and the upper end of an axis; a mask false at both, or none, means both."""
    if kind == "periodic":
        return kind
    if path is None:
        return (kind, kind)
    dims = [str(i) for i in range(len(contents.entries[path].shape))]
    mask = xr.Variable(dims, contents.lazy(path), fastpath=True)
    ends = [bool(np.all(mask.isel({str(axis): end}).values)) for end in (0, -1)]
    if len(dims) == 1 and not any(ends):
        return (kind, kind)
    return (kind if ends[0] else "", kind if ends[1] else "") if any(ends) else None


def _inside(contents: Contents, path: str, apart: int) -> bool:
    """Whether a mask is true away from the faces; a huge one is taken so without looking."""
    if math.prod(contents.entries[path].shape) > _LARGEST_MASK:
        return True
    mask = np.asarray(contents.lazy(path)).astype(bool)
    return bool(mask[(slice(None),) * apart + (slice(1, -1),) * (mask.ndim - apart)].any())


def _attach(variable: xr.Variable, name: str, conditions: Sequence[_Condition]) -> None:
    """Set the boundary conditions of a field along its dimensions; several of one axis fill each other's free ends."""
    merged: dict[str, str | tuple[str, str]] = {}
    for condition in conditions:
        if condition.fields and name not in condition.fields:
            continue
        for dim, face in condition.faces.items():
            before = merged.get(dim)
            if dim not in variable.dims:
                continue
            if isinstance(before, tuple) and isinstance(face, tuple):
                face = (before[0] or face[0], before[1] or face[1])
            merged[dim] = face if before is None or isinstance(before, tuple) else before
    if merged:
        variable.attrs["boundary_conditions"] = boundary_text(merged)
