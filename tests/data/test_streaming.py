"""Reads below xarray: the same values as xarray's, from the bytes asked for and no others."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import xarray as xr

import sciops.data
from sciops.data.reading.placement import placement
from sciops.data.reading.rows import FileRows, Slabs
from sciops.data.reading.source import VariableSource
from sciops.errors import DataError

DIMS = ("sample", "time", "channel", "x", "y")
SHAPE = (7, 11, 2, 4, 3)


def numbers(generator: torch.Generator, *shape: int) -> np.ndarray:
    return torch.randn(*shape, dtype=torch.float64, generator=generator).numpy()


def source_of(variable: xr.Variable) -> VariableSource:
    space = [str(dim) for dim in variable.dims if dim in ("x", "y")]
    return VariableSource(variable, sample="sample", time="time", space=space)


def requests(generator: torch.Generator, source: VariableSource) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Samples and frames in any order, with repeats, near and far apart."""
    for windows in (1, min(3, source.frames)):
        samples = torch.randint(0, source.samples, (9,), generator=generator).numpy()
        first = torch.randint(0, source.frames - windows + 1, (9,), generator=generator).numpy()
        yield samples, first[:, None] + np.arange(windows)
        yield samples, torch.randint(0, source.frames, (9, windows), generator=generator).numpy()
    yield np.arange(source.samples), np.tile(np.arange(source.frames), (source.samples, 1))


def expected(variable: xr.Variable, samples: np.ndarray, frames: np.ndarray, source: VariableSource) -> np.ndarray:
    """By xarray, all at once."""
    lead = [dim for dim in ("sample", "time") if dim in variable.dims]
    space = [dim for dim in variable.dims if dim in ("x", "y")]
    dims = [*lead, *(dim for dim in variable.dims if dim not in (*lead, *space)), *space]
    values = variable.transpose(*dims).to_numpy()
    values = values if "sample" in dims else values[None]
    values = values if "time" in dims else values[:, None]
    samples = samples if "sample" in dims else np.zeros_like(samples)
    chosen = values[samples[:, None], frames]
    return chosen.reshape(*frames.shape, source.channels, *source.space_shape)


def check(variable: xr.Variable, generator: torch.Generator, reader: type[FileRows | Slabs] | None) -> None:
    source = source_of(variable)
    rows, slabs = source._reader()
    found = FileRows if rows is not None else Slabs if slabs is not None else None
    assert found is reader
    for samples, frames in requests(generator, source):
        result = source.read(samples, frames)
        wanted = expected(variable, samples, frames, source)
        assert result.dtype == variable.dtype and result.shape == wanted.shape
        np.testing.assert_array_equal(result, wanted)
        assert result.flags.writeable


STORAGE: dict[str, tuple[dict[str, Any], type[FileRows | Slabs]]] = {
    "contiguous": ({}, FileRows),
    "sample": ({"chunks": (1, 11, 2, 4, 3)}, FileRows),
    "frame": ({"chunks": (1, 1, 2, 4, 3)}, FileRows),
    "ragged": ({"chunks": (3, 4, 2, 4, 3)}, FileRows),
    "growing": ({"chunks": (2, 4, 2, 4, 3), "maxshape": (None, None, 2, 4, 3)}, FileRows),
    "space": ({"chunks": (2, 3, 2, 2, 3)}, Slabs),
    "gzip": ({"chunks": (2, 3, 2, 4, 3), "compression": "gzip"}, Slabs),
    "checksum": ({"chunks": (1, 11, 2, 4, 3), "fletcher32": True}, Slabs),
}


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "u1", "f2", "bool"])
@pytest.mark.parametrize("storage", STORAGE)
def test_any_storage_gives_the_values_of_xarray(
    storage: str, dtype: str, tmp_path: Path, generator: torch.Generator
) -> None:
    options, reader = STORAGE[storage]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("u", data=(100 * numbers(generator, *SHAPE)).astype(dtype), **options)
    ds = sciops.data.open(tmp_path / "a.h5", sample_dim="sample", dims={"u": DIMS})
    check(ds["u"].variable, generator, Slabs if dtype == "bool" else reader)


TRANSFORMS: dict[str, tuple[Callable[[xr.Variable], xr.Variable], type[FileRows | Slabs] | None]] = {
    "samples": (lambda v: v.isel(sample=slice(1, 6, 2)), FileRows),
    "last sample": (lambda v: v.isel(sample=-1), FileRows),
    "frames": (lambda v: v.isel(time=slice(2, None)), FileRows),
    "one frame": (lambda v: v.isel(time=4), FileRows),
    "channel": (lambda v: v.isel(channel=1), FileRows),
    "channel and part of space": (lambda v: v.isel(channel=1, x=slice(2)), Slabs),
    "part of space": (lambda v: v.isel(x=slice(1, 3)), Slabs),
    "every other node": (lambda v: v.isel(y=slice(None, None, 2)), Slabs),
    "axes of space": (lambda v: v.transpose("sample", "time", "channel", "y", "x"), FileRows),
    "channel last": (lambda v: v.transpose("sample", "time", "x", "y", "channel"), FileRows),
    "time first": (lambda v: v.transpose("time", "sample", "channel", "x", "y"), FileRows),
    "time last": (lambda v: v.transpose("sample", "channel", "x", "y", "time"), FileRows),
    "transposed, then indexed": (
        lambda v: v.transpose("sample", "time", "y", "x", "channel").isel(sample=slice(2, 7)),
        None,
    ),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_indexed_and_transposed_variables(name: str, tmp_path: Path, generator: torch.Generator) -> None:
    transform, reader = TRANSFORMS[name]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("u", data=numbers(generator, *SHAPE), chunks=(2, 3, 2, 4, 3))
    ds = sciops.data.open(tmp_path / "a.h5", sample_dim="sample", dims={"u": DIMS})
    check(transform(ds["u"].variable), generator, reader)


@pytest.mark.parametrize("chunks", [None, (2, 3, 2, 4, 3)])
@pytest.mark.parametrize("order", [(3, 1, 0, 2, 4), (1, 0, 4, 3, 2), (3, 4, 2, 1, 0), (0, 3, 4, 1, 2)])
def test_files_with_other_orders_of_axes(
    order: tuple[int, ...], chunks: tuple[int, ...] | None, tmp_path: Path, generator: torch.Generator
) -> None:
    """What leads in the file decides whether rows are whole; the values are those of xarray either way."""
    values = numbers(generator, *SHAPE).transpose(order)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("u", data=values, chunks=chunks and tuple(chunks[axis] for axis in order))
    ds = sciops.data.open(tmp_path / "a.h5", sample_dim="sample", dims={"u": [DIMS[axis] for axis in order]})
    check(ds["u"].variable, generator, FileRows if set(order[:2]) == {0, 1} else Slabs)


@pytest.mark.parametrize("order", [(3, 1, 0, 2, 4), (0, 1, 2, 3, 4)])
def test_matlab_keeps_its_axes_reversed(order: tuple[int, ...], tmp_path: Path, generator: torch.Generator) -> None:
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file.create_dataset("u", data=numbers(generator, *SHAPE).transpose(order).T)
        file["u"].attrs["MATLAB_class"] = np.bytes_("double")
    with (tmp_path / "a.mat").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file")
    ds = sciops.data.open(tmp_path / "a.mat", sample_dim="sample", dims={"u": [DIMS[axis] for axis in order]})
    check(ds["u"].variable, generator, Slabs)


ENCODINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "packed": {"dtype": "i2", "scale_factor": 0.01, "add_offset": 3.5, "_FillValue": -32768},
    "scaled to float32": {"dtype": "u1", "scale_factor": np.float32(0.1)},
    "filled": {"dtype": "f4", "_FillValue": 1e20},
    "unsigned": {"dtype": "i1", "_Unsigned": "true", "scale_factor": 0.5, "_FillValue": np.int8(-1)},
    "compressed": {"zlib": True, "chunksizes": (2, 3, 2, 4, 3), "dtype": "i4", "scale_factor": 1e-6},
    "big endian": {"dtype": ">f4"},
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_decoded_values_are_those_of_xarray(encoding: str, tmp_path: Path, generator: torch.Generator) -> None:
    values = numbers(generator, *SHAPE)
    if "_FillValue" in ENCODINGS[encoding]:
        values[numbers(generator, *SHAPE) > 1] = np.nan
    xr.Dataset({"u": (DIMS, values)}).to_netcdf(
        tmp_path / "a.nc", engine="h5netcdf", encoding={"u": ENCODINGS[encoding]}
    )
    variable = xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf")["u"].variable
    assert placement(variable) is not None
    check(variable, generator, Slabs if encoding == "compressed" else FileRows)
    check(variable.isel(time=3), generator, Slabs if encoding == "compressed" else FileRows)


def test_truth_values_and_scalars(tmp_path: Path, generator: torch.Generator) -> None:
    ds = xr.Dataset({"m": (("x", "y"), numbers(generator, 4, 3) > 0), "nu": ((), 2.5), "a": ("sample", np.arange(5.0))})
    ds.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    read = xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf")
    for name in ds.data_vars:
        check(read[name].variable, generator, FileRows)


def test_a_data_set_for_each_sample(tmp_path: Path, generator: torch.Generator) -> None:
    """Stacked groups of PDEBench: (t, x, y, v) each."""
    values = numbers(generator, 6, 5, 4, 3, 2).astype("f4")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i, each in enumerate(values):
            file[f"{i:04d}/data"] = each
            for name, size in zip("txy", each.shape, strict=False):
                file[f"{i:04d}/grid/{name}"] = np.arange(size, dtype="f4")
    ds = sciops.data.open(tmp_path / "a.h5")
    check(ds["data"].variable, generator, FileRows)
    np.testing.assert_array_equal(ds["data"].values, values.transpose(0, 1, 4, 2, 3))
    picked = ds["data"].isel(sample=slice(1, None, 2)).transpose("sample", "time", "channel_data", "x", "y").variable
    check(picked, generator, None)


def test_compressed_data_sets_of_each_sample_are_left_to_xarray(tmp_path: Path, generator: torch.Generator) -> None:
    values = numbers(generator, 4, 5, 4, 1).astype("f4")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i, each in enumerate(values):
            file.create_dataset(f"{i:04d}/data", data=each, compression="lzf")
            file[f"{i:04d}/grid/t"], file[f"{i:04d}/grid/x"] = np.arange(5.0), np.arange(4.0)
    ds = sciops.data.open(tmp_path / "a.h5")
    check(ds["data"].variable, generator, None)
    np.testing.assert_array_equal(ds["data"].values, values[..., 0])


def test_what_is_not_in_a_file_is_left_to_xarray(generator: torch.Generator, tmp_path: Path) -> None:
    values = numbers(generator, *SHAPE)
    check(xr.Variable(DIMS, values), generator, None)
    np.savez(tmp_path / "a.npz", u=values)
    check(sciops.data.open(tmp_path / "a.npz", sample_dim="sample", dims={"u": DIMS})["u"].variable, generator, None)
    xr.Dataset({"u": (DIMS, values)}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    variable = xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf")["u"].variable
    assert placement(variable.isel(sample=[4, 0, 1])) is None


def test_chunks_that_were_never_written_hold_the_fill_value(tmp_path: Path, generator: torch.Generator) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("u", SHAPE, "f4", chunks=(1, 1, 2, 4, 3), fillvalue=7.5)
        data[2, 3] = 1.0
        file.create_dataset("v", SHAPE, "f4", fillvalue=2.5)  # not even one is written
    ds = sciops.data.open(tmp_path / "a.h5", sample_dim="sample", dims={"u": DIMS, "v": DIMS})
    check(ds["u"].variable, generator, FileRows)
    check(ds["v"].variable, generator, Slabs)
    assert source_of(ds["u"].variable).read(np.array([2, 2]), np.array([[3], [4]])).reshape(2, -1)[:, 0].tolist() == [
        1.0,
        7.5,
    ]


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts the bytes by Linux's /proc")
@pytest.mark.parametrize("chunk", [1, 8, 200])
def test_a_window_of_a_trajectory_costs_its_own_bytes(chunk: int, tmp_path: Path, generator: torch.Generator) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("u", data=numbers(generator, 3, 200, 64, 64).astype("f4"), chunks=(1, chunk, 64, 64))
    ds = sciops.data.open(tmp_path / "a.h5", sample_dim="sample", dims={"u": ("sample", "time", "x", "y")})
    source = source_of(ds["u"].variable)
    source.read(np.array([0]), np.array([[0]]))

    def read_so_far() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    nothing = read_so_far()
    nothing = read_so_far() - nothing  # of the count itself
    start = torch.randint(0, 181, (4,), generator=generator).numpy()
    before = read_so_far()
    window = source.read(np.array([2, 0, 1, 1]), start[:, None] + np.arange(20))
    used = read_so_far() - before - nothing
    assert used <= 1.2 * window.nbytes
    assert used >= len(np.unique(start)) * 20 * 64 * 64  # it was read at all


def test_neighbours_are_read_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(40 * 6.0).reshape(40, 6)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["u"] = values
    ds = sciops.data.open(tmp_path / "a.h5", sample_dim="sample", dims={"u": ("sample", "x")})
    source = source_of(ds["u"].variable)
    calls: list[tuple[int, int]] = []
    plain = os.preadv

    def counted(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        calls.append((offset, sum(buffer.nbytes for buffer in buffers)))
        return plain(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", counted)
    samples = np.array([31, 5, 7, 30, 6, 6, 31])
    result = source.read(samples, np.zeros((7, 1), dtype=np.int64))
    np.testing.assert_array_equal(result[:, 0, 0], values[samples])
    assert [size for _, size in calls] == [3 * 48, 2 * 48]  # 5 to 7, 30 and 31, each once
    assert calls[1][0] - calls[0][0] == 25 * 48


def test_reads_that_end_early_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["u"] = numbers(generator, *SHAPE)
    plain = os.preadv

    def reluctant(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        return plain(descriptor, [buffers[0][:37]], offset)

    monkeypatch.setattr(os, "preadv", reluctant)
    ds = sciops.data.open(tmp_path / "a.h5", sample_dim="sample", dims={"u": DIMS})
    check(ds["u"].variable, generator, FileRows)


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["u"] = np.ones((4, 1000))
    source = source_of(sciops.data.open(path, sample_dim="sample", dims={"u": ("sample", "x")})["u"].variable)
    first = np.zeros((1, 1), dtype=np.int64)
    source.read(np.array([0]), first)
    os.truncate(path, path.stat().st_size - 9000)
    with pytest.raises(DataError, match=r"a\.h5: truncated or corrupt"):
        source.read(np.array([3]), first)


def test_a_file_written_to_since_is_looked_up_anew(tmp_path: Path, generator: torch.Generator) -> None:
    path = tmp_path / "a.h5"
    values = numbers(generator, 5, 4, 3, 2, 2)
    with h5py.File(path, "w") as file:
        file.create_dataset("u", data=values, chunks=(1, 4, 3, 2, 2))
    ds = sciops.data.open(path, sample_dim="sample", dims={"u": DIMS})
    source = source_of(ds["u"].variable)
    everything = np.tile(np.arange(4), (5, 1))
    np.testing.assert_array_equal(source.read(np.arange(5), everything), values)
    ds.close()
    with h5py.File(path, "a") as file:
        del file["u"]
        file["other"] = np.zeros(3000)
        file.create_dataset("u", data=-values, chunks=(1, 2, 3, 2, 2))
    os.utime(path, ns=(1, 1))  # also where the clock of the disk is coarse
    np.testing.assert_array_equal(source.read(np.arange(5), everything), -values)


def read_elsewhere(frozen: bytes, queue: Any) -> None:
    source: VariableSource = pickle.loads(frozen)
    queue.put(source.read(np.array([3, 1]), np.array([[2], [0]])))


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_another_process_opens_the_file_itself(
    compression: str | None, tmp_path: Path, generator: torch.Generator
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("u", data=numbers(generator, *SHAPE), chunks=(1, 1, 2, 4, 3), compression=compression)
    ds = sciops.data.open(tmp_path / "a.h5", sample_dim="sample", dims={"u": DIMS})
    source = source_of(ds["u"].variable)
    here = source.read(np.array([3, 1]), np.array([[2], [0]]))
    frozen = pickle.dumps(source)
    assert len(frozen) < 4000
    context = multiprocessing.get_context("forkserver")
    queue = context.Queue()
    process = context.Process(target=read_elsewhere, args=(frozen, queue))
    process.start()
    there = queue.get(timeout=60)
    process.join()
    np.testing.assert_array_equal(here, there)


def test_huge_declared_shapes_take_no_memory(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("u", (1 << 50, 8), "f4", chunks=(1, 8))
    ds = sciops.data.open(tmp_path / "a.h5", sample_dim="sample", dims={"u": ("sample", "x")}, trust_links=True)
    source = source_of(ds["u"].variable)
    assert source.read(np.array([1 << 49]), np.array([[0]])).tolist() == [[[[0.0] * 8]]]
    assert isinstance(source._reader()[1], Slabs) and source._reader()[0] is None


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_many_files_are_read_each_by_itself(
    compression: str | None, tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, samples in enumerate((3, 1, 4)):
        with h5py.File(tmp_path / f"run_{i}.h5", "w") as file:
            values = numbers(generator, samples, *SHAPE[1:])
            file.create_dataset("u", data=values, chunks=(1, 2, 2, 4, 3), compression=compression)
    ds = sciops.data.open(str(tmp_path / "run_*.h5"), sample_dim="sample", dims={"u": DIMS})
    variable = ds["u"].variable
    check(variable, generator, None)
    shards = source_of(variable)._shards()
    assert shards is not None and shards[0].tolist() == [0, 3, 4]
    for part in shards[1]:
        assert part._reader()[0 if compression is None else 1] is not None
    moved = variable.isel(sample=slice(2, 7))
    assert source_of(moved)._shards() is None
    check(moved, generator, None)
    assert len(pickle.dumps(source_of(variable))) < 6000


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by Linux's /proc")
def test_many_files_take_few_descriptors(tmp_path: Path) -> None:
    for i in range(90):
        with h5py.File(tmp_path / f"run_{i:02d}.h5", "w") as file:
            file["u"] = np.full((2, 4), float(i))
    ds = sciops.data.open(str(tmp_path / "run_*.h5"), sample_dim="sample", dims={"u": ("sample", "x")})
    source = source_of(ds["u"].variable)
    for _ in range(2):
        found = source.read(np.arange(180)[::-1], np.zeros((180, 1), dtype=np.int64))
        assert found[:, 0, 0, 0].tolist() == np.repeat(np.arange(90.0), 2)[::-1].tolist()
    links = [Path("/proc/self/fd", number) for number in os.listdir("/proc/self/fd")]
    raw = [os.readlink(link) for link in links if link.is_symlink()]
    assert sum(str(tmp_path) in name for name in raw) <= 64 + 128  # ours, and those of xarray's cache
