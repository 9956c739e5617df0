"""Opening files: every kind of bad input gives one clear line, and declarations by hand."""

from __future__ import annotations

import io
import re
import zipfile

import h5py
import numpy as np
import pytest
import torch
import xarray as xr
from scipy.io import savemat

import sciops.data
from sciops.data import Axis
from sciops.data.conventions import grid_of, require_variable
from sciops.data.files import open, write
from sciops.errors import DataError, DomainError, InputError, LayoutError, SciopsError


def one_line(error, *parts):
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert re.search(part, message), (part, message)


@pytest.fixture
def native(tmp_path):
    path = tmp_path / "darcy.h5"
    rng = np.random.default_rng()
    ds = xr.Dataset({n: (("sample", "x", "y"), rng.normal(size=(4, 8, 6))) for n in ("permeability", "pressure")})
    return write(ds, path)


def hdf5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name.replace("__", "/")] = values
    return path


def test_public_names():
    assert sciops.data.open is open
    assert sciops.data.write is write


def test_missing_file_names_the_near_ones(native):
    with pytest.raises(DataError) as error:
        open(native.with_name("dracy.h5"))
    one_line(error, r"dracy\.h5: no such file; did you mean 'darcy\.h5'\?$")
    with pytest.raises(DataError) as error:
        open(native.with_name("qqqq"))
    one_line(error, r"qqqq: no such file$")
    with pytest.raises(DataError) as error:
        open(native.parent / "nowhere" / "darcy.h5")
    one_line(error, "no such file, and no folder .*nowhere$")


def test_folder_without_data(tmp_path):
    (tmp_path / "notes.md").touch()
    with pytest.raises(DataError) as error:
        open(tmp_path)
    one_line(error, r": a folder without data files; it holds notes\.md$")


def test_not_a_path():
    with pytest.raises(InputError) as error:
        open(xr.Dataset())
    one_line(error, "a path is needed, got Dataset")


@pytest.mark.parametrize("name", ["empty.h5", "empty.pt", "empty.npz", "empty.mat", "empty"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(DataError) as error:
        open(tmp_path / name)
    one_line(error, rf"{name}: the file is empty \(0 bytes\)")


def test_truncated_hdf5_at_every_kind_of_place(native, tmp_path):
    content = native.read_bytes()
    cuts = {1, 4, 7, 8, 9, 48, 96, 200, 512, *np.linspace(600, len(content) - 1, 12, dtype=int).tolist()}
    for cut in sorted(cuts):
        path = tmp_path / "cut.h5"
        path.write_bytes(content[:cut])
        with pytest.raises(DataError) as error:
            open(path)
        one_line(error, r"cut\.h5: .*(truncated|corrupt)")


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".mat"])
def test_truncated_other_files(tmp_path, suffix):
    x, y = np.random.default_rng().normal(size=(2, 4, 8))
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".pt":
        torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, whole)
    elif suffix == ".npz":
        np.savez(whole, x=x, y=y)
    else:
        savemat(whole, {"a": x, "u": y})
    open(whole).close()
    content = whole.read_bytes()
    for cut in sorted({1, 3, 30, 100, 130, len(content) // 2, len(content) - 100, len(content) - 1}):
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(content[:cut])
        with pytest.raises(DataError) as error:
            open(path)
        one_line(error, rf"cut\{suffix}: ")


@pytest.mark.parametrize("name", ["noise.h5", "noise.pt", "noise.npz", "noise.mat", "noise.bin"])
def test_random_bytes(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x01" + np.random.default_rng().bytes(5000))
    with pytest.raises(DataError) as error:
        open(tmp_path / name)
    one_line(error, rf"{name}: (not .* though its name says so|unknown format) \(first bytes 01 ")


def test_flipped_bytes_never_escape_as_foreign_errors(native, tmp_path):
    """The same bytes each time, and none in a global heap: there HDF5 itself can run in circles for ever."""
    content, rng = bytearray(native.read_bytes()), np.random.default_rng(0)
    heap = content.find(b"GCOL")
    for _ in range(60):
        broken = bytearray(content)
        for at in rng.integers(0, min(len(content), 3000), 4):
            if not heap <= at < heap + 4096:
                broken[at] ^= int(rng.integers(1, 256))
        path = tmp_path / "flipped.h5"
        path.write_bytes(broken)
        try:
            open(path).close()
        except SciopsError as error:
            assert "\n" not in str(error), broken


def test_no_read_permission(native, monkeypatch):
    import pathlib

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    with pytest.raises(DataError) as error:
        open(native)
    one_line(error, r"darcy\.h5: no permission to read it; change it with chmod or ask its owner$")


def test_file_that_is_being_written(native, monkeypatch):
    def locked(*args, **kwargs):
        raise BlockingIOError(11, "Unable to open file (unable to lock file, errno = 11)")

    monkeypatch.setattr(h5py, "File", locked)
    with pytest.raises(DataError) as error:
        open(native)
    one_line(error, r"darcy\.h5: another program is writing it \(.*lock.*\); wait until that has closed it$")


def test_missing_variable_names_the_near_ones(native):
    with pytest.raises(DataError) as error:
        require_variable(open(native), "presure")
    one_line(error, r"darcy\.h5: no variable 'presure'; did you mean 'pressure'")


def test_text_only(tmp_path):
    path = tmp_path / "text.nc"
    xr.Dataset({"label": ("sample", np.array(["a", "b"], object))}).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(DataError) as error:
        open(path)
    one_line(error, r"text\.nc: no variable is numeric \(label .*\)")


def test_declared_text_is_not_numeric(tmp_path):
    path = hdf5(tmp_path / "text.h5", u=np.array([b"a", b"b"]))
    with pytest.raises(DataError) as error:
        open(path, dims={"u": ("sample",)})
    one_line(error, r"text\.h5: no variable is numeric \(u \|S1\)")


def test_compound_is_not_numeric(tmp_path):
    path = hdf5(tmp_path / "pairs.h5", u=np.zeros(3, [("p", "f4"), ("q", "f4")]))
    with pytest.raises(DataError) as error:
        open(path, dims={"u": ("sample",)})
    one_line(error, "'u' has dtype .*, which is not numeric")


@pytest.mark.parametrize("suffix", [".nc", ".pt", ".npz"])
def test_no_samples(tmp_path, suffix):
    path = tmp_path / f"none{suffix}"
    nothing = np.zeros((0, 8, 8))
    if suffix == ".nc":
        xr.Dataset({"u": (("sample", "x", "y"), nothing)}).to_netcdf(path, engine="h5netcdf")
    elif suffix == ".pt":
        torch.save({"x": torch.from_numpy(nothing), "y": torch.from_numpy(nothing)}, path)
    else:
        np.savez(path, x=nothing, y=nothing)
    with pytest.raises(DataError) as error:
        open(path)
    one_line(error, r"none\..*: dimension 'sample' has length 0: the file holds no samples")


def test_names_that_break_lines(tmp_path):
    with pytest.raises(LayoutError) as error:
        open(hdf5(tmp_path / "odd.h5", **{"a\nb": np.zeros(3), "c": np.zeros(2)}))
    one_line(error, r"it holds 'a\\nb' \(3,\) float64, c \(2,\) float64")


def test_hdf5_without_arrays(tmp_path):
    with pytest.raises(DataError) as error:
        open(hdf5(tmp_path / "void.h5"))
    one_line(error, r"void\.h5: no known layout; it holds no arrays")


DECLARATIONS = {
    "too few names": ({"u": ("sample", "x")}, {}, LayoutError, r"'u' has shape \(4, 8, 6\), 3 axes, but dims= names 2"),
    "unknown array": ({"w": ("sample",)}, {}, LayoutError, "no array 'w'; did you mean|no array 'w'; available: "),
    "near array": ({"velocty": ("sample",)}, {}, LayoutError, "no array 'velocty'; did you mean 'velocity'"),
    "sizes": (
        {"u": ("sample", "x", "y"), "velocity": ("sample", "y")},
        {},
        LayoutError,
        "dimension 'y' has length 5 in 'velocity' and 6 in 'u'",
    ),
    "twice": ({"u": ("sample", "x", "x")}, {}, LayoutError, "'u' has a dimension twice"),
    "not one": ({"u": ("sample", "x", None)}, {}, LayoutError, "only an axis of 1 can be None"),
    "none": ({}, {}, LayoutError, "dims= names no array; it holds "),
    "sample": ({"u": ("run", "x", "y")}, {"sample_dim": "rum"}, LayoutError, "no dimension 'rum'.*did you mean 'run'"),
    "coordinate": (
        {"u": ("sample", "x", "y")},
        {"coords": {"x": "grid/z"}},
        LayoutError,
        "no array 'grid/z' for the coordinates of 'x'; did you mean 'grid/x'",
    ),
    "dimension": ({"u": ("sample", "x", "y")}, {"coords": {"z": "grid/x"}}, LayoutError, "unknown dimension 'z'"),
    "length": (
        {"u": ("sample", "x", "y")},
        {"coords": {"y": "grid/x"}},
        LayoutError,
        r"coordinates of 'y' have shape \(8,\) and dtype float64; 6 numbers",
    ),
    "axis": ({"u": ("sample", "x", "y")}, {"coords": {"y": Axis("y", 7)}}, LayoutError, "an axis of 7 nodes; .* has 6"),
    "kind": ({"u": ("sample", "x", "y")}, {"kinds": {"y": "peroidic"}}, InputError, "did you mean 'periodic'"),
    "kind of": ({"u": ("sample", "x", "y")}, {"kinds": {"z": "cell"}}, LayoutError, "kinds= names 'z', not a space"),
    "layout": ({"u": ("sample", "x", "y")}, {"layout": "native"}, InputError, "dims= declares the layout"),
    "string": ({"velocity": "sx"}, {}, LayoutError, "2 axes, but dims= names 1"),
}


@pytest.mark.parametrize(("dims", "options", "kind", "message"), DECLARATIONS.values(), ids=DECLARATIONS)
def test_wrong_declaration(tmp_path, dims, options, kind, message):
    path = hdf5(tmp_path / "raw.h5", u=np.zeros((4, 8, 6)), velocity=np.zeros((4, 5)), grid__x=np.arange(8.0))
    with pytest.raises(kind) as error:
        open(path, dims=dims, **options)
    one_line(error, message, r"raw\.h5|unknown kind")


def test_declared_needs_dims(native):
    with pytest.raises(InputError) as error:
        open(native, "declared")
    one_line(error, r"the layout 'declared' needs dims=, such as dims=\{'u': ")


def test_declaration_with_axis_and_values(tmp_path):
    path = hdf5(tmp_path / "raw.h5", u=np.zeros((4, 8, 6)))
    axis = Axis("any", 8, 0.0, 2.0, "periodic", "m")
    ds = open(path, dims={"u": ("sample", "x", "y")}, coords={"x": axis, "y": np.linspace(0, 1, 6)})
    grid = grid_of(ds, "u")
    assert grid.axis("x") == Axis("x", 8, 0.0, 2.0, "periodic", "m")
    assert grid.axis("y") == Axis("y", 6)


def test_declaration_of_other_containers(tmp_path):
    np.savez(tmp_path / "raw.npz", p=np.arange(24.0).reshape(4, 6))
    assert open(tmp_path / "raw.npz", dims={"p": ("sample", "x")}).p.shape == (4, 6)
    torch.save({"train": {"p": torch.zeros(4, 6)}, "n": 3}, tmp_path / "raw.pt")
    ds = open(tmp_path / "raw.pt", dims={"train/p": ("sample", "x"), "n": ()})
    assert ds.p.shape == (4, 6)
    assert ds.n == 3


def test_sample_dim_of_a_native_file(tmp_path):
    path = tmp_path / "runs.nc"
    xr.Dataset({"u": (("run", "x"), np.zeros((2, 4)))}).to_netcdf(path, engine="h5netcdf")
    assert "sample_dim" not in open(path).attrs
    assert open(path, sample_dim="run").attrs["sample_dim"] == "run"
    with pytest.raises(LayoutError, match="no dimension 'rum' to count samples; did you mean 'run'"):
        open(path, sample_dim="rum")


def test_times_and_durations_stay_numbers(tmp_path):
    path = tmp_path / "cf.nc"
    with h5py.File(path, "w") as file:
        file["time"] = np.arange(3.0)
        file["time"].make_scale("time")
        file["time"].attrs["units"] = "months since whenever"
        file["lag"] = np.arange(3)
        file["lag"].attrs["units"] = "seconds"
        file["lag"].dims[0].attach_scale(file["time"])
    ds = open(path)
    assert (ds.time.dtype, ds.lag.dtype) == (np.float64, np.int64)
    assert ds.lag.attrs["units"] == "seconds"


def test_some_arrays_without_scales(native):
    with h5py.File(native, "a") as file:
        file["extra"] = np.zeros((3, 2))
    with pytest.raises(LayoutError) as error:
        open(native)
    one_line(error, r"darcy\.h5: extra without dimension scales; attach scales, or declare what to read by dims=")


def test_groups_only(tmp_path):
    path = tmp_path / "groups.nc"
    xr.Dataset({"u": (("sample", "x"), np.zeros((2, 4)))}).to_netcdf(path, engine="h5netcdf", group="run")
    with pytest.raises(LayoutError) as error:
        open(path)
    one_line(error, r"groups\.nc: the root group holds no variables; declare those of groups by dims=")
    assert open(path, dims={"run/u": ("sample", "x")}).u.shape == (2, 4)


def test_pdebench_times_that_do_not_fit(tmp_path):
    arrays = {"tensor": np.zeros((2, 4, 8)), "x-coordinate": np.arange(8.0), "t-coordinate": np.arange(7.0)}
    with pytest.raises(LayoutError) as error:
        open(hdf5(tmp_path / "burgers.hdf5", **arrays))
    one_line(error, r"burgers\.hdf5: 't-coordinate' has 7 times, 'tensor' 4; 4 or 5 fit")


def test_file_that_goes_bad_while_open(tmp_path):
    path = hdf5(tmp_path / "late.h5", u=np.zeros((4, 8)))
    ds = open(path, dims={"u": ("sample", "x")})
    ds.close()
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError) as error:
        ds.u.values  # noqa: B018
    one_line(error, r"late\.h5: truncated or corrupt when reading 'u'")


def test_descending_coordinates_are_named_when_used(tmp_path):
    path = hdf5(tmp_path / "raw.h5", u=np.zeros((4, 8)), x=np.arange(8.0)[::-1])
    ds = open(path, dims={"u": ("sample", "x")}, coords={"x": "x"})
    with pytest.raises(DomainError, match=r"raw\.h5: axis 'x': the coordinates descend"):
        grid_of(ds, "u")


def test_relative_path_and_home(native, monkeypatch):
    monkeypatch.chdir(native.parent)
    monkeypatch.setenv("HOME", str(native.parent))
    assert open("darcy.h5").encoding["source"] == str(native)
    assert open("~/darcy.h5").encoding["source"] == str(native)
    monkeypatch.chdir("/")
    assert open(native).pressure.values.shape == (4, 8, 6)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("shape", [(20, 8), (5, 8), (1 << 40, 8)])
def test_npz_header_that_lies(tmp_path, shape, compression):
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<f8", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(tmp_path / "lie.npz", "w", compression) as archive:
        archive.writestr("u.npy", array.getvalue() + np.zeros((10, 8)).tobytes())
        archive.writestr("v.npy", array.getvalue() + np.ones((10, 8)).tobytes())
    with pytest.raises(DataError) as error:
        open(tmp_path / "lie.npz", dims={"u": ("sample", "x")})
    one_line(error, rf"lie\.npz: 'u' declares the shape {re.escape(str(shape))} of float64, .* bytes .* but holds ")


def test_npz_with_a_name_twice(tmp_path):
    array = io.BytesIO()
    np.save(array, np.zeros((10, 8)))
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive:
        archive.writestr("u.npy", array.getvalue())
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("u.npy", array.getvalue())
    with pytest.raises(DataError) as error:
        open(tmp_path / "twice.npz", dims={"u": ("sample", "x")})
    one_line(error, r"twice\.npz: holds 'u' twice")


def test_expanded_tensor(tmp_path):
    torch.save({"x": torch.zeros(2, 4), "y": torch.zeros(1).expand(10**6, 10**5)}, tmp_path / "wide.pt")
    with pytest.raises(DataError) as error:
        open(tmp_path / "wide.pt")
    one_line(error, r"wide\.pt: 'y' has shape \(1000000, 100000\) but only 4 bytes .*contiguous")
    torch.save({"x": torch.arange(8.0).reshape(4, 2).T, "y": torch.zeros(4, 8)[:2, ::2]}, tmp_path / "views.pt")
    assert open(tmp_path / "views.pt").x.shape == (2, 4)


def test_coordinates_of_a_huge_declared_length(tmp_path):
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["u"] = np.zeros((2, 8))
        file.create_dataset("x", (10**11,), "f8", chunks=(1024,))
    with pytest.raises(LayoutError) as error:
        open(tmp_path / "raw.h5", dims={"u": ("sample", "x")}, coords={"x": "x"})
    one_line(error, r"raw\.h5: the coordinates of 'x' have shape \(100000000000,\).*; 8 numbers are needed")
    with h5py.File(tmp_path / "scale.nc", "w") as file:
        for name in ("u", "x"):
            file.create_dataset(name, (10**11,), "f8", chunks=(1024,))
        file["x"].make_scale("x")
        file["u"].dims[0].attach_scale(file["x"])
    with pytest.raises(DataError) as error:
        open(tmp_path / "scale.nc")
    one_line(error, r"scale\.nc: the coordinates 'x' have the declared shape \(100000000000,\); at most")
    with h5py.File(tmp_path / "burgers.h5", "w") as file:
        file["tensor"], file["x-coordinate"] = np.zeros((2, 4, 8)), np.arange(8.0)
        file.create_dataset("t-coordinate", (10**11,), "f8", chunks=(1024,))
    with pytest.raises(LayoutError) as error:
        open(tmp_path / "burgers.h5")
    one_line(error, r"burgers\.h5: 't-coordinate' has 100000000000 times")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": 3}, r"dims= is a mapping by name, such as .*, got 3"),
        ({"dims": {"g/u": ("sample", 3)}}, r"dims= of 'g/u' names the axes in order.*got \('sample', 3\)"),
        ({"dims": {"g/u": None}}, r"dims= of 'g/u' names the axes in order.*got None"),
        ({"layout": 3}, "layout= is a name, got 3"),
        ({"sample_dim": 3}, "sample_dim= is a name, got 3"),
        ({"coords": 5}, "coords= is a mapping by name, such as .*, got 5"),
        ({"kinds": "cell"}, "kinds= is a mapping by name, such as .*, got 'cell'"),
    ],
)
def test_options_of_a_wrong_type(tmp_path, options, message):
    with pytest.raises(InputError) as error:
        open(hdf5(tmp_path / "raw.h5", g__u=np.zeros((4, 8))), **options)
    one_line(error, rf"raw\.h5: {message}")


@pytest.mark.parametrize("value", ["no", "", 0, 1, None, "true"])
def test_links_are_trusted_by_truth_values_only(native, value):
    with pytest.raises(InputError) as caught:
        open(native, trust_links=value)
    one_line(caught, "trust_links= is True or False", repr(value))


@pytest.mark.parametrize("value", [{}, 1, b"x", [], "a\0"])
def test_a_declaration_is_a_path_or_one(native, value):
    with pytest.raises(InputError) as caught:
        open(native, declaration=value)
    one_line(
        caught,
        re.escape(repr(value)) if isinstance(value, str) else f"declaration= is a .*got {re.escape(repr(value))}",
    )


@pytest.mark.parametrize("path", ["a\0.h5", "\ud800.h5", "~nobody-of-that-name/a.h5", b"a.h5", ["a\0.h5"]])
def test_paths_that_are_none(path):
    with pytest.raises(InputError) as caught:
        open(path)
    one_line(caught, "path")


@pytest.mark.parametrize("name", ["a" * 300 + ".h5", "a" * 300 + "/*.h5", "a" * 300])
def test_paths_that_are_too_long(tmp_path, name):
    with pytest.raises(DataError) as caught:
        open(tmp_path / name)
    one_line(caught, "aaa")


@pytest.mark.parametrize("name", ["", "*.h5", "run.h5"])
def test_folders_without_permission(tmp_path, monkeypatch, name):
    (tmp_path / "locked").mkdir()

    def refuse(path, *args):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("sciops.data.reading.paths.is_zarr_folder", refuse)
    monkeypatch.setattr("sciops.data.reading.paths.os.listdir", refuse)
    with pytest.raises(DataError) as caught:
        open(tmp_path / "locked" / name)
    one_line(caught, "locked", "cannot be looked at", "Permission denied")


def test_unknown_layout_of_scalars_suggests_nothing(tmp_path):
    with pytest.raises(LayoutError) as error:
        open(hdf5(tmp_path / "one.h5", u=np.float64(3.0)))
    one_line(error, r"one\.h5: no known layout; it holds u \(\) float64: single values, no fields$")


def test_axes_that_descend_are_turned_round_in_native_files(tmp_path):
    u = np.random.default_rng().normal(size=(2, 5, 4))
    ds = xr.Dataset({"u": (("sample", "x", "y"), u)}, {"x": np.linspace(2, 0, 5), "y": np.arange(4.0)})
    for name in ("run.nc", "run.zarr"):
        found = open(write(ds, tmp_path / name))
        np.testing.assert_array_equal(found.u, u[:, ::-1])
        np.testing.assert_array_equal(found.x, np.linspace(0, 2, 5))
        assert (found.x.attrs["kind"], found.x.attrs["lower"], found.x.attrs["upper"]) == ("closed", 0, 2)
        assert "x descended and was turned round" in found.attrs["layout_reason"] and found.attrs["layout"] == "native"
        found.close()


def test_samples_that_descend_stay(tmp_path):
    ds = xr.Dataset({"u": (("run", "x"), np.eye(3))}, {"run": [3, 2, 1], "x": [0.0, 1.0, 2.0]})
    np.testing.assert_array_equal(open(write(ds, tmp_path / "run.nc"), sample_dim="run").run, [3, 2, 1])


def test_scales_on_some_axes_alone(tmp_path):
    path = hdf5(tmp_path / "raw.h5", u=np.ones((3, 16)), x=np.arange(16.0))
    with h5py.File(path, "r+") as file:
        file["x"].make_scale()
        file["u"].dims[1].attach_scale(file["x"])
    with pytest.raises(LayoutError) as error:
        open(path)
    one_line(error, r"raw\.h5: u \(shape \(3, 16\)\) has a dimension scale on some of its axes alone; .*dims=\{'u'")
    assert open(path, dims={"u": ("sample", "x")}, coords={"x": "x"}).x.attrs["kind"] == "closed"
