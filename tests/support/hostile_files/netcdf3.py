"""netCDF in the classic format, where it is read and where it lies."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from scipy.io import netcdf_file

from hostile_files.base import Hostile, hostile
from hostile_files.hdf5 import U

CASES: list[Hostile] = []


def classic(path: Path) -> bytearray:
    with netcdf_file(path, "w") as file:
        file.createDimension("sample", None)
        file.createDimension("x", 8)
        made = file.createVariable("u", "f8", ("sample", "x"))
        made[:3] = U
        file.createVariable("x", "f8", ("x",))[:] = np.arange(8.0)
    return bytearray(path.read_bytes())


@hostile(CASES, "a.nc")
def classic_netcdf(path, rng):
    classic(path)


@hostile(CASES, "a.nc")
def classic_of_huge_records(path, rng):
    content = classic(path)
    content[4:8] = struct.pack(">i", 2**31 - 1)
    path.write_bytes(content)


@hostile(CASES, "a.nc")
def classic_of_a_huge_dimension(path, rng):
    content = classic(path)
    at = content.index(b"\x00\x00\x00\x01x\x00\x00\x00") + 8
    content[at : at + 4] = struct.pack(">i", 2**31 - 1)
    path.write_bytes(content)


@hostile(CASES, "a.nc")
def classic_with_random_bytes(path, rng):
    content = classic(path)
    for place in rng.integers(4, 200, 6):
        content[int(place)] = int(rng.integers(0, 256))
    path.write_bytes(content)
