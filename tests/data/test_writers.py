"""Layouts of other packages and Zarr: written, read back by our own readers, and what they cannot hold."""

from __future__ import annotations

import json
import tracemalloc

import h5py
import numpy as np
import pytest
import xarray as xr
from layout_examples import EXAMPLES

from sciops.data.conventions import coordinate, field_names, grid_of
from sciops.data.domains.axis import Axis
from sciops.data.files import open, write
from sciops.data.layouts import registry as layouts
from sciops.data.writing.writers import registry
from sciops.errors import DataError, InputError

written = pytest.mark.parametrize("example", [e for e in EXAMPLES if e.layout in registry], ids=str)
CONVENTIONS = ("sample_dim", "time_dim", "channel_dims")
OPTIONS = {"chunks": {"sample": 2, "x": 3}, "compression": "gzip"}


def nothing_left(folder, *names):
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def check_same(again, ds):
    """The same variables, coordinates, marks and grids."""
    assert set(again.variables) == set(ds.variables)
    for name in ds.variables:
        assert (again[name].dims, again[name].dtype) == (ds[name].dims, ds[name].dtype), name
        np.testing.assert_array_equal(again[name].values, ds[name].values, name)
    for name in ds.data_vars:
        assert {key: str(value) for key, value in again[name].attrs.items()} == {
            key: str(value) for key, value in ds[name].attrs.items()
        }, name
    for name in field_names(ds):
        assert grid_of(again, name) == grid_of(ds, name)
    for key in CONVENTIONS:
        assert again.attrs.get(key) == ds.attrs.get(key)


def test_every_pdebench_layout_and_the_well_can_be_written():
    assert set(registry) == {name for name in layouts if name.startswith("pdebench") or name == "the-well"}


@written
@pytest.mark.parametrize("options", [{}, OPTIONS], ids=["plain", "chunked"])
def test_written_in_its_own_layout(example, options, tmp_path):
    path = tmp_path / f"file{example.suffix}"
    expected = example.write(path, np.random.default_rng())
    ds = open(path, **expected.options)
    made = write(ds, tmp_path / f"again{example.suffix}", example.layout, **options)
    again = open(made)
    assert again.attrs["layout"] == example.layout
    check_same(again, ds)
    np.testing.assert_array_equal(again.isel(sample=-1).to_array().isnull(), ds.isel(sample=-1).to_array().isnull())
    if options:
        with h5py.File(made) as file:
            filters = []
            file.visititems(lambda name, item: filters.append(getattr(item, "compression", None)))
            assert "gzip" in filters
    nothing_left(tmp_path, f"file{example.suffix}", f"again{example.suffix}")


@written
def test_in_small_blocks(example, tmp_path, monkeypatch):
    monkeypatch.setattr("sciops.data.writing.copying._BLOCK_BYTES", 64)
    path = tmp_path / f"file{example.suffix}"
    ds = open(path, **example.write(path, np.random.default_rng()).options)
    check_same(open(write(ds, tmp_path / f"again{example.suffix}", example.layout)), ds)


def trajectories(**variables):
    rng = np.random.default_rng()
    return xr.Dataset(
        {"tensor": (("sample", "time", "x"), rng.normal(size=(3, 4, 8))), "Nu": 0.5, **variables},
        {"x": (np.arange(8) + 0.5) / 8, "time": np.arange(4.0)},
    )


def plane(**variables):
    rng = np.random.default_rng()
    dims = ("sample", "time", "x", "y")
    return xr.Dataset(
        {"u": (dims, rng.normal(size=(3, 4, 8, 6))), **variables},
        {"x": np.linspace(0, 1, 8), "y": np.linspace(0, 2, 6), "time": np.arange(4.0)},
        {"channel_dims": ["channel_v"]},
    )


def conditions(text):
    ds = plane()
    return ds.assign(u=ds.u.assign_attrs(boundary_conditions=text))


POINTS = {"point_dims": ["point"], "point_coords": ["x"]}
UNFIT = {
    "no such name": ("pdebench-1d", trajectories().rename(tensor="u"), r"a variable 'tensor'.*--rename u=tensor"),
    "another axis": (
        "pdebench-1d",
        trajectories().rename(x="s"),
        r"'tensor' has .* \(sample, time, s\), it",
    ),
    "a further field": (
        "pdebench-1d",
        trajectories(q=("x", np.ones(8))),
        r"no place for .* 'q' \(x\).*--drop q",
    ),
    "a parameter": ("pdebench-1d", trajectories(D=0.5), r"no place for the variable 'D' \(\)"),
    "a parameter of each": (
        "pdebench-1d",
        trajectories(Nu=("sample", np.ones(3))),
        r"'Nu' varies along sample",
    ),
    "a coordinate": (
        "pdebench-1d",
        trajectories().assign_coords(split=("sample", ["train"] * 3)),
        r"no place for the coordinate 'split' \(sample\)",
    ),
    "no coordinates": ("pdebench-1d", trajectories().drop_vars("x"), r"dimension 'x' has no coordinates"),
    "dates": (
        "pdebench-1d",
        trajectories().assign_coords(time=np.arange("2024-01-01", "2024-01-05", dtype="M8[D]").astype("M8[ns]")),
        r"coordinates 'time' have the dtype datetime64\[ns\], it needs numbers",
    ),
    "complex": ("pdebench-1d", trajectories(q=("x", np.ones(8, complex))), r"'q' is complex.*\.real and \.imag"),
    "texts": ("pdebench-1d", trajectories(q=("sample", ["a"] * 3)), r"'q' has the dtype <U1, it holds numbers alone"),
    "no time": ("pdebench-flow", plane(), r"needs a variable 'density'"),
    "one velocity": (
        "pdebench-flow",
        plane(pressure=plane().u, Vx=plane().u).rename(u="density"),
        r"needs a variable 'Vy'",
    ),
    "settings": ("pdebench-groups", plane(seed=3).rename(u="data"), r"'seed' means a setting of the solver there"),
    "other cells": (
        "pdebench-incompressible",
        plane(velocity=(("sample", "time", "x", "y", "channel_v"), np.ones((3, 4, 8, 6, 2)))).rename(u="particles"),
        r"coordinates 'x' are not the centres 0\.5, 1\.5, \.\.\. of cells of length 1",
    ),
    "points": (
        "the-well",
        xr.Dataset({"u": (("time", "point"), np.ones((2, 3)))}, {"x": ("point", [0.0, 0.5, 2.0])}, POINTS),
        r"fields on grids, and variable 'u' is on no grid, 'point' has no axis.*native layout",
    ),
    "static": ("the-well", plane().isel(time=0, drop=True), r"holds trajectories, and no field has a time dimension"),
    "channels": (
        "the-well",
        plane(v=(("sample", "time", "channel_v", "x", "y"), np.ones((3, 4, 2, 8, 6)))),
        r"'v' has 2 channels of rank 0, and components of vectors \(2\) or tensors \(4\) are all it holds",
    ),
    "condition": (
        "the-well",
        conditions('{"x": ["dirichlet", "wall"]}'),
        r"'u' has .* condition 'dirichlet'",
    ),
    "vector parameter": (
        "the-well",
        plane(q=(("sample", "channel_v"), np.ones((3, 2)))),
        r"'q' has the dimensions \(sample, channel_v\), a scalar varies",
    ),
    "empty mask": (
        "the-well",
        plane(land=(("x", "y"), np.ones((8, 6), bool), {"role": "mask"})),
        r"the mask 'land' marks nothing inside",
    ),
    "mask along one axis": (
        "the-well",
        plane(land=("x", np.arange(8) > 2, {"role": "mask"})),
        r"the mask 'land' has the dimensions \(x\), it holds masks over several",
    ),
}


@pytest.mark.parametrize("what", UNFIT)
def test_what_a_layout_cannot_hold(what, tmp_path):
    layout, ds, message = UNFIT[what]
    with pytest.raises(InputError, match=message) as caught:
        write(ds, tmp_path / "run.hdf5", layout)
    assert str(caught.value).startswith(f"{tmp_path / 'run.hdf5'}: ")
    assert repr(layout) in str(caught.value)
    assert "\n" not in str(caught.value)
    nothing_left(tmp_path)


@pytest.mark.parametrize("layout", ["the-well", "zarr"])
def test_existing_target(layout, tmp_path):
    path = tmp_path / "run.hdf5"
    write(plane(), path, layout)
    with pytest.raises(DataError, match="exists already"):
        write(plane(), path, layout)
    again = plane()
    write(again, path, layout, overwrite=True)
    found = xr.open_zarr(path) if layout == "zarr" else open(path)
    np.testing.assert_array_equal(found.u, again.u)
    nothing_left(tmp_path, "run.hdf5")


@pytest.mark.parametrize("layout", ["native", "the-well", "zarr"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_nothing_is_left_of_what_failed(layout, error, tmp_path, monkeypatch):
    def failing(*args):
        raise error
        yield

    for module in ("appending", "writers._plan", "writers.zarr_store"):
        monkeypatch.setattr(f"sciops.data.writing.{module}.copy_blocks", failing)
    monkeypatch.setattr("sciops.data.writing.writers.zarr_store._AT_ONCE", 0)
    with pytest.raises((KeyboardInterrupt, DataError)) as caught:
        write(plane(), tmp_path / "run", layout)
    assert isinstance(caught.value, KeyboardInterrupt) or "the disk is full" in str(caught.value)
    nothing_left(tmp_path)


def test_unknown_layout_and_chunks(tmp_path):
    with pytest.raises(InputError, match=r"run\.h5: no layout 'well' to write; did you mean 'the-well'\?"):
        write(plane(), tmp_path / "run.h5", "well")
    for layout in ("native", "zarr", "the-well"):
        with pytest.raises(InputError, match="chunks= names the unknown dimension 'z'; available: "):
            write(plane(), tmp_path / "run", layout, chunks={"z": 1})
        with pytest.raises(InputError, match="chunks= of 'x' is a length of at least 1, got 0"):
            write(plane(), tmp_path / "run", layout, chunks={"x": 0})
    with pytest.raises(InputError, match="Zarr has no compression 'lzf'"):
        write(plane(), tmp_path / "run.zarr", compression="lzf")
    nothing_left(tmp_path)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_zarr_is_what_xarray_writes(tmp_path, monkeypatch):
    """Blocks make the store that xarray's own to_zarr makes of the native data set."""
    rng = np.random.default_rng()
    ds = plane(
        inside=(("sample", "x", "y"), rng.normal(size=(3, 8, 6)) > 0),
        half=("x", np.ones(8, np.float16)),
        name=("sample", np.array(["a", "bb", "ä"], object)),
        number=("sample", np.arange(3)),
    ).assign_coords(day=("time", np.arange("2024-01-01", "2024-01-05", dtype="M8[D]").astype("M8[ns]")))
    monkeypatch.setattr("sciops.data.writing.writers.zarr_store._AT_ONCE", 100)
    monkeypatch.setattr("sciops.data.writing.copying._BLOCK_BYTES", 1000)
    path = write(ds, tmp_path / "ours.zarr", chunks={"sample": 1, "x": 3})
    ds.to_zarr(tmp_path / "theirs.zarr", zarr_format=3, encoding={n: {"chunks": (1, 4, 3, 6)} for n in ["u"]})
    ours, theirs = (xr.open_zarr(each).load() for each in (path, tmp_path / "theirs.zarr"))
    xr.testing.assert_identical(ours, theirs)
    xr.testing.assert_equal(ours, ds)
    assert ours.u.encoding["chunks"] == theirs.u.encoding["chunks"]
    assert ours.attrs == {"channel_dims": ["channel_v"]}


@pytest.mark.parametrize(
    "axis", [Axis("x", 36, 0, 360, "periodic"), Axis("x", 41, 0, 10.25, "periodic"), Axis("x", 9, 0.5, 1, "left", "m")]
)
def test_the_well_keeps_kinds_and_ends_of_axes(axis, tmp_path):
    u = np.random.default_rng().normal(size=(2, 3, axis.size))
    ds = xr.Dataset({"u": (("sample", "time", "x"), u)}, {"x": coordinate(axis), "time": [0.0, 0.5, 2.0]})
    path = write(ds, tmp_path / "run.hdf5", "the-well")
    assert grid_of(open(path), "u").axes == (axis,)
    with h5py.File(path, "r+") as file:  # as others write it
        for name in ("kind", "lower", "upper"):
            del file["dimensions/x"].attrs[name]
    assert grid_of(open(path), "u").axes[0].kind == axis.kind
    if axis.size == 36:
        assert grid_of(open(path), "u").axes == (axis,)


def test_the_well_keeps_a_sphere_and_units(tmp_path):
    north = {"units": "degrees_north", "long_name": "latitude"}
    ds = xr.Dataset(
        {"u": (("sample", "time", "lat", "lon"), np.random.default_rng().normal(size=(2, 3, 6, 12)))},
        {
            "lat": ("lat", np.arange(6) * 30.0 - 75, north),
            "lon": ("lon", np.arange(12) * 30.0, {"units": "degrees_east"}),
            "time": ("time", [0.0, 1.0, 2.0], {"units": "days", "calendar": "noleap", "first": 3.0}),
        },
    )
    again = open(write(ds, tmp_path / "run.hdf5", "the-well"))
    assert grid_of(ds, "u").metric == "sphere" and grid_of(again, "u") == grid_of(ds, "u")
    assert again.time.attrs == ds.time.attrs and again.lat.attrs["long_name"] == "latitude"


def test_times_of_each_trajectory_and_faces_of_some_fields(tmp_path):
    ds = (
        plane(v=plane().u)
        .drop_vars("time")
        .assign_coords(times=(("sample", "time"), np.random.default_rng().random((3, 4))))
    )
    ds.u.attrs["boundary_conditions"] = '{"x": ["wall", "open"], "y": "open"}'
    ds.v.attrs["boundary_conditions"] = '{"x": ["open", "open"], "y": "open"}'
    again = open(write(ds, tmp_path / "run.hdf5", "the-well"))
    np.testing.assert_array_equal(again.times, ds.times)
    assert again.u.attrs["boundary_conditions"] == '{"x": ["wall", "open"], "y": ["open", "open"]}'
    assert again.v.attrs["boundary_conditions"] == '{"x": ["open", "open"], "y": ["open", "open"]}'


@pytest.mark.parametrize("layout", ["the-well", "pdebench-groups"])
def test_components_last_are_copied_in_little_memory(layout, tmp_path, monkeypatch):
    """Axes in another order than the file's must not make xarray index point by point."""
    name = {"the-well": "v", "pdebench-groups": "data"}[layout]
    dims, marks = ("sample", "time", f"channel_{name}", "x", "y"), {"rank": 1, "components": ["x", "y"]}
    ds = xr.Dataset(
        {name: (dims, np.random.default_rng().normal(size=(8, 4, 2, 128, 128)), marks)},
        {"x": np.linspace(0, 1, 128), "y": np.linspace(0, 1, 128), "time": np.arange(4.0)},
        {"channel_dims": [f"channel_{name}"]},
    )  # 8 MiB
    lazy = open(write(ds, tmp_path / "file.h5", layout))
    monkeypatch.setattr("sciops.data.writing.copying._BLOCK_BYTES", 1 << 20)
    for target in ("native", layout):
        tracemalloc.start()
        path = write(lazy, tmp_path / target, target)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 5 << 20
        np.testing.assert_array_equal(open(path)[name], ds[name])
    part = lazy.isel(sample=slice(1, None, 3), x=slice(10, 50, 2), time=2)
    np.testing.assert_array_equal(open(write(part, tmp_path / "part.nc"))[name], ds[name][1::3, 2, :, 10:50:2])


@pytest.fixture
def bounded():
    """Walls with values on one face, on two and at the nodes of an obstacle, and an obstacle of each sample."""
    rng, values = np.random.default_rng(), {"role": "boundary", "bc_type": "wall"}
    solid = np.zeros((8, 6), bool)
    solid[2:4, 1:3] = True
    own = np.zeros((3, 8, 6), bool)
    for sample in range(3):
        own[sample, 4 + sample : 6 + sample, 3] = True
    return plane(
        land=(("sample", "x", "y"), ~own, {"role": "mask"}),
        mask_cylinder=(("x", "y"), ~solid, {"role": "mask"}),
        boundary_inflow=(("sample", "time", "y"), rng.normal(size=(3, 4, 6)), values | {"face": ["x", "lower"]}),
        boundary_lid=(("sample",), rng.normal(size=3), values | {"face": ["y", "upper"], "fields": ["u"]}),
        boundary_cylinder=(("time", "x", "y"), rng.normal(size=(4, 8, 6)) * solid, values),
        boundary_cylinder_nodes=(("x", "y"), solid),
    )


def test_obstacles_of_each_sample_and_boundary_values(bounded, tmp_path):
    path = write(bounded, tmp_path / "run.hdf5", "the-well", chunks={"time": 1}, compression="gzip")
    again = open(path)
    assert set(again.data_vars) == set(bounded.rename(land="mask_land").data_vars)
    for name, variable in bounded.rename(land="mask_land").data_vars.items():
        assert again[name].dims == variable.dims, name
        np.testing.assert_array_equal(again[name], variable, name)
    for name in ("boundary_inflow", "boundary_lid"):
        assert list(again[name].attrs["face"]) == bounded[name].attrs["face"]
        assert again[name].attrs["bc_type"] == "wall"
    assert list(again.boundary_lid.attrs["fields"]) == ["u"]
    twice = open(write(again, tmp_path / "twice.hdf5", "the-well"))
    xr.testing.assert_identical(twice.drop_vars("u").load(), again.drop_vars("u").load())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("boundary_inflow", {"face": []}, r"values 'boundary_inflow' \(sample, time, y\) name no face"),
        ("boundary_inflow", {"face": ["q", "lower"]}, "name no face, and there is no 'boundary_inflow_nodes'"),
        (
            "boundary_lid",
            {"bc_type": "dirichlet"},
            "'boundary_lid' has the boundary condition 'dirichlet', it knows wall",
        ),
    ],
)
def test_boundary_values_that_the_well_does_not_hold(name, change, message, bounded, tmp_path):
    bounded[name].attrs.update(change)
    with pytest.raises(InputError, match=message) as caught:
        write(bounded, tmp_path / "run.hdf5", "the-well")
    assert "\n" not in str(caught.value)
    nothing_left(tmp_path)


def test_odd_attributes_and_names(tmp_path):
    ds = plane()
    ds.u.attrs.update(units={"m": 1}, long_name=None, description=[1, "a"])
    again = open(write(ds, tmp_path / "odd.hdf5", "the-well"))
    assert again.u.attrs["units"] == '{"m": 1}'
    with pytest.raises(InputError, match="a variable or dimension is called 'a/b'"):
        write(ds.rename(u="a/b"), tmp_path / "slash.hdf5", "the-well")


WALLS = {"x": ["wall", "wall"], "y": ["wall", "wall"]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"x": ["wall", "open"], "y": "OPEN"}, {"x": ["wall", "open"], "y": ["open", "open"]}),
        ({"x": ("open", "")}, {"x": ["open", ""]}),
        (b'{"x": "wall"}', {"x": ["wall", "wall"]}),
        ("wall", WALLS),
        ('"wall"', WALLS),
        (b" Wall ", WALLS),
        ({"x": "wall", "z": "open"}, {"x": ["wall", "wall"]}),  # no dimension of the field: it means nothing
        ({}, None),
        ("", None),
    ],
    ids=repr,
)
def test_boundary_conditions_however_they_are_written(given, expected, tmp_path):
    found = open(write(conditions(given), tmp_path / "run.hdf5", "the-well")).u.attrs.get("boundary_conditions")
    assert (found and json.loads(found)) == expected


@pytest.mark.parametrize(
    "given",
    [
        *("[1", "[1, 2]", '{"x": 3}', '{"x": ["dirichlet"], "y": 3}', {"x": ["wall", None]}, ["wall", "open"], 3),
        *("a wall?", "[" * 100_000),
    ],
    ids=lambda given: repr(given)[:40],
)
def test_boundary_conditions_that_say_nothing_are_refused(given, tmp_path):
    with pytest.raises(InputError, match=r"'u' has boundary_conditions=.*set ds\['u'\]\.attrs") as caught:
        write(conditions(given), tmp_path / "run.hdf5", "the-well")
    assert "\n" not in str(caught.value)
    nothing_left(tmp_path)


def test_a_word_that_the_layout_does_not_know(tmp_path):
    with pytest.raises(InputError, match=r"'u' has the boundary condition 'dirichlet' along 'x', it knows wall"):
        write(conditions("dirichlet"), tmp_path / "run.hdf5", "the-well")


def test_from_one_layout_to_all_others(tmp_path):
    """PDEBench's flow as The Well, native, Zarr and back."""
    example = next(e for e in EXAMPLES if e.write.__name__ == "pdebench_flow_3d")
    path = tmp_path / "flow.hdf5"
    ds = open(path, **example.write(path, np.random.default_rng()).options)
    check_same(open(write(ds, tmp_path / "back.hdf5", example.layout)), ds)
    well = open(write(ds, tmp_path / "well.hdf5", "the-well"))
    check_same(open(write(well, tmp_path / "again.hdf5", example.layout)), ds)
    xr.testing.assert_equal(xr.open_zarr(write(well, tmp_path / "flow.zarr")).load(), ds.load())


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_everything_we_open_is_the_same_as_zarr(example, tmp_path):
    path = tmp_path / f"file{example.suffix}"
    ds = open(path, **example.write(path, np.random.default_rng()).options)
    again = open(write(ds, tmp_path / "written.zarr", chunks={"sample": 2} if "sample" in ds.dims else None))
    assert again.attrs["layout"] == "native"
    xr.testing.assert_equal(again.load(), ds.load())
    for name in ds.variables:
        assert again[name].dtype == ds[name].dtype, name
        assert {k: str(v) for k, v in again[name].attrs.items()} == {k: str(v) for k, v in ds[name].attrs.items()}
    for key in set(ds.attrs) - {"layout", "layout_reason"}:
        assert str(again.attrs[key]) == str(ds.attrs[key]), key
