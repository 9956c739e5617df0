"""Every registered layout against a faithful tiny file of it: what is read, how lazily, and the round trip."""

from __future__ import annotations

import importlib.util
import json
import pickle
from pathlib import Path

import layout_examples as examples
import numpy as np
import pytest
import xarray as xr

from sciops.data import layouts
from sciops.data.conventions import channel_dim, field_names, grid_of, space_dims, time_dim
from sciops.data.files import open, write
from sciops.data.reading.inference import axis_from_values
from sciops.errors import InputError, LayoutError

every_example = pytest.mark.parametrize("example", examples.EXAMPLES, ids=str)


def opened(example, tmp_path):
    path = tmp_path / f"file{example.suffix}"
    expected = example.write(path, np.random.default_rng())
    return path, expected, open(path, **expected.options)


def without_axis(ds):
    """Dimensions of scattered points and of curvilinear grids."""
    curvilinear = {dim for name in ds.attrs.get("curvilinear_coords", ()) for dim in ds[name].dims}
    return curvilinear | set(ds.attrs.get("point_dims", ()))


def check_marks(expected, ds):
    for name, (dims, values) in expected.points.items():
        assert ds[name].dims == dims, name
        np.testing.assert_array_equal(ds[name].values, values)
    if "point_dims" in ds.attrs:
        assert ds.attrs["point_dims"] == ["point"]
        assert ds.attrs["point_coords"] == list(expected.points)
        assert "point" not in ds.coords
    for name, conditions in expected.conditions.items():
        assert json.loads(ds[name].attrs["boundary_conditions"]) == conditions, name
    for name, (rank, directions) in expected.components.items():
        assert ds[name].attrs["rank"] == rank
        assert list(np.atleast_1d(ds[name].attrs["components"])) == directions or not directions
        assert channel_dim(ds, name) == f"channel_{name}"
    for name, attributes in expected.attributes.items():
        assert {key: ds[name].attrs.get(key) for key in attributes} == attributes


def test_every_layout_has_an_example():
    assert {example.layout for example in examples.EXAMPLES} == set(layouts.registry)


@every_example
def test_reads_what_was_written(example, tmp_path):
    path, expected, ds = opened(example, tmp_path)
    assert ds.attrs["layout"] == example.layout
    assert ds.attrs["layout_reason"]
    assert ds.attrs.get("sample_dim") == expected.sample_dim
    assert set(ds.data_vars) == set(expected.variables)
    for name, (dims, values) in expected.variables.items():
        assert ds[name].dims == dims, name
        assert ds[name].dtype == values.dtype, name
        np.testing.assert_array_equal(ds[name].values, values)
    assert ds.encoding["source"] == str(path)


@every_example
def test_axes(example, tmp_path):
    _, expected, ds = opened(example, tmp_path)
    scattered = without_axis(ds)
    assert {dim for name in ds.data_vars for dim in space_dims(ds, name)} - scattered == set(expected.kinds)
    for dim, kind in expected.kinds.items():
        assumed = expected.assumed if isinstance(expected.assumed, bool) else dim in expected.assumed
        assert ds[dim].attrs.get("kind") in ({kind} if kind else {None, "stretched"})
        assert bool(ds[dim].attrs.get("assumed", 0)) == assumed
        if assumed:
            np.testing.assert_allclose(ds[dim], np.arange(ds.sizes[dim]) / ds.sizes[dim], rtol=1e-15)
    for dim, values in expected.coordinates.items():
        np.testing.assert_allclose(ds[dim], values, rtol=1e-12)
    for name in field_names(ds):
        if scattered & set(ds[name].dims) or None in {expected.kinds[dim] for dim in space_dims(ds, name)}:
            continue
        for axis in grid_of(ds, name).axes:
            np.testing.assert_allclose(axis.coordinates().numpy(), ds[axis.name].values, atol=1e-6)
    if expected.time is not None:
        np.testing.assert_allclose(ds[time_dim(ds)], expected.time, rtol=1e-12)


@every_example
def test_points_conditions_and_components(example, tmp_path):
    _, expected, ds = opened(example, tmp_path)
    check_marks(expected, ds)
    marked = {name for name in ds.data_vars if {"rank", "boundary_conditions"} & set(ds[name].attrs)}
    assert marked == set(expected.conditions) | set(expected.components)


@every_example
def test_opening_reads_no_field(example, tmp_path, monkeypatch):
    from sciops.data.reading.storage import StoredArray

    read = []
    original = StoredArray._read
    monkeypatch.setattr(StoredArray, "_read", lambda self, key: read.append(self) or original(self, key))
    _, expected, ds = opened(example, tmp_path)
    assert not {array.name.rsplit("/", 1)[-1] for array in read} & {n for n, (d, _) in expected.variables.items() if d}
    assert all(ds[name].variable._in_memory is False for name, (dims, _) in expected.variables.items() if len(dims) > 1)


@every_example
def test_indexing_agrees_with_numpy(example, tmp_path):
    _, expected, ds = opened(example, tmp_path)
    for name, (dims, values) in expected.variables.items():
        if not dims:
            continue
        first, last = dims[0], dims[-1]
        ends, others = [values.shape[0] - 1, 0], [values.shape[-1] - 1, 0]
        np.testing.assert_array_equal(ds[name].isel({first: -1}), values[-1])
        np.testing.assert_array_equal(ds[name].isel({first: ends}), values[ends])
        np.testing.assert_array_equal(ds[name].isel({first: []}), values[:0])
        np.testing.assert_array_equal(ds[name].isel({last: slice(None, None, -2)}), values[..., ::-2])
        if len(dims) > 1:
            np.testing.assert_array_equal(ds[name].isel({first: ends, last: others}), values[ends][..., others])
            np.testing.assert_array_equal(ds[name].isel({first: -1, last: others}), values[-1][..., others])
        if len(dims) > 2:
            middle = [values.shape[1] - 1, 0]
            np.testing.assert_array_equal(ds[name].isel({dims[1]: middle, last: -1}), values[:, middle][..., -1])
            np.testing.assert_array_equal(ds[name].isel({dims[1]: 0, first: ends}), values[ends][:, 0])


@every_example
def test_pickles_without_its_values(example, tmp_path):
    _, expected, ds = opened(example, tmp_path)
    payload = pickle.dumps(ds)
    name, (_, values) = max(expected.variables.items(), key=lambda item: item[1][1].size)
    assert values.tobytes()[:64] not in payload
    ds.close()
    np.testing.assert_array_equal(pickle.loads(payload)[name].values, values)


@every_example
def test_values_cannot_be_written_back(example, tmp_path):
    _, expected, ds = opened(example, tmp_path)
    for name, (_, values) in expected.variables.items():
        lazy = not ds[name].variable._in_memory
        ds[name].values[...] = 0
        if lazy and values.ndim:
            np.testing.assert_array_equal(ds[name].values, values)


@every_example
def test_round_trip(example, tmp_path):
    _, expected, ds = opened(example, tmp_path)
    if any(variable.dtype.kind == "c" for variable in ds.values()):
        with pytest.raises(InputError, match=r"complex.*\.real and \.imag"):
            write(ds, tmp_path / "native.nc")
        return
    again = open(write(ds, tmp_path / "native.nc"))
    assert again.attrs["layout"] == "native"
    for name, (dims, values) in expected.variables.items():
        assert (again[name].dims, again[name].dtype) == (dims, values.dtype)
        np.testing.assert_array_equal(again[name].values, values)
        assert channel_dim(again, name) == channel_dim(ds, name)
    check_marks(expected, again)
    for name in field_names(ds):
        if not without_axis(ds) & set(ds[name].dims) and None not in {expected.kinds[d] for d in space_dims(ds, name)}:
            assert grid_of(again, name) == grid_of(ds, name)
    assert again.attrs.get("sample_dim") == expected.sample_dim
    xr.testing.assert_equal(again.drop_vars(list(again.data_vars)), ds.drop_vars(list(ds.data_vars)))


@pytest.mark.parametrize("layout", sorted(layouts.registry))
def test_a_layout_refuses_the_files_of_others(layout, tmp_path):
    for example in examples.EXAMPLES:
        path = tmp_path / f"{example}{example.suffix}"
        example.write(path, np.random.default_rng())
        reason = layouts.registry[layout]().detect(layouts.Contents(path))
        assert (reason is not None) == (example.layout == layout != "declared"), example


def test_layout_by_name(tmp_path):
    path, _, _ = opened(next(e for e in examples.EXAMPLES if e.layout == "pdebench-1d"), tmp_path)
    assert open(path, "pdebench-1d").attrs["layout"] == "pdebench-1d"
    with pytest.raises(LayoutError, match=r"not of the layout 'fno-mat'; it holds t-coordinate \(5,\) float32"):
        open(path, "fno-mat")
    with pytest.raises(InputError, match=r"file\.hdf5: unknown layout 'pdebench1d'; did you mean 'pdebench-1d'"):
        open(path, "pdebench1d")


def test_unknown_layout_lists_everything_and_says_how_to_declare(tmp_path):
    import h5py

    path = tmp_path / "mystery.h5"
    with h5py.File(path, "w") as file:
        file["run/p"], file["run/mesh"] = np.zeros((4, 8, 8), "f4"), np.zeros((3, 2), "i8")
    with pytest.raises(LayoutError) as caught:
        open(path)
    message = str(caught.value)
    assert "run/mesh (3, 2) int64, run/p (4, 8, 8) float32" in message
    assert "\n" not in message
    call, _, shell = message.partition("sciops.data.open(")[2].partition(") (command line: ")
    assert shell == "--sample-dim sample --dims run/p=sample,x,y)"
    declared = eval(f"dict(path={call})")
    declared.pop("path")
    assert open(path, **declared).p.dims == ("sample", "x", "y")


@pytest.mark.parametrize(
    ("name", "size", "kind", "interval"),
    [
        ("allen_cahn_chebfun.mat", 512, "left", (-1, 1)),
        ("kdv_chebfun.mat", 512, "left", (-1, 1)),
        ("burgers_shock.mat", 256, "closed", (-1, 1)),
    ],
)
def test_real_pinns_files(shared_data, name, size, kind, interval):
    ds = open(shared_data / name)
    axis = grid_of(ds, field_names(ds)[0]).axes[0]
    assert (axis.size, axis.kind, axis.lower, axis.upper) == (size, kind, *interval)
    periodic = open(shared_data / name, kinds={"x": "periodic"})
    assert grid_of(periodic, field_names(ds)[0]).axes[0].kind == "periodic"


def test_real_neuraloperator_files(shared_data):
    ds = open(shared_data / "darcy_test_32.pt")
    assert dict(ds.sizes) == {"sample": 50, "x1": 32, "x2": 32}
    assert ds.x.dtype == bool
    assert open(shared_data / "burgers_train_16.pt").y.dims == ("sample", "time", "x1")
    with pytest.raises(LayoutError, match=r"holed_poisson\.pt: no known layout; it holds .*triang \(2533, 3\) int64"):
        open(shared_data / "holed_poisson.pt")


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("size", [5, 16, 37, 100, 1024])
@pytest.mark.parametrize(("lower", "upper"), [(0, 1), (-1, 1), (0, 2 * np.pi), (-90, 90), (0, 10), (0.25, 0.75)])
def test_kind_from_coordinates(size, lower, upper, dtype):
    h = (upper - lower) / size
    nodes = {
        "closed": np.linspace(lower, upper, size),
        "left": lower + h * np.arange(size),
        "cell": lower + h * (np.arange(size) + 0.5),
    }
    for kind, values in nodes.items():
        if size == 5 and (kind != "closed" or (lower, upper) == (0, 1)):
            continue  # with so few nodes another interval has ends as simple
        axis = axis_from_values("x", values.astype(dtype))
        assert (axis.kind, axis.lower, axis.upper) == (kind, pytest.approx(lower, abs=1e-6), pytest.approx(upper))


def test_coordinates_that_are_not_uniform_give_no_kind(tmp_path):
    nodes = -np.cos(np.pi * np.arange(9) / 8)
    path = tmp_path / "chebyshev.nc"
    xr.Dataset({"u": (("sample", "x"), np.zeros((2, 9)))}, coords={"x": nodes}).to_netcdf(path, engine="h5netcdf")
    ds = open(path)
    assert "kind" not in ds.x.attrs
    with pytest.raises(LayoutError, match=r"chebyshev\.nc: the coordinates of 'x' are not uniform"):
        open(path, kinds={"x": "closed"})


def test_the_table_in_the_documentation_is_what_the_examples_show():
    spec = importlib.util.spec_from_file_location("layout_table", Path(__file__).with_name("layout_table.py"))
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    parts = table.PAGE.read_text().split(table.MARK)
    assert len(parts) == 3
    assert parts[1].strip() == table.layout_table(), "run python tests/data/layout_table.py"
