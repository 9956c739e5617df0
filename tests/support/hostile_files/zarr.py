"""Zarr stores, version 2 and 3, in folders and zip archives, whose metadata and chunks lie."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hostile_files.archives import bomb, members
from hostile_files.base import SECRET, Hostile, hostile
from hostile_files.hdf5 import GIB, U, gzip_of_zeros, pipe

CASES: list[Hostile] = []
SUM = {"u": 276.0}


def array(shape=(3, 8), chunks=None, *, codecs=(), names=("sample", "x"), **more: Any) -> str:
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": "float64",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks or shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, *codecs],
        "attributes": {},
        "dimension_names": names,
    }
    return json.dumps(document | more)


GROUP = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}})


def store(path: Path, metadata: str, chunk: bytes | None = None, name: str = "u") -> Path:
    """A group with one array and its first chunk."""
    (path / name / "c" / "0").mkdir(parents=True)
    (path / "zarr.json").write_text(GROUP)
    (path / name / "zarr.json").write_text(metadata)
    if chunk is not None:
        (path / name / "c" / "0" / "0").write_bytes(chunk)
    return path


@hostile(CASES, "a.zarr", sums=SUM)
def a_plain_store(path, rng):
    store(path, array(), U.tobytes())


@hostile(CASES, "a.zarr", "declares|unpack|more")
def a_store_that_unpacks_to_a_gigabyte(path, rng):
    packed = {"name": "zlib", "configuration": {"level": 1}}
    metadata = {"zarr_format": 2, "shape": [3, GIB // 8], "chunks": [1, GIB // 8], "dtype": "<f8", "order": "C"}
    codec = {"compressor": {"id": packed["name"], "level": 1}, "filters": None, "fill_value": 0.0}
    (path / "u").mkdir(parents=True)
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    (path / "u" / ".zarray").write_text(json.dumps(metadata | codec))
    (path / "u" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["sample", "x"]}')
    (path / "u" / "0.0").write_bytes(gzip_of_zeros(GIB))


@hostile(CASES, "a.zarr")
def a_chunk_that_unpacks_to_more_than_it_should(path, rng):
    store(path, array(codecs=[{"name": "gzip", "configuration": {"level": 1}}]), gzip.compress(bytes(1 << 27), 1))


@hostile(CASES, "a.zarr")
def a_store_never_written(path, rng):
    store(path, array((10, 1 << 20, 1 << 20), (1, 64, 64), names=("sample", "x", "y")))


@hostile(CASES, "a.zarr", "declares")
def a_store_of_huge_coordinates(path, rng):
    store(path, array((3, 8)), U.tobytes())
    (path / "x").mkdir()
    (path / "x" / "zarr.json").write_text(array((1 << 27,), (1 << 10,), names=("x",)))
    (path / "w").mkdir()
    (path / "w" / "zarr.json").write_text(array((1 << 27,), (1 << 10,), names=("x",)))
    (path / "u" / "zarr.json").write_text(array((3, 8), names=("sample", "y")))


@hostile(CASES, "a.zarr")
def a_store_of_one_huge_chunk(path, rng):
    store(path, array((3, 1 << 30)))


@hostile(CASES, "a.zarr")
def a_store_of_billions_of_chunks(path, rng):
    store(path, array((1 << 20, 1 << 10), (1, 1)))


@hostile(CASES, "a.zarr")
def a_store_of_negative_shape(path, rng):
    store(path, array((-3, 8), (3, 8)), U.tobytes())


@hostile(CASES, "a.zarr")
def a_store_with_chunks_of_nothing(path, rng):
    store(path, array((3, 8), (0, 8)), U.tobytes())


@hostile(CASES, "a.zarr")
def a_store_of_numbers_that_are_none(path, rng):
    store(path, array((3, 8)).replace("[3, 8]", "[1e400, NaN]"), U.tobytes())


@hostile(CASES, "a.zarr")
def a_store_of_unknown_codecs(path, rng):
    store(path, array(codecs=[{"name": "numcodecs.pickle"}, {"name": "../../x"}]), U.tobytes())


@hostile(CASES, "a.zarr", "objects|pickle|object")
def a_store_of_python_objects(path, rng):
    document = {"zarr_format": 2, "shape": [3], "chunks": [3], "dtype": "|O", "order": "C", "fill_value": None}
    (path).mkdir(parents=True)
    (path / ".zarray").write_text(json.dumps(document | {"filters": [{"id": "pickle"}], "compressor": None}))


@hostile(CASES, "a.zarr")
def a_store_with_metadata_nested_deeply(path, rng):
    store(path, '{"attributes": ' + "[" * 100_000, U.tobytes())


@hostile(CASES, "a.zarr")
def a_store_of_deep_groups(path, rng):
    for _ in range(200):
        path.mkdir()
        (path / "zarr.json").write_text(GROUP)
        path = path / "g"
    path.mkdir()
    (path / "zarr.json").write_text(array())


@hostile(CASES, "a.zarr")
def a_store_with_a_chunk_elsewhere(path, rng):
    other = path.with_name("secret.bin")
    other.write_bytes(np.full((3, 8), SECRET).tobytes())
    os.symlink(other, store(path, array()) / "u" / "c" / "0" / "0")


@hostile(CASES, "a.zarr")
def a_store_with_a_chunk_in_a_pipe(path, rng):
    os.symlink(pipe(path), store(path, array()) / "u" / "c" / "0" / "0")


@hostile(CASES, "a.zarr")
def a_store_with_a_pipe_for_a_chunk(path, rng):
    os.mkfifo(store(path, array()) / "u" / "c" / "0" / "0")


@hostile(CASES, "a.zarr")
def a_store_with_metadata_in_a_pipe(path, rng):
    path.mkdir()
    os.mkfifo(path / "zarr.json")


@hostile(CASES, "a.zarr")
def a_store_within_itself(path, rng):
    os.symlink("..", store(path, array(), U.tobytes()) / "again")


@hostile(CASES, "a.zarr")
def a_store_of_odd_names(path, rng):
    store(path, array(names=["..", "a\nb"]), U.tobytes(), name="u\nv")


@hostile(CASES, "a.zarr")
def a_store_with_a_cut_chunk(path, rng):
    store(path, array(), U.tobytes()[: int(rng.integers(0, 192))])


@hostile(CASES, "a.zarr")
def a_shard_that_lies(path, rng):
    inner = {"chunk_shape": [1, 8], "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]}
    config = inner | {"index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]}
    metadata = json.loads(array())
    metadata["codecs"] = [{"name": "sharding_indexed", "configuration": config}]
    index = rng.integers(0, 2**63, 6).astype("<u8").tobytes()
    store(path, json.dumps(metadata), U.tobytes() + index)


@hostile(CASES, "a.zip", sums=SUM)
def a_zipped_store(path, rng):
    members(path, {"zarr.json": GROUP.encode(), "u/zarr.json": array().encode(), "u/c/0/0": U.tobytes()})


@hostile(CASES, "a.zip")
def a_zipped_store_of_bombs(path, rng):
    bomb(path, ["zarr.json", "u/zarr.json"], GROUP.encode(), GIB)


@hostile(CASES, "a.zip")
def a_zipped_store_that_climbs_out(path, rng):
    members(path, {"zarr.json": GROUP.encode(), "../u/zarr.json": array().encode(), "/etc/u/c/0/0": U.tobytes()})


@hostile(CASES, "a.zip")
def a_zipped_store_cut_short(path, rng):
    members(path, {"zarr.json": GROUP.encode(), "u/zarr.json": array().encode(), "u/c/0/0": zlib.compress(U.tobytes())})
    path.write_bytes(path.read_bytes()[: int(rng.integers(10, 700))])
