"""PDEBench files with a group for each sample: shallow water, diffusion-reaction and diffusion-sorption."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import xarray as xr

from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._arrays import stacked
from sciops.data.layouts._config import numbers, settings
from sciops.data.layouts._domain import mark_components
from sciops.data.reading.assembly import assemble
from sciops.errors import LayoutError

_GROUP = re.compile(r"(\d+)/data")
_NUMERICS = {
    *("seed", "n", "t", "T_end", "tdim", "xdim", "ydim", "n_time_steps"),
    *("x_left", "x_right", "y_bottom", "y_top"),
}


@register("pdebench-groups")
class PDEBenchGroups(Layout):
    """``0000/data`` (t, x[, y], v), ``0000/grid/x`` and so on, for each sample; one lazy variable ``data`` over all.

    The physical numbers of the section ``sim`` of the attribute ``config`` (YAML) are parameters: of all samples where
    the first and the last group agree, else of each.
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        groups = _groups(contents)
        if not groups:
            return None
        shape = contents.entries[f"{groups[0]}/data"].shape
        space = ", ".join(_space(contents, groups[0]))
        return f"HDF5 with {len(groups)} groups of data {shape} over t, {space}, a sample each, as PDEBench writes them"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        groups = _groups(contents)
        first, entries = groups[0], contents.entries
        space = _space(contents, first)
        n_channels = entries[f"{first}/data"].shape[-1]
        dims = ("sample", "time", *space, None if n_channels == 1 else "channel_data")
        data = stacked(contents, [f"{group}/data" for group in groups], dims)
        if n_channels > 1:
            mark_components(data, 0, [])
        coords = {}
        for dim, name in {"time": "t", **{dim: dim for dim in space}}.items():
            shapes = {entries[f"{group}/grid/{name}"].shape for group in groups if f"{group}/grid/{name}" in entries}
            lines = [f"{group}/grid/{name}" for group in (first, groups[-1]) if f"{group}/grid/{name}" in entries]
            if len(shapes) > 1 or len({contents.read(line).tobytes() for line in lines}) > 1:
                raise LayoutError(
                    f"{contents.path}: the groups differ in grid/{name}; declare those that fit together by dims="
                )
            if lines:
                coords[dim] = lines[0]
        parameters: dict[str, Any] = {"data": data, **_parameters(contents, groups)}
        return assemble(contents, options, variables={}, coords=coords, parameters=parameters)


def _groups(contents: Contents) -> list[str]:
    """Names of the groups in the order of their numbers; none if this is another layout."""
    if contents.container != "hdf5" or contents.self_describing:
        return []
    groups = [match[1] for name in contents.entries if (match := _GROUP.fullmatch(name))]
    known = all(name.split("/", 1)[0].isdecimal() and "/" in name for name in contents.entries)
    if not groups or not known:
        return []
    groups.sort(key=lambda group: (int(group), group))
    entry = contents.entries[f"{groups[0]}/data"]
    fits = entry.numeric and len(entry.shape) in (3, 4, 5) and f"{groups[0]}/grid/x" in contents.entries
    return groups if fits and len(_space(contents, groups[0])) == len(entry.shape) - 2 else []


def _space(contents: Contents, group: str) -> tuple[str, ...]:
    return tuple(dim for dim in ("x", "y", "z") if f"{group}/grid/{dim}" in contents.entries)


def _parameters(contents: Contents, groups: list[str]) -> dict[str, Any]:
    ends = [_simulated(contents, group) for group in (groups[0], groups[-1])]
    if ends[0] == ends[1]:
        return dict(ends[0])
    every = [ends[0], *(_simulated(contents, group) for group in groups[1:-1]), ends[1]]
    common = [name for name in ends[0] if all(name in found for found in every)]
    return {name: xr.Variable(("sample",), np.array([found[name] for found in every])) for name in common}


def _simulated(contents: Contents, group: str) -> dict[str, float]:
    config = contents.group_attributes(group).get("config")
    return numbers(settings(config, "sim"), without=_NUMERICS)
