from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciops.data import Axis, conventions
from sciops.data.domains.axis import KINDS
from sciops.data.domains.points import PointCloud
from sciops.data.files import open, write
from sciops.errors import DataError, DomainError


def dataset(axis: Axis, **attrs) -> xr.Dataset:
    return xr.Dataset(
        {"u": (("sample", axis.name), np.zeros((3, axis.size))), "nu": ("sample", np.ones(3))},
        coords={axis.name: conventions.coordinate(axis)},
        attrs=attrs,
    )


def test_the_marked_dimensions_are_found() -> None:
    ds = xr.Dataset(
        {
            "u": (("run", "step", "part", "x", "y"), np.zeros((2, 3, 4, 5, 6))),
            "mask": (("x", "y"), np.ones((5, 6), bool)),
            "history": (("run", "step"), np.zeros((2, 3))),
            "re": (("run",), np.zeros(2)),
            "g": ((), 9.81),
            "title": ((), "a run"),
            "label": (("run",), np.array(["a", "b"])),
        },
        attrs={"sample_dim": "run", "time_dim": "step", "channel_dims": ["part"]},
    )
    assert (conventions.sample_dim(ds), conventions.time_dim(ds), conventions.n_samples(ds)) == ("run", "step", 2)
    assert conventions.channel_dim(ds, "u") == "part"
    assert conventions.channel_dim(ds, "mask") is None
    assert conventions.space_dims(ds, "u") == ("x", "y")
    assert conventions.field_names(ds) == ("u", "mask")
    assert conventions.parameter_names(ds) == ("re", "g")


def test_default_names_and_a_data_set_without_samples() -> None:
    ds = xr.Dataset({"u": (("sample", "time", "x"), np.zeros((2, 3, 4)))})
    assert (conventions.sample_dim(ds), conventions.time_dim(ds)) == ("sample", "time")
    still = xr.Dataset({"u": (("x",), np.zeros(4))})
    assert (conventions.sample_dim(still), conventions.time_dim(still), conventions.n_samples(still)) == (None, None, 1)


def test_a_marked_dimension_that_was_indexed_away_means_nothing() -> None:
    ds = dataset(Axis("x", 4), sample_dim="sample").isel(sample=0)
    assert conventions.sample_dim(ds) is None
    assert conventions.parameter_names(ds) == ("nu",)
    assert conventions.space_dims(ds, "u") == ("x",)


@pytest.mark.parametrize("names", ["part", b"part", ["part"], np.array(["part"]), np.array("part", dtype=object)])
def test_channel_dims_are_read_however_a_file_stores_them(names) -> None:
    ds = xr.Dataset({"u": (("part", "x"), np.zeros((2, 4)))}, attrs={"channel_dims": names})
    assert conventions.channel_dim(ds, "u") == "part"


def test_two_channel_dimensions_are_refused_with_a_remedy() -> None:
    ds = xr.Dataset({"u": (("a", "b", "x"), np.zeros((2, 2, 4)))}, attrs={"channel_dims": ["a", "b"]})
    with pytest.raises(DataError, match=r"'u' has the channel dimensions a, b; join them by ds.stack"):
        conventions.channel_dim(ds, "u")


def test_a_missing_variable_names_the_file_and_the_nearest() -> None:
    ds = dataset(Axis("x", 4))
    ds.encoding["source"] = "/data/run.h5"
    with pytest.raises(DataError, match=r"/data/run.h5: no variable 'v'.*available: u, nu"):
        conventions.require_variable(ds, "v")
    with pytest.raises(DataError, match="no variable 'x'"):
        conventions.grid_of(ds, "x")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_attributes_give_the_axis_back_exactly(kind: str, dtype) -> None:
    axis = Axis("x", 37, 0.1, 0.7, kind, "m")
    ds = dataset(axis)
    ds = ds.assign_coords(x=ds["x"].astype(dtype).assign_attrs(ds["x"].attrs))
    assert conventions.grid_of(ds, "u").axes == (axis,)


def test_attributes_as_a_file_returns_them() -> None:
    axis = Axis("x", 8, 0.0, 2.0, "periodic")
    ds = dataset(axis)
    ds["x"].attrs.update(kind=b"periodic", lower=np.array([0.0]), upper=np.float32(2.0), units=b"")
    assert conventions.grid_of(ds, "u").axes == (axis,)


def test_axis_attributes_mark_what_was_assumed() -> None:
    axis = Axis("x", 4, kind="left")
    assert "assumed" not in conventions.axis_attributes(axis)
    assert conventions.coordinate(axis, assumed=True).attrs["assumed"] == 1


@pytest.mark.parametrize(
    ("kind", "size", "step", "expected"),
    [
        ("periodic", 8, 2, "periodic"),
        ("periodic", 9, 2, "closed"),
        ("left", 8, 2, "left"),
        ("closed", 9, 2, "closed"),
        ("closed", 8, 3, "closed"),
        ("cell", 8, 2, "cell"),
    ],
)
def test_every_second_node_is_read_as_what_it_is(kind: str, size: int, step: int, expected: str) -> None:
    ds = dataset(Axis("x", size, 0.0, 3.0, kind)).isel(x=slice(None, None, step))
    axis = conventions.grid_of(ds, "u").axes[0]
    assert axis.kind == expected
    assert np.allclose(axis.coordinates().numpy(), ds["x"].values)


@pytest.mark.parametrize(("kind", "expected"), [("periodic", "closed"), ("left", "closed"), ("cell", "cell")])
def test_a_part_of_an_axis_does_not_keep_the_old_interval(kind: str, expected: str) -> None:
    whole = Axis("x", 8, 0.0, 1.0, kind)
    axis = conventions.grid_of(dataset(whole).isel(x=slice(2, 6)), "u").axes[0]
    assert (axis.kind, axis.size) == (expected, 4)
    assert np.allclose(axis.coordinates().numpy(), whole.coordinates().numpy()[2:6])


def test_coordinates_without_attributes_are_inferred() -> None:
    ds = xr.Dataset(
        {"u": (("x", "y", "z"), np.zeros((4, 4, 4)))}, coords={"x": np.arange(4), "y": ("y", np.arange(4.0))}
    )
    ds["y"].attrs["kind"] = "periodic"
    x, y, z = conventions.grid_of(ds, "u").axes
    assert x == Axis("x", 4, 0.0, 3.0, "closed")
    assert y == Axis("y", 4, 0.0, 4.0, "periodic")
    assert z == Axis("z", 4, 0.0, 1.0, "left")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([3.0, 2.0, 1.0, 0.0]), r"run.h5: axis 'x': the coordinates descend; reverse them by ds.sortby"),
        (np.array(list("abcd")), "run.h5: axis 'x': coordinates are a one-dimensional array of numbers"),
    ],
)
@pytest.mark.parametrize("attributes", [{}, {"kind": "periodic", "lower": 0.0, "upper": 1.0}])
def test_coordinates_that_make_no_axis_are_refused(x, message: str, attributes: dict) -> None:
    ds = xr.Dataset({"u": (("x",), np.zeros(4))}, coords={"x": ("x", x, attributes)})
    ds.encoding["source"] = "run.h5"
    with pytest.raises(DomainError, match=message):
        conventions.grid_of(ds, "u")


def test_an_unknown_kind_is_refused() -> None:
    ds = xr.Dataset({"u": ("x", np.zeros(4))}, coords={"x": ("x", np.arange(4.0), {"kind": "chebyshev"})})
    with pytest.raises(DomainError, match="axis 'x': unknown kind 'chebyshev'"):
        conventions.grid_of(ds, "u")


def test_a_parameter_has_no_grid() -> None:
    with pytest.raises(DomainError, match="variable 'nu' has no space dimension"):
        conventions.grid_of(dataset(Axis("x", 4)), "nu")


@pytest.mark.parametrize("lower", ["a", [0.0, 1.0], None])
def test_the_end_of_an_axis_is_a_number(lower) -> None:
    ds = dataset(Axis("x", 4))
    ds["x"].attrs["lower"] = lower
    with pytest.raises(DomainError, match=r"axis 'x': the attribute 'lower' of its coordinate is .*, not a number"):
        conventions.grid_of(ds, "u")


def test_coordinates_that_are_not_uniform_make_a_stretched_axis() -> None:
    x = np.array([0.0, 0.1, 0.3, 0.7, 1.5])
    ds = xr.Dataset({"u": ("x", np.zeros(5))}, coords={"x": x})
    (axis,) = conventions.grid_of(ds, "u").axes
    assert (axis.kind, axis.lower, axis.upper, axis.nodes) == ("stretched", 0.0, 1.5, tuple(x))
    wide = Axis("x", 5, -1.0, 2.0, "stretched", "m", tuple(x))
    ds = ds.assign_coords(x=conventions.coordinate(wide))
    assert conventions.grid_of(ds, "u").axes[0] == wide
    part = conventions.grid_of(ds.isel(x=slice(1, 4)), "u").axes[0]
    assert (part.lower, part.upper, part.nodes) == (0.1, 0.7, (0.1, 0.3, 0.7))


def test_a_stretched_axis_goes_through_a_file(tmp_path) -> None:
    axis = Axis("x", 5, -1.0, 2.0, "stretched", "m", (0.0, 0.1, 0.3, 0.7, 1.5))
    ds = xr.Dataset({"u": (("sample", "x"), np.zeros((2, 5)))}, coords={"x": conventions.coordinate(axis)})
    again = open(write(ds, tmp_path / "s.nc"))
    assert conventions.grid_of(again, "u").axes[0] == axis
    assert open(tmp_path / "s.nc", kinds={"x": "stretched"}).x.attrs["kind"] == "stretched"


def globe(lat, lon, **attributes) -> xr.Dataset:
    north = {"units": "degrees_north", **attributes}
    coords = {"lat": ("lat", lat, north), "lon": ("lon", lon, {"units": "degrees_east"})}
    return xr.Dataset({"t": (("lat", "lon"), np.zeros((len(lat), len(lon))))}, coords=coords)


GAUSS = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(32)[0]))


@pytest.mark.parametrize(
    ("lat", "kind"),
    [
        (np.linspace(-90, 90, 19), "closed"),
        (np.linspace(-89.5, 89.5, 180), "cell"),
        (np.linspace(-89.5, 89.5, 180).astype("f4"), "cell"),
        (GAUSS, "stretched"),
    ],
)
@pytest.mark.parametrize("lon", [np.arange(36) * 10.0, np.arange(36) * 10.0 - 175, np.linspace(0, 360, 37)])
def test_a_globe_is_recognised_and_has_its_area(lat, lon, kind: str) -> None:
    grid = conventions.grid_of(globe(lat, lon), "t")
    assert grid.metric == "sphere"
    assert grid.kinds == (kind, "closed" if len(lon) == 37 else "periodic")
    assert float(grid.weights().sum()) == pytest.approx(4 * np.pi, rel=1e-12)


def test_a_part_of_the_globe_has_the_area_of_the_part() -> None:
    ds = globe(np.linspace(-90, 90, 37), np.arange(36) * 10.0).sel(lat=slice(0, 30), lon=slice(20, 60))
    grid = conventions.grid_of(ds, "t")
    assert grid.kinds == ("closed", "closed")
    assert grid.volume == pytest.approx(np.sin(np.radians(30)) * np.radians(40))
    gauss = conventions.grid_of(globe(GAUSS, np.arange(36) * 10.0).isel(lat=slice(4, 20)), "t").axes[0]
    assert (gauss.lower, gauss.upper) == (GAUSS[4], GAUSS[19])


def test_a_globe_is_recognised_by_standard_names_and_not_by_names_alone() -> None:
    ds = globe(np.linspace(-90, 90, 19), np.arange(36) * 10.0)
    for name in ("lat", "lon"):
        ds[name].attrs = {"units": "degrees", "standard_name": {"lat": "latitude", "lon": "longitude"}[name]}
    assert conventions.grid_of(ds, "t").metric == "sphere"
    for name in ("lat", "lon"):
        ds[name].attrs = {}
    assert conventions.grid_of(ds, "t").metric == "flat"


def scattered(**coords) -> xr.Dataset:
    lines = {"x": ("point", [0.0, 1.0, 0.0, 1.0], {"units": "m"}), "y": ("point", [0.0, 0.0, 1.0, 1.0])}
    marks = {"point_dims": ["point"], "point_coords": ["x", "y"]}
    data = {"u": (("sample", "time", "point"), np.zeros((2, 3, 4)))}
    return xr.Dataset(data, {**lines, **coords}, marks)


def test_points_have_their_coordinates_weights_and_tags() -> None:
    ds = scattered(point_weights=("point", [1.0, 2.0, 3.0, 4.0]), tag_wall=("point", [True, False, False, True]))
    cloud = conventions.domain_of(ds, "u")
    assert isinstance(cloud, PointCloud)
    assert cloud.weights().tolist() == [1.0, 2.0, 3.0, 4.0]
    assert cloud.tags["wall"].tolist() == [True, False, False, True]
    assert (cloud.names, cloud.units, cloud.points.tolist()[1]) == (("x", "y"), ("m", ""), [1.0, 0.0])
    coordinates, marks = conventions.coordinates_of(cloud)
    again = xr.Dataset({"u": ("point", np.zeros(4))}, coordinates, marks)
    assert conventions.domain_of(again, "u") == cloud
    assert conventions.domain_of(scattered().isel(point=[0, 3]), "u").shape == (2,)
    with pytest.raises(DomainError, match="variable 'u' is on no grid, 'point' has no axis"):
        conventions.grid_of(ds, "u")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.drop_vars("y"), "no coordinate 'y', which places 'u'"),
        (
            lambda ds: ds.assign_coords(x=(("sample", "point"), np.zeros((2, 4)))),
            r"the points of 'u' move.*isel\(sample=0\)",
        ),
        (lambda ds: ds.expand_dims(z=3, axis=3), "points and axes together make no domain"),
        (
            lambda ds: ds.assign_attrs(point_coords=[]),
            "need coordinates along 'point' listed in point_coords; got none",
        ),
    ],
)
def test_points_without_places_are_refused(change, message: str) -> None:
    ds = scattered()
    ds.encoding["source"] = "run.h5"
    changed = change(ds)
    changed.encoding["source"] = "run.h5"
    with pytest.raises(DomainError, match=f"run.h5: .*{message}"):
        conventions.domain_of(changed, "u")


def test_a_grid_is_a_domain_too() -> None:
    axis = Axis("x", 4, kind="cell")
    ds = xr.Dataset({"u": ("x", np.zeros(4))}, coords={"x": conventions.coordinate(axis)})
    assert conventions.domain_of(ds, "u") == conventions.grid_of(ds, "u")


def test_coordinates_of_points_tell_their_dimension(tmp_path):
    coords = {"x": ("node", [0.0, 0.5, 2.0]), "y": ("node", [1.0, 0.0, 3.0])}
    ds = xr.Dataset({"u": (("sample", "node"), np.ones((2, 3)))}, coords, {"point_coords": ["x", "y"]})
    for found in (ds, open(write(ds, tmp_path / "run.h5"))):
        points = conventions.domain_of(found, "u")
        assert isinstance(points, PointCloud) and points.names == ("x", "y") and len(points.points) == 3
