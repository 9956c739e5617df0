"""Tiny faithful files of every layout, and what a reader must find in them."""

from __future__ import annotations

import json
import os
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
    """What a reader must find in the file of an example.

    Parameters
    ----------
    variables
        Variables as (dims, values).
    kinds
        Kinds of the space dimensions that are axes; None for one whose coordinates are not uniform.
    assumed
        Whether the coordinates were assumed: all, or those of the dimensions named.
    sample_dim, time
        The dimension that counts samples, and the times.
    options
        Options of `open`.
    points
        Coordinates of scattered points or curvilinear nodes as (dims, values).
    conditions
        Boundary conditions by variable.
    components
        Rank and directions of the components, by variable.
    coordinates
        Coordinates of the axes as values, where the example states them.
    attributes
        Further attributes by variable.
    """

    variables: Arrays
    kinds: dict[str, str | None]
    assumed: bool | set[str] = False
    sample_dim: str | None = "sample"
    time: np.ndarray | None = None
    options: dict[str, Any] = field(default_factory=dict)
    points: Arrays = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)
    components: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    coordinates: dict[str, np.ndarray] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)


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


def pdebench_flow_1d(path: Path, rng: np.random.Generator) -> Expected:
    fields = {name: rng.normal(size=(3, 4, 8)).astype("f4") for name in ("Vx", "density", "pressure")}
    with h5py.File(path, "w") as file:
        for name, values in fields.items():
            file.create_dataset(name, data=values)
        file.create_dataset("x-coordinate", data=((np.arange(8) + 0.5) / 8).astype("f4"))
        file.create_dataset("t-coordinate", data=np.linspace(0, 1, 5).astype("f4"))
        file.attrs["eta"], file.attrs["zeta"] = 1e-8, 1e-8
    variables: Arrays = {name: (("sample", "time", "x"), values) for name, values in fields.items()}
    variables |= {"eta": ((), np.array(1e-8)), "zeta": ((), np.array(1e-8))}
    return Expected(variables, {"x": "cell"}, time=np.linspace(0, 1, 5).astype("f4")[:4])


def pdebench_flow_3d(path: Path, rng: np.random.Generator) -> Expected:
    """Without the parameters, and with as many times as frames."""
    names = ("Vx", "Vy", "Vz", "density", "pressure")
    fields = {name: rng.normal(size=(3, 3, 6, 4, 5)).astype("f4") for name in names}
    with h5py.File(path, "w") as file:
        for name, values in fields.items():
            file.create_dataset(name, data=values)
        for dim, size in (("x", 6), ("y", 4), ("z", 5)):
            file.create_dataset(f"{dim}-coordinate", data=((np.arange(size) + 0.5) / size).astype("f4"))
        file.create_dataset("t-coordinate", data=np.arange(3, dtype="f4"))
    dims = ("sample", "time", "x", "y", "z")
    kinds = dict.fromkeys(("x", "y", "z"), "cell")
    return Expected({name: (dims, values) for name, values in fields.items()}, kinds, time=np.arange(3, dtype="f4"))


_REACTION = """\
work_dir: /data
data_dir: data
upload: false
name: 2d_diff-react
sim:
  Du: 1E-3
  Dv: {Dv}
  k: 5E-3
  t: 5
  tdim: 101
  x_left: -1.0
  x_right: 1.0
  xdim: 128
  n: 1
  seed: {seed}
"""


def _pdebench_group(file: h5py.File, seed: int, data: np.ndarray, grid: dict[str, np.ndarray]) -> None:
    file.create_dataset(f"{seed:04d}/data", data=data, dtype="float32", compression="lzf")
    for name, values in grid.items():
        file.create_dataset(f"{seed:04d}/grid/{name}", data=values, dtype="float32", compression="lzf")


def pdebench_reaction(path: Path, rng: np.random.Generator) -> Expected:
    data = rng.normal(size=(4, 5, 8, 6, 2)).astype("f4")
    x, y, t = -1 + (np.arange(8) + 0.5) / 4, -1 + (np.arange(6) + 0.5) / 3, np.linspace(0, 5, 5)
    with h5py.File(path, "w") as file:
        for i, seed in enumerate((0, 1, 2, 10)):
            _pdebench_group(file, seed, data[i], {"x": x, "y": y, "t": t})
            file[f"{seed:04d}"].attrs["config"] = _REACTION.format(seed=seed, Dv="5E-3")
    variables: Arrays = {
        "data": (("sample", "time", "channel_data", "x", "y"), data.transpose(0, 1, 4, 2, 3)),
        **{name: ((), np.array(value)) for name, value in {"Du": 1e-3, "Dv": 5e-3, "k": 5e-3}.items()},
    }
    return Expected(variables, {"x": "cell", "y": "cell"}, time=t.astype("f4"), components={"data": (0, [])})


def pdebench_sorption(path: Path, rng: np.random.Generator) -> Expected:
    """One space dimension, one channel, a parameter that differs between the groups."""
    data, x, t = rng.normal(size=(3, 5, 8, 1)), (np.arange(8) + 0.5) / 8, np.linspace(0, 500, 5)
    with h5py.File(path, "w") as file:
        for i in range(3):
            _pdebench_group(file, i, data[i], {"x": x, "t": t})
            file[f"{i:04d}"].attrs["config"] = _REACTION.format(seed=i, Dv=f"{i + 1}E-3")
    variables: Arrays = {
        "data": (("sample", "time", "x"), data[..., 0].astype("f4")),
        "Du": (("sample",), np.full(3, 1e-3)),
        "Dv": (("sample",), np.array([1e-3, 2e-3, 3e-3])),
        "k": (("sample",), np.full(3, 5e-3)),
    }
    return Expected(variables, {"x": "cell"}, time=t.astype("f4"))


def pdebench_shallow_water(path: Path, rng: np.random.Generator) -> Expected:
    """Without the attribute; the writer of the dam break does not compress."""
    data, x, t = rng.normal(size=(3, 4, 8, 8, 1)), -2.5 + (np.arange(8) + 0.5) * 0.625, np.linspace(0, 1, 4)
    with h5py.File(path, "w") as file:
        for i in range(3):
            for name, values in {"data": data[i], "grid/x": x, "grid/y": x, "grid/t": t}.items():
                file.create_dataset(f"{i:04d}/{name}", data=values, dtype="f")
    variables: Arrays = {"data": (("sample", "time", "x", "y"), data[..., 0].astype("f4"))}
    return Expected(variables, {"x": "cell", "y": "cell"}, time=t.astype("f4"))


def pdebench_incompressible(path: Path, rng: np.random.Generator) -> Expected:
    """The last frame was not written."""
    shape, config = (3, 5, 8, 6), "NU: 0.01\nscale: 0.4\nDT: 5.0e-05\nseed: 1\nn_steps: 100\ngrid_size:\n- 8\n- 6\n"
    config += "particle_extrapolation: BOUNDARY\nvelocity_extrapolation: ZERO\n"
    velocity, particles = rng.normal(size=(*shape, 2)).astype("f4"), rng.normal(size=(*shape, 1)).astype("f4")
    force, t = rng.normal(size=(3, 8, 6, 2)).astype("f4"), np.tile(np.arange(5, dtype="f4"), (3, 1))
    with h5py.File(path, "w") as file:
        file.attrs["config"], file.attrs["latestIndex"] = config, 3
        for name, values in {"velocity": velocity, "particles": particles, "force": force, "t": t}.items():
            chunks = (1, 1, *values.shape[2:])
            file.create_dataset(name, data=values, compression="lzf", chunks=chunks, shuffle=True)
    variables: Arrays = {
        "velocity": (("sample", "time", "channel_velocity", "x", "y"), velocity[:, :4].transpose(0, 1, 4, 2, 3)),
        "particles": (("sample", "time", "x", "y"), particles[:, :4, ..., 0]),
        "force": (("sample", "channel_force", "x", "y"), force.transpose(0, 3, 1, 2)),
        **{name: ((), np.array(value)) for name, value in {"NU": 0.01, "scale": 0.4, "DT": 5e-5}.items()},
    }
    wall = {dim: ["dirichlet"] * 2 for dim in ("x", "y")}
    return Expected(
        variables,
        {"x": "cell", "y": "cell"},
        time=np.arange(4, dtype="f4"),
        conditions={"velocity": wall, "particles": {dim: ["neumann"] * 2 for dim in ("x", "y")}},
        components={"velocity": (1, ["x", "y"]), "force": (1, ["x", "y"])},
        coordinates={"x": np.arange(8) + 0.5},
    )


def _well_root(file: h5py.File, n_dims: int, n_trajectories: int, parameters: dict[str, float]) -> None:
    file.attrs["dataset_name"], file.attrs["grid_type"] = "dummy", "cartesian"
    file.attrs["n_spatial_dims"], file.attrs["n_trajectories"] = n_dims, n_trajectories
    file.attrs["simulation_parameters"] = list(parameters)
    file.attrs.update(parameters)


def _well_arrays(file: h5py.File, group: str, arrays: dict[str, tuple[np.ndarray, dict[str, Any]]]) -> None:
    made = file.require_group(group)
    made.attrs["field_names"] = list(arrays)
    for name, (values, attributes) in arrays.items():
        made.create_dataset(name, data=values).attrs.update(attributes)


def the_well(path: Path, rng: np.random.Generator) -> Expected:
    """Ranks 0 to 2, fields without times, samples or a dimension, scalars, faces of walls, and an obstacle."""
    x, y, t = np.arange(8, dtype="f4") / 8, np.linspace(0, 1, 6, dtype="f4"), np.linspace(0, 2, 5, dtype="f4")
    density = rng.normal(size=(3, 5, 8, 6)).astype("f4")
    ground, inflow = rng.normal(size=(1, 8, 6)).astype("f4"), rng.normal(size=(3, 6)).astype("f4")
    velocity, stress = rng.normal(size=(3, 5, 8, 6, 2)).astype("f4"), rng.normal(size=(3, 5, 8, 6, 2, 2)).astype("f4")
    power = rng.normal(size=5)
    every = {"dim_varying": [True, True], "sample_varying": True, "time_varying": True}
    ground_flags = {"dim_varying": [True, True], "sample_varying": False, "time_varying": False}
    obstacle = np.zeros((8, 6), bool)
    obstacle[3:5, 2:4] = True
    with h5py.File(path, "w") as file:
        _well_root(file, 2, 3, {"nu": 0.25})
        dims = file.create_group("dimensions")
        dims.attrs["spatial_dims"] = ["x", "y"]
        for name, values in {"time": t, "x": x, "y": y}.items():
            dims.create_dataset(name, data=values).attrs["sample_varying"] = False
        inflow_flags = {"dim_varying": [False, True], "sample_varying": True, "time_varying": False}
        fields0 = {"density": (density, every), "ground": (ground[0], ground_flags), "inflow": (inflow, inflow_flags)}
        _well_arrays(file, "t0_fields", fields0)
        _well_arrays(file, "t1_fields", {"velocity": (velocity, every)})
        _well_arrays(file, "t2_fields", {"stress": (stress, every)})
        constant = {"sample_varying": False, "time_varying": False}
        scalars = {
            "nu": (np.array(0.25), constant),
            "power": (power, {"sample_varying": False, "time_varying": True}),
        }
        _well_arrays(file, "scalars", scalars)
        ends = np.array([1, 0, 0, 0, 0, 0], bool)
        boundary = {
            "x_periodic": ("x", "PERIODIC", np.zeros(8, bool)),
            "y_wall": (["y"], "WALL", ends),
            "y_open": (["y"], "OPEN", ends[::-1]),
            "cylinder": (["x", "y"], "WALL", obstacle),
        }
        for name, (associated, kind, mask) in boundary.items():
            group = file.create_group(f"boundary_conditions/{name}")
            group.attrs.update(associated_dims=associated, associated_fields=[], bc_type=kind, **constant)
            group.create_dataset("mask", data=mask)
    space = ("x", "y")
    variables: Arrays = {
        "density": (("sample", "time", *space), density),
        "ground": (space, ground[0]),
        "inflow": (("sample", "y"), inflow),
        "velocity": (("sample", "time", "channel_velocity", *space), velocity.transpose(0, 1, 4, 2, 3)),
        "stress": (
            ("sample", "time", "channel_stress", *space),
            stress.reshape(3, 5, 8, 6, 4).transpose(0, 1, 4, 2, 3),
        ),
        "nu": ((), np.array(0.25)),
        "power": (("time",), power),
        "mask_cylinder": (space, ~obstacle),
    }
    faces = {"x": "periodic", "y": ["wall", "open"]}
    conditions = {name: faces for name in ("density", "ground", "velocity", "stress")}
    return Expected(
        variables,
        {"x": "periodic", "y": "closed"},
        time=t,
        conditions=conditions | {"inflow": {"y": ["wall", "open"]}},
        components={"velocity": (1, ["x", "y"]), "stress": (2, ["x", "y"])},
        attributes={"mask_cylinder": {"role": "mask"}, "density": {"mask": "mask_cylinder"}},
    )


def the_well_careless(path: Path, rng: np.random.Generator) -> Expected:
    """No flags, names in another case, one text where a list is promised, times of each sample, a flattened tensor."""
    u, stress = rng.normal(size=(3, 4, 8)).astype("f4"), rng.normal(size=(3, 4, 8, 1)).astype("f4")
    t = np.cumsum(rng.random((3, 4)), axis=1)
    with h5py.File(path, "w") as file:
        file.attrs["N_trajectories"] = np.float64(3)
        dims = file.create_group("Dimensions")
        dims.attrs["spatial_dims"] = "x"
        dims["time"], dims["x"] = t, np.linspace(0, 2, 8)
        file["T0_fields/u"], file["t2_fields/stress"] = u, stress
        wall = file.create_group("boundary_conditions/X_wall")
        wall.attrs["associated_dims"], wall.attrs["bc_type"] = "X", "wall"
    variables: Arrays = {
        "u": (("sample", "time", "x"), u),
        "stress": (("sample", "time", "channel_stress", "x"), stress.transpose(0, 1, 3, 2)),
    }
    return Expected(
        variables,
        {"x": "closed"},
        conditions={name: {"x": ["wall", "wall"]} for name in variables},
        components={"stress": (2, ["x"])},
        points={"times": (("sample", "time"), t)},
    )


def _pdearena(path: Path, rng: np.random.Generator, counts: dict[str, int]) -> Expected:
    total = sum(counts.values())
    fields = {name: rng.normal(size=(total, 4, 8, 6)) for name in ("u", "vx", "vy")}
    lines = {"t": np.linspace(18, 102, 4), "x": np.linspace(0, 32, 8), "y": np.linspace(0, 32, 6)}
    numbers = {"dt": np.full(total, 6.0), "dx": np.full(total, 32 / 7), "dy": np.full(total, 6.4)}
    numbers["buo_y"] = rng.random(total)
    at = 0
    with h5py.File(path, "a") as file:
        for mode, n in counts.items():
            group = file.create_group(mode)
            part = slice(at, at + n)
            for name, values in {**fields, **numbers}.items():
                group.create_dataset(name, values[part].shape, dtype=float)[...] = values[part]
            for name, values in lines.items():
                group.create_dataset(name, (n, len(values)), dtype=float)[...] = values
            at += n
    variables: Arrays = {name: (("sample", "time", "x", "y"), values) for name, values in fields.items()}
    variables |= {name: (("sample",), values) for name, values in numbers.items()}
    split = np.repeat(np.array(list(counts), dtype=object), list(counts.values()))
    return Expected(variables, {"x": "closed", "y": "closed"}, time=lines["t"], points={"split": (("sample",), split)})


def pdearena_train(path: Path, rng: np.random.Generator) -> Expected:
    return _pdearena(path, rng, {"train": 3})


def pdearena_splits(path: Path, rng: np.random.Generator) -> Expected:
    return _pdearena(path, rng, {"train": 3, "valid": 1, "test": 2})


def pdearena_kuramoto(path: Path, rng: np.random.Generator) -> Expected:
    """Every sample has its own length and duration."""
    u, lengths, ends = rng.normal(size=(3, 5, 16)), 64 + rng.random(3), 100 + rng.random(3)
    with h5py.File(path, "w") as file:
        group = file.create_group("train")
        group.create_dataset("pde_5-16", data=u)
        group.create_dataset("x", data=np.linspace(0, 1 - 1 / 16, 16) * lengths[:, None])
        group.create_dataset("t", data=np.linspace(0, 1, 5) * ends[:, None])
        group.create_dataset("dx", data=lengths / 16)
        group.create_dataset("dt", data=ends / 4)
    variables: Arrays = {
        "pde_5-16": (("sample", "time", "x"), u),
        "dx": (("sample",), lengths / 16),
        "dt": (("sample",), ends / 4),
    }
    split = {"split": (("sample",), np.repeat(np.array(["train"], dtype=object), 3))}
    return Expected(variables, {"x": "periodic"}, time=np.arange(5), points=split)


def dgno_v73(path: Path, rng: np.random.Generator) -> Expected:
    """MATLAB's meshgrid, samples last, the coefficient on a coarser grid."""
    coe, u = rng.normal(size=(4, 5, 3)), rng.normal(size=(6, 8, 3))
    x, y = np.meshgrid(np.linspace(0, 1, 8), np.linspace(0, 2, 6))
    _matlab73(path, {"coe": coe, "u": u, "X": x, "Y": y})
    variables: Arrays = {
        "coe": (("sample", "y_coe", "x_coe"), coe.transpose(2, 0, 1)),
        "u": (("sample", "y", "x"), u.transpose(2, 0, 1)),
    }
    kinds: dict[str, str | None] = {"x": "closed", "y": "closed", "x_coe": "left", "y_coe": "left"}
    return Expected(variables, kinds, assumed={"x_coe", "y_coe"})


def dgno_curvilinear(path: Path, rng: np.random.Generator) -> Expected:
    coe, u = rng.normal(size=(3, 6, 8)), rng.normal(size=(3, 6, 8))
    r, phi = np.meshgrid(np.linspace(1, 2, 6), np.linspace(0, 1, 8), indexing="ij")
    savemat(path, {"coe": coe, "u": u, "X": r * np.cos(phi), "Y": r * np.sin(phi)})
    dims = ("i", "j")
    variables: Arrays = {name: (("sample", *dims), values) for name, values in {"coe": coe, "u": u}.items()}
    return Expected(variables, {}, points={"x": (dims, r * np.cos(phi)), "y": (dims, r * np.sin(phi))})


def fno_mesh_v73(path: Path, rng: np.random.Generator) -> Expected:
    """The matrices X and Y of ndgrid beside the fields."""
    coeff, sol = rng.normal(size=(3, 8, 5)), rng.normal(size=(3, 8, 5))
    x, y = np.meshgrid(np.linspace(0, 1, 8), np.linspace(0, 2, 5), indexing="ij")
    _matlab73(path, {"coeff": coeff, "sol": sol, "X": x, "Y": y})
    space = ("sample", "x", "y")
    return Expected({"coeff": (space, coeff), "sol": (space, sol)}, {"x": "closed", "y": "closed"})


def deepxde_aligned(path: Path, rng: np.random.Generator) -> Expected:
    branch, points, values = rng.normal(size=(4, 8)), rng.random((5, 2)), rng.normal(size=(4, 5))
    np.savez(path, X0=branch, X1=points, y=values)
    variables: Arrays = {"X0": (("sample", "sensor"), branch), "y": (("sample", "point"), values)}
    coordinates = {name: (("point",), points[:, i]) for i, name in enumerate("xy")}
    # y names the values: the coordinates step aside
    return Expected(
        variables,
        {"sensor": "left"},
        assumed={"sensor"},
        points={"x1": coordinates["x"], "x2": coordinates["y"]},
    )


def deepxde_unaligned(path: Path, rng: np.random.Generator) -> Expected:
    branch, points, values = rng.normal(size=(4, 8)), rng.random((4, 1)), rng.normal(size=(4, 1))
    np.savez(path, X_train0=branch.astype("f4"), X_train1=points.astype("f4"), y_train=values.astype("f4"))
    variables: Arrays = {
        "X_train0": (("sample", "sensor"), branch.astype("f4")),
        "y_train": (("sample", "point"), values.astype("f4")),
    }
    where = {"x": (("sample", "point"), points.astype("f4"))}
    return Expected(variables, {"sensor": "left"}, assumed={"sensor"}, points=where)


def dedalus(path: Path, rng: np.random.Generator) -> Expected:
    """As the file handler makes it: scales by hash, labels, vectors with unlabelled axes, a second resolution."""
    x, z = np.arange(8) * 0.5, -np.cos(np.pi * (np.arange(6) + 0.5) / 6)
    x2, times = np.arange(16) * 0.25, np.array([0.0, 0.5, 1.25])
    b, u = rng.normal(size=(3, 8, 6)), rng.normal(size=(3, 2, 8, 6))
    mean, fine = rng.normal(size=(3, 1, 6)), rng.normal(size=(3, 16, 6))
    strain = rng.normal(size=(3, 2, 2, 8, 6))
    with h5py.File(path, "w") as file:
        file.attrs["set_number"], file.attrs["handler_name"], file.attrs["writes"] = 1, "snapshots", 3
        scales, tasks = file.create_group("scales"), file.create_group("tasks")
        scales.create_dataset("constant", data=np.zeros(1)).make_scale("constant")
        for name, values in {"sim_time": times, "timestep": np.full(3, 0.1), "wall_time": np.arange(3.0)}.items():
            scales.create_dataset(name, data=values, maxshape=(None,)).make_scale(name)
        for name in ("iteration", "write_number"):
            scales.create_dataset(name, data=np.arange(3), maxshape=(None,)).make_scale(name)
        lines = {"x_hash_1": ("x", x), "z_hash_2": ("z", z), "x_hash_3": ("x", x2), "constant": ("constant", None)}
        for lookup, (name, values) in lines.items():
            if values is not None:
                scales.create_dataset(lookup, data=values).make_scale(name)
        written = {
            "b": (b, 0, ("x_hash_1", "z_hash_2")),
            "u": (u, 1, ("x_hash_1", "z_hash_2")),
            "mean b": (mean, 0, ("constant", "z_hash_2")),
            "fine": (fine, 0, ("x_hash_3", "z_hash_2")),
            "strain": (strain, 2, ("x_hash_1", "z_hash_2")),
        }
        for name, (values, rank, attached) in written.items():
            task = tasks.create_dataset(name, data=values, maxshape=(None, *values.shape[1:]))
            task.attrs["constant"] = np.array([lookup == "constant" for lookup in attached])
            task.attrs["grid_space"] = np.array([True, True])
            task.attrs["scales"] = np.array([1.0, 1.0])
            task.dims[0].label = "t"
            for name in ("sim_time", "wall_time", "timestep", "iteration", "write_number"):
                task.dims[0].attach_scale(scales[name])
            for axis, lookup in enumerate(attached):
                task.dims[1 + rank + axis].label = lines[lookup][0]
                task.dims[1 + rank + axis].attach_scale(scales[lookup])
    variables: Arrays = {
        "b": (("time", "x", "z"), b),
        "u": (("time", "channel_u", "x", "z"), u),
        "mean b": (("time", "z"), mean[:, 0]),
        "fine": (("time", "x_16", "z"), fine),
        "strain": (("time", "channel_strain", "x", "z"), strain.reshape(3, 4, 8, 6)),
    }
    return Expected(
        variables,
        {"x": "left", "x_16": "left", "z": None},
        sample_dim=None,
        time=times,
        components={"u": (1, ["x", "z"]), "strain": (2, ["x", "z"])},
        coordinates={"x": x, "x_16": x2, "z": z},
    )


def _nested_json(attributes: dict[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in attributes.items()}


def _py_pde_field(kind: str, label: str | None, grid: dict[str, Any]) -> dict[str, str]:
    return _nested_json({"class": kind, "grid": json.dumps(grid), "label": label, "dtype": "<f8"}) | {
        "grid": json.dumps(grid)
    }


_PY_PDE_GRID = {
    "bounds": [[0.0, 2.0], [-1.0, 1.0]],
    "shape": [8, 6],
    "periodic": [True, False],
    "class": "CartesianGrid",
}


def py_pde_collection(path: Path, rng: np.random.Generator) -> Expected:
    """A scalar, a vector and a tensor stored together; room for a frame that was not written."""
    data, times = rng.normal(size=(4, 7, 8, 6)), np.array([0.0, 0.5, 1.0, 0.0])
    kinds = {"c": "ScalarField", "v": "VectorField", "q": "Tensor2Field"}
    parts = [_py_pde_field(kind, label, _PY_PDE_GRID) for label, kind in kinds.items()]
    attributes = _nested_json({"class": "FieldCollection", "label": None, "dtype": "<f8", "fields": json.dumps(parts)})
    attributes["fields"] = json.dumps(parts)
    with h5py.File(path, "w") as file:
        file.create_dataset("times", data=times, maxshape=(None,), chunks=(1,), compression="gzip")
        file.create_dataset("data", data=data, maxshape=(None, 7, 8, 6), chunks=(1, 7, 8, 6), compression="gzip")
        file.attrs.update(_nested_json({"data_length": 3, "field_attributes": attributes, "nu": 0.3, "note": "hi"}))
    variables: Arrays = {
        "c": (("time", "x", "y"), data[:3, 0]),
        "v": (("time", "channel_v", "x", "y"), data[:3, 1:3]),
        "q": (("time", "channel_q", "x", "y"), data[:3, 3:]),
        "nu": ((), np.array(0.3)),
    }
    return Expected(
        variables,
        {"x": "periodic", "y": "cell"},
        sample_dim=None,
        time=times[:3],
        conditions={name: {"x": "periodic"} for name in kinds},
        components={"v": (1, ["x", "y"]), "q": (2, ["x", "y"])},
        coordinates={"x": 0.125 + np.arange(8) / 4, "y": -1 + (np.arange(6) + 0.5) / 3},
    )


def py_pde_tensor(path: Path, rng: np.random.Generator) -> Expected:
    """One tensor field over time, its two component axes apart; an unlabelled field."""
    data, times = rng.normal(size=(3, 2, 2, 8, 6)), np.arange(3.0)
    with h5py.File(path, "w") as file:
        file.create_dataset("times", data=times)
        file.create_dataset("data", data=data)
        file.attrs.update(_nested_json({"field_attributes": _py_pde_field("Tensor2Field", None, _PY_PDE_GRID)}))
    variables: Arrays = {"data": (("time", "channel_data", "x", "y"), data.reshape(3, 4, 8, 6))}
    return Expected(
        variables,
        {"x": "periodic", "y": "cell"},
        sample_dim=None,
        time=times,
        conditions={"data": {"x": "periodic"}},
        components={"data": (2, ["x", "y"])},
    )


def py_pde_single(path: Path, rng: np.random.Generator) -> Expected:
    """One field in cylindrical coordinates, without times."""
    grid = {"radius": 2.0, "bounds_z": [0, 1], "shape": [4, 5], "periodic_z": True, "class": "CylindricalSymGrid"}
    data = rng.normal(size=(3, 4, 5))
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=data).attrs.update(_py_pde_field("VectorField", "v", grid))
    return Expected(
        {"v": (("channel_v", "r", "z"), data)},
        {"r": "cell", "z": "periodic"},
        sample_dim=None,
        conditions={"v": {"z": "periodic"}},
        components={"v": (1, ["r", "z", "phi"])},
    )


def gprmax(path: Path, rng: np.random.Generator) -> Expected:
    names, positions = ("Ex", "Ez", "Hy"), rng.random((3, 3))
    fields, dt = {name: rng.normal(size=(3, 5)).astype("f4") for name in names}, 3.85e-12
    with h5py.File(path, "w") as file:
        file.attrs["gprMax"], file.attrs["Title"], file.attrs["Iterations"] = "3.1.7", "tiny", 5
        file.attrs["nx_ny_nz"], file.attrs["dx_dy_dz"], file.attrs["dt"] = (10, 10, 10), (0.002, 0.002, 0.002), dt
        file.attrs["nsrc"], file.attrs["nrx"] = 1, 3
        file.attrs["srcsteps"] = file.attrs["rxsteps"] = (0, 0, 0)
        source = file.create_group("srcs/src1")
        source.attrs["Type"], source.attrs["Position"] = "HertzianDipole", (0.01, 0.01, 0.01)
        for i in range(3):
            group = file.create_group(f"rxs/rx{i + 1}")
            group.attrs["Name"], group.attrs["Position"] = f"Rx({i},0,0)", tuple(positions[i])
            for name in names:
                group[name] = fields[name][i]
        file["rxs/rx1/Iz"] = np.zeros(5, "f4")
    variables: Arrays = {name: (("time", "point"), values.T) for name, values in fields.items()}
    return Expected(
        variables,
        {},
        sample_dim=None,
        time=np.arange(5) * dt,
        points={name: (("point",), positions[:, i]) for i, name in enumerate("xyz")},
        attributes={"Ez": {"units": "V/m"}, "Hy": {"units": "A/m"}},
    )


def gprmax_merged(path: Path, rng: np.random.Generator) -> Expected:
    """Traces side by side; the receivers move by two cells from one to the next."""
    ez, dt = rng.normal(size=(3, 5, 4)).astype("f4"), 1e-11
    positions = rng.random((3, 3))
    with h5py.File(path, "w") as file:
        file.attrs["dt"], file.attrs["dx_dy_dz"], file.attrs["rxsteps"] = dt, (0.25, 0.5, 0.5), (2, 0, 0)
        for i in range(3):
            group = file.create_group(f"rxs/rx{i + 1}")
            group.attrs["Position"] = positions[i]
            group.create_dataset("Ez", data=ez[i])
    moved = positions[:, 0] + 0.5 * np.arange(4)[:, None]
    points: Arrays = {"x": (("sample", "point"), moved)}
    points |= {name: (("sample", "point"), np.tile(positions[:, i], (4, 1))) for i, name in ((1, "y"), (2, "z"))}
    variables: Arrays = {"Ez": (("sample", "time", "point"), ez.transpose(2, 1, 0))}
    return Expected(variables, {}, time=np.arange(5) * dt, points=points)


def _comsol(path: Path, dimension: int, names: list[str], table: np.ndarray, separator: str = "") -> None:
    header = {"Model": "plate.mph", "Version": "COMSOL 6.2.0.415", "Date": "Mar 25 2025, 09:23"}
    header |= {"Dimension": str(dimension), "Nodes": str(len(table)), "Expressions": str(len(names) - dimension)}
    header |= {"Description": "Temperature", "Length unit": "mm"}
    lines = [f"% {key + ':':<20}{value}" if not separator else f"% {key},{value}" for key, value in header.items()]
    lines.append("% " + (separator.join(names) if separator else " ".join(f"{name:<23}" for name in names).rstrip()))
    for row in table:
        numbers = [repr(float(value)) for value in row]
        lines.append(separator.join(numbers) if separator else "".join(f"{number:<26}" for number in numbers).rstrip())
    path.write_text("\n".join(lines) + "\n")


def comsol_transient(path: Path, rng: np.random.Generator) -> Expected:
    points, temperature, load = rng.random((4, 2)), rng.normal(size=(3, 4)), rng.normal(size=4)
    names = ["x", "y", "load (W/(m^2*K))", *(f"ht.T (K) @ t={t}" for t in ("0", "0.1", "1E-4"))]
    _comsol(path, 2, names, np.column_stack([points, load, temperature.T]))
    variables: Arrays = {"load": (("point",), load), "ht.T": (("time", "point"), temperature[[0, 2, 1]])}
    return Expected(
        variables,
        {},
        sample_dim=None,
        time=np.array([0, 1e-4, 0.1]),
        points={name: (("point",), points[:, i]) for i, name in enumerate("xy")},
        attributes={"load": {"units": "W/(m^2*K)"}, "ht.T": {"units": "K"}},
    )


def comsol_parametric(path: Path, rng: np.random.Generator) -> Expected:
    """A sweep over a parameter, in commas, and names so long that one space parts them."""
    points, values = rng.random((4, 3)), rng.normal(size=(3, 2, 4))
    names = ["x", "y", "z"]
    names += [f"spf.U (m/s) @ {1 + i + 2 * k}: mu={k + 1}, t={t}" for k in range(3) for i, t in enumerate((0, 0.5))]
    _comsol(path, 3, names, np.column_stack([points, values.reshape(6, 4).T]))
    variables: Arrays = {
        "spf.U": (("sample", "time", "point"), values),
        "mu": (("sample",), np.array([1.0, 2.0, 3.0])),
    }
    where: Arrays = {name: (("point",), points[:, i]) for i, name in enumerate("xyz")}
    return Expected(variables, {}, time=np.array([0, 0.5]), points=where)


def comsol_commas(path: Path, rng: np.random.Generator) -> Expected:
    x, u = rng.random((4, 1)), rng.normal(size=(2, 4))
    _comsol(path, 1, ["x", "u (1) @ t=0", "u (1) @ t=1"], np.column_stack([x, u.T]), ",")
    where: Arrays = {"x": (("point",), x[:, 0])}
    return Expected({"u": (("time", "point"), u)}, {}, sample_dim=None, time=np.array([0.0, 1]), points=where)


def _mesh():
    import meshio

    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0], [2, 1, 0]], float)
    return meshio, points, [("triangle", np.array([[0, 1, 2], [0, 2, 3]])), ("quad", np.array([[1, 4, 5, 2]]))]


def mesh_file(path: Path, rng: np.random.Generator) -> Expected:
    meshio, points, cells = _mesh()
    p, v, k = rng.normal(size=6), rng.normal(size=(6, 2)), rng.normal(size=3)
    velocity = np.column_stack([v, np.zeros(6)])
    mesh = meshio.Mesh(points, cells, {"p": p, "v": velocity}, {"k": [k[:2], k[2:]]})
    (meshio.vtk if path.suffix == ".vtk" else meshio.vtu).write(path, mesh)
    variables: Arrays = {
        "p": (("point",), p),
        "v": (("channel_v", "point"), v.T),
        "cell_data_triangle_k": (("cell_triangle",), k[:2]),
        "cell_data_quad_k": (("cell_quad",), k[2:]),
    }
    where: Arrays = {name: (("point",), points[:, i]) for i, name in enumerate("xy")}
    kinds = {"cell_triangle": None, "cell_quad": None}
    components = {"v": (1, ["x", "y"])}
    return Expected(variables, kinds, sample_dim=None, points=where, components=components)


def mesh_series(path: Path, rng: np.random.Generator) -> Expected:
    meshio, points, cells = _mesh()
    p, before = rng.normal(size=(3, 6)), Path.cwd()
    os.chdir(path.parent)  # meshio puts the HDF5 file into the working folder
    try:
        with meshio.xdmf.TimeSeriesWriter(path) as series:
            series.write_points_cells(points[:, :2], cells[:1])
            for t, values in enumerate(p):
                series.write_data(0.5 * t, point_data={"p": values})
    finally:
        os.chdir(before)
    where: Arrays = {name: (("point",), points[:, i]) for i, name in enumerate("xy")}
    times = np.array([0, 0.5, 1.0])
    return Expected({"p": (("time", "point"), p)}, {}, sample_dim=None, time=times, points=where)


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
    Example("pdebench-flow", ".hdf5", pdebench_flow_1d),
    Example("pdebench-flow", ".hdf5", pdebench_flow_3d),
    Example("pdebench-groups", ".h5", pdebench_reaction),
    Example("pdebench-groups", ".h5", pdebench_sorption),
    Example("pdebench-groups", ".h5", pdebench_shallow_water),
    Example("pdebench-incompressible", ".h5", pdebench_incompressible),
    Example("the-well", ".hdf5", the_well),
    Example("the-well", ".hdf5", the_well_careless),
    Example("pdearena", ".h5", pdearena_train),
    Example("pdearena", ".h5", pdearena_splits),
    Example("pdearena", ".h5", pdearena_kuramoto),
    Example("dgno", ".mat", dgno_v73),
    Example("dgno", ".mat", dgno_curvilinear),
    Example("fno-mat", ".mat", fno_mesh_v73),
    Example("deepxde", ".npz", deepxde_aligned),
    Example("deepxde", ".npz", deepxde_unaligned),
    Example("dedalus", ".h5", dedalus),
    Example("py-pde", ".hdf5", py_pde_collection),
    Example("py-pde", ".hdf5", py_pde_tensor),
    Example("py-pde", ".hdf5", py_pde_single),
    Example("gprmax", ".out", gprmax),
    Example("gprmax", ".out", gprmax_merged),
    Example("comsol", ".txt", comsol_transient),
    Example("comsol", ".txt", comsol_parametric),
    Example("comsol", ".csv", comsol_commas),
    Example("mesh", ".vtk", mesh_file),
    Example("mesh", ".vtu", mesh_file),
    Example("mesh", ".xdmf", mesh_series),
]
