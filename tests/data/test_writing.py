"""The native file: what survives the round trip, atomic writing, streaming, and every way in which writing fails."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import tracemalloc

import h5py
import numpy as np
import pytest
import xarray as xr

from sciops.data.files import StreamWriter, open, write
from sciops.data.reading.storage import StoredArray
from sciops.data.writing import appending, copying, target
from sciops.data.writing.encoding import chunk_shape
from sciops.errors import DataError, InputError


@pytest.fixture
def ds():
    rng = np.random.default_rng()
    return xr.Dataset(
        {
            "u": (("sample", "x", "y"), rng.normal(size=(7, 8, 6)), {"units": "Pa", "long_name": "pressure"}),
            "inside": (("sample", "x", "y"), rng.normal(size=(7, 8, 6)) > 0),
            "n": ("sample", rng.integers(-5, 5, 7, dtype=np.int16)),
            "big": (("x", "sample"), rng.normal(size=(8, 7)).astype(">f4")),
            "nu": ((), 0.5),
        },
        coords={"x": np.linspace(0, 1, 8), "y": ("y", np.arange(6) / 6, {"units": "m"})},
        attrs={"sample_dim": "sample", "title": "a run"},
    )


def nothing_left(folder, *names):
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_round_trip_and_plain_xarray(ds, tmp_path):
    path = write(ds, tmp_path / "run.nc")
    for again in (open(path), xr.open_dataset(path)):
        assert set(again.variables) == set(ds.variables)
        for name in ds.variables:
            np.testing.assert_array_equal(again[name].transpose(*ds[name].dims).values, ds[name].values)
            assert again[name].dtype == ds[name].dtype.newbyteorder("=")
        assert again.u.attrs == ds.u.attrs
        assert again.attrs["title"] == "a run"
    nothing_left(tmp_path, "run.nc")


def test_attributes(tmp_path):
    attrs = {
        "flag": True,
        "count": 3,
        "level": 0.5,
        "numbers": [1, 2, 3],
        "names": ["a", "b"],
        "one": ["alone"],
        "array": np.arange(3.0),
        "flags": [True, False],
        "nested": {"k": [1, 2]},
        "none": None,
        "empty": [],
        "raw": b"bytes",
        "text": "ä ",
    }
    again = open(write(xr.Dataset({"u": ("x", [1.0, 2.0], attrs)}, attrs=attrs), tmp_path / "a.nc"))
    for found in (again.attrs, again.u.attrs):
        assert (found["flag"], found["count"], found["level"], found["text"]) == (1, 3, 0.5, "ä ")
        np.testing.assert_array_equal(found["numbers"], [1, 2, 3])
        np.testing.assert_array_equal(found["array"], np.arange(3.0))
        np.testing.assert_array_equal(found["flags"], [1, 0])
        assert list(found["names"]) == ["a", "b"]
        assert list(np.atleast_1d(found["one"])) == ["alone"]
        assert (found["nested"], found["none"], found["empty"]) == ('{"k": [1, 2]}', "null", "[]")
        assert found["raw"] == "bytes"


@pytest.mark.parametrize("channels", [["channel"], ["channel", "channel_y"]])
def test_channel_dims_survive(tmp_path, channels):
    ds = xr.Dataset(attrs={"channel_dims": channels})
    for name in channels:
        ds[name + "_field"] = (("sample", name, "x"), np.zeros((2, 3, 4)))
    assert open(write(ds, tmp_path / "c.nc")).attrs["channel_dims"] == channels


def test_times_texts_and_other_coordinates(tmp_path):
    ds = xr.Dataset(
        {"u": (("sample", "x"), np.ones((2, 3))), "label": ("x", ["a", "bb", "ä"])},
        coords={"day": ("x", np.arange("2024-01-01", "2024-01-04", dtype="M8[D]")), "run": ("sample", [3, 5])},
    )
    path = write(ds, tmp_path / "t.nc")
    xr.testing.assert_equal(xr.open_dataset(path).load(), ds.assign(label=ds.label.astype(object)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 3), complex), r"'u' is complex.*\.real and \.imag"),
        (np.array([[{}, {}, {}]] * 2, object), "'u' holds Python objects"),
        (np.zeros((2, 3), "M8[ns]"), "'u' holds times for each sample"),
    ],
)
def test_what_netcdf_does_not_hold(tmp_path, values, message):
    with pytest.raises(InputError, match=message):
        write(xr.Dataset({"u": (("sample", "x"), values)}), tmp_path / "bad.nc")
    nothing_left(tmp_path)


def test_texts_by_sample(tmp_path):
    ds = xr.Dataset({"name": ("sample", np.array(["a", "bb"], object)), "u": ("sample", [1.0, 2.0])})
    assert open(write(ds, tmp_path / "n.nc")).name.values.tolist() == ["a", "bb"]


def test_half_precision_becomes_single(tmp_path):
    ds = xr.Dataset({"u": (("sample", "x"), np.ones((2, 3), np.float16))})
    assert open(write(ds, tmp_path / "h.nc")).u.dtype == np.float32


def test_without_samples(tmp_path):
    ds = xr.Dataset({"u": (("time", "x"), np.random.default_rng().normal(size=(5, 8)))})
    np.testing.assert_array_equal(open(write(ds, tmp_path / "one.nc")).u, ds.u)


def test_only_a_dataset(tmp_path):
    with pytest.raises(InputError, match=r"write takes an xarray\.Dataset, got ndarray"):
        write(np.zeros(3), tmp_path / "x.nc")


def test_existing_target(ds, tmp_path):
    path = tmp_path / "run.nc"
    path.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"run\.nc: exists already; give overwrite=True \(--overwrite\)"):
        write(ds, path)
    assert path.read_bytes() == b"mine"
    write(ds, path, overwrite=True)
    assert open(path).u.shape == (7, 8, 6)


def test_overwriting_the_file_that_is_read(ds, tmp_path):
    path = write(ds, tmp_path / "run.nc")
    lazy = open(path)
    write(lazy.isel(sample=slice(2, 5)), path, overwrite=True)
    np.testing.assert_array_equal(open(path).u, ds.u[2:5])
    nothing_left(tmp_path, "run.nc")


def test_target_that_appears_meanwhile(ds, tmp_path):
    path = tmp_path / "run.nc"
    with pytest.raises(DataError, match="exists already"), StreamWriter(path, ds, 7) as writer:
        writer.append(ds)
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    nothing_left(tmp_path, "run.nc")


@pytest.mark.parametrize(
    ("name", "message"), [("", "a folder; give"), ("no/run.nc", "there is no folder .*no; create")]
)
def test_impossible_target(ds, tmp_path, name, message):
    with pytest.raises(DataError, match=message):
        write(ds, tmp_path / name)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "no permission in that folder"),
        (OSError(errno.EROFS, "Read-only file system"), "no permission in that folder"),
    ],
)
def test_no_write_permission(ds, tmp_path, monkeypatch, error, message):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(appending.h5netcdf, "File", refuse)
    with pytest.raises(DataError, match=rf"run\.nc: not written, {message}") as caught:
        write(ds, tmp_path / "run.nc")
    assert "\n" not in str(caught.value)
    nothing_left(tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("Can't write data (file write failed: errno = 28, error message = 'No space left on device')"),
        RuntimeError("unable to flush (errno = 28, error message = 'No space left on device')"),
    ],
)
@pytest.mark.parametrize("moment", ["append", "close", "rename"])
def test_disk_full(ds, tmp_path, monkeypatch, error, moment):
    def refuse(*args, **kwargs):
        raise error

    target = {
        "append": (appending.StreamWriter, "_checked_count"),
        "close": (appending.h5netcdf.File, "close"),
        "rename": (appending.os, "replace"),
    }[moment]
    monkeypatch.setattr(*target, refuse)
    with pytest.raises(DataError, match=r"run\.nc: not written, the disk is full.*; free space"):
        write(ds, tmp_path / "run.nc")
    nothing_left(tmp_path)


def test_disk_full_for_real(tmp_path):
    """Where a process may write 1 MiB a file, HDF5 meets the same error as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(DataError, match=r"run\.nc: not written, the disk is full or the quota used up; free space"):
            write(xr.Dataset({"u": (("sample", "x"), np.ones((64, 1 << 15)))}), tmp_path / "run.nc")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    nothing_left(tmp_path)


def test_interrupt_inside_of_a_write(ds, tmp_path, monkeypatch):
    sink_write = appending.Sink.write
    monkeypatch.setattr(appending.Sink, "write", lambda self, data: sink_write(self, data) if self._stop() else 0)

    def stop(self):
        self._error = self._error or KeyboardInterrupt()
        return True

    monkeypatch.setattr(appending.Sink, "_stop", stop, raising=False)
    with pytest.raises(KeyboardInterrupt):
        write(ds, tmp_path / "run.nc")
    nothing_left(tmp_path)


def test_interrupt_leaves_nothing(ds, tmp_path, monkeypatch):
    monkeypatch.setattr(copying, "_BLOCK_BYTES", 1)
    copy, calls = appending.copy_blocks, []

    def interrupted(*args):
        for item in copy(*args):
            calls.append(item)
            if len(calls) == 40:
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(appending, "copy_blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(ds, tmp_path / "run.nc")
    nothing_left(tmp_path)


def test_error_of_the_caller_leaves_nothing(ds, tmp_path):
    with pytest.raises(ZeroDivisionError), StreamWriter(tmp_path / "run.nc", ds, 14) as writer:
        writer.append(ds)
        assert len(list(tmp_path.iterdir())) == 1
        raise ZeroDivisionError
    nothing_left(tmp_path)


def test_stream_of_blocks(ds, tmp_path):
    path = tmp_path / "run.nc"
    with StreamWriter(path, ds.isel(sample=slice(0, 1)), 7) as writer:
        for start, stop in ((0, 3), (3, 4), (4, 7)):
            writer.append(ds.isel(sample=slice(start, stop)).transpose())
            assert not path.exists()
    xr.testing.assert_identical(xr.open_dataset(path).drop_attrs(), ds.drop_attrs())
    assert writer.written == 7


@pytest.mark.parametrize("count", [3, 8])
def test_stream_counts_samples(ds, tmp_path, count):
    error, message = (
        (InputError, "7 samples come, 3 were") if count == 3 else (DataError, "7 samples were written of 8")
    )
    with pytest.raises(error, match=message), StreamWriter(tmp_path / "run.nc", ds, count) as writer:
        writer.append(ds)
    nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.drop_vars("u"), r"'u' has the dimensions \('sample', 'x', 'y'\), a block lacks it"),
        (lambda ds: ds.isel(y=0), "a block has it with the dimensions"),
        (lambda ds: ds.isel(x=slice(4)), "dimension 'x' has length 8, in a block 4"),
    ],
)
def test_stream_checks_blocks(ds, tmp_path, change, message):
    with pytest.raises(InputError, match=message), StreamWriter(tmp_path / "run.nc", ds, 7) as writer:
        writer.append(change(ds))
    nothing_left(tmp_path)


def blocks_of(values, **attrs):
    return xr.Dataset({"u": (("sample", "x"), values, attrs)}, {"x": ("x", [0.0, 0.5, 1.0], {"units": "m"})})


@pytest.mark.parametrize(
    ("template", "block", "message"),
    [
        (np.int8, np.array([[1, 2, 1000]]), r"'u' is stored as int8.*\(int64\) holds 1000"),
        (np.uint8, np.array([[1, -2, 3]]), "holds -2"),
        (np.int32, np.array([[1, np.nan, 2]]), "holds nan"),
        (np.int64, np.array([[1, 2.0**63, 2]]), r"holds 9\.22"),
        (np.float32, np.array([[0, 1e300, 1]]), r"holds 1e\+300"),
        (np.float32, np.array([[0, 2**24 + 1, 1]]), "holds 16777217"),
        (np.float64, np.array([[0, 2**64 - 1, 1]], np.uint64), "holds 18446744073709551615"),
        (bool, np.array([[0, 0.5, 1]]), "'u' is stored as bool.*holds 0.5"),
        (bool, np.array([[0, 2, 1]], np.int8), "holds 2"),
        (np.float64, np.array([[0, 1j, 1]]), "float64 in the template, complex128 in a block"),
        (np.float64, np.array([["1", "2", "3"]]), "float64 in the template, <U1 in a block"),
        (np.int64, np.zeros((1, 3), "M8[ns]"), "int64 in the template, datetime64"),
        (object, np.zeros((1, 3)), "object in the template, float64"),
    ],
)
@pytest.mark.parametrize("resume", [False, True])
def test_stream_casts_nothing_away(tmp_path, template, block, message, resume):
    first = blocks_of(np.full((1, 3), "a", object) if template is object else np.zeros((1, 3), template))
    with (
        pytest.raises(InputError, match=rf"run\.nc: .*{message}") as caught,
        StreamWriter(tmp_path / "run.nc", first, 2, resume=resume) as writer,
    ):
        writer.append(first)
        writer.append(blocks_of(block))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run.nc").exists()
    if resume:
        with StreamWriter(tmp_path / "run.nc", first, 2, resume=True) as writer:
            assert writer.written == 1
            writer.append(first)


@pytest.mark.parametrize(
    ("template", "block"),
    [
        (np.float32, np.array([[0.1, np.nan, -np.inf]])),
        (np.float32, np.array([[1, -(2**24), 3]])),
        (np.float64, np.array([[True, False, True]])),
        (np.int8, np.array([[-128.0, 127.0, 0.0]])),
        (np.uint8, np.array([[0, 255, 1]])),
        (bool, np.array([[0.0, 1.0, 1.0]])),
    ],
)
def test_stream_casts_that_lose_nothing(tmp_path, template, block):
    with StreamWriter(tmp_path / "run.nc", blocks_of(np.zeros((1, 3), template)), 1) as writer:
        writer.append(blocks_of(block))
    with xr.open_dataset(tmp_path / "run.nc") as found:
        assert found.u.dtype == template
        np.testing.assert_array_equal(found.u.values, block.astype(template))


def test_stream_checks_units_and_coordinates(tmp_path):
    template, values = blocks_of(np.zeros((1, 3)), units="m/s"), np.ones((1, 3))
    kilometres = blocks_of(values).assign_coords(x=("x", [0.0, 0.5, 1.0], {"units": "km"}))
    for block, message in (
        (blocks_of(values, units="km/h"), "'u' has the units 'm/s' in the template, 'km/h' in a block"),
        (blocks_of(values).assign_coords(x=[0.0, 0.4, 1.0]), "'x' is x 3, from 0 to 1 in the template, x 3, from 0"),
        (kilometres, "'x' has the units 'm' in the template, 'km' in a block"),
    ):
        with pytest.raises(InputError, match=message), StreamWriter(tmp_path / "a.nc", template, 1) as writer:
            writer.append(block)
        nothing_left(tmp_path)
    with StreamWriter(tmp_path / "a.nc", template, 2) as writer:
        writer.append(blocks_of(values))
        writer.append(blocks_of(values).drop_vars("x"))


@pytest.mark.parametrize("block", [None, {}, np.zeros((1, 3))])
def test_append_takes_data_sets(ds, tmp_path, block):
    with (
        pytest.raises(InputError, match=r"append takes an xarray\.Dataset, got"),
        StreamWriter(tmp_path / "run.nc", ds, 7) as writer,
    ):
        writer.append(block)
    nothing_left(tmp_path)


@pytest.mark.parametrize("count", [-1, None, "3", float("nan"), 2.0, True, 2**63])
def test_the_number_of_samples_is_a_number(ds, tmp_path, count):
    with pytest.raises(InputError, match=r"n_samples= is a whole number from 0"):
        StreamWriter(tmp_path / "run.nc", ds, count)
    nothing_left(tmp_path)


def test_the_template_is_a_data_set(tmp_path):
    with pytest.raises(InputError, match=r"the template is an xarray\.Dataset, got dict"):
        StreamWriter(tmp_path / "run.nc", {}, 1)


@pytest.mark.parametrize("path", [1, b"x.nc", ["q.h5"], "a\0.nc", "\ud800.nc", None])
def test_what_is_no_path(ds, tmp_path, path):
    for call in (lambda: write(ds, path), lambda: StreamWriter(path, ds, 7), lambda: open(path)):
        with pytest.raises((InputError, DataError)) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_layout_is_a_name(ds, tmp_path):
    with pytest.raises(InputError, match=r"layout= is a name, got \[\]"):
        write(ds, tmp_path / "run.nc", layout=[])


@pytest.mark.parametrize("name", ["run.nc", "run.zarr"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_only_files_and_stores_are_replaced(ds, tmp_path, name, overwrite):
    path = tmp_path / name
    for make, what in (
        (lambda: os.mkfifo(path), "a device, pipe or socket"),
        (lambda: path.symlink_to(tmp_path / "nowhere"), "a link"),
        (lambda: path.symlink_to(path), "a link"),
    ):
        make()
        with pytest.raises(DataError, match=f"{what}, which is not replaced"):
            write(ds, path, overwrite=overwrite)
        nothing_left(tmp_path, name)
        path.unlink()


@pytest.mark.parametrize("moment", ["move", "delete"])
def test_an_interrupt_while_a_store_is_replaced(ds, tmp_path, monkeypatch, moment):
    path = write(ds, tmp_path / "run.zarr")
    place = (target.os, "replace") if moment == "move" else (target.shutil, "rmtree")
    whole, calls = getattr(*place), []

    def interrupted(*args, **kwargs):
        ours = args[1] == path if moment == "move" else str(args[0]).endswith(".old")  # zarr moves files too
        if ours and not calls:
            calls.append(args)
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(*place, interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(2 * ds.drop_vars("inside"), path, overwrite=True)
    nothing_left(tmp_path, "run.zarr")
    np.testing.assert_array_equal(open(path).u.values, ds.u.values * (1 if moment == "move" else 2))


def test_what_zarr_still_writes_is_waited_for(tmp_path, monkeypatch):
    """Chunks are written in another thread, which goes on after an interrupt here."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import _get_loop
    from zarr.storage import LocalStore

    from sciops.data.writing.writers import zarr_store

    async def slow(store):
        await asyncio.sleep(0.3)
        value = default_buffer_prototype().buffer.from_bytes(b"late")
        await LocalStore(store).set("u/c/0/0", value)

    def background(*args):
        (store,) = tmp_path.iterdir()
        running.append(asyncio.run_coroutine_threadsafe(slow(store), _get_loop()))
        raise KeyboardInterrupt

    running = []
    monkeypatch.setattr(zarr_store, "copy_blocks", background)
    ds = xr.Dataset({"u": (("sample", "x"), np.ones((2, 300_000)))})
    with pytest.raises(KeyboardInterrupt):
        write(ds, tmp_path / "run.zarr")
    running[0].result(10)
    nothing_left(tmp_path)


def test_long_names(ds, tmp_path):
    assert write(ds, tmp_path / ("a" * 252 + ".nc")).exists()
    for name in ("a" * 300 + ".nc", "a" * 300 + ".zarr"):
        with pytest.raises(DataError, match=r"not written.*File name too long"):
            write(ds, tmp_path / name)


def test_no_permission_to_look(ds, tmp_path, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(target.os, "lstat", refuse)
        with pytest.raises(DataError, match="no permission"):
            write(ds, tmp_path / "run.nc")


def test_append_needs_an_open_writer(ds, tmp_path):
    with pytest.raises(InputError, match="cannot append, it is not open: use it in a with statement"):
        StreamWriter(tmp_path / "run.nc", ds, 7).append(ds)
    nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("shape", "sample", "chunks"),
    [
        ((1000, 64, 64), 0, (8, 64, 64)),
        ((100, 256, 256), 0, (1, 256, 256)),
        ((4, 8), 0, None),
        ((16, 1000), 1, (16, 1000)),
        ((10, 200, 512, 512), 0, (1, 8, 512, 512)),
    ],
)
def test_chunks_hold_whole_samples(shape, sample, chunks):
    found = chunk_shape(shape, 8, sample)
    if chunks == shape:
        assert found in (None, chunks)
    else:
        assert found == chunks


def test_written_chunks(tmp_path):
    ds = xr.Dataset({"u": (("sample", "x", "y"), np.zeros((40, 64, 64)))})
    with h5py.File(write(ds, tmp_path / "run.nc")) as file:
        assert file["u"].chunks == (8, 64, 64)


def test_streams_in_bounded_memory(tmp_path, monkeypatch):
    path, shape = tmp_path / "big.h5", (64, 256, 256)
    with h5py.File(path, "w") as file:
        file.create_dataset("u", shape, "f4", chunks=(1, 256, 256), fillvalue=1.5)
        file.create_dataset("still", (4096, 1024), "f4", fillvalue=2.5)
    monkeypatch.setattr(copying, "_BLOCK_BYTES", 1 << 20)
    ds = open(path, dims={"u": ("sample", "x", "y"), "still": ("p", "q")})
    sizes = []
    read = StoredArray._read
    monkeypatch.setattr(StoredArray, "_read", lambda *a: sizes.append((out := read(*a)).nbytes) or out)
    tracemalloc.start()
    write(ds, tmp_path / "copy.nc")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(sizes) >= 32 << 20
    assert max(sizes) <= 1 << 20
    assert peak < 8 << 20
    assert float(open(tmp_path / "copy.nc").u[-1, -1, -1]) == 1.5


def test_permissions_follow_the_umask(ds, tmp_path):
    path = write(ds, tmp_path / "run.nc")
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize(
    "attrs",
    [
        {"missing_value": 1.0},
        {"_FillValue": 1.0},
        {"_Unsigned": "true", "dtype": "bool"},
        {"scale_factor": 2.0, "add_offset": 1.0},
        {"NAME": "q", "CLASS": "DIMENSION_SCALE", "_Encoding": "ascii"},
    ],
)
@pytest.mark.parametrize("dtype", ["f8", "i2"])
def test_attributes_that_would_decode_the_values(tmp_path, attrs, dtype):
    given = {**attrs, "units": "m"}
    ds = xr.Dataset({"u": (("sample", "x"), np.array([[0, 1], [2, -3]], dtype), given), "q": ("x", [1.0, 2.0], given)})
    path = write(ds.assign_attrs(given), tmp_path / "a.nc")
    for again in (open(path), xr.open_dataset(path)):
        for name in ("u", "q"):
            np.testing.assert_array_equal(again[name].values, ds[name].values)
            assert (again[name].dtype, again[name].attrs) == (ds[name].dtype, {"units": "m"})


@pytest.mark.parametrize("name", ["a/b", "", ".", "a\0b", "\ud800"])
@pytest.mark.parametrize("what", ["variable", "dimension"])
def test_names_that_netcdf_does_not_hold(tmp_path, name, what):
    dims, variable = (("sample", "x"), name) if what == "variable" else (("sample", name), "u")
    with pytest.raises(InputError, match=r"bad\.nc: a variable or dimension is called '.*rename") as caught:
        write(xr.Dataset({variable: (dims, np.zeros((2, 3)))}), tmp_path / "bad.nc")
    assert "\n" not in str(caught.value)
    nothing_left(tmp_path)


@pytest.mark.parametrize("path", ["bad.nc", "bad.zarr"])
@pytest.mark.parametrize("name", [1, None])
def test_names_that_are_no_text(tmp_path, name, path):
    with pytest.raises(InputError, match=f"a variable or dimension is called {name}, which is no text"):
        write(xr.Dataset({name: ("x", [1.0]), "1": ("x", [2.0])}), tmp_path / path)
    nothing_left(tmp_path)


@pytest.mark.parametrize("name", ["a\\b", "zarr.json", "__a"])
def test_names_that_zarr_does_not_hold(tmp_path, name):
    with pytest.raises(InputError, match="names in Zarr hold no backslash"):
        write(xr.Dataset({name: ("x", [1.0])}), tmp_path / "bad.zarr")
    nothing_left(tmp_path)


@pytest.mark.parametrize("path", ["bad.nc", "bad.zarr"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 3), np.longdouble), "'u' has the dtype float128"),
        (np.zeros((2, 3), "V4"), "'u' h"),
        (np.full((2, 3), "a\0b"), "'u' holds the text 'a.*with NUL"),
    ],
)
def test_values_that_are_not_stored(tmp_path, values, message, path):
    for dims in (("sample", "x"), ("y", "x")):
        with pytest.raises(InputError, match=message) as caught:
            write(xr.Dataset({"u": (dims, values)}), tmp_path / path)
        assert "\n" not in str(caught.value)
    nothing_left(tmp_path)


def test_odd_attributes_become_json(tmp_path):
    odd = {"nul": "a\0b", "big": 2**70, "set": {3}, "complex": 1 + 2j, "texts": ["a\0", "b"], "raw": b"a\0b"}
    odd |= {"surrogate": "\ud800", "pair": [1j, 2j], "most": 2**64 - 1, "least": -(2**63)}
    again = open(write(xr.Dataset({"u": ("x", [1.0, 2.0], odd)}, attrs=odd), tmp_path / "a.nc"))
    for found in (again.attrs, again.u.attrs):
        assert (found["nul"], found["raw"], found["big"]) == (json.dumps("a\0b"), json.dumps("a\0b"), str(2**70))
        assert (found["set"], found["complex"], found["texts"]) == ('"{3}"', '"(1+2j)"', json.dumps(["a\0", "b"]))
        assert (found["most"], found["least"]) == (2**64 - 1, -(2**63))


@pytest.mark.parametrize(("key", "value"), [("k", {(1, 2): 3}), ("", 1), ("a\0", 1)])
def test_attributes_that_cannot_be_kept(tmp_path, key, value):
    for ds, where in (
        (xr.Dataset({"u": ("x", [1.0], {key: value})}), "'u': "),
        (xr.Dataset({"v": 1}, attrs={key: value}), ""),
    ):
        with pytest.raises(InputError, match=rf"bad\.nc: {where}the attribute '.*' cannot be kept") as caught:
            write(ds, tmp_path / "bad.nc")
        assert "\n" not in str(caught.value)
    nothing_left(tmp_path)


@pytest.mark.parametrize("name", ["q.txt", "q.csv", "q.npz", "q.MAT"])
@pytest.mark.parametrize("layout", [None, "pdebench-1d"])
def test_names_of_other_kinds_of_files(ds, tmp_path, name, layout):
    with pytest.raises(
        InputError, match=r"is netCDF4/HDF5, no \.\w+ file; end the name in \.h5, \.hdf5 or \.nc"
    ) as error:
        write(ds, tmp_path / name, layout)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_nothing_to_write(tmp_path):
    for name in ("run.h5", "run.zarr"):
        with pytest.raises(InputError, match="the data set has no variables"):
            write(xr.Dataset(coords={"x": [0.0, 1.0]}), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_writers_say_what_they_are(ds, tmp_path):
    count = ds.sizes["sample"]
    with StreamWriter(tmp_path / "run.h5", ds, count) as writer:
        assert repr(writer) == f"StreamWriter('{tmp_path / 'run.h5'}', 0 of {count} samples written)"
        writer.append(ds)
        assert f"{count} of {count} samples written" in repr(writer)


def test_a_file_written_sample_by_sample_is_not_called_a_store(tmp_path):
    block = xr.Dataset({"u": (("sample", "x"), np.ones((1, 2)))})
    with pytest.raises(InputError, match=r"no Zarr store; call it run\.h5, and make the store of it by sciops convert"):
        StreamWriter(tmp_path / "run.zarr", block, 1)
    nothing_left(tmp_path)
