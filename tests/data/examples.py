"""Tiny faithful files of every layout, and what a reader must find in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import xarray as xr
from scipy.io import savemat

Arrays = dict[str, tuple[tuple[str, ...], np.ndarray]]


@dataclass(frozen=True)
class Expected:
    """Variables as (dims, values), kinds of the space dimensions, and whether their coordinates were assumed."""

    variables: Arrays
    kinds: dict[str, str]
    assumed: bool = False
    sample_dim: str | None = "sample"
    time: np.ndarray | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    layout: str
    suffix: str
    write: Callable[[Path, np.random.Generator], Expected]

    def __str__(self) -> str:
        return f"{self.layout}-{self.write.__name__}"


def _matlab73(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """HDF5 as MATLAB writes it: a 512-byte header in front, axes reversed, the class as an attribute."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            stored = np.atleast_2d(values)
            if np.iscomplexobj(stored):
                pairs = np.empty(stored.T.shape, [("real", "f8"), ("imag", "f8")])
                pairs["real"], pairs["imag"] = stored.T.real, stored.T.imag
                file[name] = pairs
            else:
                file[name] = stored.T
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


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


def pdebench_burgers(path: Path, rng: np.random.Generator) -> Expected:
    tensor = rng.normal(size=(5, 4, 16)).astype("f4")
    with h5py.File(path, "w") as file:
        file["tensor"] = tensor
        file["x-coordinate"] = ((np.arange(16) + 0.5) / 16).astype("f4")
        file["t-coordinate"] = np.linspace(0, 2, 5).astype("f4")
        file.attrs["Nu"], file.attrs["rho"] = 0.5, 2.0
    variables: Arrays = {
        "tensor": (("sample", "time", "x"), tensor),
        "Nu": ((), np.array(0.5)),
        "rho": ((), np.array(2.0)),
    }
    return Expected(variables, {"x": "cell"}, time=np.array([0, 0.5, 1, 1.5], "f4"))


def pdebench_darcy(path: Path, rng: np.random.Generator) -> Expected:
    nu, tensor = rng.normal(size=(3, 8, 4)).astype("f4"), rng.normal(size=(3, 1, 8, 4)).astype("f4")
    with h5py.File(path, "w") as file:
        file["nu"], file["tensor"] = nu, tensor
        file["x-coordinate"], file["y-coordinate"] = (np.arange(8) + 0.5) / 8, (np.arange(4) + 0.5) / 4
        file.attrs["beta"] = np.float32(0.1)
    space = ("sample", "x", "y")
    variables: Arrays = {"nu": (space, nu), "tensor": (space, tensor[:, 0]), "beta": ((), np.float64(np.float32(0.1)))}
    return Expected(variables, {"x": "cell", "y": "cell"})


def fno_burgers_v5(path: Path, rng: np.random.Generator) -> Expected:
    a, u = rng.normal(size=(3, 16)), rng.normal(size=(3, 16))
    savemat(path, {"a": a, "u": u})
    return Expected({"a": (("sample", "x"), a), "u": (("sample", "x"), u)}, {"x": "left"}, assumed=True)


def fno_darcy_v73(path: Path, rng: np.random.Generator) -> Expected:
    coeff, sol = rng.normal(size=(3, 8, 5)), rng.normal(size=(3, 8, 5))
    _matlab73(path, {"coeff": coeff, "sol": sol})
    space = ("sample", "x", "y")
    return Expected({"coeff": (space, coeff), "sol": (space, sol)}, {"x": "left", "y": "left"}, assumed=True)


def fno_navier_stokes_v73(path: Path, rng: np.random.Generator) -> Expected:
    a, u, t = rng.normal(size=(3, 8, 6)), rng.normal(size=(3, 8, 6, 4)), np.arange(1.0, 5.0)
    _matlab73(path, {"a": a, "u": u, "t": t})
    variables: Arrays = {
        "a": (("sample", "x", "y"), a),
        "u": (("sample", "time", "x", "y"), u.transpose(0, 3, 1, 2)),
    }
    return Expected(variables, {"x": "left", "y": "left"}, assumed=True, time=t)


def fno_trajectories_v5(path: Path, rng: np.random.Generator) -> Expected:
    u = rng.normal(size=(3, 8, 6, 4))
    savemat(path, {"u": u})
    variables: Arrays = {"u": (("sample", "time", "x", "y"), u.transpose(0, 3, 1, 2))}
    return Expected(variables, {"x": "left", "y": "left"}, assumed=True)


def fno_viscous_v5(path: Path, rng: np.random.Generator) -> Expected:
    first, later = rng.normal(size=(3, 16)), rng.normal(size=(3, 5, 16))
    savemat(path, {"input": first, "output": later, "visc": 0.01, "tspan": np.linspace(0, 1, 5)})
    variables: Arrays = {
        "input": (("sample", "x"), first),
        "output": (("sample", "time", "x"), later),
        "visc": ((), np.array(0.01)),
    }
    return Expected(variables, {"x": "left"}, assumed=True, time=np.linspace(0, 1, 5))


def pinns_v5(path: Path, rng: np.random.Generator) -> Expected:
    u, x, t = rng.normal(size=(8, 5)), np.linspace(-1, 1, 8)[:, None], np.linspace(0, 1, 5)[None]
    savemat(path, {"usol": u, "x": x, "t": t})
    return Expected({"usol": (("time", "x"), u.T)}, {"x": "closed"}, sample_dim=None, time=t[0])


def pinns_complex_v73(path: Path, rng: np.random.Generator) -> Expected:
    u = rng.normal(size=(8, 5)) + 1j * rng.normal(size=(8, 5))
    _matlab73(path, {"uu": u, "x": np.arange(8) * np.pi / 4, "tt": np.arange(5.0)})
    return Expected({"uu": (("time", "x"), u.T)}, {"x": "left"}, sample_dim=None, time=np.arange(5.0))


def tensors_static(path: Path, rng: np.random.Generator) -> Expected:
    x, y = rng.normal(size=(3, 8, 8)) > 0, rng.normal(size=(3, 8, 8)).astype("f4")
    torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, path)
    dims = ("sample", "x1", "x2")
    return Expected({"x": (dims, x), "y": (dims, y)}, {"x1": "left", "x2": "left"}, assumed=True)


def tensors_trajectories_legacy(path: Path, rng: np.random.Generator) -> Expected:
    """The format before zip archives, with a parameter as (1, 1) and another for each sample."""
    x, y, force = rng.normal(size=(3, 8)), rng.normal(size=(3, 5, 8)), rng.normal(size=(3, 1))
    tensors = {"x": x, "y": y, "visc": np.array([[0.01]]), "force": force}
    saved = {name: torch.from_numpy(value) for name, value in tensors.items()}
    torch.save(saved, path, _use_new_zipfile_serialization=False)
    variables: Arrays = {
        "x": (("sample", "x1"), x),
        "y": (("sample", "time", "x1"), y),
        "visc": ((), np.array(0.01)),
        "force": (("sample",), force[:, 0]),
    }
    return Expected(variables, {"x1": "left"}, assumed=True)


def tensors_channels(path: Path, rng: np.random.Generator) -> Expected:
    x, y = rng.normal(size=(3, 2, 8, 6)), rng.normal(size=(3, 5, 8, 6))
    torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, path)
    variables: Arrays = {"x": (("sample", "channel_x", "x1", "x2"), x), "y": (("sample", "channel_y", "x1", "x2"), y)}
    return Expected(variables, {"x1": "left", "x2": "left"}, assumed=True)


def archive_plain(path: Path, rng: np.random.Generator) -> Expected:
    a, u, x = rng.normal(size=(3, 8)), np.asfortranarray(rng.normal(size=(3, 8))), np.linspace(0, 1, 8)
    np.savez(path, a=a, u=u, x=x)
    return Expected({"a": (("sample", "x"), a), "u": (("sample", "x"), u)}, {"x": "closed"})


def archive_compressed(path: Path, rng: np.random.Generator) -> Expected:
    x, y = rng.normal(size=(3, 8, 6)), rng.normal(size=(3, 8, 6))
    np.savez_compressed(path, x=x, y=y)
    dims = ("sample", "x1", "x2")
    return Expected({"x": (dims, x), "y": (dims, y)}, {"x1": "left", "x2": "left"}, assumed=True)


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
    Example("pdebench-1d", ".hdf5", pdebench_burgers),
    Example("pdebench-darcy", ".hdf5", pdebench_darcy),
    Example("fno-mat", ".mat", fno_burgers_v5),
    Example("fno-mat", ".mat", fno_darcy_v73),
    Example("fno-mat", ".mat", fno_navier_stokes_v73),
    Example("fno-mat", ".mat", fno_trajectories_v5),
    Example("fno-mat", ".mat", fno_viscous_v5),
    Example("pinns-mat", ".mat", pinns_v5),
    Example("pinns-mat", ".mat", pinns_complex_v73),
    Example("neuraloperator", ".pt", tensors_static),
    Example("neuraloperator", ".pt", tensors_trajectories_legacy),
    Example("neuraloperator", ".pt", tensors_channels),
    Example("npz", ".npz", archive_plain),
    Example("npz", ".npz", archive_compressed),
    Example("declared", ".h5", declared_groups),
]
