"""The variables of a classic netCDF file (CDF-1, CDF-2, CDF-5), every length checked before it is believed.

Values stay in the file as a memory map; netCDF4 files are HDF5 and none of this.

References
----------
Unidata, "The NetCDF classic format specification".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["ClassicVariable", "read_classic"]

Array = np.ndarray[Any, np.dtype[Any]]
_TYPES = {1: "i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8", 7: "u1", 8: ">u2", 9: ">u4", 10: ">i8", 11: ">u8"}
_DIMENSION, _VARIABLE, _ATTRIBUTE = 10, 11, 12
_MAX_DIMENSIONS = 32


@dataclass(frozen=True)
class ClassicVariable:
    """One variable: its values as a memory map, its dimensions and attributes."""

    values: Array
    dims: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the dimensions."""
        return tuple(self.values.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype

    def __getitem__(self, key: Any) -> Array:
        return np.asarray(self.values[key])


def read_classic(path: str | Path) -> tuple[dict[str, ClassicVariable], dict[str, Any]]:
    """The variables of a file by name, and its global attributes.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ValueError
        If the file is not what the format says.

    Examples
    --------
    >>> import tempfile
    >>> from scipy.io import netcdf_file
    >>> path = Path(tempfile.mkdtemp()) / "a.nc"
    >>> with netcdf_file(path, "w") as file:
    ...     file.createDimension("x", 3)
    ...     file.createVariable("u", "f8", ("x",))[:] = [1.0, 2.0, 3.0]
    >>> variables, _ = read_classic(path)
    >>> variables["u"].dims, variables["u"][:].tolist()
    (('x',), [1.0, 2.0, 3.0])
    """
    content = np.memmap(path, np.uint8, "r")
    header = _Header(content)
    records = header.count()
    dims = [(header.name(), header.count()) for _ in range(header.list_of(_DIMENSION))]
    attributes = header.attributes()
    found = [_declared(header, dims) for _ in range(header.list_of(_VARIABLE))]
    in_records = [variable for variable in found if variable.record]
    padded = len(in_records) > 1
    record_bytes = sum(_pad(v.item_bytes) if padded else v.item_bytes for v in in_records)
    if records == header.streaming:
        start = min((v.begin for v in in_records), default=len(content))
        records = (len(content) - start) // record_bytes if record_bytes else 0
    variables = {}
    for variable in found:
        if variable.name in variables:
            raise ValueError(f"two variables are called {variable.name!r}")
        values = _mapped(content, variable, records, record_bytes)
        variables[variable.name] = ClassicVariable(values, variable.dims, variable.attributes)
    return variables, attributes


@dataclass(frozen=True)
class _Declared:
    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attributes: dict[str, Any]
    begin: int

    @property
    def record(self) -> bool:
        """Whether it grows along the dimension of length 0."""
        return bool(self.shape) and self.shape[0] == 0

    @property
    def item_bytes(self) -> int:
        """Bytes of one record, or of the whole variable."""
        return math.prod(self.shape[self.record :]) * self.dtype.itemsize


class _Header:
    """Reads the header from its start; a cut file gives a ValueError."""

    def __init__(self, content: Array) -> None:
        self.content, self.at = content, 4
        mark = bytes(content[:4])
        if mark[:3] != b"CDF" or len(mark) < 4 or mark[3] not in (1, 2, 5):
            raise ValueError("no classic netCDF file")
        self.version = mark[3]
        self.streaming = (1 << 64) - 1 if self.version == 5 else (1 << 32) - 1

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.content):
            raise ValueError("the header is cut short")
        self.at += size
        return bytes(self.content[self.at - size : self.at])

    def word(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def count(self) -> int:
        """A length: 8 bytes in CDF-5, else 4."""
        return int.from_bytes(self.take(8 if self.version == 5 else 4), "big")

    def offset(self) -> int:
        return int.from_bytes(self.take(4 if self.version == 1 else 8), "big")

    def name(self) -> str:
        size = self.count()
        return self.take(_pad(size))[:size].decode("utf-8", "replace")

    def list_of(self, tag: int) -> int:
        """Length of the list that follows; an absent list is two zeros."""
        found, length = self.word(), self.count()
        if found not in (0, tag) or (found == 0 and length):
            raise ValueError(f"a list of kind {found} where {tag} is expected")
        return length

    def attributes(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(self.list_of(_ATTRIBUTE)):
            name, dtype, count = self.name(), self.dtype(), self.count()
            size = count * dtype.itemsize
            content = self.take(_pad(size))[:size]
            if dtype.kind == "S":
                found[name] = content.rstrip(b"\0").decode("utf-8", "replace")
            else:
                values = np.frombuffer(content, dtype).astype(dtype.newbyteorder("="))
                found[name] = values[0] if count == 1 else values
        return found

    def dtype(self) -> np.dtype[Any]:
        kind = self.word()
        if kind not in _TYPES:
            raise ValueError(f"the unknown type {kind}")
        return np.dtype(_TYPES[kind])


def _declared(header: _Header, dims: list[tuple[str, int]]) -> _Declared:
    name = header.name()
    count = header.count()
    if count > _MAX_DIMENSIONS:
        raise ValueError(f"{name!r} has {count} dimensions, at most {_MAX_DIMENSIONS} are read")
    numbers = [header.count() for _ in range(count)]
    if any(number >= len(dims) for number in numbers):
        raise ValueError(f"{name!r} has a dimension that does not exist")
    attributes, dtype = header.attributes(), header.dtype()
    header.count()  # the size, which follows from the shape and is too short for large variables
    shape = tuple(dims[number][1] for number in numbers)
    if 0 in shape[1:]:
        raise ValueError(f"{name!r} grows along another dimension than its first")
    return _Declared(name, tuple(dims[number][0] for number in numbers), shape, dtype, attributes, header.offset())


def _mapped(content: Array, variable: _Declared, records: int, record_bytes: int) -> Array:
    """The values as a view of the file; records of all variables stand side by side."""
    shape = (records, *variable.shape[1:]) if variable.record else variable.shape
    if 0 in shape:
        return np.zeros(shape, variable.dtype)
    last = variable.begin + (records - 1) * record_bytes * variable.record + variable.item_bytes
    if last > len(content):
        raise ValueError(f"{variable.name!r} has shape {shape} and ends at byte {last} of {len(content)}")
    strides = [variable.dtype.itemsize]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    strides = strides[-len(shape) :] if shape else []
    if variable.record:
        strides[0] = record_bytes
    return np.ndarray(shape, variable.dtype, content, variable.begin, strides)


def _pad(size: int) -> int:
    return size + -size % 4
