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


EXAMPLES = [
    Example("native", ".nc", native),
    Example("native", ".h5", native_transposed),
    Example("declared", ".h5", declared_groups),
]
