"""Dedalus and py-pde."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from layout_examples.base import Arrays, Example, Expected


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


EXAMPLES = [
    Example("dedalus", ".h5", dedalus),
    Example("py-pde", ".hdf5", py_pde_collection),
    Example("py-pde", ".hdf5", py_pde_tensor),
    Example("py-pde", ".hdf5", py_pde_single),
]
