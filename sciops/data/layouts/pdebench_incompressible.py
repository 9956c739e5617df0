"""Incompressible flow of PDEBench: ``velocity`` (b, t, x, y, 2), ``particles``, ``force`` and ``t`` (b, t)."""

from __future__ import annotations

from typing import Any

import xarray as xr

from sciops.data.domains.axis import Axis
from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._config import numbers, settings
from sciops.data.layouts._domain import mark_components
from sciops.data.layouts._hdf5 import boundary_text, one_line
from sciops.data.reading.assembly import assemble
from sciops.errors import LayoutError

_SPACE = ("x", "y", "z")
_NUMERICS = {"seed", "n_steps", "frame_int", "n_batch"}
_EXTRAPOLATIONS = {"ZERO": "dirichlet", "BOUNDARY": "neumann", "PERIODIC": "periodic"}
_CONDITIONS = {"velocity": "velocity_extrapolation", "particles": "particle_extrapolation"}


@register("pdebench-incompressible")
class PDEBenchIncompressible(Layout):
    """Vector fields with the components last; the attribute ``config`` (YAML) gives parameters and boundary conditions.

    The simulator's domain has cells of length 1, ``[0, n]`` in each direction, where ``grid_size`` in ``config`` says
    so. Frames after the attribute ``latestIndex`` were not written and are left out.
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        entries = contents.entries
        if contents.container != "hdf5" or contents.self_describing or not {"velocity", "particles"} <= set(entries):
            return None
        velocity, particles = entries["velocity"].shape, entries["particles"].shape
        if len(velocity) not in (4, 5, 6) or velocity[-1] != len(velocity) - 3 or particles != (*velocity[:-1], 1):
            return None
        return f"HDF5 with velocity {velocity} and particles {particles}, as PDEBench writes incompressible flow"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        entries = contents.entries
        shape = entries["velocity"].shape
        space = _SPACE[: shape[-1]]
        variables: dict[str, tuple[str | None, ...]] = {
            "velocity": ("sample", "time", *space, "channel_velocity"),
            "particles": ("sample", "time", *space, None),
        }
        if "force" in entries and entries["force"].shape == (shape[0], *shape[2:]):
            variables["force"] = ("sample", *space, "channel_force")
        config = settings(contents.attributes.get("config"))
        coords: dict[str, Any] = {}
        if config.get("grid_size") == list(shape[2:-1]):
            coords = {dim: Axis(dim, n, 0.0, float(n), "cell") for dim, n in zip(space, shape[2:-1], strict=True)}
        times = None
        if "t" in entries:
            times = one_line(contents, "t", shape[1])
            if times is None:
                raise LayoutError(f"{contents.path}: the samples have different times 't'; declare the fields by dims=")
            coords["time"] = times
        ds = assemble(
            contents, options, variables=variables, coords=coords, parameters=numbers(config, without=_NUMERICS)
        )
        for name in ("velocity", "force"):
            if name in ds:
                mark_components(ds[name], 1, space)
        for name, key in _CONDITIONS.items():
            kind = _EXTRAPOLATIONS.get(str(config.get(key)))
            if kind is not None:
                either = "periodic" if kind == "periodic" else (kind, kind)
                ds[name].attrs["boundary_conditions"] = boundary_text({dim: either for dim in space})
        latest = contents.attributes.get("latestIndex")
        if isinstance(latest, int) and 0 <= latest < shape[1] - 1:
            close = ds._close
            ds = ds.isel(time=slice(latest + 1))
            ds.set_close(close)
        return ds
