"""The Well and PDEArena."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from layout_examples.base import Arrays, Example, Expected


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


EXAMPLES = [
    Example("the-well", ".hdf5", the_well),
    Example("the-well", ".hdf5", the_well_careless),
    Example("pdearena", ".h5", pdearena_train),
    Example("pdearena", ".h5", pdearena_splits),
    Example("pdearena", ".h5", pdearena_kuramoto),
]
