"""Data sets in many files: what is joined, in which order, how lazily, and what is refused."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray as xr
from torch.utils.data import DataLoader
from xarray.backends.file_manager import FILE_CACHE

import sciops.data
from sciops.cli import main
from sciops.data.conventions import grid_of
from sciops.data.files import open, write
from sciops.data.reading.paths import data_files, natural_order
from sciops.data.reading.shards import JoinedArray
from sciops.data.reading.storage import StoredArray
from sciops.data.reading.summary import summarise
from sciops.errors import DataError, InputError, LayoutError, SciopsError


@pytest.fixture
def rng(generator):
    return np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))


LENGTHS = {1: 3, 2: 1, 10: 4}


@pytest.fixture
def runs(tmp_path, rng):
    """Three files of one simulation, and all of it in memory."""
    whole = xr.Dataset(
        {
            "u": (("sample", "time", "x"), rng.normal(size=(8, 3, 16)), {"units": "m/s"}),
            "nu": ("sample", rng.random(8)),
            "rho": ((), 1000.0),
            "ground": ("x", rng.random(16)),
        },
        coords={"x": np.linspace(0, 1, 16), "time": [0.0, 0.5, 1.0], "seed": ("sample", np.arange(8))},
    )
    start = 0
    for number, length in LENGTHS.items():
        write(whole.isel(sample=slice(start, start + length)), tmp_path / f"run_{number}.h5")
        start += length
    return tmp_path, whole


def same(found, whole):
    for name in whole.variables:
        np.testing.assert_array_equal(found[name].values, whole[name].values)
        assert found[name].dims == whole[name].dims, name


@pytest.mark.parametrize("way", ["pattern", "folder", "list", "home"])
def test_every_way_to_name_them(way, runs, monkeypatch):
    folder, whole = runs
    monkeypatch.setenv("HOME", str(folder))
    listed = [folder / f"run_{number}.h5" for number in LENGTHS]
    path = {"pattern": folder / "run_*.h5", "folder": str(folder), "list": listed, "home": "~/run_*.h5"}[way]
    ds = open(path)
    same(ds, whole)
    assert ds.attrs["sample_dim"] == "sample"
    assert grid_of(ds, "u").axes[0].kind == "closed"
    assert ds.u.attrs["units"] == "m/s"
    assert ds.encoding["sources"] == [str(file) for file in listed]
    expected = "3 files, run_1.h5 to run_10.h5, joined along sample since they hold the same variables on the same grid"
    assert expected in ds.attrs["layout_reason"]


def test_natural_order_and_the_order_of_a_list(runs):
    folder, whole = runs
    assert [file.name for file in natural_order(folder.glob("*.h5"))] == ["run_1.h5", "run_2.h5", "run_10.h5"]
    ds = open([folder / "run_10.h5", folder / "run_1.h5"])
    assert ds.seed.values.tolist() == [4, 5, 6, 7, 0, 1, 2]
    same(open([folder / "run_2.h5"]), whole.isel(sample=[3]))


def test_numbers_in_names_count_by_their_value():
    names = ["Nu0.1.h5", "Nu0.001.h5", "Nu0.02.h5", "Nu10.h5", "Nu2.h5", "²1.h5"]
    found = [file.name for file in natural_order(map(Path, names))]
    assert found == ["Nu0.001.h5", "Nu0.02.h5", "Nu0.1.h5", "Nu2.h5", "Nu10.h5", "²1.h5"]


def test_one_file_made_of_many(runs, tmp_path):
    folder, whole = runs
    (tmp_path / "whole").mkdir()
    same(open(write(open(folder), tmp_path / "whole" / "all.nc")), whole)


def test_a_name_with_the_marks_of_a_pattern(tmp_path):
    ds = xr.Dataset({"u": (("sample", "x"), np.ones((2, 8)))})
    path = write(ds, tmp_path / "run[1].h5")
    assert open(path).encoding["source"] == str(path)


def test_indexing_agrees_with_numpy(runs, rng):
    folder, whole = runs
    ds, values = open(folder), whole.u.values
    assert isinstance(ds.u.variable._data.array, JoinedArray)
    for key in [
        *(0, -1, slice(None), slice(2, 5), slice(None, None, -2), [7, 0, 3, 3], []),
        *(np.array([-1, -8]), rng.integers(-8, 8, 20), slice(5, 2)),
    ]:
        np.testing.assert_array_equal(ds.u[key].values, values[key])
        np.testing.assert_array_equal(ds.u[key, 1, [4, 2]].values, values[key][..., 1, :][..., [4, 2]])
        np.testing.assert_array_equal(ds.u.isel(x=-1)[key].values, values[key][..., -1])


def test_reading_touches_the_files_asked_for(runs, monkeypatch):
    folder, _ = runs
    for number in LENGTHS:  # of a layout that is read by ourselves
        with h5py.File(folder / f"raw_{number}.hdf5", "w") as file:
            file["u"] = np.full((2, 4), number)
    ds = open(folder / "raw_*.hdf5", dims={"u": ("sample", "x")})
    read = []
    original = StoredArray._read
    monkeypatch.setattr(StoredArray, "_read", lambda self, key: read.append(self.path.name) or original(self, key))
    assert ds.u[[3, 2]].values[:, 0].tolist() == [2, 2]
    assert read == ["raw_2.hdf5"]


def test_handles_stay_within_the_cache_of_xarray(tmp_path):
    ds = xr.Dataset({"u": (("sample", "x"), np.ones((1, 8)))})
    for i in range(12):
        write(ds, tmp_path / f"{i}.h5")
    before = len(FILE_CACHE)
    with xr.set_options(file_cache_maxsize=4):
        found = open(tmp_path)
        assert len(FILE_CACHE) <= max(4, before)
        assert found.u.values.sum() == 96
        assert len(FILE_CACHE) <= 4
        found.close()
        assert found.u[11].values.sum() == 8


def test_it_pickles_without_values(runs):
    folder, whole = runs
    payload = pickle.dumps(open(folder))
    assert whole.u.values.tobytes()[:64] not in payload
    same(pickle.loads(payload), whole)


def test_workers_read_it(runs):
    folder, whole = runs
    data = sciops.data.FunctionDataset(
        open(folder), inputs="u", outputs="u", parameters="nu", history=1, dtype=torch.float64, cache_bytes=0
    )
    loader = DataLoader(
        data, batch_size=None, sampler=[[0, 15], [7, 3]], num_workers=2, multiprocessing_context="forkserver"
    )
    batches = list(loader)
    np.testing.assert_array_equal(batches[0]["x"][1, 0], whole.u.values[7, 1])
    np.testing.assert_array_equal(batches[1]["y"][0, 0], whole.u.values[3, 2])
    np.testing.assert_array_equal(batches[1]["parameters"][:, 0], whole.nu.values[[3, 1]])


def test_what_differs_between_files_becomes_one_of_each_sample(runs):
    folder, whole = runs
    with h5py.File(folder / "run_2.h5", "a") as file:
        file["rho"][...] = 900.0
        file["ground"][...] = 0.5
    ds = open(folder)
    assert ds.rho.values.tolist() == [1000.0] * 3 + [900.0] + [1000.0] * 4
    assert (ds.ground.dims, ds.ground.variable._in_memory) == (("sample", "x"), False)
    np.testing.assert_array_equal(ds.ground[[3, 4], :2].values, [[0.5, 0.5], whole.ground.values[:2]])


def test_pdebench_files_of_several_parameters(tmp_path, rng):
    tensors = rng.normal(size=(3, 2, 4, 8)).astype("f4")
    for i, nu in enumerate((0.1, 0.01, 0.001)):
        with h5py.File(tmp_path / f"Burgers_Nu{nu}.hdf5", "w") as file:
            file["tensor"], file.attrs["Nu"] = tensors[i], nu
            file["x-coordinate"], file["t-coordinate"] = (np.arange(8) + 0.5) / 8, np.arange(5.0)
    ds = open(tmp_path)
    assert ds.attrs["layout"] == "pdebench-1d"
    assert ds.Nu.values.tolist() == [0.001, 0.001, 0.01, 0.01, 0.1, 0.1]
    np.testing.assert_array_equal(ds.tensor.values, tensors[::-1].reshape(6, 4, 8))


def trajectory(path, start, values, units=None, **attributes):
    time = ("time", start + np.arange(len(values)) * 0.5, {"units": units} if units else {})
    ds = xr.Dataset({"u": (("time", "x"), values)}, {"time": time, "x": np.arange(8.0)}, attributes)
    ds.to_netcdf(path, engine="h5netcdf")


def test_trajectories_that_start_anew_are_samples(tmp_path, rng):
    values = rng.normal(size=(2, 4, 8))
    for i in range(2):
        trajectory(tmp_path / f"{i}.nc", 0, values[i])
    ds = open(tmp_path)
    assert (ds.u.dims, ds.attrs["sample_dim"]) == (("sample", "time", "x"), "sample")
    np.testing.assert_array_equal(ds.u.values, values)
    assert "each is one sample" in ds.attrs["layout_reason"]


def test_trajectories_that_go_on_are_one(tmp_path, rng):
    values = rng.normal(size=(7, 8))
    trajectory(tmp_path / "s1.nc", 0, values[:4])
    trajectory(tmp_path / "s2.nc", 2, values[4:])
    ds = open(tmp_path)
    assert (ds.u.dims, ds.time.values.tolist()) == (("time", "x"), (np.arange(7) * 0.5).tolist())
    assert "sample_dim" not in ds.attrs
    np.testing.assert_array_equal(ds.u.values, values)
    assert "each goes on in time where the one before ends" in ds.attrs["layout_reason"]


@pytest.mark.parametrize("second", ["days since 2000-01-01", "days since 2000-01-03"])
def test_years_of_one_calendar_are_one_trajectory(second, tmp_path, rng):
    values = rng.normal(size=(7, 8))
    trajectory(tmp_path / "y1.nc", 0, values[:4], "days since 2000-01-01", Conventions="CF-1.8")
    trajectory(tmp_path / "y2.nc", 2 if second.endswith("01-01") else 0, values[4:], second, Conventions="CF-1.8")
    ds = open(tmp_path / "y?.nc")
    assert ds.time.values.tolist() == (np.arange(7) * 0.5).tolist()
    assert (ds.time.attrs["reference"], ds.time.attrs["units"]) == ("days since 2000-01-01", "days")
    np.testing.assert_array_equal(ds.u.values, values)


@pytest.mark.parametrize("times", [[0.0, np.nan, 0.2, 0.3], [0.0, 0.2, 0.1, 0.3], [np.nan, 0.1, 0.2, 0.3]])
@pytest.mark.parametrize("bad", [0, 1])
def test_times_that_do_not_ascend_are_not_joined(times, bad, tmp_path, rng):
    files = [tmp_path / "a.nc", tmp_path / "b.nc"]
    for number, file in enumerate(files):
        line = np.array(times if number == bad else [0.0, 0.1, 0.2, 0.3]) + number
        ds = xr.Dataset({"u": (("time", "x"), rng.normal(size=(4, 8)))}, {"time": line, "x": np.arange(8.0)})
        ds.to_netcdf(file, engine="h5netcdf")
    with pytest.raises(
        DataError, match=rf"{files[bad].name}: its times do not ascend.*{files[1 - bad].name}"
    ) as caught:
        open([*files])
    assert "\n" not in str(caught.value)


def test_zarr_stores_and_other_containers(tmp_path):
    for i in range(3):
        np.savez(tmp_path / f"{i}.npz", a=np.full((2, 8), i), u=np.zeros((2, 8)))
        ds = xr.Dataset({"u": (("sample", "x"), np.full((2, 8), i))})
        ds.to_zarr(tmp_path / f"{i}.zarr", zarr_format=2)
    assert open(tmp_path / "*.npz").a[:, 0].values.tolist() == [0, 0, 1, 1, 2, 2]
    assert open(tmp_path / "*.zarr").u[[5, 0], 0].values.tolist() == [2, 0]


# what is refused


def spoiled(folder, change, number=10):
    with h5py.File(folder / f"run_{number}.h5", "a") as file:
        change(file)
    return folder


def one_line(error, *parts):
    assert "\n" not in str(error.value)
    for part in parts:
        assert re.search(part, str(error.value)), (part, str(error.value))


DIFFERENCES = {
    "units": (lambda f: f["u"].attrs.__setitem__("units", "km/s"), DataError, "'u' has the units 'km/s', in .* 'm/s'"),
    "grid": (lambda f: f["x"].__setitem__(slice(None), np.linspace(0, 2, 16)), DataError, "'x' is .*from 0 to 2"),
    "times": (lambda f: f["time"].__setitem__(slice(None), [0, 1, 2]), DataError, "the coordinate 'time'"),
    "axis units": (lambda f: f["x"].attrs.__setitem__("units", "mm"), DataError, "the coordinate 'x' is 16.*mm"),
    "variable": (lambda f: f.move("nu", "mu"), DataError, "no variable 'nu', which .*run_1.h5 has; join files"),
}


@pytest.mark.parametrize(("change", "kind", "message"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_files_that_differ_are_both_named(change, kind, message, runs):
    folder, _ = runs
    with pytest.raises(kind) as error:
        open(spoiled(folder, change))
    one_line(error, message, r"run_10\.h5", r"run_1\.h5")


def test_another_shape_and_another_layout(runs):
    folder, whole = runs
    write(whole.isel(x=slice(8), sample=[0]), folder / "run_11.h5")
    with pytest.raises(DataError) as error:
        open(folder)
    one_line(error, r"run_11\.h5: 'u' has the dimensions \(sample 1, time 3, x 8\), in .*run_1\.h5 .*x 16\)")
    with h5py.File(folder / "run_11.h5", "w") as file:
        file["tensor"], file["x-coordinate"], file["t-coordinate"] = np.zeros((2, 3, 16)), np.arange(16.0), np.arange(3)
    with pytest.raises(LayoutError) as error:
        open(folder)
    one_line(error, r"run_11\.h5: not of the layout 'native'", r"run_1\.h5 has the layout 'native'")


def test_one_bad_file_is_named(runs):
    folder, _ = runs
    (folder / "run_3.h5").write_bytes(b"")
    with pytest.raises(DataError) as error:
        open(folder)
    one_line(error, r"run_3\.h5: the file is empty")


def test_nothing_matches(runs):
    folder, _ = runs
    with pytest.raises(DataError) as error:
        open(folder / "rum_*.h5")
    one_line(error, r"rum_\*\.h5: no file matches the pattern; it holds run_1\.h5, run_10\.h5, run_2\.h5$")
    with pytest.raises(InputError, match="an empty one"):
        open([])
    with pytest.raises(InputError, match="got int in it"):
        open([1])
    with pytest.raises(InputError, match=r"run_1\.h5: listed twice"):
        open([folder / "run_1.h5"] * 2)


def test_folders_of_several_kinds(runs):
    folder, whole = runs
    (folder / "notes.txt").write_text("ours")
    same(open(folder), whole)
    np.savez(folder / "a.npz", a=np.zeros((2, 8)), u=np.zeros((2, 8)))
    with pytest.raises(DataError) as error:
        open(folder)
    one_line(error, r"files of several kinds \(3 \.h5, 1 \.npz\); choose by a pattern, such as '.*\*\.h5'")


def test_an_xdmf_file_stands_for_the_values_beside_it(tmp_path):
    for name in ("a.xdmf", "a.h5", "b.xdmf", "b.h5"):
        (tmp_path / name).touch()
    assert [file.name for file in data_files(tmp_path)] == ["a.xdmf", "b.xdmf"]


def test_the_command_line_says_how_many_and_why(runs, capsys):
    folder, _ = runs
    assert main(["info", str(folder / "run_*.h5")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "3 files, run_1.h5 to run_10.h5, joined along sample since they hold the same variables" in text
    assert "sample 8" in text
    assert str(summarise([folder / "run_1.h5", folder / "run_2.h5"])).startswith(f"{folder / 'run_1.h5'} and 1 more")
    with pytest.raises(SciopsError, match="summarise takes a path"):
        summarise(3)
