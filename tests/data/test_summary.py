"""What `sciops info` shows: statistics against numpy, streamed in blocks, and the rendered table."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import xarray as xr
from rich.console import Console

from sciops.data.conventions import coordinates_of
from sciops.data.domains.axis import Axis
from sciops.data.domains.mesh import Mesh
from sciops.data.files import write
from sciops.data.reading import summary
from sciops.data.reading.storage import StoredArray
from sciops.data.reading.summary import summarise
from sciops.errors import DataError, InputError


@pytest.fixture
def ds():
    rng = np.random.default_rng()
    u = 1e4 + rng.normal(size=(9, 5, 16)).astype("f4")
    u[2, 1, 3], u[4, 0, :2], u[8, 4, 15] = np.inf, np.nan, -np.inf
    return xr.Dataset(
        {
            "u": (("sample", "time", "x"), u, {"units": "Pa"}),
            "inside": (("sample", "x"), rng.normal(size=(9, 16)) > 0),
            "nu": ("sample", rng.uniform(size=9)),
            "index": ("time", np.arange(5)),
            "name": ("sample", [f"run {i}" for i in range(9)]),
        },
        coords={"x": ("x", np.arange(16) / 8, {"units": "m"})},
    )


@pytest.mark.parametrize("block", [1, 64, 1000, 1 << 25])
def test_statistics_agree_with_numpy(ds, monkeypatch, block):
    monkeypatch.setattr(summary, "_BLOCK_BYTES", block)
    found = {variable.name: variable for variable in summarise(ds).variables}
    for name in ("u", "inside", "nu", "index"):
        values = ds[name].values.astype(float)
        good = values[np.isfinite(values)]
        expected = (good.min(), good.max(), good.mean(), good.std())
        seen = found[name].statistics
        np.testing.assert_allclose((seen.minimum, seen.maximum, seen.mean, seen.std), expected, rtol=1e-10)
        assert (seen.nan, seen.inf) == ((2, 2) if name == "u" else (0, 0))
        assert seen.count == values.size
    assert found["name"].statistics is None


def test_large_mean_keeps_its_digits():
    values = 1e9 + np.random.default_rng().normal(size=(1000, 50))
    found = summarise(xr.Dataset({"u": (("sample", "x"), values)})).variables[0].statistics
    assert found.std == pytest.approx(values.std(), rel=1e-6)


def test_complex_counts_by_modulus():
    found = summarise(xr.Dataset({"u": ("x", [3 + 4j, 0, complex(np.nan, 1)])})).variables[0].statistics
    assert (found.minimum, found.maximum, found.mean, found.nan) == (0, 5, 2.5, 1)


def test_nothing_finite():
    found = summarise(xr.Dataset({"u": ("x", [np.nan, np.nan])})).variables[0].statistics
    assert found.nan == 2
    assert np.isnan([found.minimum, found.maximum, found.mean, found.std]).all()


def test_reads_in_blocks(tmp_path, monkeypatch):
    torch.save({"x": torch.ones(64, 32, 32), "y": torch.ones(64, 32, 32)}, tmp_path / "d.pt")
    monkeypatch.setattr(summary, "_BLOCK_BYTES", 1 << 16)
    sizes = []
    read = StoredArray._read
    monkeypatch.setattr(StoredArray, "_read", lambda *a: sizes.append((out := read(*a)).nbytes) or out)
    assert summarise(tmp_path / "d.pt").variables[0].statistics.mean == 1
    assert sum(sizes) == 2 * 64 * 32 * 32 * 4
    assert max(sizes) <= 1 << 16


def test_without_statistics_nothing_is_read(tmp_path, monkeypatch):
    torch.save({"x": torch.ones(6, 32), "y": torch.ones(6, 32)}, tmp_path / "d.pt")
    monkeypatch.setattr(StoredArray, "_read", lambda *a: pytest.fail("read"))
    found = summarise(tmp_path / "d.pt", statistics=False)
    assert [variable.statistics for variable in found.variables] == [None, None]
    assert "y" in str(found)


def test_structure(ds, tmp_path):
    found = summarise(write(ds, tmp_path / "run.nc"))
    assert (found.layout, found.n_samples, found.sample_dim, found.time_dim) == ("native", 9, "sample", "time")
    assert found.source == str(tmp_path / "run.nc")
    assert [axis.axis for axis in found.axes] == [Axis("x", 16, 0, 2, "left", "m")]
    roles = {variable.name: variable.role for variable in found.variables}
    assert roles == {"u": "field", "inside": "field", "nu": "parameter", "index": "other", "name": "other"}
    assert found.variables[0].shape == (9, 5, 16)
    assert found.variables[0].units == "Pa"
    assert found.dims == {"sample": 9, "time": 5, "x": 16}


def test_rendered(ds, tmp_path):
    text = str(summarise(write(ds, tmp_path / "run.nc")))
    for part in ("layout native: netCDF4/HDF5", "[0, 2)", "left", "sample 9, time 5, x 16", "Pa", "float32", "bool"):
        assert part in text
    assert "! 'u' holds 2 NaN and 2 infinite values of 720" in text
    console = Console(file=io.StringIO(), width=80)
    console.print(summarise(ds))
    assert "in memory" in console.file.getvalue()


def test_assumed_and_irregular_axes_are_said(tmp_path):
    torch.save({"x": torch.ones(3, 8), "y": torch.ones(3, 8)}, tmp_path / "d.pt")
    assert "assumed, the file has no coordinates" in str(summarise(tmp_path / "d.pt"))
    irregular = xr.Dataset({"u": ("x", np.zeros(4))}, coords={"x": [0.0, 0.1, 0.5, 1.0]})
    found = summarise(irregular)
    assert found.axes[0].axis.kind == "stretched"
    assert "stretched  [0, 1]" in str(found)
    descending = summarise(irregular.assign_coords(x=[1.0, 0.5, 0.2, 0.0]))
    assert descending.axes[0].axis is None
    assert "no axis: the coordinates descend" in str(descending)


def test_points_meshes_and_curvilinear_grids_are_no_assumed_axes():
    mesh = Mesh(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]]), {"triangle": torch.tensor([[0, 1, 2]])}, units="m")
    coordinates, marks = coordinates_of(mesh)
    ds = xr.Dataset({"u": ("point", np.zeros(3)), "k": ("cell_triangle", [1.0])}, coordinates, marks)
    text = str(summarise(ds))
    assert [(axis.name, axis.domain) for axis in summarise(ds).axes] == [("point", "mesh"), ("cell_triangle", "cells")]
    assert "x [0, 2], y [0, 3]" in text
    assert "assumed" not in text
    moving = xr.Dataset(
        {"u": (("sample", "point"), np.zeros((2, 3)))},
        {"x": (("sample", "point"), np.random.default_rng().random((2, 3)))},
        {"point_dims": ["point"], "point_coords": ["x"]},
    )
    assert "the points of 'u' move" in summarise(moving).axes[0].problem
    i, j = np.meshgrid(np.arange(3.0), np.arange(4.0), indexing="ij")
    bent = xr.Dataset({"u": (("i", "j"), i)}, {"x": (("i", "j"), i), "y": (("i", "j"), j + i**2)})
    bent.attrs["curvilinear_coords"] = ["x", "y"]
    assert [(axis.domain, axis.interval) for axis in summarise(bent).axes] == [
        ("curvilinear", "x [0, 2], y [0, 7]")
    ] * 2


def test_real_files(shared_data):
    found = summarise(shared_data / "burgers_train_16.pt")
    assert found.n_samples == 800
    assert found.variables[2].statistics.mean == pytest.approx(0.01)
    assert not found.defects


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match=r"summarise takes a path or an xarray\.Dataset, got int"):
        summarise(3)
    with pytest.raises(DataError, match="no such file"):
        summarise(tmp_path / "missing.h5")


def test_a_global_longitude_is_said_periodic():
    ds = xr.Dataset(
        {"zonal": ("lat", np.zeros(6)), "u": (("lat", "lon"), np.zeros((6, 12)))},
        {
            "lat": ("lat", np.arange(6) * 30.0 - 75, {"units": "degrees_north"}),
            "lon": ("lon", np.arange(12) * 30.0, {"units": "degrees_east"}),
        },
    )
    lat, lon = (each.axis for each in summarise(ds).axes)
    assert (lat.kind, lat.lower, lat.upper) == ("cell", -90, 90)
    assert (lon.kind, lon.lower, lon.upper) == ("periodic", 0, 360)


@pytest.mark.parametrize("block", [1, 64, 1 << 25])
def test_values_outside_of_the_mask_do_not_count(ds, monkeypatch, block):
    monkeypatch.setattr(summary, "_BLOCK_BYTES", block)
    sea = ds.u.notnull().all("time").assign_attrs(role="mask")
    ds = ds.assign(sea=sea, u=ds.u.assign_attrs(mask="sea"))
    found = {variable.name: variable for variable in summarise(ds).variables}
    values = ds.u.values[np.broadcast_to(sea.values[:, None], ds.u.shape)]
    seen = found["u"].statistics
    assert (seen.nan, seen.inf, seen.count) == (0, 2, values.size)
    assert seen.mean == pytest.approx(values[np.isfinite(values)].mean())
    assert found["sea"].role == "mask" and "bool (mask)" in str(summarise(ds))
    assert summarise(ds).defects == (f"'u' holds 0 NaN and 2 infinite values of {values.size}",)
