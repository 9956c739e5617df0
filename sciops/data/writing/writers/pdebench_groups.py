"""PDEBench files with a group for each sample: shallow water, diffusion-reaction and diffusion-sorption."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]

from sciops.data.writing.writers import Plan, Source, register

_RANGES = {"x": ("x_left", "x_right"), "y": ("y_bottom", "y_top"), "z": ("z_back", "z_front")}
_NUMERICS = {"seed", "n", "t", "T_end", "tdim", "xdim", "ydim", "n_time_steps", *sum(_RANGES.values(), ())}


@register("pdebench-groups")
def pdebench_groups(source: Source) -> Plan:
    """The variable ``data`` (sample, time, [channel], x[, y]) as ``0000/data`` (t, x, y, v) and so on.

    Parameters, one for all or of each sample, go to the section ``sim`` of the attribute ``config`` of each group.
    """
    space = ("x", "y", "z")[: max(1, len(source.space("data")))]
    channel = source.channel("data")
    if channel is not None and source.ds.sizes[channel] == 1:
        raise source.error(
            f"'data' has the channel dimension {channel!r} of length 1, it has none then", f"ds.squeeze({channel!r})"
        )
    whole = source.array("data", ("sample", "time", *space, *([channel] if channel else [])))
    lines = {dim: source.line(dim) for dim in space}
    times = source.line("time")
    axes = {axis.name: axis for axis in source.grid("data").axes}
    parameters = _parameters(source)
    shared: dict[str, Any] = {"t": float(times[-1]), "tdim": len(times)}
    for dim in space:
        shared[f"{dim}dim"] = axes[dim].size
        shared.update(zip(_RANGES[dim], (axes[dim].lower, axes[dim].upper), strict=True))
    arrays: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    order = (*source.dims(("time",)), *space, channel)
    for index in range(source.ds.sizes[str(source.sample)]):
        group = f"{index:04d}"
        own = {name: float(values[index % len(values)]) for name, values in parameters.items()}
        groups[group] = {"config": yaml.safe_dump({"sim": {**shared, "seed": index, **own}})}
        arrays[f"{group}/data"] = replace(whole, dims=order, at={source.sample: index})
        arrays |= {f"{group}/grid/{dim}": line for dim, line in lines.items()}
        arrays[f"{group}/grid/t"] = times
    return Plan(arrays, groups=groups)


def _parameters(source: Source) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """Values of each parameter, of one sample or of all."""
    found = {}
    for name in map(str, source.ds.data_vars):
        dims = source.ds[name].dims
        if dims not in ((), (source.sample,)):
            continue
        if name in _NUMERICS:
            raise source.error(
                f"{name!r} means a setting of the solver there, no parameter", f"ds.rename({name}=...) (--rename)"
            )
        found[name] = np.atleast_1d(source.take(name).values)
    return found
