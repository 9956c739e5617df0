"""The containers of arrays: HDF5, netCDF, Zarr, MATLAB, `.npz`, `.pt`, tables of text, meshes; listed, read lazily.

Every container is opened as a mapping of names to arrays through xarray's file cache, so that a lazy variable keeps no
file handle: it pickles, and another process opens the file for itself.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from xarray.backends import BackendArray, CachingFileManager
from xarray.backends.locks import HDF5_LOCK
from xarray.core import indexing

from sciops.data.reading.bounds import refuse_excess, stored_bytes
from sciops.data.reading.containers import OPENERS, Array, reading, sniff
from sciops.data.reading.filters import require_filters
from sciops.data.reading.safety import inspected, walk_hdf5
from sciops.errors import DataError

_LONGEST = 1 << 27
_PACKING = ("_FillValue", "missing_value", "scale_factor", "add_offset")  # their types decide that of the values
_NOT_NUMBERS = {"cell", "struct", "char", "function_handle", "object", "opaque", "sparse"}


@dataclass(frozen=True)
class Entry:
    """One array of a file: its shape, dtype, attributes, chunks, names of its axes; the values are not read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    chunks: tuple[int, ...] | None = None
    dims: tuple[str, ...] | None = None

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers or booleans."""
        return self.dtype.kind in "biufc"


class Contents:
    """What is in a file: its container, its arrays by name, and the attributes of its root.

    Parameters
    ----------
    path
        The file.
    trust_links
        Let an HDF5 file lead into other files.

    Attributes
    ----------
    container : str
        ``"hdf5"``, ``"netcdf3"``, ``"zarr"``, ``"matlab"`` (v5), ``"npz"``, ``"torch"``, ``"text"`` or ``"mesh"``.
    entries : dict of str to Entry
        Arrays by their path in the file, without a leading slash.
    attributes : dict
        Attributes of the root of an HDF5 or netCDF file or a Zarr store, or the header of a text.
    matlab : bool
        Whether MATLAB wrote it; the entries of its HDF5 (v7.3) are given in MATLAB's order of axes.

    Raises
    ------
    UnsafeFileError
        If the file holds pickles or links that lead out of it.
    DataError
        If it is none of the containers, or truncated or corrupt.
    """

    def __init__(self, path: Path, *, trust_links: bool = False) -> None:
        self.path = path
        self.trust_links = trust_links
        self.container = sniff(path)
        self.matlab = self.container == "matlab"
        self.attributes: dict[str, Any] = {}
        lock = HDF5_LOCK if self.container == "hdf5" else None
        self._manager = CachingFileManager(OPENERS[self.container], str(path), mode="r", lock=lock)
        with reading(path):
            if self.container == "hdf5":
                with inspected(path, trust_links=trust_links) as file:
                    self.entries = self._hdf5_entries(file)
                return
            file = self._manager.acquire()
            self.entries = _entries(file)
            self.attributes = {name: plain(value) for name, value in getattr(file, "attributes", {}).items()}
            self.self_describing = any(entry.dims is not None for entry in self.entries.values())

    def _hdf5_entries(self, file: h5py.File) -> dict[str, Entry]:
        """What the one walk through the file finds; the file is refused where it is not safe."""
        entries = {}
        for name, found in walk_hdf5(file, trust_links=self.trust_links, path=self.path):
            attributes = _attributes(h5py.Dataset(found.id)) if h5py.h5a.get_num_attrs(found.id) else {}
            entries[name] = Entry(found.shape, _complex_dtype(found.dtype), attributes, found.chunks)
            if found.chunks is not None:
                require_filters(self.path, name, found.id)
        self.attributes = _attributes(file)
        self.self_describing = any(entry.attributes.get("CLASS") == "DIMENSION_SCALE" for entry in entries.values())
        self.matlab = _has_matlab_header(self.path) or any("MATLAB_class" in e.attributes for e in entries.values())
        if not self.matlab:
            return entries
        return {
            name: replace(entry, shape=entry.shape[::-1], chunks=entry.chunks and entry.chunks[::-1])
            for name, entry in entries.items()
            if entry.attributes.get("MATLAB_class") not in _NOT_NUMBERS
        }

    self_describing: bool = False
    """Whether axes have names: by dimension scales in HDF5, as every netCDF4 file has them."""

    def lazy(self, name: str) -> indexing.LazilyIndexedArray:
        """The array of that name; only what is indexed is read."""
        on_disk = self.container == "hdf5"
        entry, reverse, chunked = self.entries[name], self.matlab and on_disk, self.container == "zarr"
        stored = StoredArray(self._manager, self.path, name, entry, on_disk=on_disk, reverse=reverse, chunked=chunked)
        return indexing.LazilyIndexedArray(stored)

    def read(self, name: str) -> Array:
        """All values of the array of that name: for coordinates and parameters.

        Raises
        ------
        DataError
            If the file declares more values than coordinates have.
        """
        self.check_length(name)
        return np.asarray(self.lazy(name))

    def check_length(self, name: str) -> None:
        """Refuse an array declared too long to be read as coordinates; an HDF5 file need not even hold its values."""
        shape = self.entries[name].shape
        if math.prod(shape) > _LONGEST:
            raise DataError(
                f"{self.path}: the coordinates {name!r} have the declared shape {shape}; at most {_LONGEST} values are "
                f"read at once, so declare what to read by dims= without them"
            )
        if self.container in ("hdf5", "zarr") and not self.trust_links:
            declared = math.prod(shape) * self.entries[name].dtype.itemsize
            refuse_excess(f"{self.path}: {name!r} of shape {shape}", declared, stored_bytes(self.path, declared))

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """The open container, for what is neither an array nor its attributes: groups and dimension scales."""
        with reading(self.path), HDF5_LOCK:
            yield self._manager.acquire(needs_lock=False)

    def group_attributes(self, name: str) -> dict[str, Any]:
        """Attributes of a group of an HDF5 file or a Zarr store; none where there is no such group."""
        if self.container == "zarr":
            with self.opened() as file:
                return {key: plain(value) for key, value in file.groups.get(name, {}).items()}
        if self.container != "hdf5":
            return {}
        with self.opened() as file:
            group = file.get(name, default=None)
            if not isinstance(group, h5py.Group):
                return {}
            return _attributes(group)

    def close(self) -> None:
        """Close the file; reading a lazy array opens it again."""
        self._manager.close()


class StoredArray(BackendArray):
    """An array in a file that opens when indexed.

    Parameters
    ----------
    manager
        Gives the open container, a mapping of names to arrays.
    path
        The file, for messages.
    name
        Name of the array in the container.
    entry
        Its shape and dtype.
    on_disk
        Whether indexing reads an HDF5 data set; else the arrays are chunked, in memory or mapped.
    reverse
        Whether the container keeps the axes in reversed order, as MATLAB's HDF5 does.
    chunked
        Whether indexing reads chunks of a Zarr store, with a vector for every axis.
    """

    def __init__(
        self,
        manager: Any,
        path: Path,
        name: str,
        entry: Entry,
        *,
        on_disk: bool = True,
        reverse: bool = False,
        chunked: bool = False,
    ) -> None:
        self.manager, self.path, self.name = manager, path, name
        self.on_disk, self.reverse, self.chunked = on_disk, reverse, chunked
        self.shape, self.dtype = entry.shape, entry.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        support = indexing.IndexingSupport
        if self.on_disk:
            return indexing.explicit_indexing_adapter(key, self.shape, support.OUTER_1VECTOR, self._read)
        if self.chunked:
            return indexing.explicit_indexing_adapter(key, self.shape, support.OUTER, self._read)
        # Slices of a memory map cost nothing; the copy keeps the map, or the loaded file, from being written to.
        return np.array(indexing.explicit_indexing_adapter(key, self.shape, support.BASIC, self._read))

    def _read(self, key: tuple[Any, ...]) -> Any:
        with reading(self.path, self.name), HDF5_LOCK:
            stored = self.manager.acquire(needs_lock=False)[self.name]
            values = np.asarray(stored[key[::-1]]).T if self.reverse else np.asarray(stored[key])
        if values.dtype.names is not None:
            values = values["real"] + 1j * values["imag"]
        return values.astype(self.dtype, copy=False)


def plain(value: Any) -> Any:
    """An attribute as str, number, list or array: bytes decoded, arrays of one number or text made scalar."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "OSU":
            value = [plain(item) for item in value.ravel().tolist()]
            return value[0] if len(value) == 1 else value
        return value.item() if value.size == 1 else value
    return value.item() if isinstance(value, np.generic) and value.dtype.names is None else value


def _attributes(holder: h5py.File | h5py.Group | h5py.Dataset) -> dict[str, Any]:
    return {key: plain(holder.attrs[key]) for key in holder.attrs if _readable(holder.attrs, key)}


def _readable(attributes: Any, name: str) -> bool:
    """Whether an attribute holds plain values: netCDF4 keeps references in some, which mean nothing here."""
    kind = attributes.get_id(name).dtype
    return kind.names is None and (kind.kind != "O" or h5py.check_string_dtype(kind) is not None)


def _complex_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """MATLAB keeps complex numbers as pairs named real and imag."""
    if dtype.names == ("real", "imag"):
        return np.result_type(dtype["real"], np.complex64)
    return dtype


def _has_matlab_header(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(19) == b"MATLAB 7.3 MAT-file"


def _entries(file: Mapping[str, Any]) -> dict[str, Entry]:
    """The arrays of a container other than HDF5; in memory, numbers have the byte order of this machine."""
    found = {}
    for name, array in file.items():
        given = getattr(array, "attributes", {}).items()
        attributes = {key: value if key in _PACKING else plain(value) for key, value in given}
        dims, chunks = getattr(array, "dims", None), getattr(array, "chunks", None)
        found[name] = Entry(tuple(array.shape), array.dtype.newbyteorder("="), attributes, chunks, dims)
    return found
