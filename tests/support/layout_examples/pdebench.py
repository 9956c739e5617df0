"""PDEBench."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from layout_examples.base import Arrays, Example, Expected


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


EXAMPLES = [
    Example("pdebench-1d", ".hdf5", pdebench_burgers),
    Example("pdebench-darcy", ".hdf5", pdebench_darcy),
    Example("pdebench-flow", ".hdf5", pdebench_flow_1d),
    Example("pdebench-flow", ".hdf5", pdebench_flow_3d),
    Example("pdebench-groups", ".h5", pdebench_reaction),
    Example("pdebench-groups", ".h5", pdebench_sorption),
    Example("pdebench-groups", ".h5", pdebench_shallow_water),
    Example("pdebench-incompressible", ".h5", pdebench_incompressible),
]
