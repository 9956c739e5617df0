"""Files of known layouts whose attributes and shapes lie."""

from __future__ import annotations

import json

import h5py
import numpy as np

from hostile_files.base import Hostile, hostile

CASES: list[Hostile] = []
ALIASES = "a: &a [1, 1]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20)
)


@hostile(CASES, "a.h5")
def groups_of_other_shapes(path, rng):
    with h5py.File(path, "w") as file:
        for i, shape in enumerate([(4, 8, 8, 1), (4, 8, 7, 1), (0, 8, 8, 1)]):
            file[f"{i:04d}/data"] = np.zeros(shape, "f4")
            for name, size in zip("txy", shape, strict=False):
                file[f"{i:04d}/grid/{name}"] = np.arange(float(size))


def groups(path, config, *, dtype="f4", count=3):
    with h5py.File(path, "w") as file:
        for i in range(count):
            file[f"{i:04d}/data"] = np.zeros((4, 8, 1)).astype(dtype if i else "f4")
            file[f"{i:04d}/grid/t"], file[f"{i:04d}/grid/x"] = np.arange(4.0), (np.arange(8) + 0.5) / 8
            file[f"{i:04d}"].attrs["config"] = config


@hostile(CASES, "a.h5")
def groups_of_other_types(path, rng):
    groups(path, "sim: {D: 1}", dtype="S3")


@hostile(CASES, "a.h5", sums={"data": 0.0})
def yaml_of_a_billion_laughs(path, rng):
    groups(path, ALIASES + f"sim: *{chr(98 + 19)}")


@hostile(CASES, "a.h5", sums={"data": 0.0})
def yaml_that_runs_code(path, rng):
    groups(path, "sim: !!python/object/apply:os.mkdir ['executed']")


@hostile(CASES, "a.h5", sums={"data": 0.0})
def yaml_nested_deeply(path, rng):
    groups(path, "sim: " + "[" * 20_000)


@hostile(CASES, "a.h5", sums={"data": 0.0})
def yaml_of_megabytes(path, rng):
    groups(path, "sim:\n" + "".join(f"  k{i}: {i}\n" for i in range(4000)), count=40)


@hostile(CASES, "a.h5")
def numbers_in_yaml_that_are_none(path, rng):
    groups(path, "sim: {D: 1e999, k: .nan, n: 0x" + "f" * 5000 + ", when: 2001-99-99, t: 1:60:60}")


@hostile(CASES, "a.h5")
def incompressible_that_lies(path, rng):
    with h5py.File(path, "w") as file:
        file["velocity"], file["particles"] = np.zeros((2, 4, 8, 8, 2), "f4"), np.zeros((2, 3, 8, 8, 1), "f4")
        file["force"], file["t"] = np.zeros((2, 8, 9, 2), "f4"), np.zeros((3, 4), "f4")
        file.attrs["latestIndex"], file.attrs["config"] = -(2**40), "{" * 30_000


@hostile(CASES, "a.h5")
def tensor_without_times(path, rng):
    with h5py.File(path, "w") as file:
        file["tensor"], file["x-coordinate"] = np.zeros((3, 4, 8)), np.arange(8.0)
        file["t-coordinate"] = np.array([b"now"] * 5)


def well(path, *, attributes=None, field=None, fill=None):
    with h5py.File(path, "w") as file:
        given = {"dataset_name": "x", "grid_type": "cartesian", "n_spatial_dims": 2, "n_trajectories": 2}
        file.attrs.update(given | {"simulation_parameters": []} | (attributes or {}))
        dims = file.create_group("dimensions")
        dims.attrs["spatial_dims"] = ["x", "y"]
        dims["time"], dims["x"], dims["y"] = np.arange(3.0), np.arange(4.0), np.arange(5.0)
        for name in ("boundary_conditions", "scalars", "t0_fields", "t1_fields", "t2_fields"):
            file.create_group(name).attrs["field_names"] = []
        file["t0_fields"].attrs["field_names"] = ["p"]
        file["t0_fields/p"] = np.ones((2, 3, 4, 5), "f4")
        marks = {"dim_varying": [True, True], "sample_varying": True, "time_varying": True}
        file["t0_fields/p"].attrs.update(marks | (field or {}))
        if fill:
            fill(file)


@hostile(CASES, "a.hdf5")
def well_of_a_billion_dimensions(path, rng):
    well(path, attributes={"n_spatial_dims": 10**9, "n_trajectories": -(10**18), "simulation_parameters": "nu"})


@hostile(CASES, "a.hdf5")
def well_with_flags_that_do_not_fit(path, rng):
    well(path, field={"dim_varying": [True] * 70, "time_varying": "perhaps", "sample_varying": np.zeros(3)})


@hostile(CASES, "a.hdf5")
def well_with_fields_that_are_not_there(path, rng):
    def fill(file):
        file["t0_fields"].attrs["field_names"] = ["../dimensions/time", "q", "p" * 5000]
        file["t1_fields"].attrs["field_names"] = 7
        file["t1_fields/v"] = np.zeros((2, 3, 4, 5, 7))
        file["boundary_conditions/wall/mask"] = np.ones((9, 9, 9), "f8")
        file["boundary_conditions/wall"].attrs["bc_type"] = h5py.Empty("S1")

    well(path, fill=fill)


@hostile(CASES, "a.h5")
def json_nested_deeply(path, rng):
    with h5py.File(path, "w") as file:
        file["data"], file["times"] = np.zeros((4, 8, 8)), np.arange(4.0)
        file.attrs["grid"] = "[" * 20_000 + "]" * 20_000
        file.attrs["class"], file.attrs["fields"] = '"ScalarField"', "[" * 20_000


@hostile(CASES, "a.h5")
def json_with_a_huge_grid(path, rng):
    state = {"class": "CartesianGrid", "shape": [10**9, 10**9], "bounds": [[0, 1e999], ["a", None]], "periodic": 3}
    with h5py.File(path, "w") as file:
        file["data"], file["times"] = np.zeros((4, 8, 8)), np.arange(4.0)
        file["data"].attrs["grid"] = file.attrs["grid"] = json.dumps({"CartesianGrid": state})
        file.attrs["class"], file.attrs["dtype"] = '"ScalarField"', '"__import__(os)"'


@hostile(CASES, "a.out")
def receivers_that_lie(path, rng):
    with h5py.File(path, "w") as file:
        file.attrs.update({"gprMax": "3", "Title": "t", "Iterations": 10**15, "dt": np.nan, "nrx": 10**9})
        file.attrs["dx_dy_dz"], file.attrs["rxsteps"] = "far", np.zeros((3, 3, 3))
        for i, size in enumerate((6, 5)):
            file[f"rxs/rx{i + 1}/Ez"] = np.zeros(size)
            file[f"rxs/rx{i + 1}"].attrs["Position"] = [np.nan] * (i + 2)


@hostile(CASES, "a.h5")
def tasks_without_scales(path, rng):
    with h5py.File(path, "w") as file:
        file["tasks/u"], file["scales/sim_time"] = np.zeros((4, 8)), np.zeros((3, 3))
        file["scales/x_hash"] = np.full(8, np.nan)
        file["tasks/u"].dims[1].attach_scale(file["scales/x_hash"])


@hostile(CASES, "a.h5")
def splits_that_differ(path, rng):
    with h5py.File(path, "w") as file:
        for split, shape in (("train", (2, 4, 8)), ("valid", (2, 4, 9)), ("test", (0, 4, 8))):
            file[f"{split}/pde_4-8"], file[f"{split}/dt"] = np.zeros(shape), np.zeros((5, 5))
            file[f"{split}/x"], file[f"{split}/t"] = np.zeros((2, 8)), np.array(["a"], "S1")


@hostile(CASES, "a.h5")
def arrays_under_links_to_groups(path, rng):
    with h5py.File(path, "w") as file:
        file["train/u"] = np.zeros((2, 4, 8, 8), "f4")
        for name in ("valid", "test"):
            file[name] = file["train"]
        file["train/train"] = file["train"]
