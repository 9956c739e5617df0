"""HDF5 that leads out of itself, goes round in circles, declares what it does not hold, or holds what is no number."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from hostile_files.base import SECRET, Hostile, hostile

CASES: list[Hostile] = []
U = np.arange(24.0).reshape(3, 8)
SUM = {"u": 276.0}
GIB = 1 << 30


def native(path: Path, **more: Any) -> Path:
    """A netCDF4 file with `u` (sample, x), so that only a check stands between it and a reader."""
    ds = xr.Dataset({"u": (("sample", "x"), U), **more}, {"x": np.linspace(0, 1, 8)}, {"title": "a run"})
    ds.to_netcdf(path, engine="h5netcdf")
    return path


def outside(path: Path) -> Path:
    """A native file beside this one that others lead to."""
    other = path.with_name("outside.h5")
    xr.Dataset({"u": (("sample", "x"), np.full((3, 8), SECRET))}).to_netcdf(other, engine="h5netcdf")
    return other


def pipe(path: Path) -> Path:
    """A pipe beside this file: whoever opens it waits for ever."""
    other = path.with_name("pipe")
    os.mkfifo(other)
    return other


def patched(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1, f"{content.count(old)} places hold {old!r}"
    path.write_bytes(content.replace(old, new))


@hostile(CASES, "a.h5", "too many links")
def cyclic_links(path, rng):
    with h5py.File(native(path), "a") as file:
        group = file.create_group("g")
        group["self"], group["root"] = group, file["/"]
        file["loop"], file["ping"], file["pong"] = (h5py.SoftLink(to) for to in ("/loop", "/pong", "/ping"))
        file["g/again"], file["dangling"] = h5py.SoftLink("/g/self/root/g"), h5py.SoftLink("/nowhere/x")


@hostile(CASES, "a.h5", "'deep/link' is an external link to '/u' in the file")
def external_link(path, rng):
    with h5py.File(native(path), "a") as file:
        file["deep/link"] = h5py.ExternalLink(str(outside(path)), "/u")


@hostile(CASES, "a.h5", "is an external link")
def external_link_to_a_pipe(path, rng):
    with h5py.File(native(path), "a") as file:
        file["link"] = h5py.ExternalLink(str(pipe(path)), "/u")


@hostile(CASES, "a.h5", "is an external link")
def external_links_in_a_circle(path, rng):
    for here, there in ((path, "b.h5"), (path.with_name("b.h5"), path.name)):
        with h5py.File(native(here), "a") as file:
            file["other"] = h5py.ExternalLink(there, "/")


@hostile(CASES, "a.h5", "'raw' keeps its data in the file")
def external_storage(path, rng):
    raw = path.with_name("secret.bin")
    raw.write_bytes(np.full(8, SECRET).tobytes())
    with h5py.File(native(path), "a") as file:
        file.create_dataset("raw", (8,), "f8", external=[(str(raw), 0, 64)])


@hostile(CASES, "a.h5", "keeps its data in the file")
def external_storage_in_a_pipe(path, rng):
    with h5py.File(path, "w") as file:
        file.create_dataset("u", (3, 8), "f8", external=[(str(pipe(path)), 0, h5py.h5f.UNLIMITED)])


@hostile(CASES, "a.h5", "'v' is a virtual data set over '.*outside.h5'")
def virtual_over_another_file(path, rng):
    layout = h5py.VirtualLayout((3, 8), "f8")
    layout[...] = h5py.VirtualSource(str(outside(path)), "u", (3, 8))
    with h5py.File(native(path), "a") as file:
        file.create_virtual_dataset("v", layout)


@hostile(CASES, "a.h5", "'v' is a virtual data set")
def virtual_over_itself(path, rng):
    layout = h5py.VirtualLayout((3, 8), "f8")
    layout[...] = h5py.VirtualSource(".", "v", (3, 8))
    with h5py.File(native(path), "a") as file:
        file.create_virtual_dataset("v", layout)


def heap_of(path: Path) -> bytearray:
    native(path, label=("sample", np.array(["one", "two", "three"], object)))
    return bytearray(path.read_bytes())


def first_object(content: bytearray) -> int:
    return content.index(b"GCOL") + 16


@hostile(CASES, "a.h5", "the heap of texts at byte")
def heap_object_of_no_length(path, rng):
    """The library never gets past it: index 0 and length 0."""
    content = heap_of(path)
    at = first_object(content)
    content[at : at + 16] = bytes(16)
    path.write_bytes(content)


@hostile(CASES, "a.h5", "the heap of texts at byte")
def heap_object_longer_than_all_memory(path, rng):
    """Header and length together come to 2**64, which is 0 again."""
    content = heap_of(path)
    at = first_object(content)
    content[at + 8 : at + 16] = (2**64 - 16).to_bytes(8, "little")
    path.write_bytes(content)


@hostile(CASES, "a.h5")
def heap_with_random_bytes(path, rng):
    content = heap_of(path)
    at = first_object(content)
    for place in rng.integers(0, 160, 3):
        content[at + int(place)] = int(rng.integers(0, 256))
    path.write_bytes(content)


@hostile(CASES, "a.h5", "the heap of texts at byte", dims={"u": ("sample", "x")})
def heap_of_texts_that_are_values(path, rng):
    with h5py.File(path, "w") as file:
        file["u"], file["label"] = U, np.array(["one", "two", "three"], object)
    content = bytearray(path.read_bytes())
    at = first_object(content)
    content[at : at + 16] = bytes(16)
    path.write_bytes(content)


@hostile(CASES, "a.h5", "its compression needs a plugin|filter")
def unknown_filter(path, rng):
    with h5py.File(path, "w") as file:
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((3, 8))
        creation.set_filter(32765, h5py.h5z.FLAG_OPTIONAL, (1, 2))
        space = h5py.h5s.create_simple((3, 8))
        made = h5py.h5d.create(file.id, b"u", h5py.h5t.IEEE_F64LE, space, creation)
        made.write_direct_chunk((0, 0), U.tobytes(), 0)
        for name, size in (("sample", 3), ("x", 8)):
            file[name] = np.arange(float(size))
            file[name].make_scale(name)
            file["u"].dims[0 if name == "sample" else 1].attach_scale(file[name])


@hostile(CASES, "a.h5")
def filter_that_lies(path, rng):
    """Chunks that say gzip and hold other bytes."""
    with h5py.File(path, "w") as file:
        made = file.create_dataset("tensor", (3, 2, 8), "f4", chunks=(1, 2, 8), compression="gzip", fletcher32=True)
        for i in range(3):
            made.id.write_direct_chunk((i, 0, 0), rng.bytes(50), 0)
        file["x-coordinate"], file["t-coordinate"] = np.arange(8.0), np.arange(3.0)


@hostile(CASES, "a.h5", "truncated or corrupt when reading 'u'")
def a_chunk_with_a_wrong_checksum(path, rng):
    xr.Dataset({"u": (("sample", "x"), U)}).to_netcdf(
        path, engine="h5netcdf", encoding={"u": {"fletcher32": True, "chunksizes": (3, 8)}}
    )
    content = path.read_bytes()
    assert content.count(U.tobytes()) == 1
    path.write_bytes(content.replace(U.tobytes(), (U + 1).tobytes()))


def gzip_of_zeros(size: int) -> bytes:
    """What gzip makes of so many zeros, a multiple of 1 MiB, without compressing them all."""
    packer = zlib.compressobj(9)
    start = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    adler = 1 + (size % 65521 << 16)
    return start + again * (size // (1 << 20) - 1) + b"\x03\x00" + adler.to_bytes(4, "big")


@hostile(CASES, "a.h5", "declares")
def chunks_that_unpack_to_a_gigabyte(path, rng):
    with h5py.File(path, "w") as file:
        made = file.create_dataset("u", (3, 1 << 27), "f8", chunks=(1, 1 << 27), compression="gzip")
        for i in range(3):
            made.id.write_direct_chunk((i, 0), gzip_of_zeros(GIB), 0)
        scales(file, "u", "sample", "x")


@hostile(CASES, "a.h5", "chunks")
def a_small_array_in_huge_chunks(path, rng):
    with h5py.File(path, "w") as file:
        made = file.create_dataset("u", (3, 8), "f8", maxshape=(None, None), chunks=(1, 1 << 27), compression="gzip")
        for i in range(3):
            made.id.write_direct_chunk((i, 0), gzip_of_zeros(GIB), 0)
        file["sample"], file["x"] = np.arange(3.0), np.arange(8.0)
        for i, name in enumerate(("sample", "x")):
            file[name].make_scale(name)
            made.dims[i].attach_scale(file[name])


def scales(file: h5py.File, name: str, *dims: str) -> None:
    """Dimension scales without values, as netCDF4 keeps dimensions."""
    for i, dim in enumerate(dims):
        size = file[name].shape[i]
        made = file.create_dataset(dim, (size,), "f4", chunks=(min(size, 1024),), fillvalue=0)
        made.make_scale(f"This is a netCDF dimension but not a netCDF variable. {size:9d}")
        file[name].dims[i].attach_scale(made)


@hostile(CASES, "a.h5", "declares")
def a_huge_array_that_was_never_written(path, rng):
    with h5py.File(path, "w") as file:
        file.create_dataset("u", (10, 1 << 20, 1 << 20), "f8", chunks=(1, 64, 64))
        scales(file, "u", "sample", "x", "y")


@hostile(CASES, "a.h5", "declares")
def a_huge_number_of_samples(path, rng):
    with h5py.File(path, "w") as file:
        file.create_dataset("u", (1 << 40, 8), "f8", chunks=(64, 8))
        scales(file, "u", "sample", "x")


@hostile(CASES, "a.h5", "declare")
def huge_coordinates(path, rng):
    with h5py.File(path, "w") as file:
        file["u"] = U
        file.create_dataset("x", (1 << 27,), "f8", chunks=(1024,))
        file.create_dataset("sample", (3,), "f8")
        file.create_dataset("w", (1 << 27,), "f8", chunks=(1024,))
        for name in ("sample", "x"):
            file[name].make_scale(name)
        file["w"].dims[0].attach_scale(file["x"])


@hostile(CASES, "a.h5", "no known layout")
def names_of_every_kind(path, rng):
    with h5py.File(path, "w") as file:
        for name in ("a\nb", "x" * 10_000, "..", "C:\\x", "\u202eevil", "'; drop", "\x1b[31mred", " "):
            file[name] = U
        h5py.h5d.create(file.id, b"\xff\xfe bytes", h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple((3, 8)))


@hostile(CASES, "a.h5", sums={"x\ny": 276.0})
def a_name_that_breaks_lines(path, rng):
    xr.Dataset({"x\ny": (("sample", "z" * 10_000), U)}).to_netcdf(path, engine="h5netcdf")


@hostile(CASES, "a.h5", "no known layout")
def deep_groups(path, rng):
    with h5py.File(path, "w") as file:
        group = file
        for _ in range(3000):
            group = group.create_group("g")
        group["u"] = U


@hostile(CASES, "a.h5", "attributes")
def a_hundred_thousand_attributes(path, rng):
    with h5py.File(path, "w", libver="latest") as file:
        file["u"] = U
        for i in range(100_000):
            h5py.h5a.create(file["u"].id, b"a%d" % i, h5py.h5t.STD_I8LE, SCALAR)


SCALAR = h5py.h5s.create(h5py.h5s.SCALAR)


@hostile(CASES, "a.h5", "no known layout")
def twenty_thousand_groups(path, rng):
    with h5py.File(path, "w", libver="latest") as file:
        for i in range(20_000):
            h5py.h5g.create(file.id, b"%05d" % i)


@hostile(CASES, "a.h5", sums=SUM)
def a_large_attribute(path, rng):
    with h5py.File(native(path), "a", libver="latest") as file:
        file.attrs["notes"] = "x" * 30_000
        file.attrs["table"] = np.zeros(1_000_000)
        file.attrs["texts"] = ["y" * 100] * 1000
        file.attrs["none"] = h5py.Empty("f8")


@hostile(CASES, "a.h5", "holds variable-length arrays")
def ragged_arrays(path, rng):
    with h5py.File(native(path), "a") as file:
        made = file.create_dataset("ragged", (2,), h5py.vlen_dtype(np.dtype("f8")))
        made[0], made[1] = np.zeros(3), np.zeros(5)


@hostile(CASES, "a.h5", "holds references")
def references(path, rng):
    with h5py.File(native(path), "a") as file:
        file["ref"] = np.array([file["u"].ref], dtype=h5py.ref_dtype)


@hostile(CASES, "a.h5", "not numeric|dtype")
def compounds(path, rng):
    with h5py.File(path, "w") as file:
        file["u"] = np.zeros((3, 8), [("p", "f4"), ("q", "S3"), ("r", "i2", (4,))])
        scales(file, "u", "sample", "x")


@hostile(CASES, "a.h5")
def odd_types(path, rng):
    """Opaque bytes, times, bit fields, floats of 3 bytes, enumerations."""
    with h5py.File(native(path), "a") as file:
        space = h5py.h5s.create_simple((3, 8))
        odd = h5py.h5t.IEEE_F32LE.copy()
        odd.set_fields(23, 15, 8, 0, 15)
        odd.set_size(3)
        for name, kind in {
            b"opaque": h5py.h5t.create(h5py.h5t.OPAQUE, 5),
            b"bits": h5py.h5t.STD_B16LE,
            b"time": h5py.h5t.UNIX_D32LE,
            b"odd": odd,
        }.items():
            h5py.h5d.create(file.id, name, kind, space)
        file.create_dataset("enum", (3, 8), h5py.enum_dtype({"a": 1, "b": 2}, "i1"))
        file.create_dataset("text", (3, 8), "S1000000")


@hostile(CASES, "a.h5")
def a_null_and_a_scalar(path, rng):
    with h5py.File(path, "w") as file:
        file["tensor"], file["x-coordinate"] = h5py.Empty("f8"), 3.0


@hostile(CASES, "a.h5")
def rank_32(path, rng):
    with h5py.File(path, "w") as file:
        file.create_dataset("u", (1,) * 31 + (2,), "f8")
        file["u"].dims[0].label = "x"
        file["s"] = np.zeros(1)
        file["s"].make_scale("s")


@hostile(CASES, "a.h5", "length 0")
def nothing_along_an_axis(path, rng):
    xr.Dataset({"u": (("sample", "x"), np.zeros((3, 0)))}).to_netcdf(path, engine="h5netcdf")


def placed(path: Path, x: Any) -> None:
    xr.Dataset({"u": (("sample", "x"), U)}, {"x": ("x", x)}).to_netcdf(path, engine="h5netcdf")


@hostile(CASES, "a.h5", "the coordinate at index 3 is nan")
def nan_coordinates(path, rng):
    placed(path, np.where(np.arange(8) == 3, np.nan, np.arange(8.0)))


@hostile(CASES, "a.h5", "the coordinate at index 7 is inf")
def infinite_coordinates(path, rng):
    placed(path, np.r_[np.arange(7.0), np.inf])


@hostile(CASES, "a.h5", "the coordinates do not ascend")
def unsorted_coordinates(path, rng):
    placed(path, np.array([3.0, 1, 2, 0, 7, 6, 5, 4]))


@hostile(CASES, "a.h5", "the coordinates do not ascend: 2 at index 2, 2 at index 3")
def duplicate_coordinates(path, rng):
    placed(path, np.array([0.0, 1, 2, 2, 3, 4, 5, 6]))


@hostile(CASES, "a.h5", sums=SUM)
def descending_coordinates(path, rng):
    placed(path, np.arange(8.0)[::-1])


@hostile(CASES, "a.h5", "axis 'x'")
def coordinates_of_text(path, rng):
    placed(path, np.array(list("abcdefgh"), object))


@hostile(CASES, "a.h5", "axis 'x'")
def coordinates_that_overflow(path, rng):
    placed(path, np.array([-1e308, -1e200, 0, 1, 2, 1e100, 1e200, 1.7e308]))


@hostile(CASES, "a.h5")
def axis_attributes_that_lie(path, rng):
    ds = xr.Dataset({"u": (("sample", "x"), U)}, {"x": ("x", np.arange(8.0))})
    ds.to_netcdf(path, engine="h5netcdf")
    with h5py.File(path, "a") as file:
        file["x"].attrs.update(
            {"kind": "cell\nfree", "lower": "minus", "upper": [1.0, 2.0], "units": np.bytes_(b"\xff")}
        )
        file.attrs.update({"sample_dim": 5, "time_dim": "x", "channel_dims": "x", "point_dims": "sample"})


@hostile(CASES, "a.h5")
def meshes_that_lie(path, rng):
    ds = xr.Dataset({"u": (("sample", "point"), U)}, {"x": ("point", np.arange(8.0)), "y": ("point", U[0] * np.nan)})
    ds = ds.assign_coords(cells_triangle=(("cell_triangle", "corner_triangle"), np.array([[0, 1, 10**12]])))
    ds.attrs = {"point_dims": ["point"], "point_coords": ["x", "y"], "domain": "mesh"}
    ds.to_netcdf(path, engine="h5netcdf")


@hostile(CASES, "a.h5")
def decoding_that_overflows(path, rng):
    ds = xr.Dataset({"u": (("sample", "x"), U.astype("i2"))})
    ds.to_netcdf(path, engine="h5netcdf")
    with h5py.File(path, "a") as file:
        file["u"].attrs.update(
            {"scale_factor": "ten", "add_offset": np.ones(3), "_FillValue": "none", "coordinates": "u x"}
        )


@hostile(CASES, "a.h5", "truncated or corrupt|unknown|not HDF5")
def a_signature_and_nothing(path, rng):
    path.write_bytes(bytes(512) + b"\x89HDF\r\n\x1a\n" + rng.bytes(300))


@hostile(CASES, "a.h5")
def a_file_that_says_it_is_open(path, rng):
    with h5py.File(path, "w", libver="v110") as file:
        file["u"] = U
    content = bytearray(path.read_bytes())
    content[11] = 0x05  # open for writing, by a single writer with many readers
    path.write_bytes(content)


@hostile(CASES, "a.h5", "has sequences of any length")
def an_attribute_of_sequences_of_texts(path, rng):
    """Reading it ends the process in h5py."""
    with h5py.File(native(path), "a") as file:
        kind = h5py.h5t.vlen_create(h5py.h5t.C_S1)
        h5py.h5a.create(file.id, b"odd", kind, SCALAR)
