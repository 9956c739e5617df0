"""Zarr stores: every codec against the library of the format, laziness, and stores that must not be trusted."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import os
import re
import shutil
import struct
import sys
import warnings
import zlib

import numcodecs
import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from zarr import codecs as v3

from sciops.data.files import open, write
from sciops.data.reading.zarrstore import open_zarr
from sciops.data.reading.zarrstore.stores import FolderStore
from sciops.errors import DataError, LayoutError, MissingDependencyError, UnsafeFileError

SHAPE, CHUNKS = (7, 10, 5), (2, 4, 5)
KEYS = [
    (slice(None),) * 3,
    (2, slice(1, 9, 3), [4, 0]),
    ([6, 0, 3], slice(None), -1),
    (slice(None, None, -2), [], slice(2)),
]


@pytest.fixture
def rng(generator):
    return np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))


def outer(values, key):
    for axis, part in reversed(list(enumerate(key))):
        values = values[(slice(None),) * axis + (part,)]
    return values


def check(array, values):
    assert (array.shape, array.dtype) == (values.shape, values.dtype)
    for key in KEYS:
        np.testing.assert_array_equal(array[key], outer(values, key))


PACKERS_2 = [
    *(None, numcodecs.Blosc(), numcodecs.Blosc("zstd", 5, 2), numcodecs.Zstd(), numcodecs.GZip(), numcodecs.Zlib()),
    *(numcodecs.BZ2(), numcodecs.LZMA(), numcodecs.LZ4()),
]
FILTERS_2 = [
    None,
    [numcodecs.Delta("<f8")],
    [numcodecs.Shuffle(8), numcodecs.CRC32()],
    [numcodecs.Fletcher32()],
    [numcodecs.FixedScaleOffset(offset=0, scale=1000, dtype="<f8", astype="<i4")],
]


@pytest.mark.parametrize("packer", PACKERS_2, ids=lambda p: p.codec_id if p else "plain")
def test_packers_of_version_2(packer, tmp_path, rng):
    values = rng.normal(size=SHAPE)
    for order, dtype in itertools.product("CF", ("<f8", ">f4", "<i4", "<c16", "|b1")):
        path, typed = tmp_path / f"{order}{dtype[1:]}", values.astype(dtype)
        store = zarr.create_array(
            path, shape=SHAPE, dtype=dtype, chunks=CHUNKS, zarr_format=2, compressors=packer, order=order
        )
        store[...] = typed
        check(open_zarr(path)["data"], typed)


@pytest.mark.parametrize("filters", FILTERS_2, ids=lambda f: "-".join(c.codec_id for c in f) if f else "none")
def test_filters_of_version_2(filters, tmp_path, rng):
    store = zarr.create_array(tmp_path / "a", shape=SHAPE, dtype="<f8", chunks=CHUNKS, zarr_format=2, filters=filters)
    store[...] = rng.normal(size=SHAPE)
    check(open_zarr(tmp_path / "a")["data"], store[...])


@pytest.mark.parametrize("shards", [None, (4, 8, 10)], ids=["chunks", "shards"])
@pytest.mark.parametrize("order", [None, (2, 0, 1), (1, 2, 0)], ids=str)
def test_codecs_of_version_3(shards, order, tmp_path, rng):
    values = np.zeros(SHAPE)
    values[1:, :6] = rng.normal(size=SHAPE)[1:, :6]
    packers = [None, v3.BloscCodec(), v3.ZstdCodec(), v3.GzipCodec(), [v3.ZstdCodec(checksum=True), v3.Crc32cCodec()]]
    for i, (packer, endian) in enumerate(itertools.product(packers, ("little", "big"))):
        filters = {} if order is None else {"filters": [v3.TransposeCodec(order=order)]}
        serializer = v3.BytesCodec(endian=endian)
        path = tmp_path / str(i)
        store = zarr.create_array(
            path,
            shape=SHAPE,
            dtype="f8",
            chunks=CHUNKS,
            compressors=packer,
            shards=shards,
            serializer=serializer,
            **filters,
        )
        store[1:, :6] = values[1:, :6]
        check(open_zarr(path)["data"], values)


def test_texts_numbers_without_axes_and_groups(tmp_path):
    group = zarr.create_group(tmp_path / "g")
    group.attrs["title"] = "run"
    names = group.create_array("names", shape=(3,), dtype=str, chunks=(2,))
    names[:] = np.array(["a", "bcd", "é"])
    group.create_group("deep").create_array("one", shape=(), dtype="i2")[...] = 7
    found = open_zarr(tmp_path / "g")
    assert found["names"][slice(None)].tolist() == ["a", "bcd", "é"]
    assert found["deep/one"][()] == 7
    assert (found.attributes["title"], set(found)) == ("run", {"names", "deep/one"})


@pytest.fixture
def run(rng):
    ds = xr.Dataset(
        {
            "u": (("sample", "time", "channel_u", "x"), rng.normal(size=(4, 3, 2, 8)), {"units": "m/s", "rank": 0}),
            "nu": ("sample", rng.random(4)),
            "solid": ("x", rng.random(8) > 0.5, {"role": "mask"}),
            "count": ("sample", np.arange(4)),
        },
        coords={"time": [0.0, 0.5, 1.0], "split": ("sample", np.array(["train", "test", "test", "é"], object))},
        attrs={"channel_dims": ["channel_u"]},
    )
    return ds


@pytest.mark.parametrize("version", [2, 3])
def test_the_native_layout_opens_as_in_netcdf(version, run, tmp_path):
    native = open(write(run, tmp_path / "run.nc"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        native.to_zarr(tmp_path / "run.zarr", zarr_format=version)
    found = open(tmp_path / "run.zarr")
    assert found.attrs["layout"] == "native"
    assert "Zarr" in found.attrs["layout_reason"]
    del native.attrs["layout_reason"], found.attrs["layout_reason"]
    for name in native.variables:
        assert (found[name].dtype, found[name].dims) == (native[name].dtype, native[name].dims), name
    xr.testing.assert_identical(found, native)


def test_a_zipped_folder(run, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run.to_zarr(tmp_path / "run.zarr")
    path = shutil.make_archive(str(tmp_path / "run"), "zip", tmp_path, "run.zarr")
    xr.testing.assert_equal(open(path).drop_vars("x"), run)


def test_only_the_chunks_asked_for_are_read(tmp_path, monkeypatch):
    xr.Dataset({"u": (("sample", "x"), np.ones((100, 64)))}).chunk(sample=1).to_zarr(tmp_path / "u.zarr", zarr_format=2)
    read = []
    original = FolderStore.read
    monkeypatch.setattr(
        FolderStore, "read", lambda self, key, *a, **k: read.append(key) or original(self, key, *a, **k)
    )
    ds = open(tmp_path / "u.zarr")
    assert not [key for key in read if not key.rsplit("/", 1)[-1].startswith(".z")]
    read.clear()
    assert ds.u[[7, 3]].values.sum() == 128
    assert sorted(read) == ["u/3.0", "u/7.0"]


def test_fill_values_mark_what_is_missing_but_zero_does_not(tmp_path):
    group = zarr.create_group(tmp_path / "g", zarr_format=2)
    for name, fill in (("zero", 0), ("missing", -9999)):
        array = group.create_array(name, shape=(4,), dtype="f8", chunks=(2,), fill_value=fill)
        array.attrs["_ARRAY_DIMENSIONS"] = ["sample"]
        array[:2] = [1.0, fill]
    ds = open(tmp_path / "g")
    assert ds.zero.values.tolist() == [1, 0, 0, 0]
    np.testing.assert_array_equal(ds.missing.values, [1, np.nan, np.nan, np.nan])


def with_missing(path, dtype, fill):
    """A store of version 3 with the values 7, 1, 2 and an attribute _FillValue."""
    array = zarr.create_array(path / "u", shape=(3,), chunks=(3,), dtype=dtype, zarr_format=3, dimension_names=["x"])
    array[:] = np.array([7, 1, 2], dtype)
    zarr.open_group(path, mode="a")
    document = json.loads((path / "u" / "zarr.json").read_text())
    document["attributes"] = {"_FillValue": fill}
    (path / "u" / "zarr.json").write_text(json.dumps(document))
    return path


SEVEN = base64.b64encode(struct.pack("<d", 7.0)).decode()


@pytest.mark.parametrize(
    ("dtype", "fill", "missing"),
    [
        *(("f4", SEVEN, True), ("f8", 7, True), ("f8", "NaN", False), ("f8", None, False)),
        *(("i4", 7, True), ("u1", 7, True), ("u1", -249, None), ("u1", -1, False), ("i2", 7.0, True)),
        *(("f8", "!", None), ("f8", "NaNN", None), ("f8", [7.0], None), ("i4", 1.5, None), ("i4", "7", None)),
        *(("i4", True, None), ("u1", 256, None), ("i8", 1 << 70, None), ("i4", float("inf"), None)),
    ],
)
def test_what_marks_missing_values_is_a_value_or_refused(dtype, fill, missing, tmp_path):
    path = with_missing(tmp_path / "run.zarr", dtype, fill)
    if missing is None:
        refused(path, DataError, "'u' has _FillValue=.*, no value of .*; get the store anew")
    else:
        np.testing.assert_array_equal(open(path).u, [np.nan if missing else 7, 1, 2])


def test_without_names_of_dimensions_it_is_declared(tmp_path):
    zarr.create_array(tmp_path / "u.zarr", shape=(3, 8), dtype="f4")
    with pytest.raises(LayoutError, match=r"u\.zarr: no known layout; it holds data \(3, 8\) float32; declare"):
        open(tmp_path / "u.zarr")
    assert open(tmp_path / "u.zarr", dims={"data": ("sample", "x")}).data.dims == ("sample", "x")


# stores that must not be trusted


def array_2(folder, content=None, attributes=None, **changes):
    """A store of version 2 with the array u of the shape (4,) and one chunk."""
    (folder / "u").mkdir(parents=True)
    metadata = {"zarr_format": 2, "shape": [4], "chunks": [4], "dtype": "<f8", "fill_value": 0.0, "order": "C"}
    metadata |= {"compressor": None, "filters": None}
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / "u" / ".zarray").write_text(json.dumps(metadata | changes))
    (folder / "u" / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": ["sample"]} | (attributes or {})))
    if content is not None:
        (folder / "u" / "0").write_bytes(content)
    return folder


def refused(path, kind, *parts, read=False):
    with pytest.raises(kind) as error:
        ds = open(path)
        if read:
            ds.u.values  # noqa: B018
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert re.search(part, message), (part, message)


BAD_METADATA = {
    "pickle": ({"dtype": "|O", "filters": [{"id": "pickle"}]}, UnsafeFileError, "Python objects.*'pickle'"),
    "json": ({"dtype": "|O", "filters": [{"id": "json2"}]}, UnsafeFileError, "Python objects"),
    "objects": ({"dtype": "|O"}, UnsafeFileError, "holds Python objects, which are never loaded"),
    "codec": ({"compressor": {"id": "blosk"}}, DataError, "packed by 'blosk'; did you mean 'blosc'"),
    "filter type": ({"filters": [{"id": "delta", "dtype": "S99999999"}]}, DataError, "'delta' of 'S99999999'"),
    "chunks": ({"chunks": [1 << 40]}, DataError, r"chunks \(1099511627776,\).*write it with smaller chunks"),
    "no chunks": ({"chunks": [0]}, DataError, "chunks"),
    "axes": ({"chunks": [4, 4]}, DataError, "as many axes"),
    "negative": ({"shape": [-4]}, DataError, "the shape .*whole numbers"),
    "shape": ({"shape": "many"}, DataError, "the shape 'many'; whole numbers"),
    "type": ({"dtype": [["a", "<f8"]]}, DataError, "data type .*not numeric"),
    "fill": ({"fill_value": "much"}, DataError, "filled by 'much', no value of float64"),
    "separator": ({"dimension_separator": "/../"}, DataError, "separates the names of chunks by '/../'"),
}


@pytest.mark.parametrize(("changes", "kind", "message"), BAD_METADATA.values(), ids=BAD_METADATA)
def test_metadata_that_are_refused(changes, kind, message, tmp_path):
    refused(array_2(tmp_path / "bad.zarr", **changes), kind, r"bad\.zarr: 'u'", message)


def blosc_that_lies():
    packed = bytearray(numcodecs.Blosc().encode(np.zeros(4)))
    packed[4:8] = struct.pack("<I", 1 << 30)
    return bytes(packed)


def zstd_that_lies():
    return struct.pack("<IBBQ", 0xFD2FB528, 0xC0, 0, 1 << 40) + b"\x01\x00\x00"


def zstd_of_runs():
    """Blocks of 128 KiB in 4 bytes each, no size declared."""
    block = (128 << 10) << 3 | 1 << 1
    return struct.pack("<IBB", 0xFD2FB528, 0, 0x70) + (block.to_bytes(3, "little") + b"\0") * 8000 + b"\x01\x00\x00"


BOMBS = {
    "gzip": ({"id": "gzip"}, lambda: gzip.compress(bytes(1 << 26)), "more than the"),
    "zlib": ({"id": "zlib"}, lambda: zlib.compress(bytes(1 << 26)), "more than the"),
    "bz2": ({"id": "bz2"}, lambda: numcodecs.BZ2().encode(bytes(1 << 24)), "bytes are declared"),
    "lzma": ({"id": "lzma"}, lambda: numcodecs.LZMA().encode(bytes(1 << 24)), "bytes are declared"),
    "zstd": ({"id": "zstd"}, lambda: numcodecs.Zstd().encode(bytes(1 << 26)), "67108864 bytes are declared"),
    "zstd lies": ({"id": "zstd"}, zstd_that_lies, "1099511627776 bytes are declared"),
    "zstd runs": ({"id": "zstd"}, zstd_of_runs, "1048576000 bytes are declared"),
    "blosc": ({"id": "blosc"}, blosc_that_lies, "1073741824 bytes are declared"),
    "lz4": ({"id": "lz4"}, lambda: struct.pack("<i", 1 << 30) + b"\0" * 8, "1073741824 bytes are declared"),
    "plain": (None, lambda: bytes(1 << 20), "takes 1048576 bytes"),
    "short": (None, lambda: bytes(24), "24 bytes where a chunk"),
    "cut": ({"id": "zstd"}, lambda: numcodecs.Zstd().encode(np.arange(4.0))[:-3], "corrupt"),
    "cut gzip": ({"id": "gzip"}, lambda: gzip.compress(bytes(32))[:-3], "cut short"),
}


@pytest.mark.parametrize(("packer", "content", "message"), BOMBS.values(), ids=BOMBS)
def test_chunks_that_unpack_to_more_or_less(packer, content, message, tmp_path):
    import tracemalloc

    path = array_2(tmp_path / "bomb.zarr", content(), compressor=packer)
    tracemalloc.start()
    refused(path, DataError, r"bomb\.zarr: truncated or corrupt when reading 'u'", message, read=True)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("what", ["chunk", "array", "metadata"])
def test_links_out_of_the_store(what, tmp_path):
    path = array_2(tmp_path / "linked.zarr", np.ones(4).tobytes())
    outside = array_2(tmp_path / "outside.zarr", np.full(4, 7.0).tobytes())
    if what == "chunk":
        (path / "u" / "0").unlink()
        (path / "u" / "0").symlink_to(outside / "u" / "0")
    elif what == "metadata":
        (path / "u" / ".zarray").unlink()
        (path / "u" / ".zarray").symlink_to(outside / "u" / ".zarray")
    else:
        (path / "v").symlink_to(outside / "u")
    refused(path, UnsafeFileError, r"linked\.zarr: '.*' is a link, which may lead out of the store", read=True)


def test_a_link_to_the_store_itself_is_followed(tmp_path):
    array_2(tmp_path / "real.zarr", np.ones(4).tobytes())
    (tmp_path / "link.zarr").symlink_to(tmp_path / "real.zarr")
    assert open(tmp_path / "link.zarr").u.values.sum() == 4


def test_a_chunk_that_would_never_end(tmp_path):
    path = array_2(tmp_path / "fifo.zarr")
    os.mkfifo(path / "u" / "0")
    refused(path, UnsafeFileError, "'u/0' is no regular file", read=True)


@pytest.mark.parametrize("text", ["", "[1]", '{"shape": [4', "[" * 100_000, "\xff"])
def test_broken_metadata(text, tmp_path):
    path = array_2(tmp_path / "bad.zarr")
    (path / "u" / ".zarray").write_bytes(text.encode("latin-1"))
    refused(path, DataError, r"bad\.zarr: ")


def test_long_metadata(tmp_path):
    path = array_2(tmp_path / "bad.zarr")
    with (path / "u" / ".zattrs").open("r+b") as file:
        file.truncate(1 << 30)
    refused(path, DataError, r"'u/\.zattrs' takes 1073741824 bytes; at most")


def shard(tmp_path, spoil):
    path = tmp_path / "sharded.zarr"
    zarr.create_group(path)
    store = zarr.create_array(
        path, name="u", shape=(8,), dtype="f8", chunks=(2,), shards=(8,), dimension_names=["sample"], compressors=None
    )
    store[:] = np.arange(8.0)
    content = bytearray((path / "u/c/0").read_bytes())
    spoil(content)
    (path / "u/c/0").write_bytes(content)
    return path


def with_index(values):
    def spoil(content):
        index = struct.pack("<8Q", *values)
        content[-68:] = index + numcodecs.CRC32C().encode(index)[-4:].tobytes()

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (with_index([1 << 60, 16] * 4), "places a chunk at 1152921504606846976"),
        (with_index([0, 1 << 40] * 4), "places a chunk at 0 with 1099511627776 bytes"),
        (lambda content: content.__setitem__(-1, content[-1] ^ 1), "checksum"),
        (lambda content: content.__delitem__(slice(20, None)), "is cut short"),
    ],
)
def test_shards_that_lie(spoil, message, tmp_path):
    refused(shard(tmp_path, spoil), DataError, message, read=True)


def test_dimensions_that_differ(tmp_path):
    path = array_2(tmp_path / "bad.zarr")
    shutil.copytree(path / "u", path / "v")
    (path / "v" / ".zarray").write_text((path / "u" / ".zarray").read_text().replace('"shape": [4]', '"shape": [5]'))
    refused(path, LayoutError, "dimension 'sample' has length 5 in 'v' and 4 in 'u'; declare what to read by dims=")


def test_a_store_that_went_away(run, tmp_path):
    path = write(run, tmp_path / "run.zarr")
    ds = open(path)
    name = next(iter(ds.data_vars))
    shutil.rmtree(path)
    with pytest.raises(DataError, match=rf"run\.zarr: the array '{name}' is gone") as caught:
        ds[name].values  # noqa: B018
    assert "\n" not in str(caught.value)


def test_a_huge_array_that_is_not_there(tmp_path):
    path = array_2(tmp_path / "huge.zarr", shape=[1 << 50], chunks=[1 << 20])
    refused(path, UnsafeFileError, r"'u' of shape \(1125899906842624,\) declares .*more than 100 to 1")
    assert open(path, trust_links=True).u[-3:].values.tolist() == [0, 0, 0]


def test_without_numcodecs(tmp_path, monkeypatch):
    path = array_2(tmp_path / "b.zarr", numcodecs.Blosc().encode(np.zeros(4)), compressor={"id": "blosc"})
    monkeypatch.setitem(sys.modules, "numcodecs", None)
    refused(path, MissingDependencyError, r"pip install 'sciops\[formats\]'", read=True)
    plain = array_2(tmp_path / "g.zarr", gzip.compress(np.ones(4).tobytes()), compressor={"id": "gzip"})
    assert open(plain).u.values.sum() == 4
