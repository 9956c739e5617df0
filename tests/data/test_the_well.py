"""Masks of each sample and values on boundaries in files of The Well, up to the items of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import sciops.data
from sciops.data import FunctionDataset

SPACE = (6, 5)


def _write(path: Path, rng: np.random.Generator, conditions: dict[str, dict[str, Any]]) -> np.ndarray:
    """A file of three trajectories of four frames; conditions have dims, kind, mask, values and flags."""
    u = rng.normal(size=(3, 4, *SPACE)).astype("f4")
    with h5py.File(path, "w") as file:
        file.attrs.update(dataset_name="test", grid_type="cartesian", n_spatial_dims=2, n_trajectories=3)
        file.attrs["simulation_parameters"] = []
        dims = file.create_group("dimensions")
        dims.attrs["spatial_dims"] = ["x", "y"]
        for name, size in {"time": 4, "x": SPACE[0], "y": SPACE[1]}.items():
            dims.create_dataset(name, data=np.linspace(0, 1, size)).attrs["sample_varying"] = False
        for order in range(3):
            file.create_group(f"t{order}_fields").attrs["field_names"] = ["u"] if order == 0 else []
        field = file["t0_fields"].create_dataset("u", data=u)
        field.attrs.update(dim_varying=[True, True], sample_varying=True, time_varying=True)
        for name, condition in conditions.items():
            group = file.create_group(f"boundary_conditions/{name}")
            group.attrs.update(associated_dims=condition["dims"], associated_fields=["u"], bc_type=condition["kind"])
            group.attrs.update(sample_varying=condition.get("sample", False), time_varying=condition.get("time", False))
            group.create_dataset("mask", data=condition["mask"])
            if "values" in condition:
                group.create_dataset("values", data=condition["values"])
    return u


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_obstacles_of_each_sample_are_masks_of_each_sample(tmp_path: Path, rng: np.random.Generator) -> None:
    obstacle = np.zeros((3, *SPACE), dtype=bool)
    for sample in range(3):
        obstacle[sample, 1 + sample : 3 + sample, 2] = True
    u = _write(
        tmp_path / "a.hdf5", rng, {"rock": {"dims": ["x", "y"], "kind": "WALL", "mask": obstacle, "sample": True}}
    )
    ds = sciops.data.open(tmp_path / "a.hdf5")
    assert ds["mask_rock"].dims == ("sample", "x", "y") and ds["mask_rock"].attrs["role"] == "mask"
    assert ds["u"].attrs["mask"] == "mask_rock"
    np.testing.assert_array_equal(ds["mask_rock"].values, ~obstacle)
    np.testing.assert_array_equal(ds["mask_rock"].isel(sample=[2, 0], y=2).values, ~obstacle[[2, 0], :, 2])
    batch = FunctionDataset(ds, inputs="u", outputs="u", history=1).batch([0, 7])
    np.testing.assert_array_equal(batch["mask"][:, 0], ~obstacle[[0, 2]])
    np.testing.assert_array_equal(batch["x"][1, 0], np.where(obstacle[2], 0, u[2, 1]))


def test_values_on_faces_are_boundary_data(tmp_path: Path, rng: np.random.Generator) -> None:
    lower, both = np.arange(SPACE[0]) == 0, np.isin(np.arange(SPACE[1]), (0, SPACE[1] - 1))
    top = np.zeros(SPACE, dtype=bool)
    top[:, -1] = True
    one, ends, along = rng.normal(size=(3, 1)), rng.normal(size=2), rng.normal(size=(3, 4, SPACE[0]))
    conditions = {
        "inlet": {"dims": ["x"], "kind": "WALL", "mask": lower, "values": one, "sample": True},
        "sides": {"dims": ["y"], "kind": "WALL", "mask": both, "values": ends},
        "lid": {"dims": ["x", "y"], "kind": "WALL", "mask": top, "values": along, "sample": True, "time": True},
    }
    _write(tmp_path / "a.hdf5", rng, conditions)
    ds = sciops.data.open(tmp_path / "a.hdf5")
    assert ds["boundary_inlet"].dims == ("sample",) and ds["boundary_inlet"].attrs["face"] == ["x", "lower"]
    assert ds["boundary_lid"].dims == ("sample", "time", "x") and ds["boundary_lid"].attrs["face"] == ["y", "upper"]
    assert ds["boundary_lid"].attrs["bc_type"] == "wall" and ds["boundary_lid"].attrs["fields"] == ["u"]
    np.testing.assert_array_equal(ds["boundary_inlet"].values, one[:, 0])
    np.testing.assert_array_equal([ds["boundary_sides_lower"].values, ds["boundary_sides_upper"].values], ends)
    np.testing.assert_array_equal(ds["boundary_lid"].values, along)
    np.testing.assert_array_equal(ds["boundary_lid"][1, 2, [4, 0]].values, along[1, 2, [4, 0]])
    assert "mask" not in ds["u"].attrs
    data = FunctionDataset(
        ds, inputs="u", outputs="u", boundary=["boundary_lid", "boundary_inlet"], history=1, dtype=torch.float64
    )
    assert data.input_names == (
        "u(t)", "boundary_lid(t)", "face of boundary_lid", "boundary_inlet", "face of boundary_inlet",
    )  # fmt: skip
    x = data[5]["x"].numpy()  # sample 1, frame 2
    np.testing.assert_array_equal(x[1], np.repeat(along[1, 2][:, None], SPACE[1], axis=1))
    np.testing.assert_array_equal(x[2], top)
    np.testing.assert_array_equal(x[3], np.full(SPACE, one[1, 0]))
    assert (x[4, 0] == 1).all() and (x[4, 1:] == 0).all()


def test_values_elsewhere_stand_at_their_nodes(tmp_path: Path, rng: np.random.Generator) -> None:
    rock = np.zeros(SPACE, dtype=bool)
    rock[2:4, 1:3] = True
    values = rng.normal(size=(4, 4))
    _write(
        tmp_path / "a.hdf5",
        rng,
        {"rock": {"dims": ["x", "y"], "kind": "WALL", "mask": rock, "values": values, "time": True}},
    )
    ds = sciops.data.open(tmp_path / "a.hdf5")
    assert ds["boundary_rock"].dims == ("time", "x", "y") and "face" not in ds["boundary_rock"].attrs
    found = ds["boundary_rock"].values
    np.testing.assert_array_equal(found[:, rock], values)
    assert (found[:, ~rock] == 0).all()
    np.testing.assert_array_equal(ds["boundary_rock_nodes"].values, rock)
    np.testing.assert_array_equal(ds["mask_rock"].values, ~rock)
    np.testing.assert_array_equal(
        ds["boundary_rock"].isel(time=slice(1, 3), x=2, y=[2, 0]).values, found[1:3, 2, [2, 0]]
    )


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((5, 4)), np.zeros((3, 4, 2, 4)), np.array(1.0)])
def test_values_that_do_not_fit_are_left_aside(values: np.ndarray, tmp_path: Path, rng: np.random.Generator) -> None:
    rock = np.zeros(SPACE, dtype=bool)
    rock[2:4, 1:3] = True
    conditions = {"rock": {"dims": ["x", "y"], "kind": "WALL", "mask": rock, "values": values}}
    _write(tmp_path / "a.hdf5", rng, conditions)
    ds = sciops.data.open(tmp_path / "a.hdf5")
    assert set(map(str, ds.data_vars)) == {"u", "mask_rock"}
