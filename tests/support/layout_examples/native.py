"""netCDF4, and files of no known layout."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import xarray as xr

from layout_examples.base import Arrays, Example, Expected


def native(path: Path, rng: np.random.Generator) -> Expected:
    a, u, nu = rng.normal(size=(3, 8, 6)), rng.normal(size=(3, 8, 6)).astype("f4"), rng.normal(size=3)
    x, y = np.linspace(0, 1, 8), np.arange(6) / 6
    ds = xr.Dataset(
        {"a": (("sample", "x", "y"), a), "u": (("sample", "x", "y"), u), "nu": ("sample", nu)},
        coords={"x": x, "y": y},
    )
    ds.to_netcdf(path, engine="h5netcdf")
    space = ("sample", "x", "y")
    return Expected({"a": (space, a), "u": (space, u), "nu": (("sample",), nu)}, {"x": "closed", "y": "left"})


def native_transposed(path: Path, rng: np.random.Generator) -> Expected:
    """Dimensions in another order, and one called t."""
    u = rng.normal(size=(8, 4, 3))
    ds = xr.Dataset({"u": (("x", "t", "run"), u)}, coords={"x": np.linspace(0, 2, 8), "t": np.arange(4.0)})
    ds.to_netcdf(path, engine="h5netcdf")
    variables = {"u": (("run", "t", "x"), u.transpose(2, 1, 0))}
    return Expected(variables, {"x": "closed"}, sample_dim="run", time=np.arange(4.0), options={"sample_dim": "run"})


def declared_groups(path: Path, rng: np.random.Generator) -> Expected:
    u, v = rng.normal(size=(3, 4, 8, 6, 2)), rng.normal(size=(3, 1, 8, 6))
    with h5py.File(path, "w") as file:
        file.create_dataset("fields/u", data=u, chunks=(1, 2, 8, 6, 2))
        file["fields/v"] = v
        file["grid/x"], file["grid/t"] = np.linspace(0, 3, 8), np.arange(4.0)
        file["grid/x"].attrs["units"] = "m"
    dims = {"fields/u": ("run", "time", "x", "y", "channel"), "fields/v": ("run", None, "x", "y")}
    variables: Arrays = {
        "u": (("run", "time", "channel", "x", "y"), u.transpose(0, 1, 4, 2, 3)),
        "v": (("run", "x", "y"), v[:, 0]),
    }
    coords = {"x": "grid/x", "time": "grid/t", "y": np.arange(6) + 0.5}
    options = {"sample_dim": "run", "dims": dims, "coords": coords}
    kinds = {"x": "closed", "y": "cell"}
    return Expected(variables, kinds, sample_dim="run", time=np.arange(4.0), options=options)


_DECLARATION = """\
variables:
  velocity:
    path: out/v
    dims: [run, frame, x, y, channel_velocity]
    channels: [x, y]
    units: m/s
    boundary_conditions: {y: [wall, open]}
    mask: solid
  pressure: {path: out/p, dims: [run, frame, x, y, null]}
  solid: {path: mask, dims: [x, y], role: mask}
coordinates:
  x: {path: grid/x, units: m}
  y: {lower: 0.0, upper: 2.0, kind: closed, units: m}
  frame: [0.0, 0.5, 1.0]
sample_dim: run
time_dim: frame
kinds: {x: periodic}
parameters:
  nu: {path: nu, units: m2/s}
  density: {attribute: out/rho}
  gravity: 9.81
boundary_conditions: {x: periodic}
"""


def declared_yaml(path: Path, rng: np.random.Generator) -> Expected:
    """Everything that a declaration can say; the declaration is beside the file."""
    v, p, nu = rng.normal(size=(3, 3, 8, 6, 2)), rng.normal(size=(3, 3, 8, 6, 1)).astype("f4"), rng.normal(size=(3, 1))
    solid = rng.random((8, 6)) > 0.2
    with h5py.File(path, "w") as file:
        file["out/v"], file["out/p"], file["nu"], file["grid/x"] = v, p, nu, np.arange(8) / 8
        file["mask"], file["out"].attrs["rho"] = solid, 1000.0
    path.with_suffix(".yaml").write_text(_DECLARATION)
    variables: Arrays = {
        "velocity": (("run", "frame", "channel_velocity", "x", "y"), v.transpose(0, 1, 4, 2, 3)),
        "pressure": (("run", "frame", "x", "y"), p[..., 0]),
        "solid": (("x", "y"), solid),
        "nu": (("run",), nu[:, 0]),
        "density": ((), np.array(1000.0)),
        "gravity": ((), np.array(9.81)),
    }
    return Expected(
        variables,
        {"x": "periodic", "y": "closed"},
        sample_dim="run",
        time=np.array([0, 0.5, 1.0]),
        options={"declaration": path.with_suffix(".yaml")},
        conditions={
            "velocity": {"y": ["wall", "open"]},
            "pressure": {"x": "periodic"},
        },
        components={"velocity": (1, ["x", "y"])},
        coordinates={"y": np.linspace(0, 2, 6)},
        attributes={"velocity": {"units": "m/s", "mask": "solid"}, "nu": {"units": "m2/s"}, "solid": {"role": "mask"}},
    )


EXAMPLES = [
    Example("native", ".nc", native),
    Example("native", ".h5", native_transposed),
    Example("declared", ".h5", declared_groups),
    Example("declared", ".h5", declared_yaml),
]
