"""Incompressible flow of PDEBench: ``velocity`` (b, t, x, y, 2), ``particles``, ``force`` and ``t`` (b, t)."""

from __future__ import annotations

from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]

from sciops.data.domains.axis import Axis
from sciops.data.writing.writers import Plan, Source, register

_CONDITIONS = {"velocity": "velocity_extrapolation", "particles": "particle_extrapolation"}
_EXTRAPOLATIONS = {"dirichlet": "ZERO", "neumann": "BOUNDARY", "periodic": "PERIODIC"}
_SETTINGS = {"seed", "n_steps", "frame_int", "n_batch", "grid_size", *_CONDITIONS.values()}


@register("pdebench-incompressible")
def pdebench_incompressible(source: Source) -> Plan:
    """The variables ``velocity``, ``particles`` and perhaps ``force`` on cells of length 1 from 0 on.

    Parameters and boundary conditions go to the attribute ``config``.
    """
    space = ("x", "y", "z")[: max(1, len(source.space("velocity")))]
    arrays: dict[str, Any] = {"particles": source.array("particles", ("sample", "time", *space, None))}
    for name, dims in (("velocity", ("sample", "time", *space)), ("force", ("sample", *space))):
        if name == "velocity" or name in source.ds.data_vars:
            arrays[name] = source.array(name, (*dims, source.channel(name) or f"channel_{name}"))
    samples, times = source.ds.sizes[str(source.sample)], source.line("time")
    arrays["t"] = np.broadcast_to(times, (samples, len(times)))
    config: dict[str, Any] = {"n_batch": samples, "n_steps": len(times), "frame_int": 1}
    config["grid_size"] = [_cells(source, dim) for dim in space]
    for name, key in _CONDITIONS.items():
        kinds = {kind for pair in source.boundary(name).values() for kind in pair}
        if kinds and (len(kinds) > 1 or not kinds <= set(_EXTRAPOLATIONS)):
            raise source.error(
                f"{name!r} has the boundary conditions {', '.join(sorted(kinds))}, it holds one of "
                f"{', '.join(_EXTRAPOLATIONS)} for all ends",
                f"delete ds[{name!r}].attrs['boundary_conditions'], or write another layout",
            )
        if kinds:
            config[key] = _EXTRAPOLATIONS[kinds.pop()]
    for parameter in map(str, source.ds.data_vars):
        if source.ds[parameter].dims == () and parameter not in _SETTINGS:
            config[parameter] = float(source.numbers([parameter])[parameter])
    return Plan(arrays, {"config": yaml.safe_dump(config), "latestIndex": len(times) - 1})


def _cells(source: Source, dim: str) -> int:
    """The number of cells along a dimension, whose centres must be 0.5, 1.5 and so on."""
    values = source.line(dim)
    if not np.allclose(values, Axis(dim, len(values), 0.0, float(len(values)), "cell").coordinates().numpy()):
        raise source.error(
            f"the coordinates {dim!r} are not the centres 0.5, 1.5, ... of cells of length 1, the only ones it holds",
            f"ds.assign_coords({dim}=np.arange(ds.sizes[{dim!r}]) + 0.5), or write another layout",
        )
    return len(values)
