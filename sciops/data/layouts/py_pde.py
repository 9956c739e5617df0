"""Files of py-pde: trajectories ``data`` and ``times`` with JSON attributes, and single fields."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sciops.data.domains.axis import Axis
from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._arrays import flattened, renamed
from sciops.data.layouts._domain import mark_components
from sciops.data.layouts._hdf5 import boundary_text
from sciops.data.reading.assembly import assemble
from sciops.errors import LayoutError, did_you_mean

_RANKS = {"ScalarField": 0, "VectorField": 1, "Tensor2Field": 2}
_DIRECTIONS = {
    "PolarSymGrid": ("r", "phi"),
    "SphericalSymGrid": ("r", "theta", "phi"),
    "CylindricalSymGrid": ("r", "z", "phi"),
}
_NOT_PARAMETERS = {"data_length", "payload"}


@register("py-pde")
class PyPDE(Layout):
    """Scalar, vector and tensor fields, and collections of them, on Cartesian, polar, spherical and cylindrical grids.

    Axes are cell centres, or periodic where the grid is. Numbers among the root attributes are parameters. Frames that
    were reserved but not written are left out.
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        found = _fields(contents)
        if not found:
            return None
        kinds = ", ".join(f"{name} ({kind})" for name, kind, _ in found)
        frames = f"{contents.entries['times'].shape[0]} times of " if "times" in contents.entries else ""
        return f"HDF5 with {frames}{kinds} and their grid in JSON attributes, as py-pde writes them"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        found = _fields(contents)
        axes, directions = _grid(contents, found[0][2])
        series = "times" in contents.entries
        periodic = {axis.name: "periodic" for axis in axes if axis.kind == "periodic"}
        first = 0
        ready: dict[str, Any] = {}
        for index, (name, kind, _) in enumerate(found):
            path = "data" if "data" in contents.entries else f"field_{index}"
            count = len(directions) ** _RANKS[kind]
            stored = _stored(contents, path, [axis.name for axis in axes], lead=("time",) if series else ())
            width = stored.sizes.get("component", 1)
            together = series and len(found) > 1
            if first + count > width or (not together and count != width):
                raise LayoutError(
                    f"{contents.path}: {path!r} has {width} components, but the attributes say {kind} {name!r} from "
                    f"{first} on; declare the array by dims="
                )
            ready[name] = _field(stored, name, slice(first, first + count), _RANKS[kind], directions)
            if periodic:
                ready[name].attrs["boundary_conditions"] = boundary_text(periodic)
            first += count if together else 0
        coords: dict[str, Any] = {axis.name: axis for axis in axes}
        if series:
            length = _loads(contents.attributes.get("data_length"))
            times = contents.read("times").reshape(-1)
            if isinstance(length, int) and 0 < length < len(times):
                ready = {name: part.isel(time=slice(length)) for name, part in ready.items()}
                times = times[:length]
            coords["time"] = times
        parameters = {name: _loads(value) for name, value in contents.attributes.items() if name not in _NOT_PARAMETERS}
        numbers = {
            name: value
            for name, value in parameters.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and name not in ready
        }
        return assemble(contents, options, variables={}, coords=coords, parameters={**ready, **numbers}, sample=None)


def _stored(contents: Contents, path: str, space: Sequence[str], *, lead: tuple[str, ...]) -> xr.Variable:
    """An array as (time?, component?, *space); the two component axes of a tensor are made one."""
    if path not in contents.entries:
        raise LayoutError(f"{contents.path}: no array {path!r}{did_you_mean(path, contents.entries)}")
    entry = contents.entries[path]
    inner = len(entry.shape) - len(lead) - len(space)
    if inner not in (0, 1, 2):
        raise LayoutError(
            f"{contents.path}: {path!r} has shape {entry.shape}; the grid has the axes {', '.join(space)}"
        )
    if inner == 2:
        return flattened(contents.lazy(path), len(lead), (*lead, "component", *space))
    dims = (*lead, *("component",) * inner, *space)
    encoding = {"preferred_chunks": dict(zip(dims, entry.chunks, strict=True))} if entry.chunks else {}
    return xr.Variable(dims, contents.lazy(path), None, encoding, fastpath=True)


def _field(stored: xr.Variable, name: str, part: slice, rank: int, directions: Sequence[str]) -> xr.Variable:
    """The components of one field of those that are stored together."""
    if not rank:
        return stored.isel(component=part.start) if "component" in stored.dims else stored
    field = renamed(stored.isel(component=part), {"component": f"channel_{name}"})
    mark_components(field, rank, directions)
    return field


def _loads(text: Any) -> Any:
    """A JSON text as what it says; None where it is none."""
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _fields(contents: Contents) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Name, class and grid of each field of a file; nothing where this is another layout."""
    entries = contents.entries
    if contents.container != "hdf5" or contents.self_describing or not entries:
        return []
    if {"data", "times"} <= set(entries):
        if len(entries["times"].shape) != 1:
            return []
        attributes = _loads(contents.attributes.get("field_attributes"))
    elif set(entries) == {"data"}:
        attributes = dict(entries["data"].attributes)
    else:
        attributes = dict(contents.attributes)
    if not isinstance(attributes, Mapping):
        return []
    collection = _loads(attributes.get("class")) == "FieldCollection"
    parts = _loads(attributes.get("fields")) if collection else [attributes]
    found: list[tuple[str, str, Mapping[str, Any]]] = []
    for index, part in enumerate(parts if isinstance(parts, list) else []):
        kind, grid = (_loads(part.get(key)) if isinstance(part, Mapping) else None for key in ("class", "grid"))
        grid = _loads(grid) if isinstance(grid, str) else grid
        if kind not in _RANKS or not isinstance(grid, Mapping) or "class" not in grid:
            return []
        label = _loads(part.get("label"))
        usable = isinstance(label, str) and label and "/" not in label and label not in {name for name, _, _ in found}
        found.append((label if usable else "data" if len(parts) == 1 else f"field_{index}", kind, grid))
    return found


def _grid(contents: Contents, grid: Mapping[str, Any]) -> tuple[list[Axis], tuple[str, ...]]:
    """The axes of a grid, and the names of the directions of its vectors."""
    kind = grid["class"]
    try:
        shape = [int(size) for size in np.atleast_1d(grid["shape"])]
        if kind in ("CartesianGrid", "UnitGrid"):
            names = ("x", "y", "z")[: len(shape)]
            bounds = grid["bounds"] if kind == "CartesianGrid" else [(0, size) for size in shape]
            periodic = grid.get("periodic", False)
            flags = [periodic] * len(shape) if isinstance(periodic, bool) else list(periodic)
            return [_axis(*each) for each in zip(names, shape, bounds, flags, strict=True)], names
        if kind in _DIRECTIONS:
            radius = np.atleast_1d(np.asarray(grid["radius"], dtype=float))
            inner, outer = (0.0, radius[0]) if radius.size == 1 else radius
            axes = [_axis("r", shape[0], (inner, outer), False)]
            if kind == "CylindricalSymGrid":
                axes.append(_axis("z", shape[1], grid["bounds_z"], bool(grid.get("periodic_z", False))))
            return axes, _DIRECTIONS[kind]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise LayoutError(
            f"{contents.path}: the grid {json.dumps(grid)[:200]} is not one of py-pde ({error})"
        ) from error
    raise LayoutError(f"{contents.path}: the grid class {kind!r} is unknown; declare the arrays by dims=")


def _axis(name: str, size: int, bounds: Any, periodic: bool) -> Axis:
    """Nodes at cell centres; a periodic axis starts at the first of them."""
    lower, upper = (float(end) for end in bounds)
    if not (math.isfinite(lower) and math.isfinite(upper)):
        raise ValueError(f"bounds {bounds} of {name}")
    if not periodic:
        return Axis(name, size, lower, upper, "cell")
    half = (upper - lower) / size / 2
    return Axis(name, size, lower + half, upper + half, "periodic")
