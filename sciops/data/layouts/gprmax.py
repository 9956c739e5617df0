"""Output of gprMax: ``rxs/rx1/Ez`` and so on, the time series of each receiver."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import xarray as xr

from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._arrays import stacked
from sciops.data.layouts._domain import mark_points
from sciops.data.reading.assembly import assemble

_RECEIVER = re.compile(r"rxs/rx(\d+)/(\w+)")
_UNITS = {"E": "V/m", "H": "A/m", "I": "A"}


@register("gprmax")
class GprMax(Layout):
    """Receivers are scattered points; a merged file (time, trace) has a sample for each trace.

    The time step is the root attribute ``dt``. The receivers of a merged file move by ``rxsteps`` cells from trace to
    trace: then their coordinates are (sample, point). Components that not all receivers have are left out.
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        receivers, components, aside = _receivers(contents)
        if not components:
            return None
        rest = f"; left aside: {', '.join(aside)}" if aside else ""
        fields = ", ".join(components)
        return f"HDF5 with {fields} of {len(receivers)} receivers in rxs, as gprMax writes them{rest}"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        receivers, components, _ = _receivers(contents)
        shape = contents.entries[f"rxs/rx{receivers[0]}/{components[0]}"].shape
        merged = len(shape) == 2
        dims = ("point", "time", "sample") if merged else ("point", "time")
        fields: dict[str, Any] = {}
        for name in components:
            paths = [f"rxs/rx{number}/{name}" for number in receivers]
            fields[name] = stacked(contents, paths, dims)
            fields[name].attrs["units"] = _UNITS[name[0]]
            offset = contents.entries[paths[0]].attributes.get("TimeSampleOffset")
            if isinstance(offset, int | float) and offset:
                fields[name].attrs["time_offset"] = offset
        dt = contents.attributes.get("dt")
        coords: dict[str, Any] = {}
        if isinstance(dt, int | float) and dt > 0:
            coords["time"] = np.arange(shape[0]) * dt
        ds = assemble(contents, options, variables={}, coords=coords, parameters=fields)
        if "time" in ds.coords:
            ds["time"].attrs["units"] = "s"
        return mark_points(ds, _positions(contents, receivers, shape[1] if merged else None), units="m")


def _receivers(contents: Contents) -> tuple[list[int], list[str], list[str]]:
    """Numbers of the receivers, the components that all of them have, and those that only some have."""
    if contents.container != "hdf5" or contents.self_describing:
        return [], [], []
    found: dict[int, list[str]] = {}
    for name, entry in contents.entries.items():
        match = _RECEIVER.fullmatch(name)
        if match and match[2][0] in _UNITS and entry.numeric and len(entry.shape) in (1, 2):
            found.setdefault(int(match[1]), []).append(match[2])
    if not found:
        return [], [], []
    receivers = sorted(found)
    every = dict.fromkeys(name for number in receivers for name in found[number])
    common = [name for name in every if all(name in found[number] for number in receivers)]
    return receivers, common, [name for name in every if name not in common]


def _positions(contents: Contents, receivers: list[int], traces: int | None) -> dict[str, xr.Variable]:
    """Coordinates x, y, z of the receivers; none where a receiver has no attribute ``Position``."""
    rows = [contents.group_attributes(f"rxs/rx{number}").get("Position") for number in receivers]
    if not all(_is_vector(row) for row in rows):
        return {}
    points = np.asarray(rows, dtype=float)
    if traces is None:
        return {name: xr.Variable(("point",), points[:, i]) for i, name in enumerate("xyz")}
    steps, cells = (contents.attributes.get(name) for name in ("rxsteps", "dx_dy_dz"))
    move = np.zeros(3)
    if _is_vector(steps) and _is_vector(cells):
        move = np.asarray(steps, dtype=float) * np.asarray(cells, dtype=float)
    if not move.any():
        return {name: xr.Variable(("point",), points[:, i]) for i, name in enumerate("xyz")}
    every = points + np.arange(traces)[:, None, None] * move
    return {name: xr.Variable(("sample", "point"), every[..., i]) for i, name in enumerate("xyz")}


def _is_vector(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.shape == (3,) and value.dtype.kind in "iuf"
