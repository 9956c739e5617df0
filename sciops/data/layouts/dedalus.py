"""Output of Dedalus: ``tasks/*`` (t, components, *space) with dimension scales in ``scales/*``."""

from __future__ import annotations

from typing import Any

import h5py
import xarray as xr

from sciops.data.conventions.attributes import text
from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._arrays import flattened
from sciops.data.layouts._domain import mark_components
from sciops.data.layouts._hdf5 import is_dedalus
from sciops.data.reading.assembly import assemble
from sciops.errors import LayoutError


@register("dedalus")
class Dedalus(Layout):
    """One set file, one trajectory: time is ``scales/sim_time``, the axes are those of the attached scales.

    Axes of which a task does not depend are dropped. A task in coefficient space has axes kx, ky, ... Two resolutions
    of one coordinate give two dimensions, such as x and x_128. The files do not name the bases: give ``kinds=`` where a
    uniform axis is periodic.
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        if contents.container != "hdf5" or contents.matlab or not is_dedalus(contents):
            return None
        tasks = [name.removeprefix("tasks/") for name in _tasks(contents)]
        number = contents.attributes.get("set_number")
        which = "" if number is None else f", set {number}"
        return f"HDF5 with tasks ({', '.join(tasks)}) over scales, as Dedalus writes them{which}"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        scales = _scales(contents)
        times = contents.entries["scales/sim_time"].shape
        coords: dict[str, Any] = {"time": "scales/sim_time"}
        sizes: dict[str, tuple[str, int]] = {}
        ready: dict[str, Any] = {}
        for path in _tasks(contents):
            entry = contents.entries[path]
            if entry.shape[:1] != times:
                raise LayoutError(
                    f"{contents.path}: {path!r} has shape {entry.shape}, the file {times} times; get the file anew"
                )
            dims: list[str | None] = ["time"]
            for label, scale, size in zip(*scales[path], entry.shape[1:], strict=True):
                if label in ("", "constant"):
                    dims.append("component" if not label else None if size == 1 else "constant")
                    continue
                dim = label
                if sizes.setdefault(dim, (scale, size)) != (scale, size):
                    dim = f"{label}_{size}"
                    sizes.setdefault(dim, (scale, size))
                dims.append(dim)
                if scale and len(contents.entries[scale].shape) == 1:
                    coords[dim] = scale
            name = path.removeprefix("tasks/").replace("/", "_")
            ready[name] = _task(contents, path, name, dims)
        if not ready:
            raise LayoutError(f"{contents.path}: no tasks; declare the arrays by dims=")
        return assemble(contents, options, variables={}, coords=coords, parameters=ready, sample=None)


def _tasks(contents: Contents) -> list[str]:
    return [
        name for name, entry in contents.entries.items() if name.startswith("tasks/") and entry.numeric and entry.shape
    ]


def _scales(contents: Contents) -> dict[str, tuple[list[str], list[str]]]:
    """For each task the labels of its axes after time, and the paths of the first scales attached to them."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    with contents.opened() as file:
        for path in _tasks(contents):
            labels, paths = [], []
            for axis in list(file[path].dims)[1:]:
                scale = axis[0] if len(axis) else None
                name = "" if scale is None else str(scale.name or "").lstrip("/")
                paths.append(name if name in contents.entries else "")
                labels.append(str(axis.label or _name(scale)))
            found[path] = labels, paths
    return found


def _name(scale: h5py.Dataset | None) -> str:
    return "" if scale is None else text(scale.attrs.get("NAME", ""))


def _task(contents: Contents, path: str, name: str, dims: list[str | None]) -> xr.Variable:
    entry = contents.entries[path]
    rank = dims.count("component")
    names = [f"dropped {i}" if dim is None else dim for i, dim in enumerate(dims)]
    if rank == 2 and names[1:3] == ["component", "component"]:
        variable = flattened(contents.lazy(path), 1, ["time", f"channel_{name}", *names[3:]])
    elif rank < 2:
        named = [f"channel_{name}" if dim == "component" else dim for dim in names]
        encoding = {"preferred_chunks": dict(zip(named, entry.chunks, strict=True))} if entry.chunks else {}
        variable = xr.Variable(named, contents.lazy(path), None, encoding, fastpath=True)
    else:
        raise LayoutError(f"{contents.path}: {path!r} has {rank} component axes; declare it by dims=")
    if rank:
        space = [dim for dim in dims[1:] if dim not in ("component", None)]
        fits = variable.sizes[f"channel_{name}"] == len(space) ** rank
        mark_components(variable, rank, [str(dim) for dim in space] if fits else [])
    return variable.isel({dim: 0 for dim in names if dim.startswith("dropped ")})
