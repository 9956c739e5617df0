"""netCDF: the classic format against its library, and what the CF conventions say, or fail to say."""

from __future__ import annotations

import re

import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr

from sciops.data.conventions import domain_of, grid_of
from sciops.data.files import open, write
from sciops.data.layouts._conventions import elapsed, from_bounds
from sciops.data.reading.netcdf3 import read_classic
from sciops.data.reading.summary import summarise
from sciops.errors import DataError, DomainError, SciopsError


@pytest.fixture
def rng(generator):
    return np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))


FORMATS = ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"]


def classic(path, form, rng, records):
    """A file with as many variables along records as asked for, and of every type that the format has."""
    types = ["i1", "i2", "i4", "f4", "f8"] + (["u1", "u2", "u4", "i8", "u8"] if form.endswith("DATA") else [])
    written = {}
    with netCDF4.Dataset(path, "w", format=form) as file:
        file.title, file.count, file.levels = "run é", np.int32(3), np.array([1.5, 2.5])
        for dim, size in (("t", None), ("x", 5), ("y", 3)):
            file.createDimension(dim, size)
        for kind in types:
            variable = file.createVariable(f"v_{kind}", kind, ("x", "y"))
            variable.units = "m"
            written[f"v_{kind}"] = variable[:] = (100 * rng.random((5, 3))).astype(kind)
        for i, kind in enumerate(("i2", "f8", "i1")[:records]):  # records of i2 and i1 are padded
            variable = file.createVariable(f"r{i}", kind, ("t", "y"))
            written[f"r{i}"] = variable[:] = (100 * rng.random((4, 3))).astype(kind)
        written["one"] = file.createVariable("one", "f8", ())[...] = np.float64(rng.random())
    return written


@pytest.mark.parametrize("records", [0, 1, 3])
@pytest.mark.parametrize("form", FORMATS)
def test_classic_files_as_their_library_writes_them(form, records, tmp_path, rng):
    written = classic(tmp_path / "a.nc", form, rng, records)
    variables, attributes = read_classic(tmp_path / "a.nc")
    assert set(variables) == set(written)
    for name, values in written.items():
        np.testing.assert_array_equal(variables[name][...], values)
        assert variables[name].dtype == np.asarray(values).dtype.newbyteorder(">"), name
    assert variables["v_f8"].attributes == {"units": "m"}
    assert (attributes["title"], attributes["count"], attributes["levels"].tolist()) == ("run é", 3, [1.5, 2.5])


def test_classic_files_open_lazily_in_the_byte_order_of_the_machine(tmp_path, rng):
    written = classic(tmp_path / "a.nc", "NETCDF3_64BIT_OFFSET", rng, 3)
    ds = open(tmp_path / "a.nc")
    assert ds.attrs["layout_reason"] == "classic netCDF"
    assert (ds.v_f8.dtype, ds.v_f8.variable._in_memory) == (np.dtype("=f8"), False)
    assert torch.from_numpy(ds.r1.values).dtype == torch.float64
    np.testing.assert_array_equal(ds.r1[[2, 0]], written["r1"][[2, 0]])


def test_a_stream_whose_number_of_records_was_never_written(tmp_path, rng):
    written = classic(tmp_path / "a.nc", "NETCDF3_CLASSIC", rng, 3)
    content = bytearray((tmp_path / "a.nc").read_bytes())
    content[4:8] = b"\xff" * 4
    (tmp_path / "a.nc").write_bytes(content)
    np.testing.assert_array_equal(read_classic(tmp_path / "a.nc")[0]["r1"][...], written["r1"])


@pytest.mark.parametrize("form", FORMATS)
def test_cut_and_altered_classic_files(form, tmp_path, rng):
    classic(tmp_path / "a.nc", form, rng, 3)
    content = (tmp_path / "a.nc").read_bytes()
    for cut in {5, 8, 12, 60, 200, *rng.integers(4, len(content) - 8, 10).tolist()}:
        path = tmp_path / "cut.nc"
        path.write_bytes(content[:cut])
        with pytest.raises(DataError, match=r"cut\.nc: truncated or corrupt"):
            open(path)
    for _ in range(60):
        altered = bytearray(content)
        for at in rng.integers(4, 400, 3):
            altered[at] ^= int(rng.integers(1, 256))
        (tmp_path / "altered.nc").write_bytes(altered)
        try:
            for variable in open(tmp_path / "altered.nc").variables.values():
                assert variable.nbytes <= 100 * len(content)
                variable.values  # noqa: B018
        except SciopsError as error:
            assert "\n" not in str(error)


# the CF conventions


def cf(path, line, values=None, attributes=None, bounds=None, dim="x", **more):
    """A file with u along one axis."""
    attributes = {"units": "m", **(attributes or {})}
    variables = {"u": (dim, np.arange(len(line)) * 1.0 if values is None else values, {"standard_name": "u"}), **more}
    if bounds is not None:
        attributes["bounds"] = f"{dim}_bnds"
        variables[f"{dim}_bnds"] = ((dim, "nv"), bounds)
    ds = xr.Dataset(variables, {dim: (dim, line, attributes)}, {"Conventions": "CF-1.8"})
    ds.to_netcdf(path, engine="h5netcdf")
    return open(path)


def edges(*at):
    at = np.asarray(at, float)
    return np.stack([at[:-1], at[1:]], axis=1)


def test_edges_about_the_nodes_make_cells(tmp_path):
    ds = cf(tmp_path / "a.nc", [0.5, 1.5, 2.5], bounds=edges(0, 1, 2, 3))
    axis = grid_of(ds, "u").axes[0]
    assert (axis.kind, axis.lower, axis.upper, axis.units) == ("cell", 0, 3, "m")
    assert set(ds.variables) == {"u", "x"}
    assert "x has the edges x_bnds" in ds.attrs["layout_reason"]


def test_edges_of_cells_of_different_length_end_a_stretched_axis(tmp_path):
    axis = grid_of(cf(tmp_path / "a.nc", [0.5, 2, 5], bounds=edges(0, 1, 3, 7)), "u").axes[0]
    assert (axis.kind, axis.lower, axis.upper, axis.nodes) == ("stretched", 0, 7, (0.5, 2, 5))


def test_nodes_at_the_lower_edges_make_a_left_axis(tmp_path):
    axis = grid_of(cf(tmp_path / "a.nc", [0, 1, 2], bounds=edges(0, 1, 2, 3)), "u").axes[0]
    assert (axis.kind, axis.lower, axis.upper) == ("left", 0, 3)


@pytest.mark.parametrize(
    "bounds", [np.add(edges(0, 1, 2, 3), [[0], [0.5], [0]]), edges(5, 6, 7, 8), np.full((3, 2), np.nan)]
)
def test_edges_that_make_no_axis_are_left_aside(bounds, tmp_path):
    assert from_bounds("x", np.array([0.5, 1.5, 2.5]), bounds, "m") is None
    assert grid_of(cf(tmp_path / "a.nc", [0.5, 1.5, 2.5], bounds=bounds), "u").axes[0].kind in ("closed", "cell")


def test_an_axis_that_descends_is_turned_round_with_its_edges(tmp_path):
    ds = cf(tmp_path / "a.nc", [2.5, 1.5, 0.5], bounds=edges(3, 2, 1, 0))
    assert ds.x.values.tolist() == [0.5, 1.5, 2.5]
    assert ds.attrs["layout_reason"].endswith("; x descended and was turned round")
    assert "layout_remarks" not in ds.attrs
    assert ds.u.values.tolist() == [2, 1, 0]
    assert (grid_of(ds, "u").axes[0].lower, grid_of(ds, "u").axes[0].upper) == (0, 3)


@pytest.mark.parametrize(
    ("units", "calendar"), [("days since 0001-01-01", "noleap"), ("hours since 1850-1-1 00:00:00", "360_day")]
)
def test_times_that_numpy_cannot_hold_are_elapsed_time(units, calendar, tmp_path):
    ds = cf(
        tmp_path / "a.nc", [800000.25, 800000.5, 800001.0], None, {"units": units, "calendar": calendar}, dim="time"
    )
    assert ds.time.values.tolist() == [0, 0.25, 0.75]
    assert ds.attrs["time_dim"] == "time"
    kept = {key: ds.time.attrs[key] for key in ("units", "calendar", "reference", "first")}
    assert kept == {"units": units.split()[0], "calendar": calendar, "reference": units, "first": 800000.25}
    assert f"time is elapsed time, {units}, calendar {calendar}" in ds.attrs["layout_reason"]
    again = open(write(ds, tmp_path / "native.nc"))
    assert again.time.values.tolist() == [0, 0.25, 0.75]
    assert again.time.attrs["reference"] == units


@pytest.mark.parametrize("attributes", [{}, {"units": "since whenever"}, {"units": "days since"}])
def test_times_without_a_beginning_stay_as_they_are(attributes):
    line = xr.Variable("time", [3, 4], attributes)
    assert elapsed(line) is line
    assert np.isnan(elapsed(xr.Variable("t", [np.nan, 1.0], {"units": "s since 1970-01-01"})).values[0])


@pytest.mark.parametrize("name", ["month", "t", "valid_time"])
def test_times_by_their_name(name, tmp_path):
    ds = cf(tmp_path / "a.nc", np.arange(1, 13), None, {"units": ""}, dim=name)
    assert (ds.attrs["time_dim"], ds[name].dtype) == (name, np.int64)


def test_missing_and_packed_values_are_decoded_when_read(tmp_path):
    packed = np.array([0, 100, -999, 32000], "i2")
    with netCDF4.Dataset(tmp_path / "p.nc", "w", format="NETCDF3_CLASSIC") as file:
        file.Conventions = "CF-1.6"
        file.createDimension("x", 4)
        u = file.createVariable("u", "i2", ("x",))
        u.set_auto_maskandscale(False)
        u.scale_factor, u.add_offset, u.missing_value = 0.5, 10.0, np.int16(-999)
        u[:] = packed
        file.createVariable("x", "f8", ("x",))[:] = np.arange(4.0)
    ds = open(tmp_path / "p.nc")
    assert not ds.u.variable._in_memory
    np.testing.assert_array_equal(ds.u.values, [10, 60, np.nan, 16010])
    assert summarise(ds).defects == ("'u' holds 1 NaN and 0 infinite values of 4",)


def test_a_globe(tmp_path, rng):
    lat, lon = np.linspace(-87.5, 87.5, 36), np.arange(72) * 5.0
    north, east = ({"units": "degreesN"}, {"units": "degree_E"})
    ds = xr.Dataset(
        {"t": (("time", "lat", "lon"), rng.normal(size=(2, 36, 72)), {"standard_name": "air_temperature"})},
        {"lat": ("lat", lat, north), "lon": ("lon", lon, east)},
    )
    ds.to_netcdf(tmp_path / "globe.nc", engine="h5netcdf")
    grid = grid_of(open(tmp_path / "globe.nc"), "t")
    assert (grid.metric, [axis.kind for axis in grid.axes]) == ("sphere", ["cell", "periodic"])
    assert grid.volume == pytest.approx(4 * np.pi, rel=1e-3)


def test_positions_over_two_indices_make_a_curvilinear_grid(tmp_path):
    j, i = np.meshgrid(np.arange(4.0), np.arange(5.0), indexing="ij")
    positions = {
        "nav_lat": (("y", "x"), 40 + j, {"standard_name": "latitude"}),
        "nav_lon": (("y", "x"), 5 + i + 0.1 * j, {"standard_name": "longitude"}),
    }
    ds = xr.Dataset({"sst": (("y", "x"), j * i), **positions}, {"x": np.arange(1, 6), "y": np.arange(4)})
    ds.to_netcdf(tmp_path / "ocean.nc", engine="h5netcdf")
    domain = domain_of(open(tmp_path / "ocean.nc"), "sst")
    assert (domain.names, domain.shape) == (("nav_lon", "nav_lat"), (4, 5))


def test_a_map_projection_becomes_a_name(tmp_path):
    projection = xr.Variable((), np.int32(0), {"grid_mapping_name": "lambert_conformal_conic"})
    ds = cf(tmp_path / "a.nc", [0.0, 1.0, 2.0], projection=projection)
    assert "projection" in ds  # nothing refers to it
    u = ("x", np.zeros(3), {"grid_mapping": "projection", "standard_name": "u"})
    xr.Dataset({"u": u, "projection": projection}).to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    ds = open(tmp_path / "b.nc")
    assert (set(ds.data_vars), ds.attrs["grid_mapping"]) == ({"u"}, "lambert_conformal_conic")


def test_coordinates_of_no_order_are_named_when_used(tmp_path):
    ds = cf(tmp_path / "a.nc", [0.0, 2.0, 1.0])
    with pytest.raises(DomainError, match=r"a\.nc: axis 'x': "):
        grid_of(ds, "u")


def test_an_axis_of_length_1_becomes_a_scalar(tmp_path):
    level = {"level": ("level", [500.0], {"axis": "Z"})}
    xr.Dataset({"u": (("level", "x"), np.ones((1, 3)))}, level).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    ds = open(tmp_path / "a.nc")
    assert (ds.u.dims, float(ds.level)) == (("x",), 500)
    assert ds.attrs["layout_reason"].endswith("; level of length 1 became a scalar")


def test_times_can_be_the_samples(tmp_path, rng):
    u = rng.normal(size=(4, 8))
    ds = xr.Dataset({"u": (("time", "x"), u)}, {"time": ("time", [3, 4, 5, 6], {"units": "days since 2000-01-01"})})
    ds.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    found = open(tmp_path / "a.nc", sample_dim="time")
    assert (found.attrs["sample_dim"], found.u.dims, found.attrs.get("time_dim")) == ("time", ("time", "x"), None)
    np.testing.assert_array_equal(found.u.values, u)


def test_a_file_of_ours_stays_native(tmp_path):
    ds = cf(tmp_path / "a.nc", [0.0, 1.0, 2.0])
    assert ds.attrs["layout"] == "cf"
    assert open(write(ds, tmp_path / "b.nc")).attrs["layout"] == "native"
    assert re.search("CF-1.8", ds.attrs["layout_reason"])


def test_valid_ranges_are_said_not_to_be_applied(tmp_path):
    u = np.array([1.0, 50.0, 2.0])
    ds = xr.Dataset(
        {"u": ("x", u, {"valid_max": 40.0, "standard_name": "sea_surface_temperature"})}, {"x": np.arange(3.0)}
    )
    ds.to_netcdf(tmp_path / "sst.nc", engine="h5netcdf")
    found = open(tmp_path / "sst.nc")
    np.testing.assert_array_equal(found.u, u)
    assert "values of u beyond the valid range are not masked" in found.attrs["layout_reason"]
