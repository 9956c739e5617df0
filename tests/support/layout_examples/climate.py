"""Files that name their own dimensions: Zarr, classic netCDF, and the CF conventions as files follow and break them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import xarray as xr

from layout_examples.base import Arrays, Example, Expected


def _run(rng: np.random.Generator) -> tuple[xr.Dataset, Expected]:
    a, u, nu = rng.normal(size=(3, 8, 6)), rng.normal(size=(3, 8, 6)).astype("f4"), rng.normal(size=3)
    space = ("sample", "x", "y")
    variables: Arrays = {"a": (space, a), "u": (space, u), "nu": (("sample",), nu)}
    ds = xr.Dataset(variables, coords={"x": np.linspace(0, 1, 8), "y": np.arange(6) / 6})
    return ds, Expected(variables, {"x": "closed", "y": "left"})


def native_zarr_2(path: Path, rng: np.random.Generator) -> Expected:
    """Chunks that do not fill the array."""
    ds, expected = _run(rng)
    ds.to_zarr(path, zarr_format=2, encoding={"a": {"chunks": (2, 3, 6)}})
    return expected


def native_zarr_3(path: Path, rng: np.random.Generator) -> Expected:
    """Shards, and a variable that has its own chunks."""
    ds, expected = _run(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.to_zarr(path, zarr_format=3, encoding={"a": {"chunks": (1, 4, 3), "shards": (2, 8, 6)}})
    return expected


def native_zarr_zip(path: Path, rng: np.random.Generator) -> Expected:
    from zarr.storage import ZipStore

    ds, expected = _run(rng)
    with warnings.catch_warnings(), ZipStore(path, mode="w") as store:
        warnings.simplefilter("ignore")
        ds.to_zarr(store, zarr_format=3, consolidated=False)
    return expected


def native_classic(path: Path, rng: np.random.Generator) -> Expected:
    """Records of two variables side by side."""
    ds, expected = _run(rng)
    ds.to_netcdf(path, engine="scipy", format="NETCDF3_64BIT", unlimited_dims=["sample"])
    return expected


def _climate(rng: np.random.Generator) -> xr.Dataset:
    """Packed temperatures of an ensemble, latitudes from north to south, a calendar without leap days."""
    lat, lon = np.linspace(78.75, -78.75, 8), np.arange(16) * 22.5 + 11.25
    time = 735000.5 + np.arange(5)
    tas = 280 + 10 * rng.normal(size=(2, 5, 8, 16))
    tas[0, 1, 2, 3] = np.nan
    ds = xr.Dataset(
        {
            "tas": (
                ("realization", "time", "lat", "lon"),
                tas,
                {"units": "K", "standard_name": "air_temperature", "grid_mapping": "crs", "coordinates": "height"},
            ),
            "crs": ((), np.int32(0), {"grid_mapping_name": "latitude_longitude"}),
            "lat_bnds": (("lat", "bnds"), np.stack([lat + 11.25, lat - 11.25], axis=1)),
            "lon_bnds": (("lon", "bnds"), np.stack([lon - 11.25, lon + 11.25], axis=1)),
            "time_bnds": (("time", "bnds"), np.stack([time - 0.5, time + 0.5], axis=1)),
        },
        coords={
            "realization": ("realization", np.arange(2), {"standard_name": "realization"}),
            "time": ("time", time, {"units": "days since 0001-01-01", "calendar": "noleap", "bounds": "time_bnds"}),
            "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude", "bounds": "lat_bnds"}),
            "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude", "bounds": "lon_bnds"}),
            "height": ((), 2.0, {"units": "m"}),
        },
        attrs={"Conventions": "CF-1.8"},
    )
    ds.tas.encoding = {"dtype": "i2", "scale_factor": np.float32(0.01), "add_offset": np.float32(280.0)}
    ds.tas.encoding["_FillValue"] = np.int16(-32768)
    return ds


def _climate_expected(path: Path, ds: xr.Dataset, engine: str) -> Expected:
    with xr.open_dataset(path, engine=engine, decode_times=False) as again:
        tas = again.tas.values[:, :, ::-1]
    assert np.abs(tas - ds.tas.values[:, :, ::-1])[np.isfinite(tas)].max() < 0.01
    return Expected(
        {"tas": (("realization", "time", "lat", "lon"), tas)},
        {"lat": "cell", "lon": "cell"},
        sample_dim="realization",
        time=np.arange(5.0),
        coordinates={"lat": np.linspace(-78.75, 78.75, 8)},
        attributes={"tas": {"units": "K"}},
    )


def cf_climate(path: Path, rng: np.random.Generator) -> Expected:
    ds = _climate(rng)
    ds.to_netcdf(path, engine="h5netcdf")
    return _climate_expected(path, ds, "h5netcdf")


def cf_classic(path: Path, rng: np.random.Generator) -> Expected:
    ds = _climate(rng)
    ds.to_netcdf(path, engine="scipy", format="NETCDF3_CLASSIC")
    return _climate_expected(path, ds, "scipy")


def cf_zarr(path: Path, rng: np.random.Generator) -> Expected:
    ds = _climate(rng)
    ds.to_zarr(path, zarr_format=2)
    return _climate_expected(path, ds, "zarr")


def cf_careless(path: Path, rng: np.random.Generator) -> Expected:
    """An integer month without units, latitudes known by their name, Gauss latitudes, one level of one pressure."""
    lat, lon = np.array([-70.0, -25.0, 15.0, 60.0, 85.0]), np.arange(8) * 45.0
    u = rng.normal(size=(12, 1, 5, 8)).astype("f4")
    ds = xr.Dataset(
        {"u": (("month", "level", "lat", "lon"), u, {"standard_name": "eastward_wind"})},
        coords={"month": np.arange(1, 13), "level": [500], "lat": lat, "lon": lon},
    )
    ds.to_netcdf(path, engine="h5netcdf")
    return Expected(
        {"u": (("month", "lat", "lon"), u[:, 0])},
        {"lat": None, "lon": "left"},
        sample_dim=None,
        time=np.arange(1, 13),
    )


def cf_curvilinear(path: Path, rng: np.random.Generator) -> Expected:
    """An ocean grid whose positions stand over both indices; months as times of no calendar."""
    j, i = np.meshgrid(np.arange(6.0), np.arange(8.0), indexing="ij")
    lat, lon = 50 + j + 0.1 * i, 10 + i - 0.2 * j
    sst = rng.normal(size=(3, 6, 8))
    ds = xr.Dataset(
        {"sst": (("time", "j", "i"), sst, {"units": "degC"})},
        coords={
            "time": ("time", [7, 8, 9], {"units": "months since 1990-01-01"}),
            "j": np.arange(6),
            "i": np.arange(8),
            "lat": (("j", "i"), lat, {"units": "degrees_north"}),
            "lon": (("j", "i"), lon, {"units": "degrees_east"}),
        },
    )
    ds.to_netcdf(path, engine="h5netcdf")
    points: Arrays = {"lon": (("j", "i"), lon), "lat": (("j", "i"), lat)}
    variables: Arrays = {"sst": (("time", "j", "i"), sst)}
    return Expected(variables, {}, sample_dim=None, time=np.arange(3.0), points=points)


EXAMPLES = [
    Example("native", ".zarr", native_zarr_2),
    Example("native", ".zarr", native_zarr_3),
    Example("native", ".zip", native_zarr_zip),
    Example("native", ".nc", native_classic),
    Example("cf", ".nc", cf_climate),
    Example("cf", ".nc", cf_classic),
    Example("cf", ".zarr", cf_zarr),
    Example("cf", ".nc", cf_careless),
    Example("cf", ".nc", cf_curvilinear),
]
