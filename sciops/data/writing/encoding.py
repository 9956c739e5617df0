"""How values, attributes and chunks are kept in netCDF4."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciops.data.reading.safety import first_line
from sciops.errors import InputError

__all__ = ["RESERVED", "attach", "attribute", "check_names", "check_texts", "chunk_shape", "encoded", "stored_dtype"]

_CHUNK_BYTES = 256 << 10
_CHUNK_LIMIT = 16 << 20
_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
RESERVED = {
    *("_FillValue", "missing_value", "_Unsigned", "scale_factor", "add_offset", "dtype", "coordinates", "_Encoding"),
    *("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates", "_NCProperties"),
    *("_nc3_strict",),
}
"""Attributes by which readers decode values or netCDF4 keeps itself: those of values in memory are dropped."""


def encoded(name: str, variable: xr.Variable, *, sampled: bool, path: Path) -> xr.Variable:
    """Times and texts as netCDF keeps them; the rest as it is."""
    kind = variable.dtype.kind
    if kind in "biufc":
        return xr.Variable(variable.dims, variable._data, _attributes(variable), fastpath=True)
    if sampled and kind in "mM":
        raise InputError(f"{path}: {name!r} holds times for each sample; store them as numbers with units")
    if kind in "mM":
        times = xr.conventions.encode_cf_variable(variable.copy(deep=False), name=name)
        return xr.Variable(times.dims, times.values, _attributes(times))
    if sampled:
        return xr.Variable(variable.dims, variable._data, _attributes(variable), fastpath=True)
    check_texts(name, variable.values, path)
    return xr.Variable(variable.dims, variable.values.astype(object), _attributes(variable), fastpath=True)


def check_texts(name: str, values: Any, path: Path) -> None:
    """Refuse Python objects that are no texts, and texts that end early; numbers among texts are objects too."""
    for item in np.asarray(values).ravel().tolist():
        if not isinstance(item, str | bytes):
            raise InputError(f"{path}: {name!r} holds Python objects, which netCDF4 does not; make it numbers or text")
        if b"\0" in item if isinstance(item, bytes) else not _storable(item):
            raise InputError(f"{path}: {name!r} holds the text {item!r}, with NUL or no Unicode; mend it")


def _attributes(variable: xr.Variable) -> dict[str, Any]:
    return {str(key): value for key, value in variable.attrs.items() if key not in RESERVED}


def check_names(names: Iterable[Any], path: Path, *, zarr: bool = False) -> None:
    """Refuse names of variables and dimensions that HDF5 or Zarr does not hold."""
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"{path}: a variable or dimension is called {name!r}, which is no text; use ds.rename")
        if name in ("", ".", "..") or "/" in name or not _storable(name):
            raise InputError(
                f"{path}: a variable or dimension is called {name!r}; names hold no / or NUL and are not "
                f"empty, rename it by ds.rename"
            )
        if zarr and ("\\" in name or name in _METADATA or name.startswith("__")):
            raise InputError(
                f"{path}: a variable or dimension is called {name!r}; names in Zarr hold no backslash, do not begin "
                f"with __ and are none of its own files, rename it by ds.rename"
            )


def attach(target: Any, key: Any, value: Any, where: str) -> None:
    """Set an attribute of a netCDF4 object; `where` says in messages whose it is."""
    try:
        if not str(key) or not _storable(str(key)):
            raise ValueError("its name is empty or holds NUL")
        target[str(key)] = attribute(value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{where}: the attribute {str(key)!r} cannot be kept by netCDF4 ({first_line(error)}); make it text or "
            f"numbers, or delete it"
        ) from error


def _storable(text: str) -> bool:
    """Whether HDF5 holds a text: UTF-8 without NUL."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def attribute(value: Any) -> Any:
    """A value that netCDF4 keeps: text, numbers, arrays of numbers, lists of text; else JSON text."""
    if isinstance(value, bool | np.bool_):
        return np.int8(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value if _storable(value) else json.dumps(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return json.dumps(value)
    if isinstance(value, int | float | np.integer | np.floating):
        return value
    if isinstance(value, np.ndarray | list | tuple):
        items = np.asarray(value) if not _ragged(value) else np.empty(0, object)
        if items.dtype.kind == "b":
            return items.astype(np.int8)
        if items.dtype.kind in "iuf" and items.ndim <= 1 and items.size:
            return items
        if (
            items.dtype.kind == "U"
            and items.ndim == 1
            and all(isinstance(item, str) and _storable(item) for item in value)
        ):
            return [str(item) for item in items]
    return json.dumps(value, default=_jsonable)


def _ragged(value: Any) -> bool:
    return not isinstance(value, np.ndarray) and any(isinstance(item, list | tuple | dict | set) for item in value)


def _jsonable(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def stored_dtype(name: str, dtype: np.dtype[Any], path: Path) -> np.dtype[Any]:
    if dtype.kind == "b":
        return np.dtype("i1")
    if dtype == np.float16:
        return np.dtype("f4")
    if dtype.kind == "c":
        raise InputError(f"{path}: {name!r} is complex, which netCDF4 does not hold; write .real and .imag as two")
    if dtype.kind not in "iufOSTU" or (dtype.kind == "f" and dtype.itemsize > 8):
        raise InputError(f"{path}: {name!r} has the dtype {dtype}, which is not stored; make it float64 by astype")
    return dtype.newbyteorder("=") if dtype.kind in "iuf" else np.dtype(object)


def chunk_shape(shape: tuple[int, ...], itemsize: int, sample: int) -> tuple[int, ...] | None:
    """Whole samples, several while they are small, parts of one where it is huge; None where one chunk would do."""
    if math.prod(shape) * itemsize <= _CHUNK_BYTES or 0 in shape:
        return None
    chunks = list(shape)
    chunks[sample] = 1
    size = math.prod(chunks) * itemsize
    chunks[sample] = min(shape[sample], max(1, _CHUNK_BYTES // size))
    for axis in range(len(shape)):
        size = math.prod(chunks) * itemsize
        if axis != sample and size > _CHUNK_LIMIT:
            chunks[axis] = max(1, chunks[axis] * _CHUNK_LIMIT // size)
    return tuple(chunks)
